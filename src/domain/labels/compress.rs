//! Values of the labels `compress` and `compress.*`.

use crate::domain::labels::value::InvalidValue;
use crate::domain::middleware::{Coding, Compression, MediaType, MediaTypes};
use crate::domain::units;

/// What the labels say so far.
#[derive(Debug, Default)]
pub(super) struct CompressionWish {
    pub(super) on: bool,
    pub(super) settings: Compression,
}

impl CompressionWish {
    /// What is to be compressed, if anything is.
    pub(super) fn into_settings(self) -> Option<Compression> {
        self.on.then_some(self.settings)
    }

    /// `true`, or the codings in the order in which they are preferred.
    pub(super) fn take_codings(&mut self, written: &str) -> Result<(), InvalidValue> {
        (self.on, self.settings.codings) = match written.trim().to_ascii_lowercase().as_str() {
            "true" => (true, Coding::ALL.to_vec()),
            "false" => (false, Coding::ALL.to_vec()),
            list => (true, codings(list)?),
        };
        Ok(())
    }

    pub(super) fn take_min(&mut self, written: &str) -> Result<(), InvalidValue> {
        let size = units::size(written).map_err(|_| InvalidValue::Size)?;
        if size > BYTES_MIN_MAX {
            return Err(InvalidValue::Range);
        }
        self.settings.bytes_min = size;
        Ok(())
    }

    pub(super) fn take_types(&mut self, written: &str) -> Result<(), InvalidValue> {
        let read = |entry: &str| {
            entry
                .parse::<MediaType>()
                .map_err(|_| InvalidValue::MediaType { entry: entry.to_owned() })
        };
        let types = entries(written, read)?;
        self.settings.types = MediaTypes::new(types);
        Ok(())
    }
}

fn codings(list: &str) -> Result<Vec<Coding>, InvalidValue> {
    entries(list, |entry| {
        let named = Coding::ALL.into_iter().find(|coding| coding.name() == entry);
        named.ok_or_else(|| InvalidValue::Coding { entry: entry.to_owned() })
    })
}

/// The entries of a list as they stand, each once.
fn entries<T: PartialEq>(
    written: &str,
    read: impl Fn(&str) -> Result<T, InvalidValue>,
) -> Result<Vec<T>, InvalidValue> {
    let mut list = Vec::new();
    for entry in written.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        if list.len() == ENTRIES_MAX {
            return Err(InvalidValue::TooMany);
        }
        let value = read(entry)?;
        if !list.contains(&value) {
            list.push(value);
        }
    }
    if list.is_empty() { Err(InvalidValue::Empty) } else { Ok(list) }
}

/// Media types of one label; as many as a list of hosts may have.
const ENTRIES_MAX: usize = 256;

/// Who would compress nothing below this means something else.
const BYTES_MIN_MAX: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_all_none_or_a_list_in_its_order() {
        let read = |written: &str| {
            let mut wish = CompressionWish::default();
            wish.take_codings(written).map(|()| wish.into_settings().map(|it| it.codings))
        };
        assert_eq!(read("true"), Ok(Some(Coding::ALL.to_vec())));
        assert_eq!(read("false"), Ok(None));
        assert_eq!(read(" Gzip, zstd,,gzip"), Ok(Some(vec![Coding::Gzip, Coding::Zstd])));
        assert_eq!(read(","), Err(InvalidValue::Empty));
        let deflate = InvalidValue::Coding { entry: "deflate".to_owned() };
        assert_eq!(read("gzip,deflate"), Err(deflate));
    }

    #[test]
    fn a_size_has_a_unit_and_a_most() {
        let mut wish = CompressionWish::default();
        assert_eq!(wish.take_min("1GiB"), Ok(()));
        assert_eq!(wish.settings.bytes_min, 1 << 30);
        assert_eq!(wish.take_min("2GiB"), Err(InvalidValue::Range));
        assert_eq!(wish.take_min("256"), Err(InvalidValue::Size));
    }

    #[test]
    fn the_list_of_types_has_a_bound() {
        let most: Vec<_> = (0..ENTRIES_MAX).map(|n| format!("a/{n}")).collect();
        let mut wish = CompressionWish::default();
        assert_eq!(wish.take_types(&most.join(",")), Ok(()));
        assert_eq!(wish.take_types(&format!("{},a/b", most.join(","))), Err(InvalidValue::TooMany));
        let bad = InvalidValue::MediaType { entry: "json".to_owned() };
        assert_eq!(wish.take_types("text/*, json"), Err(bad));
    }
}

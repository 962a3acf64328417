//! Setting and removing header fields.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Fields that are set, or removed where there is no value; each name once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HeaderEdits(Vec<(HeaderName, Option<HeaderValue>)>);

impl HeaderEdits {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last word on a name counts.
    pub fn set(&mut self, name: HeaderName, value: Option<HeaderValue>) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value));
    }

    /// What was there under these names is replaced.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            match value {
                Some(value) => headers.insert(name, value.clone()),
                None => headers.remove(name),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{SERVER, VIA};

    #[test]
    fn a_field_is_replaced_in_all_its_lines_and_an_empty_one_removed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [(VIA, "a"), (VIA, "b"), (SERVER, "x")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let mut edits = HeaderEdits::default();
        edits.set(VIA, None);
        edits.set(VIA, Some(HeaderValue::from_static("c")));
        edits.set(SERVER, None);
        edits.apply(&mut headers);
        assert_eq!(headers, HeaderMap::from_iter([(VIA, HeaderValue::from_static("c"))]));
    }
}

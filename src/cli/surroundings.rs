//! What the process finds around it: the environment and files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The environment, taken once.
pub(super) struct Surroundings {
    /// Bytes that are no UTF-8 stand as U+FFFD, which no setting holds.
    pub(super) env: BTreeMap<String, String>,
}

impl Surroundings {
    pub(super) fn read() -> Self {
        let text = |bytes: std::ffi::OsString| bytes.to_string_lossy().into_owned();
        Self { env: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect() }
    }
}

/// Reads a file of text, of at most [`FILE_BYTES_MAX`] bytes.
pub(super) fn read_file(path: &Path) -> io::Result<String> {
    let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not valid UTF-8");
    String::from_utf8(read_bytes(path)?).map_err(invalid)
}

/// Reads a file of at most [`FILE_BYTES_MAX`] bytes.
pub(super) fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read > FILE_BYTES_MAX) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(bytes)
}

/// A file of settings or services is far smaller.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_larger_than_any_file_of_settings_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let size = usize::try_from(FILE_BYTES_MAX).unwrap();
        std::fs::write(&path, "#".repeat(size)).unwrap();
        assert_eq!(read_file(&path).unwrap().len(), size);
        std::fs::write(&path, "#".repeat(size + 1)).unwrap();
        assert!(read_file(&path).is_err());
    }
}

//! The files that labels name, as far as they have been read.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::Arc;

/// What is known of the files beneath the folder of label files. Planning reads
/// nothing itself: what it finds missing here it notes as wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    /// Where they stand: `/etc/evenkeel/labels` unless set otherwise.
    pub folder: Arc<Path>,
    /// Nobody can look: every file is taken to be there and in order.
    pub assumed: bool,
    known: BTreeMap<Arc<str>, LabelFile>,
}

/// One file, after the last look at it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LabelFile {
    /// As it was read last, even if it cannot be read any more.
    pub content: Option<Arc<[u8]>>,
    /// Why it could not be read at the last look.
    pub fault: Option<Arc<str>>,
}

/// Why a path cannot be that of a label file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidFilePath {
    #[error("is empty")]
    Empty,
    #[error("is not beneath the folder of label files")]
    Outside,
    #[error("has `..` in it")]
    Parent,
    #[error("is longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
}

impl Files {
    /// Nothing has been read yet of the files beneath `folder`.
    pub fn beneath(folder: impl AsRef<Path>) -> Self {
        Self { folder: folder.as_ref().into(), assumed: false, known: BTreeMap::new() }
    }

    /// The path of a file below the folder, by which it is known, of one that is
    /// written absolute or relative to the folder.
    pub fn relative(&self, written: &str) -> Result<Arc<str>, InvalidFilePath> {
        let written = written.trim();
        if written.len() > PATH_BYTES_MAX {
            return Err(InvalidFilePath::TooLong);
        }
        let path = Path::new(written);
        let path = match path.strip_prefix(&self.folder) {
            Ok(path) => path,
            Err(_) if path.is_absolute() => return Err(InvalidFilePath::Outside),
            Err(_) => path,
        };
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.extend(name.to_str()),
                Component::CurDir => {}
                Component::ParentDir => return Err(InvalidFilePath::Parent),
                Component::RootDir | Component::Prefix(_) => return Err(InvalidFilePath::Outside),
            }
        }
        if names.is_empty() { Err(InvalidFilePath::Empty) } else { Ok(names.join("/").into()) }
    }

    /// The file at this path below the folder; none before the first look at it.
    pub fn get(&self, path: &str) -> Option<&LabelFile> {
        self.known.get(path)
    }

    /// Takes in what a look at a file has found. Content that was read before
    /// stands beside a new fault. Whether anything is new.
    pub fn note(&mut self, path: &Arc<str>, found: Result<Arc<[u8]>, Arc<str>>) -> bool {
        let file = self.known.entry(Arc::clone(path)).or_default();
        let after = match found {
            Ok(content) => LabelFile { content: Some(content), fault: None },
            Err(fault) => LabelFile { content: file.content.clone(), fault: Some(fault) },
        };
        let is_news = *file != after;
        *file = after;
        is_news
    }

    /// Forgets the files that `wanted` is false for.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.known.retain(|path, _| wanted(path));
    }
}

impl Default for Files {
    fn default() -> Self {
        Self::beneath(FOLDER)
    }
}

/// Where label files stand unless set otherwise.
pub const FOLDER: &str = "/etc/evenkeel/labels";

const PATH_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_beneath_the_folder_or_relative_to_it() {
        let files = Files::beneath("/etc/evenkeel/labels");
        for (written, known) in [
            ("users", Ok("users")),
            ("./a//b", Ok("a/b")),
            (" /etc/evenkeel/labels/a/b ", Ok("a/b")),
            ("/etc/evenkeel/labels", Err(InvalidFilePath::Empty)),
            ("", Err(InvalidFilePath::Empty)),
            ("/etc/passwd", Err(InvalidFilePath::Outside)),
            ("/etc/evenkeel/labels-of-others/x", Err(InvalidFilePath::Outside)),
            ("/etc/evenkeel/labels/../key.pem", Err(InvalidFilePath::Parent)),
            ("../key.pem", Err(InvalidFilePath::Parent)),
        ] {
            assert_eq!(files.relative(written), known.map(Arc::from), "`{written}`");
        }
        assert_eq!(files.relative(&"x".repeat(1025)), Err(InvalidFilePath::TooLong));
    }

    #[test]
    fn content_outlives_a_fault() {
        let mut files = Files::default();
        let path: Arc<str> = "users".into();
        assert!(files.note(&path, Ok(Arc::from(*b"a"))));
        assert!(files.note(&path, Err("it is gone".into())));
        assert!(!files.note(&path, Err("it is gone".into())));
        let file = files.get("users").unwrap();
        assert_eq!(file.content.as_deref(), Some(&b"a"[..]));
        assert_eq!(file.fault.as_deref(), Some("it is gone"));
        files.note(&path, Ok(Arc::from(*b"b")));
        assert_eq!(files.get("users").unwrap().fault, None);
    }
}

//! The files that labels name, as far as they have been read.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path};
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;

use crate::domain::auth::{InvalidUser, Users};
use crate::domain::middleware::Template;
use crate::domain::upstream::{self, InvalidAuthorities};

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
    pub content: Option<Arc<Content>>,
    /// Why it could not be read at the last look.
    pub fault: Option<Arc<str>>,
}

/// What a file holds, and what was made of it: once, however many labels of
/// however many containers name it, and however often they are planned.
pub struct Content {
    bytes: Arc<[u8]>,
    users: OnceLock<Option<UsersRead>>,
    page: OnceLock<Option<Arc<Template>>>,
    authorities: OnceLock<Result<Arc<RootCertStore>, InvalidAuthorities>>,
}

/// The users of a file, and what lets nobody in.
pub type UsersRead = (Arc<Users>, Arc<[InvalidUser]>);

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
            Ok(bytes) => {
                // Content that is as it was keeps what was made of it.
                let same = file.content.clone().filter(|it| it.bytes == bytes);
                let content = same.unwrap_or_else(|| Arc::new(Content::new(bytes)));
                LabelFile { content: Some(content), fault: None }
            }
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

impl Content {
    fn new(bytes: Arc<[u8]>) -> Self {
        Self { bytes, users: OnceLock::new(), page: OnceLock::new(), authorities: OnceLock::new() }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// As [`Users::from_lines`] reads it; none if it is no text.
    pub fn users(&self) -> Option<&UsersRead> {
        let read = || {
            let (users, faults) = Users::from_lines(std::str::from_utf8(&self.bytes).ok()?);
            Some((Arc::new(users), faults.into()))
        };
        self.users.get_or_init(read).as_ref()
    }

    /// As [`Template::read`] reads it; none if it is no text.
    pub fn page(&self) -> Option<&Arc<Template>> {
        self.page.get_or_init(|| Template::read(&self.bytes).map(Arc::new)).as_ref()
    }

    /// The authorities whose certificates it holds.
    pub fn authorities(&self) -> Result<&Arc<RootCertStore>, InvalidAuthorities> {
        self.authorities
            .get_or_init(|| upstream::authorities(&self.bytes))
            .as_ref()
            .map_err(|fault| *fault)
    }
}

/// What was made of it says nothing more.
impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Content {}

/// It may be long, and a secret.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
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
        assert_eq!(file.content.as_ref().unwrap().bytes(), b"a");
        assert_eq!(file.fault.as_deref(), Some("it is gone"));
        files.note(&path, Ok(Arc::from(*b"b")));
        assert_eq!(files.get("users").unwrap().fault, None);
    }

    #[test]
    fn content_is_parsed_once_until_it_is_another() {
        let mut files = Files::default();
        let path: Arc<str> = "users".into();
        let parsed = |files: &Files| {
            let content = files.get("users").unwrap().content.clone().unwrap();
            (Arc::clone(&content.users().unwrap().0), Arc::clone(content.page().unwrap()))
        };
        let same = |(users, page): &(Arc<Users>, Arc<Template>), other: &(_, _)| {
            (Arc::ptr_eq(users, &other.0), Arc::ptr_eq(page, &other.1))
        };
        files.note(&path, Ok(Arc::from(*b"ann:{status}")));
        let copy = files.clone();
        let first = parsed(&files);
        assert_eq!(same(&first, &parsed(&copy)), (true, true));
        files.note(&path, Err("it is gone".into()));
        files.note(&path, Ok(Arc::from(*b"ann:{status}")));
        assert_eq!(same(&first, &parsed(&files)), (true, true));
        files.note(&path, Ok(Arc::from(*b"bob:{status}")));
        assert_eq!(same(&first, &parsed(&files)), (false, false));
    }

    #[test]
    fn what_is_no_text_holds_neither_users_nor_a_page() {
        let content = Content::new(Arc::from(*b"\xff"));
        assert_eq!((content.users(), content.page()), (None, None));
    }
}

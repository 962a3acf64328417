//! Reading one file of ours.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

/// A file that was opened and not read yet.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    pub(super) stamp: Stamp,
    /// Anybody on this machine may read it.
    pub(super) is_public: bool,
}

/// What differs after a change of a file, also where a link leads elsewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("`{}` is not there", .0.display())]
    Missing(PathBuf),
    #[error("`{}` may not be read by user {}", path.display(), geteuid().as_raw())]
    Forbidden {
        path: PathBuf,
        /// The folder that may not be passed, if not the file itself.
        folder: Option<PathBuf>,
    },
    #[error("`{}` is no file", .0.display())]
    NoFile(PathBuf),
    #[error("`{}` is larger than 1 MiB", .0.display())]
    TooLarge(PathBuf),
    #[error("`{}` was replaced where it is mounted from, and we have the old one", .0.display())]
    Replaced(PathBuf),
    #[error("`{}` cannot be read: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Opens the file at `path`, by way of links too: operators name it.
pub(super) fn open(path: &Path) -> Result<Opened, Unread> {
    let failed = |error| unread(path, error);
    // Opening a pipe would wait for somebody to write to it.
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Unread::NoFile(path.to_owned()));
    }
    if metadata.len() > BYTES_MAX {
        return Err(Unread::TooLarge(path.to_owned()));
    }
    if metadata.nlink() == 0 {
        return Err(Unread::Replaced(path.to_owned()));
    }
    Ok(Opened { file, stamp: Stamp::of(&metadata), is_public: metadata.mode() & 0o004 != 0 })
}

impl Opened {
    /// All of it, unless it has grown too large meanwhile.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<u8>, Unread> {
        let mut content = Vec::new();
        (&self.file)
            .take(BYTES_MAX + 1)
            .read_to_end(&mut content)
            .map_err(|error| unread(path, error))?;
        if u64::try_from(content.len()).is_ok_and(|length| length > BYTES_MAX) {
            return Err(Unread::TooLarge(path.to_owned()));
        }
        Ok(content)
    }
}

impl Unread {
    /// Whether it may be so for a moment while files are replaced.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Missing(_) | Self::TooLarge(_) | Self::Io { .. } => true,
            Self::Forbidden { .. } | Self::NoFile(_) | Self::Replaced(_) => false,
        }
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> String {
        let user = geteuid().as_raw();
        match self {
            Self::Forbidden { path, folder: None } => {
                let path = path.display();
                format!("run `chown {user} {path}`, or `setfacl -m u:{user}:r {path}` where it is")
            }
            Self::Forbidden { folder: Some(folder), .. } => {
                let folder = folder.display();
                format!(
                    "its folder may not be passed: run `setfacl -m u:{user}:x {folder}`, or \
                     `chmod o+x {folder}`, where it is"
                )
            }
            Self::Replaced(_) => {
                "mount its folder rather than the file, so that what takes its place is seen"
                    .to_owned()
            }
            Self::Missing(_) => "put it there, or name another".to_owned(),
            Self::NoFile(_) | Self::TooLarge(_) => "put a file in PEM form there".to_owned(),
            Self::Io { .. } => String::new(),
        }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn unread(path: &Path, error: io::Error) -> Unread {
    let path = path.to_owned();
    if error.kind() == ErrorKind::PermissionDenied {
        return Unread::Forbidden { folder: shut(&path, LINKS_MAX), path };
    }
    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
        return Unread::Missing(path);
    }
    Unread::Io { path, source: error }
}

/// The first folder on the way to `path` that may not be passed.
fn shut(path: &Path, links_left: u8) -> Option<PathBuf> {
    let mut folders: Vec<_> = path.ancestors().skip(1).collect();
    folders.reverse();
    let passed = |folder: &Path| {
        let within = folder.join(".");
        fs::symlink_metadata(within).err().map(|error| error.kind())
    };
    let is_shut = |folder: &&&Path| passed(folder) == Some(ErrorKind::PermissionDenied);
    if let Some(folder) = folders.iter().find(is_shut) {
        return Some(folder.to_path_buf());
    }
    let target = fs::read_link(path).ok()?;
    let target = path.parent()?.join(target);
    shut(&target, links_left.checked_sub(1)?)
}

/// A chain has a few KiB; what is larger is something else.
const BYTES_MAX: u64 = 1 << 20;

/// What Linux follows is 40; certbot and Kubernetes need two.
const LINKS_MAX: u8 = 8;

//! Looking at one label file.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open, openat};
use rustix::io::Errno;
use tokio::time::Instant;

use crate::control::files::past::{Motion, Past, Step};

/// What a look has found.
#[derive(Debug)]
pub(super) enum Look {
    /// It is as it was at the last look.
    Same,
    /// It may be half written.
    Moving(Motion),
    Read(Arc<[u8]>, Sign),
    Failed(Arc<str>),
}

/// What differs after a change of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sign {
    device: u64,
    inode: u64,
    bytes: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

/// Reads the file at `path` below `folder`, if its past says so at a look that
/// began `now`. No part of the path may be a link, and what is opened must be a
/// file: a label never reads what an operator has not put there.
pub(super) fn look(folder: &Path, path: &str, past: Past, now: Instant) -> Look {
    match read(folder, path, past, now) {
        Ok(look) => look,
        Err(failed) => Look::Failed(reason(&failed).into()),
    }
}

fn read(folder: &Path, path: &str, past: Past, now: Instant) -> io::Result<Look> {
    let file = File::from(open_beneath(folder, path)?);
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is no file"));
    }
    let sign = Sign::of(&stat);
    let only_if_still = match past.step(sign, now) {
        Step::Keep => return Ok(Look::Same),
        Step::Wait(motion) => return Ok(Look::Moving(motion)),
        Step::Take => false,
        Step::TakeIfStill => true,
    };
    let mut content = Vec::new();
    let read = (&file).take(BYTES_MAX + 1).read_to_end(&mut content)?;
    let sign_after = Sign::of(&fstat(&file)?);
    if only_if_still && sign_after != sign {
        return Ok(Look::Moving(past.stirred(sign_after, now)));
    }
    if u64::try_from(read).is_ok_and(|read| read > BYTES_MAX) {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    // Not the sign after: what has changed since is seen at the next look.
    Ok(Look::Read(content.into(), sign))
}

fn open_beneath(folder: &Path, path: &str) -> io::Result<OwnedFd> {
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    let within = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = open(folder, OFlags::RDONLY | within, Mode::empty())?;
    for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
        at = openat(&at, parent, OFlags::PATH | OFlags::NOFOLLOW | within, Mode::empty())?;
    }
    // Opening a pipe would wait for somebody to write to it.
    let plain = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(openat(&at, name, plain | OFlags::CLOEXEC, Mode::empty())?)
}

fn reason(failed: &io::Error) -> String {
    match Errno::from_io_error(failed) {
        Some(Errno::LOOP) => "it is a link".to_owned(),
        Some(Errno::NOENT) => "it is not there".to_owned(),
        Some(Errno::ACCESS) => "we may not read it".to_owned(),
        Some(Errno::NOTDIR) => "a part of its path is a link, or no folder".to_owned(),
        Some(_) | None => failed.to_string(),
    }
}

impl Sign {
    #[allow(
        clippy::useless_conversion,
        clippy::allow_attributes,
        reason = "the types differ by platform"
    )]
    pub(super) fn of(stat: &Stat) -> Self {
        let nanoseconds = |it| u64::try_from(it).unwrap_or_default();
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            bytes: stat.st_size,
            modified: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
            changed: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
        }
    }
}

const BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::files::past::STILL;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn found(folder: &Path, path: &str) -> Result<Vec<u8>, String> {
        match look(folder, path, Past::Unread, Instant::now()) {
            Look::Read(content, _) => Ok(content.to_vec()),
            Look::Failed(fault) => Err(fault.to_string()),
            Look::Same | Look::Moving(_) => panic!("there was no look before"),
        }
    }

    #[test]
    fn files_and_files_in_folders_are_read_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("labels");
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(root.path().join("secret"), "secret").unwrap();
        fs::write(folder.join("plain"), "plain").unwrap();
        fs::write(folder.join("a/b/deep"), "deep").unwrap();
        symlink("plain", folder.join("link")).unwrap();
        symlink(root.path(), folder.join("out")).unwrap();
        symlink("a", folder.join("in")).unwrap();
        let status = std::process::Command::new("mkfifo").arg(folder.join("pipe")).status();
        assert!(status.unwrap().success());

        assert_eq!(found(&folder, "plain"), Ok(b"plain".to_vec()));
        assert_eq!(found(&folder, "a/b/deep"), Ok(b"deep".to_vec()));
        for (path, fault) in [
            ("link", "it is a link"),
            ("out/secret", "a part of its path is a link, or no folder"),
            ("in/b/deep", "a part of its path is a link, or no folder"),
            ("a", "it is no file"),
            ("pipe", "it is no file"),
            ("none", "it is not there"),
            ("none/x", "it is not there"),
        ] {
            assert_eq!(found(&folder, path), Err(fault.to_owned()), "{path}");
        }
    }

    #[test]
    fn a_file_has_a_most_and_is_read_again_when_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let now = Instant::now();
        let look = |past, now| look(folder.path(), "x", past, now);
        fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        let Look::Read(content, sign) = look(Past::Unread, now) else { panic!() };
        assert_eq!(content.len(), 1 << 20);
        assert!(matches!(look(Past::Read(sign), now), Look::Same));
        fs::write(&path, "y").unwrap();
        let Look::Moving(motion) = look(Past::Read(sign), now) else { panic!() };
        let Look::Read(content, _) = look(Past::Moving(motion), now + STILL) else { panic!() };
        assert_eq!(*content, *b"y");
        fs::write(&path, vec![b'x'; (1 << 20) + 1]).unwrap();
        let Look::Failed(fault) = look(Past::Unread, now) else { panic!() };
        assert_eq!(&*fault, "it is larger than 1 MiB");
    }
}

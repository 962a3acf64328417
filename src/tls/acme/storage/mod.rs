//! Certificates, keys and the account, as they outlive us.
//!
//! Below `DIR/acme/` a folder for each directory, in it a file for each name
//! with its key and its chain, and one for each account. A file is written
//! beside its place, synced and moved there: whenever we are killed, the old one
//! is whole or the new one is.

mod file;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use http::Uri;
use instant_acme::AccountCredentials;
use rustix::fs::{FlockOperation, flock};

use crate::config::Directory;
use crate::domain::names::Host;
use crate::domain::problem::{Problem, Subject};
use crate::tls::acme::failure::clean;
use crate::tls::{Certificate, pem};

/// The folder of one directory. Its methods read and write files, so they are
/// none for a runtime's thread.
#[derive(Debug)]
pub struct Storage {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Held as long as it is open, and given back by the kernel at our end.
    lock: Option<File>,
    /// What is wrong, by the file or folder with which it is.
    problems: BTreeMap<PathBuf, Problem>,
    /// Of those that are there and could not be read.
    unread: BTreeMap<PathBuf, Problem>,
}

/// Something is there that cannot be read now, and that stays as it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unread;

/// A certificate as it is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    pub certificate: Certificate,
    /// Its key, then its chain, in PEM form.
    pub text: Arc<str>,
}

impl Storage {
    /// For certificates of `directory`, below `state`. Nothing is made yet.
    pub fn new(state: &Path, directory: &Directory) -> Self {
        let url = directory.as_str();
        let uri = url.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or("directory");
        let folder = state.join("acme").join(format!("{}-{}", plain(host), mark(url)));
        Self { folder, state: Mutex::default() }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes the folder for ourselves. Whether nobody else has it: where there can
    /// be no folder, there is nobody else either.
    pub fn lead(&self) -> bool {
        let mut state = self.state();
        if state.lock.is_some() {
            return true;
        }
        let locked = file::make_folder(&self.folder)
            .and_then(|()| file::open_private(&self.folder.join("lock")))
            .and_then(|file| {
                flock(&file, FlockOperation::NonBlockingLockExclusive)?;
                Ok(file)
            });
        match locked {
            Ok(file) => state.lock = Some(file),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => self.is_unwritable(&mut state, &error),
        }
        true
    }

    /// What is wrong with what is kept.
    pub fn problems(&self) -> Vec<Problem> {
        let state = self.state();
        state.problems.values().chain(state.unread.values()).cloned().collect()
    }

    /// The certificate that is kept for `name`, however old it is.
    pub fn certificate(&self, name: &Host) -> Result<Option<Kept>, Unread> {
        self.read(&self.path_of(name), |text| {
            let certificate = pem::certificate(text.as_bytes(), text.as_bytes());
            let certificate = certificate.map_err(|fault| fault.to_string())?;
            Ok(Kept { certificate, text: text.into() })
        })
    }

    /// Whether it is kept now. It is not written over one that cannot be read.
    pub fn keep_certificate(&self, name: &Host, kept: &Kept) -> bool {
        self.write(&self.path_of(name), &kept.text)
    }

    /// The account that `owner` has with the directory.
    pub(super) fn account(&self, owner: &str) -> Result<Option<AccountCredentials>, Unread> {
        self.read(&self.path_of_account(owner), |text| {
            serde_json::from_str(text).map_err(|error| format!("its line {}", error.line()))
        })
    }

    pub(super) fn keep_account(&self, owner: &str, text: &str) -> bool {
        self.write(&self.path_of_account(owner), text)
    }

    /// Forgets an account that the authority does not know any more.
    pub(super) fn forget_account(&self, owner: &str) {
        // If it stays, its successor takes its place.
        let _ = std::fs::remove_file(self.path_of_account(owner));
    }

    fn path_of(&self, name: &Host) -> PathBuf {
        let name = name.as_str();
        let file = if name.len() <= NAME_BYTES_MAX { plain(name) } else { mark(name) };
        self.folder.join(format!("{file}.pem"))
    }

    fn path_of_account(&self, owner: &str) -> PathBuf {
        self.folder.join(format!("account-{}.json", mark(owner)))
    }

    fn read<T>(
        &self,
        path: &Path,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Unread> {
        let Some(bytes) = self.bytes(path)? else { return Ok(None) };
        let parsed = String::from_utf8(bytes)
            .map_err(|_| "it is no text".to_owned())
            .and_then(|text| parse(&text));
        match parsed {
            Ok(parsed) => Ok(Some(parsed)),
            Err(why) => {
                // Whoever wants to know what happened finds it beside its place.
                let aside = path.with_added_extension("damaged");
                let _ = std::fs::rename(path, &aside);
                let (path_shown, aside, why) = (path.display(), aside.display(), clean(&why));
                let message = format!("`{path_shown}` is damaged: {why}; it is now `{aside}`");
                let hint = "nothing: another is asked for, and takes its place";
                self.state().problems.insert(path.to_owned(), problem(message, hint));
                Ok(None)
            }
        }
    }

    /// What stands in a file, if it is there.
    fn bytes(&self, path: &Path) -> Result<Option<Vec<u8>>, Unread> {
        let read = file::read(path);
        let mut state = self.state();
        match read {
            Err(error) if !is_missing(&error) => {
                // Of a folder that is not ours at all we know nothing, and keep nothing.
                if state.lock.is_none() && state.problems.contains_key(&self.folder) {
                    return Ok(None);
                }
                let message = format!(
                    "`{}` cannot be read: {error}; nothing is asked for in its place, and it is \
                     read again every minute",
                    path.display()
                );
                let hint = "make it ours to read (`chown`), or take it away: another is asked for \
                            then";
                state.unread.insert(path.to_owned(), problem(message, hint));
                Err(Unread)
            }
            read => {
                state.unread.remove(path);
                Ok(read.ok())
            }
        }
    }

    fn write(&self, path: &Path, text: &str) -> bool {
        if self.bytes(path).is_err() {
            return false;
        }
        let written =
            file::make_folder(&self.folder).and_then(|()| file::replace(path, text.as_bytes()));
        let mut state = self.state();
        match &written {
            Ok(()) => {
                state.problems.remove(path);
                state.problems.remove(&self.folder);
            }
            Err(error) => self.is_unwritable(&mut state, error),
        }
        written.is_ok()
    }

    fn is_unwritable(&self, state: &mut State, error: &io::Error) {
        let folder = self.folder.display();
        let message = format!(
            "cannot write to `{folder}`: {error}; certificates are lost when the balancer ends"
        );
        let hint = "mount a volume there that the balancer may write to, or give the folder to its \
                    user (`chown`). Without it every restart asks for new certificates, of which \
                    authorities give few";
        state.problems.insert(self.folder.clone(), problem(message, hint));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn problem(message: String, hint: &str) -> Problem {
    Problem::new(Subject::Setting, message, hint).about("state")
}

/// Whether there is no such file, be it that something else is in its way.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What of a name may stand in a file's name.
fn plain(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}

/// Tells texts apart that cannot stand in a file's name.
fn mark(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref().iter().take(MARK_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// File systems take 255, and something is added.
const NAME_BYTES_MAX: usize = 200;

const MARK_BYTES: usize = 6;

#[cfg(test)]
mod tests;

//! What stands in a few files together, as they change.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::tls::files::read::{Opened, Stamp, Unread, open};

/// Files that make up one thing, and the last good one that they have made.
#[derive(Debug)]
pub(super) struct Watched<T, F> {
    pub(super) paths: Vec<PathBuf>,
    value: Option<T>,
    trouble: Option<(Trouble<F>, Instant)>,
    /// Those from which value or trouble were made.
    read: Option<Vec<Stamp>>,
    /// Those of the last look, and since when there have been others.
    moving: Option<(Vec<Stamp>, Instant)>,
}

/// What keeps the files from counting.
#[derive(Debug)]
pub(super) enum Trouble<F> {
    Unread(Unread),
    /// What is in them.
    Content(F),
}

impl<T, F> Watched<T, F> {
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, value: None, trouble: None, read: None, moving: None }
    }

    /// The last good one.
    pub(super) fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// What a person should know of at `now`. Files are seldom replaced all at
    /// once, so that while an older one serves it must have stood for a while.
    pub(super) fn trouble(&self, now: Instant) -> Option<&Trouble<F>> {
        let (trouble, since) = self.trouble.as_ref()?;
        let may_pass = match trouble {
            Trouble::Unread(unread) => unread.may_pass(),
            Trouble::Content(_) => true,
        };
        let wait = self.value.is_some() && may_pass && now < *since + PATIENCE;
        (!wait).then_some(trouble)
    }

    /// Looks at the files and has `make` make one of what they hold, if they
    /// have changed and are still; it is given the one before. Whether there is
    /// a new one.
    pub(super) fn look(
        &mut self,
        now: Instant,
        make: impl FnOnce(&[Vec<u8>], &[Opened], Option<&T>) -> Result<T, F>,
    ) -> bool {
        let opened: Result<Vec<Opened>, Unread> = self.paths.iter().map(|it| open(it)).collect();
        let opened = match opened {
            Ok(opened) => opened,
            Err(unread) => return self.note(Trouble::Unread(unread), None, now),
        };
        let stamps: Vec<Stamp> = opened.iter().map(|it| it.stamp).collect();
        if self.read.as_ref() == Some(&stamps) {
            self.moving = None;
            return false;
        }
        if self.value.is_some() && !self.is_still(&stamps, now) {
            return false;
        }
        let contents: Result<Vec<_>, _> =
            opened.iter().zip(&self.paths).map(|(file, path)| file.read(path)).collect();
        let made = match contents {
            Ok(contents) => make(&contents, &opened, self.value.as_ref()),
            Err(unread) => return self.note(Trouble::Unread(unread), None, now),
        };
        match made {
            Ok(value) => {
                self.value = Some(value);
                self.trouble = None;
                self.read = Some(stamps);
                self.moving = None;
                true
            }
            Err(fault) => self.note(Trouble::Content(fault), Some(stamps), now),
        }
    }

    /// Judges what was rejected once more, though the files are the same: it may
    /// be its time now. Whether there is a new one.
    pub(super) fn judge_again(&mut self, judge: impl FnOnce(&F, Option<&T>) -> Option<T>) -> bool {
        let Some((Trouble::Content(fault), _)) = &self.trouble else { return false };
        let Some(value) = judge(fault, self.value.as_ref()) else { return false };
        self.value = Some(value);
        self.trouble = None;
        true
    }

    /// Whether they are as at the last look, or have not come to rest for so
    /// long that they are taken as they are.
    fn is_still(&mut self, stamps: &[Stamp], now: Instant) -> bool {
        match &mut self.moving {
            Some((last, since)) => {
                let still = last == stamps || *since + RESTLESS <= now;
                stamps.clone_into(last);
                still
            }
            None => {
                self.moving = Some((stamps.to_vec(), now));
                false
            }
        }
    }

    fn note(&mut self, trouble: Trouble<F>, read: Option<Vec<Stamp>>, now: Instant) -> bool {
        let since = self.trouble.take().map_or(now, |(_, since)| since);
        self.trouble = Some((trouble, since));
        self.read = read;
        self.moving = None;
        false
    }
}

/// Whoever renews a certificate writes its files within this time.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Longer than it takes to copy a file; what is half written then is bad, and
/// is read again when it changes.
const RESTLESS: Duration = Duration::from_secs(5);

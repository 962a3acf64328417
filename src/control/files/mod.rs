//! Reading the files that labels name, off the control loop.
//!
//! A file system may hang. One look at all of them is under way at a time, on a
//! thread of its own, and what has not been read within [`PATIENCE`] is told and
//! waited for no longer.

mod look;
mod past;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::control::files::look::{Look, look};
use crate::control::files::past::{Past, STILL};
use crate::domain::files::Files;

/// What is new of one file: its content, or why it cannot be read.
pub(super) type News = (Arc<str>, Result<Arc<[u8]>, Arc<str>>);

/// What looks at several files have found.
type Looks = Vec<(Arc<str>, Look)>;

/// The files that are wanted, and how they were at the last look.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: Arc<Path>,
    wanted: BTreeSet<Arc<str>>,
    /// Of those that were read; the others have none yet.
    pasts: BTreeMap<Arc<str>, Past>,
    looking: Option<JoinHandle<Looks>>,
    /// When that look, or the last one, began.
    began: Instant,
    /// None while there is nothing to look at.
    next_look: Option<Instant>,
    /// Wanted and never looked at.
    unread: BTreeSet<Arc<str>>,
    /// When nobody waits for those any longer.
    give_up: Option<Instant>,
}

impl Shelf {
    pub(super) fn new(files: &Files) -> Self {
        Self {
            folder: Arc::clone(&files.folder),
            wanted: BTreeSet::new(),
            pasts: BTreeMap::new(),
            looking: None,
            began: Instant::now(),
            next_look: None,
            unread: BTreeSet::new(),
            give_up: None,
        }
    }

    /// From now on these are looked at. Whether `files` has all of them: if not,
    /// the news will come soon.
    pub(super) fn want(&mut self, wanted: &BTreeSet<Arc<str>>, files: &Files) -> bool {
        if self.wanted != *wanted {
            self.wanted.clone_from(wanted);
            self.pasts.retain(|path, _| wanted.contains(path));
        }
        let unread = wanted.iter().filter(|path| files.get(path).is_none());
        self.unread = unread.cloned().collect();
        if self.unread.is_empty() {
            self.give_up = None;
        } else {
            let now = Instant::now();
            // Behind a look that hangs nothing is read soon: waiting for it once
            // more with every plan would delay them all.
            let hangs = self.looking.is_some() && self.began + PATIENCE <= now;
            self.give_up.get_or_insert(if hangs { now } else { now + PATIENCE });
            self.next_look = Some(now);
        }
        if wanted.is_empty() {
            self.next_look = None;
        } else {
            self.next_look.get_or_insert(Instant::now() + LOOK_EVERY);
        }
        self.unread.is_empty()
    }

    /// Waits until a file is not as it was.
    pub(super) async fn news(&mut self) -> Vec<News> {
        loop {
            let news = if let Some(looking) = &mut self.looking {
                tokio::select! {
                    looks = looking => {
                        self.looking = None;
                        self.take(looks.unwrap_or_default())
                    }
                    () = until(self.give_up) => self.lose_patience(),
                }
            } else {
                until(self.next_look).await;
                self.begin();
                Vec::new()
            };
            if !news.is_empty() {
                return news;
            }
        }
    }

    fn begin(&mut self) {
        let with_past =
            |path: &Arc<str>| (Arc::clone(path), self.pasts.get(path).copied().unwrap_or_default());
        let mut wanted: Vec<_> = self.wanted.iter().map(with_past).collect();
        // New files take the place of none that is in use.
        wanted.sort_by_key(|(_, past)| *past == Past::Unread);
        let folder = Arc::clone(&self.folder);
        let now = Instant::now();
        self.looking = Some(spawn_blocking(move || {
            let looks = wanted.into_iter().enumerate().map(|(index, (path, past))| {
                let found = if index < FILES_MAX {
                    look(&folder, &path, past, now)
                } else {
                    Look::Failed(format!("labels name more than {FILES_MAX} files").into())
                };
                (path, found)
            });
            looks.collect()
        }));
        self.began = now;
        self.next_look = Some(self.began + LOOK_EVERY);
    }

    fn take(&mut self, looks: Looks) -> Vec<News> {
        let looks = looks.into_iter().filter(|(path, _)| self.wanted.contains(path));
        let mut news = Vec::new();
        for (path, look) in looks {
            match look {
                Look::Same => {}
                Look::Moving(motion) => {
                    // Without a past it was forgotten meanwhile, and is new again.
                    if let Some(past) = self.pasts.get_mut(&path) {
                        *past = Past::Moving(motion);
                    }
                    let soon = self.began + STILL;
                    self.next_look = self.next_look.map(|next| next.min(soon));
                }
                Look::Read(content, sign) => {
                    self.pasts.insert(Arc::clone(&path), Past::Read(sign));
                    news.push((path, Ok(content)));
                }
                Look::Failed(fault) => {
                    // When it comes back it is read, be it the same or not.
                    if let Some(past) = self.pasts.get_mut(&path) {
                        *past = past.lost();
                    }
                    news.push((path, Err(fault)));
                }
            }
        }
        news
    }

    fn lose_patience(&mut self) -> Vec<News> {
        self.give_up = None;
        let fault: Arc<str> = format!("that takes longer than {PATIENCE:?}").into();
        let unread = std::mem::take(&mut self.unread).into_iter();
        unread.map(|path| (path, Err(Arc::clone(&fault)))).collect()
    }
}

/// Looks once at every file of `wanted`, for those who do not serve.
pub fn read_all(files: &mut Files, wanted: &BTreeSet<Arc<str>>) {
    let folder = Arc::clone(&files.folder);
    for path in wanted.iter().take(FILES_MAX) {
        match look(&folder, path, Past::Unread, Instant::now()) {
            Look::Read(content, _) => _ = files.note(path, Ok(content)),
            Look::Failed(fault) => _ = files.note(path, Err(fault)),
            Look::Same | Look::Moving(_) => {}
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// A change is seen within this and the time of one look, and counts once the
/// file was [`STILL`].
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a plan waits for files that are new in it.
const PATIENCE: Duration = Duration::from_millis(500);

/// Labels may name so many files, of 1 MiB each at most.
const FILES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|&name| name.into()).collect()
    }

    async fn note(shelf: &mut Shelf, files: &mut Files) {
        for (path, found) in shelf.news().await {
            files.note(&path, found);
        }
    }

    #[tokio::test]
    async fn what_is_wanted_is_read_at_once_and_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "one").unwrap();
        let mut files = Files::beneath(folder.path());
        let mut shelf = Shelf::new(&files);
        let held =
            |files: &Files| files.get("a").unwrap().content.as_ref().unwrap().bytes().to_vec();
        let wanted = names(&["a", "b"]);
        assert!(!shelf.want(&wanted, &files));
        note(&mut shelf, &mut files).await;
        assert!(shelf.want(&wanted, &files), "both are known, though one is not there");
        assert_eq!(held(&files), b"one");
        assert!(files.get("b").unwrap().content.is_none());

        fs::write(folder.path().join("a"), "other").unwrap();
        while held(&files) != b"other" {
            tokio::time::timeout(Duration::from_secs(10), note(&mut shelf, &mut files))
                .await
                .expect("the change is seen within 10 s");
        }
        fs::remove_file(folder.path().join("a")).unwrap();
        while files.get("a").unwrap().fault.is_none() {
            note(&mut shelf, &mut files).await;
        }
        assert_eq!(held(&files), b"other");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_looked_at_while_nothing_is_wanted() {
        let files = Files::default();
        let mut shelf = Shelf::new(&files);
        assert!(shelf.want(&BTreeSet::new(), &files));
        assert!(tokio::time::timeout(Duration::from_secs(60), shelf.news()).await.is_err());
        assert!(shelf.looking.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_a_file_system_that_hangs() {
        let files = Files::default();
        let mut shelf = Shelf::new(&files);
        shelf.want(&names(&["a"]), &files);
        shelf.looking = Some(tokio::spawn(pending()));
        let began = Instant::now();
        let news = shelf.news().await;
        assert_eq!(began.elapsed(), PATIENCE);
        let fault: Arc<str> = "that takes longer than 500ms".into();
        assert_eq!(news, [("a".into(), Err(Arc::clone(&fault)))]);

        let began = Instant::now();
        shelf.want(&names(&["b"]), &files);
        assert_eq!(shelf.news().await, [("b".into(), Err(fault))]);
        assert_eq!(began.elapsed(), Duration::ZERO, "nobody waits for it again");
    }

    #[tokio::test]
    async fn the_number_of_files_has_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let wanted: BTreeSet<Arc<str>> =
            (0..=FILES_MAX).map(|number| format!("{number:04}").into()).collect();
        for path in &wanted {
            fs::write(folder.path().join(&**path), "x").unwrap();
        }
        let mut files = Files::beneath(folder.path());
        let mut shelf = Shelf::new(&files);
        shelf.want(&wanted, &files);
        note(&mut shelf, &mut files).await;
        let failed = wanted.iter().filter(|path| files.get(path).unwrap().content.is_none());
        assert_eq!(failed.map(|path| &**path).collect::<Vec<_>>(), ["0256"]);

        let pushed = &names(&["!first"]) | &wanted;
        fs::write(folder.path().join("!first"), "x").unwrap();
        assert!(!shelf.want(&pushed, &files));
        while files.get("!first").is_none() {
            note(&mut shelf, &mut files).await;
        }
        assert!(files.get("!first").unwrap().fault.is_some());
        assert_eq!(files.get("0000").unwrap().fault, None, "it keeps its place");
    }
}

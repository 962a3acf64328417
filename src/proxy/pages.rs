//! Pages that other pools give for answers that failed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use crate::domain::names::PoolName;

/// What one worker has fetched of them. A pool that fails must not have those
/// who bring the news sent to another one each.
#[derive(Debug, Default)]
pub(super) struct Pages {
    known: RefCell<HashMap<Key, Rc<Entry>>>,
    fetching: Cell<usize>,
}

/// What is asked for: of which pool, at which path, and for which host.
pub(super) type Key = (PoolName, String, HeaderValue);

/// A page and its kind.
pub(super) type Page = (Bytes, HeaderValue);

#[derive(Debug)]
struct Entry {
    /// None if there is none to be had. Who comes while it is fetched waits too.
    page: OnceCell<Option<Page>>,
    until: Cell<Instant>,
}

/// As many are fetched as may be.
struct Full;

impl Pages {
    /// The page as it was fetched last, or by `fetching`. None if it cannot be
    /// had soon.
    pub(super) async fn get(
        &self,
        key: Key,
        fetching: impl Future<Output = Option<Page>>,
    ) -> Option<Page> {
        let entry = self.entry(key, Instant::now());
        let finding = entry.page.get_or_try_init(async || {
            let _place = self.begin()?;
            let page = timeout(PATIENCE, fetching).await.ok().flatten();
            entry.until.set(Instant::now() + LASTS);
            Ok::<_, Full>(page)
        });
        timeout(PATIENCE, finding).await.ok()?.ok()?.clone()
    }

    /// Forgets those that are old.
    pub(super) fn sweep(&self, now: Instant) {
        self.known.borrow_mut().retain(|_, entry| entry.until.get() > now);
    }

    fn entry(&self, key: Key, now: Instant) -> Rc<Entry> {
        if self.known.borrow().len() >= PAGES_MAX {
            self.sweep(now);
        }
        let mut known = self.known.borrow_mut();
        if let Some(entry) = known.get(&key).filter(|entry| entry.until.get() > now) {
            return Rc::clone(entry);
        }
        if known.len() >= PAGES_MAX {
            known.clear();
        }
        let until = Cell::new(now + 2 * PATIENCE);
        let entry = Rc::new(Entry { page: OnceCell::new(), until });
        known.insert(key, Rc::clone(&entry));
        entry
    }

    fn begin(&self) -> Result<Fetching<'_>, Full> {
        let fetching = self.fetching.get();
        if fetching >= FETCHING_MAX {
            return Err(Full);
        }
        self.fetching.set(fetching + 1);
        Ok(Fetching(&self.fetching))
    }
}

/// Counts a fetch while it is under way, also if nobody waits for it any more.
struct Fetching<'a>(&'a Cell<usize>);

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// For a page, whoever fetches it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Long enough for a burst of failures, and short enough that nobody who mends a
/// page wonders.
const LASTS: Duration = Duration::from_secs(1);

const FETCHING_MAX: usize = 8;

/// Pages that are remembered; each pool, status and host has its own.
const PAGES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    fn key(number: usize) -> Key {
        let pool = PoolName::new(None, "pages").unwrap();
        (pool, format!("/{number}"), HeaderValue::from_static("a.example"))
    }

    fn page() -> Option<Page> {
        Some((Bytes::from_static(b"page"), HeaderValue::from_static("text/html")))
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_is_fetched_once_a_second_and_a_missing_one_too() {
        for outcome in [page(), None] {
            let (pages, fetched) = (Pages::default(), Cell::new(0));
            let ask = async || {
                pages
                    .get(key(0), async {
                        fetched.set(fetched.get() + 1);
                        tokio::time::sleep(LASTS / 2).await;
                        outcome.clone()
                    })
                    .await
            };
            let outcomes = futures::future::join_all((0..9).map(|_| ask())).await;
            assert!(outcomes.iter().all(|it| *it == outcome));
            assert_eq!(fetched.get(), 1);
            tokio::time::sleep(LASTS).await;
            ask().await;
            assert_eq!(fetched.get(), 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn fetches_and_pages_have_a_bound_and_nobody_waits_for_long() {
        let pages = Pages::default();
        let began = Instant::now();
        let mut asking: Vec<_> =
            (0..FETCHING_MAX).map(|number| Box::pin(pages.get(key(number), pending()))).collect();
        for ask in &mut asking {
            assert!(futures::poll!(ask).is_pending());
        }
        assert_eq!(pages.get(key(99), async { page() }).await, None);
        assert_eq!(began.elapsed(), Duration::ZERO);
        futures::future::join_all(asking).await;
        assert_eq!(began.elapsed(), PATIENCE);
        for number in 0..2 * PAGES_MAX {
            assert_eq!(
                pages.get(key(number), async { page() }).await.is_some(),
                number >= FETCHING_MAX
            );
        }
        assert!(pages.known.borrow().len() <= PAGES_MAX);
        pages.sweep(Instant::now() + 2 * PATIENCE);
        assert!(pages.known.borrow().is_empty());
    }
}

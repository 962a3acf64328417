//! Verifying passwords, off the workers and a few at a time.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use tokio::sync::{OnceCell, oneshot};
use tokio::time::{Instant, timeout};

use crate::domain::auth::{Credentials, Hash, Users};

/// Verifies for all workers, on threads of its own: a hash is made to take
/// long, which must delay no other request.
#[derive(Clone)]
pub struct Verifier {
    key: Arc<hmac::Key>,
    jobs: Arc<OnceLock<SyncSender<Job>>>,
    shares: Arc<Shares>,
}

/// The jobs of each pool that wait or are under way. One that is guessed at must
/// leave room for the others.
#[derive(Default)]
struct Shares(Mutex<HashMap<Box<str>, usize>>);

/// A place among those of its pool.
struct Share {
    of: Arc<Shares>,
    pool: Box<str>,
}

/// What one worker remembers of verifications, by a keyed hash of all that
/// they depended on: a password is nowhere kept, and a changed file counts at
/// once.
#[derive(Debug, Default)]
pub(super) struct Verified {
    known: RefCell<HashMap<[u8; 32], Rc<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    /// Who comes while it is found out waits for it too.
    outcome: OnceCell<bool>,
    until: Cell<Instant>,
}

struct Job {
    hash: Hash,
    password: Vec<u8>,
    reply: oneshot::Sender<bool>,
    _share: Share,
}

/// Too many passwords wait to be verified, or it takes too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Busy;

impl Verifier {
    /// Starts no thread before the first password comes.
    pub fn new() -> Result<Self, Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?;
        Ok(Self { key: Arc::new(key), jobs: Arc::default(), shares: Arc::default() })
    }

    /// Whether `users` of this pool may pass with `given`.
    pub(super) async fn verify(
        &self,
        verified: &Verified,
        pool: &str,
        users: &Users,
        given: &Credentials,
    ) -> Result<bool, Busy> {
        let name = self.digest(&[given.user.as_bytes()]);
        let number = name.first_chunk().map_or(0, |head| u64::from_le_bytes(*head));
        let Some((hash, own)) = users.hash_of(&given.user, number) else { return Ok(false) };
        let all = [
            pool.as_bytes(),
            given.user.as_bytes(),
            &given.password,
            hash.as_str().as_bytes(),
            &[u8::from(own)],
        ];
        let entry = verified.entry(self.digest(&all), Instant::now());
        let outcome = entry.outcome.get_or_try_init(async || {
            let right = self.find_out(pool, hash, given).await?;
            let may_pass = right && own;
            let lasts = if may_pass { YES_LASTS } else { NO_LASTS };
            entry.until.set(Instant::now() + lasts);
            Ok(may_pass)
        });
        timeout(PATIENCE, outcome).await.map_err(|_| Busy)?.copied()
    }

    async fn find_out(&self, pool: &str, hash: &Hash, given: &Credentials) -> Result<bool, Busy> {
        let (reply, answer) = oneshot::channel();
        let share = self.shares.take(pool)?;
        let (hash, password) = (hash.clone(), given.password.clone());
        let job = Job { hash, password, reply, _share: share };
        match self.jobs.get_or_init(start).try_send(job) {
            Ok(()) => answer.await.map_err(|_| Busy),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Busy),
        }
    }

    fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        digest
    }
}

impl Shares {
    fn take(self: &Arc<Self>, pool: &str) -> Result<Share, Busy> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // While there is room for all, nobody takes it from others.
        let is_scarce = counts.values().sum::<usize>() >= QUEUE_MAX / 2;
        let count = counts.entry(pool.into()).or_default();
        if *count >= SHARE_MAX && is_scarce {
            return Err(Busy);
        }
        *count += 1;
        Ok(Share { of: Arc::clone(self), pool: pool.into() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.pool) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.pool);
            }
        }
    }
}

impl Verified {
    fn entry(&self, digest: [u8; 32], now: Instant) -> Rc<Entry> {
        let mut known = self.known.borrow_mut();
        if let Some(entry) = known.get(&digest)
            && entry.until.get() > now
        {
            return Rc::clone(entry);
        }
        if known.len() >= KNOWN_MAX {
            known.retain(|_, entry| entry.until.get() > now);
        }
        if known.len() >= KNOWN_MAX {
            // Who is in the right is verified again; that there are so many
            // others means that somebody is guessing.
            known.clear();
        }
        let entry =
            Rc::new(Entry { outcome: OnceCell::new(), until: Cell::new(now + UNKNOWN_LASTS) });
        known.insert(digest, Rc::clone(&entry));
        entry
    }
}

/// Starts the threads that verify. They end when nobody can ask any more.
fn start() -> SyncSender<Job> {
    let (jobs, received) = sync_channel(QUEUE_MAX);
    let received = Arc::new(Mutex::new(received));
    for number in 0..THREADS {
        let received = Arc::clone(&received);
        // Without a thread nobody passes, which is told by each request.
        let _ = thread::Builder::new()
            .name(format!("passwords-{number}"))
            .spawn(move || work(&received));
    }
    jobs
}

fn work(received: &Mutex<Receiver<Job>>) {
    loop {
        let job = received.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { hash, password, reply, _share }) = job else { return };
        // Who has gone meanwhile needs no answer.
        if !reply.is_closed() {
            let right = catch_unwind(AssertUnwindSafe(|| hash.verifies(&password)));
            let _ = reply.send(right.unwrap_or(false));
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// So few that guessing leaves most of the machine to others.
const THREADS: usize = 2;

/// Passwords that wait: at 50 ms each on so many threads the last one waits for
/// less than 2 s. A hash may be made to take far longer, where [`PATIENCE`] ends it.
const QUEUE_MAX: usize = 64;

/// Of one pool, with those under way, once half of the queue is taken.
const SHARE_MAX: usize = 16;

/// For one password to be verified.
const PATIENCE: Duration = Duration::from_secs(5);

/// Verifications that one worker remembers.
const KNOWN_MAX: usize = 1024;

const YES_LASTS: Duration = Duration::from_secs(300);

/// Long enough that the same mistake again and again costs little.
const NO_LASTS: Duration = Duration::from_secs(2);

/// While it is found out. One that has been given up is forgotten after it.
const UNKNOWN_LASTS: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn given(user: &str, password: &str) -> Credentials {
        Credentials { user: user.to_owned(), password: password.as_bytes().to_vec() }
    }

    fn users() -> Users {
        Users::from_list("ann:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0").0
    }

    #[tokio::test]
    async fn the_right_password_of_the_right_user_passes_and_nothing_else() {
        let (verifier, verified) = (Verifier::new().unwrap(), Verified::default());
        for _ in 0..2 {
            for (user, password, passes) in [
                ("ann", "secret", true),
                ("ann", "Secret", false),
                // The hash it is held against is ann's.
                ("bob", "secret", false),
                ("", "secret", false),
            ] {
                let (users, given) = (users(), given(user, password));
                let outcome = verifier.verify(&verified, "p", &users, &given).await;
                assert_eq!(outcome, Ok(passes), "{user}:{password}");
            }
        }
        assert_eq!(verified.known.borrow().len(), 4);
    }

    #[tokio::test]
    async fn a_changed_hash_counts_at_once() {
        let (verifier, verified) = (Verifier::new().unwrap(), Verified::default());
        let ask = async |users: Users| {
            verifier.verify(&verified, "p", &users, &given("ann", "secret")).await
        };
        assert_eq!(ask(users()).await, Ok(true));
        let other = Users::from_list("ann:$apr1$x$tMwYqBfQwi3FYAr0aJc8M/").0;
        assert_eq!(ask(other).await, Ok(false));
        assert_eq!(ask(Users::default()).await, Ok(false));
    }

    #[tokio::test]
    async fn who_comes_while_it_is_found_out_does_not_ask_again() {
        let (verifier, verified) = (Verifier::new().unwrap(), Verified::default());
        let (users, given) = (users(), given("ann", "secret"));
        let asks = (0..4 * QUEUE_MAX).map(|_| verifier.verify(&verified, "p", &users, &given));
        let outcomes = futures::future::join_all(asks).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Ok(true)));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_a_hash_that_takes_long() {
        let verifier = Verifier::new().unwrap();
        let (jobs, _received) = sync_channel(QUEUE_MAX);
        assert!(verifier.jobs.set(jobs).is_ok());
        let (verified, began) = (Verified::default(), Instant::now());
        let (users, given) = (users(), given("ann", "secret"));
        let asks = (0..9).map(|_| verifier.verify(&verified, "p", &users, &given));
        let outcomes = futures::future::join_all(asks).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Err(Busy)));
        assert_eq!(began.elapsed(), PATIENCE);
    }

    #[tokio::test]
    async fn those_who_wait_and_those_who_are_remembered_have_a_bound() {
        let verifier = Verifier::new().unwrap();
        // Nobody works, so that the queue fills up.
        let (jobs, received) = sync_channel(QUEUE_MAX);
        assert!(verifier.jobs.set(jobs).is_ok());
        let (verified, users) = (Verified::default(), users());
        let ask = |pool: usize, number: usize| {
            let (verifier, verified, users) = (&verifier, &verified, &users);
            Box::pin(async move {
                let given = given("ann", &number.to_string());
                verifier.verify(verified, &pool.to_string(), users, &given).await
            })
        };
        let mut asks = Vec::new();
        // The first one has half of the queue, while nobody else wants it.
        for (pool, share) in [(0, QUEUE_MAX / 2), (1, SHARE_MAX), (2, SHARE_MAX)] {
            for number in 0..share {
                let mut ask = ask(pool, number);
                assert!(futures::poll!(&mut ask).is_pending(), "{pool} {number}");
                asks.push(ask);
            }
            assert_eq!(ask(pool, share).await, Err(Busy), "others have room");
        }
        assert_eq!(ask(QUEUE_MAX, 0).await, Err(Busy));
        drop(received);
        assert_eq!(asks.swap_remove(0).await, Err(Busy));
        drop(asks);
        assert!(verifier.shares.0.lock().unwrap().is_empty());

        let now = Instant::now();
        for number in 0..2 * KNOWN_MAX {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_le_bytes());
            verified.entry(digest, now);
        }
        assert!(verified.known.borrow().len() <= KNOWN_MAX);
    }
}

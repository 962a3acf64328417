//! What is known of a daemon, and when to ask it: the part of the watch that
//! neither waits nor speaks.
//!
//! It outlives every connection, and is the same whoever brings it what the
//! daemon says.

use tokio::time::Instant;

use super::events::Recent;
use super::identity::Candidates;
use super::inspect::{Inspected, Ticket};
use super::settle::Settle;
use super::view::{View, Wish};
use super::wire::{self, Event, List};
use crate::domain::world::{Hint, Observation};

/// Takes lists, events and inspects in, and tells what they come to.
#[derive(Debug)]
pub struct Observer {
    view: View,
    recent: Recent,
    settle: Settle,
    listed: Listings,
    untold: Option<Untold>,
}

/// The first event that nothing was told of yet.
#[derive(Clone, Copy, Debug)]
struct Untold {
    /// In nanoseconds since the epoch.
    happened: i64,
    heard: Instant,
}

/// Which lists there have been.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Listings {
    None,
    /// On an earlier connection.
    Before,
    Now,
}

/// What was written by a daemon and cannot be read, and why.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unreadable(#[from] serde_json::Error);

impl Observer {
    /// For a watch from the daemon's own host.
    pub fn new(label_prefix: &str) -> Self {
        Self::within(label_prefix, Candidates::default())
    }

    pub(super) fn within(label_prefix: &str, candidates: Candidates) -> Self {
        Self {
            view: View::new(label_prefix, candidates),
            recent: Recent::default(),
            settle: Settle::new(),
            listed: Listings::None,
            untold: None,
        }
    }

    /// A new connection begins: events may have been missed before it.
    pub fn connect(&mut self) {
        self.view.doubt();
        self.settle = Settle::new();
        if self.listed == Listings::Now {
            self.listed = Listings::Before;
        }
    }

    /// From when on a new stream must repeat events; both in nanoseconds since
    /// the epoch.
    pub fn since(&self, now: i64) -> i64 {
        self.recent.since(now)
    }

    /// Takes in a line of the event stream. What is returned was lost by it, and
    /// is to be told before anything else.
    pub fn hear_line(&mut self, line: &[u8], now: Instant) -> Result<Option<Hint>, Unreadable> {
        Ok(wire::event(line)?.and_then(|event| self.hear(&event, now)))
    }

    pub(super) fn hear(&mut self, event: &Event, now: Instant) -> Option<Hint> {
        if !self.recent.is_new(event) {
            return None;
        }
        let (wish, hint) = self.view.hear(event, now);
        // Most events of a busy engine concern nobody here.
        if self.has_listed() && (wish != Wish::Nothing || hint.is_some()) {
            self.untold.get_or_insert(Untold { happened: event.at, heard: now });
        }
        match wish {
            Wish::Nothing => {}
            Wish::List => self.settle.ask(now),
            Wish::ListAgain => self.settle.ask_again(now),
        }
        hint
    }

    /// Events were dropped, so that anything may have happened.
    pub fn lose_events(&mut self, now: Instant) {
        self.view.doubt();
        self.settle.ask(now);
    }

    /// When a list is to be asked for, which may be in the past; none while one
    /// is under way.
    pub fn list_due(&self, now: Instant) -> Option<Instant> {
        let settled = self.settle.due(now)?;
        Some(self.view.due().map_or(settled, |due| due.min(settled)))
    }

    pub fn list_began(&mut self, now: Instant) {
        self.settle.began(now);
    }

    /// The list that is under way came to its end, well or not.
    pub fn list_ended(&mut self, now: Instant) {
        self.settle.ended(now);
    }

    /// Takes in the list, as it was written, that was asked for at `began`.
    pub fn list_text(
        &mut self,
        text: &[u8],
        began: Instant,
        now: Instant,
    ) -> Result<(), Unreadable> {
        self.list(&wire::list(text)?, began, now);
        Ok(())
    }

    pub(super) fn list(&mut self, list: &List, began: Instant, now: Instant) {
        self.view.list(list, began, now);
        self.view.retry_failed();
        self.listed = Listings::Now;
    }

    /// When the first event happened that nothing was told of yet, in nanoseconds
    /// since the epoch. What a stream repeats of the time before it counts for none.
    pub fn event_at(&self) -> Option<i64> {
        self.untold.map(|it| it.happened)
    }

    /// All that is known has been told.
    pub fn told(&mut self) {
        self.untold = None;
    }

    /// What was heard before `began` has changed nothing that is worth telling.
    pub fn forget_events(&mut self, began: Instant) {
        self.untold = self.untold.filter(|it| it.heard > began);
    }

    /// Whether this connection has brought a list.
    pub fn has_listed(&self) -> bool {
        self.listed == Listings::Now
    }

    /// The next container to inspect, which counts as under way from now on. The
    /// first list of a connection goes before all inspects.
    pub fn next_to_inspect(&mut self) -> Option<Ticket> {
        self.has_listed().then(|| self.view.next_to_inspect()).flatten()
    }

    /// Takes in what an inspect told, as it was written; none if the container is
    /// gone.
    pub fn inspected_text(
        &mut self,
        ticket: &Ticket,
        text: Option<&[u8]>,
    ) -> Result<(), Unreadable> {
        let inspected = text.map(Inspected::read).transpose()?;
        self.inspected(ticket, inspected);
        Ok(())
    }

    /// None: it could not be inspected. If it still exists it is tried again.
    pub(super) fn inspected(&mut self, ticket: &Ticket, inspected: Option<Inspected>) {
        match inspected {
            Some(inspected) => self.view.inspected(ticket, inspected),
            None => self.view.not_inspected(ticket),
        }
    }

    /// All that is known, put together; none before the first list of all.
    pub fn observation(&self, now: Instant) -> Option<Observation> {
        (self.listed != Listings::None).then(|| self.view.observation(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::world::{Loss, RunState};
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn nothing_is_told_before_the_first_list_and_events_count_from_the_start() {
        let (now, mut observer) = (Instant::now(), Observer::new("lb"));
        assert_eq!(observer.hear_line(&event("die", 1), now).unwrap(), None);
        assert!(observer.observation(now).is_none());
        observer.list_began(now);
        list(&mut observer, now);
        let observation = observer.observation(now).unwrap();
        assert_eq!(observation.workloads[0].run, RunState::Stopped, "the list lagged");
    }

    #[test]
    fn a_loss_is_told_between_two_connections_too() {
        let (now, mut observer) = listed();
        observer.connect();
        assert!(!observer.has_listed());
        let hint = observer.hear_line(&event("die", 1), now).unwrap().unwrap();
        assert_eq!(hint.loss, Loss::Stopped);
        assert_eq!(observer.observation(now).unwrap().workloads[0].run, RunState::Stopped);
    }

    #[test]
    fn an_event_that_a_new_stream_repeats_says_nothing() {
        let (now, mut observer) = listed();
        assert!(observer.hear_line(&event("pause", 1), now).unwrap().is_some());
        assert!(observer.hear_line(&event("unpause", 2), now).unwrap().is_none());
        observer.connect();
        assert_eq!(observer.hear_line(&event("pause", 1), now).unwrap(), None);
        assert_eq!(observer.observation(now).unwrap().workloads[0].run, RunState::Running);
    }

    #[test]
    fn an_addition_waits_50_ms_at_most_however_much_happens_and_a_loss_not_at_all() {
        let (start, mut observer) = listed();
        for at in 1..100 {
            let now = start + Duration::from_millis(at);
            if let Some(due) = observer.list_due(now).filter(|due| *due <= now) {
                assert_eq!(due - start, Duration::from_millis(51));
                return;
            }
            observer.hear_line(&event("start", at), now).unwrap();
            let loss = observer.hear_line(&event("pause", at), now).unwrap();
            assert_eq!(loss.is_some(), at == 1, "a life that no list showed has nothing to lose");
        }
        panic!("no list was due");
    }

    #[test]
    fn the_first_event_that_was_not_told_counts_until_a_list_that_shows_nothing() {
        let (start, mut observer) = listed();
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(observer.event_at(), None);
        observer.hear_line(&event("start", 7), after(1)).unwrap();
        observer.hear_line(&event("die", 9), after(2)).unwrap();
        assert_eq!(observer.event_at(), Some(7));
        observer.forget_events(start);
        assert_eq!(observer.event_at(), Some(7), "the list began before it");
        observer.forget_events(after(1));
        assert_eq!(observer.event_at(), None);
        observer.hear_line(&event("start", 11), after(3)).unwrap();
        observer.told();
        assert_eq!(observer.event_at(), None);
        observer.connect();
        observer.hear_line(&event("die", 13), after(4)).unwrap();
        assert_eq!(observer.event_at(), None, "a new stream may repeat what is long past");
    }

    fn listed() -> (Instant, Observer) {
        let (now, mut observer) = (Instant::now(), Observer::new("lb"));
        observer.list_began(now);
        list(&mut observer, now);
        (now, observer)
    }

    fn list(observer: &mut Observer, now: Instant) {
        let web = json!({"Id": "web", "State": "running", "Labels": {"lb.pool": "web"}});
        observer.list_text(json!([web]).to_string().as_bytes(), now, now).unwrap();
        observer.list_ended(now);
    }

    fn event(action: &str, at: u64) -> Vec<u8> {
        let actor = json!({"ID": "web", "Attributes": {"lb.pool": "web"}});
        json!({"Type": "container", "Action": action, "timeNano": at, "Actor": actor})
            .to_string()
            .into_bytes()
    }
}

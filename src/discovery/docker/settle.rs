//! When to ask for a list.

use std::time::Duration;

use tokio::time::Instant;

/// Gathers what asks for a list, so that lists neither overlap nor chase every
/// single event of a burst.
#[derive(Debug)]
pub(super) struct Settle {
    asked: Option<Asked>,
    again: [Option<Instant>; 2],
    under_way: bool,
    began: Option<Instant>,
    ended: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    first: Instant,
    last: Instant,
}

impl Settle {
    /// Asks for the first list at once.
    pub(super) fn new() -> Self {
        Self { asked: None, again: [None; 2], under_way: false, began: None, ended: None }
    }

    /// Something happened that a list should show.
    pub(super) fn ask(&mut self, now: Instant) {
        let first = self.asked.map_or(now, |asked| asked.first);
        self.asked = Some(Asked { first, last: now });
    }

    /// As [`ask`](Self::ask), where the list lags behind the event: it is asked
    /// for again when it mostly knows, and when it surely does.
    pub(super) fn ask_again(&mut self, now: Instant) {
        self.ask(now);
        self.again = LAGS.map(|lag| Some(now + lag));
    }

    /// When the next list is due, which may be in the past; none while one is
    /// under way.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.under_way {
            return None;
        }
        let asked = self.asked.map(|asked| match self.ended {
            Some(ended) if asked.first < ended + QUIET => {
                (asked.last + QUIET).min(asked.first + GATHER_MAX)
            }
            Some(_) | None => asked.first,
        });
        let regular = self.began.map_or(now, |began| began + RELIST);
        [asked].into_iter().chain(self.again).flatten().chain([regular]).min()
    }

    pub(super) fn began(&mut self, now: Instant) {
        self.asked = None;
        self.again = self.again.map(|again| again.filter(|&again| again > now));
        self.under_way = true;
        self.began = Some(now);
    }

    pub(super) fn ended(&mut self, now: Instant) {
        self.under_way = false;
        self.ended = Some(now);
    }
}

const QUIET: Duration = Duration::from_millis(10);

const GATHER_MAX: Duration = Duration::from_millis(50);

/// Lists trail network events by 1 to 7 ms, and by more on a busy machine.
const LAGS: [Duration; 2] = [Duration::from_millis(25), Duration::from_millis(500)];

/// Heals what no event told.
const RELIST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_list_is_due_at_once_and_then_every_30_seconds() {
        let (start, mut settle) = (Instant::now(), Settle::new());
        assert_eq!(settle.due(start), Some(start));
        settle.began(start);
        settle.ended(start + ms(3));
        assert_eq!(settle.due(start + ms(3)), Some(start + RELIST));
    }

    #[test]
    fn an_event_after_a_quiet_time_is_listed_at_once() {
        let (start, mut settle) = listed();
        settle.ask(start + ms(40));
        assert_eq!(settle.due(start + ms(40)), Some(start + ms(40)));
    }

    #[test]
    fn a_burst_right_after_a_list_is_gathered_until_it_is_quiet() {
        let (start, mut settle) = listed();
        settle.ask(start + ms(1));
        settle.ask(start + ms(6));
        assert_eq!(settle.due(start + ms(6)), Some(start + ms(16)));
    }

    #[test]
    fn a_burst_that_does_not_end_is_gathered_for_50_ms_at_most() {
        let (start, mut settle) = listed();
        for at in (1..100).step_by(5) {
            settle.ask(start + ms(at));
        }
        assert_eq!(settle.due(start + ms(100)), Some(start + ms(51)));
    }

    #[test]
    fn lists_never_overlap_and_an_event_during_one_asks_for_another() {
        let (start, mut settle) = listed();
        settle.ask(start + ms(40));
        settle.began(start + ms(40));
        settle.ask(start + ms(41));
        assert_eq!(settle.due(start + ms(45)), None);
        settle.ended(start + ms(45));
        assert_eq!(settle.due(start + ms(45)), Some(start + ms(51)));
        settle.began(start + ms(51));
        settle.ended(start + ms(54));
        assert_eq!(settle.due(start + ms(54)), Some(start + ms(51) + RELIST));
    }

    #[test]
    fn where_the_list_lags_it_is_asked_again_and_again() {
        let (start, mut settle) = listed();
        settle.ask_again(start + ms(40));
        let mut lists = Vec::new();
        let mut now = start + ms(40);
        while now < start + RELIST {
            lists.push((now - start).as_millis());
            settle.began(now);
            settle.ended(now + ms(2));
            now = settle.due(now + ms(2)).unwrap();
        }
        assert_eq!(lists, [40, 65, 540]);
    }

    /// A list has just ended.
    fn listed() -> (Instant, Settle) {
        let (start, mut settle) = (Instant::now(), Settle::new());
        settle.began(start);
        settle.ended(start);
        (start, settle)
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }
}

//! How long after a replica began to leave its last request came.

use std::collections::BTreeMap;

use super::clock::Micros;
use super::events::Event;

/// When requests arrived at a replica; of each, when its client sent it.
pub(super) type Arrivals = BTreeMap<String, Vec<Arrival>>;

#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) at: Micros,
    pub(super) sent: Micros,
    pub(super) target: String,
}

/// How a replica left.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Lag {
    /// From the event to the last request that was sent to the replica. Below
    /// zero: it came before the event was heard.
    pub(super) time: Micros,
    /// Of that request.
    pub(super) target: String,
    /// The event and the replica, and what more is known.
    pub(super) told: String,
}

/// Of every replica that left, from the soonest to the latest.
pub(super) fn lags(events: &[Event], arrivals: &Arrivals) -> Vec<Lag> {
    let mut lags = Vec::new();
    for (replica, arrivals) in arrivals {
        let own: Vec<_> = events.iter().filter(|event| event.container == *replica).collect();
        let mut back = Micros::MIN / 2;
        for (index, event) in own.iter().enumerate() {
            if !leaves(event) || event.heard < back {
                continue;
            }
            let returns = own.iter().skip(index).find(|event| comes_back(event));
            let end = returns.map_or(Micros::MAX / 2, |event| event.heard);
            // A pause lasts as long as it lasts.
            let most = if event.action == "pause" { end } else { event.heard + LEAVING_MAX };
            let since = std::mem::replace(&mut back, end.min(most));
            let before = &own[index.saturating_sub(HISTORY)..index];
            // One that had nothing since it left last cannot leave again.
            let lag = lag(event, before, back, arrivals);
            lags.extend(lag.filter(|lag| lag.time + event.heard > since - RETURN));
        }
    }
    lags.sort();
    lags
}

fn lag(event: &Event, before: &[&Event], end: Micros, arrivals: &[Arrival]) -> Option<Lag> {
    let sent = |arrival: &Arrival| match event.action.as_str() {
        // What is sent to a paused replica arrives when it is thawed, so of that
        // the client's clock counts.
        "pause" if arrival.at < end + THAWED => arrival.sent,
        _ => arrival.at,
    };
    let (at, target) = arrivals
        .iter()
        .map(|arrival| (sent(arrival), &arrival.target))
        .filter(|(at, _)| *at < end - RETURN)
        .max()?;
    let ago = |it: &&Event| format!("{} {} µs before", it.action, event.heard - it.heard);
    let before: Vec<_> = before.iter().map(ago).collect();
    let told = format!("{} of {} ({})", event.action, event.container, before.join(", "));
    Some(Lag { time: at - event.heard, target: target.clone(), told })
}

fn leaves(event: &Event) -> bool {
    match event.action.as_str() {
        "die" | "pause" | "disconnect" => true,
        "kill" => matches!(event.signal, Some(TERM | KILL)),
        _ => false,
    }
}

fn comes_back(event: &Event) -> bool {
    matches!(event.action.as_str(), "start" | "unpause" | "connect")
}

const TERM: u8 = 15;
const KILL: u8 = 9;

/// How many events before the one are told, for who wonders.
const HISTORY: usize = 3;

/// Between a return and when it is heard of, requests come rightly: a busy Engine
/// tells of it late, and its list may tell sooner.
const RETURN: Micros = 100_000;
/// What has gathered at a paused replica has arrived so long after its thaw.
const THAWED: Micros = 100_000;

/// Longer than the replicas' stop time-out (2 s); one that ignored its signal
/// may have requests again a second after it.
const LEAVING_MAX: Micros = 2_500_000;

mod tests {
    use super::*;

    #[test]
    fn the_last_request_before_the_return_counts() {
        let events = [event(100, "kill"), event(150, "die"), event(400, "start")];
        let arrivals = requests(&[(90, 90), (120, 120), (450, 450)]);
        assert_eq!(times(&events, &arrivals), [20]);
    }

    #[test]
    fn a_replica_leaves_once_until_it_serves_again() {
        let first = [event(100, "kill"), event(2_700, "kill"), event(2_710, "die")];
        assert_eq!(times(&first, &requests(&[(90, 90)])), [-10]);
        let again = [event(100, "die"), event(400, "start"), event(900, "kill")];
        assert_eq!(times(&again, &requests(&[(90, 90), (895, 895)])), [-10, -5]);
    }

    #[test]
    fn what_came_before_the_event_is_below_zero() {
        let events = [event(100, "die")];
        assert_eq!(times(&events, &requests(&[(60, 60), (90, 90)])), [-10]);
    }

    #[test]
    fn what_a_paused_replica_finds_at_its_thaw_counts_by_when_it_was_sent() {
        let events = [event(100, "pause"), event(5_100, "unpause")];
        // In flight, sent to a frozen one, and after the thaw.
        let arrivals = requests(&[(98, 98), (5_099, 99), (5_150, 130), (5_300, 5_300)]);
        assert_eq!(times(&events, &arrivals), [30]);
    }

    #[test]
    fn a_signal_that_is_no_stop_is_no_leaving() {
        let hangup = Event { signal: Some(1), ..event(100, "kill") };
        assert!(times(&[hangup], &requests(&[(150, 150)])).is_empty());
    }

    #[test]
    fn one_that_ignored_its_signal_may_come_back() {
        let events = [event(100, "kill")];
        assert_eq!(times(&events, &requests(&[(105, 105), (3_200, 3_200)])), [5]);
    }

    fn times(events: &[Event], arrivals: &Arrivals) -> Vec<Micros> {
        lags(events, arrivals).into_iter().map(|lag| lag.time / 1_000).collect()
    }

    /// At so many milliseconds.
    fn event(at: Micros, action: &str) -> Event {
        let (action, container) = (action.to_owned(), "a".to_owned());
        Event { heard: at * 1_000, action, container, signal: Some(TERM), project: None }
    }

    /// When they arrived and when they were sent, in milliseconds.
    fn requests(all: &[(Micros, Micros)]) -> Arrivals {
        let arrival =
            |(at, sent)| Arrival { at: at * 1_000, sent: sent * 1_000, target: String::new() };
        Arrivals::from([("a".to_owned(), all.iter().copied().map(arrival).collect())])
    }
}

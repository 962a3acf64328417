//! How long after a replica began to leave its last request came.

use std::collections::BTreeMap;

use super::clock::Micros;
use super::events::Event;

/// When requests arrived at a replica; of each, when its client sent it.
pub(super) type Arrivals = BTreeMap<String, Vec<Arrival>>;

#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) at: Micros,
    pub(super) sent: Micros,
}

/// For every replica that left: from the event to the last request that was sent
/// to it. Below zero: the last one came before the event was heard.
pub(super) fn lags(events: &[Event], arrivals: &Arrivals) -> Vec<Micros> {
    let mut lags = Vec::new();
    for (replica, arrivals) in arrivals {
        let own: Vec<_> = events.iter().filter(|event| event.container == *replica).collect();
        let mut back = Micros::MIN;
        for (index, event) in own.iter().enumerate() {
            if !leaves(event) || event.heard < back {
                continue;
            }
            let returns = own.iter().skip(index).find(|event| comes_back(event));
            let end = returns.map_or(Micros::MAX, |event| event.heard);
            back = end.min(event.heard + LEAVING_MAX);
            lags.extend(lag(event, back, arrivals));
        }
    }
    lags
}

fn lag(event: &Event, end: Micros, arrivals: &[Arrival]) -> Option<Micros> {
    // What is sent to a paused replica arrives when it is thawed, so of those
    // the client's clock counts.
    let moment = |arrival: &Arrival| match event.action.as_str() {
        "pause" if arrival.at >= end => arrival.sent,
        _ => arrival.at,
    };
    let last = arrivals.iter().map(moment).filter(|&at| at < end).max()?;
    Some(last - event.heard)
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

/// Longer than the replicas' stop time-out (2 s); one that ignored its signal
/// may have requests again a second after it.
const LEAVING_MAX: Micros = 2_500_000;

//! Connections that wait for their next request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::pool::Vitals;
use crate::domain::upstream::Tls;
use crate::proxy::upstream::connect::Line;

/// The idle connections of one worker, by the serial of their endpoint. The
/// last one put back is the first one taken, so that few stay warm and the
/// others grow old and are closed.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Idle {
    lists: RefCell<HashMap<u64, List>>,
}

/// Which idle connections a request may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::proxy) enum Reuse {
    Never,
    /// Those that the replica has no reason to end just now: for a request that
    /// could not be sent again if it did.
    Young,
    Any,
}

#[derive(Debug)]
struct List {
    vitals: Arc<Vitals>,
    lines: Vec<(Line, Instant)>,
}

impl Idle {
    /// A connection that may serve as `reuse` says, and whose replica has proved by
    /// `tls` who it is.
    pub(in crate::proxy) fn take(
        &self,
        serial: u64,
        tls: Option<&Arc<Tls>>,
        reuse: Reuse,
    ) -> Option<Line> {
        let mut lists = self.lists.borrow_mut();
        let lines = &mut lists.get_mut(&serial)?.lines;
        let is_young = |since: &Instant| since.elapsed() < YOUNG;
        while let Some((line, _)) = match reuse {
            Reuse::Never => None,
            Reuse::Young => lines.pop_if(|(_, since)| is_young(since)),
            Reuse::Any => lines.pop(),
        } {
            if !line.sender.is_closed() && line.tls.as_ref() == tls {
                return Some(line);
            }
        }
        None
    }

    /// Keeps a connection, unless its endpoint leaves or has enough of them.
    pub(in crate::proxy) fn put(&self, line: Line, vitals: &Arc<Vitals>, now: Instant) {
        if !vitals.state().keeps_connections() {
            return;
        }
        let mut lists = self.lists.borrow_mut();
        let list = lists
            .entry(vitals.serial())
            .or_insert_with(|| List { vitals: Arc::clone(vitals), lines: Vec::new() });
        if list.lines.len() < PER_ENDPOINT_MAX {
            list.lines.push((line, now));
        }
    }

    /// Closes connections to endpoints that leave, and those idle for too long.
    /// How many are left.
    pub(in crate::proxy) fn sweep(&self, now: Instant) -> usize {
        let mut lists = self.lists.borrow_mut();
        lists.retain(|_, list| {
            if !list.vitals.state().keeps_connections() {
                return false;
            }
            list.lines.retain(|(line, since)| {
                !line.sender.is_closed() && now.duration_since(*since) < IDLE_TIMEOUT
            });
            !list.lines.is_empty()
        });
        lists.values().map(|list| list.lines.len()).sum()
    }
}

/// Idle connections that one worker keeps to one endpoint.
const PER_ENDPOINT_MAX: usize = 256;

/// Below the keep-alive time of most application servers would be safest, but
/// those differ from 2 s to 75 s; a connection that they close meanwhile is
/// noticed when it closes, and a request that meets the close is sent again.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// No server that keeps connections at all ends one that was idle for less.
pub(super) const YOUNG: Duration = Duration::from_secs(1);

//! What only an inspect tells, and the count of each container's lives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bollard::models::ContainerInspectResponse;

/// What an inspect tells beyond the list.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Inspected {
    pub(super) details: Details,
    /// When its current life began, as it was written; none if it never ran.
    pub(super) started_at: Option<String>,
}

/// What stays the same for all of a container's lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Details {
    /// The number of the signal that asks it to stop.
    pub(super) stop_signal: i32,
    pub(super) stop_timeout: Duration,
    /// TCP ports, ascending.
    pub(super) exposed: Vec<u16>,
    /// In nanoseconds since the epoch, where the list has whole seconds.
    pub(super) created: Option<i64>,
    /// As its process sees it: `hostname:` of a compose file, else the short id.
    pub(super) host_name: Option<Arc<str>>,
}

/// All containers that are known, and what is known beyond the list.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    records: BTreeMap<Arc<str>, Record>,
}

#[derive(Debug, Default)]
struct Record {
    life: u32,
    /// When its death was heard of, if no start was since. All three times are
    /// nanoseconds since the epoch by the daemon's clock.
    dead: Option<i64>,
    /// When the current life began, whoever told it.
    began: Option<i64>,
    /// The start event of the current life, if it was heard.
    start: Option<i64>,
    details: Option<Details>,
    started_at: Option<String>,
    inspection: Inspection,
    /// How many inspects were begun; only the last one counts.
    begun: u32,
}

/// One inspect that was begun.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub id: Arc<str>,
    number: u32,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Inspection {
    #[default]
    Wanted,
    UnderWay,
    /// It failed, and is tried again at the next regular list.
    Failed,
    Done,
}

impl Ledger {
    pub(super) fn life(&self, id: &str) -> u32 {
        self.records.get(id).map_or(0, |record| record.life)
    }

    pub(super) fn details(&self, id: &str) -> Option<&Details> {
        self.records.get(id)?.details.as_ref()
    }

    /// Keeps `ids` alone: those that are new are wanted to be inspected.
    pub(super) fn keep<'a>(&mut self, ids: impl Iterator<Item = &'a Arc<str>>) {
        let mut before = std::mem::take(&mut self.records);
        self.records =
            ids.map(|id| (Arc::clone(id), before.remove(id).unwrap_or_default())).collect();
    }

    pub(super) fn died(&mut self, id: &str, at: i64) {
        if let Some(record) = self.records.get_mut(id) {
            record.dead = Some(at);
        }
    }

    /// A start after a death begins another life, and so does one after another
    /// start; the first one does not. Whether it began another life.
    pub(super) fn started(&mut self, id: &Arc<str>, at: i64) -> bool {
        let record = self.records.entry(Arc::clone(id)).or_default();
        let again = record.start.is_some_and(|start| start < at);
        let another_life = std::mem::take(&mut record.dead).is_some() || again;
        if another_life {
            record.life = record.life.wrapping_add(1);
            record.started_at = None;
        }
        record.start = Some(at);
        record.began = record.began.max(Some(at));
        record.inspection = Inspection::Wanted;
        another_life
    }

    /// When the current life began, where that is known: what happened before
    /// concerns a former one.
    pub(super) fn began(&self, id: &str) -> Option<i64> {
        self.records.get(id)?.began
    }

    /// Events may have been missed: what started meanwhile only an inspect tells.
    pub(super) fn doubt_all(&mut self) {
        for record in self.records.values_mut() {
            record.inspection = Inspection::Wanted;
        }
    }

    /// As [`doubt_all`](Self::doubt_all), for one container.
    pub(super) fn doubt(&mut self, id: &str) {
        if let Some(record) = self.records.get_mut(id) {
            record.inspection = Inspection::Wanted;
        }
    }

    pub(super) fn retry_failed(&mut self) {
        for record in self.records.values_mut() {
            if record.inspection == Inspection::Failed {
                record.inspection = Inspection::Wanted;
            }
        }
    }

    /// The next container to inspect, which counts as under way from now on.
    pub(super) fn next_wanted(&mut self) -> Option<Ticket> {
        let wanted =
            |(_, record): &(&Arc<str>, &mut Record)| record.inspection == Inspection::Wanted;
        let (id, record) = self.records.iter_mut().find(wanted)?;
        record.inspection = Inspection::UnderWay;
        record.begun = record.begun.wrapping_add(1);
        Some(Ticket { id: Arc::clone(id), number: record.begun })
    }

    /// Takes in what an inspect told. Says whether it shows a life of which no
    /// event told.
    pub(super) fn learn(&mut self, ticket: &Ticket, inspected: Inspected) -> bool {
        let Some(record) = self.records.get_mut(&ticket.id) else {
            return false;
        };
        record.details = Some(inspected.details);
        // A start came while this inspect was under way: it may still tell of
        // the life before, and another one follows.
        if !record.awaits(ticket) {
            return false;
        }
        record.inspection = Inspection::Done;
        let another_life = record.started_at.is_some()
            && inspected.started_at.is_some()
            && record.started_at != inspected.started_at;
        let began = inspected.started_at.as_deref().and_then(nanos_since_epoch);
        if another_life {
            record.life = record.life.wrapping_add(1);
            record.start = None;
            // Its end may have been heard of before its beginning.
            record.dead = record.dead.filter(|&died| began.is_some_and(|began| began < died));
        }
        record.began = record.began.max(began);
        record.started_at = inspected.started_at.or(record.started_at.take());
        another_life
    }

    pub(super) fn failed(&mut self, ticket: &Ticket) {
        if let Some(record) = self.records.get_mut(&ticket.id)
            && record.awaits(ticket)
        {
            record.inspection = Inspection::Failed;
        }
    }
}

impl Record {
    fn awaits(&self, ticket: &Ticket) -> bool {
        self.inspection == Inspection::UnderWay && self.begun == ticket.number
    }
}

impl Default for Details {
    /// What holds for a container that has not been inspected yet.
    fn default() -> Self {
        Self {
            stop_signal: SIGTERM,
            stop_timeout: STOP_TIMEOUT,
            exposed: Vec::new(),
            created: None,
            host_name: None,
        }
    }
}

impl Inspected {
    pub(super) fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text).map(ContainerInspectResponse::into)
    }
}

impl From<ContainerInspectResponse> for Inspected {
    fn from(response: ContainerInspectResponse) -> Self {
        let config = response.config.unwrap_or_default();
        let stop_signal = config.stop_signal.as_deref().and_then(signal);
        let stop_timeout = config
            .stop_timeout
            // Less than none is for ever.
            .map(|seconds| u64::try_from(seconds).map_or(STOP_TIMEOUT_MAX, Duration::from_secs));
        let mut exposed: Vec<u16> = config
            .exposed_ports
            .unwrap_or_default()
            .iter()
            .filter_map(|port| tcp_port(port))
            .collect();
        exposed.sort_unstable();
        exposed.dedup();
        let started_at = response.state.and_then(|state| state.started_at);
        Self {
            details: Details {
                stop_signal: stop_signal.unwrap_or(SIGTERM),
                stop_timeout: stop_timeout.unwrap_or(STOP_TIMEOUT).min(STOP_TIMEOUT_MAX),
                exposed,
                created: response.created.as_deref().and_then(nanos_since_epoch),
                host_name: config.hostname.filter(|it| !it.is_empty()).map(Into::into),
            },
            // Go's zero time stands for "never".
            started_at: started_at.filter(|at| !at.is_empty() && !at.starts_with("0001-")),
        }
    }
}

/// The number of a signal written as Docker takes it: `15`, `TERM`, `SIGTERM`
/// or `SIGRTMIN+3` (Linux numbers).
fn signal(written: &str) -> Option<i32> {
    if let Ok(number) = written.parse() {
        return Some(number).filter(|number| (1..=SIGRTMAX).contains(number));
    }
    let upper = written.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str| if rest.is_empty() { Some(0) } else { rest.parse::<i32>().ok() };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        offset(rest)?.checked_add(SIGRTMIN)?
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        offset(rest)?.checked_add(SIGRTMAX)?
    } else {
        return SIGNALS.iter().find(|(known, _)| *known == name).map(|&(_, number)| number);
    };
    Some(number).filter(|number| (SIGRTMIN..=SIGRTMAX).contains(number))
}

/// The number in `8080/tcp` or `8080`; none of other protocols.
fn tcp_port(written: &str) -> Option<u16> {
    let (port, protocol) = written.split_once('/').unwrap_or((written, "tcp"));
    port.parse().ok().filter(|&port| port != 0 && protocol == "tcp")
}

/// Reads RFC 3339 in UTC, as Docker writes it.
fn nanos_since_epoch(written: &str) -> Option<i64> {
    let time = humantime::parse_rfc3339(written).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

const SIGTERM: i32 = 15;

/// As glibc and Docker number them.
const SIGRTMIN: i32 = 34;
const SIGRTMAX: i32 = 64;

/// Docker's default.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Longer ones are taken for this; a hint must end some day.
const STOP_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

const SIGNALS: [(&str, i32); 33] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

#[cfg(test)]
mod tests;

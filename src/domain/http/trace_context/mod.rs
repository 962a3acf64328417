//! W3C Trace Context: to which trace a request belongs.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use http::{HeaderMap, HeaderName};

/// What `traceparent` says (Trace Context Level 2, section 3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceParent {
    pub trace: TraceId,
    pub parent: SpanId,
    /// Whether whoever asks records the trace.
    pub sampled: bool,
    /// Whether the trace's id was drawn by chance, in its right half at least.
    pub random: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceId(NonZeroU128);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SpanId(NonZeroU64);

impl TraceParent {
    /// Reads the value of a field; none of one that says nothing. A version that
    /// we do not know is read as far as all of them are to be alike.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_at_checked(LENGTH)?;
        let &[v0, v1, b'-', ref trace @ .., b'-', f0, f1] = head else { return None };
        let (trace, parent) = trace.split_at_checked(32)?;
        let parent = parent.strip_prefix(b"-")?;
        let version = hex(&[v0, v1])?;
        let fits = match version {
            0 => rest.is_empty(),
            INVALID => false,
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        let trace = TraceId(NonZeroU128::new(hex(trace)?)?);
        let parent = SpanId(NonZeroU64::new(u64::try_from(hex(parent)?).ok()?)?);
        let flags = hex(&[f0, f1])?;
        let (sampled, random) = (flags & SAMPLED != 0, flags & RANDOM != 0);
        fits.then_some(Self { trace, parent, sampled, random })
    }
}

/// Leaves to a request what can be passed on: one valid `traceparent`, and with
/// it what vendors add to that, unless it is too long. It is passed on as it
/// is, since we are no part of the trace. Which trace it is.
pub fn pass_on(headers: &mut HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (first, more) = (values.next(), values.next());
    let is_sent = first.is_some();
    let parent = first.filter(|_| more.is_none()).and_then(|it| TraceParent::parse(it.as_bytes()));
    if parent.is_none() && is_sent {
        headers.remove(TRACEPARENT);
    }
    if parent.is_none() || state_length(headers) > STATE_BYTES_MAX {
        headers.remove(TRACESTATE);
    }
    parent
}

/// Of all fields, as if they were joined to one.
fn state_length(headers: &HeaderMap) -> usize {
    let lengths = headers.get_all(TRACESTATE).iter().map(|value| value.len() + ",".len());
    lengths.sum::<usize>().saturating_sub(",".len())
}

/// Lower case alone, as the format has it.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value: u128, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-` trace `-` parent `-` flags.
const LENGTH: usize = 55;

const INVALID: u128 = 0xff;

const SAMPLED: u128 = 1;
const RANDOM: u128 = 2;

/// What everybody should be able to pass on (section 3.3.1.5). Half a list could
/// be mistaken for a whole one, so of a longer one nothing is left.
const STATE_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests;

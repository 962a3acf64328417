//! The fields of a line, in their order, whatever format they are written in.

use std::net::SocketAddr;

use crate::domain::http::trace_context::TraceId;
use crate::telemetry::access_log::Entry;
use crate::telemetry::access_log::format::version;

/// The name of a field, with all that stands between the value before it and
/// its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) json: &'static str,
    pub(super) pair: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Text(Option<&'a [u8]>),
    Number(Option<u64>),
    Flag(bool),
    Upstream(Option<SocketAddr>),
    Trace(Option<TraceId>),
}

impl Value<'_> {
    pub(super) fn is_none(&self) -> bool {
        matches!(
            self,
            Self::Text(None) | Self::Number(None) | Self::Upstream(None) | Self::Trace(None)
        )
    }
}

macro_rules! key {
    ($name:literal) => {
        Key { json: concat!(",\"", $name, "\":"), pair: concat!(" ", $name, "=") }
    };
}

/// All but the time and the client, which are there of every request.
pub(super) fn all<'a>(entry: &Entry<'a>, put: &mut impl FnMut(Key, Value<'a>)) {
    put(key!("method"), Value::Text(Some(entry.method.as_bytes())));
    put(key!("target"), Value::Text(Some(entry.target)));
    put(key!("version"), Value::Text(Some(version(entry.version).as_bytes())));
    if entry.tls.is_some() {
        of_connection(entry, put);
    }
    put(key!("status"), Value::Number(Some(entry.status.into())));
    put(key!("response_bytes"), Value::Number(Some(entry.response_bytes)));
    put(key!("user"), text(entry.user));
    put(key!("referer"), Value::Text(entry.referer));
    put(key!("user_agent"), Value::Text(entry.user_agent));
    of_the_rest(entry, put);
}

pub(super) fn of_connection<'a>(entry: &Entry<'a>, put: &mut impl FnMut(Key, Value<'a>)) {
    put(key!("tls"), text(entry.tls.map(|tls| tls.version)));
    // Names in handshakes have the bound of host names, so no other is needed here.
    put(key!("sni"), text(entry.tls.and_then(|tls| tls.sni)));
}

/// What Apache's format has no place for.
pub(super) fn of_the_rest<'a>(entry: &Entry<'a>, put: &mut impl FnMut(Key, Value<'a>)) {
    put(key!("host"), Value::Text(entry.host));
    put(key!("request_id"), text(entry.request_id));
    put(key!("trace_id"), Value::Trace(entry.trace));
    put(key!("pool"), text(entry.pool));
    put(key!("project"), text(entry.project));
    put(key!("service"), text(entry.service));
    put(key!("replica"), text(entry.replica));
    put(key!("container"), Value::Text(entry.container.map(short_id)));
    put(key!("upstream"), Value::Upstream(entry.upstream));
    put(key!("reused"), Value::Flag(entry.reused));
    put(key!("attempts"), Value::Number(Some(entry.attempts.into())));
    put(key!("request_bytes"), Value::Number(Some(entry.request_bytes)));
    put(key!("wait_us"), Value::Number(Some(entry.wait_us)));
    put(key!("connect_us"), Value::Number(entry.connect_us));
    put(key!("first_byte_us"), Value::Number(entry.first_byte_us));
    put(key!("overhead_us"), Value::Number(Some(entry.overhead_us)));
    put(key!("total_us"), Value::Number(Some(entry.total_us)));
    put(key!("end"), text(Some(entry.end)));
}

fn text(text: Option<&str>) -> Value<'_> {
    Value::Text(text.map(str::as_bytes))
}

/// As Docker shows ids; what is no id of a container stays as it is.
pub(super) fn short_id(id: &str) -> &[u8] {
    let whole = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = id.as_bytes();
    if whole { id.get(..12).unwrap_or(id) } else { id }
}

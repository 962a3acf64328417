//! A request to speak another protocol after it (RFC 9110 §7.8).

use http::HeaderMap;
use http::header::{CONNECTION, HeaderValue, UPGRADE};

use super::token::{is_tchar, list};

/// The protocols that a client asked for and that we let through.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upgrade {
    protocols: HeaderValue,
}

impl Upgrade {
    /// Those of `fields` that an upstream may be asked for, if any. HTTP itself
    /// (`h2c`) and TLS are not among them: on those the client speaks with us.
    pub fn asked<'a>(fields: impl Iterator<Item = &'a HeaderValue>) -> Option<Self> {
        let mut only = None;
        let mut kept: Vec<&[u8]> = Vec::new();
        for field in fields {
            let before = kept.len();
            kept.extend(list(field.as_bytes()).filter(|protocol| may_pass(protocol)));
            if kept.len() == before + 1 {
                only = Some(field);
            }
        }
        // The usual field, a lone `websocket`, is not copied.
        match (kept.as_slice(), only) {
            ([], _) => None,
            ([protocol], Some(field)) if field.as_bytes() == *protocol => {
                Some(Self { protocols: field.clone() })
            }
            _ => {
                let protocols = HeaderValue::from_bytes(&kept.join(&b", "[..])).ok()?;
                Some(Self { protocols })
            }
        }
    }

    /// Asks the next hop for them.
    pub fn restore(&self, headers: &mut HeaderMap) {
        headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocols.clone());
    }

    /// Whether it is a WebSocket that is asked for, and nothing else.
    pub fn is_websocket(&self) -> bool {
        self.protocols.as_bytes().eq_ignore_ascii_case(b"websocket")
    }

    /// Whether the `Upgrade` field of a 101 switches to what was asked for. A
    /// 101 of which this is not true is a fault of the upstream.
    pub fn is_answered_by(&self, answer: Option<&HeaderValue>) -> bool {
        let asked = |protocol: &[u8]| {
            list(self.protocols.as_bytes())
                .any(|asked| asked.eq_ignore_ascii_case(protocol) || is_name_of(asked, protocol))
        };
        answer.is_some_and(|answer| list(answer.as_bytes()).all(asked))
    }
}

fn may_pass(protocol: &[u8]) -> bool {
    let written = protocol.iter().all(|&byte| is_tchar(byte) || byte == b'/');
    let ours = |name: &[u8]| protocol.eq_ignore_ascii_case(name) || is_name_of(name, protocol);
    written && !protocol.is_empty() && !OURS.iter().any(|name| ours(name))
}

/// Whether `protocol` is a version of the one named: `foo/2` of `foo`.
fn is_name_of(name: &[u8], protocol: &[u8]) -> bool {
    protocol.split(|&byte| byte == b'/').next().is_some_and(|own| own.eq_ignore_ascii_case(name))
}

/// Protocols between the client and us.
const OURS: [&[u8]; 4] = [b"h2c", b"h2", b"http", b"tls"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_asked_of_an_upstream_is_kept() {
        for (fields, kept) in [
            (&["websocket"][..], Some("websocket")),
            (&["WebSocket"], Some("WebSocket")),
            (&[" websocket"], Some("websocket")),
            (&["h2c"], None),
            (&["H2C, websocket"], Some("websocket")),
            (&["h2c", "websocket"], Some("websocket")),
            (&["foo/2, bar"], Some("foo/2, bar")),
            (&["foo", "bar"], Some("foo, bar")),
            (&["TLS/1.2, HTTP/2.0, h2"], None),
            (&["web socket"], None),
            (&["", ","], None),
            (&[], None),
        ] {
            let values: Vec<_> = fields
                .iter()
                .map(|field| HeaderValue::from_bytes(field.as_bytes()).unwrap())
                .collect();
            let asked = Upgrade::asked(values.iter()).map(|upgrade| upgrade.protocols);
            assert_eq!(asked.as_ref().map(|value| value.to_str().unwrap()), kept, "{fields:?}");
        }
    }

    #[test]
    fn a_websocket_is_one_where_nothing_else_is_asked_for() {
        for (asked, is_websocket) in
            [("WebSocket", true), ("websocket, foo", false), ("foo", false)]
        {
            let asked_for = Upgrade { protocols: HeaderValue::from_str(asked).unwrap() };
            assert_eq!(asked_for.is_websocket(), is_websocket, "{asked}");
        }
    }

    #[test]
    fn an_answer_switches_to_what_was_asked_for_or_is_none() {
        for (asked, answer, agrees) in [
            ("websocket", Some("WebSocket"), true),
            ("foo, bar", Some("bar"), true),
            ("foo", Some("foo/2"), true),
            ("foo/2", Some("foo/3"), false),
            ("websocket", Some("h2c"), false),
            ("websocket", Some("websocket, h2c"), false),
            ("websocket", Some(""), false),
            ("websocket", None, false),
        ] {
            let asked_for = Upgrade { protocols: HeaderValue::from_str(asked).unwrap() };
            let answer_value = answer.map(|answer| HeaderValue::from_str(answer).unwrap());
            assert_eq!(
                asked_for.is_answered_by(answer_value.as_ref()),
                agrees,
                "{asked:?} {answer:?}"
            );
        }
    }
}

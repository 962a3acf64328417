//! What one request asks of its answer: `?delay=100ms&status=503&size=10KiB`, or
//! `?status=302&location=/login`.

use std::time::Duration;

use http::{HeaderValue, StatusCode};

use crate::cli::whoami::{DELAY_MAX, body_size};
use crate::domain::units;

/// How one request is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Wish {
    pub(super) delay: Duration,
    pub(super) status: StatusCode,
    /// None: as long as it comes out.
    pub(super) size: Option<u64>,
    /// The `Location` field.
    pub(super) location: Option<HeaderValue>,
}

impl Wish {
    /// Lays what `query` says over this; keys that are not ours are left alone.
    /// The error is a sentence for the client.
    pub(super) fn asked(mut self, query: &str) -> Result<Self, String> {
        for pair in query.split('&') {
            let (key, text) = pair.split_once('=').unwrap_or((pair, ""));
            let wrong = |fault: String| format!("`{key}` is `{text}`, which {fault}");
            match key {
                "delay" => {
                    let delay = units::duration(text, DELAY_MAX);
                    self.delay = delay.map_err(|fault| wrong(fault.to_string()))?;
                }
                "status" => self.status = status(text).map_err(wrong)?,
                "location" => {
                    let location = HeaderValue::from_str(text);
                    let location = location.map_err(|_| wrong("is no address".to_owned()))?;
                    self.location = Some(location);
                }
                "size" => self.size = Some(body_size(text).map_err(wrong)?),
                _ => {}
            }
        }
        Ok(self)
    }
}

fn status(text: &str) -> Result<StatusCode, String> {
    let code = text.parse().ok().filter(|code| (200..=599).contains(code));
    code.and_then(|code: u16| StatusCode::from_u16(code).ok())
        .ok_or_else(|| "is not a status from 200 to 599".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Wish =
        Wish { delay: Duration::ZERO, status: StatusCode::OK, size: None, location: None };

    #[test]
    fn a_query_overrides_what_it_names() {
        let asked = PLAIN.asked("x=1&delay=100ms&status=503&size=10KiB&location=/in").unwrap();
        assert_eq!(
            asked,
            Wish {
                delay: Duration::from_millis(100),
                status: StatusCode::SERVICE_UNAVAILABLE,
                size: Some(10_240),
                location: Some(HeaderValue::from_static("/in")),
            }
        );
        assert_eq!(PLAIN.asked("").unwrap(), PLAIN);
    }

    #[test]
    fn a_wrong_wish_is_told() {
        for query in [
            "delay=5",
            "delay=2h",
            "location=a\nb",
            "status=99",
            "status=600",
            "status=x",
            "size=1",
            "size",
        ] {
            let told = PLAIN.asked(query).unwrap_err();
            assert!(told.contains(", which is "), "{told}");
        }
    }
}

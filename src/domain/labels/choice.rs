//! Values of the labels that say who gets a request: `balance`, `sticky`, `pin.*`.

use std::sync::Arc;

use http::HeaderName;

use crate::domain::balance::{HashKey, Policy};
use crate::domain::http::token::is_tchar;
use crate::domain::labels::unknown::near;
use crate::domain::labels::value::InvalidValue;
use crate::domain::pool::Sticky;

pub(super) fn policy(written: &str) -> Result<Policy, InvalidValue> {
    let (word, rest) = split(written);
    let wanted = word.replace('-', "_");
    if wanted == "hash" {
        return hash_key(rest.unwrap_or_default()).map(Policy::Hash);
    }
    match Policy::PLAIN.into_iter().find(|policy| policy.word() == wanted && rest.is_none()) {
        Some(policy) => Ok(policy),
        None => {
            let words = Policy::PLAIN.iter().map(Policy::word);
            Err(InvalidValue::Word { meant: near(&wanted, words) })
        }
    }
}

/// What stands after `hash:`.
fn hash_key(written: &str) -> Result<HashKey, InvalidValue> {
    let (word, name) = split(written);
    match (word.as_str(), name) {
        ("uri", None) => Ok(HashKey::Uri),
        ("header", Some(name)) => Ok(HashKey::Header(header(name)?)),
        ("cookie", Some(name)) => Ok(HashKey::Cookie(cookie(name)?)),
        _ => Err(InvalidValue::HashKey),
    }
}

/// None where clients need not come back to their replica.
pub(super) fn sticky(written: &str) -> Result<Option<Sticky>, InvalidValue> {
    let (word, name) = split(written);
    match (word.as_str(), name) {
        ("off", None) => Ok(None),
        ("ip", None) => Ok(Some(Sticky::Ip)),
        ("cookie", None) => Ok(Some(Sticky::Cookie(None))),
        ("cookie", Some(name)) => Ok(Some(Sticky::Cookie(Some(cookie(name)?)))),
        (other, _) => {
            Err(InvalidValue::Word { meant: near(other, ["cookie", "ip", "off"].into_iter()) })
        }
    }
}

pub(super) fn header(written: &str) -> Result<HeaderName, InvalidValue> {
    let name = token(written).ok_or(InvalidValue::HeaderName)?;
    HeaderName::try_from(name).map_err(|_| InvalidValue::HeaderName)
}

/// The name of a cookie, with its case.
pub(super) fn cookie(written: &str) -> Result<Arc<str>, InvalidValue> {
    token(written).map(Arc::from).ok_or(InvalidValue::CookieName)
}

/// The word before the first colon in lower case, and what follows it.
fn split(written: &str) -> (String, Option<&str>) {
    let (word, rest) = match written.split_once(':') {
        Some((word, rest)) => (word, Some(rest)),
        None => (written, None),
    };
    (word.trim().to_ascii_lowercase(), rest)
}

fn token(written: &str) -> Option<&str> {
    let name = written.trim();
    let usable = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_tchar);
    usable.then_some(name)
}

/// Of the name of a header or a cookie.
const NAME_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_a_word_or_a_hash_of_something() {
        for policy in Policy::PLAIN {
            assert_eq!(self::policy(&policy.to_string()), Ok(policy));
        }
        for (written, shown) in [
            (" Least-Request ", "least_request"),
            ("hash:uri", "hash:uri"),
            ("Hash:Header:X-User", "hash:header:x-user"),
            ("hash:cookie: Session ", "hash:cookie:Session"),
        ] {
            assert_eq!(policy(written).map(|it| it.to_string()).as_deref(), Ok(shown));
        }
        for (written, fault) in [
            ("roundrobin", InvalidValue::Word { meant: Some("round_robin") }),
            ("fastest", InvalidValue::Word { meant: None }),
            ("p2c:x", InvalidValue::Word { meant: Some("p2c") }),
            ("", InvalidValue::Word { meant: None }),
            ("hash", InvalidValue::HashKey),
            ("hash:", InvalidValue::HashKey),
            ("hash:foo", InvalidValue::HashKey),
            ("hash:uri:x", InvalidValue::HashKey),
            ("hash:header", InvalidValue::HashKey),
            ("hash:header:", InvalidValue::HeaderName),
            ("hash:header:X User", InvalidValue::HeaderName),
            ("hash:header:é", InvalidValue::HeaderName),
            ("hash:cookie:a=b", InvalidValue::CookieName),
        ] {
            assert_eq!(policy(written), Err(fault), "{written}");
        }
    }

    #[test]
    fn stickiness_is_by_cookie_or_address() {
        let named = |name: &str| Some(Sticky::Cookie(Some(name.into())));
        for (written, expected) in [
            ("cookie", Some(Sticky::Cookie(None))),
            ("Cookie:Route", named("Route")),
            ("ip", Some(Sticky::Ip)),
            ("off", None),
        ] {
            assert_eq!(sticky(written), Ok(expected), "{written}");
        }
        assert_eq!(sticky("cookie:"), Err(InvalidValue::CookieName));
        assert_eq!(sticky("cookie:a;b"), Err(InvalidValue::CookieName));
        assert_eq!(sticky("cooky"), Err(InvalidValue::Word { meant: Some("cookie") }));
        assert_eq!(sticky("ip:x"), Err(InvalidValue::Word { meant: Some("ip") }));
    }

    #[test]
    fn the_name_of_a_header_or_cookie_has_a_bound() {
        let most = "x".repeat(NAME_BYTES_MAX);
        assert!(header(&most).is_ok() && cookie(&most).is_ok());
        assert_eq!(header(&format!("{most}x")), Err(InvalidValue::HeaderName));
        assert_eq!(cookie(&format!("{most}x")), Err(InvalidValue::CookieName));
    }
}

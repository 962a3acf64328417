//! Values of labels that ask who sends a request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderName;
use http::header::HOST;

use crate::domain::auth::{InvalidUser, Users};
use crate::domain::http::framing;
use crate::domain::labels::LabelSettings;
use crate::domain::labels::guards::{header, no_text};
use crate::domain::labels::own::Known;
use crate::domain::labels::value::InvalidValue;
use crate::domain::labels::voice::Voice;
use crate::domain::middleware::{AuthUrl, InvalidAuthUrl};

/// Users, of a list, a text in base 64 or a file. Those that are in order may
/// pass though others are not, which are told.
pub(super) fn users(
    written: &str,
    known: &Known<'_>,
    voice: &mut Voice,
) -> Result<Arc<Users>, InvalidValue> {
    let written = written.trim();
    let shared = |(users, faults): (_, Vec<_>)| (Arc::new(users), Arc::from(faults));
    let (users, faults) = if let Some(path) = written.strip_prefix("file:") {
        let Some(content) = voice.file(known, path)? else { return Ok(Arc::default()) };
        content.users().cloned().ok_or_else(|| no_text(path))?
    } else if let Some(packed) = written.strip_prefix("base64:") {
        let undone = || InvalidValue::Base64 { entry: "base64:…".to_owned() };
        shared(Users::from_base64(packed).ok_or_else(undone)?)
    } else {
        shared(Users::from_list(written))
    };
    let told =
        |fault: &InvalidUser| InvalidValue::User { entry: fault.entry(), fault: fault.clone() };
    let mut faults = faults.iter().map(told);
    if users.is_empty() {
        let none = InvalidValue::NoUsers { entry: shape(written) };
        match (faults.next(), none.entry()) {
            (Some(fault), _) => return Err(fault),
            (None, None | Some("")) => return Err(InvalidValue::Empty),
            // Whoever has taken the last user out of a file means it.
            (None, Some(_)) => voice.warn(known, &none, "until then nobody may pass"),
        }
    }
    for fault in faults {
        voice.warn(known, &fault, "the others that it names may pass");
    }
    Ok(users)
}

/// The URL of a service that decides, which is not ourselves.
pub(super) fn auth_url(written: &str, settings: &LabelSettings) -> Result<AuthUrl, InvalidValue> {
    let written = written.trim();
    let refused = |fault| InvalidValue::AuthUrl { entry: without_secrets(written), fault };
    if written.is_empty() {
        return Err(InvalidValue::Empty);
    }
    let url = AuthUrl::read(written).map_err(refused)?;
    let ours = |listener: &SocketAddr| {
        let everywhere = listener.ip().is_unspecified();
        let here = everywhere || listener.ip().is_loopback();
        let is_it = match url.host.parse::<IpAddr>() {
            Ok(address) => address == listener.ip() || everywhere && address.is_loopback(),
            Err(_) => here && url.host.eq_ignore_ascii_case("localhost"),
        };
        is_it && listener.port() == url.port
    };
    if settings.listeners.iter().any(ours) { Err(refused(InvalidAuthUrl::Ours)) } else { Ok(url) }
}

/// Names of header fields that a service may fill in: none by which a message is
/// framed or routed, since it would say so of a body that is not its own.
pub(super) fn headers(written: &str) -> Result<Arc<[HeaderName]>, InvalidValue> {
    let mut entries = written.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let names: Vec<_> =
        entries.by_ref().take(HEADERS_MAX).map(granted).collect::<Result<_, _>>()?;
    if entries.next().is_some() {
        return Err(InvalidValue::TooMany);
    }
    if names.is_empty() { Err(InvalidValue::Empty) } else { Ok(names.into()) }
}

fn granted(name: &str) -> Result<HeaderName, InvalidValue> {
    let name = header(name)?;
    if name == HOST || framing::frames(&name) {
        return Err(InvalidValue::Header { entry: name.to_string() });
    }
    Ok(name)
}

/// A URL, or what was meant as one, without what stands before an `@` and in a
/// query: both may be a secret.
fn without_secrets(written: &str) -> String {
    let (scheme, rest) = match written.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|it| it.is_ascii_alphanumeric()) => {
            (format!("{scheme}://"), rest)
        }
        Some(_) | None => (String::new(), written),
    };
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("…@", rest));
    let (rest, query) = rest.split_once(['?', '#']).map_or((rest, ""), |(rest, _)| (rest, "?…"));
    format!("{scheme}{user}{rest}{query}")
}

/// The form of a list of users, without its secrets.
fn shape(written: &str) -> String {
    match written.split_once(':') {
        Some(("file", _)) => written.to_owned(),
        Some(("base64", _)) => "base64:…".to_owned(),
        Some(_) | None => String::new(),
    }
}

const HEADERS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_decides_is_not_ourselves() {
        let settings = LabelSettings {
            listeners: vec![([0, 0, 0, 0], 80).into()],
            ..LabelSettings::default()
        };
        for ours in ["http://localhost/x", "http://127.0.0.1:80", "http://0.0.0.0/"] {
            let fault = auth_url(ours, &settings).unwrap_err();
            assert!(matches!(fault, InvalidValue::AuthUrl { fault: InvalidAuthUrl::Ours, .. }));
        }
        assert!(auth_url("http://localhost:81/x", &settings).is_ok());
        assert!(auth_url("http://auth/x", &settings).is_ok());
        let elsewhere = LabelSettings { listeners: vec![([10, 0, 0, 1], 80).into()], ..settings };
        assert!(auth_url("http://localhost/x", &elsewhere).is_ok());
        assert!(auth_url("http://127.0.0.1/x", &elsewhere).is_ok());
        assert!(auth_url("http://10.0.0.1/x", &elsewhere).is_err());
    }

    #[test]
    fn a_fault_of_a_url_tells_no_secret_of_it() {
        for (written, told) in [
            ("http://ann:se?cr@et@auth/x?token=1", "http://…@auth/x?…"),
            ("https://a_*b/x?token=1", "https://a_*b/x?…"),
            ("ann:secret@auth/x", "…@auth/x"),
            ("http://localhost/x?token=1", "http://localhost/x?…"),
            ("http://auth:99999/#secret", "http://auth:99999/?…"),
        ] {
            let listeners = vec![([0, 0, 0, 0], 80).into()];
            let settings = LabelSettings { listeners, ..LabelSettings::default() };
            assert_eq!(auth_url(written, &settings).unwrap_err().entry(), Some(told), "{written}");
        }
    }

    #[test]
    fn no_service_fills_in_what_frames_or_routes_a_message() {
        for name in [
            "Transfer-Encoding",
            "content-length",
            "Connection",
            "TE",
            "Expect",
            "Host",
            "Trailer",
            "Upgrade",
            "Keep-Alive",
            "Transfer_Encoding",
        ] {
            let fault = InvalidValue::Header { entry: name.to_ascii_lowercase() };
            assert_eq!(headers(&format!("X-User, {name}")), Err(fault));
        }
    }

    #[test]
    fn a_list_of_headers_has_its_bound() {
        let most = vec!["X-A"; HEADERS_MAX].join(",");
        assert_eq!(headers(&most).unwrap().len(), HEADERS_MAX);
        assert_eq!(headers(&format!("{most},X-B")), Err(InvalidValue::TooMany));
    }
}

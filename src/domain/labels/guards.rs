//! Values of labels that let requests pass or not, and of pages for those that fail.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::HeaderName;
use http::header::HOST;

use crate::domain::auth::{InvalidUser, Users};
use crate::domain::http::framing;
use crate::domain::labels::LabelSettings;
use crate::domain::labels::health;
use crate::domain::labels::own::Known;
use crate::domain::labels::path;
use crate::domain::labels::value::{self, InvalidValue};
use crate::domain::labels::voice::Voice;
use crate::domain::limit::Rate;
use crate::domain::middleware::{
    AuthUrl, ErrorPage, ForwardAuth, InvalidAuthUrl, Middleware, Page, RateBy, RateLimit,
};
use crate::domain::names::PoolName;
use crate::domain::units;

/// What the labels of one group say of these.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Guards {
    pub(super) pace: Option<Pace>,
    pub(super) burst: Option<NonZeroU32>,
    pub(super) by: RateBy,
    pub(super) users: Option<Arc<Users>>,
    pub(super) auth_url: Option<AuthUrl>,
    pub(super) auth_headers: Arc<[HeaderName]>,
    pub(super) body_limit: Option<u64>,
    pub(super) page: Option<Page>,
    pub(super) page_on: Arc<[RangeInclusive<u16>]>,
}

/// So many requests in so many nanoseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pace {
    count: NonZeroU32,
    period: u64,
}

impl Guards {
    pub(super) fn rate(&self) -> Option<Middleware> {
        let pace = self.pace?;
        let rate = Rate { pace: pace.nanoseconds(), burst: self.burst.unwrap_or(pace.second()) };
        Some(Middleware::Rate(RateLimit { rate, by: self.by.clone() }))
    }

    pub(super) fn basic(&self) -> Option<Middleware> {
        self.users.clone().map(Middleware::BasicAuth)
    }

    pub(super) fn forward(&self) -> Option<Middleware> {
        let url = self.auth_url.clone()?;
        let headers = Arc::clone(&self.auth_headers);
        Some(Middleware::ForwardAuth(Arc::new(ForwardAuth { url, headers })))
    }

    pub(super) fn body_limit(&self) -> Option<Middleware> {
        self.body_limit.map(Middleware::BodyLimit)
    }

    pub(super) fn error_page(&self) -> Option<Middleware> {
        let page = self.page.clone()?;
        let on = Arc::clone(&self.page_on);
        Some(Middleware::ErrorPage(Arc::new(ErrorPage { page, on })))
    }
}

impl Pace {
    fn nanoseconds(self) -> u64 {
        (self.period / u64::from(self.count.get())).max(1)
    }

    /// What comes in one second, at least one.
    fn second(self) -> NonZeroU32 {
        let count = u64::from(self.count.get()) * NANOSECONDS / self.period;
        u32::try_from(count).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
    }
}

/// Labels that say more about another one which is not there, with that one's key.
pub(super) fn alone<'l, 'a>(
    labels: &'l [Known<'a>],
) -> impl Iterator<Item = (&'l Known<'a>, &'static str)> {
    labels.iter().filter_map(|known| {
        let needed = match known.label.key {
            "rate.burst" | "rate.by" => "rate",
            "auth.forward.headers" => "auth.forward",
            "error_page.on" => "error_page",
            _ => return None,
        };
        let has_it = labels.iter().any(|other| other.label.key == needed);
        (!has_it).then_some((known, needed))
    })
}

/// `10/s`, `600/m` or `1000/h`.
pub(super) fn pace(written: &str) -> Result<Pace, InvalidValue> {
    let (count, unit) = written.trim().split_once('/').ok_or(InvalidValue::Rate)?;
    let count: u32 = count.trim().parse().map_err(|_| InvalidValue::Rate)?;
    let seconds = match unit.trim().to_ascii_lowercase().as_str() {
        "s" | "sec" | "second" => 1,
        "m" | "min" | "minute" => 60,
        "h" | "hour" => 3600,
        _ => return Err(InvalidValue::Rate),
    };
    match NonZeroU32::new(count) {
        Some(count) if count.get() <= RATE_MAX => Ok(Pace { count, period: seconds * NANOSECONDS }),
        Some(_) | None => Err(InvalidValue::Range),
    }
}

/// 1 to a million.
pub(super) fn burst(written: &str) -> Result<NonZeroU32, InvalidValue> {
    let count = value::count(written, &(1..=RATE_MAX))?;
    NonZeroU32::new(count).ok_or(InvalidValue::Range)
}

/// `client`, `header:NAME` or `cookie:NAME`.
pub(super) fn by(written: &str) -> Result<RateBy, InvalidValue> {
    let written = written.trim();
    let (kind, name) = written.split_once(':').unwrap_or((written, ""));
    let name = name.trim();
    match kind.trim().to_ascii_lowercase().as_str() {
        "client" if name.is_empty() => Ok(RateBy::Client),
        "header" => header(name).map(RateBy::Header),
        // A cookie's name is a token, as that of a header is (RFC 6265).
        "cookie" => header(name).map(|_| RateBy::Cookie(name.into())),
        _ => Err(InvalidValue::Word { meant: None }),
    }
}

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

/// A size from 1 byte to 1 TiB.
pub(super) fn size(written: &str) -> Result<u64, InvalidValue> {
    match units::size(written) {
        Ok(size) if SIZES.contains(&size) => Ok(size),
        Ok(_) => Err(InvalidValue::Range),
        Err(_) => Err(InvalidValue::Size),
    }
}

/// Statuses of answers that failed, as of health checks.
pub(super) fn failures(written: &str) -> Result<Arc<[RangeInclusive<u16>]>, InvalidValue> {
    let ranges = health::statuses(written)?;
    match ranges.iter().find(|range| *range.start() < 400) {
        None => Ok(ranges.into()),
        Some(range) => {
            let entry = format!("{}-{}", range.start(), range.end());
            Err(InvalidValue::NoFailure { entry })
        }
    }
}

/// `file:PATH` or `pool:NAME/path`.
pub(super) fn page(
    written: &str,
    known: &Known<'_>,
    voice: &mut Voice,
) -> Result<Option<Page>, InvalidValue> {
    let written = written.trim();
    if let Some(path) = written.strip_prefix("file:") {
        let Some(content) = voice.file(known, path)? else { return Ok(None) };
        if content.bytes().len() > PAGE_BYTES_MAX {
            let entry = format!("file:{}", path.trim());
            return Err(InvalidValue::entry_that(&entry, "is larger than 256 KiB"));
        }
        let template = content.page().ok_or_else(|| no_text(path))?;
        return Ok(Some(Page::File(Arc::clone(template))));
    }
    let Some(rest) = written.strip_prefix("pool:") else {
        return Err(InvalidValue::Word { meant: None });
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (name, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    PoolName::new(None, name).map_err(|_| InvalidValue::PoolName)?;
    let path = if path.is_empty() { "/" } else { path };
    let plain = path.replace("{status}", "500");
    path::exact(&plain).map_err(|fault| InvalidValue::Path { entry: path.to_owned(), fault })?;
    Ok(Some(Page::Pool { pool: name.into(), path: path.into() }))
}

fn header(name: &str) -> Result<HeaderName, InvalidValue> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| InvalidValue::FieldName { entry: name.to_owned() })
}

fn granted(name: &str) -> Result<HeaderName, InvalidValue> {
    let name = header(name)?;
    if name == HOST || framing::frames(&name) {
        return Err(InvalidValue::Header { entry: name.to_string() });
    }
    Ok(name)
}

fn no_text(path: &str) -> InvalidValue {
    InvalidValue::NoText { entry: format!("file:{}", path.trim()) }
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

const NANOSECONDS: u64 = 1_000_000_000;

/// Requests in one period, and at once.
const RATE_MAX: u32 = 1_000_000;

const SIZES: RangeInclusive<u64> = 1..=1 << 40;

const HEADERS_MAX: usize = 32;

/// Of a page, which is filled in for each answer.
const PAGE_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::files::Files;
    use crate::domain::labels;
    use crate::domain::world::{Health, Place, RunState, Workload, WorkloadId};

    #[test]
    fn a_rate_is_a_number_in_a_time_and_lends_a_second_of_it() {
        for (written, nanoseconds, second) in [
            ("10/s", 100_000_000, 10),
            (" 600 / m", 100_000_000, 10),
            ("1000/h", 3_600_000_000, 1),
            ("1/min", 60_000_000_000, 1),
            ("1000000/s", 1000, 1_000_000),
        ] {
            let pace = pace(written).unwrap();
            assert_eq!(
                (pace.nanoseconds(), pace.second().get()),
                (nanoseconds, second),
                "{written}"
            );
        }
        for written in ["10", "/s", "10/", "10/d", "-1/s", "1.5/s", "ten/s"] {
            assert_eq!(pace(written), Err(InvalidValue::Rate), "{written}");
        }
        for written in ["0/s", "1000001/s"] {
            assert_eq!(pace(written), Err(InvalidValue::Range), "{written}");
        }
    }

    #[test]
    fn a_bucket_is_named_by_the_client_a_header_or_a_cookie() {
        assert_eq!(by("Client"), Ok(RateBy::Client));
        assert_eq!(by("header:X-Key"), Ok(RateBy::Header(HeaderName::from_static("x-key"))));
        assert_eq!(by("cookie: Session"), Ok(RateBy::Cookie("Session".into())));
        assert_eq!(by("header:"), Err(InvalidValue::FieldName { entry: String::new() }));
        assert_eq!(by("ip"), Err(InvalidValue::Word { meant: None }));
    }

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
            ("https://auth/x?token=1", "https://auth/x?…"),
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
    fn sizes_and_lists_have_their_bounds() {
        assert_eq!(size("10MiB"), Ok(10 << 20));
        assert_eq!(size("1024GiB"), Ok(1 << 40));
        assert_eq!(size("1025GiB"), Err(InvalidValue::Range));
        assert_eq!(size("0B"), Err(InvalidValue::Range));
        assert_eq!(size("10"), Err(InvalidValue::Size));
        let most = vec!["X-A"; HEADERS_MAX].join(",");
        assert_eq!(headers(&most).unwrap().len(), HEADERS_MAX);
        assert_eq!(headers(&format!("{most},X-B")), Err(InvalidValue::TooMany));
    }

    #[test]
    fn containers_that_name_one_file_share_what_was_read_of_it() {
        let mut files = Files::default();
        let users = "ann:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0";
        files.note(&"users".into(), Ok(users.as_bytes().into()));
        let settings = LabelSettings { files: Arc::new(files), ..LabelSettings::default() };
        let read = |name: &str| {
            let reading = labels::read(&naming_a_file(name), &settings);
            assert_eq!(reading.problems, []);
            let [Middleware::BasicAuth(users), Middleware::ErrorPage(page)] =
                &*reading.memberships[0].settings.middlewares
            else {
                panic!("{reading:?}");
            };
            let Page::File(template) = &page.page else { panic!("{page:?}") };
            (Arc::clone(users), Arc::clone(template))
        };
        let (one, other) = (read("one"), read("other"));
        assert!(Arc::ptr_eq(&one.0, &other.0) && Arc::ptr_eq(&one.1, &other.1));
    }

    fn naming_a_file(name: &str) -> Workload {
        let label = |key: &str| (format!("lb.{key}"), "file:users".to_owned());
        Workload {
            id: WorkloadId { id: name.into(), life: 0 },
            name: name.into(),
            project: None,
            service: None,
            labels: [label("auth.basic"), label("error_page")].into(),
            run: RunState::Running,
            health: Health::None,
            created: 0,
            place: Place::Fixed(([10, 0, 0, 1], 80).into()),
            oneoff: false,
            host_name: None,
        }
    }
}

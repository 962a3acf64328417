//! Values of the labels `cors` and `cors.*`.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use crate::domain::labels::value::{self, InvalidValue, list};
use crate::domain::middleware::{Cors, METHODS, Origin, Origins};

/// What the labels say, before it is known whether there is a `cors` at all.
#[derive(Debug, Default, PartialEq)]
pub(super) struct CorsLabels {
    pub(super) origins: Option<Origins>,
    pub(super) methods: Option<HeaderValue>,
    pub(super) headers: Option<HeaderValue>,
    pub(super) credentials: bool,
    pub(super) max_age: Option<HeaderValue>,
}

impl CorsLabels {
    /// Whether browsers would refuse it: credentials are for origins that are named.
    pub(super) fn contradicts(&self) -> bool {
        self.credentials && self.origins == Some(Origins::Any)
    }

    /// What contradicts itself allows no origin.
    pub(super) fn into_cors(self) -> Option<Cors> {
        let nobody = self.contradicts().then(|| Origins::Listed(Vec::new()));
        Some(Cors {
            origins: nobody.or(self.origins)?,
            methods: self.methods.unwrap_or(HeaderValue::from_static(METHODS)),
            headers: self.headers,
            credentials: self.credentials,
            max_age: self.max_age,
        })
    }
}

pub(super) fn origins(written: &str) -> Result<Origins, InvalidValue> {
    if written.trim() == "*" {
        return Ok(Origins::Any);
    }
    let origin = |entry: &str| {
        Origin::parse(entry)
            .ok_or_else(|| InvalidValue::entry_that(entry, "is not the origin of a page"))
    };
    whole(list(written, origin)).map(Origins::Listed)
}

/// Methods as a preflight's answer lists them.
pub(super) fn methods(written: &str) -> Result<HeaderValue, InvalidValue> {
    joined(list(written, |entry| {
        let upper = entry.to_ascii_uppercase();
        let read = Method::from_bytes(upper.as_bytes());
        read.map(|_| upper).map_err(|_| InvalidValue::entry_that(entry, "is not a method"))
    }))
}

/// Names of headers as a preflight's answer lists them.
pub(super) fn headers(written: &str) -> Result<HeaderValue, InvalidValue> {
    joined(list(written, |entry| {
        let read = HeaderName::from_bytes(entry.as_bytes());
        read.map(|_| entry.to_owned())
            .map_err(|_| InvalidValue::entry_that(entry, "is not the name of a header"))
    }))
}

pub(super) fn max_age(written: &str) -> Result<HeaderValue, InvalidValue> {
    Ok(HeaderValue::from(value::duration(written, &MAX_AGE)?.as_secs()))
}

fn joined(read: (Vec<String>, Option<InvalidValue>)) -> Result<HeaderValue, InvalidValue> {
    HeaderValue::try_from(whole(read)?.join(",")).map_err(|_| InvalidValue::HeaderValue)
}

fn whole<T>((entries, fault): (Vec<T>, Option<InvalidValue>)) -> Result<Vec<T>, InvalidValue> {
    fault.map_or(Ok(entries), Err)
}

/// No browser remembers for longer than a day.
const MAX_AGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(24 * 3600);

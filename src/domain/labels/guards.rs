//! The labels that let requests pass or not, gathered, and of pages for those that fail.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::HeaderName;

use crate::domain::auth::Users;
use crate::domain::labels::rate::Pace;
use crate::domain::labels::value::InvalidValue;
use crate::domain::limit::Rate;
use crate::domain::middleware::{
    AuthUrl, ErrorPage, ForwardAuth, Middleware, Page, RateBy, RateLimit,
};
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

/// A size from 1 byte to 1 TiB.
pub(super) fn size(written: &str) -> Result<u64, InvalidValue> {
    match units::size(written) {
        Ok(size) if SIZES.contains(&size) => Ok(size),
        Ok(_) => Err(InvalidValue::Range),
        Err(_) => Err(InvalidValue::Size),
    }
}

/// A name of a header field, or of anything else that is a token.
pub(super) fn header(name: &str) -> Result<HeaderName, InvalidValue> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| InvalidValue::FieldName { entry: name.to_owned() })
}

/// Of a file that a label names.
pub(super) fn no_text(path: &str) -> InvalidValue {
    InvalidValue::NoText { entry: format!("file:{}", path.trim()) }
}

const SIZES: RangeInclusive<u64> = 1..=1 << 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::files::Files;
    use crate::domain::labels::{self, LabelSettings};
    use crate::domain::world::{Health, Place, RunState, Workload, WorkloadId};

    #[test]
    fn sizes_have_their_bounds() {
        assert_eq!(size("10MiB"), Ok(10 << 20));
        assert_eq!(size("1024GiB"), Ok(1 << 40));
        assert_eq!(size("1025GiB"), Err(InvalidValue::Range));
        assert_eq!(size("0B"), Err(InvalidValue::Range));
        assert_eq!(size("10"), Err(InvalidValue::Size));
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
            stop_timeout: None,
            exit_code: None,
            oneoff: false,
            host_name: None,
        }
    }
}

//! The labels of middlewares, gathered into the list that a pool runs.

use std::sync::Arc;

use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::domain::http::{framing, host};
use crate::domain::labels::compress::CompressionWish;
use crate::domain::labels::cors::CorsLabels;
use crate::domain::labels::group::Group;
use crate::domain::labels::guards::Guards;
use crate::domain::labels::redirect::Strip;
use crate::domain::labels::schema::Setting;
use crate::domain::labels::value::{self, InvalidValue};
use crate::domain::labels::voice::Voice;
use crate::domain::middleware::{
    Clients, HSTS, HeaderEdits, Middleware, Redirect, Rewrite, Target,
};
use crate::domain::rule::Rule;

/// What the labels of one group say of middlewares: a field for each of them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Middlewares {
    pub(super) compression: CompressionWish,
    /// None: as `tls` wants it.
    pub(super) redirect_https: Option<bool>,
    pub(super) clients: Clients,
    pub(super) cors: CorsLabels,
    pub(super) redirect: Option<Target>,
    pub(super) redirect_status: Option<StatusCode>,
    pub(super) strip: Option<Strip>,
    pub(super) add: Option<Arc<str>>,
    pub(super) request_headers: HeaderEdits,
    pub(super) response_headers: HeaderEdits,
    pub(super) hsts: Option<HeaderValue>,
    pub(super) security_headers: bool,
    pub(super) guards: Guards,
}

impl Middlewares {
    /// Those that were asked for, in the order of [`Middleware`]'s variants, for a
    /// pool with this rule.
    pub(super) fn into_list(self, rule: &Rule) -> Arc<[Middleware]> {
        let edits = |edits: HeaderEdits| (!edits.is_empty()).then_some(edits);
        let guards = self.guards;
        let status = self.redirect_status.unwrap_or(StatusCode::PERMANENT_REDIRECT);
        let redirect = self.redirect.map(|target| Redirect { target, status });
        let strip = self.strip.map(|strip| strip.prefixes(rule)).unwrap_or_default();
        let rewrite = Some(Rewrite { strip, add: self.add }).filter(|it| !it.is_empty());
        let clients = Some(self.clients).filter(|it| !it.is_empty());
        let list = [
            self.compression.into_settings().map(Middleware::Compress),
            self.redirect_https.filter(|&it| it).map(|_| Middleware::RedirectHttps),
            clients.map(Middleware::Clients),
            guards.rate(),
            self.cors.into_cors().map(Middleware::Cors),
            guards.basic(),
            guards.forward(),
            guards.body_limit(),
            redirect.map(Middleware::Redirect),
            rewrite.map(Middleware::Rewrite),
            edits(self.request_headers).map(Middleware::RequestHeaders),
            edits(self.response_headers).map(Middleware::ResponseHeaders),
            self.hsts.map(Middleware::Hsts),
            self.security_headers.then_some(Middleware::SecurityHeaders),
            guards.error_page(),
        ];
        list.into_iter().flatten().collect()
    }

    /// Tells of labels that contradict others, or do nothing as they stand.
    pub(super) fn tell(&self, group: &Group<'_>, rule: &Rule, voice: &mut Voice) {
        if let Some(known) = group.find(Setting::StripPrefix)
            && self.strip == Some(Strip::Matched)
            && group.find(Setting::Path).is_none()
        {
            voice.without(known, &group.stem, "path", "the prefixes");
        }
        let takes_preflights = rule.conditions.as_ref().is_none_or(|conditions| {
            conditions.methods.is_empty() || conditions.methods.contains(&Method::OPTIONS)
        });
        if let Some(known) = group.find(Setting::Cors)
            && !takes_preflights
        {
            voice.without_preflights(known, &group.stem);
        }
        if let Some(known) = group.find(Setting::CorsCredentials)
            && self.cors.contradicts()
        {
            voice.any_with_credentials(known, &group.stem);
        }
    }
}

/// A `Strict-Transport-Security` value; `true` is one for a year, and none is none.
pub(super) fn hsts(written: &str) -> Result<Option<HeaderValue>, InvalidValue> {
    let fault = InvalidValue::that("has no `max-age=` with a number of seconds");
    let lower = written.trim().to_ascii_lowercase();
    if !lower.contains('=') {
        return Ok(value::boolean(written).map_err(|_| fault)?.then_some(HSTS));
    }
    let seconds = lower.split(';').find_map(|part| part.trim().strip_prefix("max-age="));
    let seconds = seconds.map(|it| it.trim_matches('"')).unwrap_or_default();
    if seconds.is_empty() || !seconds.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault);
    }
    HeaderValue::from_str(written.trim()).map(Some).map_err(|_| InvalidValue::HeaderValue)
}

/// Adds the edit that `headers.request.<Name>` or its sibling asks for.
pub(super) fn edit_header(
    edits: &mut HeaderEdits,
    name: &str,
    written: &str,
) -> Result<(), InvalidValue> {
    let invalid = || InvalidValue::Header { entry: name.to_owned() };
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
    if framing::frames(&name) {
        return Err(invalid());
    }
    let written = written.trim();
    if name == HOST && host::split(written.as_bytes()).is_err() {
        return Err(InvalidValue::that("is no host"));
    }
    let value = HeaderValue::from_str(written).map_err(|_| InvalidValue::HeaderValue)?;
    edits.set(name, (!written.is_empty()).then_some(value));
    Ok(())
}

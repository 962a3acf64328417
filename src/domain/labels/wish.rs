//! What the labels of one group ask for.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::labels::choice;
use crate::domain::labels::group::Group;
use crate::domain::labels::health;
use crate::domain::labels::middlewares::{Middlewares, edit_header, hsts};
use crate::domain::labels::own::Known;
use crate::domain::labels::schema::Setting;
use crate::domain::labels::upstream::{self, UpstreamTls};
use crate::domain::labels::value::{self, InvalidValue};
use crate::domain::labels::voice::Voice;
use crate::domain::labels::{
    LabelSettings, auth, conditions, cors, edge, error_page, guards, needs, rate, redirect,
};
use crate::domain::lifecycle::HealthCheck;
use crate::domain::pool::PoolSettings;
use crate::domain::rule::{Conditions, Rule};
use crate::domain::upstream::Scheme;

/// A group's labels, read. What cannot be read keeps its default.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    /// The label that names the pool, and the name if it can be one.
    pub(super) pool: Option<(Known<'a>, Option<Arc<str>>)>,
    pub(super) shared: bool,
    pub(super) enable: bool,
    pub(super) oneoff: bool,
    pub(super) port: Option<u16>,
    pub(super) network: Option<Arc<str>>,
    /// None if it is to be spoken to in a way that we do not know.
    pub(super) scheme: Option<Scheme>,
    pub(super) weight: u16,
    pub(super) backup: bool,
    pub(super) max_conns: Option<NonZeroU32>,
    pub(super) settings: PoolSettings,
    pub(super) rule: Rule,
    conditions: Conditions,
    health_path: Option<Arc<str>>,
    check: HealthCheck,
    upstream_tls: UpstreamTls,
    middlewares: Middlewares,
    /// A guard cannot be used.
    pub(super) closed: bool,
}

impl<'a> Wish<'a> {
    pub(super) fn read(group: &Group<'a>, settings: &LabelSettings, voice: &mut Voice) -> Self {
        let mut wish = Self { closed: group.doubted, ..Self::default() };
        for known in &group.labels {
            let setting = known.label.setting;
            let usable = if let Some(other) = known.contested {
                voice.contested(known, other);
                false
            } else {
                match wish.take(known, setting, settings, voice) {
                    Ok(()) => true,
                    Err(InvalidValue::Unread) => false,
                    Err(fault) => {
                        voice.invalid(known, setting, &fault);
                        false
                    }
                }
            };
            wish.closed |= known.label.guard && !usable;
        }
        let conditions = std::mem::take(&mut wish.conditions);
        wish.rule.conditions = (!conditions.is_empty()).then(|| Arc::new(conditions));
        let tls = std::mem::take(&mut wish.upstream_tls);
        wish.settings.upstream_tls = tls.settle(wish.scheme, group, voice);
        wish.settle_check(group, voice);
        wish.closed |= needs::settle(group, voice);
        let served = settings.served.as_ref();
        wish.closed |= edge::settle(group, &wish.settings, &wish.rule, served, voice);
        wish.settle_middlewares(group, voice);
        wish
    }

    /// Without a path nothing is asked.
    fn settle_check(&mut self, group: &Group<'a>, voice: &mut Voice) {
        let check = std::mem::take(&mut self.check);
        let path = self.health_path.take();
        let path = path.filter(|path| !upstream::is_unasked(path, self.scheme, group, voice));
        let proxy_protocol = self.settings.proxy_protocol;
        self.settings.health = path.map(|path| {
            Arc::new(HealthCheck { asks: health::asks(&path), proxy_protocol, ..check })
        });
    }

    /// Most groups ask for none.
    fn settle_middlewares(&mut self, group: &Group<'a>, voice: &mut Voice) {
        if self.settings.tls.is_some() {
            self.middlewares.redirect_https.get_or_insert(true);
        }
        if self.middlewares != Middlewares::default() {
            self.middlewares.tell(group, &self.rule, voice);
            let middlewares = std::mem::take(&mut self.middlewares);
            self.settings.middlewares = middlewares.into_list(&self.rule);
        }
    }

    fn take(
        &mut self,
        known: &Known<'a>,
        setting: Setting,
        settings: &LabelSettings,
        voice: &mut Voice,
    ) -> Result<(), InvalidValue> {
        let written = known.own.value;
        let timeouts = &mut self.settings.timeouts;
        let tolerance = &mut self.settings.tolerance;
        let outliers = &mut tolerance.outliers;
        let affinity = &mut self.settings.affinity;
        let check = &mut self.check;
        let middlewares = &mut self.middlewares;
        let conditions = &mut self.conditions;
        let guards = &mut middlewares.guards;
        match setting {
            // Whether a name that is none is a fault of the label or of the
            // whole group is not known here.
            Setting::Pool => self.pool = Some((*known, value::pool(written).ok())),
            Setting::Shared => self.shared = value::boolean(written)?,
            Setting::Enable => self.enable = value::boolean(written)?,
            Setting::Oneoff => self.oneoff = value::boolean(written)?,
            Setting::Port => self.port = Some(value::port(written)?),
            Setting::Network => self.network = Some(value::name(written)?),
            Setting::Scheme => self.scheme = upstream::scheme(known, voice)?,
            Setting::Weight => self.weight = value::weight(written)?,
            Setting::Backup => self.backup = value::boolean(written)?,
            Setting::MaxConns => {
                self.max_conns = NonZeroU32::new(value::count(written, &MAX_CONNS)?);
            }
            Setting::Host => fill(&mut self.rule.hosts, value::hosts(written))?,
            Setting::Path => fill(&mut self.rule.prefixes, value::prefixes(written))?,
            Setting::PathExact => fill(&mut self.rule.exact, value::paths(written))?,
            Setting::Method => fill(&mut conditions.methods, conditions::methods(written))?,
            Setting::Header => conditions::header(conditions, known.name, written)?,
            Setting::Query => conditions::query(conditions, known.name, written)?,
            Setting::Client => fill(&mut conditions.clients, conditions::clients(written))?,
            Setting::Entrypoint => {
                let read = edge::entry_points(written, settings.served.as_ref());
                fill(&mut conditions.entry_points, read)?;
            }
            Setting::Priority => self.rule.priority = value::priority(written)?,
            Setting::MaxFails => outliers.max_fails = value::count(written, &MAX_FAILS)?,
            Setting::FailTimeout => {
                outliers.fail_timeout = value::duration(written, &FAIL_TIMEOUT)?;
            }
            Setting::Balance => self.settings.policy = choice::policy(written)?,
            Setting::Sticky => affinity.sticky = choice::sticky(written)?,
            Setting::PinHeader => affinity.pin_header = Some(choice::header(written)?),
            Setting::PinCookie => affinity.pin_cookie = Some(choice::cookie(written)?),
            Setting::HealthPath => self.health_path = Some(health::path(written)?),
            Setting::HealthInterval => check.interval = value::duration(written, &INTERVAL)?,
            Setting::HealthTimeout => check.timeout = value::duration(written, &CHECK_TIMEOUT)?,
            Setting::HealthRise => check.rise = value::count(written, &IN_A_ROW)?,
            Setting::HealthFall => check.fall = value::count(written, &IN_A_ROW)?,
            Setting::HealthStatus => check.statuses = health::statuses(written)?,
            Setting::HealthPort => check.port = Some(value::port(written)?),
            Setting::HealthHost => check.host = Some(health::host(written)?),
            Setting::SlowStart => self.settings.slow_start = value::duration(written, &SLOW_START)?,
            Setting::Ready => self.settings.ready_strict = value::ready_strict(written)?,
            Setting::Hold => self.settings.hold = value::duration(written, &HOLD)?,
            Setting::HoldMax => self.settings.hold_max = value::count(written, &HOLD_MAX)?,
            Setting::Retries => self.settings.retries = value::count(written, &RETRIES)?,
            Setting::RetryOn => tolerance.retry_on = health::failures(written)?.into(),
            Setting::Queue => tolerance.queue = value::count(written, &QUEUE)?,
            Setting::Drain => self.settings.drain = value::duration(written, &DRAIN)?,
            Setting::TimeoutConnect => timeouts.connect = value::duration(written, &CONNECT)?,
            Setting::TimeoutResponse => timeouts.response = value::duration(written, &SILENCE)?,
            Setting::TimeoutIdle => timeouts.idle = value::duration(written, &SILENCE)?,
            Setting::TimeoutTunnel => timeouts.tunnel = value::duration(written, &SILENCE)?,
            Setting::Rate => guards.pace = Some(rate::pace(written)?),
            Setting::RateBurst => guards.burst = Some(rate::burst(written)?),
            Setting::RateBy => guards.by = rate::by(written)?,
            Setting::AuthBasic => guards.users = Some(auth::users(written, known, voice)?),
            Setting::AuthForward => guards.auth_url = Some(auth::auth_url(written, settings)?),
            Setting::AuthForwardHeaders => guards.auth_headers = auth::headers(written)?,
            Setting::BodyLimit => guards.body_limit = Some(guards::size(written)?),
            Setting::ErrorPage => guards.page = error_page::page(written, known, voice)?,
            Setting::ErrorPageOn => guards.page_on = error_page::failures(written)?,
            Setting::Compress => middlewares.compression.take_codings(written)?,
            Setting::CompressMin => middlewares.compression.take_min(written)?,
            Setting::CompressTypes => middlewares.compression.take_types(written)?,
            Setting::RedirectHttps => {
                middlewares.redirect_https = Some(value::boolean(written)?);
            }
            Setting::Tls => self.settings.tls = Some(edge::source(written)?),
            Setting::TlsClient => self.settings.client_auth = edge::client_auth(written)?,
            Setting::Allow => {
                fill(&mut middlewares.clients.allow, conditions::clients(written))?;
            }
            Setting::Deny => fill(&mut middlewares.clients.deny, conditions::clients(written))?,
            Setting::Cors => middlewares.cors.origins = Some(cors::origins(written)?),
            Setting::CorsMethods => middlewares.cors.methods = Some(cors::methods(written)?),
            Setting::CorsHeaders => middlewares.cors.headers = Some(cors::headers(written)?),
            Setting::CorsCredentials => middlewares.cors.credentials = value::boolean(written)?,
            Setting::CorsMaxAge => middlewares.cors.max_age = Some(cors::max_age(written)?),
            Setting::Redirect => middlewares.redirect = Some(redirect::target(written)?),
            Setting::RedirectStatus => {
                middlewares.redirect_status = Some(redirect::status(written)?);
            }
            Setting::StripPrefix => middlewares.strip = redirect::strip(written)?,
            Setting::AddPrefix => middlewares.add = redirect::add(written)?,
            Setting::Hsts => middlewares.hsts = hsts(written)?,
            Setting::SecurityHeaders => middlewares.security_headers = value::boolean(written)?,
            Setting::HeadersRequest => {
                edit_header(&mut middlewares.request_headers, known.name, written)?;
            }
            Setting::HeadersResponse => {
                edit_header(&mut middlewares.response_headers, known.name, written)?;
            }
            Setting::UpstreamTlsName => self.upstream_tls.take_name(written)?,
            Setting::UpstreamTlsCa => self.upstream_tls.take_ca(written, known, voice)?,
            Setting::UpstreamTlsInsecure => self.upstream_tls.take_insecure(written)?,
            Setting::ProxyProtocol => {
                self.settings.proxy_protocol = Some(value::proxy_protocol(written)?);
            }
        }
        Ok(())
    }
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Self {
            pool: None,
            shared: false,
            enable: true,
            oneoff: false,
            port: None,
            network: None,
            scheme: Some(Scheme::Http),
            weight: 1,
            backup: false,
            max_conns: None,
            settings: PoolSettings::default(),
            rule: Rule::default(),
            conditions: Conditions::default(),
            health_path: None,
            check: HealthCheck::default(),
            upstream_tls: UpstreamTls::default(),
            middlewares: Middlewares::default(),
            closed: false,
        }
    }
}

/// The readable entries stand even if there is a fault: they tell which
/// requests a closed route takes.
fn fill<T>(
    entries: &mut Vec<T>,
    (good, fault): (Vec<T>, Option<InvalidValue>),
) -> Result<(), InvalidValue> {
    *entries = good;
    fault.map_or(Ok(()), Err)
}

const HOLD: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
const SLOW_START: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
const HOLD_MAX: RangeInclusive<u32> = 0..=1_000_000;
const QUEUE: RangeInclusive<u32> = HOLD_MAX;
const MAX_CONNS: RangeInclusive<u32> = HOLD_MAX;
const MAX_FAILS: RangeInclusive<u32> = 0..=1000;
const FAIL_TIMEOUT: RangeInclusive<Duration> = INTERVAL;
const RETRIES: RangeInclusive<u32> = 0..=10;
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const CHECK_TIMEOUT: RangeInclusive<Duration> = CONNECT;
const IN_A_ROW: RangeInclusive<u32> = 1..=100;
const DRAIN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(24 * 3600);
const CONNECT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);
const SILENCE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);

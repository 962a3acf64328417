//! The one table of labels: what each means, whom it concerns, what it takes.

use std::fmt::Write as _;

/// A label as users know it.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Without the prefix, in lower case, with `_`. A last segment in angle
    /// brackets stands for any name.
    pub key: &'static str,
    pub scope: Scope,
    /// It says who may pass: where it cannot be used, the route closes.
    pub guard: bool,
    pub setting: Setting,
    pub meaning: &'static str,
    /// What holds without it; empty if nothing does.
    pub default: &'static str,
}

/// Whose a label is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Each container has its own.
    Container,
    /// One container decides for the pool.
    Pool,
    /// One container decides for the pool, for all of the rule together.
    Rule,
}

/// What a label sets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Setting {
    Pool,
    Shared,
    Enable,
    Oneoff,
    Port,
    Network,
    Scheme,
    Weight,
    Backup,
    MaxConns,
    Host,
    Path,
    PathExact,
    Method,
    Header,
    Query,
    Client,
    Entrypoint,
    Priority,
    Balance,
    MaxFails,
    FailTimeout,
    Sticky,
    PinHeader,
    PinCookie,
    HealthPath,
    HealthInterval,
    HealthTimeout,
    HealthRise,
    HealthFall,
    HealthStatus,
    HealthPort,
    HealthHost,
    SlowStart,
    Ready,
    Hold,
    HoldMax,
    Retries,
    RetryOn,
    Drain,
    Queue,
    TimeoutConnect,
    TimeoutResponse,
    TimeoutIdle,
    TimeoutTunnel,
    AuthBasic,
    AuthForward,
    AuthForwardHeaders,
    Rate,
    RateBurst,
    RateBy,
    BodyLimit,
    ErrorPage,
    ErrorPageOn,
    Compress,
    CompressMin,
    CompressTypes,
    RedirectHttps,
    Allow,
    Deny,
    Cors,
    CorsMethods,
    CorsHeaders,
    CorsCredentials,
    CorsMaxAge,
    Redirect,
    RedirectStatus,
    StripPrefix,
    AddPrefix,
    Hsts,
    SecurityHeaders,
    Tls,
    TlsClient,
    HeadersRequest,
    HeadersResponse,
    ProxyProtocol,
    UpstreamTlsName,
    UpstreamTlsCa,
    UpstreamTlsInsecure,
}

impl Label {
    /// `header.` for `header.<name>`; none for a label with a fixed key.
    pub fn family(&self) -> Option<&'static str> {
        let head = self.key.strip_suffix('>')?;
        head.split_once('<').map(|(head, _)| head)
    }

    /// Whether two names of a family are one. Those of headers are, whatever
    /// their case; those of query parameters differ.
    pub fn is_one_name(&self, one: &str, other: &str) -> bool {
        if self.setting == Setting::Query { one == other } else { one.eq_ignore_ascii_case(other) }
    }

    /// `timeout` for `timeout.connect`.
    pub fn head(&self) -> &'static str {
        self.key.split('.').next().unwrap_or(self.key)
    }
}

impl Setting {
    /// What its value must be, to follow "write".
    pub fn takes(self) -> &'static str {
        match self {
            Self::Pool => "a name of letters, digits, `-`, `_` and `.`, at most 63 of them",
            Self::Shared
            | Self::Enable
            | Self::Oneoff
            | Self::Backup
            | Self::RedirectHttps
            | Self::CorsCredentials
            | Self::SecurityHeaders
            | Self::UpstreamTlsInsecure => "`true` or `false`",
            Self::Port | Self::HealthPort => "a number from 1 to 65535",
            Self::Network => "the name of a network that the container is on",
            Self::Scheme => "`http`, `https` or `h2c`",
            Self::Weight => "a number from 0 to 256",
            Self::Host => "host names, separated by commas, such as `example.com,*.example.com`",
            Self::Path | Self::PathExact => "paths, separated by commas, such as `/api,/static`",
            Self::Method => "methods, separated by commas, such as `GET,HEAD`",
            Self::Header => "its whole value, such as `blue`, or `*` for any",
            Self::Query => "its whole value once decoded, such as `1`, or `*` for any",
            Self::Client | Self::Allow | Self::Deny => {
                "addresses or networks, separated by commas, such as `10.0.0.0/8,192.168.1.7`"
            }
            Self::Entrypoint => "names of entry points, separated by commas, such as `https`",
            Self::Priority => "a whole number, such as `10` or `-10`",
            Self::Balance => {
                "`round_robin`, `least_request`, `p2c`, `peak_ewma`, `random`, `ip_hash`, \
                 `hash:header:NAME`, `hash:cookie:NAME` or `hash:uri`"
            }
            Self::Sticky => "`cookie`, `cookie:NAME`, `ip` or `off`",
            Self::PinHeader => "the name of a header, such as `X-Replica`",
            Self::PinCookie => "the name of a cookie, such as `app`",
            Self::HealthPath => {
                "a path, perhaps with a query, such as `/healthz`, or `grpc` or `grpc:SERVICE`"
            }
            Self::HealthInterval => "a duration such as `500ms` or `5s`, from `100ms` to `1h`",
            Self::HealthTimeout => "a duration such as `500ms` or `2s`, from `1ms` to `1m`",
            Self::HealthRise | Self::HealthFall => "a number from 1 to 100",
            Self::HealthStatus => {
                "statuses, separated by commas, such as `200`, `200-299` or `2xx`"
            }
            Self::HealthHost => "a host name, perhaps with a port, such as `shop.example`",
            Self::Ready => "`auto` or `strict`",
            Self::SlowStart | Self::Hold => "a duration such as `500ms` or `10s`, at most `1h`",
            Self::HoldMax | Self::Queue => "a number from 0 to 1000000",
            Self::MaxConns => "a number from 0 to 1000000; 0: any number",
            Self::MaxFails => "a number from 0 to 1000; 0: none do",
            Self::FailTimeout => "a duration such as `500ms` or `10s`, from `100ms` to `1h`",
            Self::RetryOn => {
                "statuses from 400 on, separated by commas, such as `503`, `502-504` or `5xx`"
            }
            Self::Retries => "a number from 0 to 10",
            Self::Drain => "a duration such as `500ms` or `30s`, at most `24h`",
            Self::AuthBasic => {
                "`user:hash` entries, separated by commas, or `base64:…` or `file:PATH` of a text \
                 as `htpasswd -nB USER` prints it, such as `file:users`"
            }
            Self::AuthForward => {
                "a URL such as `http://auth:9091/verify` or `https://auth.example/verify`"
            }
            Self::AuthForwardHeaders => {
                "names of headers, separated by commas, such as `Remote-User,Remote-Groups`"
            }
            Self::Rate => "a number of requests in a time, such as `10/s`, `600/m` or `1000/h`",
            Self::RateBurst => "a number from 1 to 1000000",
            Self::RateBy => "`client`, `header:NAME` or `cookie:NAME`",
            Self::BodyLimit => "a size such as `512KiB` or `10MiB`, from `1B` to `1024GiB`",
            Self::ErrorPage => "`file:PATH` or `pool:NAME/path`, such as `file:50x.html`",
            Self::ErrorPageOn => "statuses, separated by commas, such as `500,502-504` or `5xx`",
            Self::TimeoutConnect => "a duration such as `500ms` or `2s`, from `1ms` to `1m`",
            Self::TimeoutResponse | Self::TimeoutIdle | Self::TimeoutTunnel => {
                "a duration such as `10s` or `1m30s`, from `1ms` to `24h`"
            }
            Self::Compress => {
                "`true`, or of `zstd`, `br` and `gzip` those to use, the preferred first"
            }
            Self::CompressMin => "a size such as `256B` or `1KiB`, at most `1GiB`",
            Self::CompressTypes => {
                "media types, separated by commas, such as `text/*,application/json,+xml`"
            }
            Self::Cors => {
                "origins, separated by commas, such as `https://app.example,http://localhost:3000`, \
                 or `*` for any"
            }
            Self::CorsMethods => "methods, separated by commas, such as `GET,PUT`",
            Self::CorsHeaders => "names of headers, separated by commas, such as `X-Token`",
            Self::CorsMaxAge => "a duration such as `10m`, at most `24h`",
            Self::Redirect => {
                "a path or a URL, such as `/new{path}` or `https://new.example{path}?{query}`"
            }
            Self::RedirectStatus => "`301`, `302`, `303`, `307` or `308`",
            Self::StripPrefix => {
                "`true`, `false` or paths, separated by commas, such as `/api,/v1`"
            }
            Self::AddPrefix => "a path, such as `/v1`",
            Self::Hsts => {
                "`true`, `false` or a value such as `max-age=31536000; includeSubDomains`"
            }
            Self::Tls => "`auto` or `file`",
            Self::TlsClient => "`optional` or `required`",
            Self::HeadersRequest | Self::HeadersResponse => {
                "a value of visible ASCII, such as `max-age=60`, under a name that frames no message"
            }
            Self::ProxyProtocol => "`v1` or `v2`",
            Self::UpstreamTlsName => "a host name or an address, such as `api.internal`",
            Self::UpstreamTlsCa => "`file:PATH` of certificates in PEM form, such as `file:ca.pem`",
        }
    }
}

/// The label that a key without its prefix means; for a family also the name,
/// spelled as it was written.
pub fn find(key: &str) -> Option<(&'static Label, &str)> {
    let plain = canonical(key);
    if let Some(label) = LABELS.iter().find(|label| label.key == plain) {
        return Some((label, ""));
    }
    let families = LABELS.iter().filter_map(|label| Some((label, label.family()?)));
    families
        .filter(|(_, head)| plain.len() > head.len() && plain.starts_with(head))
        .find_map(|(label, head)| Some((label, key.get(head.len()..)?)))
}

/// A key in the form in which keys are compared: case does not matter, and `-` is `_`.
pub fn canonical(key: &str) -> String {
    let fold = |letter: char| if letter == '-' { '_' } else { letter.to_ascii_lowercase() };
    key.chars().map(fold).collect()
}

/// The page for users, made from the table.
pub fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    for (scope, title, note) in CHAPTERS {
        let _ = write!(page, "\n## {title}\n\n{note}\n\n{HEADINGS}");
        for label in LABELS.iter().filter(|label| label.scope == *scope) {
            let guard = if label.guard { " **guard**" } else { "" };
            let takes = label.setting.takes();
            let Label { key, meaning, default, .. } = label;
            let _ = writeln!(page, "| `lb.{key}`{guard} | {meaning} | {takes} | {default} |");
        }
    }
    page
}

macro_rules! labels {
    (@guard guard) => { true };
    (@guard plain) => { false };
    ($($scope:ident $guard:ident $setting:ident $key:literal $meaning:literal $default:literal;)*) => {
        /// Every label, in the order of the manual.
        pub const LABELS: &[Label] = &[$(Label {
            key: $key,
            scope: Scope::$scope,
            guard: labels!(@guard $guard),
            setting: Setting::$setting,
            meaning: $meaning,
            default: $default,
        }),*];
    };
}

labels! {
    Container plain Pool "pool" "the pool to join" "the compose service's name, if any other known label is present";
    Container plain Shared "shared" "the same pool in every compose project" "false";
    Container plain Enable "enable" "`false`: the container stays out" "true";
    Container plain Oneoff "oneoff" "let a `docker-compose run` container in" "false";
    Container plain Port "port" "the port that it listens on" "the only exposed TCP port; of several, the only one of 80, 8080, 3000, 5000 and 8000";
    Container plain Network "network" "the network on which to reach it" "the first by name that it shares with the balancer";
    Container plain Scheme "scheme" "how to speak to it: `https` is HTTP/2 or HTTP/1.1 by TLS, as it chooses; `h2c` is HTTP/2 in the clear" "http";
    Container plain Weight "weight" "its share of the traffic" "1";
    Container plain Backup "backup" "used only while no other is ready" "false";
    Container plain MaxConns "max_conns" "requests that it may have at once; further ones go to others, then to backups, then wait in the pool's `queue`" "unlimited";

    Rule guard Host "host" "host names; `*.` takes one or more labels" "any";
    Rule guard Path "path" "path prefixes, whole segments: `/api` takes `/api/x` and not `/apix`" "`/`";
    Rule guard PathExact "path.exact" "whole paths" "";
    Rule guard Method "method" "methods" "any";
    Rule guard Header "header.<name>" "the value of a request header, in any of its lines" "any";
    Rule guard Query "query.<name>" "the value of a query parameter, at any of its places" "any";
    Rule guard Client "client" "client addresses" "any";
    Rule guard Entrypoint "entrypoint" "where its clients come in: `http`, `https`, or the name that the settings `http` and `https` give an address" "all";
    Rule plain Priority "priority" "the larger number wins; else the most specific rule" "0";

    Pool plain UpstreamTlsName "upstream.tls.name" "with `scheme=https`, the name that the certificates of replicas must be for" "the first name of `host` by the alphabet, else each one's address";
    Pool plain UpstreamTlsCa "upstream.tls.ca" "who may vouch for them, and nobody else; while the file cannot be used, nobody can, and requests are answered 502" "the authorities of the system";
    Pool plain UpstreamTlsInsecure "upstream.tls.insecure" "do not verify who they are" "false";
    Pool plain StripPrefix "strip_prefix" "path prefixes to remove before a replica is asked; `true`: those of `path`; what was removed is told in `X-Forwarded-Prefix`, and redirects of replicas stay as they are" "";
    Pool plain AddPrefix "add_prefix" "a path prefix to add, after any was removed" "";
    Pool plain Redirect "redirect" "answer with a redirect to this target; `{scheme}`, `{host}` (without its port), `{path}` and `{query}` (with the `?` or `&` before it, if there is one) are those of the request" "";
    Pool plain RedirectStatus "redirect.status" "the status of the redirect" "308";
    Pool plain Balance "balance" "who gets the next request" "round_robin";
    Pool plain MaxFails "max_fails" "failures within `fail_timeout` that eject a replica, while another is ready: it could not be connected to, did not answer in time, broke off before its answer, or gave one of `retry.on`" "3";
    Pool plain FailTimeout "fail_timeout" "that window, and for how long it is ejected; then one request at a time tries it. In a row it grows, up to ten times and 5 minutes" "10s";
    Pool plain Sticky "sticky" "how a client comes back to the replica that it met: by a signed cookie, or by its address" "off";
    Pool plain PinHeader "pin.header" "a request header that names a replica by service, container or host name; who is unknown or not ready is passed over" "off";
    Pool plain PinCookie "pin.cookie" "a cookie that does the same" "off";
    Pool plain HealthPath "health.path" "the path to ask whether a replica can serve; it must pass before the first request. `grpc` asks by the gRPC health protocol, of the service after a colon" "off";
    Pool plain HealthInterval "health.interval" "time between two checks" "5s";
    Pool plain HealthTimeout "health.timeout" "time for one check" "2s";
    Pool plain HealthRise "health.rise" "passes in a row until it serves" "1";
    Pool plain HealthFall "health.fall" "failures in a row until it serves no more" "3";
    Pool plain HealthStatus "health.status" "statuses that pass" "200-399";
    Pool plain HealthPort "health.port" "another port to ask: by TLS with `scheme=https`, else in plain HTTP/1.1 unless it is asked by gRPC" "the one that takes requests";
    Pool plain HealthHost "health.host" "the `Host` to ask for" "the first name of `host`, else the address";
    Pool plain SlowStart "slow_start" "how long a new replica's share grows, from a tenth to all of it; not with a hash or `sticky=ip`" "0s";
    Pool plain Retries "retries" "attempts after a replica failed one; those where it could not be reached, or was stopping, are not counted" "2";
    Pool plain RetryOn "retry.on" "answers with these statuses are asked for at another replica, if that is safe and one is ready; else they are given as they are" "connection failures only";
    Pool plain Ready "ready" "`strict`: never before HEALTHCHECK's verdict" "auto";
    Pool plain Hold "hold" "how long a request waits in all for a replica" "10s";
    Pool plain HoldMax "hold.max" "how many requests may wait in the pool" "16384";
    Pool plain Drain "drain" "how long a leaving replica may finish; a WebSocket is closed (1001) before that if its container is killed sooner, by its stop time-out" "30s";
    Pool plain Queue "queue" "how many requests may wait, in the order of their arrival and for `hold` at most, while every ready replica has its `max_conns`" "1024";
    Pool plain TimeoutConnect "timeout.connect" "time to connect to a replica" "2s";
    Pool plain TimeoutResponse "timeout.response" "time to the first byte of its answer; for a gRPC call at least what its `grpc-timeout` allows, of which an hour counts" "60s";
    Pool plain TimeoutIdle "timeout.idle" "time between two pieces of a body, so also between two messages of a gRPC stream: allow for the longest silence of one that has any" "60s";
    Pool plain TimeoutTunnel "timeout.tunnel" "time that a WebSocket or tunnel may be silent" "1h";
    Pool plain Compress "compress" "compress answers as their clients prefer; of what they like alike, the first that is listed" "off";
    Pool plain CompressMin "compress.min" "from what size" "256B";
    Pool plain CompressTypes "compress.types" "which media types; `+xml` is every type that ends so" "the usual text types";
    Pool plain HeadersRequest "headers.request.<Name>" "set a request header; empty: remove it" "";
    Pool plain HeadersResponse "headers.response.<Name>" "set a response header, also of answers of our own; empty: remove it" "";
    Pool plain SecurityHeaders "security_headers" "`X-Frame-Options: SAMEORIGIN`, `X-Content-Type-Options: nosniff`, `X-XSS-Protection: 1; mode=block` and `Referrer-Policy: strict-origin-when-cross-origin`, each unless the replica sends its own" "false";
    Pool plain Hsts "hsts" "`Strict-Transport-Security` for clients that came by https, unless the replica sends its own; `true`: for a year" "false";
    Pool guard Tls "tls" "its clients use https: with a certificate that an authority is asked for, for each name of `host` (`auto`), or with those given to the balancer (`file`); plain http is redirected" "unset: served on http and https alike";
    Pool guard TlsClient "tls.client" "certificates of clients by the settings' `tls_client_ca`: asked for (`optional`), or a condition (`required`; 403); a verified one is passed on as `Client-Cert` (RFC 9440)" "";
    Pool guard RedirectHttps "redirect_https" "308 to the same address at the setting `https_public_port`, for clients that came by plain http; where a proxy before us ends TLS, it must be one of `trusted_proxies`. `false` beside `tls` serves plain http too" "true if `tls` is set";
    Pool guard Allow "allow" "clients that may pass; others get 403" "";
    Pool guard Deny "deny" "clients that get 403, also if `allow` names them" "";
    Pool guard AuthBasic "auth.basic" "who may pass, by name and password; 401" "off";
    Pool guard AuthForward "auth.forward" "a service that decides by its status" "off";
    Pool guard AuthForwardHeaders "auth.forward.headers" "headers of its answer to copy into the request" "";
    Pool guard Rate "rate" "how many requests may pass; 429" "off";
    Pool plain RateBurst "rate.burst" "how many at once" "one second's worth";
    Pool plain RateBy "rate.by" "who shares a limit: a client, or all with the same header or cookie" "client";
    Pool guard BodyLimit "body_limit" "largest request body; 413" "off";
    Pool plain Cors "cors" "pages of which origins may use answers; what replicas say of that is replaced, and preflights are answered here" "off";
    Pool plain CorsMethods "cors.methods" "what preflights are told of methods" "`GET,HEAD,PUT,PATCH,POST,DELETE`";
    Pool plain CorsHeaders "cors.headers" "what preflights are told of headers" "whatever they ask for";
    Pool plain CorsCredentials "cors.credentials" "whether pages may send cookies and the like; not with `*`" "false";
    Pool plain CorsMaxAge "cors.max_age" "how long a browser may remember a preflight's answer" "as long as it sees fit";
    Pool plain ErrorPage "error_page" "a page of HTML for requests that fail, from a file with `{status}` `{message}` `{request_id}`, or from another pool that has no guards or conditions" "built-in page";
    Pool plain ErrorPageOn "error_page.on" "statuses of replicas that it replaces too" "only ours";
    Pool plain ProxyProtocol "proxy_protocol" "begin each connection to a replica with a PROXY header that names the client; none is then used twice" "off";
}

const CHAPTERS: &[(Scope, &str, &str)] = &[
    (Scope::Container, "Of a container", "Each container has its own."),
    (
        Scope::Rule,
        "Which requests",
        "One rule for the pool, from the newest container that has been ready, never key by key.\n\
         A request must meet all of its labels, and of the entries of a list any. Of rules that\n\
         take the same request the first counts: the exact host before wildcards, then the larger\n\
         priority, an exact path, the longest prefix, more further conditions, narrower ones. One\n\
         that does not match leaves the request to the next.",
    ),
    (
        Scope::Pool,
        "How they are served",
        "One set for the pool, from the newest container that has been ready.",
    ),
];

const HEADINGS: &str = "| label | meaning | value | default |\n|---|---|---|---|\n";

const INTRODUCTION: &str = "\
<!-- Made from src/domain/labels/schema.rs: change it there, then run
     `UPDATE_DOCS=1 cargo test --test all labels`. -->

# Labels

One label puts a container into a pool: `lb.pool=api`. All else has a default.

- Case does not matter and `_` is `-`, except in the names of headers and query
  parameters. Lists are separated by commas. Durations carry their unit: `500ms`.
- `lb.<group>.<key>` puts the same container into a further pool, for example an
  admin port: `lb.admin.pool=admin`, `lb.admin.port=9000`. A group needs its
  `.pool`, and its name must not begin another label.
- A pool belongs to its compose project: `web` of two projects is two pools,
  unless the containers of both say `lb.shared=true`.
- A value that cannot be read is reported and its default used, with one exception.
  A label marked **guard** restricts who may pass. Where one cannot be used, or an
  unknown label resembles one, the pool keeps the last good rule of any of its
  containers; without one its requests are answered 503.
- `file:PATH` names a file beneath `--label-files DIR` (`/etc/evenkeel/labels`), by
  its path there or in full: no links, at most 1 MiB. It is read again within 10 s of a
  change; while it cannot be read, what it held last counts, and that is told.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_however_they_are_spelled() {
        for written in ["path.exact", "Path.Exact", "PATH.EXACT"] {
            assert_eq!(find(written).unwrap().0.key, "path.exact", "{written}");
        }
        assert_eq!(find("max-conns").unwrap().0.key, "max_conns");
        assert!(find("paths").is_none());
    }

    #[test]
    fn a_family_keeps_the_spelling_of_its_name() {
        let (label, name) = find("Headers.Request.X-My_Name").unwrap();
        assert_eq!((label.key, name), ("headers.request.<Name>", "X-My_Name"));
        assert!(find("header.").is_none());
    }

    #[test]
    fn no_key_stands_twice_in_the_table() {
        let mut keys: Vec<_> = LABELS.iter().map(|label| label.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), LABELS.len());
    }

    #[test]
    fn every_part_of_the_rule_but_its_rank_is_a_guard() {
        let open: Vec<_> = LABELS
            .iter()
            .filter(|label| label.scope == Scope::Rule && !label.guard)
            .map(|label| label.key)
            .collect();
        assert_eq!(open, ["priority"]);
    }
}

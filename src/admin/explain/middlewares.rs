//! What the middlewares of a pool would make of a request, as far as that can be
//! told without asking or counting.

use std::time::Duration;

use http::header::AUTHORIZATION;

use crate::admin::explain::{Outcome, step};
use crate::admin::view::explain::Step;
use crate::domain::auth::Credentials;
use crate::domain::http::forwarded::Scheme;
use crate::domain::middleware::{Middleware, RateBy, RateLimit, Url, to_https};
use crate::domain::pool::Pool;
use crate::domain::routing::Asked;
use crate::domain::tls::ClientAuth;

/// How the middlewares end.
#[derive(Debug)]
pub(super) enum End {
    /// A replica gets the request.
    Passed,
    /// One of them answers, as it is meant to.
    Answered(String),
    /// One of them lets nobody like this pass.
    Refused { reason: &'static str, verdict: String, hint: String },
}

/// Each of them in its order, and how they end.
pub(super) fn met(
    pool: &Pool,
    asked: &Asked<'_>,
    scheme: Scheme,
    prefix: &str,
    https_port: u16,
) -> (Vec<Step>, End) {
    let mut met = Met { steps: Vec::new(), end: End::Passed, asked, scheme, prefix, https_port };
    met.client_auth(pool);
    for middleware in &*pool.settings.middlewares {
        met.meet(middleware);
    }
    (met.steps, met.end)
}

struct Met<'a> {
    steps: Vec<Step>,
    end: End,
    asked: &'a Asked<'a>,
    scheme: Scheme,
    prefix: &'a str,
    https_port: u16,
}

impl Met<'_> {
    /// Who shows no certificate where one is required may only be sent to https.
    fn client_auth(&mut self, pool: &Pool) {
        if pool.settings.client_auth != ClientAuth::Required {
            return;
        }
        let is_sent_on = || {
            let mut middlewares = pool.settings.middlewares.iter();
            middlewares.any(|it| matches!(it, Middleware::RedirectHttps))
        };
        match self.scheme {
            Scheme::Https => {
                self.note("tls.client_auth", "clients must show a certificate; taken to be shown");
            }
            Scheme::Http if is_sent_on() => {}
            Scheme::Http => self.refuse(
                "tls.client_auth",
                "no_client_certificate",
                "clients must show a certificate, which plain http cannot",
                "ask by https, with a certificate",
            ),
        }
    }

    fn meet(&mut self, middleware: &Middleware) {
        let asked = self.asked;
        let (host, path, query) = (asked.host, asked.path, asked.query);
        let url = Url { scheme: self.scheme, host, path, query };
        match middleware {
            Middleware::RedirectHttps if self.scheme == Scheme::Https => {
                self.pass("redirect_https", "it comes by https");
            }
            Middleware::RedirectHttps => match to_https(url, self.https_port) {
                Some(location) => {
                    let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
                    self.answer("redirect_https", &format!("308 to {location}"));
                }
                None => self.refuse("redirect_https", "no_host", "it names no host", ""),
            },
            Middleware::Clients(clients) if clients.admit(asked.client) => {
                let client = asked.client;
                self.pass("allow, deny", &format!("the client {client} may pass"));
            }
            Middleware::Clients(_) => {
                let message = format!("the client {} may not pass", asked.client);
                let hint = "say another client with --client, or change the labels";
                self.refuse("allow, deny", "forbidden", &message, hint);
            }
            Middleware::Rate(limit) => self.note("rate", &rate(limit)),
            Middleware::Cors(cors) => match cors.preflight(asked.method, asked.headers) {
                Some(_) => self.answer("cors", "204, since it is a preflight"),
                None => self.pass("cors", "it is no preflight"),
            },
            Middleware::BasicAuth(_) => {
                let mut fields = asked.headers.get_all(AUTHORIZATION).iter();
                let field = fields.next().filter(|_| fields.next().is_none());
                match field.and_then(|field| Credentials::read(field.as_bytes())) {
                    Some(given) => {
                        let user = given.user;
                        self.note(
                            "auth.basic",
                            &format!("the password of `{user}` is not tried here"),
                        );
                    }
                    None => self.refuse(
                        "auth.basic",
                        "unauthorized",
                        "it has no name and password",
                        "give them with -H 'Authorization: Basic …'",
                    ),
                }
            }
            Middleware::ForwardAuth(auth) => {
                self.note("auth.forward", &format!("{} decides, and is not asked here", auth.url));
            }
            Middleware::BodyLimit(limit) => {
                self.note("body_limit", &format!("a body of more than {limit} bytes is refused"));
            }
            Middleware::Redirect(to) => match to.target.location(url) {
                Some(location) => {
                    let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
                    self.answer("redirect", &format!("{} to {location}", to.status.as_u16()));
                }
                None => self.refuse("redirect", "no_host", "it names no host", ""),
            },
            Middleware::Rewrite(how) => match how.apply(path) {
                Some(rewritten) => {
                    self.pass(
                        "strip_prefix, add_prefix",
                        &format!("the path becomes `{}`", rewritten.path),
                    );
                }
                None => self.pass("strip_prefix, add_prefix", "the path stays as it is"),
            },
            Middleware::RequestHeaders(_) => {
                self.pass("headers.request", "headers of the request are changed");
            }
            Middleware::Compress(_) => self.pass("compress", "the answer may be compressed"),
            Middleware::ResponseHeaders(_) => {
                self.pass("headers.response", "headers of the answer are changed");
            }
            Middleware::Hsts(_) => self.pass("hsts", "the answer insists on https"),
            Middleware::SecurityHeaders => {
                self.pass("security_headers", "the answer gets headers");
            }
            Middleware::ErrorPage(_) => self.pass("error_page", "errors may get another page"),
        }
    }

    fn pass(&mut self, label: &str, message: &str) {
        self.add(Outcome::Passed, label, message, "");
    }

    fn note(&mut self, label: &str, message: &str) {
        self.add(Outcome::Noted, label, message, "");
    }

    fn answer(&mut self, label: &str, message: &str) {
        if matches!(self.end, End::Passed) {
            self.add(Outcome::Passed, label, &format!("it is answered {message}"), "");
            self.end = End::Answered(format!("{message}, by `{}.{label}`", self.prefix));
        } else {
            self.add(Outcome::Passed, label, message, "");
        }
    }

    fn refuse(&mut self, label: &str, reason: &'static str, message: &str, hint: &str) {
        if matches!(self.end, End::Passed) {
            self.add(Outcome::Stopped, label, message, hint);
            let verdict = format!("refused by `{}.{label}`: {message}", self.prefix);
            self.end = End::Refused { reason, verdict, hint: hint.to_owned() };
        } else {
            self.add(Outcome::Stopped, label, message, hint);
        }
    }

    /// What comes after the end is not met any more.
    fn add(&mut self, outcome: Outcome, label: &str, message: &str, hint: &str) {
        let labels = label.split(", ").map(|it| format!("{}.{it}", self.prefix));
        let labels = labels.collect::<Vec<_>>().join(", ");
        self.steps.push(match self.end {
            End::Passed => step(outcome, labels, message, hint),
            End::Answered(_) | End::Refused { .. } => {
                step(Outcome::Noted, labels, "it does not come so far", "")
            }
        });
    }
}

fn rate(limit: &RateLimit) -> String {
    let who = match &limit.by {
        RateBy::Client => "client".to_owned(),
        RateBy::Header(name) => format!("value of the header `{name}`"),
        RateBy::Cookie(name) => format!("value of the cookie `{name}`"),
    };
    let burst = limit.rate.burst;
    let pace = humantime::format_duration(Duration::from_nanos(limit.rate.pace));
    format!(
        "of each {who} {burst} may come at once, and one more each {pace}; it is not counted here"
    )
}

//! Why there is no new certificate, and what a person can do about it.

use std::time::Duration;

use instant_acme::{Error, Problem as Said};

use crate::config::ChallengeChoice;
use crate::tls::acme::challenge::Kind;
use crate::tls::acme::client::Trouble;

/// What kept us from a certificate.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    /// Whatever the name: nothing can be asked just now.
    #[error("the authority cannot be reached: {0}")]
    Unreachable(String),
    /// It wants less of us. What it says may be meant for one name or for all.
    #[error("the authority takes no more for now: {words}")]
    Limited { words: String, retry_after: Option<Duration> },
    /// Whatever the name: it does not want us.
    #[error("the authority refuses our account: {words}")]
    Account { kind: Option<String>, words: String },
    /// It looked for what we had put up, and did not find it.
    #[error("the authority could not verify by {challenge} that the name is ours: {words}")]
    Challenge { challenge: Kind, kind: Option<String>, words: String },
    /// Anything else about this name.
    #[error("the authority does not issue it: {words}")]
    Order { kind: Option<String>, words: String },
    /// Anything else about ourselves.
    #[error("{0}")]
    Ours(String),
}

impl Failure {
    /// Whether it is the same for every name.
    pub(super) fn is_of_all(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Account { .. } => true,
            Self::Limited { .. } | Self::Challenge { .. } | Self::Order { .. } | Self::Ours(_) => {
                false
            }
        }
    }

    /// Whether the authority knows nothing of the account that we have.
    pub(super) fn is_of_a_lost_account(&self) -> bool {
        matches!(self.kind(), Some(ACCOUNT_GONE))
    }

    /// Whether the authority does not take it that the order replaces another
    /// certificate.
    pub(super) fn is_of_the_replaced(&self) -> bool {
        match self {
            // What our library makes of an answer without the field.
            Self::Ours(_) => true,
            Self::Unreachable(_)
            | Self::Limited { .. }
            | Self::Account { .. }
            | Self::Challenge { .. }
            | Self::Order { .. } => {
                matches!(self.kind(), Some(ALREADY_REPLACED | MALFORMED))
            }
        }
    }

    /// What was said of a challenge of this kind, rather than of the order.
    pub(super) fn of_challenge(challenge: Kind, said: &Said) -> Self {
        Self::Challenge { challenge, kind: said.r#type.clone(), words: words(said) }
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Unreachable(_) => "check `acme_directory` and that it can be reached from here; \
                                     one with a certificate of its own needs `acme_ca`"
                .to_owned(),
            Self::Limited { .. } => "nothing: it is asked again when its limit allows. Restarting \
                                     us does not help; keeping `--state` does"
                .to_owned(),
            Self::Account { kind, .. } => match kind.as_deref() {
                Some(BINDING_NEEDED) => "set `acme_eab_kid` and `acme_eab_key_file` to what the \
                                         authority gave you for your account there"
                    .to_owned(),
                Some(_) | None => "check `acme_email` and the external account".to_owned(),
            },
            Self::Challenge { challenge, kind, .. } => challenge_hint(*challenge, kind.as_deref()),
            Self::Order { kind, .. } => match kind.as_deref() {
                Some(CAA) => CAA_HINT.to_owned(),
                Some(_) | None => "the authority's words say what it objects to; \
                                   `acme_directory` names another one"
                    .to_owned(),
            },
            Self::Ours(_) => String::new(),
        }
    }

    fn kind(&self) -> Option<&str> {
        match self {
            Self::Account { kind, .. }
            | Self::Challenge { kind, .. }
            | Self::Order { kind, .. } => kind.as_deref(),
            Self::Unreachable(_) | Self::Limited { .. } | Self::Ours(_) => None,
        }
    }
}

fn challenge_hint(challenge: Kind, kind: Option<&str>) -> String {
    let port = challenge.port();
    match kind {
        Some(DNS) => "give the name an address record that leads to this balancer".to_owned(),
        Some(CAA) => CAA_HINT.to_owned(),
        Some(CONNECTION) => format!(
            "let port {port} of the name lead to this balancer from the internet: DNS, firewall \
             and published ports"
        ),
        Some(_) | None => format!(
            "another server answered at port {port}: check that the name's DNS records, IPv6 too, \
             lead to this balancer and to nobody else"
        ),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(said) => Self::refused(said.r#type.clone(), words(&said), None),
            Error::Other(source) => match source.downcast::<Trouble>() {
                Ok(trouble) => Self::from(*trouble),
                Err(source) => Self::Ours(clean(&source.to_string())),
            },
            Error::Timeout(_) => {
                Self::Order { kind: None, words: "it has not decided for too long".to_owned() }
            }
            error @ (Error::Crypto
            | Error::KeyRejected
            | Error::Http(_)
            | Error::InvalidUri(_)
            | Error::Json(_)
            | Error::Unsupported(_)
            | Error::Str(_)
            | _) => Self::Ours(clean(&format!("its answer makes no sense: {error}"))),
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused { status, kind, words, retry_after } => match status.as_u16() {
                429 => Self::Limited { words, retry_after },
                502..=504 if retry_after.is_some() => Self::Limited { words, retry_after },
                502..=504 => Self::Unreachable(words),
                // Who answers without a problem of ACME is no ACME server.
                _ if kind.is_none() => Self::Unreachable(words),
                _ => Self::refused(kind, words, retry_after),
            },
            trouble @ (Trouble::Trust(_)
            | Trouble::Url(_)
            | Trouble::Lookup { .. }
            | Trouble::Connect { .. }
            | Trouble::Handshake { .. }
            | Trouble::Broken { .. }
            | Trouble::Unread { .. }
            | Trouble::Late { .. }) => Self::Unreachable(clean(&trouble.to_string())),
        }
    }
}

impl Failure {
    fn refused(kind: Option<String>, words: String, retry_after: Option<Duration>) -> Self {
        match kind.as_deref() {
            Some(RATE_LIMITED) => Self::Limited { words, retry_after },
            Some(BINDING_NEEDED | INVALID_CONTACT | UNSUPPORTED_CONTACT | USER_ACTION) => {
                Self::Account { kind, words }
            }
            Some(_) | None => Self::Order { kind, words },
        }
    }
}

/// What an authority says, on one line, and no longer than one needs.
pub(super) fn words(said: &Said) -> String {
    let detail = said.detail.as_deref().or(said.r#type.as_deref()).unwrap_or("it does not say why");
    let more = said.subproblems.iter().filter_map(|it| it.detail.as_deref());
    let all = std::iter::once(detail).chain(more).take(DETAILS_MAX);
    clean(&all.collect::<Vec<_>>().join("; "))
}

/// Text from outside, fit for a line of a log.
pub(super) fn clean(text: &str) -> String {
    let mut clean: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect();
    if text.chars().count() > WORDS_MAX {
        clean.push('…');
    }
    clean.trim().trim_end_matches('.').to_owned()
}

/// Which challenge is answered in the next try after so many failures.
pub(super) fn kind(choice: ChallengeChoice, has_http: bool, failures: u32) -> Kind {
    match choice {
        ChallengeChoice::Http01 => Kind::Http01,
        ChallengeChoice::TlsAlpn01 => Kind::TlsAlpn01,
        ChallengeChoice::Auto if has_http && failures.is_multiple_of(2) => Kind::Http01,
        ChallengeChoice::Auto => Kind::TlsAlpn01,
    }
}

// The types of problems (RFC 8555, section 6.7; RFC 9773, section 7.4).
const RATE_LIMITED: &str = "urn:ietf:params:acme:error:rateLimited";
const BINDING_NEEDED: &str = "urn:ietf:params:acme:error:externalAccountRequired";
const INVALID_CONTACT: &str = "urn:ietf:params:acme:error:invalidContact";
const UNSUPPORTED_CONTACT: &str = "urn:ietf:params:acme:error:unsupportedContact";
const USER_ACTION: &str = "urn:ietf:params:acme:error:userActionRequired";
const ACCOUNT_GONE: &str = "urn:ietf:params:acme:error:accountDoesNotExist";
const ALREADY_REPLACED: &str = "urn:ietf:params:acme:error:alreadyReplaced";
const MALFORMED: &str = "urn:ietf:params:acme:error:malformed";
const DNS: &str = "urn:ietf:params:acme:error:dns";
const CAA: &str = "urn:ietf:params:acme:error:caa";
const CONNECTION: &str = "urn:ietf:params:acme:error:connection";

const CAA_HINT: &str = "let the CAA records of the domain name this authority";

/// In characters: three lines of a terminal.
const WORDS_MAX: usize = 240;

/// One for each name of an order, of which ours have one.
const DETAILS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Failure {
        Failure::from(Error::Api(serde_json::from_str(text).unwrap()))
    }

    #[test]
    fn the_words_of_an_authority_stay_on_one_short_line() {
        let long = format!(r#"{{"type":"x","detail":"a\nb\u001b[31m{}."}}"#, "c".repeat(500));
        let shown = said(&long).to_string();
        assert!(shown.starts_with("the authority does not issue it: a b [31mccc"), "{shown}");
        assert!(shown.chars().count() < 300 && shown.ends_with('…'), "{shown}");
        assert!(said("{}").to_string().ends_with("it does not say why"));
    }

    #[test]
    fn every_failure_says_what_can_be_done_about_it() {
        let challenge = |kind: &str| {
            let text = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"no"}}"#);
            Failure::of_challenge(Kind::TlsAlpn01, &serde_json::from_str(&text).unwrap()).hint()
        };
        assert!(challenge("dns").contains("address record"));
        assert!(challenge("connection").contains("let port 443"));
        assert!(challenge("caa").contains("CAA"));
        assert!(challenge("unauthorized").contains("another server answered at port 443"));
        let binding = r#"{"type":"urn:ietf:params:acme:error:externalAccountRequired"}"#;
        assert!(said(binding).hint().contains("acme_eab_kid"));
        assert!(said(binding).is_of_all());
    }

    #[test]
    fn a_limit_is_told_from_what_is_wrong_with_a_name() {
        let limited = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"slowly"}"#;
        assert_eq!(
            said(limited),
            Failure::Limited { words: "slowly".to_owned(), retry_after: None }
        );
        let gone = said(r#"{"type":"urn:ietf:params:acme:error:accountDoesNotExist"}"#);
        assert!(gone.is_of_a_lost_account() && !gone.is_of_all());
    }

    #[test]
    fn challenges_take_turns_where_both_can_be_answered() {
        let auto = |http| (0..4).map(move |failures| kind(ChallengeChoice::Auto, http, failures));
        use Kind::{Http01, TlsAlpn01};
        assert!(auto(true).eq([Http01, TlsAlpn01, Http01, TlsAlpn01]));
        assert!(auto(false).all(|it| it == TlsAlpn01));
        assert_eq!(kind(ChallengeChoice::TlsAlpn01, true, 0), TlsAlpn01);
        assert_eq!(kind(ChallengeChoice::Http01, true, 1), Http01);
    }
}

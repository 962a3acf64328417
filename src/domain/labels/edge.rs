//! The labels of how clients come in: `entrypoint`, `tls` and `tls.client`.

use std::sync::Arc;

use crate::domain::labels::group::Group;
use crate::domain::labels::own::Known;
use crate::domain::labels::schema::Setting;
use crate::domain::labels::unknown::near;
use crate::domain::labels::value::{InvalidValue, list};
use crate::domain::labels::voice::Voice;
use crate::domain::pool::PoolSettings;
use crate::domain::rule::Rule;
use crate::domain::tls::{self, CertificateSource, ClientAuth};

/// What labels may ask for of the ways by which clients come in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Served {
    /// The names of the entry points.
    pub entry_points: Vec<Arc<str>>,
    /// Any of them speaks TLS.
    pub https: bool,
    /// Certificates of clients can be verified.
    pub client_ca: bool,
}

/// What can be read of a list of entry points, sorted, and the first fault in it.
pub(super) fn entry_points(
    written: &str,
    served: Option<&Served>,
) -> (Vec<Arc<str>>, Option<InvalidValue>) {
    list(written, |entry| {
        let name = entry.to_ascii_lowercase();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if !name.chars().all(allowed) {
            return Err(InvalidValue::entry_that(entry, "is not the name of an entry point"));
        }
        let Some(served) = served else { return Ok(Arc::from(name)) };
        let known = served.entry_points.iter().find(|it| ***it == *name);
        known.cloned().ok_or_else(|| {
            let meant = near(&name, served.entry_points.iter().map(|it| &**it));
            InvalidValue::EntryPoint { entry: entry.to_owned(), meant: meant.map(str::to_owned) }
        })
    })
}

pub(super) fn source(written: &str) -> Result<CertificateSource, InvalidValue> {
    match written.trim().to_ascii_lowercase().as_str() {
        "auto" => Ok(CertificateSource::Auto),
        "file" => Ok(CertificateSource::File),
        other => Err(InvalidValue::Word { meant: near(other, ["auto", "file"].into_iter()) }),
    }
}

pub(super) fn client_auth(written: &str) -> Result<ClientAuth, InvalidValue> {
    match written.trim().to_ascii_lowercase().as_str() {
        "optional" => Ok(ClientAuth::Optional),
        "required" => Ok(ClientAuth::Required),
        other => {
            Err(InvalidValue::Word { meant: near(other, ["optional", "required"].into_iter()) })
        }
    }
}

/// Tells what cannot be as it was asked for. True if the route must close.
pub(super) fn settle(
    group: &Group<'_>,
    settings: &PoolSettings,
    rule: &Rule,
    served: Option<&Served>,
    voice: &mut Voice,
) -> bool {
    if let Some(known) = group.find(Setting::Tls).filter(|_| settings.tls.is_some()) {
        if served.is_some_and(|served| !served.https) {
            voice.no_https(known);
        }
        if settings.tls == Some(CertificateSource::Auto) {
            certificates(known, group, rule, voice);
        }
    }
    match group.find(Setting::TlsClient) {
        Some(known) if served.is_some_and(|served| !served.client_ca) => {
            voice.no_client_ca(known);
            true
        }
        Some(_) | None => false,
    }
}

/// Tells of hosts for which no authority can be asked.
fn certificates(known: &Known<'_>, group: &Group<'_>, rule: &Rule, voice: &mut Voice) {
    if rule.hosts.is_empty() {
        voice.no_certified_host(known, &group.stem);
    }
    for host in &rule.hosts {
        if let Some(why) = tls::unfit(host) {
            voice.uncertified(known, host, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_case_and_near_ones_are_recognised() {
        assert_eq!(source(" Auto "), Ok(CertificateSource::Auto));
        assert_eq!(source("files"), Err(InvalidValue::Word { meant: Some("file") }));
        assert_eq!(source("true"), Err(InvalidValue::Word { meant: None }));
        assert_eq!(client_auth("REQUIRED"), Ok(ClientAuth::Required));
        assert_eq!(client_auth("require"), Err(InvalidValue::Word { meant: Some("required") }));
        assert_eq!(client_auth("off"), Err(InvalidValue::Word { meant: None }));
    }
}

//! Which certificates are served, and to whom.

use std::path::{Path, PathBuf};

use crate::config::mistake::Fault;
use crate::domain::suggest;
use crate::domain::tls::{Profile, UnknownName};

/// What is set of certificates.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsSettings {
    /// The default certificate.
    pub pair: Option<PairFiles>,
    /// Where more pairs stand.
    pub folder: Option<PathBuf>,
    /// The authorities by whose certificates clients are known.
    pub client_ca: Option<PathBuf>,
    pub profile: Profile,
    pub unknown_name: UnknownName,
}

/// Where a certificate and its key stand.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct PairFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

pub(super) fn path(written: &str) -> Result<PathBuf, Fault> {
    let hint = "name it, such as `/run/secrets/site.crt`, or leave this out";
    if written.is_empty() {
        return Err(Fault::new("is empty", hint));
    }
    Ok(Path::new(written).to_owned())
}

pub(super) fn profile(written: &str) -> Result<Profile, Fault> {
    match written {
        "intermediate" => Ok(Profile::Intermediate),
        "modern" => Ok(Profile::Modern),
        "old" => Err(Fault::new(
            "is not served: TLS 1.0 and 1.1 are broken (RFC 8996)",
            "write `intermediate` for the oldest clients that are safe",
        )),
        _ => Err(unknown(written, "a profile", ["modern", "intermediate"])),
    }
}

pub(super) fn sni(written: &str) -> Result<UnknownName, Fault> {
    match written {
        "default" => Ok(UnknownName::Default),
        "strict" => Ok(UnknownName::Refuse),
        _ => Err(unknown(written, "known here", ["default", "strict"])),
    }
}

fn unknown(written: &str, what: &str, known: [&str; 2]) -> Fault {
    let [one, other] = known;
    let hint = match suggest::nearest(written, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write `{one}` or `{other}`"),
    };
    Fault::new(format!("is not {what}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_go_by_the_names_that_mozilla_gave_them() {
        assert_eq!(profile("modern"), Ok(Profile::Modern));
        assert_eq!(profile("intermediate"), Ok(Profile::Intermediate));
        assert!(profile("old").unwrap_err().hint.contains("intermediate"));
        assert_eq!(profile("moderm").unwrap_err().hint, "did you mean `modern`?");
        assert_eq!(profile("x").unwrap_err().hint, "write `modern` or `intermediate`");
    }

    #[test]
    fn an_unknown_name_gets_the_default_or_an_alert() {
        assert_eq!(sni("default"), Ok(UnknownName::Default));
        assert_eq!(sni("strict"), Ok(UnknownName::Refuse));
        assert_eq!(sni("stric").unwrap_err().hint, "did you mean `strict`?");
    }

    #[test]
    fn a_path_is_never_empty() {
        assert_eq!(path("a b.crt"), Ok("a b.crt".into()));
        assert!(path("").is_err());
    }
}

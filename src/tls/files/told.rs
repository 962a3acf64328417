//! What is wrong with files, for people.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::domain::problem::{Problem, Subject};
use crate::tls::certificate::{Certificate, Fault};
use crate::tls::clock::date;
use crate::tls::files::folder::{Found, PAIRS_MAX};
use crate::tls::files::pair::Rejected;
use crate::tls::files::watched::Trouble;

/// What keeps the files of a certificate from counting.
pub(super) fn trouble(
    path: &Path,
    key: &Path,
    trouble: &Trouble<Rejected>,
    before: Option<&Certificate>,
) -> Problem {
    let (what, hint) = match trouble {
        Trouble::Unread(unread) => (unread.to_string(), unread.hint()),
        Trouble::Content(Rejected::Fault(fault)) => {
            let what = match fault.is_of_key() {
                true => format!("`{}` cannot be used: {fault}", key.display()),
                false => format!("it cannot be used: {fault}"),
            };
            (what, fault.hint().to_owned())
        }
        Trouble::Content(rejected @ Rejected::Untimely(_)) => {
            (rejected.to_string(), "renew it, and see that the clock is right".to_owned())
        }
    };
    let meanwhile = match before {
        Some(_) => "the one before it stays in use",
        None => "there is none before it, and others stand in",
    };
    Problem::new(of(path), format!("{what}; {meanwhile}"), hint)
}

/// What its dates say of a certificate that is in use.
pub(super) fn age(path: &Path, certificate: &Certificate, today: SystemTime) -> Option<Problem> {
    let Certificate { not_before, not_after, .. } = *certificate;
    let (what, hint) = if today < not_before {
        (format!("it is good only from {} on", date(not_before)), "see that the clock is right")
    } else if not_after <= today {
        (format!("it has expired at {}", date(not_after)), RENEW)
    } else if not_after <= today + SOON {
        (format!("it expires at {}", date(not_after)), RENEW)
    } else {
        return None;
    };
    Some(Problem::new(of(path), what, hint))
}

/// Anybody on this machine may read a private key.
pub(super) fn public_key(key: &Path) -> Problem {
    let shown = key.display();
    let message = format!("every user of the machine may read the private key `{shown}`");
    Problem::new(of(key), message, format!("run `chmod o-r {shown}` where it is"))
}

/// Certificates at these places of a chain are not sent to clients.
pub(super) fn strays(path: &Path, places: &[usize]) -> Option<Problem> {
    let places: Vec<_> = places.iter().map(ToString::to_string).collect();
    let message = match &places[..] {
        [] => return None,
        [place] => format!("the certificate at place {place} of the chain is not sent"),
        _ => format!("the certificates at places {} of the chain are not sent", places.join(", ")),
    };
    let message =
        message + ": what stands there twice or has issued none of the others helps nobody";
    let hint = "take it out: keep our own certificate and those that lead from it to the authority";
    Some(Problem::new(of(path), message, hint))
}

/// What keeps the authorities of clients from counting.
pub(super) fn clients(path: &Path, trouble: &Trouble<Fault>, before: bool) -> Problem {
    let (what, hint) = match trouble {
        Trouble::Unread(unread) => (unread.to_string(), unread.hint()),
        Trouble::Content(fault) => {
            let hint = "write the certificates of the authorities in PEM form, and no others";
            (format!("it cannot be used: {fault}"), hint.to_owned())
        }
    };
    let meanwhile = match before {
        true => "the authorities before it stay in use",
        false => "no client is known by a certificate",
    };
    Problem::new(of(path), format!("{what}; {meanwhile}"), hint).about("tls_client_ca")
}

pub(super) fn no_folder(folder: &Path, failed: &io::Error) -> Problem {
    let message = format!("`tls_dir` is `{}`, which cannot be read: {failed}", folder.display());
    let hint = "name a folder that we may read, or leave it out";
    Problem::new(Subject::Setting, message, hint).about("tls_dir")
}

/// What is odd about a folder of pairs.
pub(super) fn folder(folder: &Path, found: &Found, kept: usize) -> Vec<Problem> {
    let shown = folder.display();
    let problem = |message: String, hint: &str| {
        Problem::new(Subject::Setting, message, hint).about("tls_dir")
    };
    let mut problems = Vec::new();
    for key in found.keys_alone.iter().take(ALONE_TOLD_MAX) {
        let message = format!("the key `{}` has no certificate beside it", key.display());
        let hint = "put its certificate there, called the same with `.crt`, `.pem` or `.cert`";
        problems.push(problem(message, hint));
    }
    if found.too_many > 0 {
        let left = found.too_many;
        let message =
            format!("`{shown}` has more than {PAIRS_MAX} pairs: {left} of them are left out");
        problems.push(problem(message, "take out those that are not served"));
    }
    if found.is_nothing() {
        let meanwhile = match kept {
            0 => "",
            _ => "; those that were there stay in use",
        };
        let message = format!("`{shown}` holds no certificate with its key{meanwhile}");
        let hint = "put `NAME.crt` and `NAME.key` there, or `NAME/fullchain.pem` and \
                    `NAME/privkey.pem`; if it is a volume, see that it is mounted";
        problems.push(problem(message, hint));
    }
    problems
}

fn of(path: &Path) -> Subject {
    Subject::Certificate(Arc::from(path.display().to_string()))
}

/// Authorities remind their customers at this time, and a person has two
/// weekends left.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

const RENEW: &str = "renew it and put the new one in its place; no restart is needed";

const ALONE_TOLD_MAX: usize = 10;

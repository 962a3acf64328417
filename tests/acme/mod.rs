//! Certificates from a real ACME server to a running balancer.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where it fails, and its clock is the real one"
)]

mod client;
mod directory;
mod pebble;
mod renewal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use client::{Secure, Shown, shown};
use directory::{Fault, Faulty};
use pebble::{Ports, Site, free_ports, is_installed, text};

use crate::support::wait::eventually;
use crate::wire::{Backend, Balancer, ok};

#[test]
fn a_name_gets_its_certificate_by_http_01_and_keeps_it_beyond_a_restart() {
    if !is_installed() {
        return;
    }
    let (site, backend) = (Site::new(), backend());
    let pebble = site.pebble();
    let balancer = balancer(&site, &backend, &["--acme-challenge", "http-01"]);
    let first = issued(&site);
    let line = balancer.access_logged("acme_challenge");
    assert!(line.contains("GET /.well-known/acme-challenge/"), "{line}");
    let kept = site.kept(NAME).unwrap();
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    drop((balancer, pebble));

    // Nobody could issue another one now.
    let balancer = self::balancer(&site, &backend, &[]);
    let again = eventually(WAIT, || pebbles(&site));
    assert_eq!(again, first, "the one that is kept is shown");
    drop(balancer);

    fs::write(&kept, &text(&kept)[..200]).unwrap();
    let _pebble = site.pebble();
    let balancer = self::balancer(&site, &backend, &["--acme-challenge", "http-01"]);
    balancer.logged("is damaged");
    assert_ne!(issued(&site), first, "another one takes the place of a damaged one");
    assert!(kept.with_added_extension("damaged").is_file());
}

#[test]
fn a_name_gets_its_certificate_by_tls_alpn_01() {
    if !is_installed() {
        return;
    }
    let (site, backend) = (Site::new(), backend());
    // Nobody listens at the port for http-01.
    let [nowhere] = free_ports();
    let _pebble = site.pebble_with(Ports { http: nowhere, ..site.ports }, "");
    let balancer = balancer(&site, &backend, &["--acme-challenge", "tls-alpn-01"]);
    issued(&site);
    assert!(!balancer.has_logged("could not verify"));
}

#[test]
fn an_authority_may_want_an_account_that_it_knows() {
    if !is_installed() {
        return;
    }
    let (site, backend) = (Site::new(), backend());
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let more = format!(
        r#", "externalAccountBindingRequired": true, "externalAccountMACKeys": {{"kid-1": "{key}"}}"#
    );
    let _pebble = site.pebble_with(site.ports, &more);
    let without = balancer(&site, &backend, &[]);
    let line = without.logged("the authority refuses our account");
    assert!(line.contains("acme_eab_kid"), "{line}");
    drop(without);

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), key).unwrap();
    let path = file.path().to_str().unwrap();
    let _with =
        balancer(&site, &backend, &["--acme-eab-kid", "kid-1", "--acme-eab-key-file", path]);
    issued(&site);
}

#[test]
fn a_challenge_that_fails_is_told_with_the_words_of_the_authority() {
    if !is_installed() {
        return;
    }
    let (site, backend) = (Site::new(), backend());
    let [nowhere] = free_ports();
    let pebble = site.pebble_with(Ports { http: nowhere, ..site.ports }, "");
    let balancer = balancer(&site, &backend, &["--acme-challenge", "http-01"]);
    let line = balancer.logged("could not verify by http-01 that the name is ours");
    assert!(line.contains(NAME) && line.contains("refused"), "{line}");
    assert!(line.contains("next try at 20") && line.contains("let port 80"), "{line}");
    assert!(!shown(site.ports.https, NAME).unwrap().is_of_pebble(), "it serves all the same");
    let mut client = Secure::connect(site.ports.https, NAME).unwrap();
    assert_eq!(client.get(NAME).unwrap(), 200);
    drop((balancer, pebble));

    // Mended: the port leads to the balancer now.
    let _pebble = site.pebble();
    let _balancer = self::balancer(&site, &backend, &["--acme-challenge", "http-01"]);
    issued(&site);
}

#[test]
fn an_authority_that_has_begun_anew_gets_one_new_account_for_all_names() {
    if !is_installed() {
        return;
    }
    let (site, backend) = (Site::new(), backend());
    let pebble = site.pebble();
    let balancer = balancer(&site, &backend, &["--acme-challenge", "http-01"]);
    issued(&site);
    drop((balancer, pebble));

    // It remembers nobody, and four orders meet that at once.
    let _pebble = site.pebble();
    let names = ["a.example.com", "b.example.com", "c.example.com", "d.example.com"];
    let args = ["--acme-challenge", "http-01"];
    let balancer = balancer_for(&names.join(","), &site, &site.directory(), &backend, &args);
    for name in names {
        eventually(WAIT, || match shown(site.ports.https, name) {
            Ok(shown) if shown.is_of_pebble() => Ok(()),
            shown => Err(format!("{shown:?}")),
        });
    }
    assert_eq!(balancer.times_logged("ACME account made"), 1);
}

#[test]
fn an_order_outlives_an_authority_that_fails_for_a_while() {
    use Fault::{Broken, Busy, Lost, Nonce};
    if !is_installed() {
        return;
    }
    let (site, backend) = (Site::new(), backend());
    let _pebble = site.pebble();
    // Three bad nonces are one failure, since the library asks three times.
    let [unread, passing, lost] = [
        [Nonce, Nonce, Nonce, Nonce].as_slice(),
        &[Nonce, Nonce, Nonce, Broken, Busy],
        &[Nonce, Nonce, Nonce, Busy, Lost],
    ];
    let faulty = Faulty::new(
        &site,
        &[
            ("sign-me-up", unread),
            ("order-plz", unread),
            ("authZ", passing),
            ("chalZ", lost),
            ("my-order", passing),
            ("finalize-order", lost),
            ("certZ", passing),
        ],
    );
    let balancer = balancer_of(&site, &faulty.url, &backend, &["--acme-challenge", "http-01"]);
    eventually(2 * WAIT, || pebbles(&site));
    assert!(faulty.unused().is_empty(), "nothing has failed at {:?}", faulty.unused());
    for path in ["sign-me-up", "order-plz", "finalize-order", "certZ"] {
        assert_eq!(faulty.passed(path), 1, "{path} has cost what is limited");
    }
    assert!(!balancer.has_logged("the authority"), "a person is told of nothing");
}

#[test]
fn an_authority_that_is_away_costs_no_request_and_is_asked_again() {
    if !is_installed() {
        return;
    }
    let (site, backend) = (Site::new(), backend());
    let balancer = balancer(&site, &backend, &[]);
    let line = balancer.logged("the authority cannot be reached");
    assert!(line.contains("1 name has no certificate yet"), "{line}");
    let mut client = Secure::connect(site.ports.https, NAME).unwrap();
    assert!(!client.shown().is_of_pebble());
    assert_eq!(client.get(NAME).unwrap(), 200);

    let _pebble = site.pebble();
    issued(&site);
    assert_eq!(client.get(NAME).unwrap(), 200, "who was there before stays");
    balancer.logged("Mended: setting: the authority cannot be reached");
}

fn backend() -> Backend {
    Backend::answering(|_| ok("hello"))
}

/// A balancer that wants a certificate for [`NAME`], with one replica that is
/// ready.
fn balancer(site: &Site, backend: &Backend, args: &[&str]) -> Balancer {
    let directory = site.directory();
    balancer_of(site, &directory, backend, args)
}

fn balancer_of(site: &Site, directory: &str, backend: &Backend, args: &[&str]) -> Balancer {
    balancer_for(NAME, site, directory, backend, args)
}

/// As [`balancer_of`], for several names between commas.
fn balancer_for(
    names: &str,
    site: &Site,
    directory: &str,
    backend: &Backend,
    args: &[&str],
) -> Balancer {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let text = format!(
        "http = [\"127.0.0.1:{}\"]\nhttps = [\"127.0.0.1:{}\"]\nstate = {:?}\nacme_ca = {:?}\n\
         acme_directory = \"{directory}\"\nacme_email = \"ops@example.com\"\n\
         [pools.web]\nservers = [\"{}\"]\nhost = \"{names}\"\ntls = \"auto\"\n",
        site.ports.http,
        site.ports.https,
        site.state(),
        site.ca(),
        backend.address,
    );
    fs::write(file.path(), text).unwrap();
    let (config, http) = (file.path().to_str().unwrap(), format!("127.0.0.1:{}", site.ports.http));
    let args = [&["--config", config, "--http", &http], args].concat();
    let balancer = Balancer::start(&args);
    balancer.logged("Replica ready");
    balancer
}

/// The certificate of the authority, once it is shown.
fn issued(site: &Site) -> Shown {
    eventually(WAIT, || pebbles(site))
}

fn pebbles(site: &Site) -> Result<Shown, String> {
    let shown = shown(site.ports.https, NAME).map_err(|error| error.to_string())?;
    if shown.is_of_pebble() { Ok(shown) } else { Err(format!("{shown:?} is shown")) }
}

const NAME: &str = "shop.example.com";

/// An authority looks several times, from several places.
const WAIT: Duration = Duration::from_secs(25);

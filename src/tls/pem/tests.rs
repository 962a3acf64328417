//! What stands in files, good and bad.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::tls::made::{Authority, DAY, Made, Term};

fn read(made: &Made) -> Result<Certificate, Fault> {
    certificate(made.chain.as_bytes(), made.key.as_bytes())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_certificate_tells_whom_it_is_for_and_how_long() {
    let term = Term::days(30);
    let names = ["Shop.Example", "*.shop.example", "10.0.0.1"];
    let read = read(&Authority::new("a").issue_for(&names, term)).unwrap();
    let names: Vec<_> = read.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["shop.example", "*.shop.example"], "nobody asks for an address");
    assert_eq!(seconds(read.not_before), seconds(term.from));
    assert_eq!(seconds(read.not_after), seconds(term.until));
    assert!(!read.is_current(term.from - DAY));
    assert!(read.is_current(term.from + DAY));
    assert!(!read.is_current(term.until));
}

#[test]
fn a_chain_is_put_in_the_order_in_which_it_was_signed() {
    let root = Authority::new("root");
    let (between, below) = (root.beneath("between"), root.beneath("x").beneath("y"));
    let made = between.issue(&["a.example"]);
    let right = read(&made.clone().with(&between).with(&root)).unwrap();
    let mixed = read(&made.clone().with(&root).with(&between)).unwrap();
    assert_eq!(right.key.cert, mixed.key.cert);
    assert_eq!(right.key.cert.len(), 3);
    assert!(right.strays.is_empty());
    let strays = made.clone().with(&below).with(&between).with(&between).with(&root).with(&root);
    let strays = Made { chain: strays.chain + &made.chain, ..strays };
    let without = read(&strays).unwrap();
    assert_eq!(without.key.cert, right.key.cert);
    assert_eq!(without.strays, [2, 4, 6, 7]);
}

#[test]
fn what_cannot_be_shown_is_refused_with_the_reason_and_a_remedy() {
    let authority = Authority::new("a");
    let (made, other) = (authority.issue(&["a.example"]), authority.issue(&["a.example"]));
    let half = |text: &str| text[..text.len() / 2].to_owned();
    let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let long = made.chain.repeat(11);
    let protected =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let unknown = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (chain, key, expected) in [
        ("", &*made.key, "it holds no certificate in PEM form"),
        (&made.key, &made.key, "it holds no certificate in PEM form"),
        (
            &half(&made.chain),
            &made.key,
            "the certificate is not in PEM form, or only half of it is there",
        ),
        (garbled, &made.key, "the certificate at place 1 of the chain cannot be read"),
        (&long, &made.key, "the chain has more than 10 certificates"),
        (&made.chain, "", "it holds no private key in PEM form"),
        (&made.chain, &made.chain, "it holds no private key in PEM form"),
        (&made.chain, &half(&made.key), "the key is not in PEM form, or only half of it is there"),
        (&made.chain, protected, "the key is protected by a passphrase"),
        (&made.chain, unknown, "the key is of no kind that we can sign with"),
        (&made.chain, &other.key, "the key belongs to another certificate"),
    ] {
        let fault = certificate(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert_eq!(fault.to_string(), expected);
        assert!(!fault.hint().is_empty());
    }
}

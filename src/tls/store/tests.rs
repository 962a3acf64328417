//! Which certificate a client gets.

use super::*;
use crate::tls::made::{Authority, DAY, Made, Term};
use crate::tls::{pem, wall_clock as now};

#[test]
fn without_any_certificate_everybody_gets_the_self_signed_one() {
    let store = store(UnknownName::Default);
    assert_eq!(asked(&store, Some("a.example")), "self-signed");
    assert_eq!(asked(&store, None), "self-signed");
    assert_eq!(store.standings()[0].origin, Origin::SelfSigned);
}

#[test]
fn the_exact_name_counts_before_the_wildcard_and_the_default_comes_last() {
    let authority = Authority::new("a");
    let files = [
        ("default", &["first.example"][..]),
        ("exact", &["shop.example", "www.shop.example"]),
        ("wildcard", &["*.shop.example"]),
    ];
    let files = files.map(|(path, names)| filed(path, &authority.issue(names)));
    for unknown in [UnknownName::Default, UnknownName::Refuse] {
        let store = store(unknown);
        store.set_files(files.to_vec(), now()).unwrap();
        let default = match unknown {
            UnknownName::Default => "file default",
            UnknownName::Refuse => "refused",
        };
        for (name, expected) in [
            (Some("shop.example"), "file exact"),
            (Some("Shop.Example."), "file exact"),
            (Some("www.shop.example"), "file exact"),
            (Some("api.shop.example"), "file wildcard"),
            (Some("a.api.shop.example"), default),
            (Some("*.shop.example"), "file wildcard"),
            (Some("example"), default),
            (Some("other.example"), default),
            (Some("first.example"), "file default"),
            (None, "file default"),
        ] {
            assert_eq!(asked(&store, name), expected, "{name:?}, {unknown:?}");
        }
    }
}

#[test]
fn of_two_for_one_name_the_one_that_is_good_for_longer_counts() {
    let authority = Authority::new("a");
    let store = store(UnknownName::Default);
    let made = |path, days| filed(path, &authority.issue_for(&["a.example"], Term::days(days)));
    store.set_files(vec![made("x", 30), made("y", 60), made("z", 10)], now()).unwrap();
    assert_eq!(asked(&store, Some("a.example")), "file y");
    assert_eq!(asked(&store, None), "file x");
}

#[test]
fn a_name_that_a_certificate_is_awaited_for_gets_the_default_meanwhile() {
    let store = store(UnknownName::Refuse);
    let host: Host = "a.example".parse().unwrap();
    let wish = Issued {
        names: vec![host],
        certificate: None,
        renews_at: None,
        failure: Some("no answer".into()),
    };
    store.set_issued(vec![wish.clone()], now()).unwrap();
    assert_eq!(asked(&store, Some("a.example")), "self-signed");
    assert_eq!(asked(&store, Some("b.example")), "refused");
    let [awaited, own] = &store.standings()[..] else { panic!("{:?}", store.standings()) };
    assert_eq!(
        (&awaited.names[..], &awaited.origin),
        (&["a.example".to_owned()][..], &Origin::Acme)
    );
    assert_eq!((awaited.validity, awaited.fault.as_deref()), (None, Some("no answer")));
    assert!(own.is_default && !awaited.is_default);

    let certificate = certificate(&Authority::new("a").issue(&["a.example"]));
    store.set_issued(vec![Issued { certificate: Some(certificate), ..wish }], now()).unwrap();
    assert_eq!(asked(&store, Some("a.example")), "acme a.example");
    assert_eq!(asked(&store, None), "self-signed", "scanners learn no name");
}

#[test]
fn what_is_set_again_keeps_its_sessions_and_what_is_new_begins_others() {
    let authority = Authority::new("a");
    let store = store(UnknownName::Default);
    let (made, other) = (authority.issue(&["a.example"]), authority.issue(&["b.example"]));
    let config = |name| store.choose(Some(name), ClientAuth::Off).unwrap();
    store.set_files(vec![filed("x", &made), filed("y", &other)], now()).unwrap();
    let before = (config("a.example"), config("b.example"));
    let renewed = authority.issue(&["b.example"]);
    store.set_files(vec![filed("x", &made), filed("y", &renewed)], now()).unwrap();
    let after = (config("a.example"), config("b.example"));
    assert!(Arc::ptr_eq(&before.0.config, &after.0.config));
    assert!(!Arc::ptr_eq(&before.1.config, &after.1.config));
    assert_eq!(before.1.identity, after.1.identity, "it is the same certificate to its visitors");

    store.set_clients(Some(&Arc::new(authority.roots())), now()).unwrap();
    assert!(!Arc::ptr_eq(&after.0.config, &config("a.example").config));
}

#[test]
fn a_challenge_is_there_until_it_is_taken_away() {
    let store = store(UnknownName::Default);
    let certificate = certificate(&Authority::new("a").issue(&["a.example"]));
    let host: Host = "a.example".parse().unwrap();
    assert!(store.challenge("a.example").is_none());
    store.set_challenge(&host, Some(&certificate.key)).unwrap();
    let config = store.challenge("A.example").unwrap();
    assert_eq!(config.alpn_protocols, [b"acme-tls/1".to_vec()]);
    assert!(store.challenge("b.example").is_none());
    store.set_challenge(&host, None).unwrap();
    assert!(store.challenge("a.example").is_none());
}

#[test]
fn one_that_is_good_now_counts_then_the_operators_own_then_the_one_that_is_good_for_longest() {
    let authority = Authority::new("a");
    let store = store(UnknownName::Default);
    let now = now();
    let term = |from, until| Term { from: now + DAY * from, until: now + DAY * until };
    let made = |term| authority.issue_for(&["a.example"], term);
    let files = vec![filed("x", &made(term(0, 10))), filed("y", &made(term(5, 90)))];
    store.set_files(files, now).unwrap();
    assert_eq!(asked(&store, Some("a.example")), "file x", "the other is not good yet");
    let issued = Issued {
        names: vec!["a.example".parse().unwrap()],
        certificate: Some(certificate(&made(term(0, 60)))),
        renews_at: None,
        failure: None,
    };
    for (days, expected) in [(1, "file x"), (6, "file y"), (91, "file y")] {
        store.set_issued(vec![issued.clone()], now + DAY * days).unwrap();
        assert_eq!(asked(&store, Some("a.example")), expected, "after {days} days");
    }
    store.set_files(vec![filed("x", &made(term(0, 10)))], now + DAY * 11).unwrap();
    assert_eq!(asked(&store, Some("a.example")), "acme a.example", "that of the file is over");
}

/// The identity of the certificate that a client gets.
fn asked(store: &Store, name: Option<&str>) -> String {
    let chosen = store.choose(name, ClientAuth::Off).map(|it| it.identity);
    if let Some(name) = name {
        assert_eq!(chosen.clone().ok(), store.identity(name));
    }
    chosen.map_or_else(|_| "refused".to_owned(), |it| it.0.to_string())
}

fn store(unknown: UnknownName) -> Store {
    Store::new(Profile::default(), unknown).unwrap()
}

fn filed(path: &str, made: &Made) -> Filed {
    let path: Arc<Path> = Path::new(path).into();
    Filed { path, certificate: Some(certificate(made)), fault: None }
}

fn certificate(made: &Made) -> Certificate {
    pem::certificate(made.chain.as_bytes(), made.key.as_bytes()).unwrap()
}

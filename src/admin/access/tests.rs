//! Every rule of who may read and who may change.

use super::*;

#[test]
fn loopback_and_gateways_and_whom_a_setting_allows_read_everything_and_nobody_else() {
    for (peer, reads) in [
        ("127.0.0.1", true),
        ("127.8.8.8", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("172.18.0.1", true),
        ("::ffff:172.18.0.1", true),
        ("172.19.0.1", true),
        ("192.168.7.7", true),
        ("::ffff:192.168.7.7", true),
        ("172.18.0.2", false),
        ("10.0.0.1", false),
        ("::ffff:10.0.0.1", false),
        ("2001:db8::1", false),
        ("0.0.0.0", false),
        ("::", false),
    ] {
        let judged = judged(&reader(peer));
        assert_eq!(judged.is_ok(), reads, "{peer}: {judged:?}");
        let with_token = Asker { token: Shown::Right, ..reader(peer) };
        assert_eq!(judge(&with_token, &[], &[]), Ok(()), "{peer} with the token");
    }
    let unknown = Asker { peer: None, ..reader("::1") };
    assert_eq!(judged(&unknown), Err(Refusal::NoPeer));
}

#[test]
fn only_loopback_changes_anything_without_the_token() {
    for (peer, changes) in [
        ("127.0.0.1", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("172.18.0.1", false),
        ("192.168.7.7", false),
        ("10.0.0.1", false),
    ] {
        assert_eq!(judged(&changer(peer)).is_ok(), changes, "{peer}");
        let with_token = Asker { token: Shown::Right, ..changer(peer) };
        assert_eq!(judged(&with_token), Ok(()), "{peer} with the token");
    }
}

#[test]
fn a_wrong_token_is_refused_where_none_would_have_been_needed() {
    for asker in [reader("127.0.0.1"), changer("127.0.0.1")] {
        let wrong = Asker { token: Shown::Wrong, ..asker };
        assert_eq!(judged(&wrong), Err(Refusal::Token));
    }
}

#[test]
fn what_changes_anything_may_not_come_from_a_page_or_through_a_proxy_even_with_the_token() {
    for token in [Shown::Nothing, Shown::Right] {
        let changer = Asker { token, ..changer("127.0.0.1") };
        for origin in [
            "http://evil.example",
            "http://localhost:8000",
            "https://localhost:9090",
            "http://localhost:9090.evil.example",
            "null",
            "",
        ] {
            let origins = vec![origin.to_owned()];
            let refused = judged(&Asker { origins, ..changer.clone() });
            assert_eq!(refused, Err(Refusal::Origin { given: origin.to_owned() }));
        }
        let own = vec!["http://LOCALHOST:9090".to_owned()];
        assert_eq!(judged(&Asker { origins: own.clone(), ..changer.clone() }), Ok(()));
        let both = own.into_iter().chain(["http://evil.example".to_owned()]).collect();
        assert!(judged(&Asker { origins: both, ..changer.clone() }).is_err());

        let hosts = vec!["lb.example:9090".to_owned()];
        let refused = judged(&Asker { hosts, ..changer.clone() });
        assert!(matches!(refused, Err(Refusal::Host { .. })), "{refused:?}");

        let header = HeaderName::from_static("via");
        let forwarded = Asker { forwarded: Some(header.clone()), ..changer };
        assert_eq!(judged(&forwarded), Err(Refusal::Forwarded { header }));
    }
}

#[test]
fn behind_a_proxy_nobody_reads_what_is_not_public_without_the_token() {
    let header = HeaderName::from_static("x-forwarded-for");
    for peer in ["127.0.0.1", "172.18.0.1"] {
        let reader = Asker { forwarded: Some(header.clone()), ..reader(peer) };
        assert_eq!(judged(&reader), Err(Refusal::Forwarded { header: header.clone() }), "{peer}");
        assert_eq!(judged(&Asker { token: Shown::Right, ..reader }), Ok(()), "{peer}");
    }
}

#[test]
fn a_page_without_any_host_to_compare_with_is_foreign() {
    let asker = Asker { origins: vec!["http://x".to_owned()], hosts: Vec::new(), ..changer("::1") };
    assert!(judged(&asker).is_err());
}

#[test]
fn headers_of_proxies_are_known_however_they_are_spelled() {
    for (name, expected) in [
        ("Forwarded", true),
        ("Via", true),
        ("X-Real-IP", true),
        ("X_Real_IP", true),
        ("X-Forwarded-For", true),
        ("x-forwarded-proto", true),
        ("X_Forwarded_Host", true),
        ("X-Forwarded", true),
        ("X-Request-Id", false),
        ("Host", false),
    ] {
        assert_eq!(is_of_proxy(&name.parse().unwrap()), expected, "{name}");
    }
}

#[test]
fn only_names_that_no_page_can_point_here_are_ours() {
    for (host, expected) in [
        ("127.0.0.1:9090", true),
        ("192.168.1.5", true),
        ("[::1]:9090", true),
        ("localhost:9090", true),
        ("LOCALHOST.", true),
        ("lb.localhost", true),
        ("evil.example", false),
        ("evil.example:9090", false),
        ("localhost.evil.example", false),
        ("notlocalhost", false),
        ("127.0.0.1.evil.example", false),
        ("user@localhost", false),
        ("", false),
        ("a b", false),
    ] {
        assert_eq!(is_ours(host), expected, "`{host}`");
    }
}

#[test]
fn one_foreign_name_among_several_is_enough_to_refuse() {
    let hosts = vec!["localhost".to_owned(), "evil.example".to_owned()];
    let refused = judged(&Asker { hosts, ..reader("127.0.0.1") }).unwrap_err();
    assert!(refused.to_string().starts_with("the Host \"evil.example\" is not"), "{refused}");
}

#[test]
fn a_refusal_repeats_a_bounded_part_of_the_host_and_no_control_characters() {
    let hosts = vec![format!("\n{}", "x".repeat(5000))];
    let refused = judged(&Asker { hosts, ..reader("127.0.0.1") }).unwrap_err().to_string();
    assert!(refused.len() < 400 && !refused.contains('\n'), "{refused}");
}

fn judged(asker: &Asker) -> Result<(), Refusal> {
    let gateways: [IpAddr; 2] =
        ["172.18.0.1".parse().unwrap(), "::ffff:172.19.0.1".parse().unwrap()];
    judge(asker, &gateways, &["192.168.7.0/24".parse().unwrap()])
}

fn reader(peer: &str) -> Asker {
    Asker {
        peer: Some(peer.parse().unwrap()),
        changes: false,
        token: Shown::Nothing,
        hosts: vec!["localhost:9090".to_owned()],
        origins: Vec::new(),
        forwarded: None,
    }
}

fn changer(peer: &str) -> Asker {
    Asker { changes: true, ..reader(peer) }
}

//! The rules of request heads, one table a rule.

use http::Uri;
use proptest::prelude::*;

use super::*;

#[test]
fn a_plain_head_has_no_body() {
    let plain =
        HeadFacts { body: Body::None, version10: false, upgrade: false, expect_continue: false };
    assert_eq!(judge(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(plain));
    assert_eq!(judge(b"GET /a?b=c|d HTTP/1.0\r\n\r\n"), Ok(HeadFacts { version10: true, ..plain }));
}

#[test]
fn the_body_is_framed_by_length_or_by_chunks() {
    for (fields, body) in [
        ("Content-Length: 5\r\n", Body::Length(5)),
        ("content-length:\t 05 \r\n", Body::Length(5)),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Body::Length(5)),
        ("Content-Length: 0\r\n", Body::Length(0)),
        ("Transfer-Encoding: chunked\r\n", Body::Chunked),
        ("TRANSFER-ENCODING: Chunked\r\n", Body::Chunked),
        ("X-Content-Length: 5\r\n", Body::None),
    ] {
        assert_eq!(facts(fields).map(|facts| facts.body), Ok(body), "{fields:?}");
    }
}

#[test]
fn a_length_that_is_given_twice_is_passed_on_once() {
    for (given, left) in [
        (&["5", "5"][..], Some("5")),
        (&["5, 5"], Some("5")),
        (&["5 ,5", "5"], Some("5")),
        (&["5"], Some("5")),
        (&[], None),
    ] {
        let mut headers = HeaderMap::new();
        for value in given {
            headers.append(header::CONTENT_LENGTH, HeaderValue::from_static(value));
        }
        fold_lengths(&mut headers);
        let lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        assert!(lengths.eq(left.iter()), "{given:?}");
    }
}

#[test]
fn ambiguous_framing_is_refused() {
    for (fields, refusal) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Refusal::LengthWithEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Refusal::LengthWithEncoding),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", Refusal::LengthRepeated),
        ("Content-Length: 5, 5\r\n", Refusal::LengthMalformed),
        ("Content-Length: +5\r\n", Refusal::LengthMalformed),
        ("Content-Length: -5\r\n", Refusal::LengthMalformed),
        ("Content-Length: 0x5\r\n", Refusal::LengthMalformed),
        ("Content-Length: 5 5\r\n", Refusal::LengthMalformed),
        ("Content-Length:\r\n", Refusal::LengthMalformed),
        ("Content-Length: 18446744073709551615\r\n", Refusal::LengthMalformed),
        ("Content-Length: 18446744073709551616\r\n", Refusal::LengthMalformed),
        ("Transfer-Encoding: gzip, chunked\r\n", Refusal::EncodingUnknown),
        ("Transfer-Encoding: gzip\r\n", Refusal::EncodingUnknown),
        ("Transfer-Encoding: identity\r\n", Refusal::EncodingUnknown),
        ("Transfer-Encoding: xchunked\r\n", Refusal::EncodingUnknown),
        ("Transfer-Encoding: chunked;q=1\r\n", Refusal::EncodingUnknown),
        ("Transfer-Encoding: chunked, gzip\r\n", Refusal::EncodingNotLast),
        ("Transfer-Encoding: chunked, chunked\r\n", Refusal::EncodingNotLast),
        ("Transfer-Encoding: chunked,\r\n", Refusal::EncodingNotLast),
        ("Transfer-Encoding:\r\n", Refusal::EncodingNotLast),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", Refusal::EncodingRepeated),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Refusal::EncodingRepeated),
        ("Transfer-Encoding : chunked\r\n", Refusal::SpaceBeforeColon),
        ("Transfer-Encoding\t: chunked\r\n", Refusal::SpaceBeforeColon),
        ("Transfer-Encoding: \x0bchunked\r\n", Refusal::ControlCharacter),
        ("Transfer-Encoding:\r\n chunked\r\n", Refusal::ObsFold),
        (" Transfer-Encoding: chunked\r\n", Refusal::ObsFold),
        ("X: a\nTransfer-Encoding: chunked\r\n", Refusal::BareLf),
        ("X: a\rTransfer-Encoding: chunked\r\n", Refusal::BareCr),
    ] {
        assert_eq!(facts(fields), Err(refusal), "{fields:?}");
    }
    let on_http10 = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(judge(on_http10), Err(Refusal::EncodingOnHttp10));
}

#[test]
fn fields_that_are_no_fields_are_refused() {
    for (fields, refusal) in [
        ("X\0: a\r\n", Refusal::ControlCharacter),
        ("X: a\0\r\n", Refusal::ControlCharacter),
        ("X: a\x7f\r\n", Refusal::ControlCharacter),
        (": a\r\n", Refusal::FieldName),
        ("X\r\n", Refusal::FieldName),
        ("X(y): a\r\n", Refusal::FieldName),
        ("X y: a\r\n", Refusal::SpaceBeforeColon),
        ("X: a\r\n\tb\r\n", Refusal::ObsFold),
        ("X: a\r\r\n", Refusal::BareCr),
        ("X\n", Refusal::BareLf),
        ("Xé: a\r\n", Refusal::FieldName),
    ] {
        assert_eq!(facts(fields), Err(refusal), "{fields:?}");
    }
    assert!(facts("X: \u{e9}\t b\r\nEmpty:\r\n").is_ok(), "bytes above ASCII are values");
}

#[test]
fn a_request_line_has_three_parts_and_single_spaces() {
    for (line, refusal) in [
        ("GET /", Refusal::RequestLine),
        ("GET  / HTTP/1.1", Refusal::RequestLine),
        ("GET /  HTTP/1.1", Refusal::RequestLine),
        ("GET / HTTP/1.1 ", Refusal::RequestLine),
        (" GET / HTTP/1.1", Refusal::RequestLine),
        ("G(T / HTTP/1.1", Refusal::RequestLine),
        ("GET\t/ HTTP/1.1", Refusal::RequestLine),
        ("GET /\ta HTTP/1.1", Refusal::Target),
        ("GET /\0 HTTP/1.1", Refusal::ControlCharacter),
        ("GET /é HTTP/1.1", Refusal::Target),
        ("GET /#a HTTP/1.1", Refusal::Target),
        ("GET /`?` HTTP/1.1", Refusal::Target),
        ("GET a HTTP/1.1", Refusal::Target),
        ("GET * HTTP/1.1", Refusal::Target),
        ("GET ftp://a/ HTTP/1.1", Refusal::Target),
        ("GET http:/a HTTP/1.1", Refusal::Target),
        ("GET http:// HTTP/1.1", Refusal::HostMalformed),
        ("GET / http/1.1", Refusal::RequestLine),
        ("GET / HTTP/1.1x", Refusal::RequestLine),
        ("GET / HTTP/1.2", Refusal::Version),
        ("GET / HTTP/2.0", Refusal::Version),
        ("PRI * HTTP/2.0", Refusal::Version),
        ("CONNECT a:80 HTTP/1.1", Refusal::Connect),
        ("GET / HTTP/1.1\n", Refusal::BareLf),
        ("GET / HTTP/1.1\r", Refusal::BareCr),
    ] {
        let head = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(judge(head.as_bytes()), Err(refusal), "{line:?}");
    }
    assert!(judge(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
    assert!(judge(b"X-!Y /a\\b%zz?` HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
}

#[test]
fn there_is_one_valid_host() {
    for (fields, refusal) in [
        ("", Refusal::HostMissing),
        ("Host:\r\n", Refusal::HostMalformed),
        ("Host: a, b\r\n", Refusal::HostMalformed),
        ("Host: user@a\r\n", Refusal::HostMalformed),
        ("Host: a\r\nhost: a\r\n", Refusal::HostRepeated),
        ("Host : a\r\n", Refusal::SpaceBeforeColon),
    ] {
        let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(judge(head.as_bytes()), Err(refusal), "{fields:?}");
    }
    assert_eq!(judge(b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n"), Err(Refusal::HostMalformed));
}

#[test]
fn an_absolute_target_names_the_host_of_the_host_header() {
    for (target, host, agrees) in [
        ("http://a/x", "a", true),
        ("HTTP://A:80/x", "a", true),
        ("http://a?x", "a:80", true),
        ("https://a/", "a:443", true),
        ("http://a/", "a:443", false),
        ("http://a/", "b", false),
        ("http://a:81/", "a", false),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let expected = if agrees { None } else { Some(Refusal::HostMismatch) };
        assert_eq!(judge(head.as_bytes()).err(), expected, "{target} {host}");
    }
    let with_user = b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(judge(with_user), Err(Refusal::HostMalformed));
}

#[test]
fn an_upgrade_is_asked_for_by_both_headers_and_without_a_body() {
    for (fields, upgrade) in [
        ("Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n", true),
        ("Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n", true),
        ("Upgrade: websocket\r\n", false),
        ("Connection: upgrade\r\n", false),
        ("Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n", false),
        ("Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n", false),
    ] {
        assert_eq!(facts(fields).map(|facts| facts.upgrade), Ok(upgrade), "{fields:?}");
    }
    let old = b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    assert!(!judge(old).unwrap().upgrade);
}

#[test]
fn only_a_body_can_be_waited_for() {
    for (fields, waits) in [
        ("Expect: 100-Continue\r\nContent-Length: 1\r\n", true),
        ("Expect: 100-continue\r\n", false),
        ("Expect: 100-continue\r\nContent-Length: 0\r\n", false),
        ("Expect: other\r\nContent-Length: 1\r\n", false),
    ] {
        assert_eq!(facts(fields).map(|facts| facts.expect_continue), Ok(waits), "{fields:?}");
    }
}

#[test]
fn a_hundred_fields_and_32_kib_are_the_most() {
    assert!(facts(&"X: a\r\n".repeat(FIELDS_MAX - 1)).is_ok());
    assert_eq!(facts(&"X: a\r\n".repeat(FIELDS_MAX)), Err(Refusal::FieldsTooMany));
    let frame = head("X: \r\n").len();
    let filled = |length| format!("X: {}\r\n", "a".repeat(length));
    assert!(facts(&filled(HEAD_BYTES_MAX - frame)).is_ok());
    assert_eq!(facts(&filled(HEAD_BYTES_MAX - frame + 1)), Err(Refusal::HeadTooLarge));
}

proptest! {
    #[test]
    fn any_bytes_are_judged_and_a_cut_head_never_passes(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        cut in 0_usize..40,
    ) {
        let _any = judge(&bytes);
        let whole = head("X: a\r\n");
        let cut = cut.min(whole.len() - 1);
        prop_assert!(judge(&whole.as_bytes()[..cut]).is_err());
    }

    #[test]
    fn a_control_character_is_found_wherever_it_stands(
        value in "[ -~]{0,80}",
        at in any::<prop::sample::Index>(),
        control in prop_oneof![0_u8..9, 14_u8..32, Just(0x7f)],
    ) {
        let mut whole = head(&format!("X: {value}\r\n")).into_bytes();
        prop_assert!(judge(&whole).is_ok());
        let start = whole.len() - 4 - value.len();
        whole.insert(start + at.index(value.len() + 1), control);
        prop_assert_eq!(judge(&whole), Err(Refusal::ControlCharacter));
    }

    #[test]
    fn a_target_that_passes_is_one_that_the_parser_behind_takes(
        target in "(/|http://a)[!-~]{0,20}",
    ) {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        if judge(head.as_bytes()).is_ok() {
            prop_assert!(target.parse::<Uri>().is_ok(), "{}", target);
        }
    }
}

fn facts(fields: &str) -> Result<HeadFacts, Refusal> {
    judge(head(fields).as_bytes())
}

fn head(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

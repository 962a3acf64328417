//! What becomes of the heads of answers.

use super::*;
use http::header::VARY;

#[test]
fn an_answer_is_compressed_as_its_client_prefers() {
    let mut headers = map(&[
        ("content-type", "application/json"),
        ("content-length", "1000"),
        ("accept-ranges", "bytes"),
        ("etag", "\"v1\""),
        ("content-md5", "x"),
        ("digest", "x"),
        ("content-digest", "x"),
        ("repr-digest", "x"),
        ("vary", "Origin"),
        ("x-other", "kept"),
    ]);
    let asked = map(&[("accept-encoding", "gzip")]);
    assert_eq!(applied(&asked, StatusCode::OK, &mut headers), Some(Coding::Gzip));
    let expected = map(&[
        ("content-type", "application/json"),
        ("etag", "W/\"v1\""),
        ("vary", "Origin"),
        ("vary", "Accept-Encoding"),
        ("x-other", "kept"),
        ("content-encoding", "gzip"),
    ]);
    assert_eq!(headers, expected);
}

/// Whether it is compressed, and whether caches must tell clients apart.
#[test]
fn an_answer_is_left_as_it_is_where_compressing_it_would_be_wrong() {
    type Fields = &'static [(&'static str, &'static str)];
    const GZIP: Fields = &[("accept-encoding", "gzip")];
    const TEXT: Fields = &[("content-type", "text/plain")];
    let cases: &[(u16, Fields, Fields, bool, bool)] = &[
        (200, GZIP, TEXT, true, true),
        (404, GZIP, TEXT, true, true),
        (500, GZIP, TEXT, true, true),
        (200, &[], TEXT, false, true),
        (200, GZIP, &[], false, false),
        (200, GZIP, &[("content-type", "image/png")], false, false),
        (204, GZIP, TEXT, false, false),
        (205, GZIP, TEXT, false, false),
        (206, GZIP, TEXT, false, false),
        (304, GZIP, TEXT, false, false),
        (103, GZIP, TEXT, false, false),
        (200, &[("accept-encoding", "gzip"), ("range", "bytes=0-9")], TEXT, false, true),
        (200, &[("accept-encoding", "gzip"), ("cache-control", "no-transform")], TEXT, false, true),
        (
            200,
            GZIP,
            &[("content-type", "text/plain"), ("content-range", "bytes 0-9/10")],
            false,
            false,
        ),
        (200, GZIP, &[("content-type", "text/plain"), ("content-encoding", "br")], false, false),
        (
            200,
            GZIP,
            &[("content-type", "text/plain"), ("content-encoding", "identity")],
            true,
            true,
        ),
        (200, GZIP, &[("content-type", "text/plain"), ("content-length", "255")], false, true),
        (200, GZIP, &[("content-type", "text/plain"), ("content-length", "256")], true, true),
        (
            200,
            GZIP,
            &[("content-type", "text/plain"), ("cache-control", "public, No-Transform")],
            false,
            false,
        ),
    ];
    for (status, asked, answer, compressed, varies) in cases {
        let mut headers = map(answer);
        let status = StatusCode::from_u16(*status).unwrap();
        let coding = applied(&map(asked), status, &mut headers);
        assert_eq!(coding.is_some(), *compressed, "{status} {asked:?} {answer:?}");
        assert_eq!(headers.contains_key(VARY), *varies, "{status} {asked:?} {answer:?}");
        if !compressed {
            headers.remove(VARY);
            assert_eq!(headers, map(answer), "left as it is");
        }
    }
}

#[test]
fn a_length_that_is_known_otherwise_counts_too() {
    let compression = Compression { bytes_min: 10, ..Compression::default() };
    let asked = map(&[("accept-encoding", "br")]);
    for (length, coding) in
        [(Some(9), None), (Some(10), Some(Coding::Brotli)), (None, Some(Coding::Brotli))]
    {
        let mut headers = map(&[("content-type", "text/css")]);
        let asked = Asked { headers: &asked, length };
        let applied = compression.apply(asked, StatusCode::OK, &mut headers, |_| Some(()));
        assert_eq!(applied.map(|(it, ())| it), coding, "{length:?}");
    }
}

#[test]
fn without_room_an_answer_takes_gzip_or_stays_plain() {
    use Coding::{Brotli, Gzip, Zstd};
    for (accepts, room, coding) in [
        ("gzip, br, zstd", &[Zstd, Gzip][..], Some(Zstd)),
        ("gzip, br, zstd", &[Gzip], Some(Gzip)),
        ("gzip, br, zstd", &[Brotli], None),
        ("br, zstd", &[Gzip], None),
        ("br, gzip;q=0", &[Gzip], None),
        ("br, gzip;q=0.1, identity;q=0.5", &[Gzip], None),
    ] {
        let plain = [("content-type", "text/css"), ("content-length", "999"), ("etag", "\"x\"")];
        let (asked, mut headers) = (map(&[("accept-encoding", accepts)]), map(&plain));
        let given = granted(&asked, StatusCode::OK, &mut headers, |it| room.contains(&it));
        assert_eq!(given, coding, "{accepts}");
        assert_eq!(headers[VARY], "Accept-Encoding", "{accepts}");
        if coding.is_none() {
            headers.remove(VARY);
            assert_eq!(headers, map(&plain), "{accepts}");
        }
    }
}

#[test]
fn events_take_the_coding_that_takes_the_least_room() {
    for (accepts, coding) in [
        ("gzip, br, zstd", Some(Coding::Gzip)),
        ("br, zstd", Some(Coding::Zstd)),
        ("br, gzip;q=0", Some(Coding::Brotli)),
        ("identity", None),
    ] {
        let mut headers = map(&[("content-type", "Text/Event-Stream; charset=utf-8")]);
        let asked = map(&[("accept-encoding", accepts)]);
        assert_eq!(applied(&asked, StatusCode::OK, &mut headers), coding, "{accepts}");
    }
}

#[test]
fn vary_names_the_field_once_and_a_weak_tag_stays() {
    for vary in ["*", "accept-encoding", "Origin, Accept-Encoding"] {
        let mut headers = map(&[("content-type", "text/css"), ("vary", vary), ("etag", "W/\"x\"")]);
        applied(&map(&[("accept-encoding", "gzip")]), StatusCode::OK, &mut headers);
        assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), [vary]);
        assert_eq!(headers[ETAG], "W/\"x\"");
    }
}

#[test]
fn a_client_that_has_the_compressed_form_is_told_of_that_one() {
    for (asked, tag) in [
        ("W/\"v1\"", "W/\"v1\""),
        ("\"v0\", W/\"v1\"", "W/\"v1\""),
        ("\"v1\"", "\"v1\""),
        ("*", "\"v1\""),
    ] {
        let mut headers = map(&[("etag", "\"v1\"")]);
        applied(&map(&[("if-none-match", asked)]), StatusCode::NOT_MODIFIED, &mut headers);
        assert_eq!(headers[ETAG], tag, "{asked}");
    }
}

fn applied(asked: &HeaderMap, status: StatusCode, headers: &mut HeaderMap) -> Option<Coding> {
    granted(asked, status, headers, |_| true)
}

fn granted(
    asked: &HeaderMap,
    status: StatusCode,
    headers: &mut HeaderMap,
    grant: impl Fn(Coding) -> bool,
) -> Option<Coding> {
    let asked = Asked { headers: asked, length: None };
    let grant = |coding| grant(coding).then_some(());
    Compression::default().apply(asked, status, headers, grant).map(|(it, ())| it)
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

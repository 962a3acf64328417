//! The two readings of a target.

use proptest::prelude::*;

use super::*;

#[test]
fn a_path_in_normal_form_is_not_copied() {
    for path in
        ["/", "/a/b/", "/a%20b", "/.well-known/x", "/a/...", "/a..b", "/a%2Fb", "/a;b=c,d", "*"]
    {
        let target = read(path).unwrap();
        assert!(matches!(target.path, Cow::Borrowed(_)), "{path}");
        assert_eq!(target.path, path);
    }
}

#[test]
fn a_path_is_brought_into_normal_form() {
    for (written, normal) in [
        ("/%61", "/a"),
        ("/%7Euser", "/~user"),
        ("/a%2fb%c3%bc", "/a%2Fb%C3%BC"),
        ("/%2541", "/%2541"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/..", "/"),
        ("/../../a", "/a"),
        ("/.", "/"),
        ("//a", "//a"),
        ("/a//../b", "/a/b"),
        ("/a\\b", "/a\\b"),
        ("", "/"),
    ] {
        assert_eq!(read(written).unwrap().path, normal, "{written}");
    }
}

#[test]
fn a_lenient_reading_is_told_where_it_differs() {
    for (written, lenient) in [
        ("/a/b", None),
        ("/a/../b", None),
        ("/%61", None),
        ("/a%20b", Some("/a b")),
        ("/a%2Fb", Some("/a/b")),
        ("/a%2f..%2fadmin", Some("/admin")),
        ("/a\\..\\admin", Some("/admin")),
        ("/a/..%5cadmin", Some("/admin")),
        ("//admin", Some("/admin")),
        ("/a///b/", Some("/a/b/")),
        ("/%2561dmin", Some("/%61dmin")),
        ("/x/%252e%252e/admin", Some("/x/%2e%2e/admin")),
        ("/%C3%BC", Some("/ü")),
        ("/%ff", Some("/\u{fffd}")),
        ("/a%3Fb", Some("/a?b")),
    ] {
        assert_eq!(read(written).unwrap().lenient.as_deref(), lenient, "{written}");
    }
}

#[test]
fn the_query_stays_as_it_was_written() {
    for (written, path, query) in [
        ("/a?b=%61&c=../d?e", "/a", Some("b=%61&c=../d?e")),
        ("/a?", "/a", Some("")),
        ("?x=1", "/", Some("x=1")),
        ("/a?q=100%&n=%00", "/a", Some("q=100%&n=%00")),
        ("/%61", "/a", None),
    ] {
        let target = read(written).unwrap();
        assert_eq!((&*target.path, target.query), (path, query), "{written}");
    }
}

#[test]
fn a_target_that_hides_something_is_refused() {
    for (written, refusal) in [
        ("/a%00", Refusal::EscapedNul),
        ("/a%", Refusal::BrokenEscape),
        ("/a%4", Refusal::BrokenEscape),
        ("/a%zz", Refusal::BrokenEscape),
        ("/a%%41", Refusal::BrokenEscape),
        ("/a%+1", Refusal::BrokenEscape),
        ("/a b", Refusal::Target),
        ("/a\tb", Refusal::Target),
        ("/a\0", Refusal::Target),
        ("/ü", Refusal::Target),
        ("/a?\u{7f}", Refusal::Target),
        ("/a?ü", Refusal::Target),
        ("a", Refusal::Target),
        ("*a", Refusal::Target),
        ("http://a/", Refusal::Target),
    ] {
        assert_eq!(read(written), Err(refusal), "{written:?}");
    }
}

proptest! {
    #[test]
    fn the_normal_form_is_its_own_normal_form(path in path()) {
        let once = read(&path).unwrap().path.into_owned();
        prop_assert_eq!(&*read(&once).unwrap().path, &*once);
    }

    #[test]
    fn no_reading_leaves_a_dot_segment_or_climbs_above_the_root(path in path()) {
        let target = read(&path).unwrap();
        for reading in [Some(&*target.path), target.lenient.as_deref()].into_iter().flatten() {
            prop_assert!(reading.starts_with('/'), "{}", reading);
            prop_assert!(!reading.split('/').any(|part| part == "." || part == ".."), "{}", reading);
        }
        if let Some(lenient) = &target.lenient {
            prop_assert!(!lenient.contains('\\') && !lenient.contains("//"), "{}", lenient);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,40}") {
        let _any = read(&text);
    }
}

fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-c.]{1,3}",
        Just("/".to_owned()),
        Just("..".to_owned()),
        Just("\\".to_owned()),
        "%(2e|2E|2f|5C|25|41|c3|7e)",
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| format!("/{}", parts.concat()))
}

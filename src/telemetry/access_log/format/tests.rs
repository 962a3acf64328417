//! What a line looks like, and what cannot break it.

use proptest::prelude::*;
use serde_json::Value;

use super::fields::short_id;
use super::*;
use crate::domain::http::trace_context::TraceParent;
use crate::telemetry::access_log::Tls;
use crate::telemetry::access_log::tests::entry;

#[test]
fn a_combined_line_is_apaches_with_our_fields_after_it() {
    assert_eq!(
        line(Format::Combined, &entry("/a?b=c")),
        "192.0.2.7 - - [31/Jan/2026:23:59:59 +0000] \"GET /a?b=c HTTP/1.1\" 200 1234 \"-\" \
         \"curl/8.5.0\" tls=- sni=- host=shop.example request_id=r-1 trace_id=- pool=shop/web project=shop service=web \
         replica=shop-web-1 container=0123456789ab upstream=172.18.0.3:8080 reused=true \
         attempts=1 request_bytes=5 wait_us=0 connect_us=- first_byte_us=850 overhead_us=42 \
         total_us=1207 end=ok\n"
    );
}

#[test]
fn a_user_stands_where_apache_has_it() {
    for (user, written) in [("ann", "- ann ["), ("a b\"", "- \"a b\\x22\" ["), ("", "- \"\" [")] {
        let line = line(Format::Combined, &Entry { user: Some(user), ..entry("/") });
        assert!(line.contains(written), "{line}");
    }
}

#[test]
fn a_json_line_is_one_object_with_its_keys_in_a_fixed_order() {
    assert_eq!(
        line(Format::Json, &entry("/a?b=c")),
        "{\"time\":\"2026-01-31T23:59:59.000042Z\",\"client\":\"192.0.2.7\",\"method\":\"GET\",\
         \"target\":\"/a?b=c\",\"version\":\"HTTP/1.1\",\"status\":200,\"response_bytes\":1234,\
         \"user\":null,\"referer\":null,\"user_agent\":\"curl/8.5.0\",\"host\":\"shop.example\",\
         \"request_id\":\"r-1\",\"trace_id\":null,\"pool\":\"shop/web\",\"project\":\"shop\",\"service\":\"web\",\
         \"replica\":\"shop-web-1\",\"container\":\"0123456789ab\",\
         \"upstream\":\"172.18.0.3:8080\",\"reused\":true,\"attempts\":1,\"request_bytes\":5,\
         \"wait_us\":0,\"connect_us\":null,\"first_byte_us\":850,\"overhead_us\":42,\"total_us\":1207,\
         \"end\":\"ok\"}\n"
    );
}

#[test]
fn a_logfmt_line_has_the_keys_of_json_and_leaves_out_what_there_is_none_of() {
    assert_eq!(
        line(
            Format::Logfmt,
            &Entry { user_agent: Some(b"a \"b\"\n\xff\xc3\xa4"), ..entry("/a?b=c") }
        ),
        "time=2026-01-31T23:59:59.000042Z client=192.0.2.7 method=GET target=\"/a?b=c\" \
         version=HTTP/1.1 status=200 response_bytes=1234 \
         user_agent=\"a \\\"b\\\"\\u000a\\ufffdä\" host=shop.example request_id=r-1 pool=shop/web \
         project=shop service=web replica=shop-web-1 container=0123456789ab \
         upstream=172.18.0.3:8080 reused=true attempts=1 request_bytes=5 wait_us=0 \
         first_byte_us=850 overhead_us=42 total_us=1207 end=ok\n"
    );
}

#[test]
fn the_id_of_the_trace_is_what_the_client_sent() {
    let sent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let traced = Entry { trace: TraceParent::parse(sent).map(|it| it.trace), ..entry("/") };
    for (format, written) in [
        (Format::Combined, " trace_id=0af7651916cd43dd8448eb211c80319c pool="),
        (Format::Json, ",\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\",\"pool\""),
        (Format::Logfmt, " trace_id=0af7651916cd43dd8448eb211c80319c pool="),
    ] {
        let line = line(format, &traced);
        assert!(line.contains(written), "{line}");
    }
}

#[test]
fn an_encrypted_connection_tells_its_version_of_tls_and_the_name_it_asked_for() {
    let of = |sni| Entry { tls: Some(Tls { version: "TLSv1.3", sni }), ..entry("/") };
    for (sni, combined, json) in [
        (Some("shop.example"), "tls=TLSv1.3 sni=shop.example host=", "\"sni\":\"shop.example\","),
        (Some("a\n\""), "tls=TLSv1.3 sni=\"a\\x0a\\x22\" host=", "\"sni\":\"a\\u000a\\\"\","),
        (None, "tls=TLSv1.3 sni=- host=", "\"sni\":null,"),
    ] {
        let written = line(Format::Combined, &of(sni));
        assert!(written.contains(combined), "{written}");
        let written = line(Format::Json, &of(sni));
        assert!(written.contains(&format!("\"tls\":\"TLSv1.3\",{json}\"status\":")), "{written}");
    }
}

#[test]
fn every_field_is_in_the_manual_in_the_order_of_json() {
    let secured = Entry { tls: Some(Tls { version: "TLSv1.3", sni: None }), ..entry("/") };
    let json = line(Format::Json, &secured);
    let parts = json.split("\":");
    let keys =
        parts.filter_map(|part| Some(part.rsplit_once('"')?.1)).filter(|it| !it.contains('}'));
    let page = include_str!("../../../../docs/access-log.md");
    let (fields, _) = page.split_once("## The timers").unwrap();
    let rows = fields.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert!(
        keys.clone().eq(rows.clone()),
        "{:?}\n{:?}",
        Vec::from_iter(keys),
        Vec::from_iter(rows)
    );
}

#[test]
fn what_is_missing_is_a_dash_or_null() {
    let nothing = Entry {
        method: "",
        target: b"",
        user_agent: None,
        host: None,
        request_id: None,
        pool: None,
        project: None,
        service: None,
        replica: None,
        container: None,
        upstream: None,
        ..entry("")
    };
    let combined = line(Format::Combined, &nothing);
    assert!(
        combined.contains("\"- - HTTP/1.1\" 200 1234 \"-\" \"-\" tls=- sni=- host=- "),
        "{combined}"
    );
    assert!(combined.contains(" container=- upstream=- "), "{combined}");
    let json: Value = serde_json::from_str(&line(Format::Json, &nothing)).unwrap();
    assert!(json["pool"].is_null() && json["upstream"].is_null());
}

#[test]
fn values_of_combined_cannot_leave_their_place() {
    let table: [(&[u8], &str); 9] = [
        (b"plain", "host=plain "),
        (b"", "host=\"\" "),
        (b"-", "host=\"-\" "),
        (b"a b", "host=\"a b\" "),
        (b"a=b", "host=\"a=b\" "),
        (b"a\" pool=x", "host=\"a\\x22 pool=x\" "),
        (b"a\\", "host=\"a\\x5c\" "),
        (b"a\r\nGET", "host=\"a\\x0d\\x0aGET\" "),
        (b"\x1b[2J\x7f\xff", "host=\"\\x1b[2J\\x7f\\xff\" "),
    ];
    for (host, expected) in table {
        let written = line(Format::Combined, &Entry { host: Some(host), ..entry("/") });
        assert!(written.contains(expected), "`{expected}` not in {written}");
    }
    let target = "/\" 200 0 \"x\" \"y\nforged";
    let written = line(Format::Combined, &entry(target));
    let expected = "\"GET /\\x22 200 0 \\x22x\\x22 \\x22y\\x0aforged HTTP/1.1\" ";
    assert!(written.contains(expected), "{written}");
}

#[test]
fn values_of_json_come_back_as_they_were() {
    for text in ["\"},{\"a\":\"", "a\\", "line\nbreak\r", "\u{1b}[2J\u{7f}\u{9b}", "λ \u{1f600}"] {
        let written = line(Format::Json, &entry(text));
        let json: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(json["target"], text);
        assert!(!written.trim_end().chars().any(char::is_control), "{written}");
    }
    let bytes = Entry { user_agent: Some(b"a\xff\xfeb"), ..entry("/") };
    let json: Value = serde_json::from_str(&line(Format::Json, &bytes)).unwrap();
    assert_eq!(json["user_agent"], "a\u{fffd}\u{fffd}b");
}

#[test]
fn a_second_is_written_anew_when_it_changes() {
    let mut second = Second::default();
    let mut at = |seconds: u64| {
        second.set(seconds);
        (second.iso.clone(), second.apache.clone())
    };
    let table = [
        (0, "1970-01-01T00:00:00", "01/Jan/1970:00:00:00 +0000"),
        (951_827_696, "2000-02-29T12:34:56", "29/Feb/2000:12:34:56 +0000"),
        (u64::MAX, "9999-12-31T23:59:59", "31/Dec/9999:23:59:59 +0000"),
    ];
    for (seconds, iso, apache) in table {
        assert_eq!(at(seconds), (iso.to_owned(), apache.to_owned()));
        assert_eq!(at(seconds).0, iso);
    }
}

#[test]
fn a_clock_before_the_epoch_is_the_epoch() {
    let early = SystemTime::UNIX_EPOCH - Duration::from_secs(5);
    let written = line(Format::Combined, &Entry { time: early, ..entry("/") });
    assert!(written.contains("[01/Jan/1970:00:00:00 +0000]"), "{written}");
}

#[test]
fn a_mapped_address_is_written_as_the_ipv4_address_that_it_is() {
    for (client, shown) in
        [("::ffff:10.0.0.255", "10.0.0.255 "), ("2001:db8::1", "2001:db8::1 "), ("::1", "::1 ")]
    {
        let entry = Entry { client: client.parse().unwrap(), ..entry("/") };
        assert!(line(Format::Combined, &entry).starts_with(shown), "{client}");
    }
}

#[test]
fn only_a_whole_container_id_is_shortened() {
    assert_eq!(short_id(&"af".repeat(32)), b"afafafafafaf");
    assert_eq!(short_id("127.0.0.1:8080"), b"127.0.0.1:8080");
    assert_eq!(short_id(&"zz".repeat(32)).len(), 64);
}

proptest! {
    #[test]
    fn numbers_are_written_as_numbers(value: u64) {
        let mut written = Vec::new();
        number(value, &mut written);
        prop_assert_eq!(written, value.to_string().into_bytes());
    }

    #[test]
    fn a_text_is_odd_wherever_it_is_odd(before in "[a-z]{0,70}", odd in "[\"\\\\=\x00-\x20\x7f-\u{ff}]") {
        let text = format!("{before}{odd}{before}");
        let plain = is_plain(format!("x{before}").as_bytes());
        prop_assert!(plain);
        prop_assert!(!is_plain(text.as_bytes()));
    }

    #[test]
    fn no_value_breaks_a_line_or_an_object(target in ".*", host: Vec<u8>, replica in ".*") {
        let entry = Entry { host: Some(&host), replica: Some(&replica), ..entry(&target) };
        let combined = line(Format::Combined, &entry);
        let printable = combined.trim_end_matches('\n').bytes().all(|b| matches!(b, b' '..=b'~'));
        prop_assert!(printable, "{}", combined);
        // Two quotes each around request, referer and agent, and around values.
        let quotes = combined.matches('"').count();
        prop_assert!(quotes.is_multiple_of(2) && (6..=10).contains(&quotes), "{}", combined);
        let logfmt = line(Format::Logfmt, &entry);
        prop_assert!(!logfmt.trim_end_matches('\n').chars().any(char::is_control), "{}", logfmt);
        let json = line(Format::Json, &entry);
        prop_assert_eq!(json.matches('\n').count(), 1);
        let parsed: Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(parsed["target"].as_str(), Some(target.as_str()));
        prop_assert_eq!(parsed.as_object().unwrap().len(), 28);
    }
}

fn line(format: Format, entry: &Entry<'_>) -> String {
    let mut written = Vec::new();
    format.write(entry, &mut Second::default(), &mut written);
    String::from_utf8(written).unwrap()
}

//! What is a trace context, and what is left of one.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

#[test]
fn a_traceparent_names_its_trace_its_parent_and_its_flags() {
    for (flags, sampled, random) in
        [("00", false, false), ("01", true, false), ("02", false, true), ("ff", true, true)]
    {
        let parent = TraceParent::parse(format!("00-{TRACE}-{SPAN}-{flags}").as_bytes()).unwrap();
        assert_eq!(
            (parent.trace.to_string(), parent.parent.to_string()),
            (TRACE.into(), SPAN.into())
        );
        assert_eq!((parent.sampled, parent.random), (sampled, random), "{flags}");
    }
}

#[test]
fn what_is_not_written_by_the_rules_says_nothing() {
    let zeros = "0".repeat(32);
    for value in [
        String::new(),
        "00".into(),
        format!("00-{TRACE}-{SPAN}"),
        format!("00-{TRACE}-{SPAN}-"),
        format!("00-{TRACE}-{SPAN}-1"),
        format!("00-{TRACE}-{SPAN}-011"),
        format!("00-{TRACE}-{SPAN}-01-"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("00-{TRACE}-{SPAN}-0g"),
        format!("00-{TRACE}-{SPAN}-0A"),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
        format!("00-{zeros}-{SPAN}-01"),
        format!("00-{TRACE}-{}-01", &zeros[..16]),
        format!("00-{}-{SPAN}-01", &TRACE[1..]),
        format!("00-{TRACE}0-{SPAN}-01"),
        format!("00_{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}_{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}_01"),
        format!("0-{TRACE}-{SPAN}-01"),
        format!("0x-{TRACE}-{SPAN}-01"),
        format!("FF-{TRACE}-{SPAN}-01"),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!(" 00-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-01 "),
        format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
    ] {
        assert_eq!(TraceParent::parse(value.as_bytes()), None, "{value}");
    }
}

#[test]
fn a_later_version_is_read_as_far_as_it_is_like_this_one() {
    for (rest, reads) in [("", true), ("-", true), ("-what-the-future-holds", true), ("x", false)] {
        for version in ["01", "cc", "fe"] {
            let value = format!("{version}-{TRACE}-{SPAN}-01{rest}");
            assert_eq!(TraceParent::parse(value.as_bytes()).is_some(), reads, "{value}");
        }
    }
}

#[test]
fn a_valid_context_is_passed_on_as_it_is() {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let sent = [("traceparent", parent.as_str()), ("tracestate", "a=1"), ("tracestate", "b=2")];
    let (left, trace) = passed_on(&sent);
    assert_eq!(left, sent.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(trace.unwrap().trace.to_string(), TRACE);
}

#[test]
fn a_context_without_one_valid_parent_is_dropped_with_its_state() {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let parent = ("traceparent", parent.as_str());
    let state = ("tracestate", "a=1");
    for sent in [
        &[state][..],
        &[("traceparent", ""), state],
        &[("traceparent", "00-x"), state],
        &[parent, parent, state],
        &[parent, ("traceparent", "00-x"), state],
    ] {
        assert_eq!(passed_on(sent), (Vec::new(), None), "{sent:?}");
    }
}

#[test]
fn a_state_that_is_too_long_is_dropped_alone() {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    for (lengths, stays) in
        [(&[512][..], true), (&[513], false), (&[255, 256], true), (&[256, 256], false)]
    {
        let values: Vec<_> = lengths.iter().map(|&length| "x".repeat(length)).collect();
        let mut sent = vec![("traceparent", parent.as_str())];
        sent.extend(values.iter().map(|value| ("tracestate", value.as_str())));
        let (left, trace) = passed_on(&sent);
        assert_eq!(left.len(), if stays { sent.len() } else { 1 }, "{lengths:?}");
        assert!(trace.is_some());
    }
}

proptest! {
    #[test]
    fn what_is_written_by_the_rules_is_read(trace in 1u128.., parent in 1u64.., flags: u8) {
        let value = format!("00-{trace:032x}-{parent:016x}-{flags:02x}");
        let read = TraceParent::parse(value.as_bytes()).unwrap();
        prop_assert_eq!(read.trace.to_string(), format!("{trace:032x}"));
        prop_assert_eq!(read.parent.to_string(), format!("{parent:016x}"));
        prop_assert_eq!((read.sampled, read.random), (flags & 1 == 1, flags & 2 == 2));
    }

    #[test]
    fn whatever_is_read_of_this_version_is_what_was_written(value: Vec<u8>, at in 0usize..60, to: u8) {
        prop_assert_eq!(TraceParent::parse(&value), None);
        // One byte changed somewhere in a good one.
        let mut near = format!("00-{TRACE}-{SPAN}-01").into_bytes();
        if let Some(byte) = near.get_mut(at) {
            *byte = to;
        }
        if let Some(read) = TraceParent::parse(&near) {
            let written = format!("{}-{}", read.trace, read.parent);
            prop_assert_eq!(&near[3..52], written.as_bytes());
        }
    }
}

fn passed_on(sent: &[(&'static str, &str)]) -> (Vec<(String, String)>, Option<TraceParent>) {
    let value = |text| HeaderValue::from_str(text).unwrap();
    let mut headers = HeaderMap::new();
    for (name, text) in sent {
        headers.append(*name, value(text));
    }
    let trace = pass_on(&mut headers);
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    let left = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    (left, trace)
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

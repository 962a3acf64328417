//! What is a header and what is none.

use proptest::prelude::*;

use super::*;

#[test]
fn a_line_names_the_client_or_nobody() {
    let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                   ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    for (line, header) in [
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            forwarded("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        (
            longest,
            forwarded(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ),
        (
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
            forwarded("192.168.0.1:56324", "192.168.0.11:443"),
        ),
        ("PROXY TCP6 2001:db8::1 ::1 0 80\r\n", forwarded("[2001:db8::1]:0", "[::1]:80")),
        ("PROXY UNKNOWN\r\n", Header::Unknown),
        ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Header::Unknown),
        ("PROXY UNKNOWN whatever it may be\r\n", Header::Unknown),
    ] {
        let with_more = format!("{line}GET / HTTP/1.1\r\n\r\n");
        assert_eq!(read(with_more.as_bytes()), Ok(Some((header, line.len()))), "{line}");
    }
}

#[test]
fn a_line_that_is_none_is_malformed() {
    for (line, fault) in [
        ("GET / HTTP/1.1\r\n", Malformed::Missing),
        ("POST / HTTP/1.1\r\n", Malformed::Missing),
        ("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", Malformed::Missing),
        (" PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", Malformed::Missing),
        ("PROXY\r\n", Malformed::Missing),
        ("PROXY \r\n", Malformed::Family),
        ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", Malformed::Family),
        ("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", Malformed::Family),
        ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", Malformed::Family),
        ("PROXY UNKNOWN\u{e9}\r\n", Malformed::Family),
        ("PROXY TCP4\r\n", Malformed::Address),
        ("PROXY TCP4 1.2.3.4\r\n", Malformed::Address),
        ("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", Malformed::Address),
        ("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", Malformed::Address),
        ("PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", Malformed::Address),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", Malformed::Address),
        ("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", Malformed::Address),
        ("PROXY TCP6 [::1] ::1 1 2\r\n", Malformed::Address),
        ("PROXY TCP4 1.2.3.4 1.2.3.4\r\n", Malformed::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", Malformed::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", Malformed::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 02\r\n", Malformed::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", Malformed::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", Malformed::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", Malformed::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rX", Malformed::LineEnd),
    ] {
        assert_eq!(read(line.as_bytes()), Err(fault), "{line}");
    }
    assert_eq!(read(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n"), Err(Malformed::Port));
}

#[test]
fn a_line_has_107_bytes_at_the_most() {
    let line = |length: usize| format!("PROXY UNKNOWN{}\r\n", " ".repeat(length - 15));
    let longest = line(v1::LINE_BYTES_MAX);
    assert_eq!(read(longest.as_bytes()), Ok(Some((Header::Unknown, 107))));
    assert_eq!(read(&longest.as_bytes()[..106]), Ok(None));
    let longer = line(v1::LINE_BYTES_MAX + 1);
    assert_eq!(read(&longer.as_bytes()[..106]), Ok(None));
    assert_eq!(read(&longer.as_bytes()[..107]), Err(Malformed::LineTooLong));
    assert_eq!(read(longer.as_bytes()), Err(Malformed::LineTooLong));
}

#[test]
fn a_binary_header_names_the_client_or_nobody() {
    let four = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 0, 80];
    let six: Vec<u8> = ["2001:db8::1", "2001:db8::2"]
        .iter()
        .flat_map(|it| octets(it))
        .chain([0, 1, 0, 2])
        .collect();
    let tlv = [0xea, 0, 3, 1, b'v', b'p'];
    let client = forwarded("192.0.2.1:4711", "192.0.2.2:80");
    let client6 = forwarded("[2001:db8::1]:1", "[2001:db8::2]:2");
    for (command, transport, payload, header) in [
        (0x21, 0x11, four.to_vec(), client),
        (0x21, 0x11, [&four[..], &tlv].concat(), client),
        (0x21, 0x11, [&four[..], b"no tlv"].concat(), client),
        (0x21, 0x21, six.clone(), client6),
        (0x20, 0x00, vec![], Header::Local),
        (0x20, 0x11, four.to_vec(), Header::Local),
        (0x20, 0xff, vec![1], Header::Local),
        (0x21, 0x00, vec![], Header::Unknown),
        (0x21, 0x12, four.to_vec(), Header::Unknown),
        (0x21, 0x22, six, Header::Unknown),
        (0x21, 0x31, vec![0; 216], Header::Unknown),
    ] {
        let bytes = binary(command, transport, &payload);
        let with_more = [&bytes[..], b"GET"].concat();
        let expected = Ok(Some((header, bytes.len())));
        assert_eq!(read(&with_more), expected, "{command:x} {transport:x} {payload:?}");
    }
}

#[test]
fn a_binary_header_that_is_none_is_malformed() {
    for (command, transport, length, fault) in [
        (0x11, 0x11, 12, Malformed::Version),
        (0x31, 0x11, 12, Malformed::Version),
        (0x22, 0x11, 12, Malformed::Command),
        (0x21, 0x11, 11, Malformed::TooShort),
        (0x21, 0x11, 0, Malformed::TooShort),
        (0x21, 0x21, 35, Malformed::TooShort),
        (0x21, 0x41, 12, Malformed::Transport),
        (0x21, 0x13, 12, Malformed::Transport),
    ] {
        let bytes = binary(command, transport, &vec![0; length]);
        assert_eq!(read(&bytes), Err(fault), "{command:x} {transport:x} {length}");
    }
    assert_eq!(read(b"\r\n\r\nGET / HTTP/1.1\r\n"), Err(Malformed::Missing));
}

#[test]
fn a_binary_header_has_4096_bytes_at_the_most() {
    let most = binary(0x21, 0x11, &[0; HEADER_BYTES_MAX - 16]);
    assert!(matches!(read(&most), Ok(Some((Header::Forwarded(_), HEADER_BYTES_MAX)))));
    let more = binary(0x21, 0x11, &[0; HEADER_BYTES_MAX - 15]);
    assert_eq!(read(&more[..16]), Err(Malformed::TooLong));
}

#[test]
fn headers_are_written_as_the_specification_says() {
    let ends = forwarded("192.0.2.1:4711", "192.0.2.2:80");
    let v1 = String::from_utf8(ends.to_bytes(Version::V1)).unwrap();
    assert_eq!(v1, "PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n");
    let v2 = binary(0x21, 0x11, &[192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 0, 80]);
    assert_eq!(ends.to_bytes(Version::V2), v2);
    assert_eq!(Header::Local.to_bytes(Version::V1), b"PROXY UNKNOWN\r\n");
    assert_eq!(Header::Local.to_bytes(Version::V2), binary(0x20, 0, &[]));
    assert_eq!(Header::Unknown.to_bytes(Version::V1), b"PROXY UNKNOWN\r\n");
    assert_eq!(Header::Unknown.to_bytes(Version::V2), binary(0x21, 0, &[]));
}

#[test]
fn ends_of_two_families_are_written_in_the_wider_one() {
    for (source, destination, line) in [
        ("[2001:db8::1]:0", "127.0.0.1:80", "PROXY TCP6 2001:db8::1 ::ffff:127.0.0.1 0 80\r\n"),
        ("192.0.2.1:9", "[::1]:80", "PROXY TCP6 ::ffff:192.0.2.1 ::1 9 80\r\n"),
        ("[::ffff:192.0.2.1]:9", "127.0.0.1:80", "PROXY TCP4 192.0.2.1 127.0.0.1 9 80\r\n"),
        ("192.0.2.1:9", "[::ffff:127.0.0.1]:80", "PROXY TCP4 192.0.2.1 127.0.0.1 9 80\r\n"),
    ] {
        let written = forwarded(source, destination).to_bytes(Version::V1);
        assert_eq!(String::from_utf8(written).unwrap(), line);
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        source: (IpAddr, u16),
        destination: (IpAddr, u16),
        second: bool,
    ) {
        let version = if second { Version::V2 } else { Version::V1 };
        let ends = Ends { source: source.into(), destination: destination.into() };
        let bytes = Header::Forwarded(ends).to_bytes(version);
        let (source, destination) = ends.in_one_family();
        let header = Header::Forwarded(Ends { source, destination });
        prop_assert_eq!(read(&bytes), Ok(Some((header, bytes.len()))));
    }

    /// Where it is cut off nothing is decided yet, or the same.
    #[test]
    fn a_header_that_comes_in_pieces_is_the_same(bytes in soup()) {
        let whole = read(&bytes);
        for end in 0..bytes.len() {
            let so_far = read(&bytes[..end]);
            if so_far != Ok(None) {
                prop_assert_eq!(so_far, whole, "{} of {:?}", end, bytes);
            }
            if let Ok(Some((_, length))) = so_far {
                prop_assert!(length <= end && length <= HEADER_BYTES_MAX);
            }
        }
    }
}

/// Bytes that are almost headers.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..64);
    let line =
        "PROXY (TCP4|TCP6|UNKNOWN|X)( (1\\.2\\.3\\.4|::1|[0-9]{1,6})){0,5}(\r|\n|\r\n)[ab]{0,120}";
    prop_oneof![
        bytes(),
        line.prop_map(String::into_bytes),
        (any::<u8>(), any::<u8>(), bytes()).prop_map(|(command, transport, payload)| {
            binary(0x20 | command >> 6, transport & 0x33, &payload)
        }),
        bytes().prop_map(|rest| [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &rest[..]].concat()),
    ]
}

fn binary(command: u8, transport: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, transport][..], &length, payload].concat()
}

fn octets(address: &str) -> [u8; 16] {
    address.parse::<Ipv6Addr>().unwrap().octets()
}

fn forwarded(source: &str, destination: &str) -> Header {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    Header::Forwarded(Ends { source, destination })
}

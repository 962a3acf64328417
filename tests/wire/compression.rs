//! Answers that are compressed on their way, and those that must not be.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::client::Answer;
use super::{Backend, Balancer, Client, before_with, get, ok};

const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];
const ON: &str = "compress = true";

#[test]
fn a_client_gets_the_coding_that_it_prefers() {
    let (balancer, page) = with_page(ON, "text/html; charset=utf-8", "ETag: \"v1\"\r\n");
    let mut client = Client::connect(balancer.http);
    for (accepts, coding) in [
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("zstd;q=0.1, gzip", "gzip"),
        ("zstd;q=0, br;q=0, *;q=0.5", "gzip"),
    ] {
        let answer = client.send(asking("GET", accepts)).answer();
        assert_eq!(answer.field("content-encoding").as_deref(), Some(coding), "{accepts}");
        assert_eq!(answer.field("content-length"), None);
        assert_eq!(answer.field("vary").as_deref(), Some("Accept-Encoding"));
        assert_eq!(answer.field("etag").as_deref(), Some("W/\"v1\""));
        let packed = dechunked(&answer.body);
        assert!(packed.len() < page.len() / 3, "{accepts}: {} bytes", packed.len());
        assert_eq!(unpacked(coding, &packed), page, "{accepts}");
    }
    for accepts in ["identity", "gzip;q=0", "deflate", "*;q=0"] {
        let answer = client.send(asking("GET", accepts)).answer();
        assert_eq!(answer.field("content-encoding"), None, "{accepts}");
        assert_eq!(answer.field("vary").as_deref(), Some("Accept-Encoding"));
        assert_eq!(answer.field("etag").as_deref(), Some("\"v1\""));
        assert_eq!(answer.body, page);
    }
    assert_eq!(client.send(get("/")).answer().body, page, "nothing was asked for");
}

#[test]
fn the_order_of_the_label_decides_where_the_client_does_not() {
    let (balancer, page) = with_page("compress = \"gzip, br\"", "text/css", "");
    let mut client = Client::connect(balancer.http);
    for (accepts, coding) in [("zstd, br, gzip", "gzip"), ("br, gzip;q=0.5", "br")] {
        let answer = client.send(asking("GET", accepts)).answer();
        assert_eq!(answer.field("content-encoding").as_deref(), Some(coding));
        assert_eq!(unpacked(coding, &dechunked(&answer.body)), page);
    }
    let answer = client.send(asking("GET", "zstd")).answer();
    assert_eq!(answer.field("content-encoding"), None);
}

#[test]
fn an_answer_that_must_stay_as_it_is_stays_so() {
    let long = "x".repeat(1000);
    for (asked, head) in [
        ("", "Content-Type: image/png\r\n"),
        ("", "X: no type\r\n"),
        ("", "Content-Type: application/grpc+proto\r\n"),
        ("", "Content-Type: text/plain\r\nContent-Encoding: deflate\r\n"),
        ("", "Content-Type: text/plain\r\nCache-Control: public, no-transform\r\n"),
        ("Range: bytes=0-9\r\n", "Content-Type: text/plain\r\n"),
    ] {
        let answered = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n{head}\r\n{long}");
        let backend = Backend::answering(move |_| answered.clone().into_bytes());
        let balancer = before_with(&[backend], ON);
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n{asked}\r\n");
        let answer = Client::connect(balancer.http).send(request).answer();
        assert_eq!(answer.field("content-length").as_deref(), Some("1000"), "{head}{asked}");
        assert_eq!(answer.text(), long, "{head}{asked}");
    }
}

#[test]
fn a_part_of_an_answer_is_passed_on_as_it_is() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain\r\nContent-Length: 300\r\n\
          Content-Range: bytes 0-299/9999\r\nAccept-Ranges: bytes\r\n\r\n"
            .iter()
            .chain([b'x'; 300].iter())
            .copied()
            .collect()
    });
    let balancer = before_with(&[backend], ON);
    let answer = Client::connect(balancer.http).send(asking("GET", "gzip")).answer();
    assert_eq!((answer.status, answer.body.len()), (206, 300));
    assert_eq!(answer.field("content-encoding"), None);
    assert_eq!(answer.field("accept-ranges").as_deref(), Some("bytes"));
}

/// Neither is it inflated, however large it would be.
#[test]
fn what_is_compressed_already_is_not_touched() {
    let bomb = packed_bomb();
    let sent = bomb.clone();
    let backend = Backend::answering(move |_| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\
             Content-Length: {}\r\n\r\n",
            sent.len()
        );
        [head.as_bytes(), &sent].concat()
    });
    let balancer = before_with(std::slice::from_ref(&backend), ON);
    let mut client = Client::connect(balancer.http);
    for accepts in ["br", "identity", "gzip"] {
        assert_eq!(client.send(asking("GET", accepts)).answer().body, bomb, "{accepts}");
    }
    let upload = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    );
    client.send(upload).send(&bomb).answer();
    assert_eq!(backend.seen().last().unwrap().body, bomb);
}

#[test]
fn small_answers_are_left_unless_the_label_says_otherwise() {
    for (labels, smallest) in [
        (ON, 256),
        ("compress = \"gzip\"\n\"compress.min\" = \"1KiB\"", 1024),
        ("compress = \"gzip\"\n\"compress.min\" = \"0B\"", 1),
    ] {
        let backend = Backend::answering(|seen| {
            let length = seen.head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length:";
            format!("{head} {length}\r\n\r\n{}", "x".repeat(length)).into_bytes()
        });
        let balancer = before_with(&[backend], labels);
        let mut client = Client::connect(balancer.http);
        for (length, packed) in [(smallest - 1, false), (smallest, true)] {
            let asked =
                format!("GET /{length} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
            let answer = client.send(asked).answer();
            let encoding = answer.field("content-encoding");
            assert_eq!(encoding.is_some(), packed, "{labels} {length}");
            assert_eq!(answer.field("vary").as_deref(), Some("Accept-Encoding"));
        }
    }
}

#[test]
fn the_types_are_those_of_the_label() {
    let labels = "compress = true\n\"compress.types\" = \"application/x-own, +zip\"";
    for (media_type, packed) in
        [("application/x-own", true), ("application/epub+zip", true), ("text/html", false)]
    {
        let (balancer, page) = with_page(labels, media_type, "");
        let answer = Client::connect(balancer.http).send(asking("GET", "gzip")).answer();
        assert_eq!(answer.field("content-encoding").is_some(), packed, "{media_type}");
        assert_eq!(answer.field("vary").is_some(), packed, "{media_type}");
        let body = if packed { unpacked("gzip", &dechunked(&answer.body)) } else { answer.body };
        assert_eq!(body, page);
    }
}

#[test]
fn events_arrive_while_the_stream_stays_open() {
    for coding in CODINGS {
        let backend = Backend::scripted(|_, stream| {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                         Transfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head).unwrap();
            for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                if stream.write_all(chunk.as_bytes()).is_err() {
                    return false;
                }
                thread::sleep(Duration::from_millis(400));
            }
            thread::sleep(Duration::from_secs(8));
            false
        });
        let balancer = before_with(&[backend], ON);
        let mut client = Client::connect(balancer.http);
        let began = Instant::now();
        client.send(asking("GET", coding));
        assert!(head(&mut client).contains(&format!("content-encoding: {coding}")));
        let mut packed = Vec::new();
        for plain in ["data: one\n\n", "data: one\n\ndata: two\n\n"] {
            while unpacked_start(coding, &packed, plain.len())
                .is_none_or(|it| it != plain.as_bytes())
            {
                packed.extend(chunk(&mut client));
            }
        }
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(5), "{coding}: two events came after {waited:?}");
    }
}

#[test]
fn encoders_take_so_much_memory_and_no_more() {
    let backend = Backend::scripted(|_, stream| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
                     Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        stream.write_all(head).unwrap();
        // Until the balancer closes it.
        let _ = stream.read(&mut [0]);
        false
    });
    let balancer = before_with(&[backend], ON);
    let open = || {
        let mut client = Client::connect(balancer.http);
        client.send(asking("GET", "br"));
        let head = head(&mut client);
        (client, head)
    };
    let is_packed = |head: &str| head.to_lowercase().contains("content-encoding: br");
    let opened: Vec<_> = (0..60).map(|_| open()).collect();
    let (packed, mut plain): (Vec<_>, Vec<_>) =
        opened.into_iter().partition(|(_, head)| is_packed(head));
    // Two workers with 64 MiB of 2.75 each, which get connections by chance.
    assert!((23..=46).contains(&packed.len()), "{}", packed.len());
    let (mut plain, head) = plain.pop().unwrap();
    assert!(head.to_lowercase().contains("vary: accept-encoding"), "{head}");
    assert_eq!(chunk(&mut plain), b"hello");
    drop(packed);
    super::wait_for(|| is_packed(&open().1).then_some(()));
}

#[test]
fn an_answer_to_head_says_what_that_to_get_would() {
    let (balancer, page) = with_page(ON, "text/html", "ETag: \"v1\"\r\n");
    let mut client = Client::connect(balancer.http);
    for _ in 0..2 {
        let answer = client.send(asking("HEAD", "br")).answer_to_head();
        assert_eq!(answer.field("content-encoding").as_deref(), Some("br"), "{}", answer.head);
        assert_eq!(answer.field("content-length"), None);
        assert_eq!(answer.field("vary").as_deref(), Some("Accept-Encoding"));
        assert_eq!(answer.field("etag").as_deref(), Some("W/\"v1\""));
        let answer = client.send(asking("HEAD", "identity")).answer_to_head();
        assert_eq!(answer.field("content-length"), Some(page.len().to_string()));
    }
}

#[test]
fn a_page_that_has_not_changed_keeps_the_tag_that_its_client_knows() {
    let backend = Backend::answering(|seen| {
        let known = seen.field("if-none-match").is_some_and(|it| it == "W/\"v1\"");
        if known {
            b"HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n".to_vec()
        } else {
            ok("changed")
        }
    });
    let balancer = before_with(&[backend], ON);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\
                   If-None-Match: W/\"v1\"\r\n\r\n";
    let answer = Client::connect(balancer.http).send(request).answer();
    assert_eq!(answer.status, 304);
    assert_eq!(answer.field("etag").as_deref(), Some("W/\"v1\""));
    assert_eq!(answer.field("content-encoding"), None);
}

#[test]
fn trailers_come_after_the_end_of_the_compressed_stream() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\
          Trailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nDigest: x\r\nX-Sum: 7\r\n\
          Content-Digest: x\r\nRepr-Digest: x\r\nContent-MD5: x\r\n\r\n"
            .to_vec()
    });
    let balancer = before_with(&[backend], ON);
    for coding in CODINGS {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nAccept-Encoding: {coding}\r\n\r\n"
        );
        let answer = Client::connect(balancer.http).send(request).answer();
        assert_eq!(unpacked(coding, &dechunked(&answer.body)), b"hello");
        let end = String::from_utf8_lossy(&answer.body).to_lowercase();
        assert!(end.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{end}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_cut_and_never_ended_as_if_whole() {
    let backend = Backend::scripted(|_, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\n\r\n";
        stream.write_all(format!("{head}{}", "x".repeat(4000)).as_bytes()).unwrap();
        false
    });
    let balancer = before_with(&[backend], ON);
    let cut = Client::connect(balancer.http).send(asking("GET", "gzip")).rest();
    assert!(!cut.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&cut));
    assert!(balancer.access_logged("GET /").contains("upstream_broke_off"));
}

#[test]
fn large_answers_come_whole_and_the_log_counts_what_was_sent() {
    let plain: Vec<u8> = (0..200_000u32).flat_map(|n| format!("{n},").into_bytes()).collect();
    let sent = plain.clone();
    let backend = Backend::answering(move |_| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            sent.len()
        );
        [head.as_bytes(), &sent].concat()
    });
    let balancer = before_with(&[backend], ON);
    for coding in CODINGS {
        let path = format!("/{coding}");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n");
        let answer = Client::connect(balancer.http).send(request).answer();
        let packed = dechunked(&answer.body);
        assert!(unpacked(coding, &packed) == plain, "{coding}");
        let line = balancer.access_logged(&path);
        assert!(line.contains(&format!(" 200 {} ", packed.len())), "{line}: {}", packed.len());
        assert!(line.contains("end=ok"), "{line}");
    }
}

#[test]
fn a_tunnel_is_no_answer() {
    let backend = Backend::scripted(|_, stream| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                     Upgrade: websocket\r\nContent-Type: text/plain\r\n\r\nhello";
        stream.write_all(head).is_ok()
    });
    let balancer = before_with(&[backend], ON);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                   Accept-Encoding: gzip\r\n\r\n";
    let mut client = Client::connect(balancer.http);
    let answer: Answer = client.send(request).answer();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.field("content-encoding"), None);
    assert_eq!(client.exactly(5), b"hello");
}

#[test]
fn pages_of_our_own_are_compressed_too() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let pool = format!("[pools.web]\nservers = [\"{nobody}\"]\nhold = \"0\"\n{ON}\n");
    std::fs::write(file.path(), pool).unwrap();
    let balancer = Balancer::start(&["--config", file.path().to_str().unwrap()]);
    let answer = super::wait_for(|| {
        let answer = Client::connect(balancer.http).send(asking("GET", "gzip")).answer();
        (answer.status == 503 && answer.field("vary").is_some()).then_some(answer)
    });
    assert_eq!(answer.field("content-encoding").as_deref(), Some("gzip"));
    let page = unpacked("gzip", &dechunked(&answer.body));
    assert!(String::from_utf8(page).unwrap().contains("<h1>503"));
}

/// A balancer before a replica whose page is of this type.
fn with_page(labels: &str, media_type: &str, fields: &str) -> (Balancer, Vec<u8>) {
    let page = "a line like any other\n".repeat(200).into_bytes();
    let (media_type, fields, sent) = (media_type.to_owned(), fields.to_owned(), page.clone());
    let backend = Backend::answering(move |seen| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\n{fields}Content-Length: {}\r\n\r\n",
            sent.len()
        );
        let body = if seen.head.starts_with("HEAD") { &[][..] } else { &sent };
        [head.as_bytes(), body].concat()
    });
    (before_with(&[backend], labels), page)
}

fn asking(method: &str, accepts: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: shop.example\r\nAccept-Encoding: {accepts}\r\n\r\n")
}

fn head(client: &mut Client) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(client.exactly(1));
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// The next chunk's content.
fn chunk(client: &mut Client) -> Vec<u8> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(client.exactly(1));
    }
    let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap();
    let mut content = client.exactly(size + 2);
    content.truncate(size);
    content
}

fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let end = body.windows(2).position(|it| it == b"\r\n").unwrap();
        let size = usize::from_str_radix(str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return content;
        }
        content.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
}

fn unpacked(coding: &str, packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    decoder(coding, packed).read_to_end(&mut plain).unwrap();
    plain
}

/// So much of the beginning, if there is so much of it.
fn unpacked_start(coding: &str, packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut plain = vec![0; length];
    decoder(coding, packed).read_exact(&mut plain).ok()?;
    Some(plain)
}

fn decoder<'a>(coding: &str, packed: &'a [u8]) -> Box<dyn Read + 'a> {
    match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(packed)),
        "br" => Box::new(brotli::Decompressor::new(packed, 4096)),
        "zstd" => Box::new(zstd::Decoder::new(packed).unwrap()),
        other => panic!("{other}"),
    }
}

/// 64 MiB of nothing.
fn packed_bomb() -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        packer.write_all(&[0; 1 << 20]).unwrap();
    }
    packer.finish().unwrap()
}

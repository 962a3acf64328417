//! How large a body may be.

use super::{Backend, Client, before_with, ok};

fn post(length: usize) -> Vec<u8> {
    let head = format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n");
    [head.into_bytes(), vec![b'x'; length]].concat()
}

fn chunked(chunks: &[usize]) -> Vec<u8> {
    let mut request =
        b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for &length in chunks {
        request.extend(format!("{length:x}\r\n").into_bytes());
        request.extend(vec![b'x'; length]);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    request
}

/// How many bytes of such a body came after the head.
fn body_bytes(message: &[u8]) -> usize {
    let text = String::from_utf8_lossy(message);
    text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.matches('x').count())
}

#[test]
fn a_body_up_to_the_limit_passes() {
    let backends = [Backend::answering(|seen| ok(&seen.body.len().to_string()))];
    let balancer = before_with(&backends, "body_limit = '1000B'");
    let mut client = Client::connect(balancer.http);
    assert_eq!(client.send(post(1000)).answer().text(), "1000");
    assert_eq!(client.send(chunked(&[500, 500])).answer().status, 200);
    assert_eq!(client.send(super::get("/")).answer().status, 200);
}

#[test]
fn a_body_that_is_said_to_be_larger_is_refused_before_it_comes() {
    let backends = [Backend::answering(|_| ok("hi"))];
    let balancer = before_with(&backends, "body_limit = '1000B'");
    let mut client = Client::connect(balancer.http);
    let head = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1001\r\n\
                Expect: 100-continue\r\n\r\n";
    let answer = client.send(head).answer();
    assert_eq!(answer.status, 413, "no 100 first:\n{}", answer.head);
    assert_eq!(answer.field("connection").as_deref(), Some("close"));
    assert!(client.rest().is_empty());
    assert!(backends[0].seen().is_empty());
    assert!(balancer.access_logged(" 413 ").ends_with("end=body_too_large"));
}

#[test]
fn a_chunked_body_is_counted_and_nothing_beyond_the_limit_is_sent_on() {
    let backends = [Backend::scripted(|_, _| panic!("the request must not be whole"))];
    let balancer = before_with(&backends, "body_limit = '1000B'");
    for chunks in [&[1001][..], &[600, 600], &[1000, 1], &[200_000]] {
        let mut client = Client::connect(balancer.http);
        let answer = client.try_send(chunked(chunks)).answer();
        assert_eq!(answer.status, 413, "{chunks:?}");
        assert_eq!(answer.field("connection").as_deref(), Some("close"));
    }
    assert!(backends[0].seen().is_empty());
}

#[test]
fn an_answer_that_has_begun_is_cut() {
    // It answers at the head, long before it has the body.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for mut stream in listener.incoming().map_while(Result::ok) {
            let told = told.clone();
            std::thread::spawn(move || {
                let mut all = Vec::new();
                let mut piece = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut piece) {
                    if all.is_empty() {
                        let _ = stream.write_all(
                            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
                        );
                    }
                    all.extend_from_slice(&piece[..count]);
                }
                let _ = told.send(body_bytes(&all));
            });
        }
    });
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let labels = format!("[pools.web]\nservers = ['{address}']\nbody_limit = '1000B'");
    std::fs::write(file.path(), labels).unwrap();
    let balancer = super::Balancer::start(&["--config", file.path().to_str().unwrap()]);
    balancer.logged(&format!("address={address}"));

    let request = chunked(&[500, 500, 500]);
    let (first, rest) = request.split_at(request.len() - 700);
    let mut client = Client::connect(balancer.http);
    client.send(first);
    let head = String::from_utf8(client.exactly(15)).unwrap();
    assert_eq!(head, "HTTP/1.1 200 OK");
    client.try_send(rest);
    let answer = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(answer.ends_with("2\r\nhi\r\n"), "cut, and not ended: {answer:?}");
    let reached = received.iter().find(|count| *count > 0).unwrap();
    assert!(reached <= 1000, "{reached} bytes were sent on");
}

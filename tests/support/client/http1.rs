//! One HTTP/1.1 request over a connection, and precisely what went wrong with it.

use std::io::{Error, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Answer, Failure};

/// Whether a connection that rested can carry another request: the balancer has
/// neither closed it nor said anything unasked.
pub(crate) fn rests(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Sends a request and reads its answer. An answer may come before all of the
/// request is sent.
pub(crate) async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<Answer, Failure> {
    let (from, to) = stream.split();
    exchange_by(from, to, request).await
}

/// As [`exchange`], over anything.
pub(crate) async fn exchange_over(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
) -> Result<Answer, Failure> {
    let (from, to) = tokio::io::split(stream);
    exchange_by(from, to, request).await
}

async fn exchange_by(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    request: &[u8],
) -> Result<Answer, Failure> {
    let mut read = std::pin::pin!(answer(&mut from));
    tokio::select! {
        answer = &mut read => answer.map(|answer| Answer { keeps: false, ..answer }),
        // One that cannot be sent may have been answered all the same.
        _ = to.write_all(request) => read.await,
    }
}

async fn answer(from: &mut (impl AsyncReadExt + Unpin)) -> Result<Answer, Failure> {
    let mut seen = Vec::with_capacity(1024);
    let head = loop {
        if let Some(end) = find(&seen, b"\r\n\r\n") {
            break end + 4;
        }
        more(from, &mut seen).await?;
    };
    let raw = String::from_utf8_lossy(seen.get(..head).unwrap_or_default()).into_owned();
    let text = raw.to_ascii_lowercase();
    let status = text.strip_prefix("http/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or(Failure::WrongBody)?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    let cookie = raw.lines().filter_map(|line| line.split_once(": "));
    let cookie = cookie.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let cookie = cookie.map(|(_, value)| value.to_owned());
    let length = field("content-length").and_then(|length| length.parse().ok());
    let length: usize = length.ok_or(Failure::WrongBody)?;
    while seen.len() < head + length {
        more(from, &mut seen).await?;
    }
    let keeps = field("connection") != Some("close") && seen.len() == head + length;
    Ok(Answer { status, body: seen.split_off(head), keeps, cookie })
}

async fn more(from: &mut (impl AsyncReadExt + Unpin), seen: &mut Vec<u8>) -> Result<(), Failure> {
    match from.read_buf(seen).await {
        Ok(0) => Err(cut(seen, Failure::Closed)),
        Ok(_) => Ok(()),
        Err(error) => Err(cut(seen, why(&error))),
    }
}

fn cut(seen: &[u8], whole: Failure) -> Failure {
    if seen.is_empty() { whole } else { Failure::Truncated }
}

fn why(error: &Error) -> Failure {
    if error.kind() == ErrorKind::ConnectionReset { Failure::Reset } else { Failure::Closed }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

mod tests {
    use tokio::net::TcpListener;

    use super::super::connect;
    use super::*;

    #[tokio::test]
    async fn a_whole_answer_is_read_and_the_connection_kept() {
        let answer = ask("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice(), answer.keeps), (200, &b"hi"[..], true));

        let told = "HTTP/1.1 200 OK\r\nset-cookie: lb=Ab; Path=/\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(ask(told).await.unwrap().cookie.as_deref(), Some("lb=Ab; Path=/"));

        let told = "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let answer = ask(told).await.unwrap();
        assert_eq!((answer.status, answer.keeps), (502, false));
    }

    #[tokio::test]
    async fn what_goes_wrong_is_told_apart() {
        for (told, failure) in [
            ("", Failure::Closed),
            ("HTTP/1.1 200 OK\r\nConte", Failure::Truncated),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", Failure::Truncated),
            ("HTTP/1.1 200 OK\r\n\r\nhi", Failure::WrongBody),
            ("HELO\r\n\r\n", Failure::WrongBody),
        ] {
            assert_eq!(ask(told).await.unwrap_err(), failure, "{told}");
        }
    }

    #[tokio::test]
    async fn a_reset_and_a_refusal_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut stream = connect(at).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        accepted.set_zero_linger().unwrap();
        drop(accepted);
        assert_eq!(exchange(&mut stream, b"").await.unwrap_err(), Failure::Reset);

        drop(listener);
        assert_eq!(connect(at).await.unwrap_err(), Failure::Refused);
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_or_spoke_unasked_rests_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut accepted, _) = listener.accept().await.unwrap();
        assert!(rests(&stream));
        accepted.write_all(b"HTTP/1.1 408 ").await.unwrap();
        drop(accepted);
        stream.readable().await.unwrap();
        assert!(!rests(&stream));
    }

    /// What a client makes of a server that says this and closes.
    async fn ask(told: &'static str) -> Result<Answer, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut accepted, _) = listener.accept().await.unwrap();
        let server = async move {
            accepted.read_exact(&mut [0; 3]).await.unwrap();
            accepted.write_all(told.as_bytes()).await.unwrap();
        };
        tokio::join!(exchange(&mut stream, b"GET"), server).0
    }
}

//! A client of one request a connection, which sees what was sent and no more.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The fields, as they came.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of the first field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Which `whoami` it comes from.
    pub(crate) fn host_name(&self) -> Option<&str> {
        self.body.lines().find_map(|line| line.strip_prefix("Hostname: "))
    }
}

/// Sends a GET with these headers; `Host` is `localhost` unless given.
///
/// # Errors
/// When the connection fails, is silent for 15 s, or what comes is no HTTP answer.
pub(crate) fn get(at: SocketAddr, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&at, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(request(path, headers).as_bytes())?;
    let mut raw = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut raw)?;
    parse(&String::from_utf8_lossy(&raw)).ok_or_else(|| {
        let text = String::from_utf8_lossy(&raw).into_owned();
        io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP answer: {text:?}"))
    })
}

fn request(path: &str, headers: &[(&str, &str)]) -> String {
    let mut text = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text
}

fn parse(raw: &str) -> Option<Answer> {
    let (head, body) = raw.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    let body = if chunked { dechunk(body)? } else { body.to_owned() };
    Some(Answer { status, head: head.to_owned(), body })
}

fn dechunk(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}

const TIMEOUT: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: u64 = 4 << 20;

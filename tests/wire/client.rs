//! A client that sends the very bytes it is told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// One connection to the balancer. Every read has a bound.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// The address that the balancer sees.
    pub(crate) fn address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Ends one direction or both.
    pub(crate) fn shut(&mut self, how: Shutdown) {
        self.stream.shutdown(how).unwrap();
    }

    /// Sends what it can; the balancer may have closed already.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// The next answer, with its body as framed (chunks are left as they are).
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to(false)
    }

    /// The answer to a HEAD request: it has no body whatever its length says.
    pub(crate) fn answer_to_head(&mut self) -> Answer {
        self.answer_to(true)
    }

    /// Everything until the balancer closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.read_more() {}
        std::mem::take(&mut self.buffer)
    }

    /// What comes within `patience`, or until the balancer closes the connection.
    pub(crate) fn rest_within(&mut self, patience: Duration) -> Vec<u8> {
        self.stream.set_read_timeout(Some(patience)).unwrap();
        let mut piece = [0; 16 * 1024];
        while let Ok(count @ 1..) = self.stream.read(&mut piece) {
            self.buffer.extend_from_slice(&piece[..count]);
        }
        std::mem::take(&mut self.buffer)
    }

    /// Reads until `text` has come, which is taken with all before it.
    pub(crate) fn until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.buffer).contains(text) {
            let so_far = String::from_utf8_lossy(&self.buffer).into_owned();
            assert!(self.read_more(), "closed after {so_far:?}");
        }
        self.buffer.clear();
    }

    /// Waits until something has come; false if the balancer closes the connection.
    pub(crate) fn has_more(&mut self) -> bool {
        !self.buffer.is_empty() || self.read_more()
    }

    /// Exactly `count` bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.read_more(), "closed after {:?}", String::from_utf8_lossy(&self.buffer));
        }
        self.buffer.drain(..count).collect()
    }

    fn answer_to(&mut self, head_request: bool) -> Answer {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            let so_far = String::from_utf8_lossy(&self.buffer).into_owned();
            assert!(self.read_more(), "closed within a head: {so_far:?}");
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let answer = Answer { status, head, body: Vec::new() };
        let body = if head_request || status == 304 || status == 204 || status < 200 {
            Vec::new()
        } else if let Some(length) = answer.field("content-length") {
            self.exactly(length.parse().unwrap())
        } else if answer.field("transfer-encoding").is_some() {
            self.chunks()
        } else {
            self.rest()
        };
        Answer { body, ..answer }
    }

    /// The bytes of a chunked body, framing and trailers included.
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let size = line.trim_end().split(';').next().unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            body.extend_from_slice(line.as_bytes());
            if size == 0 {
                break;
            }
            body.extend(self.exactly(size + 2));
        }
        loop {
            let line = self.line();
            body.extend_from_slice(line.as_bytes());
            if line == "\r\n" {
                return body;
            }
        }
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.buffer.iter().position(|&byte| byte == b'\n') {
                return String::from_utf8(self.buffer.drain(..=at).collect()).unwrap();
            }
            assert!(self.read_more(), "closed within a line");
        }
    }

    fn read_more(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}; so far {:?}", String::from_utf8_lossy(&self.buffer)),
        }
    }
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut named = fields.filter(|(it, _)| it.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.to_owned())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

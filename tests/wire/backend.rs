//! Replicas that a test scripts.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A server on a free port. It notes what it is sent and answers by its script.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// One request as the replica got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The request line and the fields, as they were sent.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Which of the connections to this replica it came by, from 0.
    pub(crate) connection: usize,
}

impl Backend {
    /// Answers each request with the bytes that `answer` gives, and closes the
    /// connection after an answer that says so.
    pub(crate) fn answering(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::scripted(move |seen, stream| {
            let answer = answer(seen);
            stream.write_all(&answer).is_ok()
                && !String::from_utf8_lossy(&answer).to_lowercase().contains("connection: close")
        })
    }

    /// Hands each request to `script` with the connection, for as long as it
    /// returns true.
    pub(crate) fn scripted(
        script: impl Fn(&Seen, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), script)
    }

    /// As `scripted`, at a chosen address.
    pub(crate) fn at(
        address: SocketAddr,
        script: impl Fn(&Seen, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (noted, script) = (Arc::clone(&seen), Arc::new(script));
        thread::spawn(move || {
            let mut connections = 0;
            for stream in listener.incoming().map_while(Result::ok) {
                let (noted, script) = (Arc::clone(&noted), Arc::clone(&script));
                let connection = connections;
                // A probe connects and says nothing; only talkers are counted.
                if stream.peek(&mut [0]).is_ok_and(|count| count > 0) {
                    connections += 1;
                    thread::spawn(move || serve(stream, connection, &noted, &*script));
                }
            }
        });
        Self { address, seen }
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Seen {
    /// The value of a field; fails if it came more than once.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let values = self.fields(name);
        assert!(values.len() <= 1, "{name} came {} times:\n{}", values.len(), self.head);
        values.into_iter().next()
    }

    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let named = fields.filter(|(it, _)| it.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.to_owned()).collect()
    }
}

/// A whole answer with its length.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn serve(
    stream: TcpStream,
    connection: usize,
    noted: &Mutex<Vec<Seen>>,
    script: &dyn Fn(&Seen, &mut TcpStream) -> bool,
) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(seen) = read_request(&mut reader, connection) {
        noted.lock().unwrap().push(seen.clone());
        if !script(&seen, &mut writer) {
            return;
        }
    }
}

fn read_request(reader: &mut impl BufRead, connection: usize) -> Option<Seen> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut seen = Seen { head, body: Vec::new(), connection };
    if let Some(length) = seen.field("content-length") {
        seen.body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut seen.body).ok()?;
    } else if seen.field("transfer-encoding").is_some() {
        let mut raw = String::new();
        while !(raw.starts_with("0\r\n") || raw.contains("\r\n0\r\n")) || !raw.ends_with("\r\n\r\n")
        {
            reader.read_line(&mut raw).ok()?;
        }
        seen.body = raw.into_bytes();
    }
    Some(seen)
}

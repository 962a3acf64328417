//! Directories of our own, in front of pebble.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConnection, StreamOwned};

use super::client::Secure;
use super::pebble::Site;

/// What a client asks.
#[derive(Debug)]
pub(crate) struct Asked {
    head: String,
    body: Vec<u8>,
}

/// How a request fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Its nonce is not known any more; nothing is done.
    Nonce,
    /// There is no time for it just now; nothing is done.
    Busy,
    /// The connection breaks before anything is done.
    Broken,
    /// It is done, and nobody hears of that.
    Lost,
}

/// A directory that leads to pebble, after it has failed a few times.
pub(crate) struct Faulty {
    pub(crate) url: String,
    /// What is still to fail, by the first word of a path.
    faults: Arc<Mutex<BTreeMap<&'static str, VecDeque<Fault>>>>,
    passed: Arc<Mutex<Vec<String>>>,
}

impl Faulty {
    pub(crate) fn new(site: &Site, faults: &[(&'static str, &[Fault])]) -> Self {
        let faults = faults.iter().map(|(path, faults)| (*path, faults.iter().copied().collect()));
        let faults = Arc::new(Mutex::new(BTreeMap::from_iter(faults)));
        let passed: Arc<Mutex<Vec<String>>> = Arc::default();
        let (left, record, port) = (Arc::clone(&faults), Arc::clone(&passed), site.ports.directory);
        let own = serve(site, move |asked, _| {
            let kind = asked.kind().to_owned();
            let fault = left.lock().unwrap().get_mut(&*kind).and_then(VecDeque::pop_front);
            match fault {
                Some(Fault::Nonce) => Some(answer(
                    "400 Bad Request",
                    r#"{"type": "urn:ietf:params:acme:error:badNonce"}"#,
                )),
                Some(Fault::Busy) => Some(answer("503 Service Unavailable", "")),
                Some(Fault::Broken) => None,
                Some(Fault::Lost) | None => {
                    record.lock().unwrap().push(kind);
                    let passed = pass_on(asked, port).ok();
                    passed.filter(|_| fault.is_none())
                }
            }
        });
        Self { url: format!("{own}/dir"), faults, passed }
    }

    /// The paths on which something has yet to fail.
    pub(crate) fn unused(&self) -> Vec<&'static str> {
        let faults = self.faults.lock().unwrap();
        faults.iter().filter(|(_, left)| !left.is_empty()).map(|(path, _)| *path).collect()
    }

    /// How often such a request has come to pebble.
    pub(crate) fn passed(&self, kind: &str) -> usize {
        self.passed.lock().unwrap().iter().filter(|it| *it == kind).count()
    }
}

impl Asked {
    pub(crate) fn is_for(&self, path: &str) -> bool {
        self.path().starts_with(path)
    }

    fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// `order` for `/order/1`.
    fn kind(&self) -> &str {
        self.path().split('/').nth(1).unwrap_or_default()
    }

    fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body)?;
        Ok(Self { head, body })
    }
}

/// Answers each request, on a connection of its own; with nothing, the
/// connection breaks. The function is told where it is served, which is returned
/// too.
pub(crate) fn serve(
    site: &Site,
    answer: impl Fn(&Asked, &str) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (config, answer, base) =
        (Arc::new(site.certificate.server()), Arc::new(answer), own.clone());
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let (answer, base) = (Arc::clone(&answer), base.clone());
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            thread::spawn(move || {
                let mut stream = StreamOwned::new(connection, socket);
                let Ok(asked) = Asked::read(&mut stream) else { return };
                if let Some(answer) = answer(&asked, &base) {
                    let _ = stream.write_all(&answer);
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            });
        }
    });
    own
}

pub(crate) fn answer(head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into()
}

/// Pebble's answer. It leads to where it was asked, which is here.
fn pass_on(asked: &Asked, port: u16) -> io::Result<Vec<u8>> {
    let (first, fields) = asked.head.split_once("\r\n").unwrap();
    let head = format!("{first}\r\nConnection: close\r\n{fields}");
    Secure::connect(port, "localhost")?.exchange(&[head.as_bytes(), &asked.body].concat())
}

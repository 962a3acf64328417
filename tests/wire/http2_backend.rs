//! Replicas that speak HTTP/2, or TLS, as a test scripts them.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::{HeaderMap, Request, Response};
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::support::certificates::Made;

/// A replica on a free port. Its runtime ends with the test.
pub(crate) struct Http2Backend {
    pub(crate) address: SocketAddr,
    notes: Arc<Notes>,
}

/// How it speaks.
#[derive(Clone, Default)]
pub(crate) struct Speech {
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) http2: Builder,
    /// In HTTP/1.1 it takes a while for each answer, and keeps its connections.
    pub(crate) keeps: bool,
}

/// One call, with whatever a script may do to it.
pub(crate) struct Call {
    pub(crate) request: Request<RecvStream>,
    pub(crate) respond: SendResponse<Bytes>,
}

/// A handshake that came to its end.
#[derive(Clone, Debug)]
pub(crate) struct Shaken {
    pub(crate) name: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) resumed: bool,
}

#[derive(Default)]
struct Notes {
    connections: AtomicUsize,
    /// Heads of the requests so far, with the connection of each.
    heads: Mutex<Vec<(Request<()>, usize)>>,
    shaken: Mutex<Vec<Shaken>>,
}

type Script = dyn Fn(Call) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

impl Http2Backend {
    /// Answers each call by `script`.
    pub(crate) fn start<F>(
        speech: Speech,
        script: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let notes = Arc::<Notes>::default();
        let noted = Arc::clone(&notes);
        let script: Arc<Script> = Arc::new(move |call| Box::pin(script(call)));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let (speech, noted) = (speech.clone(), Arc::clone(&noted));
                    tokio::spawn(accept(stream, speech, noted, Arc::clone(&script)));
                }
            });
        });
        Self { address, notes }
    }

    /// Answers each call with 200 and this text.
    pub(crate) fn saying(speech: Speech, text: &'static str) -> Self {
        Self::start(speech, move |mut call| async move { call.say(200, text) })
    }

    /// Connections on which a request came.
    pub(crate) fn connections(&self) -> usize {
        self.notes.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn heads(&self) -> Vec<(Request<()>, usize)> {
        self.notes.heads.lock().unwrap().clone()
    }

    pub(crate) fn shaken(&self) -> Vec<Shaken> {
        self.notes.shaken.lock().unwrap().clone()
    }
}

impl Call {
    pub(crate) fn say(&mut self, status: u16, text: &'static str) {
        let response = Response::builder().status(status).body(()).unwrap();
        if let Ok(mut body) = self.respond.send_response(response, false) {
            let _ = body.send_data(text.into(), true);
        }
    }

    /// All that the client sends.
    pub(crate) async fn read(&mut self) -> (Vec<u8>, Option<HeaderMap>) {
        let (mut whole, body) = (Vec::new(), self.request.body_mut());
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            whole.extend_from_slice(&data);
        }
        (whole, body.trailers().await.ok().flatten())
    }
}

/// How a replica with this certificate speaks TLS, with these protocols.
pub(crate) fn by_tls(made: &Made, protocols: &[&str]) -> Speech {
    let mut config = made.server();
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    Speech { tls: Some(Arc::new(config)), ..Speech::default() }
}

async fn accept(
    stream: tokio::net::TcpStream,
    speech: Speech,
    notes: Arc<Notes>,
    script: Arc<Script>,
) {
    let _ = stream.set_nodelay(true);
    let Some(config) = speech.tls else {
        return serve(stream, speech.http2, notes, script).await;
    };
    let Ok(mut stream) = TlsAcceptor::from(config).accept(stream).await else { return };
    let session = stream.get_ref().1;
    let protocol = session.alpn_protocol().map(|it| String::from_utf8_lossy(it).into_owned());
    let shaken = Shaken {
        name: session.server_name().map(str::to_owned),
        protocol: protocol.clone(),
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
    };
    notes.shaken.lock().unwrap().push(shaken);
    if protocol.as_deref() == Some("h2") {
        serve(stream, speech.http2, notes, script).await;
    } else {
        while serve_http1(&mut stream, speech.keeps).await.is_some() {}
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    http2: Builder,
    notes: Arc<Notes>,
    script: Arc<Script>,
) {
    let Ok(mut connection) = http2.handshake::<_, Bytes>(stream).await else { return };
    let mut number = None;
    while let Some(Ok((request, respond))) = connection.accept().await {
        let count = || notes.connections.fetch_add(1, Ordering::Relaxed);
        let connection = *number.get_or_insert_with(count);
        let mut head = Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.headers_mut() = request.headers().clone();
        notes.heads.lock().unwrap().push((head, connection));
        tokio::spawn(script(Call { request, respond }));
    }
}

/// One answer in HTTP/1.1, which becomes an echo if that is asked for, and the
/// end unless it keeps its connections.
async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, keeps: bool) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    if keeps {
        tokio::time::sleep(Duration::from_millis(200)).await;
        return stream.write_all(b"HTTP/1.1 200 x\r\nContent-Length: 4\r\n\r\nkept").await.ok();
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let asked = head.lines().find_map(|line| line.strip_prefix("upgrade: "));
    if let Some(asked) = asked {
        let switch = format!("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: {asked}\r\n\r\n");
        let _ = stream.write_all(switch.as_bytes()).await;
        let (mut reads, mut writes) = tokio::io::split(stream);
        let _ = tokio::io::copy(&mut reads, &mut writes).await;
        return None;
    }
    let answer = b"HTTP/1.1 200 x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nold!";
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
    None
}

/// A server in the clear that shakes hands and answers each head of a request
/// with these frames, and then ends if it is told to. Nobody else could be so
/// rude. How many heads it had is counted.
pub(crate) fn rude(frames: &'static [u8], ends: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heads);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let counted = Arc::clone(&counted);
            thread::spawn(move || be_rude(stream, frames, ends, &counted));
        }
    });
    (address, heads)
}

fn be_rude(mut stream: TcpStream, frames: &[u8], ends: bool, heads: &AtomicUsize) -> Option<()> {
    stream.read_exact(&mut [0; 24]).ok()?;
    stream.write_all(SETTINGS).ok()?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; usize::try_from(length).unwrap()]).ok()?;
        if head[3] == HEADERS {
            heads.fetch_add(1, Ordering::Relaxed);
            // Of the stream that it is about, where the frame is of one.
            let mut frames = frames.to_vec();
            if frames.get(3) == Some(&RST_STREAM) {
                frames[5..9].copy_from_slice(&head[5..9]);
            }
            stream.write_all(&frames).ok()?;
            if ends {
                return None;
            }
        }
    }
}

const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;

/// It says goodbye and has looked at no stream.
pub(crate) const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// `REFUSED_STREAM`, `INTERNAL_ERROR` and `HTTP_1_1_REQUIRED`, of a stream that is
/// filled in.
pub(crate) const REFUSED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 0, 7];
pub(crate) const FAILED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 0, 2];
pub(crate) const HTTP_1_1_REQUIRED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 0, 13];

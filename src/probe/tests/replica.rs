//! Servers that answer health checks as a test wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// A server whose answers a test changes as it goes.
pub(super) struct Replica {
    pub(super) address: SocketAddr,
    pub(super) status: watch::Sender<u16>,
    /// It takes requests and does not answer them.
    pub(super) silent: watch::Sender<bool>,
    /// The last request.
    pub(super) asked: watch::Receiver<String>,
    open: watch::Receiver<usize>,
    answered: Arc<AtomicUsize>,
}

impl Replica {
    pub(super) async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (status, statuses) = watch::channel(status);
        let (silent, silence) = watch::channel(false);
        let (asking, asked) = watch::channel(String::new());
        let (opening, open) = watch::channel(0);
        let answered = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&answered);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                // As it is when the request comes, not when it is answered.
                let status = *statuses.borrow();
                let mut silence = silence.clone();
                let (asking, opening, counted) =
                    (asking.clone(), opening.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    opening.send_modify(|open| *open += 1);
                    asking.send_replace(request(&mut stream).await);
                    let _ = silence.wait_for(|silent| !silent).await;
                    let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\nup");
                    let _ = stream.write_all(answer.as_bytes()).await;
                    counted.fetch_add(1, Ordering::Relaxed);
                    opening.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { address, status, silent, asked, open, answered }
    }

    pub(super) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) async fn until_open(&self, count: usize) {
        self.open.clone().wait_for(|open| *open >= count).await.unwrap();
    }

    pub(super) async fn until_answered(&self, count: usize) {
        let mut open = self.open.clone();
        while self.answered() < count {
            timeout(Duration::from_secs(10), open.changed()).await.unwrap().unwrap();
        }
    }
}

async fn request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A server that says this to whoever has asked, and closes unless it stays.
pub(super) async fn speaking(words: &[u8]) -> SocketAddr {
    speaking_on(words, false).await
}

pub(super) async fn speaking_on(words: &[u8], stays: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, words) = (listener.local_addr().unwrap(), words.to_vec());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(&words).await;
        if stays {
            std::future::pending::<()>().await;
        }
    });
    address
}

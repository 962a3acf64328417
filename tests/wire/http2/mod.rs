//! HTTP/2 clients: what they ask reaches replicas, and what they must not do.

mod bodies;
mod heads;
mod limits;
mod raw;
mod websocket;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{Backend, Balancer};
use crate::support::client::tls;

/// A balancer that serves https before these replicas.
fn before(backend: &Backend) -> Balancer {
    let pool = format!("web={}", backend.address);
    let flags = ["--pool", &pool, "--https", "127.0.0.1:0", "--access-log", "json"];
    let balancer = Balancer::start(&flags);
    balancer.logged("Replica ready");
    balancer
}

fn https(balancer: &Balancer) -> SocketAddr {
    let line = balancer.logged("Evenkeel serves");
    let (_, rest) = line.split_once("https=\"").unwrap();
    rest.split('"').next().unwrap().parse().unwrap()
}

async fn secured(balancer: &Balancer) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(https(balancer)).await.unwrap();
    tls::shake_hands(&tls::connector(b"h2"), stream).await.unwrap()
}

/// A client whose connection is kept going beside the test.
async fn client(balancer: &Balancer) -> SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    builder.max_concurrent_reset_streams(1000);
    let (client, connection) = builder.handshake(secured(balancer).await).await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

/// A request without a body.
async fn ask(client: &SendRequest<Bytes>, request: Request<()>) -> ResponseFuture {
    client.clone().ready().await.unwrap().send_request(request, true).unwrap().0
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("https://shop.example{path}")).body(()).unwrap()
}

/// All of an answer, and its trailers.
async fn whole(response: Response<RecvStream>) -> (Vec<u8>, Option<HeaderMap>) {
    let (mut body, mut all) = (response.into_body(), Vec::new());
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        all.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.unwrap();
    (all, trailers)
}

/// Asks for a page in the usual way, and fails unless that is answered.
async fn is_served(balancer: &Balancer) {
    let client = client(balancer).await;
    let response = ask(&client, get("/well")).await.await.unwrap();
    assert_eq!(response.status(), 200);
    whole(response).await;
}

/// Runs a test of several connections, within a bound.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.unwrap() })
}

const PATIENCE: Duration = Duration::from_secs(30);

//! What becomes of answers.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::{self, Key};
use crate::tls::acme::failure::Failure;

fn client(directory: &str) -> Client {
    let flags = [(Key::AcmeDirectory, directory.to_owned())];
    let none = |_: &std::path::Path| Err(io::ErrorKind::NotFound.into());
    let config = config::load(&flags, &Default::default(), &none).unwrap();
    Client::new(&config.acme.directory, None)
}

/// What comes of one request to a server that answers so.
async fn asked(answer: Vec<u8>) -> Result<BytesResponse, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let directory = format!("http://{}/dir", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let _ = stream.write_all(&answer).await;
    });
    let request = Request::get(directory.as_str()).body(BodyWrapper::default()).unwrap();
    client(&directory).request(request).await.map_err(Failure::from)
}

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn problem(kind: &str) -> String {
    format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"because"}}"#)
}

#[tokio::test]
async fn an_answer_is_read_to_its_end_within_a_bound() {
    let mut good = asked(answer("200 OK", "{}")).await.unwrap();
    assert_eq!(good.body.into_bytes().await.unwrap(), "{}");
    let most = " ".repeat(ANSWER_BYTES_MAX);
    assert!(asked(answer("200 OK", &most)).await.is_ok());
    let more = " ".repeat(ANSWER_BYTES_MAX + 1);
    let Err(Failure::Unreachable(words)) = asked(answer("200 OK", &more)).await else { panic!() };
    assert!(words.contains("cannot be read"), "{words}");
}

#[tokio::test]
async fn a_refusal_is_told_by_what_it_says() {
    let limited = |retry_after| Some(Failure::Limited { words: "because".to_owned(), retry_after });
    let said = problem("rateLimited");
    let seconds = "429 Too Many Requests\r\nRetry-After: 77";
    assert_eq!(asked(answer(seconds, &said)).await.err(), limited(Some(Duration::from_secs(77))));
    assert_eq!(asked(answer("400 Bad Request", &said)).await.err(), limited(None));
    for head in ["404 Not Found", "503 Service Unavailable", "301 Moved Permanently"] {
        let failure = asked(answer(head, "<html>")).await.err();
        assert!(matches!(failure, Some(Failure::Unreachable(_))), "{head}: {failure:?}");
    }
    let failure = asked(answer("403 Forbidden", &problem("unauthorized"))).await.err().unwrap();
    assert_eq!(failure.to_string(), "the authority does not issue it: because");
}

#[tokio::test]
async fn a_bad_nonce_is_left_to_who_can_take_another() {
    let passed = asked(answer("400 Bad Request", &problem("badNonce"))).await.unwrap();
    assert_eq!(passed.parts.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_directory_with_tls_leads_nowhere_without() {
    let client = client("https://acme.example.com/directory");
    let request = Request::get("http://127.0.0.1:1/order").body(BodyWrapper::default()).unwrap();
    let failure = client.request(request).await.err().map(Failure::from).unwrap();
    assert!(failure.to_string().contains("is no URL that we may ask"), "{failure}");
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
    for (value, expected) in [
        ("120", Some(120)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
        ("Sun, 06 Nov 1994 08:00:00 GMT", None),
        ("soon", None),
    ] {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
        assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{value}");
    }
}

//! HTTP to an ACME directory: a connection for each request, every wait and
//! every answer bounded.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::config::Directory;
use crate::tls::acme::failure::{clean, words};
use crate::tls::{roots, wall_clock};

/// Speaks to one directory, and to nobody without TLS unless the directory
/// itself is asked without.
#[derive(Clone)]
pub(super) struct Client {
    authorities: Option<Arc<RootCertStore>>,
    /// Made by the first who needs it.
    tls: Arc<OnceCell<TlsConnector>>,
    /// The directory has no TLS, which the settings allow only nearby.
    is_clear: bool,
}

/// Why there is no answer to go on with.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("nobody can be trusted: {0}")]
    Trust(rustls::Error),
    #[error("`{0}` is no URL that we may ask")]
    Url(String),
    #[error("cannot look up `{host}`: {source}")]
    Lookup { host: String, source: io::Error },
    #[error("cannot connect to `{authority}`: {source}")]
    Connect { authority: String, source: io::Error },
    #[error("the TLS handshake with `{authority}` failed: {source}")]
    Handshake { authority: String, source: io::Error },
    #[error("the connection to `{authority}` broke: {source}")]
    Broken { authority: String, source: hyper::Error },
    #[error("the answer of `{authority}` cannot be read: {words}")]
    Unread { authority: String, words: String },
    #[error("`{authority}` has not answered in {TIME_MAX:?}")]
    Late { authority: String },
    /// It answers, and does not do it.
    #[error("{words}")]
    Refused {
        status: StatusCode,
        /// The type of the problem (RFC 8555, section 6.7).
        kind: Option<String>,
        words: String,
        retry_after: Option<Duration>,
    },
}

impl Trouble {
    /// Until the same request may fare better; none if it never will.
    pub(super) fn passes_in(&self) -> Option<Duration> {
        match self {
            Self::Lookup { .. }
            | Self::Connect { .. }
            | Self::Handshake { .. }
            | Self::Broken { .. }
            | Self::Unread { .. }
            | Self::Late { .. } => Some(Duration::ZERO),
            Self::Refused { status, retry_after, .. } => {
                status.is_server_error().then(|| retry_after.unwrap_or_default())
            }
            Self::Trust(_) | Self::Url(_) => None,
        }
    }
}

impl Client {
    /// Trusts `authorities`, else those that the system trusts. Asks and reads
    /// nothing yet.
    pub(super) fn new(directory: &Directory, authorities: Option<Arc<RootCertStore>>) -> Self {
        let is_clear = directory.as_str().starts_with("http://");
        Self { authorities, tls: Arc::default(), is_clear }
    }

    async fn tls(&self) -> Result<&TlsConnector, Trouble> {
        let authorities = self.authorities.clone();
        let making = || async {
            let made = spawn_blocking(move || connector(authorities)).await;
            made.unwrap_or_else(|_| Err(rustls::Error::General("broke off".to_owned())))
        };
        self.tls.get_or_try_init(making).await.map_err(Trouble::Trust)
    }

    async fn ask(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<(http::response::Parts, Bytes), Trouble> {
        let uri = request.uri().clone();
        let bad = || Trouble::Url(clean(&uri.to_string()));
        let encrypted = uri.scheme() == Some(&Scheme::HTTPS);
        let host = uri.host().filter(|_| encrypted || self.is_clear).ok_or_else(bad)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let authority = uri.authority().map_or_else(String::new, ToString::to_string);
        let deadline = Instant::now() + TIME_MAX;
        let asking = async {
            let stream = connect(host, port, &authority).await?;
            if !encrypted {
                return exchange(stream, request, &authority).await;
            }
            let name = ServerName::try_from(host.to_owned()).map_err(|_| bad())?;
            let failed = |source| Trouble::Handshake { authority: authority.clone(), source };
            let stream = Box::pin(self.tls().await?.connect(name, stream)).await.map_err(failed)?;
            exchange(stream, request, &authority).await
        };
        let late = |_| Trouble::Late { authority: authority.clone() };
        timeout_at(deadline, asking).await.map_err(late)?
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let answered = client.ask(request).await.and_then(|(parts, body)| {
                match refusal(parts.status, &parts.headers, &body) {
                    Some(refused) => Err(refused),
                    None => Ok(BytesResponse { parts, body: Box::new(body) }),
                }
            });
            answered.map_err(|trouble| Error::Other(Box::new(trouble)))
        })
    }
}

fn connector(authorities: Option<Arc<RootCertStore>>) -> Result<TlsConnector, rustls::Error> {
    let roots = authorities.unwrap_or_else(roots);
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Tries one address after the other, so that a dead one costs only its share.
async fn connect(host: &str, port: u16, authority: &str) -> Result<TcpStream, Trouble> {
    let found = lookup_host((host, port)).await;
    let found = found.map_err(|source| Trouble::Lookup { host: clean(host), source })?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in found.take(ADDRESSES_MAX) {
        match timeout(CONNECT_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(failed)) => last = failed,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(Trouble::Connect { authority: authority.to_owned(), source: last })
}

async fn exchange<S>(
    stream: S,
    mut request: Request<BodyWrapper<Bytes>>,
    authority: &str,
) -> Result<(http::response::Parts, Bytes), Trouble>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let bad = || Trouble::Url(clean(&request.uri().to_string()));
    let host = HeaderValue::try_from(authority).map_err(|_| bad())?;
    let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
    let target: Uri = path.parse().map_err(|_| bad())?;
    *request.uri_mut() = target;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(OUR_NAME));
    let broken = |source| Trouble::Broken { authority: authority.to_owned(), source };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let asking = async {
        let response: Response<_> = sender.send_request(request).await.map_err(broken)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|source| {
            let words = clean(&source.to_string());
            Trouble::Unread { authority: authority.to_owned(), words }
        })?;
        Ok((parts, body.to_bytes()))
    };
    // The connection is driven here and ends with its one exchange.
    tokio::pin!(connection);
    tokio::select! {
        biased;
        answered = asking => answered,
        Err(source) = &mut connection => Err(broken(source)),
    }
}

/// What an answer that is no success says. A bad nonce is left to the one who
/// asked, who has a new one by now (RFC 8555, section 6.5).
fn refusal(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Option<Trouble> {
    if status.is_success() {
        return None;
    }
    let said = serde_json::from_slice::<Problem>(body).ok().filter(|said| said.r#type.is_some());
    let kind = said.as_ref().and_then(|it| it.r#type.clone());
    if kind.as_deref() == Some(BAD_NONCE) && status == StatusCode::BAD_REQUEST {
        return None;
    }
    let words = match &said {
        Some(said) => words(said),
        None => format!("it answers {}", status.as_u16()),
    };
    Some(Trouble::Refused { status, kind, words, retry_after: retry_after(headers, wall_clock()) })
}

/// RFC 9110, section 10.2.3: seconds or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(value).ok()?.duration_since(now).ok()
}

pub(super) const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";

/// For one request, from the look at the name to the last byte of the answer.
const TIME_MAX: Duration = Duration::from_secs(30);

/// For one address of several.
const CONNECT_MAX: Duration = Duration::from_secs(8);
const ADDRESSES_MAX: usize = 8;

/// A chain of certificates has a few thousand.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// RFC 8555, section 6.1, wants both the client and its library to be named.
const OUR_NAME: &str = concat!("evenkeel/", env!("CARGO_PKG_VERSION"), " instant-acme/0.8");

#[cfg(test)]
mod tests;

//! Settings, checked once at start.
//!
//! [`SETTINGS`] is the one table; [`load`] reads the layers and reports every
//! mistake of all of them at once.

mod access_log;
mod acme;
mod docker;
mod documentation;
mod file;
mod layer;
mod load;
mod mistake;
mod setting;
mod settings;
mod sticky;
mod tls;
mod token;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use access_log::{AccessLogFormat, AccessLogQuery, AccessLogSettings, PARAMETER_BYTES_MAX};
pub use acme::{Acme, Binding, ChallengeChoice, Directory};
pub use documentation::{documentation, example};
pub use load::{Client, ReadFile, Reading, load, load_admin, load_client, read};
pub use mistake::{Mistake, Place};
pub use setting::{Absent, Arity, Setting};
pub use settings::{Key, SETTINGS};
pub use tls::{PairFiles, TlsSettings};
pub use token::Token;

use crate::domain::labels::{LabelSettings, Served};
use crate::domain::names::PoolName;
use crate::domain::pool::StickyKey;

/// Everything that can be set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where HTTP is served.
    pub http: Vec<EntryPoint>,
    /// Where HTTPS is served.
    pub https: Vec<EntryPoint>,
    /// The certificates for it.
    pub tls: TlsSettings,
    /// Where health, metrics and the API are served.
    pub admin: SocketAddr,
    /// Who sends it may read and change everything there.
    pub admin_token: Option<Token>,
    /// Who else may read everything there.
    pub admin_allow: Vec<IpNet>,
    /// None: no Docker (`--docker off`).
    pub docker: Option<DockerAddress>,
    /// Pools written down rather than found.
    pub pools: Vec<StaticPool>,
    /// Threads of the data plane; none: one per CPU that we may use.
    pub workers: Option<NonZeroUsize>,
    /// The uid to drop to once the listeners are bound.
    pub user: Option<u32>,
    /// Where is kept what must survive a restart.
    pub state: PathBuf,
    pub labels: LabelSettings,
    /// Whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where clients reach our https, for redirects to it.
    pub https_public_port: u16,
    /// How long a client's connection may rest between requests.
    pub keep_alive: Duration,
    /// Signs the cookies by which clients come back; none: a random one.
    pub sticky_key: Option<StickyKey>,
    /// Whose connections begin with a PROXY header.
    pub proxy_protocol: Vec<IpNet>,
    /// Connections that one client may hold at once; none: any number.
    pub connections_per_client: Option<u32>,
    /// What we may hold of memory, in bytes; none: what we are granted.
    pub memory_limit: Option<u64>,
    /// Whether each pool answers at `<pool>.localhost` too.
    pub localhost: bool,
    /// Whether metrics come under Traefik's names too.
    pub metrics_traefik: bool,
    /// From whom certificates are asked, where a pool wants one.
    pub acme: Acme,
    /// What is logged, as a `tracing` filter: `info`, `evenkeel=debug`.
    pub log: String,
    pub access_log: AccessLogSettings,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// An address where clients come in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntryPoint {
    /// As labels call it, in lower case.
    pub name: Arc<str>,
    pub address: SocketAddr,
}

/// How to reach the Docker Engine API, as the Docker CLI would.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DockerAddress {
    Unix(PathBuf),
    /// IPv6 addresses stand without brackets.
    Tcp {
        host: String,
        port: u16,
    },
    /// `ca.pem`, `cert.pem` and `key.pem` stand in `certificates`.
    Tls {
        host: String,
        port: u16,
        certificates: PathBuf,
        verify: bool,
    },
}

/// A pool without containers. Its rule and settings are labels too, without
/// their prefix.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StaticPool {
    pub name: PoolName,
    pub servers: Vec<Server>,
    pub labels: BTreeMap<String, String>,
}

/// A server to be resolved. IPv6 addresses stand without brackets.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Server {
    pub host: Arc<str>,
    pub port: u16,
}

impl Config {
    /// What labels may ask for of it.
    fn served(&self) -> Served {
        let names = self.http.iter().chain(&self.https).map(|it| Arc::clone(&it.name));
        Served {
            entry_points: names.collect(),
            https: !self.https.is_empty(),
            client_ca: self.tls.client_ca.is_some(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self {
            http: vec![EntryPoint { name: "http".into(), address: ([0, 0, 0, 0], 80).into() }],
            https: Vec::new(),
            tls: TlsSettings::default(),
            admin: ([127, 0, 0, 1], 9090).into(),
            admin_token: None,
            admin_allow: Vec::new(),
            docker: Some(DockerAddress::default()),
            pools: Vec::new(),
            workers: None,
            user: None,
            state: "/var/lib/evenkeel".into(),
            labels: LabelSettings::default(),
            trusted_proxies: Vec::new(),
            https_public_port: 443,
            keep_alive: Duration::from_secs(75),
            sticky_key: None,
            proxy_protocol: Vec::new(),
            connections_per_client: Some(CONNECTIONS_PER_CLIENT),
            memory_limit: None,
            localhost: true,
            metrics_traefik: false,
            acme: Acme::default(),
            log: "info".to_owned(),
            access_log: AccessLogSettings::default(),
            file: None,
        };
        config.labels.served = Some(config.served());
        config
    }
}

impl Default for DockerAddress {
    /// Where the engine listens unless told otherwise.
    fn default() -> Self {
        Self::Unix("/var/run/docker.sock".into())
    }
}

/// Beyond what the people behind one address need, and far below what all may
/// hold.
const CONNECTIONS_PER_CLIENT: u32 = 16_384;

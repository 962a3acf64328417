//! The only place that knows every part: wiring, tasks, shutdown.

mod certificates;
mod check;
mod limits;
mod pressure;
mod privileges;
mod shutdown;

use std::future::{Future, pending};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, SystemTime};

pub use check::{check_docker, with_files};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::admin::{self, Access, Admin, Edge};
use crate::app::privileges::Dropped;
use crate::app::shutdown::Signals;
use crate::config::{Config, DockerAddress};
use crate::control::{Control, Operator, Overview};
use crate::discovery;
use crate::domain::labels::LabelSettings;
use crate::domain::names::SourceName;
use crate::domain::pool::StickyKey;
use crate::domain::problem::{Problem, Subject};
use crate::domain::routing::RoutingTable;
use crate::domain::world::Report;
use crate::live::{self, Alarm};
use crate::probe::Prober;
use crate::proxy::{self, BindError, Crowd, EntryPoint, Listening, Parts, Verifier, Workers};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::log;
use crate::telemetry::metrics::Counters;
use crate::tls::acme::Challenges;
use crate::tls::{Files, Store, Unmade, wall_clock};

/// Why the balancer could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("cannot serve")]
    Bind(#[from] BindError),
    #[error("cannot start the log")]
    Log(#[from] log::InvalidFilter),
    #[error("cannot draw random bits")]
    Random(#[from] aws_lc_rs::error::Unspecified),
    #[error("cannot make a certificate")]
    Certificate(#[source] Unmade),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("`{0}` ended, which it never should")]
    TaskEnded(&'static str),
}

/// Runs the balancer until it is asked to stop.
pub fn run(config: &Config) -> ExitCode {
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            // The log may not be there yet, and a person waits for this line.
            let _ = writeln!(io::stderr(), "evenkeel: {}", log::Chain(&failed));
            ExitCode::FAILURE
        }
    }
}

/// The order matters: ports are bound as root, root is given up before any
/// thread exists, and threads inherit what is left.
fn start(config: &Config) -> Result<(), Failed> {
    log::start(&config.log)?;
    let workers = config.workers.or_else(|| available_parallelism().ok());
    let workers = workers.map_or(1, NonZeroUsize::get);
    let listeners = bind(config, workers)?;
    let admin = proxy::bind(config.admin, 1)?;
    let labels = LabelSettings {
        listeners: bound(sockets(listeners.iter().flatten()).chain(&admin)),
        ..config.labels.clone()
    };
    let first = || listeners.first().into_iter().flatten();
    let http = addresses(sockets(first().filter(|it| !it.entry.tls)));
    let https = addresses(sockets(first().filter(|it| it.entry.tls)));
    let admin_address = addresses(&admin);
    let (store, files) = tls(config)?.unzip();
    let notes = give_up_root(config);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("control")
        .build()
        .map_err(Failed::Runtime)?;
    let access_log = AccessLog::start(&config.access_log, io::stdout()).map_err(Failed::Thread)?;
    let sticky_key = config.sticky_key.clone().map_or_else(random_key, Ok)?;
    let (publisher, reader) = live::channel(RoutingTable::new(config.localhost, sticky_key));
    let alarm = Alarm::default();
    let counters = Arc::new(Counters::new(proxy::REASONS, proxy::FAILURES));
    let parts = Parts {
        reader,
        alarm: alarm.clone(),
        access_log,
        pressure: Arc::clone(&counters.pressure),
        counters,
        crowd: config.connections_per_client.map(|most| Arc::new(Crowd::new(most))),
        trusted_proxies: config.trusted_proxies.clone().into(),
        https_public_port: config.https_public_port,
        keep_alive: config.keep_alive,
        tls: store,
        challenges: Challenges::default(),
        passwords: Verifier::new()?,
        proxy_protocol: config.proxy_protocol.clone().into(),
        epoch: Instant::now(),
        connections_max: limits::connections_max(workers),
    };
    let threads = Workers::start(listeners, &parts).map_err(Failed::Thread)?;
    let sources = sources(config);
    let (control, overview) = Control::new(labels, &sources, notes, publisher, alarm.clone());
    let control = control.paced(Arc::clone(&parts.counters.pace));
    let state = admin_state(config, overview, control.operator(), &parts);
    let (stop, stopping) = watch::channel(false);
    let outcome = runtime.block_on(async {
        let mut tasks = Tasks::default();
        let (reports, received) = mpsc::channel(REPORTS_MAX);
        discover(config, &mut tasks, &reports);
        if let Some(files) = files {
            tasks.spawn("certificate files", files.watch(reports.clone()));
        }
        let certified = certificates::keep(config, &parts, &mut tasks, &reports);
        // The control loop ends with its last source, and there may be none.
        let keep_reports_open = reports;
        let mut prober = Prober::new(alarm);
        let follow = move |table: &RoutingTable| {
            prober.follow(table);
            certified.follow(table);
        };
        let gauge = Arc::clone(&parts.pressure);
        tasks.spawn("memory", pressure::watch(config.memory_limit, gauge));
        tasks.spawn("control", control.run(received, stopping.clone(), follow));
        for listener in admin {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(Failed::Runtime)?;
            // It answers until the very end, so that a drain can be watched.
            tasks.spawn("admin", admin::serve(listener, state.clone(), pending()));
        }
        info!(version = VERSION, http, https, admin = admin_address, workers, "Evenkeel serves");
        let outcome = serve(threads, tasks, &stop).await;
        drop(keep_reports_open);
        outcome
    });
    // A look at a file system or at a name that hangs must not keep us.
    runtime.shutdown_background();
    parts.access_log.close(LOG_CLOSE);
    outcome
}

/// The long-lived tasks. Each is there for ever: one that ends stops the
/// process, so that nothing runs on as a ghost.
#[derive(Debug, Default)]
struct Tasks(JoinSet<&'static str>);

impl Tasks {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            task.await;
            name
        });
    }

    async fn ended(&mut self) -> &'static str {
        match self.0.join_next().await {
            Some(Ok(name)) => name,
            Some(Err(_)) => "a task that panicked",
            None => pending().await,
        }
    }
}

/// Serves until a signal comes, then drains.
async fn serve(
    mut threads: Workers,
    mut tasks: Tasks,
    stop: &watch::Sender<bool>,
) -> Result<(), Failed> {
    let mut signals = Signals::listen().map_err(Failed::Runtime)?;
    let signal = tokio::select! {
        signal = signals.next() => signal,
        name = tasks.ended() => return Err(Failed::TaskEnded(name)),
        () = threads.one_ended() => return Err(Failed::TaskEnded("worker")),
    };
    info!(deadline = ?shutdown::DEADLINE, "Stopping on {signal}: no new connections, open ones finish");
    stop.send_replace(true);
    threads.stop();
    tokio::select! {
        () = threads.all_ended() => info!("Stopped"),
        () = tokio::time::sleep(shutdown::DEADLINE) => warn!("Stopped with connections still open"),
        signal = signals.next() => warn!("Stopped at once on a second signal, {signal}"),
    }
    Ok(())
}

/// The certificates, where anything is served by TLS. Their files are read for
/// the first time, so that it must be done as root.
fn tls(config: &Config) -> Result<Option<(Arc<Store>, Files)>, Failed> {
    if config.https.is_empty() {
        return Ok(None);
    }
    let store = Store::new(config.tls.profile, config.tls.unknown_name);
    let store = Arc::new(store.map_err(Failed::Certificate)?);
    let mut files = Files::new(&config.tls, Arc::clone(&store));
    // They are told by the task that looks at the files from now on.
    let _problems = files.look(Instant::now(), wall_clock());
    Ok(Some((store, files)))
}

/// A key that signs cookies for as long as this process lives.
fn random_key() -> Result<StickyKey, Failed> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret)?;
    Ok(StickyKey::new(&secret))
}

/// For each worker the listeners of every address.
fn bind(config: &Config, workers: usize) -> Result<Vec<Vec<Listening>>, BindError> {
    let mut all: Vec<Vec<Listening>> = (0..workers).map(|_| Vec::new()).collect();
    for (tls, entry_points) in [(false, &config.http), (true, &config.https)] {
        for at in entry_points {
            let entry = Arc::new(EntryPoint { name: Arc::clone(&at.name), tls });
            for (worker, socket) in all.iter_mut().zip(proxy::bind(at.address, workers)?) {
                worker.push(Listening { socket, entry: Arc::clone(&entry) });
            }
        }
    }
    Ok(all)
}

/// Gives up root if that is asked for; where it cannot, that is a problem to be
/// shown and no reason to stop.
fn give_up_root(config: &Config) -> Vec<Problem> {
    let Some(uid) = config.user else { return Vec::new() };
    if !config.https.is_empty()
        && let Err(failed) = privileges::own(&config.state, uid)
    {
        // Whoever keeps something there tells it, if anybody does.
        debug!(error = %failed, state = %config.state.display(), "Cannot make the folder of state");
    }
    let socket = match &config.docker {
        Some(DockerAddress::Unix(path)) => Some(path.as_path()),
        Some(DockerAddress::Tcp { .. } | DockerAddress::Tls { .. }) | None => None,
    };
    match privileges::drop_to(uid, socket) {
        Dropped::To { uid, group } => {
            info!(uid, docker_group = group, "Gave up root");
            Vec::new()
        }
        Dropped::NotRoot => Vec::new(),
        Dropped::Refused(refused) => {
            let message =
                format!("cannot drop from root to user {uid}: {refused}; running as root");
            let hint = "keep the capabilities SETUID and SETGID (`cap_add: [SETUID, SETGID]`), or \
                        start it with `user:` and the socket's group in `group_add:`";
            vec![Problem::new(Subject::Setting, message, hint).about("user")]
        }
    }
}

fn sources(config: &Config) -> Vec<SourceName> {
    let docker = config.docker.as_ref().map(|_| SourceName::docker());
    let settings = (!config.pools.is_empty()).then(SourceName::settings);
    docker.into_iter().chain(settings).collect()
}

fn discover(config: &Config, tasks: &mut Tasks, reports: &mpsc::Sender<Report>) {
    let prefix = &config.labels.prefix;
    if let Some(address) = config.docker.clone() {
        let watch = discovery::docker::watch(address, Arc::clone(prefix), reports.clone());
        tasks.spawn("docker", watch);
    }
    if !config.pools.is_empty() {
        let pools = config.pools.clone();
        tasks
            .spawn("pools", discovery::settings::watch(pools, Arc::clone(prefix), reports.clone()));
    }
}

/// The addresses as bound, with the ports that were chosen for port 0.
fn addresses<'a>(sockets: impl IntoIterator<Item = &'a TcpListener>) -> String {
    let addresses = bound(sockets.into_iter());
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ")
}

fn sockets<'a>(
    listeners: impl Iterator<Item = &'a Listening>,
) -> impl Iterator<Item = &'a TcpListener> {
    listeners.map(|listening| &listening.socket)
}

fn bound<'a>(listeners: impl Iterator<Item = &'a TcpListener>) -> Vec<SocketAddr> {
    listeners.filter_map(|listener| listener.local_addr().ok()).collect()
}

#[expect(clippy::disallowed_methods, reason = "the metrics tell when the process started")]
fn admin_state(
    config: &Config,
    overview: watch::Receiver<Arc<Overview>>,
    operator: Operator,
    parts: &Parts,
) -> Admin {
    let entry_points = config.http.iter().chain(&config.https);
    Admin {
        overview,
        table: parts.reader.clone(),
        counters: Arc::clone(&parts.counters),
        access_log: parts.access_log.clone(),
        metrics_traefik: config.metrics_traefik,
        certificates: parts.tls.clone(),
        operator,
        access: Arc::new(Access {
            token: config.admin_token.clone(),
            allow: config.admin_allow.clone(),
        }),
        edge: Arc::new(Edge {
            label_prefix: Arc::clone(&config.labels.prefix),
            https_public_port: config.https_public_port,
            entry_points: entry_points.map(|it| Arc::clone(&it.name)).collect(),
        }),
        version: VERSION,
        started_at: SystemTime::now(),
        started: Instant::now(),
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

const REPORTS_MAX: usize = 64;

/// Time for the last lines of the access log to be written.
const LOG_CLOSE: Duration = Duration::from_secs(1);

//! `evenkeel whoami`: the demo backend.

mod answer;
mod door;
mod grpc;
mod options;
mod request_log;
mod websocket;
mod wish;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use clap::ArgMatches;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time;

pub(super) use grpc::GrpcHealth;
pub(super) use options::{OnTerm, body_size};

use crate::cli::print;
use crate::cli::whoami::answer::Whoami;
use crate::cli::whoami::door::{Door, Remote};
use crate::cli::whoami::options::Options;

pub(super) fn main(matches: &ArgMatches) -> ExitCode {
    let options = Options::read(matches);
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::complain(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: Options) -> io::Result<()> {
    // Before the delay, so that a signal meets us from the start.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut told = signal(SignalKind::terminate())?;
    let on_term = options.on_term;
    let startup = async {
        time::sleep(options.startup_delay).await;
        Door::open(options.port, options.tls, &options.name).await
    };
    let listener = tokio::select! {
        listener = startup => listener?,
        () = ended(&mut told, on_term) => return Ok(()),
        _ = interrupted.recv() => return Ok(()),
    };
    let whoami = Arc::new(Whoami::new(options.clone())?);
    print::say(format_args!("Listening on {} as {}", listener.local_addr()?, options.name));

    let router = Router::new().fallback(answer::answer).with_state(whoami);
    let service = router.into_make_service_with_connect_info::<Remote>();
    let draining = Arc::new(Notify::new());
    let begin = Arc::clone(&draining);
    let drain = async move {
        ended(&mut told, on_term).await;
        begin.notify_one();
    };
    let late = async {
        draining.notified().await;
        // Whoever exits waits for nobody.
        if on_term == OnTerm::Drain {
            time::sleep(DRAIN_MAX).await;
        }
    };
    tokio::select! {
        served = axum::serve(listener, service).with_graceful_shutdown(drain) => served,
        () = late => Ok(()),
        _ = interrupted.recv() => Ok(()),
    }
}

/// Ends on SIGTERM; never if it is to be ignored.
async fn ended(told: &mut Signal, on_term: OnTerm) {
    loop {
        // None: no signal can come any more, which is as good as being told.
        let heard = told.recv().await;
        if heard.is_none() || on_term != OnTerm::Ignore {
            return;
        }
    }
}

/// The longest delay that may be asked for.
pub(super) const DELAY_MAX: Duration = Duration::from_secs(3600);

/// Longer than any request may take that was asked to be slow.
const DRAIN_MAX: Duration = Duration::from_secs(3700);

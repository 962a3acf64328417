//! `evenkeel healthcheck`: for HEALTHCHECK in an image without a shell.

use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use http::StatusCode;

use crate::cli::fetch::Balancer;
use crate::cli::surroundings::{self, Surroundings};
use crate::cli::{arguments, finding};
use crate::config;

/// Says nothing but by its exit code, since it is asked every few seconds.
pub(super) fn main(matches: &ArgMatches, around: &Surroundings) -> ExitCode {
    let flags = arguments::flags(matches);
    match config::load_admin(&flags, &around.env, &surroundings::read_file) {
        Ok(admin) if is_well(admin) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(mistakes) => finding::refuse(mistakes),
    }
}

fn is_well(admin: std::net::SocketAddr) -> bool {
    let balancer = Balancer { admin, token: None, within: WITHIN };
    balancer.get("/healthz").is_ok_and(|answer| answer.status == StatusCode::OK)
}

/// Below the time-out of any HEALTHCHECK in use (Docker's default is 30 s).
const WITHIN: Duration = Duration::from_secs(2);

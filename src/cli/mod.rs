//! What a person types.

mod arguments;
mod check;
mod drain;
mod explain;
mod fetch;
mod finding;
mod healthcheck;
mod print;
mod status;
mod surroundings;
mod table;
mod top;
mod whoami;

use std::process::ExitCode;

use clap::ArgMatches;

use crate::app;
use crate::cli::drain::Wish;
use crate::cli::surroundings::Surroundings;
use crate::config;

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    let matches = match arguments::command().try_get_matches() {
        Ok(matches) => matches,
        Err(asked) => {
            // Nobody is left to tell if this cannot be printed.
            let _ = asked.print();
            return u8::try_from(asked.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    match matches.subcommand() {
        None => run(&matches),
        Some(("check", matches)) => check::main(matches, &Surroundings::read()),
        Some(("status", matches)) => status::main(matches, &Surroundings::read()),
        Some(("explain", matches)) => explain::main(matches, &Surroundings::read()),
        Some(("drain", matches)) => drain::main(Wish::Drain, matches, &Surroundings::read()),
        Some(("undrain", matches)) => drain::main(Wish::Undrain, matches, &Surroundings::read()),
        Some(("top", matches)) => top::main(matches, &Surroundings::read()),
        Some(("healthcheck", matches)) => healthcheck::main(matches, &Surroundings::read()),
        Some(("whoami", matches)) => whoami::main(matches),
        Some((_run, matches)) => run(matches),
    }
}

fn run(matches: &ArgMatches) -> ExitCode {
    let around = Surroundings::read();
    match config::load(&arguments::flags(matches), &around.env, &surroundings::read_file) {
        Ok(config) => app::run(&config),
        Err(mistakes) => finding::refuse(mistakes),
    }
}

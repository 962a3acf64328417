//! `evenkeel explain`: why a request goes where it goes, and why a container
//! gets requests or none.

mod text;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::view;
use crate::admin::view::explain::{Containers, Meant, Question, Request};
use crate::cli::explain::text::Marks;
use crate::cli::fetch::Balancer;
use crate::cli::status::Refused;
use crate::cli::surroundings::{self, Surroundings};
use crate::cli::{arguments, finding, print};
use crate::config;

pub(super) fn main(matches: &ArgMatches, around: &Surroundings) -> ExitCode {
    let flags = arguments::flags(matches);
    let client = match config::load_client(&flags, &around.env, &surroundings::read_file) {
        Ok(client) => client,
        Err(mistakes) => {
            finding::refuse(mistakes);
            return unanswered();
        }
    };
    let balancer = Balancer { admin: client.admin, token: client.token.as_ref(), within: WITHIN };
    let json = matches.get_flag("json");
    let no_color = around.env.get("NO_COLOR").is_some_and(|it| !it.is_empty());
    let marks = Marks::new(io::stdout().is_terminal() && !no_color);
    let told = match matches.get_one::<String>("container") {
        Some(name) => {
            let told =
                ask::<_, Containers>(balancer, CONTAINER_PATH, &Meant { name: name.clone() });
            told.map(|(json, told)| {
                let served = told.containers.iter().any(|it| it.served);
                (json, text::containers(&told, marks), served)
            })
        }
        None => question(matches).and_then(|question| {
            let told = ask::<_, Request>(balancer, REQUEST_PATH, &question);
            told.map(|(json, told)| (json, text::request(&told, marks), told.served))
        }),
    };
    match told {
        Ok((raw, text, served)) => {
            print::say(if json { raw } else { text });
            if served { ExitCode::SUCCESS } else { NOT_SERVED }
        }
        Err(Failed { unknown, refused: (message, hint) }) => {
            print::refuse(&message, &hint);
            if unknown { NOT_SERVED } else { unanswered() }
        }
    }
}

/// Why there is nothing to print.
struct Failed {
    /// What is asked about does not exist, which is an answer too.
    unknown: bool,
    refused: Refused,
}

impl Failed {
    fn of(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { unknown: false, refused: (message.into(), hint.into()) }
    }
}

fn question(matches: &ArgMatches) -> Result<Question, Failed> {
    let one = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let all = |name: &str| matches.get_many::<String>(name).into_iter().flatten();
    let mut headers = Vec::new();
    for written in all("header") {
        let Some((name, value)) = written.split_once(':') else {
            let message = format!("`{written}` is no header: it has no colon");
            return Err(Failed::of(message, "write it as `-H 'Name: value'`"));
        };
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let cookies: Vec<_> = all("cookie").map(String::as_str).collect();
    if !cookies.is_empty() {
        headers.push(("Cookie".to_owned(), cookies.join("; ")));
    }
    Ok(Question {
        url: one("url"),
        method: one("method"),
        headers,
        client: one("client"),
        entry_point: one("entrypoint"),
    })
}

/// The answer as it came, and as it is understood.
fn ask<Q: Serialize, A: DeserializeOwned>(
    balancer: Balancer<'_>,
    path: &str,
    question: &Q,
) -> Result<(String, A), Failed> {
    let json = serde_json::to_vec(question).map_err(|error| Failed::of(error.to_string(), ""))?;
    let answer =
        balancer.post(path, json).map_err(|error| Failed::of(error.to_string(), error.hint()))?;
    let url = balancer.url(path);
    if answer.status != StatusCode::OK {
        return Err(match serde_json::from_slice::<view::Refused>(&answer.body) {
            Ok(refused) if !refused.message.is_empty() => Failed {
                unknown: answer.status == StatusCode::NOT_FOUND,
                refused: (refused.message, refused.hint),
            },
            Ok(_) | Err(_) => {
                Failed::of(format!("{url} answered {}", answer.status), answer.hint("explain URL"))
            }
        });
    }
    let foreign = || {
        let hint = "see that --admin names the admin port of a balancer, not a port that it serves";
        Failed::of(format!("{url} did not answer with an explanation"), hint)
    };
    let told = serde_json::from_slice(&answer.body).map_err(|_| foreign())?;
    let raw = String::from_utf8(answer.body.to_vec()).map_err(|_| foreign())?;
    Ok((raw.trim_end().to_owned(), told))
}

/// Nobody answers, or the question cannot be understood; as for wrong use of the
/// command line.
fn unanswered() -> ExitCode {
    ExitCode::from(2)
}

const REQUEST_PATH: &str = "/api/v1/explain";

const CONTAINER_PATH: &str = "/api/v1/explain/container";

const WITHIN: Duration = Duration::from_secs(5);

const NOT_SERVED: ExitCode = ExitCode::FAILURE;

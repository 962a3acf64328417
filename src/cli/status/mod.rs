//! `evenkeel status`: what a running balancer serves, and what is wrong.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::ArgMatches;
use http::StatusCode;

use crate::admin::view::{Certificate, Pool, Problem, Replica, Source, Status};
use crate::cli::fetch::Balancer;
use crate::cli::print::clean;
use crate::cli::surroundings::{self, Surroundings};
use crate::cli::table::Table;
use crate::cli::{arguments, finding, print};
use crate::config;

/// What is wrong, and what to do.
pub(super) type Refused = (String, String);

pub(super) fn main(matches: &ArgMatches, around: &Surroundings) -> ExitCode {
    let flags = arguments::flags(matches);
    let client = match config::load_client(&flags, &around.env, &surroundings::read_file) {
        Ok(client) => client,
        Err(mistakes) => return finding::refuse(mistakes),
    };
    let balancer = Balancer { admin: client.admin, token: client.token.as_ref(), within: WITHIN };
    match ask(balancer, matches.get_flag("json")) {
        Ok(text) => {
            print::say(text);
            ExitCode::SUCCESS
        }
        Err((message, hint)) => print::refuse(&message, &hint),
    }
}

/// The status as it is printed, or what is wrong and what to do.
fn ask(balancer: Balancer<'_>, json: bool) -> Result<String, Refused> {
    let answer = fetched(balancer)?;
    if json {
        let text = String::from_utf8(answer.to_vec()).map_err(|_| foreign(balancer))?;
        return Ok(text.trim_end().to_owned());
    }
    let status: Status = serde_json::from_slice(&answer).map_err(|_| foreign(balancer))?;
    Ok(shown(&status))
}

/// What runs there now.
pub(super) fn current(balancer: Balancer<'_>) -> Result<Status, Refused> {
    serde_json::from_slice(&fetched(balancer)?).map_err(|_| foreign(balancer))
}

fn fetched(balancer: Balancer<'_>) -> Result<Bytes, Refused> {
    let answer =
        balancer.get(PATH).map_err(|error| (error.to_string(), error.hint().to_owned()))?;
    if answer.status != StatusCode::OK {
        let message = format!("{} answered {}", balancer.url(PATH), answer.status);
        return Err((message, answer.hint("status")));
    }
    Ok(answer.body)
}

fn foreign(balancer: Balancer<'_>) -> Refused {
    let hint = "see that --admin names the admin port of a balancer, not a port that it serves";
    (format!("{} did not answer with a status", balancer.url(PATH)), hint.to_owned())
}

fn shown(status: &Status) -> String {
    let stopping = if status.stopping { ", stopping" } else { "" };
    let version = clean(&status.version);
    let mut lines = vec![format!("Evenkeel {version}, table {}{stopping}", status.generation)];
    lines.push(String::new());
    if !status.sources.is_empty() {
        lines.extend(source_lines(&status.sources));
        lines.push(String::new());
    }
    if status.pools.is_empty() {
        lines.push("No pools: nothing that we see carries our labels.".to_owned());
        lines.push(String::new());
    }
    for pool in &status.pools {
        lines.extend(pool_lines(pool));
        lines.push(String::new());
    }
    if !status.certificates.is_empty() {
        lines.extend(certificate_lines(&status.certificates));
        lines.push(String::new());
    }
    if status.access_log_dropped > 0 {
        let lost = finding::counted(status.access_log_dropped as usize, "line");
        lines.push(format!("Access log: {lost} lost, since stdout is read too slowly"));
        lines.push(String::new());
    }
    lines.extend(problem_lines(&status.problems));
    lines.join("\n")
}

fn source_lines(sources: &[Source]) -> Vec<String> {
    let mut table = Table::new(0, &["SOURCE", "STATE", "SEEN", "DETAIL"]);
    for source in sources {
        let state = if source.connected { "connected" } else { "away" };
        let age = source.age_seconds.map_or_else(|| "never".to_owned(), age);
        table.row([source.name.clone(), state.to_owned(), age, source.detail.clone()]);
    }
    let mut lines = table.lines();
    let hints = sources.iter().map(|source| clean(&source.hint)).filter(|hint| !hint.is_empty());
    lines.extend(hints.map(|hint| format!("  hint: {hint}")));
    lines
}

fn pool_lines(pool: &Pool) -> Vec<String> {
    let rule = if pool.rule.text.is_empty() { "any request" } else { &pool.rule.text };
    let [label, state, policy, rule] = [&pool.label, &pool.state, &pool.policy, rule].map(clean);
    let waiting = match pool.waiting {
        0 => String::new(),
        count => format!(", {} waiting", finding::counted(count as usize, "request")),
    };
    let mut lines = vec![format!("Pool {label}: {state}, {policy}, {rule}{waiting}")];
    if pool.replicas.is_empty() {
        lines.push("  no replicas".to_owned());
        return lines;
    }
    let heading =
        ["REPLICA", "STATE", "ADDRESS", "WEIGHT", "IN FLIGHT", "REQUESTS", "FAILURES", "REASON"];
    let mut table = Table::new(2, &heading);
    for replica in &pool.replicas {
        table.row(cells(replica));
    }
    lines.extend(table.lines());
    lines
}

fn cells(replica: &Replica) -> [String; 8] {
    let backup = if replica.backup { " (backup)" } else { "" };
    [
        replica.name.clone(),
        replica.state.clone(),
        address(replica),
        format!("{}{backup}", replica.weight),
        replica.in_flight.to_string(),
        replica.requests.to_string(),
        replica.failures.to_string(),
        replica.reason.clone(),
    ]
}

/// With the scheme, where it is not plain http.
fn address(replica: &Replica) -> String {
    match (&replica.address, replica.scheme.as_str()) {
        (None, _) => "none".to_owned(),
        (Some(address), "" | "http") => address.clone(),
        (Some(address), scheme) => format!("{scheme}://{address}"),
    }
}

fn certificate_lines(certificates: &[Certificate]) -> Vec<String> {
    let heading = ["CERTIFICATE", "ORIGIN", "EXPIRES", "DAYS LEFT", "RENEWS", "PROBLEM"];
    let mut table = Table::new(0, &heading);
    for certificate in certificates {
        let names = match &certificate.names[..] {
            [] => "no name".to_owned(),
            names => names.join(" "),
        };
        let default = if certificate.default { " (default)" } else { "" };
        table.row([
            format!("{names}{default}"),
            certificate.file.clone().unwrap_or_else(|| certificate.origin.clone()),
            certificate.not_after.clone().unwrap_or_else(|| "none yet".to_owned()),
            certificate.days_left.map(|days| days.to_string()).unwrap_or_default(),
            certificate.renews_at.clone().unwrap_or_default(),
            certificate.problem.clone().unwrap_or_default(),
        ]);
    }
    table.lines()
}

fn problem_lines(problems: &[Problem]) -> Vec<String> {
    if problems.is_empty() {
        return vec!["No problems.".to_owned()];
    }
    let mut lines = vec![format!("{}:", finding::counted(problems.len(), "problem"))];
    for problem in problems {
        lines.push(format!("  {}: {}", clean(&problem.subject), clean(&problem.message)));
        if !problem.hint.is_empty() {
            lines.push(format!("    hint: {}", clean(&problem.hint)));
        }
    }
    lines
}

/// `3s ago`, in whole seconds.
fn age(seconds: f64) -> String {
    // What is no duration (negative, NaN) is shown as just now.
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    format!("{} ago", humantime::format_duration(Duration::from_secs(whole)))
}

const PATH: &str = "/api/v1/status";

const WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_replicas_and_problems_are_told_in_columns() {
        let status: Status = serde_json::from_str(
            r#"{
              "version": "0.1.0", "generation": 7,
              "sources": [{"name": "docker", "connected": true, "age_seconds": 2.4,
                           "detail": "Docker 28.5.2", "hint": ""}],
              "pools": [{"name": "api", "label": "shop/api", "state": "ready",
                "rule": {"text": "host a.org", "hosts": ["a.org"]}, "waiting": 2,
                "policy": "round_robin", "replicas": [
                {"name": "api-1", "state": "ready", "address": "10.0.0.2:80", "weight": 1,
                 "in_flight": 2, "requests": 300, "failures": 0, "reason": ""},
                {"name": "api-2", "state": "starting", "address": null, "weight": 3,
                 "backup": true, "reason": "port 80 refuses"}]}],
              "problems": [{"subject": "container `x`", "key": "lb.prot",
                "message": "label `lb.prot` is unknown", "hint": "did you mean `lb.port`?"}]
            }"#,
        )
        .unwrap();
        let expected = "\
Evenkeel 0.1.0, table 7

SOURCE  STATE      SEEN    DETAIL
docker  connected  2s ago  Docker 28.5.2

Pool shop/api: ready, round_robin, host a.org, 2 requests waiting
  REPLICA  STATE     ADDRESS      WEIGHT      IN FLIGHT  REQUESTS  FAILURES  REASON
  api-1    ready     10.0.0.2:80  1           2          300       0
  api-2    starting  none         3 (backup)  0          0         0         port 80 refuses

1 problem:
  container `x`: label `lb.prot` is unknown
    hint: did you mean `lb.port`?";
        assert_eq!(shown(&status), expected);
    }

    #[test]
    fn a_source_that_is_away_is_told_with_its_hint() {
        let status: Status = serde_json::from_str(
            r#"{"sources": [{"name": "docker", "connected": false, "detail": "cannot open it",
                "hint": "mount the socket", "age_seconds": null}]}"#,
        )
        .unwrap();
        let text = shown(&status);
        assert!(
            text.contains("docker  away   never  cannot open it\n  hint: mount the socket\n"),
            "{text}"
        );
    }

    #[test]
    fn lost_lines_of_the_access_log_are_told() {
        let lost = |dropped| shown(&Status { access_log_dropped: dropped, ..Status::default() });
        assert!(lost(3).contains("Access log: 3 lines lost, since stdout is read too slowly\n\n"));
        assert!(!lost(0).contains("Access log"));
    }

    #[test]
    fn certificates_are_told_with_their_end_and_what_is_wrong() {
        let status: Status = serde_json::from_str(
            r#"{"certificates": [
                {"names": ["a.example", "*.a.example"], "origin": "file", "file": "/a.crt",
                 "default": true, "not_after": "2027-01-01T00:00:00Z", "days_left": 42},
                {"names": ["b.example"], "origin": "acme", "renews_at": "2026-12-01T00:00:00Z",
                 "problem": "it does not answer"}]}"#,
        )
        .unwrap();
        let expected = "
CERTIFICATE                        ORIGIN  EXPIRES               DAYS LEFT  RENEWS                PROBLEM
a.example *.a.example (default)    /a.crt  2027-01-01T00:00:00Z  42
b.example                          acme    none yet                         2026-12-01T00:00:00Z  it does not answer
";
        let text = shown(&status);
        let squeezed = |text: &str| {
            let lines = text.lines().map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert!(squeezed(&text).contains(&squeezed(expected)), "{text}");
    }

    #[test]
    fn an_empty_balancer_says_that_it_is_empty() {
        let status: Status = serde_json::from_str("{}").unwrap();
        let text = shown(&status);
        assert!(text.contains("No pools") && text.contains("No problems."), "{text}");
    }
}

//! The command line, made from the table of settings.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::cli::check::ReportFormat;
use crate::cli::whoami::{GrpcHealth, OnTerm};
use crate::config::{Key, SETTINGS, Setting};
use crate::domain::units;

/// The whole command line.
pub(super) fn command() -> Command {
    let settings = SETTINGS.iter().map(argument);
    Command::new("evenkeel")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A load balancer for Docker: label a service, scale it, watch traffic rebalance")
        .after_help(AFTER)
        .after_long_help(AFTER)
        .args_conflicts_with_subcommands(true)
        .args(settings.clone())
        .subcommand(
            Command::new("run")
                .about("Balance; what is done when no command is given")
                .args(settings),
        )
        .subcommand(check())
        .subcommand(
            Command::new("status")
                .about("Show the pools, replicas and problems of a running balancer")
                .args(of_client())
                .arg(
                    Arg::new("json")
                        .long("json")
                        .action(ArgAction::SetTrue)
                        .help("Print the status as the JSON that the API answers"),
                ),
        )
        .subcommand(
            Command::new("top")
                .about("Watch the traffic of a running balancer in the terminal")
                .args(of_client()),
        )
        .subcommand(explain())
        .subcommand(drain())
        .subcommand(undrain())
        .subcommand(
            Command::new("healthcheck")
                .about("Exit with 0 if a running balancer is well, else 1")
                .long_about(
                    "Exit with 0 if a running balancer answers /healthz with 200 within 2 s, else \
                     with 1. For HEALTHCHECK in images without a shell.",
                )
                .args(of_client().filter(|it| it.get_id() != "admin_token_file")),
        )
        .subcommand(whoami())
}

/// The settings among `matches`, as they were typed.
pub(super) fn flags(matches: &ArgMatches) -> Vec<(Key, String)> {
    let typed = |setting: &Setting| {
        let values = matches.try_get_many::<String>(setting.name).ok().flatten();
        values.into_iter().flatten().map(|text| (setting.key, text.clone())).collect::<Vec<_>>()
    };
    SETTINGS.iter().flat_map(typed).collect()
}

/// Every value is taken as text: `config` reads it, so that its mistakes are
/// told together with those of the other layers.
fn argument(setting: &Setting) -> Arg {
    let several = if setting.is_repeatable() { "; may be repeated" } else { "" };
    let help = format!("{} [default: {}{several}]", setting.help, setting.absent.text());
    let long = format!(
        "{}.\n\n{}\n\n[default: {}{several}] [env: {}]",
        setting.help,
        setting.more,
        setting.absent.text(),
        setting.variable(),
    );
    Arg::new(setting.name)
        .long(setting.flag())
        .value_name(setting.value)
        .action(if setting.is_repeatable() { ArgAction::Append } else { ArgAction::Set })
        .help(help)
        .long_help(long)
}

/// What it takes to find a running balancer.
fn of_client() -> impl Iterator<Item = Arg> {
    let asked =
        |setting: &&Setting| matches!(setting.key, Key::Admin | Key::AdminTokenFile | Key::Config);
    SETTINGS.iter().filter(asked).map(argument)
}

fn explain() -> Command {
    let text =
        |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    Command::new("explain")
        .about("Tell why a request goes where it goes, or why a container gets none")
        .long_about(
            "Ask a running balancer what it would do with a request now, and why: how it reads it, \
             which rules were tried, what the pool's middlewares make of it, and which replica would \
             get it. Nothing is sent and nothing is counted. With --container: what lies between a \
             container and its requests, the first obstacle first.\n\n\
             Exits with 0 if it would be served, with 1 if not, with 2 if nobody could answer.",
        )
        .arg(
            Arg::new("url")
                .value_name("URL")
                .required_unless_present("container")
                .conflicts_with("container")
                .help("Such as http://shop.example/api"),
        )
        .arg(text("container", "NAME").help(
            "A container by name or by the beginning of its id, or a service, also as PROJECT/SERVICE",
        ))
        .args([
            text("method", "METHOD").short('X').help("The method [default: GET]"),
            text("header", "NAME: VALUE")
                .short('H')
                .action(ArgAction::Append)
                .help("A header; may be repeated. `Host` counts before that of the URL"),
            text("cookie", "NAME=VALUE")
                .action(ArgAction::Append)
                .help("A cookie; may be repeated"),
            text("client", "IP").help("The address of the client [default: 127.0.0.1]"),
            text("entrypoint", "NAME")
                .help("Where it comes in [default: the one called like the URL's scheme]"),
        ].map(|it| it.conflicts_with("container")))
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print the JSON that the API answers"),
        )
        .args(of_client())
}

fn drain() -> Command {
    let wait = |text: &str| units::duration(text, DRAIN_WAIT_MAX);
    Command::new("drain")
        .about("Have replicas finish what they have and get no new requests")
        .long_about(
            "Have replicas finish what they have and get no new requests while another of their \
             pool is ready, until `undrain`. It ends when the container is started again. What is \
             not finished within the pool's `lb.drain` is broken off.",
        )
        .arg(names())
        .arg(
            Arg::new("wait")
                .long("wait")
                .value_name("DURATION")
                .value_parser(ValueParser::from(wait))
                .help("Wait so long for them to finish; exit with 1 if they have not"),
        )
        .args(of_client())
}

fn undrain() -> Command {
    Command::new("undrain")
        .about("Have drained replicas serve again, once they accept connections")
        .arg(names())
        .args(of_client())
}

fn names() -> Arg {
    Arg::new("names")
        .value_name("NAME")
        .required(true)
        .num_args(1..)
        .help("Containers by name or id, written servers as HOST:PORT")
}

fn check() -> Command {
    // Here `--docker` may stand alone: it asks for a look at the daemon.
    let settings = SETTINGS.iter().map(|setting| match setting.key {
        Key::Docker => Arg::new(setting.name)
            .long(setting.flag())
            .value_name("URL")
            .num_args(0..=1)
            .help("Check the labels of running containers too [default URL: the usual one]"),
        Key::Http
        | Key::Https
        | Key::TlsCert
        | Key::TlsKey
        | Key::TlsDir
        | Key::TlsClientCa
        | Key::TlsProfile
        | Key::Sni
        | Key::Admin
        | Key::AdminTokenFile
        | Key::AdminAllow
        | Key::Pool
        | Key::Workers
        | Key::User
        | Key::State
        | Key::LabelPrefix
        | Key::LabelFiles
        | Key::Constraint
        | Key::TrustedProxies
        | Key::HttpsPublicPort
        | Key::KeepAlive
        | Key::StickyKeyFile
        | Key::ProxyProtocol
        | Key::ConnectionsPerClient
        | Key::MemoryLimit
        | Key::Localhost
        | Key::MetricsTraefik
        | Key::AcmeEmail
        | Key::AcmeDirectory
        | Key::AcmeCa
        | Key::AcmeEabKid
        | Key::AcmeEabKeyFile
        | Key::AcmeChallenge
        | Key::Log
        | Key::AccessLog
        | Key::AccessLogQuery
        | Key::AccessLogRedact
        | Key::AccessLogStatus
        | Key::AccessLogSlow
        | Key::AccessLogSample
        | Key::Config => argument(setting),
    });
    Command::new("check")
        .about("Check settings, labels and compose files without starting anything")
        .long_about(
            "Check settings, labels and compose files without starting anything. Without FILE, the \
             settings that `run` would see, and the compose file of this folder. Compose files that \
             are named together are laid over one another, as by `docker-compose -f A -f B`. Prints \
             each finding as FILE:LINE:COL with a hint, and exits with 1 if any is an error.",
        )
        .arg(
            Arg::new("files")
                .value_name("FILE")
                .action(ArgAction::Append)
                .num_args(0..)
                .value_parser(value_parser!(PathBuf))
                .help("Files of settings (.toml), compose files (.yml, .yaml), or folders of these"),
        )
        .args([
            Arg::new("strict")
                .long("strict")
                .action(ArgAction::SetTrue)
                .help("Exit with 1 for warnings too"),
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .default_value("text")
                .value_parser(value_parser!(ReportFormat))
                .help("How to print the findings"),
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .conflicts_with("format")
                .help("The same as `--format json`"),
        ])
        .args(settings)
}

fn whoami() -> Command {
    let duration =
        || ValueParser::from(|text: &str| units::duration(text, crate::cli::whoami::DELAY_MAX));
    Command::new("whoami")
        .about("Serve a demo backend that tells who answered and what it was asked")
        .long_about(
            "Serve a demo backend that tells who answered and what it was asked, as text or JSON by \
             `Accept`. A request may ask for more: `/?delay=100ms&status=503&size=10KiB`. It speaks \
             HTTP/1 and HTTP/2 on its port. gRPC calls get their messages back, but for those of the \
             health protocol. WebSockets at /ws get theirs back.",
        )
        .args([
            Arg::new("port")
                .long("port")
                .value_name("PORT")
                .default_value("80")
                .value_parser(value_parser!(u16))
                .help("Where to listen; 0 for any free port"),
            Arg::new("tls")
                .long("tls")
                .action(ArgAction::SetTrue)
                .help("Speak TLS, by a certificate made at start that nobody vouches for"),
            Arg::new("name").long("name").value_name("NAME").help(
                "The name to answer with [default: the host name]",
            ),
            Arg::new("delay")
                .long("delay")
                .value_name("DURATION")
                .value_parser(duration())
                .help("Wait so long before each answer"),
            Arg::new("status")
                .long("status")
                .value_name("CODE")
                .default_value("200")
                .value_parser(value_parser!(u16).range(200..=599))
                .help("Answer with this status"),
            Arg::new("body-size")
                .long("body-size")
                .value_name("SIZE")
                .value_parser(ValueParser::from(crate::cli::whoami::body_size))
                .help("Answer with exactly so many bytes, such as 10KiB"),
            Arg::new("health-path")
                .long("health-path")
                .value_name("PATH")
                .help("Answer 200 here at once, whatever else is set"),
            Arg::new("grpc-health")
                .long("grpc-health")
                .value_name("HEALTH")
                .default_value("serving")
                .value_parser(value_parser!(GrpcHealth))
                .help("What to answer to the health protocol of gRPC while well"),
            Arg::new("unhealthy-after")
                .long("unhealthy-after")
                .value_name("COUNT")
                .requires("health-path")
                .value_parser(value_parser!(u64))
                .help("Answer 503 at the health path after so many other requests"),
            Arg::new("flap")
                .long("flap")
                .value_name("DURATION")
                .requires("health-path")
                .value_parser(duration())
                .help("Answer 200 and 503 at the health path by turns, each so long"),
            Arg::new("crash-path")
                .long("crash-path")
                .value_name("PATH")
                .help("Exit at once with 137 when asked here, as if out of memory"),
            Arg::new("request-log")
                .long("request-log")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Append a line to this file for each request that arrives"),
            Arg::new("on-term")
                .long("on-term")
                .value_name("WHAT")
                .default_value("exit")
                .value_parser(value_parser!(OnTerm))
                .help("On SIGTERM: exit at once, drain (finish, then exit), or ignore it"),
            Arg::new("startup-delay")
                .long("startup-delay")
                .value_name("DURATION")
                .value_parser(duration())
                .help("Wait so long before listening"),
        ])
}

/// Longer than any `lb.drain` that people use.
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

const AFTER: &str = "\
Every setting is also a variable (--label-prefix is EVENKEEL_LABEL_PREFIX) and a key of
evenkeel.toml (label_prefix): defaults < file < environment < flags.

Containers join with one label:

  docker run -d --label lb.pool=api my-api

`evenkeel COMMAND --help` tells more about a command, `evenkeel --help` about each setting.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn flags_keep_what_was_typed() {
        let typed = ["evenkeel", "run", "--http", ":1", "--http", ":2,:3", "--label-prefix", "x"];
        let matches = command().try_get_matches_from(typed).unwrap();
        let (_, matches) = matches.subcommand().unwrap();
        let flags = flags(matches);
        let texts: Vec<_> = flags.iter().map(|(key, text)| (*key, text.as_str())).collect();
        assert_eq!(texts, [(Key::Http, ":1"), (Key::Http, ":2,:3"), (Key::LabelPrefix, "x")]);
    }

    #[test]
    fn settings_may_stand_without_a_command() {
        let matches = command().try_get_matches_from(["evenkeel", "--admin", ":1"]).unwrap();
        assert_eq!(flags(&matches), [(Key::Admin, ":1".to_owned())]);
    }
}

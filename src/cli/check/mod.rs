//! `evenkeel check`: settings, labels and compose files, judged without
//! starting anything.

mod balancer;
mod compose;
mod judge;
mod networks;
mod ports;
mod project;
#[cfg(test)]
mod properties;
mod report;
mod variables;
mod world;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::ArgMatches;

use crate::app;
use crate::cli::check::judge::judge_pools;
pub(super) use crate::cli::check::report::Format as ReportFormat;
use crate::cli::finding::{self, Finding, Severity};
use crate::cli::surroundings::{self, Surroundings};
use crate::cli::{arguments, print};
use crate::config::{self, Config, Key, Place, Reading};

/// What carries labels in a file: a service, or a written pool.
#[derive(Debug)]
struct Subject {
    name: Arc<str>,
    place: Place,
    /// Those that are ours, as they were written.
    labels: BTreeMap<String, Label>,
}

#[derive(Debug)]
struct Label {
    text: String,
    /// Some of the text is not known before compose fills it in.
    is_open: bool,
    place: Place,
}

impl Subject {
    fn texts(&self) -> BTreeMap<String, String> {
        self.labels.iter().map(|(key, label)| (key.clone(), label.text.clone())).collect()
    }
}

/// What was asked for.
struct Asked {
    files: Vec<PathBuf>,
    flags: Vec<(Key, String)>,
    /// `--docker`, with or without an address.
    docker: bool,
}

/// What is judged for itself.
enum Target {
    Settings(PathBuf),
    /// Compose files, the later ones laid over the earlier ones.
    Project(Vec<PathBuf>),
    Unknown(PathBuf),
}

pub(super) fn main(matches: &ArgMatches, around: &Surroundings) -> ExitCode {
    let asked = Asked::read(matches);
    let reading = config::read(&asked.flags, &around.env, &surroundings::read_file);
    let usual =
        if asked.files.is_empty() { project::usual_files(Path::new("")) } else { Vec::new() };
    let files = if usual.is_empty() { &asked.files } else { &usual };
    let mut findings = Vec::new();
    for target in targets(files) {
        let mut found = check(&target, &asked.flags, &reading, &around.env);
        found.sort();
        findings.extend(found);
    }
    // Files are judged alone, but where the daemon is must be known to ask it.
    if asked.files.is_empty() || asked.docker {
        let mut found = of_settings(&reading);
        found.extend(reading.mistakes.into_iter().map(Finding::from));
        found.sort();
        findings.extend(found);
    }
    if asked.docker {
        findings.extend(check_docker(&reading.config));
    }
    findings.dedup();
    // What the files hold reaches terminals and logs.
    for finding in &mut findings {
        finding.message = print::clean(&finding.message);
        finding.hint = print::clean(&finding.hint);
    }
    let settings = asked.files.is_empty().then(|| match &reading.config.file {
        None => "settings".to_owned(),
        Some(file) => format!("settings with {}", file.display()),
    });
    let named = match files.as_slice() {
        [] => None,
        [file] => Some(file.display().to_string()),
        files => Some(finding::counted(files.len(), "file")),
    };
    let what: Vec<_> = settings.into_iter().chain(named).collect();
    let format = matches.get_one("format").copied().unwrap_or(ReportFormat::Text);
    let format = if matches.get_flag("json") { ReportFormat::Json } else { format };
    report::tell(format, &what.join(" and "), &findings);
    let is_strict = matches.get_flag("strict");
    let refused = findings.iter().any(|it| is_strict || it.severity == Severity::Error);
    if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Compose files that are named together are one project, in the place of the
/// first of them. A folder is a project of its own.
fn targets(files: &[PathBuf]) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut together = None;
    for file in files {
        if file.is_dir() {
            let usual = project::usual_files(file);
            let is_empty = usual.is_empty();
            targets.push(if is_empty {
                Target::Unknown(file.clone())
            } else {
                Target::Project(usual)
            });
            continue;
        }
        match format(file) {
            Some(Format::Settings) => targets.push(Target::Settings(file.clone())),
            None => targets.push(Target::Unknown(file.clone())),
            Some(Format::Compose) => {
                let place = *together.get_or_insert(targets.len());
                match targets.get_mut(place) {
                    Some(Target::Project(files)) => files.push(file.clone()),
                    Some(Target::Settings(_) | Target::Unknown(_)) | None => {
                        targets.push(Target::Project(vec![file.clone()]));
                    }
                }
            }
        }
    }
    targets
}

impl Asked {
    fn read(matches: &ArgMatches) -> Self {
        let mut files: Vec<PathBuf> =
            matches.get_many("files").into_iter().flatten().cloned().collect();
        let mut flags = arguments::flags(matches);
        // `check --docker compose.yml` means the usual daemon and a file.
        flags.retain(|(key, text)| {
            let file =
                (*key == Key::Docker).then(|| Path::new(text)).filter(|it| format(it).is_some());
            files.extend(file.map(Path::to_owned));
            file.is_none()
        });
        let docker = matches.value_source("docker").is_some();
        Self { files, flags, docker }
    }
}

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Format {
    Settings,
    Compose,
}

fn format(file: &Path) -> Option<Format> {
    match file.extension()?.to_str()? {
        "toml" => Some(Format::Settings),
        "yml" | "yaml" => Some(Format::Compose),
        _ => None,
    }
}

fn check(
    target: &Target,
    flags: &[(Key, String)],
    reading: &Reading,
    env: &BTreeMap<String, String>,
) -> Vec<Finding> {
    let unread = |file: &Path, message: String, hint: &str| {
        let place = Some(Place::File(file.to_owned()));
        vec![Finding { place, severity: Severity::Error, message, hint: hint.to_owned() }]
    };
    match target {
        Target::Project(files) => project::check(files, flags, &reading.config.labels, env),
        Target::Settings(file) => match surroundings::read_file(file) {
            Ok(text) => check_settings(file, &text, env),
            Err(error) => {
                let hint = "name a file that exists and that we may read";
                unread(file, format!("the file cannot be read: {error}"), hint)
            }
        },
        Target::Unknown(folder) if folder.is_dir() => {
            let hint = "name the compose file, or the folder where it is";
            unread(folder, "there is no compose file in this folder".to_owned(), hint)
        }
        Target::Unknown(file) => {
            let hint = "name a file of settings (.toml) or a compose file (.yml, .yaml)";
            unread(file, "this is no file that can be checked".to_owned(), hint)
        }
    }
}

/// Judges a file of settings for itself, without the environment of ours.
fn check_settings(file: &Path, text: &str, env: &BTreeMap<String, String>) -> Vec<Finding> {
    let flags = [(Key::Config, file.display().to_string())];
    // Where the certificates of `https://` stand may be said here only.
    let places = ["HOME", "DOCKER_CONFIG", "DOCKER_CERT_PATH"];
    let env = env.iter().filter(|(name, _)| places.contains(&name.as_str()));
    let env = env.map(|(name, value)| (name.clone(), value.clone())).collect();
    let reading = config::read(&flags, &env, &|_| Ok(text.to_owned()));
    let mut findings = of_settings(&reading);
    findings.extend(reading.mistakes.into_iter().map(Finding::from));
    findings
}

/// What is wrong with the labels of written pools.
fn of_settings(reading: &Reading) -> Vec<Finding> {
    let prefix = &reading.config.labels.prefix;
    let subject = |pool: &config::StaticPool| {
        let whole = reading.pools.get(&pool.name).cloned();
        let whole = whole.unwrap_or_else(|| Place::Flag("pool".to_owned()));
        let label = |text: &str, place: Option<&Place>| Label {
            text: text.to_owned(),
            is_open: false,
            place: place.unwrap_or(&whole).clone(),
        };
        let own = pool.labels.iter().map(|(key, text)| {
            let place = reading.labels.get(&(pool.name.clone(), key.clone()));
            (format!("{prefix}.{key}"), label(text, place))
        });
        let named = [(format!("{prefix}.pool"), label(&pool.name.name, None))];
        let labels = own.chain(named).collect();
        Subject { name: Arc::clone(&pool.name.name), place: whole.clone(), labels }
    };
    let subjects: Vec<Subject> = reading.config.pools.iter().map(subject).collect();
    judge_pools(&subjects, &reading.config.labels)
}

/// What is wrong with the labels of the containers that run.
fn check_docker(config: &Config) -> Vec<Finding> {
    let error = |message: String, hint: &str| Finding {
        place: None,
        severity: Severity::Error,
        message,
        hint: hint.to_owned(),
    };
    let Some(address) = &config.docker else {
        return vec![error(
            "`docker` is `off`, so there is no daemon to ask".to_owned(),
            "write its address: `check --docker unix:///var/run/docker.sock`",
        )];
    };
    match app::check_docker(address, &config.labels) {
        Ok(problems) => problems.iter().map(judge::told).collect(),
        Err(message) => vec![error(
            message,
            "see that the daemon runs and that we may open its socket, or name another with \
             --docker URL",
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(typed: &[&str]) -> Asked {
        let typed = ["evenkeel", "check"].iter().chain(typed);
        let matches = arguments::command().try_get_matches_from(typed).unwrap();
        Asked::read(matches.subcommand().unwrap().1)
    }

    #[test]
    fn docker_may_stand_alone_before_a_file_or_with_an_address() {
        let alone = asked(&["--docker"]);
        assert!(alone.docker && alone.flags.is_empty() && alone.files.is_empty());
        let before = asked(&["--docker", "compose.yml"]);
        assert!(before.docker && before.flags.is_empty());
        assert_eq!(before.files, [PathBuf::from("compose.yml")]);
        let with = asked(&["compose.yml", "--docker", "tcp://h"]);
        assert!(with.docker && with.files.len() == 1);
        assert_eq!(with.flags, [(Key::Docker, "tcp://h".to_owned())]);
        assert!(!asked(&["a.toml"]).docker);
    }
}

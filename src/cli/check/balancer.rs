//! The service that is the balancer: which it is, what it is set to, and which
//! files it sees.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::cli::arguments;
use crate::cli::check::compose::{Project, Seen, Service, Text, Told};
use crate::cli::check::variables;
use crate::cli::finding::{Finding, Severity};
use crate::cli::surroundings;
use crate::config::{self, Config, Key, Mistake, Place, Reading, SETTINGS};
use crate::domain::labels::LabelSettings;

/// A service that runs a balancer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Balancer<'a> {
    pub(super) project: &'a Project,
    pub(super) service: &'a Service,
}

impl<'a> Balancer<'a> {
    /// Every balancer of the project, by name.
    pub(super) fn all(project: &'a Project) -> Vec<Self> {
        let services = project.services.values().filter(|service| is_balancer(service));
        services.map(|service| Self { project, service }).collect()
    }

    /// Its settings with `flags` laid over them, and what is wrong with them.
    pub(super) fn settings(self, flags: &[(Key, String)]) -> (Reading, Vec<Finding>) {
        let mut findings = Vec::new();
        let (env, places) = self.environment(&mut findings);
        let mut own = self.flags(&mut findings);
        own.retain(|(key, _)| flags.iter().all(|(laid, _)| laid != key));
        own.extend(flags.iter().cloned());
        let unseen = RefCell::new(Vec::new());
        let read_file = |path: &Path| {
            self.read(path).unwrap_or_else(|| {
                unseen.borrow_mut().push(path.display().to_string());
                Err(io::Error::new(io::ErrorKind::NotFound, NOT_MOUNTED))
            })
        };
        let mut reading = config::read(&own, &env, &read_file);
        for mistake in std::mem::take(&mut reading.mistakes) {
            // What is not in the files may be in order where they are used.
            if !unseen.borrow().iter().any(|path| mistake.message.contains(path)) {
                findings.extend(self.finding(mistake, &places));
            }
        }
        findings.extend(self.unmounted(&reading, &places));
        let Config { http, https, admin, .. } = &reading.config;
        let listeners = http.iter().chain(https).map(|it| it.address).chain([*admin]);
        reading.config.labels.listeners = listeners.collect();
        (reading, findings)
    }

    /// Certificates that it is set to and does not see.
    fn unmounted(self, reading: &Reading, places: &BTreeMap<String, &Text>) -> Vec<Finding> {
        let tls = &reading.config.tls;
        let named = [
            (Key::TlsCert, tls.pair.as_ref().map(|pair| &pair.certificate)),
            (Key::TlsKey, tls.pair.as_ref().map(|pair| &pair.key)),
            (Key::TlsDir, tls.folder.as_ref()),
            (Key::TlsClientCa, tls.client_ca.as_ref()),
        ];
        let unseen = named.into_iter().filter_map(|(key, path)| {
            let seen = self.project.seen(self.service, path?);
            let setting = SETTINGS.iter().find(|setting| setting.key == key)?;
            let is_unseen = seen == Seen::Nothing && !self.service.builds;
            is_unseen.then_some((setting, path?))
        });
        let told = unseen.map(|(setting, path)| Told {
            at: places.get(&setting.variable()).map_or(self.service.at, |text| text.at),
            severity: Severity::Error,
            message: format!(
                "service `{}`: `{}` is `{}`, which is not mounted into it",
                self.service.name,
                setting.name,
                path.display()
            ),
            hint: "give it to the service by `volumes` or `secrets`".to_owned(),
        });
        told.map(|told| self.project.finding(&told)).collect()
    }

    /// Whether the engine's socket may be seen: by a mount of it or of a folder
    /// above it, or at an address that is set.
    pub(super) fn sees_docker(self, reading: &Reading) -> bool {
        let is_mounted = |path: &&str| {
            let mounts = &self.service.mounts;
            mounts.iter().any(|mount| Path::new(path).starts_with(&mount.target))
        };
        let is_elsewhere = self.service.environment.contains_key("DOCKER_HOST");
        let is_usual = reading.config.docker == Some(config::DockerAddress::default());
        is_elsewhere || !is_usual || SOCKETS.iter().any(is_mounted)
    }

    /// The settings with the content of the files that labels name, as far as it
    /// is seen from here.
    pub(super) fn with_files(
        self,
        settings: &LabelSettings,
        wanted: &BTreeSet<Arc<str>>,
    ) -> LabelSettings {
        let mut files = (*settings.files).clone();
        let name = &self.service.name;
        for path in wanted {
            let within = files.folder.join(&**path);
            let found = match self.project.seen(self.service, &within) {
                Seen::Nothing if !self.service.builds => {
                    Err(format!("`{}` is not mounted into service `{name}`", within.display()))
                }
                // What is mounted may come from elsewhere where the files are used.
                Seen::Host(host) if !host.parent().is_some_and(Path::is_dir) => continue,
                Seen::Host(host) => surroundings::read_bytes(&host)
                    .map(Arc::from)
                    .map_err(|error| format!("`{}`: {error}", host.display())),
                Seen::Nothing | Seen::Unknown => continue,
            };
            files.note(path, found.map_err(Arc::from));
        }
        files.assumed = true;
        LabelSettings { files: files.into(), ..settings.clone() }
    }

    /// The variables that concern us, and where they stand if that is in the file.
    fn environment(
        self,
        findings: &mut Vec<Finding>,
    ) -> (BTreeMap<String, String>, BTreeMap<String, &'a Text>) {
        let mut env = BTreeMap::new();
        for (file, at) in &self.service.env_files {
            match surroundings::read_file(file) {
                Ok(text) => env.extend(variables::of_file(&text)),
                Err(error) => findings.push(self.project.finding(&Told {
                    at: *at,
                    severity: Severity::Warning,
                    message: format!(
                        "service `{}`: what `{}` sets is not known: {error}",
                        self.service.name,
                        file.display()
                    ),
                    hint: "have the file here too when you check".to_owned(),
                })),
            }
        }
        let own = self.service.environment.iter();
        env.retain(|name, _| is_of_settings(name));
        let own = own.filter(|(name, _)| is_of_settings(name));
        let (open, known): (Vec<_>, Vec<_>) = own.partition(|(_, text)| text.is_open);
        env.extend(known.iter().map(|(name, text)| ((*name).clone(), text.text.clone())));
        for (name, _) in open {
            env.remove(name);
        }
        (env, known.into_iter().map(|(name, text)| (name.clone(), text)).collect())
    }

    /// The flags of its command.
    fn flags(self, findings: &mut Vec<Finding>) -> Vec<(Key, String)> {
        let words = words(self.service);
        if words.iter().any(|word| word.is_open) {
            return Vec::new();
        }
        let typed = words.iter().map(|word| word.text.as_str());
        let typed = std::iter::once("evenkeel").chain(typed);
        match arguments::command().try_get_matches_from(typed) {
            Ok(matches) => match matches.subcommand() {
                Some((_, matches)) => arguments::flags(matches),
                None => arguments::flags(&matches),
            },
            Err(error) => {
                let error = error.to_string();
                let first = error.lines().next().unwrap_or_default();
                let first = first.strip_prefix("error: ").unwrap_or(first);
                let at = words.first().map_or(self.service.at, |word| word.at);
                findings.push(self.project.finding(&Told {
                    at,
                    severity: Severity::Error,
                    message: format!("service `{}`: `command`: {first}", self.service.name),
                    hint: "`evenkeel run --help` lists the flags".to_owned(),
                }));
                Vec::new()
            }
        }
    }

    /// None where nobody can tell what there is.
    fn read(self, path: &Path) -> Option<io::Result<String>> {
        match self.project.seen(self.service, path) {
            Seen::Nothing if self.service.builds => None,
            Seen::Nothing => Some(Err(io::Error::new(io::ErrorKind::NotFound, NOT_MOUNTED))),
            Seen::Host(host) if !host.exists() => None,
            Seen::Host(host) => Some(surroundings::read_file(&host)),
            Seen::Unknown => None,
        }
    }

    /// A mistake of its settings, at its place in the files. None for one of the
    /// flags of this command, which is told of for itself.
    fn finding(self, mistake: Mistake, places: &BTreeMap<String, &Text>) -> Option<Finding> {
        let place = match &mistake.place {
            Place::Variable(name) => {
                let at = places.get(name).map_or(self.service.at, |text| text.at);
                self.project.place(at)
            }
            Place::Flag(_) => {
                let at = words(self.service).first()?.at;
                self.project.place(at)
            }
            Place::File(file) => match self.project.seen(self.service, file) {
                Seen::Host(host) => Place::File(host),
                Seen::Nothing | Seen::Unknown => return None,
            },
            Place::Line { file, line, column } => match self.project.seen(self.service, file) {
                Seen::Host(file) => Place::Line { file, line: *line, column: *column },
                Seen::Nothing | Seen::Unknown => return None,
            },
        };
        Some(Finding {
            place: Some(place),
            severity: Severity::Error,
            message: format!("service `{}`: {}", self.service.name, mistake.message),
            hint: mistake.hint,
        })
    }
}

/// By its image and its command, or by the engine's socket and its command, or by
/// its variables. The image runs demo backends too.
fn is_balancer(service: &Service) -> bool {
    let image = service.image.as_ref().map_or("", |image| &image.text);
    let image = image.rsplit('/').next().unwrap_or_default();
    let image = image.split([':', '@']).next().unwrap_or_default();
    let is_ours = |word: &Text| word.text.rsplit('/').next() == Some("evenkeel");
    let has_socket = service.mounts.iter().any(|mount| mount.target.ends_with("docker.sock"));
    let named = service.entrypoint.iter().chain(&service.command).flatten().any(is_ours);
    let is_set = service.environment.keys().any(|name| name.starts_with("EVENKEEL_"));
    let runs =
        words(service).first().is_none_or(|word| word.text == "run" || word.text.starts_with('-'));
    runs && (image == "evenkeel" || has_socket && named || is_set)
}

/// What stands behind the binary's name.
fn words(service: &Service) -> &[Text] {
    let is_ours = |word: &Text| word.text.rsplit('/').next() == Some("evenkeel");
    let command = service.command.as_deref().unwrap_or_default();
    let entrypoint = service.entrypoint.as_deref().unwrap_or_default();
    let behind = |words: &'_ [Text]| words.iter().position(is_ours).map(|place| place + 1);
    match (behind(command), behind(entrypoint)) {
        (Some(start), _) => command.get(start..).unwrap_or_default(),
        (None, Some(start)) if command.is_empty() => entrypoint.get(start..).unwrap_or_default(),
        (None, _) => command,
    }
}

fn is_of_settings(name: &str) -> bool {
    name.starts_with("EVENKEEL_") || name == "DOCKER_HOST"
}

const NOT_MOUNTED: &str = "it is not mounted into the service";

/// Where images have the engine's socket; one is a link to the other.
const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::compose;

    #[test]
    fn a_balancer_is_known_by_its_image_its_socket_or_its_variables_and_its_command() {
        let socket = "volumes: ['/var/run/docker.sock:/var/run/docker.sock']";
        for (service, is_one) in [
            ("image: evenkeel".to_owned(), true),
            ("image: registry.example.com:5000/a/evenkeel:1.2@sha256:00".to_owned(), true),
            ("image: '${NONE:-evenkeel:latest}', command: 'run --http :80'".to_owned(), true),
            ("image: evenkeel, command: [--http, ':8080']".to_owned(), true),
            ("image: evenkeel, command: whoami".to_owned(), false),
            ("image: evenkeel, entrypoint: [/evenkeel, whoami]".to_owned(), false),
            ("image: evenkeel, entrypoint: /evenkeel, command: [whoami]".to_owned(), false),
            ("image: evenkeel-exporter".to_owned(), false),
            (format!("image: x, {socket}"), false),
            (format!("image: x, command: /usr/bin/evenkeel run, {socket}"), true),
            (format!("image: x, command: /usr/bin/evenkeel status, {socket}"), false),
            ("image: x, command: /usr/bin/evenkeel run".to_owned(), false),
            ("build: ., environment: {EVENKEEL_HTTP: ':80'}".to_owned(), true),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("c.yml");
            std::fs::write(&file, format!("services: {{a: {{{service}}}}}")).unwrap();
            let project = compose::load(&[file], &BTreeMap::new());
            assert_eq!(project.findings(), []);
            assert_eq!(Balancer::all(&project).len(), usize::from(is_one), "{service}");
        }
    }
}

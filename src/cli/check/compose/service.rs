//! A service as one file writes it, and one laid over another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cli::check::compose::Told;
use crate::cli::check::compose::mount::{self, Mount};
use crate::cli::check::compose::port::{self, Port};
use crate::cli::check::variables::Variables;
use crate::cli::check::yaml::{At, Entry, Node, Value};
use crate::cli::finding::Severity;

/// What concerns a balancer of a service.
#[derive(Clone, Debug)]
pub(in crate::cli::check) struct Service {
    pub(in crate::cli::check) name: String,
    pub(in crate::cli::check) at: At,
    pub(in crate::cli::check) image: Option<Text>,
    /// Its image is built, from we know not what.
    pub(in crate::cli::check) builds: bool,
    pub(in crate::cli::check) entrypoint: Option<Vec<Text>>,
    pub(in crate::cli::check) command: Option<Vec<Text>>,
    pub(in crate::cli::check) labels: BTreeMap<String, Text>,
    /// Those under `deploy`, which containers do not get.
    pub(in crate::cli::check) swarm_labels: BTreeMap<String, Text>,
    /// By their names in the file; none if it names none.
    pub(in crate::cli::check) networks: Option<BTreeMap<String, At>>,
    pub(in crate::cli::check) network_mode: Option<Text>,
    pub(in crate::cli::check) expose: Vec<Text>,
    pub(in crate::cli::check) ports: Vec<Port>,
    pub(in crate::cli::check) mounts: Vec<Mount>,
    pub(in crate::cli::check) environment: BTreeMap<String, Text>,
    pub(in crate::cli::check) env_files: Vec<(PathBuf, At)>,
    pub(in crate::cli::check) container_name: Option<Text>,
    pub(in crate::cli::check) replicas: Option<Text>,
    pub(in crate::cli::check) profiles: Vec<String>,
}

/// A text with its variables filled in.
#[derive(Clone, Debug)]
pub(in crate::cli::check) struct Text {
    pub(in crate::cli::check) text: String,
    /// Some of it is not known before compose fills it in.
    pub(in crate::cli::check) is_open: bool,
    pub(in crate::cli::check) at: At,
}

/// Reads the services of one file.
pub(super) struct Reader<'a> {
    pub(super) variables: &'a Variables,
    /// What relative paths are relative to.
    pub(super) folder: &'a Path,
    pub(super) told: &'a mut Vec<Told>,
}

impl Reader<'_> {
    pub(super) fn service(&mut self, entry: &Entry<'_>) -> Service {
        let name = entry.key;
        let node = entry.value;
        let deploy = |key: &str| node.get("deploy").and_then(|deploy| deploy.get(key));
        let swarm_labels = deploy("labels").map(|labels| self.labels(name, labels));
        let labels = node.get("labels").map(|labels| self.labels(name, labels));
        let environment = node.get("environment").map(|variables| self.environment(variables));
        Service {
            name: name.to_owned(),
            at: entry.at,
            image: self.text(node.get("image")),
            builds: node.get("build").is_some(),
            entrypoint: self.words(node.get("entrypoint")),
            command: self.words(node.get("command")),
            labels: labels.unwrap_or_default(),
            swarm_labels: swarm_labels.unwrap_or_default(),
            networks: node.get("networks").map(|networks| self.names(networks)),
            network_mode: self.text(node.get("network_mode")),
            expose: self.texts(node.get("expose")),
            ports: self.each(node.get("ports"), port::read),
            mounts: self.mounts(node),
            environment: environment.unwrap_or_default(),
            env_files: self.env_files(node.get("env_file")),
            container_name: self.text(node.get("container_name")),
            replicas: self.text(node.get("scale").or_else(|| deploy("replicas"))),
            profiles: self.texts(node.get("profiles")).into_iter().map(|it| it.text).collect(),
        }
    }

    /// Reads a map, or a list of `key=value`.
    fn labels(&mut self, service: &str, labels: &Node) -> BTreeMap<String, Text> {
        let mut read: BTreeMap<String, Text> = BTreeMap::new();
        let written: Vec<(&str, Option<&str>, At)> = match &labels.value {
            Value::Map(_) => labels.entries().map(|it| (it.key, it.value.text(), it.at)).collect(),
            Value::List(items) => items
                .iter()
                .map(|item| match item.text() {
                    Some(text) => {
                        let (key, value) = text.split_once('=').unwrap_or((text, ""));
                        (key, Some(value), item.at)
                    }
                    None => ("", None, item.at),
                })
                .collect(),
            Value::Text(text) if text.is_empty() => Vec::new(),
            Value::Text(_) => {
                let message = format!("service `{service}`: `labels` is a text");
                let hint = "write a map, `lb.pool: api`, or a list, `- lb.pool=api`";
                self.tell(Severity::Error, labels.at, message, hint);
                Vec::new()
            }
        };
        for (key, value, at) in written {
            let Some(value) = value else {
                let message = format!("service `{service}`: label `{key}` is not a text");
                self.tell(Severity::Error, at, message, "write `KEY: VALUE`, or `- KEY=VALUE`");
                continue;
            };
            let text = self.filled(value, at);
            if read.insert(key.to_owned(), text).is_some() {
                let message = format!("service `{service}`: label `{key}` is written twice");
                self.tell(Severity::Error, at, message, "keep one of them");
            }
        }
        read
    }

    /// A map, or a list of `NAME=value`. A name alone is passed on from where
    /// compose runs.
    fn environment(&self, variables: &Node) -> BTreeMap<String, Text> {
        let passed = |name: &str, at| {
            let known = self.variables.get(name);
            Text { text: known.unwrap_or("$").to_owned(), is_open: known.is_none(), at }
        };
        let of_map = variables.entries().filter_map(|it| {
            let value = it.value.text()?;
            let from_outside = passed(it.key, it.at);
            let is_passed = value.is_empty() && !from_outside.is_open;
            let text = if is_passed { from_outside } else { self.filled(value, it.at) };
            Some((it.key.to_owned(), text))
        });
        let of_list = variables.items().iter().filter_map(|item| {
            let text = item.text()?;
            Some(match text.split_once('=') {
                Some((name, value)) => (name.to_owned(), self.filled(value, item.at)),
                None => (text.to_owned(), passed(text, item.at)),
            })
        });
        of_map.chain(of_list).collect()
    }

    fn env_files(&self, files: Option<&Node>) -> Vec<(PathBuf, At)> {
        let path = |node: &Node| {
            let path = self.text(node.get("path").or(Some(node)))?;
            (!path.is_open).then(|| (self.folder.join(path.text), path.at))
        };
        match files.map(|files| (&files.value, files)) {
            Some((Value::List(items), _)) => items.iter().filter_map(|item| path(item)).collect(),
            Some((Value::Text(_) | Value::Map(_), file)) => path(file).into_iter().collect(),
            None => Vec::new(),
        }
    }

    fn mounts(&self, service: &Node) -> Vec<Mount> {
        let volumes =
            self.each(service.get("volumes"), |reader, node| mount::of_volume(reader, node));
        let given = [("secrets", "/run/secrets"), ("configs", "/")];
        let given = given.iter().flat_map(|(key, folder)| {
            self.each(service.get(key), |reader, node| mount::given(reader, node, key, folder))
        });
        volumes.into_iter().chain(given).collect()
    }

    /// Names in a list, or the keys of a map.
    fn names(&self, node: &Node) -> BTreeMap<String, At> {
        let of_map = node.entries().map(|it| (it.key.to_owned(), it.at));
        let of_list = node.items().iter();
        let of_list = of_list.filter_map(|it| Some((self.fill(it)?.text, it.at)));
        of_map.chain(of_list).collect()
    }

    /// A list of words, or a text that is split into words as a shell does.
    fn words(&self, node: Option<&Node>) -> Option<Vec<Text>> {
        let node = node?;
        match &node.value {
            Value::List(_) => Some(self.texts(Some(node))),
            Value::Text(text) if text.is_empty() => None,
            Value::Text(_) => {
                let Text { text, is_open, at } = self.fill(node)?;
                let word = |text| Text { text, is_open, at };
                Some(split(&text).into_iter().map(word).collect())
            }
            Value::Map(_) => None,
        }
    }

    fn texts(&self, node: Option<&Node>) -> Vec<Text> {
        self.each(node, |reader, item| reader.fill(item))
    }

    fn each<T>(&self, node: Option<&Node>, read: impl Fn(&Self, &Node) -> Option<T>) -> Vec<T> {
        let items = node.map(Node::items).unwrap_or_default();
        items.iter().filter_map(|item| read(self, item)).collect()
    }

    /// A text that says something.
    pub(super) fn text(&self, node: Option<&Node>) -> Option<Text> {
        self.fill(node?).filter(|it| !it.text.is_empty())
    }

    fn fill(&self, node: &Node) -> Option<Text> {
        Some(self.filled(node.text()?, node.at))
    }

    fn filled(&self, written: &str, at: At) -> Text {
        let (text, is_open) = self.variables.fill(written);
        Text { text, is_open, at }
    }

    fn tell(&mut self, severity: Severity, at: At, message: String, hint: &str) {
        self.told.push(Told { at, severity, message, hint: hint.to_owned() });
    }
}

impl Service {
    /// Those of a Swarm service are judged too, as if its containers had them.
    pub(in crate::cli::check) fn all_labels(&self) -> BTreeMap<String, String> {
        let all = self.swarm_labels.iter().chain(&self.labels);
        all.map(|(key, label)| (key.clone(), label.text.clone())).collect()
    }

    /// Itself, with what `over` says laid over it, as compose lays a file over
    /// another and a service over the one that it extends.
    pub(super) fn under(mut self, over: Self) -> Self {
        self.labels.extend(over.labels);
        self.swarm_labels.extend(over.swarm_labels);
        self.environment.extend(over.environment);
        self.networks = match (self.networks, over.networks) {
            (Some(mut networks), Some(over)) => {
                networks.extend(over);
                Some(networks)
            }
            (networks, over) => over.or(networks),
        };
        self.expose.extend(over.expose);
        self.ports.extend(over.ports);
        self.mounts.retain(|mount| over.mounts.iter().all(|it| it.target != mount.target));
        self.mounts.extend(over.mounts);
        self.env_files.extend(over.env_files);
        self.profiles.extend(over.profiles);
        Self {
            name: over.name,
            at: over.at,
            image: over.image.or(self.image),
            builds: self.builds || over.builds,
            entrypoint: over.entrypoint.or(self.entrypoint),
            command: over.command.or(self.command),
            network_mode: over.network_mode.or(self.network_mode),
            container_name: over.container_name.or(self.container_name),
            replicas: over.replicas.or(self.replicas),
            ..self
        }
    }
}

/// Words that are parted by white space outside quotes.
fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match (quote, c) {
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == c => quote = None,
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            (_, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_at_white_space_outside_quotes() {
        assert_eq!(split(" run  --pool 'a=h:1, h:2' \"\" "), ["run", "--pool", "a=h:1, h:2", ""]);
    }
}

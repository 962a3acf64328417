//! Compose files: the labels of each service and where they stand.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::check::variables;
use crate::cli::check::yaml::{self, At, Entry, Node, Value};
use crate::cli::check::{Label, Subject};
use crate::cli::finding::{Finding, Severity};
use crate::config::Place;

/// Every service, and what is wrong with the file itself. `prefix` is that of
/// the labels that are ours.
pub(super) fn read(file: &Path, text: &str, prefix: &str) -> (Vec<Subject>, Vec<Finding>) {
    let mut reader = Reader { file, prefix: format!("{prefix}."), findings: Vec::new() };
    let subjects = match yaml::parse(text) {
        Ok(documents) => {
            let services = documents.iter().filter_map(|document| document.get("services"));
            services.flat_map(Node::entries).map(|service| reader.service(&service)).collect()
        }
        Err(fault) => {
            let message = format!("this is not YAML: {fault}");
            reader.find(Severity::Error, fault.at, message, "mend the syntax here or just above");
            Vec::new()
        }
    };
    let labelled = subjects.iter().any(|subject| !subject.labels.is_empty());
    if !labelled && reader.findings.is_empty() {
        let message = format!("no service has a label that begins with `{}`", reader.prefix);
        let hint = format!("add `{}pool=NAME` to the labels of a service", reader.prefix);
        reader.find(Severity::Warning, At { line: 1, column: 1 }, message, &hint);
    }
    (subjects, reader.findings)
}

struct Reader<'a> {
    file: &'a Path,
    /// With its dot.
    prefix: String,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn service(&mut self, service: &Entry<'_>) -> Subject {
        let mut subject = Subject {
            name: service.key.into(),
            place: self.place(service.at),
            labels: BTreeMap::new(),
        };
        if let Some(deploy) = service.value.get("deploy").and_then(|deploy| deploy.get("labels")) {
            let before = subject.labels.len();
            self.labels(&mut subject, deploy);
            if subject.labels.len() > before {
                let message = format!(
                    "service `{}`: labels under `deploy` are given to the Swarm service, not to \
                     its containers",
                    service.key
                );
                self.find(Severity::Warning, deploy.at, message, "write them under `labels`");
            }
        }
        if let Some(labels) = service.value.get("labels") {
            self.labels(&mut subject, labels);
        }
        subject
    }

    /// Reads a map, or a list of `key=value`. Only labels that are ours are kept.
    fn labels(&mut self, subject: &mut Subject, labels: &Node) {
        match &labels.value {
            Value::Map(_) => {
                for entry in labels.entries() {
                    self.label(subject, entry.key, entry.value.text(), entry.at);
                }
            }
            Value::List(items) => {
                for item in items {
                    let text = item.text();
                    let (key, value) = text
                        .map(|text| text.split_once('=').unwrap_or((text, "")))
                        .map_or(("", None), |(key, value)| (key, Some(value)));
                    self.label(subject, key, value, item.at);
                }
            }
            Value::Text(text) if text.is_empty() => {}
            Value::Text(_) => {
                let message = format!("service `{}`: `labels` is a text", subject.name);
                let hint = "write a map, `lb.pool: api`, or a list, `- lb.pool=api`";
                self.find(Severity::Error, labels.at, message, hint);
            }
        }
    }

    fn label(&mut self, subject: &mut Subject, key: &str, value: Option<&str>, at: At) {
        let Some(value) = value else {
            let message = format!("service `{}`: label `{key}` is not a text", subject.name);
            self.find(Severity::Error, at, message, "write `KEY: VALUE`, or `- KEY=VALUE`");
            return;
        };
        let ours = key.get(..self.prefix.len());
        if ours.is_some_and(|start| start.eq_ignore_ascii_case(&self.prefix)) {
            let (text, is_open) = variables::filled_in(value);
            let label = Label { text, is_open, place: self.place(at) };
            subject.labels.insert(key.to_owned(), label);
        }
    }

    fn place(&self, at: At) -> Place {
        Place::Line { file: self.file.to_owned(), line: at.line, column: at.column }
    }

    fn find(&mut self, severity: Severity, at: At, message: String, hint: &str) {
        let place = Some(self.place(at));
        self.findings.push(Finding { place, severity, message, hint: hint.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Vec<String> {
        let (subjects, findings) = read(Path::new("c.yml"), text, "lb");
        assert_eq!(findings, []);
        let of = |subject: &Subject| {
            let name = subject.name.clone();
            let shown = move |(key, label): (&String, &Label)| {
                format!("{name} {key}={} at {}", label.text, label.place)
            };
            subject.labels.iter().map(shown).collect::<Vec<_>>()
        };
        subjects.iter().flat_map(of).collect()
    }

    fn findings(text: &str) -> Vec<String> {
        let (_, findings) = read(Path::new("c.yml"), text, "lb");
        findings.iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn labels_are_maps_or_lists() {
        let text = "services:\n  api:\n    labels:\n      lb.pool: api\n      other: x\n      LB.Port: 80\n  \
                    web:\n    labels:\n      - lb.pool=web=1\n      - lb.enable\n";
        assert_eq!(
            labels(text),
            [
                "api LB.Port=80 at c.yml:6:7",
                "api lb.pool=api at c.yml:4:7",
                "web lb.enable= at c.yml:10:9",
                "web lb.pool=web=1 at c.yml:9:9",
            ]
        );
    }

    #[test]
    fn anchors_and_merged_keys_are_followed() {
        let text = "x-labels: &labels\n  lb.pool: api\nservices:\n  a:\n    labels:\n      <<: *labels\n      \
                    lb.port: 80\n  b:\n    labels: *labels\n";
        assert_eq!(
            labels(text),
            [
                "a lb.pool=api at c.yml:2:3",
                "a lb.port=80 at c.yml:7:7",
                "b lb.pool=api at c.yml:2:3",
            ]
        );
    }

    #[test]
    fn labels_of_a_swarm_service_are_read_with_a_warning() {
        let text = "services:\n  a:\n    deploy:\n      labels:\n        lb.pool: api\n";
        let (subjects, found) = read(Path::new("c.yml"), text, "lb");
        assert_eq!(subjects[0].labels.len(), 1);
        assert_eq!(found[0].severity, Severity::Warning);
        assert!(findings(text)[0].starts_with("c.yml:5:9: warning: service `a`: "));
    }

    #[test]
    fn what_is_no_label_is_an_error_with_its_place() {
        assert_eq!(
            findings("services:\n  a:\n    labels:\n      lb.host: [x, y]\n"),
            [
                "c.yml:4:7: error: service `a`: label `lb.host` is not a text\n  hint: write `KEY: VALUE`, or `- KEY=VALUE`"
            ]
        );
        assert!(findings("services:\n  a:\n    labels: x\n")[0].starts_with("c.yml:3:13: error: "));
        assert!(findings("services: [\n")[0].contains("error: this is not YAML"));
    }

    #[test]
    fn a_file_without_labels_of_ours_is_worth_a_warning() {
        for text in ["", "services:\n  a:\n    image: x\n", "[]"] {
            let found = findings(text);
            assert!(
                found[0].starts_with("c.yml:1:1: warning: no service has a label"),
                "{found:?}"
            );
        }
    }
}

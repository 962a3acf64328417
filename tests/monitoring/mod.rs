//! The dashboard, the alerts and the stack that we ship for watching us.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test stops where it fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const DASHBOARD: &str = "deploy/grafana/evenkeel.json";
const ALERTS: &str = "deploy/prometheus/alerts.yml";

#[test]
fn whatever_is_watched_is_a_metric_of_ours() {
    let known = known();
    for file in [DASHBOARD, ALERTS, "deploy/prometheus/alerts.test.yml"] {
        let named = named(&read(file));
        assert!(named.len() >= 3, "{file} names hardly anything: {named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}, which are not in docs/metrics.md");
    }
}

#[test]
fn every_alert_says_what_to_do() {
    let (alerts, page) = (read(ALERTS), read("docs/metrics.md"));
    let names: Vec<_> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in &names {
        assert!(
            page.contains(&format!("\n| `{name}` | ")),
            "docs/metrics.md has no line for {name}"
        );
    }
    assert_eq!(page.matches("\n| `Evenkeel").count(), names.len(), "a line of no alert is left");
}

#[test]
fn the_dashboard_has_a_place_for_each_panel_and_a_source_for_each_query() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let texts = |list: &Value, key: &str| -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|it| it[key].to_string()).collect()
    };
    let variables = texts(&dashboard["templating"]["list"], "name");
    for name in ["datasource", "pool", "replica"] {
        assert!(variables.contains(&format!("\"{name}\"")), "{variables:?}");
    }
    let panels = dashboard["panels"].as_array().unwrap();
    assert_eq!(texts(&dashboard["panels"], "id").len(), panels.len(), "ids are unique");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for (x, y) in (0..at("w")).flat_map(|x| (0..at("h")).map(move |y| (x, y))) {
            assert!(taken.insert((at("x") + x, at("y") + y)), "{} lies on another", panel["title"]);
        }
        assert!(at("x") + at("w") <= 24, "{} is too wide", panel["title"]);
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
            let query = target["expr"].as_str().unwrap();
            assert!(query.contains("$instance"), "{query} asks all balancers there are");
        }
    }
}

#[test]
fn promtool_takes_the_alerts_and_what_they_are_tested_by() {
    for arguments in [
        &["check", "rules", "alerts.yml"][..],
        &["check", "config", "prometheus.yml"],
        &["test", "rules", "alerts.test.yml"],
    ] {
        let ran = Command::new("promtool")
            .args(arguments)
            .current_dir(path("deploy/prometheus"))
            .output();
        let Ok(ran) = ran else {
            eprintln!("promtool is not installed (Debian package `prometheus`): not checked");
            return;
        };
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        assert!(ran.status.success(), "promtool {arguments:?}: {said}");
    }
}

/// Its queries stand in JSON, where promtool does not look for them.
#[test]
fn promtool_takes_the_queries_of_the_dashboard() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| {
        panel["targets"].as_array().into_iter().flatten().map(|it| it["expr"].as_str().unwrap())
    });
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for (number, query) in targets.enumerate() {
        let query = Value::from(query.replace("$__rate_interval", "1m"));
        rules.push_str(&format!("  - record: dashboard:query{number}\n    expr: {query}\n"));
    }
    let file = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
    fs::write(file.path(), rules).unwrap();
    let ran = Command::new("promtool").args(["check", "rules"]).arg(file.path()).output();
    let Ok(ran) = ran else {
        eprintln!("promtool is not installed (Debian package `prometheus`): not checked");
        return;
    };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn the_stack_is_without_mistakes() {
    let stack = path("compose/monitoring/docker-compose.yml");
    let ran = Command::new(env!("CARGO_BIN_EXE_evenkeel")).arg("check").arg(&stack).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    let text = read("compose/monitoring/docker-compose.yml");
    let mounted = text.lines().filter_map(|line| line.trim().strip_prefix("- ."));
    let mounted: Vec<_> = mounted.map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(mounted.len(), 4, "{mounted:?}");
    for file in mounted {
        let file = stack.parent().unwrap().join(format!(".{file}"));
        assert!(file.exists(), "{} is mounted and does not exist", file.display());
    }
}

/// Every metric of the reference, as its samples are called.
fn known() -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut known = BTreeSet::new();
    for row in rows {
        let name = row.split('`').next().unwrap();
        known.insert(name.to_owned());
        if row.contains("| histogram |") {
            known.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")));
        }
    }
    known
}

/// All that looks like a metric of ours.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|it: char| !(it.is_ascii_alphanumeric() || it == '_'));
    let ours = |word: &&str| {
        ["evenkeel_", "process_", "traefik_"].iter().any(|prefix| word.starts_with(prefix))
    };
    words.filter(ours).map(str::to_owned).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

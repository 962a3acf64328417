//! The shape of the house, checked: who may import whom, and what every file owes its reader.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each top-level module and the modules it may import. Reads bottom up:
/// a module may only name modules listed above it.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("config", &["domain"]),
    ("live", &["domain"]),
    ("telemetry", &["domain", "config"]),
    ("tls", &["domain", "config", "telemetry"]),
    ("discovery", &["domain", "config", "telemetry", "tls"]),
    ("control", &["domain", "config", "telemetry", "live"]),
    ("probe", &["domain", "config", "telemetry", "live", "tls"]),
    ("proxy", &["domain", "config", "telemetry", "live", "tls"]),
    ("admin", &["domain", "config", "telemetry", "live", "tls", "control"]),
    (
        "app",
        &[
            "domain",
            "config",
            "telemetry",
            "live",
            "tls",
            "discovery",
            "control",
            "probe",
            "proxy",
            "admin",
        ],
    ),
    ("cli", &["domain", "config", "app", "admin"]),
];

/// Crates the pure core may not name: they do I/O, read clocks or spawn.
const BARRED_FROM_DOMAIN: &[&str] = &["tokio", "hyper", "bollard", "axum", "tracing", "serde"];

const LINES_MAX: usize = 600;

#[test]
fn modules_import_only_the_layers_below_them() {
    let layers: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let mut faults = Vec::new();
    for file in sources() {
        let Some(module) = file.module() else {
            continue;
        };
        let Some(allowed) = layers.get(module.as_str()) else {
            faults.push(format!("{}: module `{module}` is not in LAYERS", file.name()));
            continue;
        };
        for (line, used) in file.paths_from("crate::") {
            if used != module && !allowed.contains(&used.as_str()) {
                faults.push(format!("{}:{line}: `{module}` may not use `{used}`", file.name()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn layers_point_one_way() {
    for (place, (module, allowed)) in LAYERS.iter().enumerate() {
        for used in *allowed {
            let below = LAYERS[..place].iter().any(|(name, _)| name == used);
            assert!(below, "`{module}` names `{used}`, which is not below it");
        }
    }
}

#[test]
fn the_core_does_no_io() {
    let mut faults = Vec::new();
    for file in sources().filter(|file| file.module().as_deref() == Some("domain")) {
        for barred in BARRED_FROM_DOMAIN {
            for (line, _) in file.paths_from(&format!("{barred}::")) {
                faults.push(format!("{}:{line}: the core may not use `{barred}`", file.name()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_and_stays_readable() {
    let mut faults = Vec::new();
    for file in sources() {
        if !file.text.starts_with("//!") {
            faults.push(format!("{}: begins without a `//!` line", file.name()));
        }
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{}: {lines} lines, more than {LINES_MAX}", file.name()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The top-level module this file belongs to; none for `lib.rs`, `main.rs` and `app.rs`.
    fn module(&self) -> Option<String> {
        let inside = self.path.strip_prefix(root()).unwrap();
        let first = inside.components().next()?.as_os_str().to_str()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        (!["lib", "main"].contains(&name)).then(|| name.to_owned())
    }

    /// Line numbers and the identifier after each `prefix`, comments aside.
    fn paths_from<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (usize, String)> + 'a {
        self.text.lines().enumerate().flat_map(move |(index, line)| {
            let code = line.split("//").next().unwrap_or_default();
            code.match_indices(prefix).filter_map(move |(at, _)| {
                let whole =
                    !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
                let rest = &code[at + prefix.len()..];
                let end =
                    rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                whole.then(|| (index + 1, rest[..end].to_owned()))
            })
        })
    }

    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap().display().to_string()
    }
}

fn sources() -> impl Iterator<Item = Source> {
    let mut paths = Vec::new();
    collect(&root(), &mut paths);
    paths.sort();
    paths.into_iter().map(|path| Source { text: fs::read_to_string(&path).unwrap(), path })
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

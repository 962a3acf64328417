//! What labels do, case by case: a file of `cases/` each.
//!
//! Above the dashes stands what runs, below them the plan. `UPDATE_CASES=1 cargo
//! test --test all labels` writes the plans anew; read the difference then.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod case;
mod docs;
mod properties;
mod render;

use std::fs;
use std::path::{Path, PathBuf};

use crate::labels::case::Case;

#[test]
fn every_case_is_planned_as_it_is_written() {
    let mut faults = Vec::new();
    let paths = cases();
    assert!(paths.len() >= 25, "the cases are gone: {} left", paths.len());
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let (given, expected) = text.split_once("\n---\n").unwrap_or((text.trim_end(), ""));
        let plan = Case::parse(given).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
        let planned = render::plan(&plan.planned());
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&path, format!("{given}\n---\n{planned}")).unwrap();
        } else if planned != expected {
            faults.push(format!("{}\n{}", path.display(), difference(expected, &planned)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The lines that only one side has, in the order of the whole.
fn difference(expected: &str, planned: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (expected, planned) = (lines(expected), lines(planned));
    let missing = expected.iter().filter(|line| !planned.contains(line));
    let extra = planned.iter().filter(|line| !expected.contains(line));
    let shown =
        missing.map(|line| format!("  - {line}")).chain(extra.map(|line| format!("  + {line}")));
    shown.collect::<Vec<_>>().join("\n")
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/labels/cases");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths
}

//! What holds whatever a compose file holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::cli::check::project;
use crate::cli::finding::Finding;
use crate::domain::labels::LabelSettings;

proptest! {
    #[test]
    fn a_damaged_file_is_judged_without_a_panic(text in damaged()) {
        let (findings, took) = judged(&text);
        prop_assert!(findings.is_sorted());
        prop_assert!(took < PATIENCE, "{took:?}");
    }

    #[test]
    fn any_text_is_judged_without_a_panic(text in "(?s).{0,200}") {
        judged(&text);
    }
}

#[test]
fn merged_aliases_in_aliases_take_no_time() {
    let level = |level: usize| {
        format!(
            "a{level}: &a{level} {{<<: [{}]}}\n",
            vec![format!("*a{}", level - 1); 9].join(", ")
        )
    };
    let levels: String = (1..60).map(level).collect();
    let text = format!("a0: &a0 {{lb.pool: x}}\n{levels}services: {{a: {{labels: *a59}}}}\n");
    let (findings, took) = judged(&text);
    assert_eq!(findings, []);
    assert!(took < PATIENCE, "{took:?}");
}

/// One of the cases that are judged elsewhere, with pieces cut out, doubled, and
/// put in.
fn damaged() -> impl Strategy<Value = String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/check/cases");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|it| it == "yml"));
    let texts: Vec<_> = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert!(texts.len() >= 10, "the cases are gone");
    let damage = (any::<Index>(), 0..40_usize, select(PIECES));
    (select(texts), vec(damage, 1..8)).prop_map(|(text, damages)| {
        let mut letters: Vec<char> = text.chars().collect();
        for (place, length, piece) in damages {
            let start = place.index(letters.len() + 1);
            let end = (start + length).min(letters.len());
            let cut: Vec<char> = letters.drain(start..end).collect();
            let put = if *piece == *"again" { cut.repeat(2) } else { piece.chars().collect() };
            letters.splice(start..start, put);
        }
        letters.into_iter().collect()
    })
}

#[expect(clippy::disallowed_methods, reason = "the time that it really takes is bounded")]
fn judged(text: &str) -> (Vec<Finding>, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("compose.yml");
    std::fs::write(&file, text).unwrap();
    let started = Instant::now();
    let findings = project::check(&[file], &[], &LabelSettings::default(), &BTreeMap::new());
    (findings, started.elapsed())
}

const PIECES: &[&str] = &[
    "",
    "again",
    "\n",
    "  ",
    "\t",
    ":",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: *a",
    "!!x ",
    "'",
    "\"",
    "|\n",
    ">",
    "#",
    "?",
    "---\n",
    "...\n",
    "%",
    "@",
    "$",
    "${",
    "${A:-",
    "}",
    "\u{0}",
    "\u{feff}",
    "ü",
    "services",
    "networks",
    "labels",
    "extends",
    "include",
    "lb.",
    "lb.host",
    "/",
    "0",
    "-1",
    "99999999999",
    "65536",
    "0-65535",
    "null",
    "~",
    "a=b",
    "service:",
    "host",
    "\\",
    "\"\\u0000\"",
];

/// A thousand times what a file takes, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(20);

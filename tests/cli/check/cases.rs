//! What is told of compose files, case by case: a file or a folder of `cases/`
//! each, beside what is printed of it.
//!
//! `UPDATE_CASES=1 cargo test --test all cli::check` writes that anew; read the
//! difference then.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::support::run_in;

#[test]
fn every_case_is_told_as_it_is_written() {
    let mut faults = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 15, "the cases are gone: {} left", cases.len());
    for case in cases {
        let name = case.file_name().unwrap().to_str().unwrap();
        let ran = run_in(&folder(), &["check", name]);
        assert_eq!(ran.stderr, "", "{name}");
        let told = format!("{}exit {}\n", ran.stdout, ran.code.unwrap());
        let kept = folder().join(name).with_extension("txt");
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&kept, &told).unwrap();
        }
        let expected = fs::read_to_string(&kept).unwrap_or_default();
        if told != expected {
            faults.push(format!("{name}\nexpected:\n{expected}\ntold:\n{told}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_page_shows_what_is_really_told() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/check.md")).unwrap();
    let file = fs::read_to_string(folder().join("shop.yml")).unwrap();
    assert!(page.contains(&format!("```yaml\n{file}```")), "docs/check.md has another shop.yml");
    for arguments in [&["check", "shop.yml"][..], &["check", "--format", "github", "shop.yml"]] {
        let told = run_in(&folder(), arguments).stdout;
        // Of annotations the page shows the first.
        let shown = if arguments.len() > 2 { told.lines().next().unwrap() } else { &told };
        assert!(page.contains(shown), "docs/check.md lacks this:\n{shown}");
    }
    let told = run_in(&folder(), &["check", "--json", "shop.yml"]).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let shown = page.split("```json\n").nth(1).and_then(|it| it.split("```").next()).unwrap();
    let mut shown: serde_json::Value = serde_json::from_str(shown).unwrap();
    // It shows the first finding of all.
    let first = shown["findings"][0].take();
    assert_eq!(first, told["findings"][0]);
    assert_eq!((&shown["errors"], &shown["warnings"]), (&told["errors"], &told["warnings"]));
}

/// The files of `compose/`, each with those that it is laid over.
#[test]
fn every_compose_file_of_ours_is_clean() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = compose_files(&root.join("compose"));
    assert!(files.len() >= 8, "{files:?}");
    // Others are read by what runs in those stacks.
    let is_compose = |file: &&PathBuf| fs::read_to_string(file).unwrap().contains("\nservices:");
    for file in files.iter().filter(is_compose) {
        let file = file.strip_prefix(root).unwrap().to_str().unwrap();
        let beneath = file.strip_suffix("-https.yml").map(|beneath| format!("{beneath}.yml"));
        let mut arguments = vec!["check", "--strict"];
        arguments.extend(beneath.as_deref());
        arguments.push(file);
        let ran = run_in(root, &arguments);
        assert!(ran.stdout.ends_with(": no mistakes found\n"), "{file}: {}", ran.stdout);
        assert_eq!(ran.code, Some(0));
    }
}

fn compose_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|it| it == "yml"));
    files.chain(folders.iter().flat_map(|folder| compose_files(folder))).collect()
}

/// Files and folders: all that is not what is printed of one.
fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let is_case = |path: &PathBuf| path.extension().is_none_or(|extension| extension == "yml");
    let mut cases: Vec<_> = entries.filter(is_case).collect();
    cases.sort();
    cases
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/check/cases")
}

//! `evenkeel check` on compose files.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod cases;

use crate::cli::support::Desk;

const COMPOSE: &str = "\
services:
  api:
    image: api
    labels:
      lb.pool: api
      lb.prot: 8080
  web:
    image: web
    labels:
      - lb.port=80a
      - lb.hots=web.example.com
  db:
    image: db
    labels:
      lb.host: [a.example.com, b.example.com]
";

#[test]
fn a_compose_file_is_judged_with_line_and_column() {
    let ran = Desk::new().with("compose.yml", COMPOSE).run(&["check", "compose.yml"]);
    assert_eq!(ran.code, Some(1));
    let expected = "compose.yml:15:7: error: service `db`: label `lb.host` is not a text\n  hint: ";
    assert!(ran.stdout.contains(expected), "{}", ran.stdout);
}

#[test]
fn misspelt_labels_and_wrong_values_are_told_where_they_stand() {
    let ran = Desk::new().with("compose.yml", COMPOSE).run(&["check", "compose.yml"]);
    assert_eq!(ran.code, Some(1));
    for (place, meant) in [
        ("compose.yml:6:7: error: service `api`: label `lb.prot` ", "`lb.port`"),
        ("compose.yml:10:9: error: service `web`: label `lb.port` is `80a`", "number"),
        ("compose.yml:11:9: error: service `web`: label `lb.hots` ", "`lb.host`"),
    ] {
        let found =
            ran.stdout.split_once(place).unwrap_or_else(|| panic!("{place}: {}", ran.stdout));
        let hint = found.1.lines().nth(1).unwrap();
        assert!(hint.starts_with("  hint: ") && hint.contains(meant), "{hint}");
    }
    // That `web` is closed follows from its misspelt guard.
    assert!(ran.stdout.ends_with("compose.yml: 4 errors, 1 warning\n"), "{}", ran.stdout);
}

#[test]
fn labels_of_a_written_pool_are_told_where_they_stand() {
    let file = "[pools.api]\nservers = ['h:1']\nhots = 'a.example.com'\n";
    let desk = Desk::new().with("evenkeel.toml", file);
    for arguments in [&["check"][..], &["check", "evenkeel.toml"]] {
        let ran = desk.run(arguments);
        assert_eq!(ran.code, Some(1));
        let expected = "evenkeel.toml:3:1: error: pool `api`: label `lb.hots` ";
        assert!(ran.stdout.contains(expected), "{}", ran.stdout);
    }
}

#[test]
fn good_services_pass_variables_and_foreign_labels_among_them() {
    let text = "services:\n  a:\n    labels:\n      lb.pool: a\n      lb.port: ${PORT}\n      \
                traefik.enable: 1\n";
    let ran = Desk::new().with("c.yaml", text).run(&["check", "c.yaml"]);
    assert_eq!(ran.stdout, "c.yaml: no mistakes found\n");
    assert_eq!(ran.code, Some(0));
}

#[test]
fn a_warning_alone_is_no_failure() {
    let ran = Desk::new().with("c.yml", "services: {a: {image: x}}").run(&["check", "c.yml"]);
    assert!(ran.stdout.starts_with("c.yml:1:1: warning: no service has a label"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("\nc.yml: 1 warning\n"), "{}", ran.stdout);
    assert_eq!(ran.code, Some(0));
}

#[test]
fn the_label_prefix_of_the_settings_counts() {
    let text = "services: {a: {labels: {lb.pool: a}}}";
    let desk = Desk::new().with("c.yml", text).env("EVENKEEL_LABEL_PREFIX", "edge");
    let ran = desk.run(&["check", "c.yml"]);
    assert!(ran.stdout.contains("begins with `edge.`"), "{}", ran.stdout);
}

#[test]
fn several_files_are_told_apart() {
    let desk = Desk::new().with("a.yml", "services: [").with("b.toml", "x = 1").with("c.txt", "");
    let ran = desk.run(&["check", "a.yml", "b.toml", "c.txt", "d.yml"]);
    assert_eq!(ran.code, Some(1));
    for part in ["a.yml:", "b.toml:1:1: error: ", "c.txt: error: ", "d.yml: error: "] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    assert!(ran.stdout.ends_with("4 files: 4 errors\n"), "{}", ran.stdout);
}

#[test]
fn no_daemon_is_asked_when_docker_is_off() {
    let ran = Desk::new().env("EVENKEEL_DOCKER", "off").run(&["check", "--docker"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.starts_with("error: `docker` is `off`"), "{}", ran.stdout);
}

#[test]
fn label_files_are_judged_where_they_are_and_said_not_to_be_where_they_are_not() {
    let file = "services:\n  a:\n    labels:\n      lb.auth.basic: file:users\n";
    let desk = Desk::new().with("compose.yml", file).with("users", "ann:plain\n");
    let ran = desk.run(&["check", "compose.yml", "--label-files", "/nowhere"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    let said = "compose.yml:4:7: warning: label file `users` is not judged, since what the \
                balancer sees at `/nowhere` is not here";
    assert!(ran.stdout.contains(said), "{}", ran.stdout);

    let folder = desk.folder.path().to_str().unwrap().to_owned();
    let ran = desk.run(&["check", "compose.yml", "--label-files", &folder]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let said =
        "compose.yml:4:7: error: service `a`: label `lb.auth.basic` has `ann`, which has no hash";
    assert!(ran.stdout.contains(said), "{}", ran.stdout);
}

#[test]
fn warnings_count_where_that_is_asked_for() {
    let desk = Desk::new().with("c.yml", "services: {a: {image: x}}");
    assert_eq!(desk.run(&["check", "c.yml"]).code, Some(0));
    assert_eq!(desk.run(&["check", "--strict", "c.yml"]).code, Some(1));
    let clean = Desk::new().with("c.yml", "services: {a: {labels: {lb.pool: a}}}");
    assert_eq!(clean.run(&["check", "--strict", "c.yml"]).code, Some(0));
}

#[test]
fn findings_are_told_to_programs() {
    let text = "services: {a: {labels: {lb.prot: 1}}}";
    let desk = Desk::new().with("c.yml", text);
    let json = desk.run(&["check", "--json", "c.yml", "d.txt"]);
    assert_eq!(json.code, Some(1));
    let told: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let expected = serde_json::json!({
        "findings": [
            {
                "severity": "error",
                "place": "c.yml:1:25",
                "file": "c.yml",
                "line": 1,
                "column": 25,
                "message": "service `a`: label `lb.prot` is unknown",
                "hint": "did you mean `lb.port`?",
            },
            {
                "severity": "error",
                "place": "d.txt",
                "file": "d.txt",
                "line": null,
                "column": null,
                "message": "this is no file that can be checked",
                "hint": "name a file of settings (.toml) or a compose file (.yml, .yaml)",
            },
        ],
        "errors": 2,
        "warnings": 0,
    });
    assert_eq!(told, expected);
    assert_eq!(json.stdout, desk.run(&["check", "--format", "json", "c.yml", "d.txt"]).stdout);
}

#[test]
fn findings_are_told_to_github() {
    let desk = Desk::new().with("c.yml", "services: {a: {labels: {lb.prot: 1}}}");
    let ran = desk.run(&["check", "--format", "github", "c.yml"]);
    assert_eq!(
        ran.stdout,
        "::error file=c.yml,line=1,col=25::service `a`: label `lb.prot` is unknown%0Adid you mean \
         `lb.port`?\nc.yml: 1 error\n"
    );
}

#[test]
fn no_control_character_of_a_file_is_printed() {
    let text = "services: {\"a\\e[31m\\n::error::x\": {labels: {lb.prot: 1}}}";
    let ran = Desk::new().with("c.yml", text).run(&["check", "c.yml"]);
    assert!(ran.stdout.starts_with("c.yml:1:"), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\x1b') && !ran.stdout.contains("\n::error"), "{}", ran.stdout);
}

#[test]
fn without_files_the_settings_and_the_usual_compose_file_are_judged() {
    let text = "services: {a: {labels: {lb.prot: 1}}}";
    for name in ["docker-compose.yml", "compose.yaml"] {
        let ran = Desk::new().with(name, text).run(&["check"]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stdout.starts_with(&format!("{name}:1:25: error: ")), "{}", ran.stdout);
        assert!(ran.stdout.ends_with(&format!("settings and {name}: 1 error\n")), "{}", ran.stdout);
    }
    let ran = Desk::new().run(&["check"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "settings: no mistakes found\n"));
    let ran = Desk::new().run(&["check", "."]);
    assert!(ran.stdout.starts_with(".: error: there is no compose file"), "{}", ran.stdout);
}

#[test]
fn compose_files_that_are_named_together_are_one_project() {
    let desk = Desk::new()
        .with("a.yml", "services: {a: {labels: {lb.pool: a}, networks: [front]}}")
        .with("b.yml", "networks: {front: {}}");
    assert_eq!(desk.run(&["check", "a.yml"]).code, Some(1));
    let both = desk.run(&["check", "a.yml", "b.yml"]);
    assert_eq!(both.stdout, "2 files: no mistakes found\n");
}

#[test]
fn what_nobody_asks_for_is_wrong_use() {
    assert_eq!(Desk::new().run(&["check", "--format", "xml"]).code, Some(2));
    assert_eq!(Desk::new().run(&["check", "--json", "--format", "json"]).code, Some(2));
}

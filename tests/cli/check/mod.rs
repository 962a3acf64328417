//! `evenkeel check` on compose files.

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
    let said = "warning: label file `users` is not judged, since `/nowhere` is not here";
    assert!(ran.stdout.contains(said), "{}", ran.stdout);

    let folder = desk.folder.path().to_str().unwrap().to_owned();
    let ran = desk.run(&["check", "compose.yml", "--label-files", &folder]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let said =
        "compose.yml:4:7: error: service `a`: label `lb.auth.basic` has `ann`, which has no hash";
    assert!(ran.stdout.contains(said), "{}", ran.stdout);
}

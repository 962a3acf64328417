//! How settings are read and refused.

use crate::cli::support::Desk;

const THREE_MISTAKES: &str = "\
htpp = [\":80\"]
workers = 0

[pools.api]
servers = [\"10.0.0.1\"]
";

const FINDINGS: &str = "\
evenkeel.toml:1:1: error: `htpp` is not a setting
  hint: did you mean `http`?
evenkeel.toml:2:11: error: `workers` is `0`, which is not a number of threads
  hint: write a number from 1 to 1024, or leave it out for one a CPU
evenkeel.toml:5:12: error: server `10.0.0.1` of pool `api` has no port
  hint: write `HOST:PORT`, such as `10.0.0.5:8080` or `[fd00::5]:8080`
";

#[test]
fn three_mistakes_in_a_file_are_told_at_once_and_nothing_starts() {
    let ran = Desk::new().with("evenkeel.toml", THREE_MISTAKES).run(&[]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.stderr, format!("{FINDINGS}3 errors\n"));
    assert_eq!(ran.stdout, "");
}

#[test]
fn check_tells_the_same_on_stdout() {
    let desk = Desk::new().with("evenkeel.toml", THREE_MISTAKES);
    let here = desk.run(&["check"]);
    assert_eq!(here.code, Some(1));
    assert_eq!(here.stdout, format!("{FINDINGS}settings with evenkeel.toml: 3 errors\n"));
    let named = desk.run(&["check", "evenkeel.toml"]);
    assert_eq!(named.code, Some(1));
    assert_eq!(named.stdout, format!("{FINDINGS}evenkeel.toml: 3 errors\n"));
}

#[test]
fn mistakes_of_every_layer_are_told_together() {
    let desk = Desk::new().with("evenkeel.toml", "user = 'nobody'").env("EVENKEEL_ADMNI", ":1");
    let ran = desk.run(&["run", "--log", "inof", "--access-log", "x"]);
    assert_eq!(ran.code, Some(1));
    for place in [
        "evenkeel.toml:1:8: ",
        "environment EVENKEEL_ADMNI: ",
        "flag --log: ",
        "flag --access-log: ",
    ] {
        assert!(ran.stderr.contains(&format!("{place}error: ")), "{place}\n{}", ran.stderr);
    }
    assert!(ran.stderr.contains("did you mean `EVENKEEL_ADMIN`?"), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("4 errors\n"), "{}", ran.stderr);
}

#[test]
fn good_settings_pass_the_check() {
    let desk = Desk::new()
        .with("evenkeel.toml", "http = 8000\n[pools.a]\nservers = 'h:1'\nhost = 'a.org'\n");
    let ran = desk.env("EVENKEEL_POOL_B", "h:2").run(&["check", "--workers", "2"]);
    assert_eq!(ran.stdout, "settings with evenkeel.toml: no mistakes found\n");
    assert_eq!(ran.code, Some(0));
}

#[test]
fn a_named_file_must_exist() {
    let ran = Desk::new().run(&["--config", "no.toml"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.starts_with("flag --config: error: `config` is `no.toml`"),
        "{}",
        ran.stderr
    );
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read_is_told_and_not_passed_over() {
    let desk = Desk::new();
    std::fs::create_dir(desk.folder.path().join("evenkeel.toml")).unwrap();
    let ran = desk.run(&["check"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.starts_with("evenkeel.toml: error: "), "{}", ran.stdout);
}

//! What the help says.

use evenkeel::config::SETTINGS;

use crate::cli::support::Desk;

#[test]
fn the_help_explains_every_setting_with_flag_variable_and_default() {
    for arguments in [&["--help"][..], &["run", "--help"]] {
        let ran = Desk::new().run(arguments);
        assert_eq!(ran.code, Some(0));
        for setting in &SETTINGS {
            for part in
                [format!("--{} <", setting.flag()), setting.variable(), setting.help.to_owned()]
            {
                assert!(ran.stdout.contains(&part), "{arguments:?} lacks {part}:\n{}", ran.stdout);
            }
        }
    }
}

#[test]
fn the_short_help_names_every_command_and_flag() {
    let ran = Desk::new().run(&["-h"]);
    for command in
        ["run", "check", "status", "top", "explain", "drain", "undrain", "healthcheck", "whoami"]
    {
        assert!(ran.stdout.contains(&format!("\n  {command} ")), "{command}: {}", ran.stdout);
    }
    for setting in &SETTINGS {
        assert!(ran.stdout.contains(&format!("--{} ", setting.flag())), "{}", setting.name);
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let ran = Desk::new().run(&["--version"]);
    assert_eq!(ran.stdout, format!("evenkeel {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_unknown_flag_is_refused_with_what_was_meant() {
    let ran = Desk::new().run(&["--htpp", ":80"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("--http"), "{}", ran.stderr);
}

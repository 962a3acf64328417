//! The pages about settings, made from the table.

use std::fmt::Write;

use crate::config::setting::{Arity, Setting};
use crate::config::settings::SETTINGS;

/// `docs/configuration.md`.
pub fn documentation() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("| flag | variable | key in the file | default |\n|---|---|---|---|\n");
    for setting in &SETTINGS {
        let key = if setting.is_in_file() { format!("`{}`", setting.name) } else { String::new() };
        let row = format!(
            "| [`--{flag}`](#{flag}) | `{}` | {key} | {} |\n",
            setting.variable(),
            setting.absent.text(),
            flag = setting.flag(),
        );
        page.push_str(&row);
    }
    for setting in &SETTINGS {
        section(&mut page, setting);
    }
    page.push_str(POOLS);
    page
}

/// `docs/evenkeel.example.toml`: every setting, commented out.
pub fn example() -> String {
    let mut file = EXAMPLE_INTRODUCTION.to_owned();
    for setting in SETTINGS.iter().filter(|setting| setting.is_in_file()) {
        // Writing to a string cannot fail.
        let _ = writeln!(file, "\n## {}.", setting.help);
        for line in wrapped(setting.more, 76) {
            let _ = writeln!(file, "## {line}");
        }
        let _ = writeln!(file, "## Default: {}", setting.absent.text());
        let _ = writeln!(file, "#{} = {}", setting.name, setting.example);
    }
    file.push_str(EXAMPLE_POOLS);
    file
}

fn section(page: &mut String, setting: &Setting) {
    let _ = writeln!(page, "\n## {}\n\n{}. {}\n", setting.flag(), setting.help, setting.more);
    let several = match setting.arity {
        Arity::One => "",
        Arity::List => " Several: repeat the flag, or separate them by commas or spaces.",
        Arity::Words => " Several: repeat the flag; in the variable separate them by spaces.",
    };
    let flag = setting.flag();
    let _ = writeln!(page, "- Flag: `--{flag} {}`.{several}", setting.value);
    let _ = writeln!(page, "- Variable: `{}`", setting.variable());
    if setting.is_in_file() {
        let _ = writeln!(page, "- File: `{} = {}`", setting.name, setting.example);
    }
    let _ = writeln!(page, "- Default: {}", setting.absent.text());
}

/// The words of `text` in lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Made from the table in src/config/settings.rs; tests/cli/documentation.rs says how to renew it. -->

Evenkeel needs no configuration to balance labelled containers. What can be set
can be set in three ways that mean the same: a flag, an environment variable, a
key in `evenkeel.toml`. A later layer replaces the value of an earlier one:

defaults < file < environment < flags

All mistakes of all layers are reported at once, each with its place and a hint,
and the balancer does not start. `evenkeel check` reports them without starting.
An unknown key, or an unknown variable that begins with `EVENKEEL_`, is a mistake
too; an empty variable says nothing.

The file is `evenkeel.toml` in the working directory, else
`/etc/evenkeel/evenkeel.toml`; [an example](evenkeel.example.toml) shows every key.
In its keys `-` and `_` are the same. Durations and sizes carry their unit:
`500ms`, `1m30s`, `64KiB`.

";

const POOLS: &str = r#"
## Pools in the file

A pool of servers that no source finds is a table of its own. `servers` are
`HOST:PORT`; every other key is a label without its prefix, nested or dotted. Of
`hold` and `hold.max` the longer one is quoted, since TOML takes the shorter for
a value: `"hold.max" = 100`.

```toml
[pools.legacy]
servers = ["10.0.0.5:8080", "legacy.internal:8080"]
host = "legacy.example.com"
timeout.response = "5s"
```

`EVENKEEL_POOL_LEGACY="10.0.0.7:8080"` replaces the servers of that pool and leaves
its labels.
"#;

const EXAMPLE_INTRODUCTION: &str = "\
## Settings of Evenkeel, each commented out with an example value.
## Take away one `#` to set one. Flags and EVENKEEL_* variables come before this file.
## See docs/configuration.md.
";

const EXAMPLE_POOLS: &str = r#"
## Pools of servers that are written down rather than found. Every key but
## `servers` is a label without its prefix.
#[pools.legacy-shop]
#servers = ["10.0.0.5:8080", "shop.internal:8080"]
#host = "shop.example.com"
#timeout.response = "5s"
"#;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::config::load;

    #[test]
    fn every_line_of_the_example_can_be_used() {
        let uncommented: String = example()
            .lines()
            .filter(|line| !line.starts_with("##"))
            .map(|line| format!("{}\n", line.strip_prefix('#').unwrap_or(line)))
            .collect();
        let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        let files = |path: &Path| match path.file_name().and_then(|name| name.to_str()) {
            Some("evenkeel.toml") => Ok(uncommented.clone()),
            Some("acme-ca.pem") => Ok(authority.cert.pem()),
            Some("evenkeel-eab-key") => Ok("c2VjcmV0".to_owned()),
            _ => Ok("the-token-of-this-test".to_owned()),
        };
        let config = load(&[], &BTreeMap::new(), &files).unwrap();
        assert_eq!(config.pools.len(), 2);
        assert_eq!(config.user, Some(65_532));
    }

    #[test]
    fn every_setting_has_a_section_with_its_three_names() {
        let page = documentation();
        for setting in &SETTINGS {
            assert!(page.contains(&format!("\n## {}\n", setting.flag())));
            assert!(page.contains(&format!("- Variable: `{}`", setting.variable())));
        }
    }
}

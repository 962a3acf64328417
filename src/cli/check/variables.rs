//! `${VARIABLE}` in compose files, as far as the file itself can say.

/// The text with `$$` and defaults (`${PORT:-80}`) filled in, and whether
/// anything is left open that only compose can know.
pub(super) fn filled_in(written: &str) -> (String, bool) {
    let mut filled = String::new();
    let mut is_open = false;
    let mut rest = written;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        let (text, open, left) = variable(after);
        filled.push_str(&text);
        is_open |= open;
        rest = left;
    }
    filled.push_str(rest);
    (filled, is_open)
}

/// Reads what stands behind a `$`: its text, whether it is left open, and the
/// rest.
fn variable(after: &str) -> (String, bool, &str) {
    if let Some(rest) = after.strip_prefix('$') {
        return ("$".to_owned(), false, rest);
    }
    let Some(inside) = after.strip_prefix('{') else {
        let named = after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        return ("$".to_owned(), named, after);
    };
    let Some((inner, rest)) = inside.split_once('}') else {
        return ("$".to_owned(), true, after);
    };
    let name_end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let operator = inner.split_at_checked(name_end.unwrap_or(inner.len())).map_or("", |it| it.1);
    let default = operator.strip_prefix(":-").or_else(|| operator.strip_prefix('-'));
    match default.filter(|default| !default.contains('$')) {
        Some(default) => (default.to_owned(), false, rest),
        None => (format!("${{{inner}}}"), true, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_doubled_dollars_are_known() {
        for (written, filled) in [
            ("80", "80"),
            ("${PORT:-80}", "80"),
            ("a${X-b}c", "abc"),
            ("u:$$apr1$$x", "u:$apr1$x"),
            ("5$ and $1", "5$ and $1"),
        ] {
            assert_eq!(filled_in(written), (filled.to_owned(), false), "{written}");
        }
    }

    #[test]
    fn what_only_compose_knows_is_left_alone() {
        for written in ["${PORT}", "$PORT", "${PORT:?say it}", "${A:-${B}}", "x${", "${A:+1}.org"] {
            assert_eq!(filled_in(written), (written.to_owned(), true), "{written}");
        }
    }
}

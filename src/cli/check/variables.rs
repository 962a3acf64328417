//! `${VARIABLE}` in compose files, as far as we can tell: from the environment,
//! from `.env`, and from what the file itself says.

use std::collections::BTreeMap;

/// The values of variables that are known here. Compose may know others where
/// the file is used.
#[derive(Debug, Default)]
pub(super) struct Variables {
    known: BTreeMap<String, String>,
}

impl Variables {
    /// Those of `.env` give way to those of the environment.
    pub(super) fn new(env: &BTreeMap<String, String>, dotenv: BTreeMap<String, String>) -> Self {
        let mut known = dotenv;
        known.extend(env.iter().map(|(name, value)| (name.clone(), value.clone())));
        Self { known }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.known.get(name).map(String::as_str)
    }

    /// The text with variables, defaults (`${PORT:-80}`) and `$$` filled in, and
    /// whether anything is left open that only compose can know.
    pub(super) fn fill(&self, written: &str) -> (String, bool) {
        self.fill_within(written, NESTED_MAX)
    }

    fn fill_within(&self, written: &str, nested: usize) -> (String, bool) {
        let mut filled = String::new();
        let mut is_open = false;
        let mut rest = written;
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            let (text, open, left) = self.variable(after, nested);
            filled.push_str(&text);
            is_open |= open;
            rest = left;
        }
        filled.push_str(rest);
        (filled, is_open)
    }

    /// Reads what stands behind a `$`: its text, whether it is left open, and
    /// the rest.
    fn variable<'a>(&self, after: &'a str, nested: usize) -> (String, bool, &'a str) {
        if let Some(rest) = after.strip_prefix('$') {
            return ("$".to_owned(), false, rest);
        }
        let Some(inside) = after.strip_prefix('{') else {
            let (name, rest) = named(after);
            return match self.get(name) {
                _ if name.is_empty() => ("$".to_owned(), false, after),
                Some(value) => (value.to_owned(), false, rest),
                None => (format!("${name}"), true, rest),
            };
        };
        let Some((inner, rest)) = braced(inside) else {
            // Nothing that follows can be told from what is meant here.
            return (format!("${after}"), true, "");
        };
        let (name, operator) = named(inner);
        let value = self.get(name);
        let given = value.filter(|value| !value.is_empty());
        let open = || (format!("${{{inner}}}"), true);
        let alternative = |text: &str| match nested.checked_sub(1) {
            Some(nested) => self.fill_within(text, nested),
            None => open(),
        };
        let known = |value: Option<&str>| value.map(|value| (value.to_owned(), false));
        let (text, is_open) = match operator.split_at_checked(2) {
            Some((":-", default)) => known(given).unwrap_or_else(|| alternative(default)),
            Some((":+", other)) => match (value, given) {
                (None, _) => open(),
                (Some(_), None) => (String::new(), false),
                (Some(_), Some(_)) => alternative(other),
            },
            Some((":?", _)) => known(given).unwrap_or_else(open),
            Some(_) | None => match operator.split_at_checked(1) {
                None => known(value).unwrap_or_else(open),
                Some(("-", default)) => known(value).unwrap_or_else(|| alternative(default)),
                Some(("+", other)) if value.is_some() => alternative(other),
                Some(("?", _)) => known(value).unwrap_or_else(open),
                Some(_) => open(),
            },
        };
        (text, is_open, rest)
    }
}

/// The variables of a file such as `.env`. Those that are made of others are
/// left out, since which come first is not the same in every compose.
pub(super) fn of_file(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
        let value = value.trim();
        let quoted = |quote: char| {
            let inside = value.strip_prefix(quote)?;
            inside.split_once(quote).map(|(inside, _)| inside)
        };
        let read = match (quoted('\''), quoted('"')) {
            (Some(literal), _) => return Some((name.trim().to_owned(), literal.to_owned())),
            (None, Some(inside)) => inside,
            (None, None) => value.split_once(" #").map_or(value, |(value, _)| value.trim_end()),
        };
        (!read.contains('$')).then(|| (name.trim().to_owned(), read.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// The name at the start of `text`, and the rest.
fn named(text: &str) -> (&str, &str) {
    let is_part = |(index, c): (usize, char)| {
        c == '_' || c.is_ascii_alphabetic() || index > 0 && c.is_ascii_digit()
    };
    let end = text.char_indices().find(|it| !is_part(*it)).map_or(text.len(), |(end, _)| end);
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// What stands before the brace that closes, and behind it.
fn braced(inside: &str) -> Option<(&str, &str)> {
    let mut open = 1_usize;
    let mut before = ' ';
    for (index, c) in inside.char_indices() {
        match c {
            '{' if before == '$' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some((inside.get(..index)?, inside.get(index + 1..)?));
        }
        before = c;
    }
    None
}

/// A default within a default within a default is more than people write.
const NESTED_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        let env = BTreeMap::from([("SET".to_owned(), "1".to_owned())]);
        let dotenv = of_file("SET=2\nEMPTY=\nFILE='x y'\n");
        Variables::new(&env, dotenv)
    }

    #[test]
    fn what_is_known_here_is_filled_in() {
        for (written, filled) in [
            ("80", "80"),
            ("${PORT:-80}", "80"),
            ("a${X-b}c", "abc"),
            ("u:$$apr1$$x", "u:$apr1$x"),
            ("5$ and $1", "5$ and $1"),
            ("$SET/${SET}/${SET:-7}/${SET:?no}", "1/1/1/1"),
            ("$FILE", "x y"),
            ("[${EMPTY}${EMPTY-7}${EMPTY:+8}]", "[]"),
            ("${EMPTY:-7}${SET:+8}${SET+9}", "789"),
            ("${A:-${B:-${SET}}}", "1"),
            ("${A:-a}b}", "ab}"),
        ] {
            assert_eq!(variables().fill(written), (filled.to_owned(), false), "{written}");
        }
    }

    #[test]
    fn what_only_compose_knows_is_left_alone() {
        for written in [
            "${PORT}",
            "$PORT",
            "${PORT:?say it}",
            "${A:+1}.org",
            "${A+1}",
            "x${",
            "${A:-${B}",
            "${EMPTY:?no}",
            "${}",
        ] {
            assert_eq!(variables().fill(written), (written.to_owned(), true), "{written}");
        }
        assert_eq!(variables().fill("${A:-${B}}"), ("${B}".to_owned(), true));
    }

    #[test]
    fn defaults_are_nested_so_deep_and_no_deeper() {
        let nested = |depth| format!("{}x{}", "${A:-".repeat(depth), "}".repeat(depth));
        assert_eq!(variables().fill(&nested(NESTED_MAX)), ("x".to_owned(), false));
        assert!(variables().fill(&nested(NESTED_MAX + 1)).1);
        assert!(variables().fill(&"${".repeat(500_000)).1);
    }

    #[test]
    fn a_file_of_variables_has_comments_quotes_and_exports() {
        let read = of_file("# A=1\nB = 2 # two\nexport C=\"3 #\"\nD='$x'\nE=$B\nF\n");
        let expected = [("B", "2"), ("C", "3 #"), ("D", "$x")];
        assert_eq!(read, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }
}

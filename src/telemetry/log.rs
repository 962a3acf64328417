//! The log: what happens to the balancer, for the person who runs it.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use tracing_subscriber::filter::{EnvFilter, ParseError};

use crate::domain::suggest::nearest;

/// Why a string does not say what to log.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFilter {
    #[error(
        "`{given}` is not a log level: write `error`, `warn`, `info`, `debug` or `trace`{}",
        also(.given, .nearest)
    )]
    Level { given: String, nearest: Option<&'static str> },
    #[error(
        "`{given}` is not a log filter: write a level such as `info`, or `info,evenkeel=debug`"
    )]
    Syntax {
        given: String,
        #[source]
        source: ParseError,
    },
}

/// Shows an error followed by all of its sources: `outer: inner: innermost`.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

/// Writes the log to stderr from now on, one line an event, with colours only
/// on a terminal and only unless `NO_COLOR` is set.
///
/// `filter` is a level, or levels by module: `info,evenkeel=debug`. The first
/// call decides for the life of the process; later ones only check `filter`.
pub fn start(filter: &str) -> Result<(), InvalidFilter> {
    let filter = parse(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(OneLine::stderr);
    let started = if io::stderr().is_terminal() {
        // The library's own default looks at NO_COLOR.
        tracing::subscriber::set_global_default(builder.finish())
    } else {
        tracing::subscriber::set_global_default(builder.with_ansi(false).finish())
    };
    drop(started);
    Ok(())
}

fn parse(given: &str) -> Result<EnvFilter, InvalidFilter> {
    // The library takes a bare word for a module's name and would log nothing
    // else, so that a slip in a level silenced the balancer.
    let bare = |part: &&str| !part.is_empty() && !part.contains(['=', '[', ':']);
    let level = |part: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part));
    if let Some(slip) = given.split(',').map(str::trim).filter(bare).find(|part| !level(part)) {
        return Err(InvalidFilter::Level {
            given: slip.to_owned(),
            nearest: nearest(slip, LEVELS.iter().copied()),
        });
    }
    EnvFilter::builder()
        .parse(given)
        .map_err(|source| InvalidFilter::Syntax { given: given.to_owned(), source })
}

fn also(given: &str, nearest: &Option<&'static str>) -> String {
    match nearest {
        Some(nearest) => format!(" (did you mean `{nearest}`?)"),
        None => format!(", or `{given}=trace` for a module"),
    }
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}

/// Keeps an event on its line: what a container's name or a daemon's answer
/// brings in must not look like an event of its own.
#[derive(Debug)]
struct OneLine<W>(W);

impl OneLine<io::Stderr> {
    fn stderr() -> Self {
        Self(io::stderr())
    }
}

impl<W: Write> Write for OneLine<W> {
    /// Takes one whole event, which is how events arrive.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        if text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            let mut line = Vec::with_capacity(event.len() + 16);
            for &byte in text {
                match byte {
                    b'\n' => line.extend_from_slice(b"\\n"),
                    b'\r' => line.extend_from_slice(b"\\r"),
                    _ => line.push(byte),
                }
            }
            line.push(b'\n');
            self.0.write_all(&line)?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_or_levels_by_module_are_a_filter() {
        for given in ["info", "DEBUG", "off", "warn,evenkeel=debug", "evenkeel::proxy=trace"] {
            assert!(parse(given).is_ok(), "`{given}`");
        }
    }

    #[test]
    fn a_slip_in_a_level_is_refused_with_what_was_meant() {
        let refused = parse("inof").unwrap_err().to_string();
        assert!(refused.starts_with("`inof` is not a log level"), "{refused}");
        assert!(refused.ends_with("(did you mean `info`?)"), "{refused}");
        assert!(parse("info,evenkeel=debgu").is_err());
    }

    #[test]
    fn a_module_without_its_level_is_refused_with_the_way_to_write_it() {
        let refused = parse("info,hyper").unwrap_err().to_string();
        assert!(refused.ends_with("or `hyper=trace` for a module"), "{refused}");
    }

    #[test]
    fn an_error_is_shown_with_its_sources() {
        let refused = parse("evenkeel=loud").unwrap_err();
        let shown = Chain(&refused).to_string();
        assert!(shown.starts_with(&format!("{refused}: ")), "{shown}");
    }

    #[test]
    fn an_event_with_line_breaks_in_it_stays_one_line() {
        let mut written = Vec::new();
        let event = b"INFO name=a\r\nINFO b\n";
        assert_eq!(OneLine(&mut written).write(event).unwrap(), event.len());
        assert_eq!(written, b"INFO name=a\\r\\nINFO b\n");
    }
}

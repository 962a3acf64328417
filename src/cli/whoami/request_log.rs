//! What the demo backend has been asked, a line a request, for proofs.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use http::request::Parts;

/// A file that several backends may append to.
#[derive(Debug)]
pub(super) struct RequestLog {
    file: File,
    name: String,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// Its head is here; its body is on its way.
    Arrived,
    /// All of it is here, so it is executed.
    Executed,
    /// Its body ended too early.
    Cut,
}

impl RequestLog {
    /// Appends to this file as `name`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open(path: &Path, name: &str) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
            let path = path.display();
            let message =
                format!("cannot append to {path}: {error}; choose a file with --request-log");
            io::Error::new(error.kind(), message)
        })?;
        Ok(Self { file, name: name.to_owned() })
    }

    /// `MICROSECONDS NAME STAGE METHOD TARGET`, with one write, so that lines of
    /// other backends fall between and a SIGKILL loses none.
    pub(super) fn write(&self, at: SystemTime, stage: Stage, head: &Parts) {
        let stage = match stage {
            Stage::Arrived => "arrived",
            Stage::Executed => "executed",
            Stage::Cut => "cut",
        };
        let (micros, name) = (unix_ms(at) * 1e3, &self.name);
        let line = format!("{micros:.0} {name} {stage} {} {}\n", head.method, head.uri);
        // A disk that is full is no reason to stop answering.
        let _ = (&self.file).write_all(line.as_bytes());
    }
}

/// Milliseconds since the epoch, with microseconds after the point.
pub(super) fn unix_ms(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1e6).round() / 1e3
}

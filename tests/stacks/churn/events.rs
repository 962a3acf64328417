//! What the Engine tells of, stamped with when it was heard.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::clock::{Micros, now};

#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) heard: Micros,
    /// `kill`, `die`, `pause`, `disconnect`, …
    pub(super) action: String,
    /// The first 12 digits of the container's id, which are its host name.
    pub(super) container: String,
    pub(super) signal: Option<u8>,
    /// Of compose; networks' events tell none.
    pub(super) project: Option<String>,
}

/// An ear on the Engine's event stream, until it is dropped.
#[derive(Debug)]
pub(super) struct Ear {
    heard: Arc<Mutex<Vec<Event>>>,
    deaf: Arc<AtomicBool>,
    stream: Arc<Mutex<Option<UnixStream>>>,
    thread: Option<JoinHandle<()>>,
}

impl Ear {
    /// Listens, again too after the daemon was away.
    pub(super) fn on(socket: &Path) -> Self {
        let heard = Arc::<Mutex<Vec<Event>>>::default();
        let (deaf, stream) = (Arc::<AtomicBool>::default(), Arc::default());
        let ear = (PathBuf::from(socket), Arc::clone(&heard), Arc::clone(&deaf));
        let current = Arc::clone(&stream);
        let thread = thread::spawn(move || {
            let (socket, heard, deaf) = ear;
            while !deaf.load(Ordering::Relaxed) {
                let _ = listen(&socket, &heard, &current);
                thread::sleep(AGAIN);
            }
        });
        Self { heard, deaf, stream, thread: Some(thread) }
    }

    /// What was heard since; HEALTHCHECK's runs are not worth telling.
    pub(super) fn since(&self, begin: Micros) -> Vec<Event> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|event| event.heard >= begin).cloned().collect()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.deaf.store(true, Ordering::Relaxed);
        if let Ok(stream) = self.stream.lock()
            && let Some(stream) = stream.as_ref()
        {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(
    socket: &Path,
    heard: &Mutex<Vec<Event>>,
    current: &Mutex<Option<UnixStream>>,
) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    *current.lock().unwrap() = Some(stream.try_clone()?);
    // By HTTP/1.0 the answer ends with the connection and has no chunks.
    stream.write_all(b"GET /events HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let at = now();
        if let Some(event) = parse(&line, at) {
            heard.lock().unwrap().push(event);
        }
    }
    Ok(())
}

fn parse(line: &str, heard: Micros) -> Option<Event> {
    let told: Value = serde_json::from_str(line).ok()?;
    let actor = told.get("Actor")?;
    let attribute = |name: &str| actor.get("Attributes")?.get(name)?.as_str();
    let id = match told.get("Type")?.as_str()? {
        "container" => actor.get("ID")?.as_str()?,
        "network" => attribute("container")?,
        _ => return None,
    };
    let action = told.get("Action")?.as_str().filter(|action| !action.starts_with("exec_"))?;
    Some(Event {
        heard,
        action: action.to_owned(),
        container: id.get(..12)?.to_owned(),
        signal: attribute("signal").and_then(|signal| signal.parse().ok()),
        project: attribute("com.docker.compose.project").map(str::to_owned),
    })
}

/// After a daemon that went away.
const AGAIN: Duration = Duration::from_millis(20);

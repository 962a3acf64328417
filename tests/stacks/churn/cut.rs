//! A daemon that can be out of reach: a socket before the Engine's.

use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A way to the Engine that can be cut.
#[derive(Debug)]
pub(super) struct Cut {
    path: PathBuf,
    open: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    lines: Arc<Mutex<Vec<UnixStream>>>,
}

impl Cut {
    /// Listens at `path`, with `engine` behind it.
    pub(super) fn before(engine: &Path, path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap();
        let (open, lines) = (Arc::new(AtomicBool::new(true)), Arc::<Mutex<Vec<_>>>::default());
        let over = Arc::new(AtomicBool::new(false));
        let (is_open, is_over) = (Arc::clone(&open), Arc::clone(&over));
        let (kept, engine) = (Arc::clone(&lines), engine.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                // Dropped, it is closed: this daemon answers nobody.
                if is_open.load(Ordering::Relaxed)
                    && let Ok(behind) = UnixStream::connect(&engine)
                {
                    kept.lock().unwrap().extend(relay(stream, behind));
                }
            }
        });
        Self { path: path.to_owned(), open, over, lines }
    }

    /// Ends every connection and lets no other live.
    pub(super) fn cut(&self) {
        self.open.store(false, Ordering::Relaxed);
        for line in self.lines.lock().unwrap().drain(..) {
            let _ = line.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn mend(&self) {
        self.open.store(true, Ordering::Relaxed);
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the one who listens.
        let _ = UnixStream::connect(&self.path);
        self.cut();
    }
}

/// Copies both ways until either side ends, and returns what ends it.
fn relay(front: UnixStream, back: UnixStream) -> Vec<UnixStream> {
    let again = |stream: &UnixStream| stream.try_clone().unwrap();
    let ends = vec![again(&front), again(&back)];
    for (mut from, mut to) in [(again(&front), again(&back)), (back, front)] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    ends
}

mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_is_cut_ends_and_what_is_mended_carries_again() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, path) = (folder.path().join("engine"), folder.path().join("before"));
        let listener = UnixListener::bind(&engine).unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                thread::spawn(move || stream.write_all(b"hi"));
            }
        });
        let cut = Cut::before(&engine, &path);
        let ask = || {
            let mut told = String::new();
            // Cut off is told by nothing told.
            let _ = UnixStream::connect(&path).unwrap().read_to_string(&mut told);
            told
        };

        assert_eq!(ask(), "hi");
        cut.cut();
        assert_eq!(ask(), "");
        cut.mend();
        assert_eq!(ask(), "hi");
    }
}

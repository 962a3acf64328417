//! The real binary, on free ports, for one test.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A running balancer; it is ended when dropped, also by a panic.
pub(crate) struct Balancer {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    https: Option<SocketAddr>,
    all_http: Vec<SocketAddr>,
    log: Arc<Mutex<Vec<String>>>,
    access: Arc<Mutex<Vec<String>>>,
    /// Of a log that nobody reads.
    _unread: Option<ChildStdout>,
}

impl Balancer {
    /// Starts it without Docker, with `args` after the ports.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with_docker("off", args)
    }

    pub(crate) fn start_with_docker(docker: &str, args: &[&str]) -> Self {
        Self::launch(docker, args, true)
    }

    /// As `start`, with a stdout that nobody reads.
    pub(crate) fn start_unread(args: &[&str]) -> Self {
        Self::launch("off", args, false)
    }

    fn launch(docker: &str, args: &[&str], is_read: bool) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(["run", "--docker", docker, "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--workers", "2"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = collect(child.stderr.take().unwrap());
        let stdout = child.stdout.take().unwrap();
        let (access, unread) =
            if is_read { (collect(stdout), None) } else { (Arc::default(), Some(stdout)) };
        let line = wait_for(|| find(&log, "Evenkeel serves"));
        let addresses = |key: &str| -> Vec<SocketAddr> {
            let rest = &line[line.find(key).unwrap() + key.len()..];
            let quoted = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
            let text = quoted.or(rest.split(' ').next()).unwrap();
            text.split(' ').filter(|it| !it.is_empty()).map(|it| it.parse().unwrap()).collect()
        };
        let (all_http, https) = (addresses(" http="), addresses(" https=").first().copied());
        let (http, admin) = (all_http[0], addresses(" admin=")[0]);
        Self { child, http, admin, https, all_http, log, access, _unread: unread }
    }

    /// Where https is served.
    pub(crate) fn https(&self) -> SocketAddr {
        self.https.unwrap()
    }

    /// Where http is served, in the order of the flags.
    pub(crate) fn all_http(&self) -> &[SocketAddr] {
        &self.all_http
    }

    /// The line of the log that contains `text`, once there is one.
    pub(crate) fn logged(&self, text: &str) -> String {
        wait_for(|| find(&self.log, text))
    }

    /// Whether the log has such a line by now.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        find(&self.log, text).is_some()
    }

    /// How many lines of the log have this by now.
    pub(crate) fn times_logged(&self, text: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// The line of the access log that contains `text`, once there is one.
    pub(crate) fn access_logged(&self, text: &str) -> String {
        wait_for(|| find(&self.access, text))
    }

    /// The lines of the access log that contain `text`, once there are so many.
    pub(crate) fn all_access_logged(&self, text: &str, count: usize) -> Vec<String> {
        wait_for(|| {
            let lines = self.access.lock().unwrap();
            let found: Vec<_> = lines.iter().filter(|line| line.contains(text)).cloned().collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// How many lines the access log has by now.
    pub(crate) fn times_access_logged(&self) -> usize {
        self.access.lock().unwrap().len()
    }

    /// The id of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Waits for its end, within a bound, and tells its exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        wait_for(|| self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            for line in self.log.lock().unwrap().iter() {
                eprintln!("balancer: {line}");
            }
        }
    }
}

/// Asks again and again until there is an answer; ten seconds are a failure.
pub(crate) fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited for ten seconds in vain");
        thread::sleep(Duration::from_millis(5));
    }
}

fn collect(from: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            kept.lock().unwrap().push(line);
        }
    });
    lines
}

fn find(lines: &Mutex<Vec<String>>, text: &str) -> Option<String> {
    lines.lock().unwrap().iter().find(|line| line.contains(text)).cloned()
}

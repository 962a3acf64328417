//! A browser's WebSocket, by a page that comes through the balancer too.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use super::{Site, there_is};
use crate::cli::support::Whoami;
use crate::wire::{Backend, ok};

#[test]
fn a_browser_s_websocket_echoes_over_http2() {
    echoes(&[], "\"GET /ws HTTP/2.0\" 101 ");
}

#[test]
fn a_browser_s_websocket_echoes_over_http1() {
    echoes(&["--disable-http2"], "\"GET /ws HTTP/1.1\" 101 ");
}

/// The page opens a WebSocket and reports what became of it. The access log
/// tells how it came.
fn echoes(flags: &[&str], logged: &str) {
    if !there_is("chromium", &["chromium", "--version"]) {
        return;
    }
    let (tell, told) = mpsc::channel();
    let page = Backend::answering(move |seen| {
        if seen.head.starts_with("POST /report ") {
            tell.send(String::from_utf8_lossy(&seen.body).into_owned()).unwrap();
            return ok("");
        }
        let length = PAGE.len();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{PAGE}"
        )
        .into_bytes()
    });
    let echo = Whoami::start(&[]);
    let pools = format!(
        "[pools.page]\nservers = [\"{}\"]\n[pools.echo]\nservers = [\"{}\"]\npath = \"/ws\"\n",
        page.address, echo.address
    );
    let site = Site::open(&pools, &[page.address, echo.address]);
    let _browser = Browser::at(&format!("https://{}/", site.https), flags);
    let report = told.recv_timeout(Duration::from_secs(40)).unwrap();
    assert_eq!(report, "echoed hello and 70000 more, closed with 1000");
    let line = site.balancer.access_logged("/ws ");
    assert!(line.contains(logged), "{line}");
}

/// It ends with the test, as do the processes that it has started.
struct Browser {
    child: Child,
    _profile: TempDir,
}

impl Browser {
    fn at(url: &str, flags: &[&str]) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let child = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
            ])
            .args(["--disable-component-update", "--disable-sync", "--no-first-run"])
            .args(["--disable-dev-shm-usage", "--ignore-certificate-errors"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(flags)
            .arg(url)
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { child, _profile: profile }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// The second message is longer than one frame's short length, and is told by its
/// length alone.
const PAGE: &str = r#"<!doctype html>
<script>
const heard = [];
const report = (text) => fetch("/report", { method: "POST", body: text });
const socket = new WebSocket("wss://" + location.host + "/ws");
socket.onopen = () => socket.send("hello");
socket.onmessage = (event) => {
    heard.push(event.data.length > 10 ? event.data.length : event.data);
    if (heard.length === 1) socket.send("x".repeat(70000));
    else socket.close(1000);
};
socket.onclose = (event) =>
    report(`echoed ${heard[0]} and ${heard[1]} more, closed with ${event.code}`);
</script>
"#;

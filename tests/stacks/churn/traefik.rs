//! Traefik on the host, as its users have it, for comparison.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::engine::set;
use crate::support::stack::Stack;
use crate::support::wait::eventually;

/// A Traefik that runs until it is dropped.
#[derive(Debug)]
pub(super) struct Traefik {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Traefik {
    /// Minds the containers of this project.
    pub(super) fn start(stack: &Stack, socket: &Path, folder: &Path) -> Self {
        let program = set("EVK_TRAEFIK").expect("EVK_TRAEFIK names the program; run `make churn`");
        // Free until it takes it.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let constraint = format!(
            "--providers.docker.constraints=Label(`com.docker.compose.project`,`{}`)",
            stack.project()
        );
        let log = File::create(folder.join("traefik.log")).unwrap();
        let child = Command::new(program)
            .arg(format!("--entrypoints.web.address={address}"))
            .arg(format!("--providers.docker.endpoint=unix://{}", socket.display()))
            .arg("--providers.docker.exposedbydefault=false")
            .arg(constraint)
            .arg("--global.checknewversion=false")
            .arg("--global.sendanonymoususage=false")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let started = Self { child, address };
        eventually(STARTED_WITHIN, || TcpStream::connect(address));
        started
    }
}

impl Drop for Traefik {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const STARTED_WITHIN: Duration = Duration::from_secs(20);

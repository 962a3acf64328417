//! Those who mean harm, all of them on a thread of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::{Semaphore, oneshot};

use super::attack::{Attack, Target, regroup};
use super::victim::{Victim, be_patient};
use crate::support::client::tls::connector;
use crate::support::wait::eventually;

/// An army under way; it is gone when dropped.
#[derive(Debug)]
pub(super) struct Army {
    scene: Arc<Scene>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What it has done.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The most connections that were open at once.
    peak: usize,
    /// How often each was tried.
    waves: BTreeMap<Attack, usize>,
}

#[derive(Debug, Default)]
struct Scene {
    open: AtomicUsize,
    peak: AtomicUsize,
    waves: Mutex<BTreeMap<Attack, usize>>,
}

impl Army {
    /// Sends `count`, as many of each attack as of the others.
    pub(super) fn march(victim: &Victim, count: usize) -> Self {
        let scene = Arc::<Scene>::default();
        let (clear, secure) = (victim.http, victim.https);
        let target = Target { clear, secure, tls: connector(b"h2") };
        let (stop, stopped) = oneshot::channel();
        let here = Arc::clone(&scene);
        let thread = thread::spawn(move || {
            // On other machines it would not take the balancer's CPUs.
            be_patient();
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let entering = Arc::new(Semaphore::new(ENTERING_MAX));
                for attack in Attack::ALL.into_iter().cycle().take(count) {
                    let soldier =
                        fight(attack, target.clone(), Arc::clone(&here), Arc::clone(&entering));
                    tokio::spawn(soldier);
                }
                let _ = stopped.await;
            });
            // It ends in the midst of whatever it is at.
            runtime.shutdown_background();
        });
        Self { scene, stop: Some(stop), thread: Some(thread) }
    }

    /// Waits until most are there at once: those who reset are sent away as soon
    /// as they come, and others are between an end and their next beginning.
    pub(super) fn wait_until_there(&self, count: usize) {
        eventually(ARRIVAL, || {
            let peak = self.scene.peak.load(Ordering::Relaxed);
            if peak * 4 >= count * 3 { Ok(()) } else { Err(format!("{peak} of {count} came")) }
        });
    }

    pub(super) fn finish(mut self) -> Told {
        self.end();
        let waves = self.scene.waves.lock().unwrap().clone();
        Told { peak: self.scene.peak.load(Ordering::Relaxed), waves }
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Army {
    fn drop(&mut self) {
        self.end();
    }
}

impl Told {
    pub(super) fn waves(&self, attack: Attack) -> usize {
        self.waves.get(&attack).copied().unwrap_or_default()
    }
}

impl fmt::Display for Told {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} came at once at the most", self.peak)?;
        self.waves.iter().try_for_each(|(attack, waves)| write!(to, ", {attack:?} × {waves}"))
    }
}

/// Attacks, again and again.
async fn fight(attack: Attack, target: Target, scene: Arc<Scene>, entering: Arc<Semaphore>) {
    loop {
        if let Ok(stream) = enter(attack.door(&target), &entering).await {
            let open = scene.open.fetch_add(1, Ordering::Relaxed) + 1;
            scene.peak.fetch_max(open, Ordering::Relaxed);
            *scene.waves.lock().unwrap().entry(attack).or_default() += 1;
            // However it ends, the balancer ended it.
            let _ = attack.carry_out(stream, &target).await;
            scene.open.fetch_sub(1, Ordering::Relaxed);
        }
        regroup().await;
    }
}

async fn enter(door: SocketAddr, entering: &Semaphore) -> std::io::Result<TcpStream> {
    let _turn = entering.acquire().await;
    TcpStream::connect(door).await
}

/// Fewer than the balancer's backlog, or the kernel would drop the rest.
const ENTERING_MAX: usize = 256;
/// For ten thousand handshakes on a busy machine.
const ARRIVAL: Duration = Duration::from_secs(60);

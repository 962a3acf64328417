//! What people and programs do to containers, step by step as an engine does it.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::container::{Container, HEALTHY, Manner, STARTING, UNHEALTHY};
use super::engine::Engine;

/// Something that is done to a container.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Stop,
    Kill,
    Crash,
    Restart,
    Recreate,
    Pause,
    /// `docker kill -s TERM`.
    Signal,
    HangUp,
    Disconnect,
}

impl Deed {
    pub(super) const ALL: [Self; 9] = [
        Self::Stop,
        Self::Kill,
        Self::Crash,
        Self::Restart,
        Self::Recreate,
        Self::Pause,
        Self::Signal,
        Self::HangUp,
        Self::Disconnect,
    ];
}

impl Engine {
    /// Creates a container and starts it.
    pub(super) async fn bring_up(self: &Rc<Self>, pool: &'static str) {
        let index = self.create(pool);
        self.start(index).await;
        self.change(index, |it| it.busy = false);
    }

    fn create(self: &Rc<Self>, pool: &'static str) -> usize {
        let chance = &self.chance;
        let manners = [Manner::Exits, Manner::Ignores, Manner::Drains];
        let manner = manners[chance.below(manners.len())];
        let verdict = chance.percent(25).then_some(STARTING);
        let stop_timeout = Duration::from_secs(1 + chance.below(2) as u64);
        let index = self.containers.borrow().len();
        self.containers.borrow_mut().push(Container {
            id: format!("{pool}-{index}"),
            pool,
            manner,
            stop_timeout,
            verdict,
            busy: true,
            removed: false,
            alive: false,
            life: 0,
            started_at: 0,
            died_at: None,
            listens: false,
            paused: false,
            connected: true,
            address: None,
            up_since: None,
            requests: 0,
            breaks: 0,
            heard: Default::default(),
            shown: Default::default(),
        });
        self.tell(|| format!("create {pool}-{index}, which {manner:?}, {verdict:?}"));
        self.show(index);
        self.emit(index, "create", None);
        index
    }

    /// Does `deed` to a container; when it returns the container is at rest.
    pub(super) async fn act(self: Rc<Self>, deed: Deed, index: usize) {
        // Nothing else can be done to one that is dead.
        let revives = matches!(deed, Deed::Restart | Deed::Recreate);
        if self.see(index, |it| it.removed || !(it.alive || revives)) {
            return;
        }
        self.tell(|| format!("{deed:?} {}", self.see(index, |it| it.id.clone())));
        self.change(index, |it| it.busy = true);
        match deed {
            Deed::Stop => self.stop(index).await,
            Deed::Kill => self.kill(index).await,
            Deed::Crash => self.die(index).await,
            Deed::Restart => {
                self.stop(index).await;
                self.start(index).await;
            }
            Deed::Recreate => {
                self.stop(index).await;
                self.remove(index);
                sleep(self.chance.millis(5..=300)).await;
                self.bring_up(self.see(index, |it| it.pool)).await;
            }
            Deed::Pause => self.pause(index).await,
            Deed::Signal => self.terminate(index).await,
            Deed::HangUp => self.emit_soon(index, "kill", Some(1)).await,
            Deed::Disconnect => self.leave(index).await,
        }
        self.change(index, |it| it.busy = false);
    }

    async fn start(self: &Rc<Self>, index: usize) {
        if self.see(index, |it| it.alive || it.removed) {
            return;
        }
        let address = self.free_address();
        self.change(index, |it| it.address = Some(address));
        self.emit(index, "connect", None);
        sleep(self.chance.millis(10..=40)).await;
        let started_at = self.wall_clock();
        let life = self.change(index, |it| {
            it.alive = true;
            it.listens = false;
            it.life += 1;
            it.requests = 0;
            it.started_at = started_at;
            it.verdict = it.verdict.map(|_| STARTING);
            it.life
        });
        self.tell(|| format!("{} lives at .{address}", self.see(index, |it| it.id.clone())));
        self.show(index);
        let listens_in = self.chance.mostly(0..=80, 20, 100..=900);
        self.later(index, life, listens_in, move |engine| {
            engine.change(index, |it| it.listens = true);
            engine.judge_later(index, life);
        });
        sleep(self.chance.millis(0..=14)).await;
        self.emit(index, "start", None);
    }

    /// `docker stop`: the stop signal, then the one that kills.
    async fn stop(self: &Rc<Self>, index: usize) {
        let life = self.see(index, |it| it.life);
        self.terminate(index).await;
        let deadline = Instant::now() + self.see(index, |it| it.stop_timeout);
        while self.see(index, |it| it.alive && it.life == life) {
            let changed = self.changed.notified();
            tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep_until(deadline) => return self.kill(index).await,
            }
        }
        self.settled(index).await;
        self.emit(index, "stop", None);
    }

    async fn kill(self: &Rc<Self>, index: usize) {
        let life = self.see(index, |it| it.life);
        let signalled = Rc::clone(self);
        let told = self.spawn(async move { signalled.emit_soon(index, "kill", Some(9)).await });
        if self.see(index, |it| it.alive && it.life == life) {
            self.die(index).await;
        }
        let _ = told.await;
        self.settled(index).await;
    }

    /// Sends the stop signal; the program does what it does.
    async fn terminate(self: &Rc<Self>, index: usize) {
        if self.see(index, |it| it.paused) {
            return;
        }
        let (manner, life) = self.see(index, |it| (it.manner, it.life));
        match manner {
            Manner::Ignores => {}
            Manner::Exits => {
                let after = self.chance.millis(0..=10);
                self.later(index, life, after, move |engine| {
                    let dying = Rc::clone(engine);
                    engine.spawn(async move { dying.die(index).await });
                });
            }
            Manner::Drains => {
                self.change(index, |it| it.listens = false);
                let dying = Rc::clone(self);
                let least = self.chance.millis(0..=400);
                self.spawn(async move {
                    sleep(least).await;
                    loop {
                        let changed = dying.changed.notified();
                        let (over, empty) = dying.see(index, |it| {
                            (!it.alive || it.life != life, it.requests == 0 && !it.paused)
                        });
                        if over {
                            return;
                        }
                        if empty {
                            return dying.die(index).await;
                        }
                        changed.await;
                    }
                });
            }
        }
        self.emit_soon(index, "kill", Some(15)).await;
    }

    /// The process ends now; the engine notices later, and lists later still.
    async fn die(self: &Rc<Self>, index: usize) {
        if self.see(index, |it| !it.alive) {
            return;
        }
        let life = self.change(index, |it| {
            it.alive = false;
            it.listens = false;
            it.died_at = Some(Instant::now());
            it.life
        });
        self.tell(|| format!("{} is dead", self.see(index, |it| it.id.clone())));
        sleep(self.chance.mostly(17..=120, 10, 120..=350)).await;
        if self.chance.percent(50) && self.see(index, |it| it.connected) {
            self.emit(index, "disconnect", None);
        }
        self.emit(index, "die", None);
        self.change(index, |it| {
            it.address = None;
            it.died_at = None;
            it.paused = false;
            it.connected = true;
        });
        let lag = self.chance.mostly(0..=4, 50, 30..=160);
        let engine = Rc::clone(self);
        self.spawn(async move {
            sleep(lag).await;
            if engine.see(index, |it| it.life == life && !it.alive) {
                engine.show(index);
            }
        });
    }

    /// Waits until the engine has noticed that the process has ended.
    async fn settled(&self, index: usize) {
        loop {
            let changed = self.changed.notified();
            if self.see(index, |it| it.alive || it.died_at.is_none()) {
                return;
            }
            changed.await;
        }
    }

    fn remove(self: &Rc<Self>, index: usize) {
        self.change(index, |it| it.removed = true);
        self.emit(index, "destroy", None);
    }

    async fn pause(self: &Rc<Self>, index: usize) {
        self.change(index, |it| {
            it.paused = true;
            it.breaks += 1;
        });
        self.emit_soon(index, "pause", None).await;
        self.show(index);
        sleep(self.chance.millis(50..=2_500)).await;
        if self.see(index, |it| !it.paused) {
            return;
        }
        let life = self.change(index, |it| {
            it.paused = false;
            it.verdict = it.verdict.map(|_| UNHEALTHY);
            it.life
        });
        self.emit_soon(index, "unpause", None).await;
        self.show(index);
        self.judge_later(index, life);
    }

    async fn leave(self: &Rc<Self>, index: usize) {
        self.change(index, |it| {
            it.connected = false;
            it.breaks += 1;
            it.address = None;
        });
        self.emit_soon(index, "disconnect", None).await;
        self.show(index);
        sleep(self.chance.millis(50..=1_500)).await;
        if self.see(index, |it| it.connected) {
            return;
        }
        // It may get another address when it comes back.
        let address = self.free_address();
        self.change(index, |it| {
            it.connected = true;
            it.address = Some(address);
        });
        self.emit_soon(index, "connect", None).await;
        self.show(index);
    }

    /// The next probe of its HEALTHCHECK will find it healthy.
    fn judge_later(self: &Rc<Self>, index: usize, life: u32) {
        if self.see(index, |it| it.verdict.is_none()) {
            return;
        }
        let interval = self.chance.millis(100..=1_200);
        self.later(index, life, interval, move |engine| {
            if engine.see(index, |it| it.paused || !it.listens) {
                return;
            }
            engine.change(index, |it| it.verdict = Some(HEALTHY));
            engine.show(index);
            engine.emit(index, "health_status: healthy", None);
        });
    }

    /// Events come a little after the fact.
    async fn emit_soon(self: &Rc<Self>, index: usize, action: &str, signal: Option<u8>) {
        sleep(self.chance.mostly(1..=4, 10, 5..=17)).await;
        self.emit(index, action, signal);
    }

    /// Does something after a while, if this life has not ended by then.
    fn later(
        self: &Rc<Self>,
        index: usize,
        life: u32,
        after: Duration,
        deed: impl FnOnce(&Rc<Self>) + 'static,
    ) {
        let engine = Rc::clone(self);
        self.spawn(async move {
            sleep(after).await;
            if engine.see(index, |it| it.alive && it.life == life) {
                deed(&engine);
            }
        });
    }

    /// One that nobody has; often one that somebody just had.
    fn free_address(&self) -> u8 {
        let containers = self.containers.borrow();
        let taken = |address: &u8| containers.iter().any(|it| it.address == Some(*address));
        let free: Vec<_> = (2..250).filter(|address| !taken(address)).take(3).collect();
        free[self.chance.below(free.len())]
    }
}

//! A model of the Docker Engine: its containers, its lists, which lag, and its
//! events, which come late, twice, in another order or not at all.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep};

use super::chance::Chance;
use super::container::{Container, Fact, NETWORK};

/// The engine, which all parts of a history share.
pub(super) struct Engine {
    pub(super) chance: Chance,
    pub(super) containers: RefCell<Vec<Container>>,
    /// Whenever something is true that was not.
    pub(super) changed: Notify,
    began: Instant,
    last_event_at: Cell<i64>,
    streams: RefCell<Vec<mpsc::Sender<Line>>>,
    /// What a new stream can repeat.
    ring: RefCell<VecDeque<(i64, Vec<u8>, Fact)>>,
    away: Cell<bool>,
    story: RefCell<Vec<String>>,
    faults: RefCell<Vec<String>>,
}

/// What comes out of an event stream.
pub(super) enum Line {
    Event(Vec<u8>, Fact),
    /// The reader had to drop events.
    Lost,
}

impl Engine {
    pub(super) fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            chance: Chance::new(seed),
            containers: RefCell::default(),
            changed: Notify::new(),
            began: Instant::now(),
            last_event_at: Cell::new(0),
            streams: RefCell::default(),
            ring: RefCell::default(),
            away: Cell::new(false),
            story: RefCell::default(),
            faults: RefCell::default(),
        })
    }

    /// Nanoseconds since the epoch by the daemon's clock, never the same twice.
    pub(super) fn wall_clock(&self) -> i64 {
        let passed = i64::try_from(self.began.elapsed().as_nanos()).unwrap();
        let now = (EPOCH + passed).max(self.last_event_at.get() + 1);
        self.last_event_at.set(now);
        now
    }

    /// Adds a line to what is told of the history.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        let at = self.began.elapsed().as_millis();
        self.story.borrow_mut().push(format!("{at:>6} ms  {}", what()));
    }

    /// Something is wrong.
    pub(super) fn fault(&self, what: String) {
        self.tell(|| format!("FAULT: {what}"));
        self.faults.borrow_mut().push(what);
    }

    /// What is wrong, and all that was told.
    pub(super) fn take_story(&self) -> (Vec<String>, Vec<String>) {
        (self.faults.take(), self.story.take())
    }

    /// Runs a task beside all others; its panic is a fault.
    pub(super) fn spawn<T: 'static>(
        self: &Rc<Self>,
        task: impl Future<Output = T> + 'static,
    ) -> JoinHandle<T> {
        let alert = Alert(Rc::clone(self));
        spawn_local(async move {
            let _alert = alert;
            task.await
        })
    }

    /// Looks at a container.
    pub(super) fn see<T>(&self, index: usize, look: impl FnOnce(&Container) -> T) -> T {
        look(&self.containers.borrow()[index])
    }

    /// Changes a container; whoever depends on it looks again. Lists show it
    /// with the next [`show`](Self::show).
    pub(super) fn change<T>(&self, index: usize, change: impl FnOnce(&mut Container) -> T) -> T {
        let mut containers = self.containers.borrow_mut();
        let container = &mut containers[index];
        let changed = change(container);
        if !container.is_up() {
            container.up_since = None;
        } else {
            container.up_since.get_or_insert_with(Instant::now);
        }
        drop(containers);
        self.changed.notify_waiters();
        changed
    }

    /// Lists show a container as it is from now on.
    pub(super) fn show(&self, index: usize) {
        let container = &mut self.containers.borrow_mut()[index];
        container.shown = container.now_shown();
    }

    pub(super) fn is_away(&self) -> bool {
        self.away.get()
    }

    /// Goes away or comes back. What happens meanwhile is told by no event.
    pub(super) fn set_away(&self, away: bool) {
        self.tell(|| if away { "the engine is away".into() } else { "it is back".into() });
        self.away.set(away);
        self.ring.borrow_mut().clear();
        self.cut_streams();
        if !away {
            let count = self.containers.borrow().len();
            (0..count).for_each(|index| self.show(index));
        }
    }

    pub(super) fn cut_streams(&self) {
        let count = self.containers.borrow().len();
        (0..count).for_each(|index| self.miss(index));
        self.streams.borrow_mut().clear();
    }

    /// Opens an event stream, which repeats what happened since; none while away.
    pub(super) fn events(self: &Rc<Self>, since: i64) -> Option<mpsc::Receiver<Line>> {
        if self.is_away() {
            return None;
        }
        let (sender, lines) = mpsc::channel(LINES_MAX);
        for (_, line, fact) in self.ring.borrow().iter().filter(|(at, ..)| *at >= since) {
            let _ = sender.try_send(Line::Event(line.clone(), *fact));
        }
        self.streams.borrow_mut().push(sender);
        Some(lines)
    }

    /// The list, of some moment between the question and the answer; none if the
    /// engine goes away.
    pub(super) async fn list(&self) -> Option<Vec<u8>> {
        sleep(self.chance.mostly(1..=4, 3, 50..=400)).await;
        let list = {
            let containers = self.containers.borrow();
            let here = containers.iter().filter(|it| !it.removed);
            Value::Array(here.map(Container::listed).collect())
        };
        sleep(self.chance.mostly(0..=3, 3, 100..=1000)).await;
        (!self.is_away()).then(|| list.to_string().into_bytes())
    }

    /// An inspect, which may block for a while; none if the container is gone.
    pub(super) async fn inspect(&self, id: &str) -> Option<Vec<u8>> {
        sleep(self.chance.mostly(2..=10, 20, 100..=263)).await;
        let inspected = {
            let containers = self.containers.borrow();
            containers.iter().find(|it| it.id == id && !it.removed)?.inspected()
        };
        sleep(self.chance.millis(0..=20)).await;
        (!self.is_away()).then(|| inspected.to_string().into_bytes())
    }

    /// Tells of something, to all who listen: mostly soon and once.
    pub(super) fn emit(self: &Rc<Self>, index: usize, action: &str, signal: Option<u8>) {
        if self.is_away() {
            return self.miss(index);
        }
        let at = self.wall_clock();
        let line = self.see(index, |it| line(it, action, signal, at));
        let fact = self.see(index, |it| it.fact(index, action, signal));
        self.ring.borrow_mut().push_back((at, line.clone(), fact));
        if self.ring.borrow().len() > RING_MAX {
            self.ring.borrow_mut().pop_front();
        }
        // Where nothing but an event or a list tells, a loss would be nobody's
        // to heal before the next list.
        let may_be_lost = !matches!(action, "pause" | "disconnect");
        let copies = if self.chance.percent(3) { 2 } else { 1 };
        for _ in 0..copies {
            if may_be_lost && self.chance.percent(1) {
                self.tell(|| format!("lost: {action} of {index}"));
                self.miss(index);
                continue;
            }
            let dropped = may_be_lost && self.chance.percent(1);
            let delay = self.chance.mostly(0..=4, 3, 5..=60);
            let line = if dropped {
                self.miss(index);
                Line::Lost
            } else {
                Line::Event(line.clone(), fact)
            };
            self.deliver(line, delay);
        }
    }

    fn miss(&self, index: usize) {
        self.containers.borrow_mut()[index].heard.misses = true;
    }

    fn deliver(self: &Rc<Self>, line: Line, delay: std::time::Duration) {
        let streams = self.streams.borrow().clone();
        self.spawn(async move {
            sleep(delay).await;
            for stream in streams {
                let line = match &line {
                    Line::Event(line, fact) => Line::Event(line.clone(), *fact),
                    Line::Lost => Line::Lost,
                };
                let _ = stream.try_send(line);
            }
        });
    }
}

struct Alert(Rc<Engine>);

impl Drop for Alert {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fault("a task panicked".to_owned());
        }
    }
}

fn line(container: &Container, action: &str, signal: Option<u8>, at: i64) -> Vec<u8> {
    let actor = match action {
        "connect" | "disconnect" => {
            json!({"ID": NETWORK, "Attributes": {"container": container.id, "type": "bridge"}})
        }
        _ => {
            let mut attributes = container.labels();
            if let Some(signal) = signal {
                attributes["signal"] = signal.to_string().into();
            }
            json!({"ID": container.id, "Attributes": attributes})
        }
    };
    let kind = if actor["ID"] == NETWORK { "network" } else { "container" };
    json!({"Type": kind, "Action": action, "timeNano": at, "Actor": actor}).to_string().into()
}

const EPOCH: i64 = 1_750_000_000_000_000_000;

/// As many as Docker remembers.
const RING_MAX: usize = 256;

const LINES_MAX: usize = 4096;

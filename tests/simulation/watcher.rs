//! The way between the model engine and the real observer: what the session does
//! over sockets.

use std::rc::Rc;
use std::time::Duration;

use evenkeel::discovery::docker::{Observer, Ticket};
use evenkeel::domain::names::SourceName;
use evenkeel::domain::world::{Observation, Report, RunState, SourceHealth};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::checks::Checks;
use super::container::Fact;
use super::engine::{Engine, Line};

/// Follows the engine for ever.
pub(super) async fn watch(engine: Rc<Engine>, checks: Rc<Checks>, reports: mpsc::Sender<Report>) {
    let mut watcher = Watcher {
        engine,
        checks,
        reports,
        observer: Observer::new("lb"),
        told: None,
        inspecting: 0,
    };
    let mut pause = PAUSE_MIN;
    loop {
        let began = Instant::now();
        watcher.follow().await;
        if began.elapsed() > Duration::from_secs(1) {
            pause = PAUSE_MIN;
        }
        watcher.away(pause).await;
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// Passes reports on. Whole observations cost the balancer some time, in which
/// it has taken in all that came before.
pub(super) async fn relay(
    engine: Rc<Engine>,
    checks: Rc<Checks>,
    mut reports: mpsc::Receiver<Report>,
    control: mpsc::Sender<Report>,
) {
    while let Some(report) = reports.recv().await {
        match &report {
            Report::Hint { hint, .. } => checks.hinted(hint),
            Report::Seen { observation, .. } => {
                sleep(engine.chance.mostly(0..=1, 10, 2..=12)).await;
                checks.observed(observation);
            }
            Report::Health { .. } | Report::Noted { .. } => {}
        }
        if control.send(report).await.is_err() {
            return;
        }
    }
}

struct Watcher {
    engine: Rc<Engine>,
    checks: Rc<Checks>,
    reports: mpsc::Sender<Report>,
    observer: Observer,
    told: Option<Observation>,
    inspecting: usize,
}

/// A call that came to its end.
enum Done {
    List { began: Instant, text: Option<Vec<u8>> },
    Inspect { ticket: Ticket, text: Option<Vec<u8>> },
}

impl Watcher {
    /// One connection, until its stream ends or a list fails.
    async fn follow(&mut self) {
        let Some(mut lines) = self.engine.events(self.observer.since(self.engine.wall_clock()))
        else {
            return;
        };
        self.observer.connect();
        self.inspecting = 0;
        let (calls, mut done) = mpsc::channel(64);
        loop {
            let now = Instant::now();
            self.call_what_is_due(now, &calls);
            let wake = self.observer.list_due(now).unwrap_or(now + Duration::from_secs(10));
            tokio::select! {
                biased;
                line = lines.recv() => match line {
                    Some(Line::Event(line, fact)) => self.hear(&line, fact).await,
                    Some(Line::Lost) => self.observer.lose_events(now),
                    None => return self.tell().await,
                },
                Some(done) = done.recv() => {
                    if !self.finish(done) {
                        return;
                    }
                }
                () = sleep_until(wake) => {}
            }
            self.tell().await;
        }
    }

    fn call_what_is_due(&mut self, now: Instant, calls: &mpsc::Sender<Done>) {
        if self.observer.list_due(now).is_some_and(|due| due <= now) {
            self.observer.list_began(now);
            let (engine, calls) = (Rc::clone(&self.engine), calls.clone());
            self.engine.spawn(async move {
                let text = engine.list().await;
                let _ = calls.send(Done::List { began: now, text }).await;
            });
        }
        while self.inspecting < 8
            && let Some(ticket) = self.observer.next_to_inspect()
        {
            self.inspecting += 1;
            let (engine, calls) = (Rc::clone(&self.engine), calls.clone());
            self.engine.spawn(async move {
                let text = engine.inspect(&ticket.id).await;
                let _ = calls.send(Done::Inspect { ticket, text }).await;
            });
        }
    }

    async fn hear(&mut self, line: &[u8], fact: Fact) {
        self.engine.tell(|| format!("heard: {fact:?}"));
        let runs = self.told.iter().flat_map(|told| &told.workloads).any(|it| {
            it.run == RunState::Running
                && self.engine.see(fact.container, |container| {
                    *it.id.id == *container.id && container.is_news_of_death(fact)
                })
        });
        let heard = self.observer.hear_line(line, Instant::now()).unwrap();
        if runs && heard.is_none() {
            self.engine.fault(format!("nothing was told at once of {fact:?}"));
        }
        if let Some(hint) = heard {
            self.engine.tell(|| format!("hint: {hint:?}"));
            self.checks.is_fair(&hint, fact);
            self.report(Report::Hint { source: SourceName::docker(), hint }).await;
        }
        self.engine.change(fact.container, |it| it.hear(fact));
    }

    /// Whether the connection goes on.
    fn finish(&mut self, done: Done) -> bool {
        let now = Instant::now();
        match done {
            Done::List { began, text } => {
                self.observer.list_ended(now);
                let Some(text) = text else { return false };
                self.observer.list_text(&text, began, now).unwrap();
            }
            Done::Inspect { ticket, text } => {
                self.inspecting -= 1;
                self.observer.inspected_text(&ticket, text.as_deref()).unwrap();
            }
        }
        true
    }

    async fn tell(&mut self) {
        let Some(observation) = self.observer.observation(Instant::now()) else { return };
        if self.told.as_ref() == Some(&observation) {
            return;
        }
        self.told = Some(observation.clone());
        let source = SourceName::docker();
        self.report(Report::Seen { source, observation, event_at: None }).await;
    }

    async fn away(&self, retry_in: Duration) {
        let (message, hint) = ("away".to_owned(), String::new());
        let health = SourceHealth::Away { message, hint, retry_in };
        self.report(Report::Health { source: SourceName::docker(), health }).await;
    }

    async fn report(&self, report: Report) {
        // The control loop ends with the history.
        let _ = self.reports.send(report).await;
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(100);

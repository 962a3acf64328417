//! The keeper before an authority that does as it is told, in virtual time.

#![expect(clippy::disallowed_methods, reason = "virtual time begins at the moment of the test")]

use std::collections::VecDeque;
use std::sync::Mutex;

use tempfile::TempDir;
use tokio::time::sleep;

use super::*;
use crate::config::Acme;
use crate::domain::tls::{Profile, UnknownName};
use crate::tls::acme::challenge::Kind;
use crate::tls::acme::order::Wish;
use crate::tls::acme::schedule::Window;
use crate::tls::made::{Authority, Term};
use crate::tls::{Certificate, pem};

/// Answers orders in the way that it was told, else with a certificate.
#[derive(Clone, Default)]
struct Model(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    began: Option<Instant>,
    began_at: Option<SystemTime>,
    /// For whom the first that fits is given, and gone then.
    failures: VecDeque<(&'static str, Failure)>,
    advice: Option<Window>,
    /// Whether it fails when it is asked for advice.
    has_no_advice: bool,
    /// How long the orders of a name take, if not as long as others.
    slow: Option<(&'static str, Duration)>,
    /// How long an order takes.
    takes: Duration,
    orders: Vec<(Instant, String, Kind)>,
    questions: usize,
    under_way: usize,
    most_under_way: usize,
}

impl Issuer for Model {
    async fn issue(&self, wish: Wish) -> Result<Kept, Failure> {
        let takes = {
            let mut state = self.0.lock().unwrap();
            state.orders.push((Instant::now(), wish.name.to_string(), wish.challenge));
            state.under_way += 1;
            state.most_under_way = state.most_under_way.max(state.under_way);
            let slow = state.slow.filter(|(name, _)| *name == wish.name.as_str());
            slow.map_or(state.takes, |(_, takes)| takes)
        };
        sleep(takes).await;
        let mut state = self.0.lock().unwrap();
        state.under_way -= 1;
        let fits = |(name, _): &(&str, Failure)| *name == wish.name.as_str();
        if let Some(at) = state.failures.iter().position(fits) {
            return Err(state.failures.remove(at).unwrap().1);
        }
        let now = state.began_at.unwrap() + state.began.unwrap().elapsed();
        let day = Duration::from_secs(DAY);
        Ok(kept(wish.name.as_str(), Term { from: now - day, until: now + 89 * day }))
    }

    async fn advice(&self, _: Certificate) -> Result<Option<Advice>, Failure> {
        let mut state = self.0.lock().unwrap();
        state.questions += 1;
        if state.has_no_advice {
            return Err(Failure::Unreachable("it answers 500".to_owned()));
        }
        let ask_in = Duration::from_secs(6 * 3600);
        Ok(state.advice.map(|window| Advice { window, ask_in }))
    }
}

struct Running {
    model: Model,
    store: Arc<Store>,
    wanted: watch::Sender<BTreeSet<Arc<str>>>,
    reports: mpsc::Receiver<Report>,
    began: Instant,
    state: TempDir,
}

impl Running {
    fn start(model: Model, names: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), model, names)
    }

    fn start_in(state: TempDir, model: Model, names: &[&str]) -> Self {
        let store = Arc::new(Store::new(Profile::default(), UnknownName::default()).unwrap());
        let (sender, reports) = mpsc::channel(1000);
        let (began, began_at) = (Instant::now(), SystemTime::now());
        {
            let mut state = model.0.lock().unwrap();
            (state.began, state.began_at) = (Some(began), Some(began_at));
        }
        let around = Around {
            has_http: true,
            clock: Box::new(move || began_at + began.elapsed()),
            chance: || 0.0,
        };
        let storage = Arc::new(Storage::new(state.path(), &Acme::default().directory));
        let choice = ChallengeChoice::Auto;
        let keeper =
            Keeper::new(model.clone(), choice, storage, Arc::clone(&store), sender, around);
        let (wanted, names_wanted) = watch::channel(names.iter().map(|&it| it.into()).collect());
        tokio::spawn(keeper.run(names_wanted));
        Self { model, store, wanted, reports, began, state }
    }

    fn want(&self, names: &[&str]) {
        self.wanted.send_replace(names.iter().map(|&it| it.into()).collect());
    }

    /// When each name was ordered, in seconds from the start.
    fn orders(&self) -> Vec<(u64, String)> {
        let state = self.model.0.lock().unwrap();
        let seconds = |at: &Instant| at.duration_since(self.began).as_secs();
        state.orders.iter().map(|(at, name, _)| (seconds(at), name.clone())).collect()
    }

    fn has(&self, name: &str) -> bool {
        let standings = self.store.standings();
        standings.iter().any(|it| it.validity.is_some() && it.names.iter().any(|it| it == name))
    }

    /// The problems that stand now.
    fn problems(&mut self) -> Vec<String> {
        let mut last = Vec::new();
        while let Ok(report) = self.reports.try_recv() {
            if let Report::Noted { problems, .. } = report {
                last = problems.iter().map(ToString::to_string).collect();
            }
        }
        last
    }
}

fn kept(name: &str, term: Term) -> Kept {
    let made = Authority::new("model").issue_for(&[name], term);
    let text = made.key + &made.chain;
    let certificate = pem::certificate(text.as_bytes(), text.as_bytes()).unwrap();
    Kept { certificate, text: text.into() }
}

fn model(failures: impl IntoIterator<Item = (&'static str, Failure)>) -> Model {
    let model = Model::default();
    model.0.lock().unwrap().failures = failures.into_iter().collect();
    model
}

fn refused() -> Failure {
    Failure::Challenge { challenge: Kind::Http01, kind: None, words: "not found".to_owned() }
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

async fn pass(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_fails_is_tried_again_later_each_time_and_keeps_no_other_back() {
    let mut running = Running::start(
        model([("a.example", refused()), ("a.example", refused())]),
        &["a.example", "b.example"],
    );
    pass(30).await;
    assert!(running.has("b.example") && !running.has("a.example"));
    let problems = running.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("`a.example`") && problems[0].contains("not found; next try at"));
    pass(600).await;
    assert!(running.has("a.example"));
    let orders: Vec<_> = running.orders().into_iter().filter(|it| it.1 == "a.example").collect();
    assert_eq!(orders.iter().map(|it| it.0).collect::<Vec<_>>(), [0, 60, 300]);
    let kinds: Vec<_> = {
        let state = running.model.0.lock().unwrap();
        state.orders.iter().filter(|it| it.1 == "a.example").map(|it| it.2).collect()
    };
    assert_eq!(kinds, [Kind::Http01, Kind::TlsAlpn01, Kind::Http01]);
    assert_eq!(running.problems(), [""; 0], "and that it failed is over");
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_down_is_asked_ever_more_rarely_and_once_for_all() {
    let down = || ("a.example", Failure::Unreachable("refused".to_owned()));
    let mut running = Running::start(model((0..4).map(|_| down())), &["a.example"]);
    pass(4).await;
    let problems = running.problems();
    assert!(problems[0].contains("cannot be reached: refused"), "{problems:?}");
    running.want(&["a.example", "b.example"]);
    pass(DAY).await;
    let orders = running.orders();
    let of_a: Vec<_> = orders.iter().filter(|it| it.1 == "a.example").map(|it| it.0).collect();
    assert_eq!(of_a, [0, 5, 15, 35, 75], "though b succeeds");
    assert_eq!(running.problems(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_pauses_all_for_an_hour_at_most_and_the_name_as_long_as_it_says() {
    let retry_after = Some(Duration::from_secs(10 * HOUR));
    let limited = Failure::Limited { words: "slowly".to_owned(), retry_after };
    let running = Running::start(model([("a.example", limited)]), &["a.example"]);
    pass(10).await;
    running.want(&["a.example", "b.example"]);
    pass(DAY).await;
    let expected = [(0, "a.example"), (HOUR, "b.example"), (10 * HOUR, "a.example")];
    assert_eq!(running.orders(), expected.map(|(at, name)| (at, name.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_few_orders_are_under_way_at_once_and_no_more_names_than_the_bound_have_any() {
    let names: Vec<String> = (0..=NAMES_MAX).map(|it| format!("n{it:04}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let model = Model::default();
    // Nothing is issued, which would take this test the keys of a thousand.
    model.0.lock().unwrap().takes = Duration::from_secs(1_000_000);
    let mut running = Running::start(model, &names);
    pass(60).await;
    assert_eq!(running.orders().len(), ASKING_MAX);
    assert_eq!(running.model.0.lock().unwrap().most_under_way, ASKING_MAX);
    let problems = running.problems();
    assert!(problems[0].contains("1001 names"), "{problems:?}");
    assert!(problems[0].contains("none is ordered for `n1000.example`"), "{problems:?}");
    running.want(&names[1..]);
    pass(60).await;
    assert_eq!(running.problems(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn names_that_come_beyond_the_bound_push_out_none_that_is_held_or_waits() {
    let mut running = Running::start(Model::default(), &["z.example"]);
    pass(10).await;
    running.model.0.lock().unwrap().takes = Duration::from_secs(1_000_000);
    let names: Vec<String> = (0..NAMES_MAX - 1).map(|it| format!("n{it:04}.example")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.push("z.example");
    running.want(&names);
    pass(10).await;
    assert_eq!(running.problems(), [""; 0]);
    names.push("a.example");
    running.want(&names);
    pass(60).await;
    assert!(running.has("z.example"));
    assert!(running.orders().iter().all(|(_, name)| name != "a.example"));
    let problems = running.problems();
    assert!(problems[0].contains("none is ordered for `a.example`"), "{problems:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_of_names_beyond_the_bound_is_shown_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let storage = Storage::new(state.path(), &Acme::default().directory);
    let last = "z.example";
    assert!(storage.keep_certificate(&last.parse().unwrap(), &kept(last, Term::days(90))));
    drop(storage);
    let model = Model::default();
    model.0.lock().unwrap().takes = Duration::from_secs(1_000_000);
    let names: Vec<String> = (0..NAMES_MAX).map(|it| format!("n{it:04}.example")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.push(last);
    let mut running = Running::start_in(state, model, &names);
    pass(10).await;
    assert!(running.has(last));
    let problems = running.problems();
    assert!(problems[0].contains("none is ordered for `n0999.example`"), "{problems:?}");
}

#[tokio::test(start_paused = true)]
async fn who_gives_no_advice_keeps_no_order_back() {
    let model = Model::default();
    model.0.lock().unwrap().has_no_advice = true;
    let mut running = Running::start(model, &["a.example"]);
    pass(1).await;
    running.want(&["a.example", "b.example"]);
    pass(10).await;
    let orders = running.orders();
    assert_eq!(orders, [(0, "a.example".to_owned()), (1, "b.example".to_owned())]);
    assert_eq!(running.problems(), [""; 0]);
    pass(5 * HOUR).await;
    assert_eq!(running.model.0.lock().unwrap().questions, 2, "hours later once more");
}

#[tokio::test(start_paused = true)]
async fn what_began_before_a_limit_and_succeeds_does_not_end_it() {
    let limited = Failure::Limited { words: "slowly".to_owned(), retry_after: None };
    let model = model([("a.example", limited)]);
    model.0.lock().unwrap().slow = Some(("b.example", Duration::from_secs(10)));
    let running = Running::start(model, &["a.example", "b.example"]);
    pass(20).await;
    assert!(running.has("b.example"));
    running.want(&["a.example", "b.example", "c.example"]);
    pass(30).await;
    assert_eq!(running.orders().len(), 2, "it is quiet for a minute");
    pass(30).await;
    assert!(running.has("c.example"));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_read_is_read_later_and_not_ordered_anew() {
    let state = tempfile::tempdir().unwrap();
    let storage = Storage::new(state.path(), &Acme::default().directory);
    let name: Host = "a.example".parse().unwrap();
    assert!(storage.keep_certificate(&name, &kept("a.example", Term::days(90))));
    let path = storage.folder().join("a.example.pem");
    drop(storage);
    std::fs::rename(&path, path.with_extension("away")).unwrap();
    std::fs::create_dir(&path).unwrap();
    let mut running = Running::start_in(state, Model::default(), &["a.example"]);
    pass(2 * LOOK_EVERY.as_secs()).await;
    let problems = running.problems();
    assert!(problems[0].contains("a.example.pem` cannot be read"), "{problems:?}");
    assert!(!running.has("a.example"));
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(path.with_extension("away"), &path).unwrap();
    pass(2 * LOOK_EVERY.as_secs()).await;
    assert!(running.has("a.example"));
    assert_eq!(running.orders(), [], "it was there");
    assert_eq!(running.problems(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_when_two_thirds_are_over_and_whoever_left_is_not() {
    let running = Running::start(Model::default(), &["a.example", "b.example"]);
    pass(10).await;
    assert_eq!(running.orders().len(), 2);
    running.want(&["a.example"]);
    // Of ninety days, the first of which was over when it was issued.
    pass(58 * DAY).await;
    assert_eq!(running.orders().len(), 2);
    pass(2 * DAY).await;
    let orders = running.orders();
    assert_eq!(orders.len(), 3);
    assert_eq!(orders[2].1, "a.example");
    assert!(running.has("a.example"));
}

#[tokio::test(start_paused = true)]
async fn a_window_of_the_authority_counts_and_one_that_is_always_over_once_a_day() {
    let model = Model::default();
    let past = SystemTime::UNIX_EPOCH;
    model.0.lock().unwrap().advice =
        Some(Window { start: past, end: past + Duration::from_secs(1) });
    let running = Running::start(model, &["a.example"]);
    pass(HOUR).await;
    assert_eq!(running.orders().len(), 2, "once more, at once");
    pass(5 * DAY).await;
    assert_eq!(running.orders().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_used_without_an_order_unless_its_time_is_over() {
    let state = tempfile::tempdir().unwrap();
    let storage = Storage::new(state.path(), &Acme::default().directory);
    assert!(
        storage.keep_certificate(&"a.example".parse().unwrap(), &kept("a.example", Term::days(90)))
    );
    assert!(
        storage.keep_certificate(&"b.example".parse().unwrap(), &kept("b.example", Term::over()))
    );
    drop(storage);
    let running = Running::start_in(state, Model::default(), &["a.example", "b.example"]);
    pass(10).await;
    assert_eq!(running.orders(), [(0, "b.example".to_owned())]);
    assert!(running.has("a.example") && running.has("b.example"));
}

#[tokio::test(start_paused = true)]
async fn of_two_balancers_one_orders_and_the_other_shows_what_it_gets() {
    let one = Running::start(Model::default(), &["a.example"]);
    pass(10).await;
    let second = tempfile::tempdir().unwrap();
    std::fs::remove_dir(second.path()).unwrap();
    std::os::unix::fs::symlink(one.state.path(), second.path()).unwrap();
    let other = Running::start_in(second, Model::default(), &["a.example", "b.example"]);
    pass(10).await;
    assert!(other.has("a.example") && !other.has("b.example"));
    one.want(&["a.example", "b.example"]);
    pass(LOOK_EVERY.as_secs()).await;
    assert!(other.has("b.example"));
    assert_eq!(other.orders(), []);
    std::fs::remove_file(other.state.path()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_kept_it_works_all_the_same_and_says_so() {
    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("acme"), "in the way").unwrap();
    let mut running = Running::start_in(state, Model::default(), &["a.example"]);
    pass(10).await;
    assert!(running.has("a.example"));
    let problems = running.problems();
    assert!(problems[0].contains("cannot write to `"), "{problems:?}");
    std::fs::remove_file(running.state.path().join("acme")).unwrap();
    pass(2 * LOOK_EVERY.as_secs()).await;
    assert_eq!(running.problems(), [""; 0], "once it can be kept, it is");
    assert_eq!(running.orders().len(), 1);
}

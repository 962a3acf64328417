//! What reaches the reader of the log, and what happens when it does not read.

use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::SystemTime;

use http::Version;

use super::*;

#[test]
fn lines_of_all_threads_arrive_whole_and_in_the_order_of_their_thread() {
    let (log, read) = started();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let log = log.clone();
            thread::spawn(move || {
                for number in 0..500 {
                    log.log(&entry(&format!("/{writer}/{number}")));
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert!(log.flush(SOON));
    let text = read.text();
    assert_eq!((text.lines().count(), log.dropped()), (2000, 0));
    for writer in 0..4 {
        let found: Vec<_> = text.lines().filter_map(|line| number(line, writer)).collect();
        assert_eq!(found, (0..500).collect::<Vec<_>>());
    }
}

#[test]
fn a_line_after_a_pause_wakes_the_writer() {
    let (log, read) = started();
    for _ in 0..3 {
        wait_until_asleep(&log);
        log.log(&entry("/"));
        assert!(read.arrivals.recv_timeout(SOON).is_ok(), "nothing was written");
    }
}

#[test]
fn a_reader_that_stalls_costs_lines_but_never_the_data_plane() {
    let (release, stalled) = channel::<()>();
    let log = AccessLog::start(&AccessLogSettings::default(), Stalled(stalled)).unwrap();
    let long = "/".repeat(20_000);
    for _ in 0..1000 {
        log.log(&entry(&long));
    }
    let room = 2 * LANE_BYTES_MAX as u64 / 20_000;
    assert!(log.dropped() >= 1000 - room, "{} dropped", log.dropped());
    assert!(!log.flush(Duration::from_millis(20)));
    assert!(!log.close(Duration::from_millis(20)));
    drop(release);
    assert!(log.close(SOON));
}

#[test]
fn closing_writes_what_waits_and_counts_what_comes_later() {
    let (log, read) = started();
    for _ in 0..100 {
        log.log(&entry("/before"));
    }
    assert!(log.close(SOON));
    log.log(&entry("/after"));
    let text = read.text();
    assert_eq!((text.lines().count(), log.dropped()), (100, 1));
    assert!(!text.contains("/after"));
}

#[test]
fn dropping_the_last_handle_ends_the_writer() {
    let (log, read) = started();
    let clone = log.clone();
    drop(log);
    clone.log(&entry("/last"));
    drop(clone);
    // The writer's own end is dropped with its thread.
    while read.arrivals.recv_timeout(SOON).is_ok() {}
    assert_eq!(read.arrivals.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
    assert_eq!(read.text().lines().count(), 1);
}

#[test]
fn lines_that_nobody_accepts_are_counted() {
    let log = AccessLog::start(&AccessLogSettings::default(), Broken).unwrap();
    for _ in 0..5 {
        log.log(&entry("/"));
    }
    assert!(log.flush(SOON));
    assert_eq!(log.dropped(), 5);
}

#[test]
fn a_log_that_is_off_writes_nothing_and_never_waits() {
    let (to, read) = memory();
    let off = AccessLogSettings { format: AccessLogFormat::Off, ..AccessLogSettings::default() };
    let log = AccessLog::start(&off, to).unwrap();
    log.log(&entry("/"));
    assert!(log.flush(Duration::ZERO) && log.close(Duration::ZERO));
    assert_eq!((read.text().as_str(), log.dropped()), ("", 0));
    assert!(!log.is_on() && !log.wants(500, Duration::MAX));
}

#[test]
fn lanes_of_threads_that_have_ended_are_forgotten() {
    let (log, _read) = started();
    for _ in 0..8 {
        let log = log.clone();
        thread::spawn(move || log.log(&entry("/"))).join().unwrap();
    }
    let queue = &log.open.as_ref().unwrap().queue;
    let mut rounds = 0..500;
    let forgotten = rounds.any(|_| {
        log.flush(Duration::from_millis(10));
        lock(&queue.lanes).is_empty()
    });
    assert!(forgotten, "{} lanes", lock(&queue.lanes).len());
}

fn started() -> (AccessLog, Memory) {
    let (to, read) = memory();
    (AccessLog::start(&AccessLogSettings::default(), to).unwrap(), read)
}

fn wait_until_asleep(log: &AccessLog) {
    let queue = &log.open.as_ref().unwrap().queue;
    let asleep = (0..10_000).any(|_| {
        thread::sleep(Duration::from_millis(1));
        queue.asleep.load(Ordering::Relaxed)
    });
    assert!(asleep, "the writer never rests");
}

/// What was written, for a test to look at.
struct Memory {
    text: Arc<Mutex<Vec<u8>>>,
    arrivals: Receiver<()>,
}

struct ToMemory {
    text: Arc<Mutex<Vec<u8>>>,
    arrived: Sender<()>,
}

fn memory() -> (ToMemory, Memory) {
    let text = Arc::new(Mutex::default());
    let (arrived, arrivals) = channel();
    (ToMemory { text: Arc::clone(&text), arrived }, Memory { text, arrivals })
}

impl Memory {
    fn text(&self) -> String {
        String::from_utf8(lock(&self.text).clone()).unwrap()
    }
}

impl Write for ToMemory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.text).extend_from_slice(bytes);
        let _ = self.arrived.send(());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Accepts nothing until the other end of the channel is dropped.
struct Stalled(Receiver<()>);

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The number in `"GET /WRITER/NUMBER`.
fn number(line: &str, writer: u32) -> Option<u32> {
    let target = line.split_once(&format!("\"GET /{writer}/"))?.1;
    target.split(' ').next()?.parse().ok()
}

pub(super) fn entry(target: &str) -> Entry<'_> {
    Entry {
        time: SystemTime::UNIX_EPOCH + Duration::from_micros(1_769_903_999_000_042),
        client: IpAddr::from([192, 0, 2, 7]),
        user: None,
        method: "GET",
        target: target.as_bytes(),
        version: Version::HTTP_11,
        tls: None,
        status: 200,
        request_bytes: 5,
        response_bytes: 1234,
        referer: None,
        user_agent: Some(b"curl/8.5.0"),
        host: Some(b"shop.example"),
        request_id: Some("r-1"),
        trace: None,
        pool: Some("shop/web"),
        project: Some("shop"),
        service: Some("web"),
        replica: Some("shop-web-1"),
        container: Some("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        upstream: Some(([172, 18, 0, 3], 8080).into()),
        attempts: 1,
        reused: true,
        wait_us: 0,
        connect_us: None,
        first_byte_us: Some(850),
        overhead_us: 42,
        total_us: 1207,
        end: "ok",
    }
}

const SOON: Duration = Duration::from_secs(10);

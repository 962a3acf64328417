//! Answers that are better asked for elsewhere.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::balancer::wait_for;
use super::{Backend, Client, admin, before_servers, before_these, get, ok};

const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nX-From: busy\r\n\r\nbusy";

#[test]
fn an_answer_with_a_listed_status_is_asked_for_at_another_replica() {
    for (settings, again) in [
        ("retry.on = 503", true),
        ("retry.on = \"502, 5xx\"", true),
        ("retry.on = \"500-502\"", false),
        ("", false),
        ("retry.on = 503\nretries = 0", false),
    ] {
        let (busy, well) = (busy(), Backend::answering(|_| ok("well")));
        let balancer = before_these(&[&busy, &well], &format!("{settings}\nmax_fails = 0"));
        let answers: Vec<_> =
            (0..4).map(|_| Client::connect(balancer.http).send(get("/")).answer()).collect();
        let well = answers.iter().filter(|it| (it.status, it.text().as_str()) == (200, "well"));
        assert_eq!(well.count(), if again { 4 } else { 2 }, "{settings}");
        let asked = busy.seen().len();
        assert!(if again { asked > 0 } else { asked == 2 }, "{settings}: {asked}");
        let metrics = admin(&balancer, "/metrics").text();
        let retries = if again { asked } else { 0 };
        let retries = format!(
            "evenkeel_retries_total{{pool=\"web\",reason=\"status\"}} {retries}
"
        );
        assert!(metrics.contains(&retries), "{settings}: {metrics}");
    }
}

#[test]
fn where_all_say_the_same_the_last_answer_is_given_as_it_is() {
    let replicas = [busy(), busy(), busy()];
    let settings = "retry.on = 503\nmax_fails = 0";
    let balancer = before_these(&replicas.each_ref(), settings);
    let answer = Client::connect(balancer.http).send(get("/")).answer();
    assert_eq!((answer.status, answer.text().as_str()), (503, "busy"));
    assert_eq!(answer.field("x-from").as_deref(), Some("busy"));
    assert!(replicas.iter().all(|it| it.seen().len() == 1), "each was asked once");
    assert!(balancer.access_logged(" 503 ").contains("ok"));
}

#[test]
fn a_replica_that_is_alone_gives_its_answer_at_once() {
    let busy = busy();
    let balancer = before_these(&[&busy], "retry.on = 503");
    for asked in 1..=5 {
        assert_eq!(Client::connect(balancer.http).send(get("/")).answer().text(), "busy");
        assert_eq!(busy.seen().len(), asked);
    }
}

#[test]
fn an_answer_is_better_than_the_failure_of_the_replica_that_was_to_better_it() {
    let (busy, gone) = (busy(), Backend::scripted(|_, _| false));
    let balancer = before_these(&[&busy, &gone], "retry.on = 503\nmax_fails = 0");
    for _ in 0..4 {
        let answer = Client::connect(balancer.http).send(get("/")).answer();
        assert_eq!((answer.status, answer.text().as_str()), (503, "busy"));
    }
    assert!(balancer.access_logged(" 503 ").contains(&busy.address.to_string()));
}

#[test]
fn what_may_have_been_acted_on_is_not_asked_again() {
    let replicas = [busy(), busy()];
    let balancer = before_these(&replicas.each_ref(), "retry.on = 503\nmax_fails = 0");
    let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
    let answer = Client::connect(balancer.http).send(post).answer();
    assert_eq!((answer.status, answer.text().as_str()), (503, "busy"));
    assert_eq!(replicas.iter().map(|it| it.seen().len()).sum::<usize>(), 1);
}

#[test]
fn a_body_is_sent_again_whole_and_only_if_it_was_kept() {
    for (bytes, again) in [(60_000, true), (70_000, false)] {
        let (busy, well) = (busy(), Backend::answering(|_| ok("well")));
        let balancer = before_these(&[&busy, &well], "retry.on = 503\nmax_fails = 0");
        let mut statuses = Vec::new();
        for _ in 0..2 {
            let head = format!("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n");
            let mut client = Client::connect(balancer.http);
            statuses.push(client.send(head).send(vec![b'x'; bytes]).answer().status);
        }
        assert_eq!(statuses.contains(&503), !again, "{bytes}");
        assert!(well.seen().iter().all(|it| it.body == vec![b'x'; bytes]));
        assert!(!busy.seen().is_empty(), "{bytes}");
    }
}

#[test]
fn an_answer_that_came_before_the_end_of_the_request_is_given_as_it_is() {
    let asked = Arc::new(AtomicUsize::new(0));
    let early = [(); 2].map(|()| answering_at_the_head(&asked));
    let balancer = before_servers(&early, "retry.on = 503\nmax_fails = 0");
    let mut client = Client::connect(balancer.http);
    client.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nb");
    assert_eq!(client.answer().text(), "busy");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn the_connection_of_an_answer_that_another_betters_is_kept() {
    let (busy, well) = (busy(), Backend::answering(|_| ok("well")));
    let balancer = before_these(&[&busy, &well], "retry.on = 503\nmax_fails = 0");
    let mut client = Client::connect(balancer.http);
    wait_for(|| {
        assert_eq!(client.send(get("/")).answer().text(), "well");
        (busy.seen().len() >= 10).then_some(())
    });
    let connections = busy.seen().iter().map(|it| it.connection).max();
    assert!(connections < Some(3), "{connections:?}");
}

/// A replica that is busy as soon as it has read a request's head.
fn answering_at_the_head(asked: &Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::clone(asked));
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let asked = Arc::clone(&asked);
            thread::spawn(move || {
                let mut heard = [0; 4096];
                if stream.read(&mut heard).is_ok_and(|count| count > 0) {
                    asked.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(BUSY.as_bytes()).unwrap();
                    while stream.read(&mut heard).is_ok_and(|count| count > 0) {}
                }
            });
        }
    });
    address
}

fn busy() -> Backend {
    Backend::answering(|_| BUSY.into())
}

//! Who answers by what a request says, and by how fast replicas are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{Backend, Balancer, Client, before_with, ok};

#[test]
fn round_robin_is_exact_over_hundreds_of_requests() {
    let backends = replicas(3);
    let balancer = before_with(&backends, "");
    let hits = hits(&balancer, 300);
    println!("round_robin of 3 over 300 requests: {hits:?}");
    assert_eq!(hits.into_values().collect::<Vec<_>>(), [100, 100, 100]);
}

#[test]
fn a_value_keeps_to_its_replica_and_values_are_spread() {
    for (balance, field) in
        [("hash:header:X-User", "X-User: user-"), ("hash:cookie:session", "Cookie: a=b; session=")]
    {
        let backends = replicas(5);
        let balancer = before_with(&backends, &format!("balance = \"{balance}\"\n"));
        let home = |user: usize| ask(&balancer, "/", &format!("{field}{user}\r\n"));
        let homes: Vec<_> = (0..60).map(home).collect();
        assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 5, "{balance}");
        for (user, replica) in homes.iter().enumerate() {
            assert_eq!(&home(user), replica, "{balance}");
        }
        // Who says nothing takes turns.
        let hits = hits(&balancer, 20);
        assert_eq!(hits.into_values().collect::<Vec<_>>(), [4; 5], "{balance}");
    }
}

#[test]
fn a_target_is_hashed_in_normal_form_with_its_query() {
    let backends = replicas(5);
    let balancer = before_with(&backends, "balance = \"hash:uri\"\n");
    for item in 0..20 {
        let home = ask(&balancer, &format!("/item/{item}?x=1"), "");
        for spelled in [format!("/item/./{item}?x=1"), format!("/%69tem/y/../{item}?x=1")] {
            assert_eq!(ask(&balancer, &spelled, ""), home, "{spelled}");
        }
    }
    let queries: BTreeSet<_> = (0..30).map(|x| ask(&balancer, &format!("/?x={x}"), "")).collect();
    assert_eq!(queries.len(), 5);
}

#[test]
fn a_key_that_everybody_asks_for_overflows_to_others() {
    // Every answer waits until all requests are there.
    let arrived = Arc::new(AtomicUsize::new(0));
    let replica = |n: usize| {
        let arrived = Arc::clone(&arrived);
        Backend::answering(move |_| {
            arrived.fetch_add(1, Ordering::Relaxed);
            super::wait_for(|| (arrived.load(Ordering::Relaxed) >= 90).then_some(()));
            ok(&n.to_string())
        })
    };
    let backends: Vec<_> = (0..3).map(replica).collect();
    let balancer = before_with(&backends, "balance = \"hash:uri\"\n");
    let mut clients: Vec<_> = (0..90).map(|_| Client::connect(balancer.http)).collect();
    for client in &mut clients {
        client.send(super::get("/hot"));
    }
    let mut hits = BTreeMap::<String, u32>::new();
    for client in &mut clients {
        *hits.entry(client.answer().text()).or_default() += 1;
    }
    println!("hash:uri of 3, 90 requests in flight for one key: {hits:?}");
    let most = hits.values().copied().max().unwrap();
    assert!((30..=40).contains(&most), "1.25 times 30, give or take: {hits:?}");
}

#[test]
fn peak_ewma_keeps_away_from_a_replica_that_is_slow_fails_or_hangs() {
    let slow = Backend::answering(|_| {
        thread::sleep(Duration::from_millis(300));
        ok("sick")
    });
    let failing =
        Backend::answering(|_| b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nsick".to_vec());
    let hanging = Backend::scripted(|_, _| {
        thread::sleep(Duration::from_secs(5));
        false
    });
    for (what, sick) in [("slow", slow), ("failing", failing), ("hanging", hanging)] {
        // So slow that who fails at once would look fast.
        let well = |n: usize| {
            Backend::answering(move |_| {
                thread::sleep(Duration::from_millis(10));
                ok(&n.to_string())
            })
        };
        let mut backends: Vec<_> = (0..4).map(well).collect();
        backends.push(sick);
        let balancer =
            before_with(&backends, "balance = \"peak_ewma\"\ntimeout.response = \"600ms\"\n");
        let hits = hits(&balancer, 150);
        println!("peak_ewma, one of 5 {what}, over 150 requests: {hits:?}");
        assert!((1..8).contains(&hits["sick"]), "it is tried, and little more: {hits:?}");
        assert_eq!(hits.len(), 5, "{hits:?}");
    }
}

fn replicas(count: usize) -> Vec<Backend> {
    (0..count).map(|n| Backend::answering(move |_| ok(&n.to_string()))).collect()
}

fn hits(balancer: &Balancer, count: usize) -> BTreeMap<String, u32> {
    let mut hits = BTreeMap::new();
    // Several connections, so that both workers take part.
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(balancer.http)).collect();
    for number in 0..count {
        let answer = clients[number % 4].send(super::get("/")).answer();
        let text = if answer.status == 504 { "sick".to_owned() } else { answer.text() };
        *hits.entry(text).or_default() += 1;
    }
    hits
}

fn ask(balancer: &Balancer, target: &str, fields: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n");
    let answer = Client::connect(balancer.http).send(request).answer();
    assert_eq!(answer.status, 200);
    answer.text()
}

//! Files that labels name, while the balancer runs.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use super::{Backend, Balancer, Client, admin, before_pools, configured, get, ok, wait_for};

const ANN: &str = "ann:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0\n";

fn before(folder: &Path, labels: &str) -> Balancer {
    let pools = [("web", &[Backend::answering(|_| ok("hi"))][..], labels)];
    before_pools(&pools, &["--label-files", folder.to_str().unwrap()])
}

/// The status that `ann` with the password `secret` gets.
fn status(balancer: &Balancer) -> u16 {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YW5uOnNlY3JldA==\r\n\r\n";
    Client::connect(balancer.http).send(request).answer().status
}

#[test]
fn a_file_counts_from_the_first_request_and_again_within_ten_seconds_of_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    fs::write(&users, ANN).unwrap();
    let balancer = before(folder.path(), &format!("auth.basic = 'file:{}'", users.display()));
    assert_eq!(status(&balancer), 200);
    assert_eq!(Client::connect(balancer.http).send(get("/")).answer().status, 401);

    let began = Instant::now();
    fs::write(&users, ANN.replace("ann", "bob")).unwrap();
    wait_for(|| (status(&balancer) == 401).then_some(()));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_file_that_vanishes_is_told_and_what_it_held_still_counts() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    fs::write(&users, ANN).unwrap();
    let balancer = before(folder.path(), "auth.basic = 'file:users'");
    assert_eq!(status(&balancer), 200);
    fs::remove_file(&users).unwrap();
    let line = balancer.logged("cannot be read any more: it is not there");
    assert!(line.contains("file:users"), "{line}");
    assert_eq!(status(&balancer), 200);
    assert_eq!(Client::connect(balancer.http).send(get("/")).answer().status, 401);
    fs::write(&users, ANN).unwrap();
    balancer.logged("Mended: pool `web`: label `lb.auth.basic`");
}

#[test]
fn a_file_that_is_emptied_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("users"), ANN).unwrap();
    let balancer = before(folder.path(), "auth.basic = 'file:users'");
    assert_eq!(status(&balancer), 200);
    fs::write(folder.path().join("users"), "# nobody\n").unwrap();
    wait_for(|| (status(&balancer) == 401).then_some(()));
    balancer.logged("which has no users in it");
}

#[test]
fn who_is_in_a_file_before_and_after_passes_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    fs::write(&users, ANN).unwrap();
    let balancer = before(folder.path(), "auth.basic = 'file:users'");
    assert_eq!(status(&balancer), 200);
    // Longer than from one look to the next, so that one falls into it.
    let mut file = fs::File::create(&users).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2800) {
        file.write_all(b"# not yet\n").unwrap();
        assert_eq!(status(&balancer), 200, "after {:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    file.write_all((ANN.replace("ann", "bob") + ANN).as_bytes()).unwrap();
    let as_bob = || Client::connect(balancer.http).send(AS_BOB).answer().status;
    wait_for(|| {
        assert_eq!(status(&balancer), 200);
        (as_bob() == 200).then_some(())
    });
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_guard_whose_file_was_never_there_is_closed_until_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let balancer = before(folder.path(), "auth.basic = 'file:users'");
    balancer.logged("cannot be read: it is not there");
    assert_eq!(status(&balancer), 503);
    fs::write(folder.path().join("users"), ANN).unwrap();
    wait_for(|| (status(&balancer) == 200).then_some(()));
}

#[test]
fn nothing_outside_the_folder_is_read() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("labels");
    fs::create_dir(&folder).unwrap();
    fs::write(root.path().join("users"), ANN).unwrap();
    std::os::unix::fs::symlink(root.path(), folder.join("up")).unwrap();
    std::os::unix::fs::symlink("../users", folder.join("link")).unwrap();
    for path in ["../users", "up/users", "link", root.path().join("users").to_str().unwrap()] {
        let balancer = before(&folder, &format!("auth.basic = 'file:{path}'"));
        assert_eq!(status(&balancer), 503, "{path}");
    }
}

#[test]
fn who_was_being_asked_about_meets_the_guards_as_they_are_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    fs::write(&users, ANN).unwrap();
    let (answer, may_answer) = mpsc::channel::<()>();
    let may_answer = Mutex::new(may_answer);
    let decider = Backend::answering(move |_| {
        let _ = may_answer.lock().unwrap().recv_timeout(Duration::from_millis(4500));
        ok("yes")
    });
    let backends = [Backend::answering(|_| ok("hi"))];
    let labels =
        format!("'auth.basic' = 'file:users'\n'auth.forward' = 'http://{}/'", decider.address);
    let pools = [("web", &backends[..], labels.as_str())];
    let balancer = before_pools(&pools, &["--label-files", folder.path().to_str().unwrap()]);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| status(&balancer));
        wait_for(|| (decider.seen().len() == 1).then_some(()));
        fs::write(&users, ANN.replace("ann", "bob")).unwrap();
        let mut clients = Vec::new();
        wait_for(|| {
            let mut client = Client::connect(balancer.http);
            client.send(AS_BOB);
            clients.push(client);
            std::thread::sleep(Duration::from_millis(50));
            (decider.seen().len() > 1).then_some(())
        });
        answer.send(()).unwrap();
        assert_eq!(waits.join().unwrap(), 401);
    });
}

#[test]
fn a_held_request_pays_once_for_a_limit_that_stays_when_users_change() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    fs::write(&users, ANN).unwrap();
    // Nobody listens yet.
    let place = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = format!(
        "[pools.web]\nservers = ['{place}']\npath = '/'\n'auth.basic' = 'file:users'\n\
         rate = '1/h'\nhold = '20s'\n\
         [pools.other]\nservers = ['{place}']\npath = '/other'\nhold = '0s'\n\
         'auth.basic' = 'file:users'"
    );
    let flags = ["--label-files", folder.path().to_str().unwrap()];
    let balancer = configured(&settings, &flags, []);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| status(&balancer));
        wait_for(|| {
            let metrics = admin(&balancer, "/metrics").text();
            let mut lines = metrics.lines();
            let held = |line: &str| line.starts_with("evenkeel_requests_waiting{pool=\"web\"} 1");
            lines.any(held).then_some(())
        });
        fs::write(&users, ANN.replace("ann", "bob") + ANN).unwrap();
        let other = AS_BOB.replace(" / ", " /other ");
        let other = || Client::connect(balancer.http).send(&other).answer().status;
        wait_for(|| (other() == 503).then_some(()));
        let _backend = Backend::at(place, |_, stream| stream.write_all(&ok("hi")).is_ok());
        assert_eq!(waits.join().unwrap(), 200);
    });
}

const AS_BOB: &str = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic Ym9iOnNlY3JldA==\r\n\r\n";

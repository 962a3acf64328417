//! Pages in place of answers that failed.

use super::{Backend, Balancer, Client, before_pools, get, ok};

/// A folder of label files with this page in it.
fn folder(page: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("50x.html"), page).unwrap();
    folder
}

fn before(folder: &tempfile::TempDir, backend: Backend, labels: &str) -> Balancer {
    let pools = [("web", &[backend][..], labels)];
    before_pools(&pools, &["--label-files", folder.path().to_str().unwrap()])
}

fn failing() -> Backend {
    Backend::answering(|seen| {
        let status = seen.head.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
        format!(
            "HTTP/1.1 {status} X\r\nContent-Length: 3\r\nContent-Encoding: x\r\nETag: \"e\"\r\n\
             Cache-Control: max-age=60\r\nContent-Digest: d\r\nContent-Disposition: attachment\r\n\
             Set-Cookie: a=b\r\n\r\nraw"
        )
        .into_bytes()
    })
}

const PAGE: &str = "<h1>{status}</h1><p>{message}</p><i>{request_id}</i>";

#[test]
fn a_page_stands_for_answers_of_our_own_with_their_status() {
    let folder = folder(PAGE);
    let labels = "error_page = 'file:50x.html'\nbody_limit = '1B'";
    let balancer = before(&folder, Backend::answering(|_| ok("hi")), labels);
    let mut client = Client::connect(balancer.http);
    assert_eq!(client.send(get("/")).answer().text(), "hi");
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\n";
    let answer = client.send(post).answer();
    assert_eq!(answer.status, 413);
    assert_eq!(answer.field("content-type").as_deref(), Some("text/html; charset=utf-8"));
    assert_eq!(answer.field("connection").as_deref(), Some("close"));
    let text = answer.text();
    assert!(text.starts_with("<h1>413</h1><p>The request is too large.</p><i>"), "{text}");
    let id = text.split("<i>").nth(1).unwrap().trim_end_matches("</i>");
    assert!(balancer.access_logged(" 413 ").contains(id), "{id}");
}

#[test]
fn who_wants_json_gets_json_and_head_has_no_body() {
    let folder = folder(PAGE);
    let labels = "error_page = 'file:50x.html'\nrate = '1/h'";
    let balancer = before(&folder, Backend::answering(|_| ok("hi")), labels);
    let mut client = Client::connect(balancer.http);
    client.send(get("/")).answer();
    let json = "GET / HTTP/1.1\r\nHost: a.example\r\nAccept: application/json\r\n\r\n";
    let answer = client.send(json).answer();
    assert_eq!(answer.field("content-type").as_deref(), Some("application/json"));
    assert!(answer.text().starts_with("{\"status\":429,"), "{}", answer.text());
    let head = client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n").answer_to_head();
    assert_eq!(head.status, 429);
    let answer = client.send(get("/")).answer();
    assert!(answer.text().starts_with("<h1>429"), "nothing came between:\n{}", answer.text());
    assert!(answer.field("retry-after").is_some());
}

#[test]
fn answers_of_replicas_are_replaced_only_where_that_is_asked_for() {
    let folder = folder(PAGE);
    let labels = "error_page = 'file:50x.html'\n'error_page.on' = '404,500-503'\n\
                  headers.response.ETag = 'ours'";
    let balancer = before(&folder, failing(), labels);
    let mut client = Client::connect(balancer.http);
    for status in ["404", "500", "503"] {
        let answer = client.send(get(&format!("/{status}"))).answer();
        assert_eq!(answer.status.to_string(), status);
        assert!(answer.text().starts_with(&format!("<h1>{status}</h1><p>")), "{}", answer.text());
        assert_eq!(answer.field("set-cookie").as_deref(), Some("a=b"));
        for name in ["content-encoding", "content-digest", "content-disposition"] {
            assert_eq!(answer.field(name), None, "{name}");
        }
        assert_eq!(answer.field("cache-control").as_deref(), Some("no-store"));
        assert_eq!(answer.field("etag").as_deref(), Some("ours"), "labels have the last word");
    }
    for status in ["200", "403", "504"] {
        let answer = client.send(get(&format!("/{status}"))).answer();
        assert_eq!((answer.status.to_string().as_str(), answer.text().as_str()), (status, "raw"));
        assert!(answer.field("content-encoding").is_some());
    }
}

#[test]
fn the_page_of_a_closed_route_and_of_a_dead_replica_is_the_pools_own() {
    let folder = folder(PAGE);
    let labels = "error_page = 'file:50x.html'\nauth.basic = 'ann:plain'";
    let balancer = before(&folder, Backend::answering(|_| ok("hi")), labels);
    let answer = Client::connect(balancer.http).send(get("/")).answer();
    assert_eq!(answer.status, 503);
    assert!(answer.text().starts_with("<h1>503</h1>"), "{}", answer.text());

    let labels = "error_page = 'file:50x.html'\nretries = 0\nhold = '0s'";
    let backend = Backend::scripted(|_, _| false);
    let balancer = before(&folder, backend, labels);
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\nx";
    let answer = Client::connect(balancer.http).send(post).answer();
    assert_eq!(answer.status, 502);
    assert!(answer.text().starts_with("<h1>502</h1>"), "{}", answer.text());
}

#[test]
fn a_page_of_another_pool_is_fetched_from_it_and_missed_without_harm() {
    let pages = Backend::answering(|seen| {
        if seen.head.starts_with("GET /errors/404.html ") {
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nlost".to_vec()
        } else {
            b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n".to_vec()
        }
    });
    let labels = "error_page = 'pool:pages/errors/{status}.html'\n'error_page.on' = '4xx'";
    let own = "path = '/none'\nerror_page = 'pool:web/x'";
    let pools = [("web", &[failing()][..], labels), ("pages", &[pages][..], own)];
    let balancer = before_pools(&pools, &[]);
    let mut client = Client::connect(balancer.http);
    let answer = client.send(get("/404")).answer();
    assert_eq!((answer.status, answer.text().as_str()), (404, "lost"));
    assert_eq!(answer.field("content-type").as_deref(), Some("text/html"));
    let answer = client.send(get("/403")).answer();
    assert_eq!((answer.status, answer.text().as_str()), (403, "raw"), "there is no such page");
    assert!(answer.field("etag").is_some());
}

#[test]
fn a_pool_that_hangs_over_a_page_delays_the_answer_by_two_seconds_at_most() {
    let pages = Backend::scripted(|_, _| {
        std::thread::sleep(std::time::Duration::from_secs(30));
        false
    });
    let labels = "error_page = 'pool:pages'\n'error_page.on' = '404'";
    let pools = [("web", &[failing()][..], labels), ("pages", &[pages][..], "path = '/none'")];
    let balancer = before_pools(&pools, &[]);
    let began = std::time::Instant::now();
    let answer = Client::connect(balancer.http).send(get("/404")).answer();
    assert_eq!((answer.status, answer.text().as_str()), (404, "raw"));
    let took = began.elapsed().as_millis();
    assert!((1900..4000).contains(&took), "{took} ms");
}

#[test]
fn a_replica_whose_answers_are_replaced_keeps_its_connection() {
    let folder = folder(PAGE);
    let backends = [failing()];
    let labels = "error_page = 'file:50x.html'\n'error_page.on' = '500'";
    let args = ["--label-files", folder.path().to_str().unwrap()];
    let balancer = before_pools(&[("web", &backends[..], labels)], &args);
    let mut client = Client::connect(balancer.http);
    for _ in 0..20 {
        assert_eq!(client.send(get("/500")).answer().status, 500);
    }
    // Another one may be opened while the rest of an answer is being read.
    let connections = backends[0].seen().iter().map(|seen| seen.connection).max();
    assert!(connections.unwrap() < 5, "{connections:?}");
}

#[test]
fn a_burst_of_failures_fetches_a_page_once_a_second_and_worker() {
    let pages = Backend::answering(|_| ok("lost"));
    let labels = "error_page = 'pool:pages/{status}'\n'error_page.on' = '404'";
    let backends = [pages];
    let pools = [("web", &[failing()][..], labels), ("pages", &backends, "path = '/none'")];
    let balancer = before_pools(&pools, &[]);
    let began = std::time::Instant::now();
    let mut client = Client::connect(balancer.http);
    for _ in 0..100 {
        assert_eq!(client.send(get("/404")).answer().text(), "lost");
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    let fetched = backends[0].seen().len();
    assert!(fetched <= 1 + seconds, "{fetched} fetches in {seconds} s");
}

#[test]
fn no_page_is_fetched_past_the_guards_of_its_pool() {
    let labels = "error_page = 'pool:pages/'\n'error_page.on' = '404'";
    for guard in ["deny = '127.0.0.0/8'", "'auth.basic' = 'ann:plain'", "client = '10.0.0.0/8'"] {
        let pages = [Backend::answering(|_| ok("secret"))];
        let own = format!("path = '/none'\n{guard}");
        let pools = [("web", &[failing()][..], labels), ("pages", &pages, own.as_str())];
        let balancer = before_pools(&pools, &[]);
        let answer = Client::connect(balancer.http).send(get("/404")).answer();
        assert_eq!(answer.text(), "raw", "{guard}");
        assert!(pages[0].seen().is_empty());
        balancer.logged("its error page is that of pool `pages`, which is guarded");
    }
}

#[test]
fn a_page_of_a_pool_that_wants_the_proxy_protocol_is_asked_for_with_its_header() {
    let pages = Backend::scripted(|seen, stream| {
        let greeted = seen.head.starts_with("PROXY UNKNOWN\r\n");
        let page = ok(if greeted { "lost" } else { "not greeted" });
        std::io::Write::write_all(stream, &page).is_ok()
    });
    let labels = "error_page = 'pool:pages/'\n'error_page.on' = '404'";
    let own = "path = '/none'\nproxy_protocol = 'v1'";
    let pools = [("web", &[failing()][..], labels), ("pages", &[pages][..], own)];
    let balancer = before_pools(&pools, &[]);
    let answer = Client::connect(balancer.http).send(get("/404")).answer();
    assert_eq!(answer.text(), "lost");
}

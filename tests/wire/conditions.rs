//! Rules by method, header, query and client.

use super::{Backend, Balancer, Client, configured, ok};

#[test]
fn requests_go_where_their_head_says() {
    let balancer = pools(
        &[],
        &[
            ("all", ""),
            ("canary", "header.x-canary = \"yes\""),
            ("writes", "method = \"post,PUT\""),
            ("preview", "query.preview = \"*\""),
            ("draft", "query.preview = \"a draft\""),
            ("both", "header.x-canary = \"yes\"\nmethod = \"DELETE\""),
        ],
    );
    for (method, target, fields, expected) in [
        ("GET", "/", "", "all"),
        ("GET", "/", "X-Canary: yes\r\n", "canary"),
        ("GET", "/", "X-CANARY:   yes \r\n", "canary"),
        ("GET", "/", "X-Canary: no\r\nx-canary: yes\r\n", "canary"),
        ("GET", "/", "X-Canary: Yes\r\n", "all"),
        ("GET", "/", "X_Canary: yes\r\n", "all"),
        ("POST", "/", "Content-Length: 0\r\n", "writes"),
        ("PUT", "/", "Content-Length: 0\r\n", "writes"),
        ("GET", "/?x=1&preview", "", "preview"),
        ("GET", "/?preview=a+draft", "", "draft"),
        ("GET", "/?%70review=a%20draft", "", "draft"),
        ("GET", "/?Preview=1", "", "all"),
        ("DELETE", "/", "X-Canary: yes\r\n", "both"),
        ("DELETE", "/", "", "all"),
        // Named in `Connection` it ends here, before the route is chosen.
        ("GET", "/", "X-Canary: yes\r\nConnection: x-canary\r\n", "all"),
    ] {
        let asked = format!("{method} {target} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n");
        assert_eq!(answer(&balancer, &asked), expected, "{asked}");
    }
}

#[test]
fn what_strangers_say_of_themselves_decides_no_route() {
    let balancer = pools(
        &[],
        &[
            ("plain", ""),
            ("https", "header.x-forwarded-proto = \"https\""),
            ("office", "client = \"203.0.113.0/24\""),
        ],
    );
    let forged = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\
                  X_Forwarded_Proto: https\r\nX-Forwarded-For: 203.0.113.7\r\n\
                  Forwarded: for=203.0.113.7;proto=https\r\n\r\n";
    assert_eq!(answer(&balancer, forged), "plain");
}

#[test]
fn a_trusted_proxy_decides_by_what_it_says_of_the_client() {
    let balancer = pools(
        &["--trusted-proxies", "127.0.0.1"],
        &[
            ("plain", ""),
            ("https", "header.x-forwarded-proto = \"https\""),
            ("office", "client = \"203.0.113.0/24,::1\""),
        ],
    );
    for (fields, expected) in [
        ("X-Forwarded-Proto: https\r\n", "https"),
        ("X-Forwarded-For: 203.0.113.7\r\n", "office"),
        ("X-Forwarded-For: ::ffff:203.0.113.7\r\n", "office"),
        ("X-Forwarded-For: 203.0.113.7, 198.51.100.1\r\n", "plain"),
        ("", "plain"),
    ] {
        let asked = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(answer(&balancer, &asked), expected, "{asked}");
    }
}

#[test]
fn both_readings_of_a_path_are_held_to_the_same_conditions() {
    let balancer =
        pools(&[], &[("all", ""), ("admin", "path = \"/admin\"\nheader.x-role = \"admin\"")]);
    for (path, role, expected) in [
        ("/x/%2e%2e/admin", "admin", "admin"),
        ("/%2Fadmin", "", "all"),
        // A lenient server would read `/admin`, and we would not.
        ("/%2Fadmin", "X-Role: admin\r\n", "400"),
        ("/x%2F..%2Fadmin", "X-Role: admin\r\n", "400"),
        ("/x%2F..%2Fadmin", "X-Role: other\r\n", "all"),
    ] {
        let role = if role == "admin" { "X-Role: admin\r\n" } else { role };
        let asked = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{role}\r\n");
        assert_eq!(answer(&balancer, &asked), expected, "{asked}");
    }
}

#[test]
fn the_status_page_tells_the_conditions() {
    let balancer = pools(&[], &[("canary", "header.x-canary = \"yes\"\nclient = \"10.0.0.0/8\"")]);
    let request = "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let status = Client::connect(balancer.admin).send(request).answer().text();
    assert!(status.contains("header `x-canary: yes`, client `10.0.0.0/8`"), "{status}");
}

/// A pool of one replica for each name and its rule, which answers with the name.
fn pools(flags: &[&str], rules: &[(&'static str, &str)]) -> Balancer {
    let (mut settings, mut backends) = (String::new(), Vec::new());
    for &(name, rule) in rules {
        let backend = Backend::answering(move |_| ok(name));
        let address = backend.address.to_string();
        settings += &format!("[pools.{name}]\nservers = [{address:?}]\n{rule}\n");
        backends.push(backend);
    }
    configured(&settings, flags, &backends)
}

/// The pool that answered, else the status.
fn answer(balancer: &Balancer, request: &str) -> String {
    let answer = Client::connect(balancer.http).send(request).answer();
    if answer.status == 200 { answer.text() } else { answer.status.to_string() }
}

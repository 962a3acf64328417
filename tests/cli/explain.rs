//! `evenkeel explain`, on a running balancer with written pools.

use crate::cli::support::{Desk, Ran, Whoami, eventually, fake, nowhere};
use crate::wire::balancer::Balancer;

#[test]
fn a_request_is_told_which_rule_takes_it_and_who_would_get_it() {
    let table = Table::start();
    let ran = table.run(&["explain", "http://shop.example/api/x/../y?q=1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let name = &table.name;
    for part in [
        &format!("+ served by `{name}` ({name}) of pool `api`\n"),
        "  GET http://shop.example/api/y?q=1\n  from 127.0.0.1, coming in by `http`\n",
        "  + api: host `shop.example`, path `/api`: it takes it\n",
        "  - shop: host `shop.example`, any path: it would take it, but its path is shorter",
        "  x post: host `post.example`, any path, method `POST`: the host is `shop.example`\n",
        "Replicas of api (round_robin)\n",
    ] {
        assert!(ran.stdout.contains(part), "{part}\n{}", ran.stdout);
    }
}

#[test]
fn what_is_not_served_ends_with_1_and_says_why() {
    let table = Table::start();
    for (arguments, parts) in [
        (
            &["http://shp.example/"][..],
            &["x refused with 404: no rule takes it\n  hint: did you mean `shop.example`?\n"][..],
        ),
        (
            &["http://post.example/"],
            &[
                "no_route",
                "hint: pool `post` wants host `post.example`, any path, method `POST`, but the method is `GET`",
            ],
        ),
        (&["http://shop.example/%2561pi/%2e"], &["  GET http://shop.example/%2561pi/\n"]),
        (
            &["http://shop.example/%zz"],
            &["refused with 400: the path holds a broken percent escape", "broken_escape"],
        ),
        (
            &["http://shop.example//api"],
            &[
                "x refused with 400: `//api` leads to pool `shop`, and read leniently, as `/api`, to pool `api`",
                "ambiguous_path",
            ],
        ),
        (
            &["http://inner.example/", "--client", "203.0.113.9"],
            &["refused by `lb.allow, deny`: the client 203.0.113.9 may not pass", "forbidden"],
        ),
        (
            &["http://down.example/"],
            &["x held for up to 10s until a replica of pool `down` is ready, then 503\n"],
        ),
    ] {
        let ran = table.run(&[&["explain"], arguments].concat());
        let served = arguments[0].contains("2561");
        assert_eq!(
            ran.code,
            Some(i32::from(!served)),
            "{arguments:?}: {}{}",
            ran.stdout,
            ran.stderr
        );
        for part in parts {
            assert!(ran.stdout.contains(part), "{part}\n{}", ran.stdout);
        }
    }
}

#[test]
fn method_headers_cookies_and_client_decide_as_those_of_a_request_do() {
    let table = Table::start();
    for (arguments, verdict) in [
        (&["-X", "POST", "http://post.example/"][..], "of pool `post`"),
        (&["-H", "Host: post.example", "-X", "POST", "http://127.0.0.1/"], "of pool `post`"),
        (&["http://inner.example/", "--client", "10.1.2.3"], "of pool `inner`"),
        (
            &["http://moved.example/a"],
            "pool `moved` answers it itself: 301 to https://new.example/a",
        ),
        (&["http://canary.example/", "-H", "X-Canary: yes", "--cookie", "a=b"], "of pool `canary`"),
    ] {
        let ran = table.run(&[&["explain"], arguments].concat());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.lines().next().unwrap_or_default().contains(verdict), "{}", ran.stdout);
    }
}

#[test]
fn to_ask_takes_no_turn_and_is_no_traffic() {
    let table = Table::start();
    for _ in 0..3 {
        table.run(&["explain", "http://shop.example/api"]);
    }
    let ran = table.run(&["explain", "--container", &table.name, "--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("requests so far: 0 (0 failed), in flight: 0"), "{}", ran.stdout);
}

#[test]
fn a_replica_is_told_from_its_labels_to_its_traffic() {
    let table = Table::start();
    let ran = table.run(&["explain", "--container", &table.down]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let verdict = format!(
        "x {}: it gets no requests: starting: it has not accepted a connection yet\n",
        table.down
    );
    assert!(ran.stdout.starts_with(&verdict), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("  + route: `down.example/` leads to its pool\n"),
        "{}",
        ran.stdout
    );

    let ran = table.run(&["explain", "--container", "nobody"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.starts_with("error: no container or service is called `nobody`\n"));
}

#[test]
fn wrong_use_and_nobody_to_ask_end_with_2() {
    let desk = Desk::new();
    for arguments in [
        &["explain"][..],
        &["explain", "http://x/", "--container", "x"],
        &["explain", "--container", "x", "--client", "10.0.0.1"],
    ] {
        assert_eq!(desk.run(arguments).code, Some(2), "{arguments:?}");
    }
    let (_kept, nowhere) = nowhere();
    let foreign =
        fake("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi".into());
    for (admin, message) in
        [(nowhere, "nothing answers at"), (foreign, "did not answer with an explanation")]
    {
        let ran = desk.run(&["explain", "http://x/", "--admin", &admin.to_string()]);
        assert_eq!(ran.code, Some(2));
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
    let table = Table::start();
    let ran = table.run(&["explain", "http://x/", "--entrypoint", "htp"]);
    assert_eq!(ran.code, Some(2));
    assert_eq!(
        ran.stderr,
        "error: no entry point is called `htp`\n  hint: did you mean `http`? There are: `http`\n"
    );
    assert_eq!(table.run(&["explain", "http://x/", "-H", "nonsense"]).code, Some(2));
}

/// A balancer with a replica that serves and one that does not.
struct Table {
    desk: Desk,
    _balancer: Balancer,
    _backend: Whoami,
    name: String,
    down: String,
}

impl Table {
    fn start() -> Self {
        let backend = Whoami::start(&[]);
        let (_kept, down) = nowhere();
        let (name, down) = (backend.address.to_string(), down.to_string());
        let pools = [
            ("api", &name, "host = 'shop.example'\npath = '/api'"),
            ("shop", &name, "host = 'shop.example'"),
            ("post", &name, "host = 'post.example'\nmethod = 'POST'"),
            ("inner", &name, "host = 'inner.example'\nallow = '10.0.0.0/8'"),
            (
                "moved",
                &name,
                "host = 'moved.example'\nredirect = 'https://new.example{path}'\n'redirect.status' = 301",
            ),
            ("canary", &name, "host = 'canary.example'\n'header.x-canary' = 'yes'"),
            ("down", &down, "host = 'down.example'"),
        ];
        let pools = pools.map(|(pool, server, rest)| {
            format!("[pools.{pool}]\nservers = ['{server}']\n{rest}\n")
        });
        let desk = Desk::new().with("evenkeel.toml", &pools.concat());
        let file = desk.folder.path().join("evenkeel.toml").display().to_string();
        let balancer = Balancer::start(&["--config", &file]);
        let desk = desk.env("EVENKEEL_ADMIN", balancer.admin.to_string());
        let table = Self { desk, _balancer: balancer, _backend: backend, name, down };
        eventually(|| table.run(&["status"]).stdout.contains(" ready ").then_some(()));
        table
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.desk.run(arguments)
    }
}

//! The commands that ask a running balancer.

use crate::cli::support::{Desk, fake, nowhere};

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn named(version: &str) -> String {
    let status = format!(
        r#"{{"version":"{version}","generation":3,"pools":[{{"label":"api","state":"ready",
        "policy":"round_robin","replicas":[{{"name":"api-1","state":"ready",
        "address":"10.0.0.2:80","weight":1,"requests":12}}]}}],
        "problems":[{{"subject":"container `x`","key":"lb.prot","message":"label `lb.prot` is odd",
        "hint":"did you mean `lb.port`?"}}]}}"#
    );
    http("200 OK", &status)
}

#[test]
fn status_shows_pools_replicas_and_problems() {
    let admin = fake(named("9.9.9")).to_string();
    let ran = Desk::new().run(&["status", "--admin", &admin]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for part in [
        "Evenkeel 9.9.9, table 3\n",
        "Pool api: ready, round_robin, any request\n",
        "  api-1    ready  10.0.0.2:80  1       0          12        0\n",
        "  container `x`: label `lb.prot` is odd\n    hint: did you mean `lb.port`?\n",
    ] {
        assert!(ran.stdout.contains(part), "{part}\n{}", ran.stdout);
    }
    let json = Desk::new().run(&["status", "--json", "--admin", &admin]);
    assert!(json.stdout.starts_with(r#"{"version":"9.9.9""#), "{}", json.stdout);
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let [by_file, by_env, by_flag] = ["by-file", "by-env", "by-flag"].map(|it| fake(named(it)));
    let desk = Desk::new().with("evenkeel.toml", &format!("admin = '{by_file}'"));
    let told = |desk: &Desk, arguments: &[&str]| {
        let stdout = desk.run(arguments).stdout;
        stdout.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(told(&desk, &["status"]), "Evenkeel by-file, table 3");
    let desk = desk.env("EVENKEEL_ADMIN", by_env.to_string());
    assert_eq!(told(&desk, &["status"]), "Evenkeel by-env, table 3");
    let flag = by_flag.to_string();
    assert_eq!(told(&desk, &["status", "--admin", &flag]), "Evenkeel by-flag, table 3");
}

#[test]
fn nobody_at_the_admin_port_is_told_with_the_address_and_the_flag() {
    let (_kept, admin) = nowhere();
    let admin = admin.to_string();
    let ran = Desk::new().run(&["status", "--admin", &admin]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.starts_with(&format!("error: nothing answers at {admin}: ")),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("\n  hint: ") && ran.stderr.contains("--admin"), "{}", ran.stderr);
}

#[test]
fn an_answer_that_is_no_status_is_told() {
    for (answer, message) in [
        (http("200 OK", "hello"), "did not answer with a status"),
        (http("404 Not Found", ""), "answered 404 Not Found"),
        (http("403 Forbidden", ""), "docker exec lb evenkeel status"),
        ("SSH-2.0\r\n\r\n".to_owned(), "does not answer as a balancer would"),
    ] {
        let admin = fake(answer).to_string();
        let ran = Desk::new().run(&["status", "--admin", &admin]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains(message), "{message}: {}", ran.stderr);
    }
}

#[test]
fn healthcheck_is_quiet_and_answers_by_its_code() {
    let (_kept, nowhere) = nowhere();
    for (admin, code) in [
        (fake(http("200 OK", "ok")), 0),
        (fake(http("503 Service Unavailable", "stopping")), 1),
        (nowhere, 1),
    ] {
        let desk = Desk::new().env("EVENKEEL_ADMIN", admin.to_string());
        let ran = desk.run(&["healthcheck"]);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(code), "", ""));
    }
}

#[test]
fn top_says_what_to_do_where_there_is_no_terminal() {
    let ran = Desk::new().run(&["top"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.starts_with("error: `evenkeel top` needs a terminal\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("evenkeel status --json"), "{}", ran.stderr);
}

#[test]
fn a_balancer_that_hangs_fails_the_healthcheck_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = silent.local_addr().unwrap().to_string();
    let ran = Desk::new().run(&["healthcheck", "--admin", &admin]);
    assert_eq!(ran.code, Some(1));
}

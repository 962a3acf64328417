//! compose/backup: a spare server, and a page for when nobody answers.

use std::time::Duration;

use crate::support::engine::Engine;
use crate::support::http::get;
use crate::support::stack::Stack;
use crate::support::wait::eventually;

#[test]
fn the_backup_serves_only_while_the_others_do_not() {
    let Some(engine) = Engine::find() else { return };
    let stack = Stack::start(&engine, "backup/docker-compose.yml", &[], Vec::new());
    stack.wait_until_ready(3);
    stack.answered_by("/", &["app1", "app2"]);

    // Not answering: their sockets accept, and nobody reads.
    stack.tell(&["pause", "app1", "app2"]);
    stack.answered_by("/", &["spare"]);
    stack.tell(&["unpause", "app1", "app2"]);
    stack.answered_by("/", &["app1", "app2"]);

    // Down.
    stack.tell(&["stop", "-t", "1", "app1", "app2"]);
    stack.answered_by("/", &["spare"]);
    stack.tell(&["start", "app1"]);
    stack.answered_by("/", &["app1"]);
}

#[test]
fn with_nobody_left_visitors_get_the_page_and_programs_their_status() {
    let Some(engine) = Engine::find() else { return };
    let stack = Stack::start(&engine, "backup/docker-compose.yml", &[], Vec::new());
    stack.wait_until_ready(3);
    stack.tell(&["stop", "-t", "1", "app1", "app2", "spare"]);

    eventually(Duration::from_secs(20), || {
        let answer = get(stack.address("80"), "/", &[("Accept", "text/html")]);
        let answer = answer.map_err(|why| why.to_string())?;
        if answer.status == 503 && answer.body.contains("<h1>We will be back in a moment</h1>") {
            return Ok(());
        }
        Err(format!("{answer:?}; the balancer says:\n{}", stack.logs()))
    });
}

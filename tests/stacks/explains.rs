//! What is wrong with a container is said, with its remedy.

use std::time::Duration;

use serde_json::Value;

use crate::support::engine::Engine;
use crate::support::stack::Stack;
use crate::support::wait::eventually;

#[test]
fn a_misspelt_label_is_named_with_the_one_that_was_meant() {
    let Some(engine) = Engine::find() else { return };
    let stack = Stack::up(&engine, "quickstart.yml", 1);
    let labels = ["lb.pool=typo", "lb.host=typo.example.com", "lb.weigth=3"];
    let name = stack.run("typo", &stack.network(), &labels);

    let problem = problem_with(&stack, &name);

    assert!(problem.contains("lb.weigth") && problem.contains("lb.weight"), "{problem}");
}

#[test]
fn a_container_out_of_reach_is_named_with_the_command_that_mends_it() {
    let Some(engine) = Engine::find() else { return };
    let stack = Stack::up(&engine, "quickstart.yml", 1);
    let labels = ["lb.pool=far", "lb.host=far.example.com"];
    let name = stack.run("far", &stack.other_network(), &labels);

    let problem = problem_with(&stack, &name);

    assert!(problem.contains("docker network connect"), "{problem}");
}

#[test]
fn a_container_is_told_what_keeps_requests_from_it() {
    let Some(engine) = Engine::find() else { return };
    let stack = Stack::up(&engine, "quickstart.yml", 1);
    stack.wait_until_ready(1);
    let far = stack.run("far", &stack.other_network(), &["lb.pool=far", "lb.host=far.example"]);
    let typo = stack.run("typo", &stack.network(), &["lb.pol=api"]);
    let plain = stack.run("plain", &stack.network(), &[]);
    let near = format!("{}y", &typo[..typo.len() - 1]);

    let api = stack.names("api").into_iter().next().unwrap();
    for (name, code, parts) in [
        (&api, 0, &["+ pool: it is in pool", "+ readiness: ready", "leads to its pool"][..]),
        (&far, 1, &["it shares no network with the balancer", "hint: run `docker network connect"]),
        (&typo, 1, &["label `lb.pol` is unknown", "hint: did you mean `lb.pool`?"]),
        (&plain, 1, &["it has no label that begins with `lb.`", "add the label `lb.pool=NAME`"]),
        (&near, 1, &["no container or service is called", "did you mean"]),
    ] {
        eventually(BOUND, || {
            let (found, told) = stack.explain(name);
            let fits = found == Some(code) && parts.iter().all(|part| told.contains(part));
            if fits { Ok(()) } else { Err(format!("{name}: {found:?} {told}")) }
        });
    }
}

/// The problems that name this container, each a line of JSON.
fn problem_with(stack: &Stack, container: &str) -> String {
    eventually(BOUND, || {
        let status = stack.admin("/api/v1/status").map_err(|why| why.to_string())?.body;
        let parsed: Value = serde_json::from_str(&status).map_err(|why| why.to_string())?;
        let problems = parsed.get("problems").and_then(Value::as_array).ok_or("no `problems`")?;
        let named: Vec<_> = problems
            .iter()
            .map(Value::to_string)
            .filter(|problem| problem.contains(container))
            .collect();
        if named.is_empty() {
            return Err(format!("no problem with {container} in {status}"));
        }
        Ok(named.join("\n"))
    })
}

const BOUND: Duration = Duration::from_secs(30);

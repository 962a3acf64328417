//! Explanations for people.

use crate::admin::view::explain::{Candidate, Container, Containers, Request, Route, Step};
use crate::cli::print::clean;
use crate::cli::table::Table;

/// What stands before each thing that was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    passed: &'static str,
    stopped: &'static str,
    noted: &'static str,
}

impl Marks {
    /// In plain ASCII where nobody may be able to show more.
    pub(super) fn new(fancy: bool) -> Self {
        if fancy {
            Self { passed: "✓", stopped: "✗", noted: "·" }
        } else {
            Self { passed: "+", stopped: "x", noted: "-" }
        }
    }

    fn of(self, outcome: &str) -> &'static str {
        match outcome {
            "passed" | "taken" => self.passed,
            "stopped" | "missed" => self.stopped,
            _ => self.noted,
        }
    }
}

/// The verdict, then the request as it is read, the rules, the middlewares and
/// the replicas.
pub(super) fn request(told: &Request, marks: Marks) -> String {
    let verdict = if told.served { "passed" } else { "stopped" };
    let mut lines = vec![format!("{} {}", marks.of(verdict), clean(&told.verdict))];
    lines.extend(hint("  ", &told.hint));
    if let Some(reason) = &told.reason {
        lines.push(format!("  in the access log: {}", clean(reason)));
    }
    lines.push(String::new());
    lines.push("Request".to_owned());
    let asked = &told.asked;
    let query = asked.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let [method, scheme, host, path] =
        [&asked.method, &asked.scheme, &asked.host, &asked.path].map(|it| clean(it));
    lines.push(format!("  {method} {scheme}://{host}{path}{}", clean(&query)));
    let (client, entry_point) = (clean(&asked.client), clean(&asked.entry_point));
    lines.push(format!("  from {client}, coming in by `{entry_point}`"));
    if let Some(lenient) = &asked.lenient_path {
        lines.push(format!("  a lenient server would read the path as `{}`", clean(lenient)));
    }
    if !told.routes.is_empty() {
        lines.push(String::new());
        lines.push("Rules, in the order in which they are tried".to_owned());
        lines.extend(told.routes.iter().map(|it| route(it, marks)));
    }
    if told.routes_left_out > 0 {
        lines.push(format!("  and {} more, for other hosts", told.routes_left_out));
    }
    if !told.middlewares.is_empty() {
        lines.push(String::new());
        lines.push("Middlewares, in the order in which it meets them".to_owned());
        lines.extend(told.middlewares.iter().flat_map(|it| step(it, marks)));
    }
    if let Some(pool) = &told.pool {
        lines.push(String::new());
        let lot = if told.by_lot { ", by lot: the next choice may differ" } else { "" };
        let policy = told.policy.as_deref().unwrap_or_default();
        lines.push(format!("Replicas of {} ({}{lot})", clean(pool), clean(policy)));
        if told.replicas.is_empty() {
            lines.push("  none that runs and has an address".to_owned());
        } else {
            lines.extend(replicas(&told.replicas, marks));
        }
    }
    lines.join("\n")
}

/// Each container with its steps.
pub(super) fn containers(told: &Containers, marks: Marks) -> String {
    let mut lines = Vec::new();
    for it in &told.containers {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(container(it, marks));
    }
    if told.left_out > 0 {
        lines.push(format!("\nand {} more of this name", told.left_out));
    }
    lines.join("\n")
}

fn container(it: &Container, marks: Marks) -> Vec<String> {
    let verdict = if it.served { "passed" } else { "stopped" };
    let name = clean(&it.name);
    let mut lines = vec![format!("{} {name}: {}", marks.of(verdict), clean(&it.verdict))];
    lines.extend(hint("  ", &it.hint));
    lines.push(String::new());
    if let Some(image) = it.image.as_ref().filter(|it| !it.is_empty()) {
        lines.push(format!("  {} image: {}", marks.noted, clean(image)));
    }
    lines.extend(it.steps.iter().flat_map(|it| step(it, marks)));
    lines
}

fn route(it: &Route, marks: Marks) -> String {
    let reason = if it.reason.is_empty() { "it takes it" } else { &it.reason };
    format!("  {} {}: {}: {}", marks.of(&it.fate), clean(&it.pool), clean(&it.rule), clean(reason))
}

fn step(it: &Step, marks: Marks) -> Vec<String> {
    let mut lines =
        vec![format!("  {} {}: {}", marks.of(&it.outcome), clean(&it.what), clean(&it.message))];
    lines.extend(hint("    ", &it.hint));
    lines
}

fn hint(indent: &str, text: &str) -> Option<String> {
    (!text.is_empty()).then(|| format!("{indent}hint: {}", clean(text)))
}

fn replicas(candidates: &[Candidate], marks: Marks) -> Vec<String> {
    let heading = ["", "REPLICA", "STATE", "TIER", "WEIGHT", "IN FLIGHT", "LATENCY", "REASON"];
    let mut table = Table::new(2, &heading);
    for it in candidates {
        let most = it.max_conns.map(|most| format!(" of {most}")).unwrap_or_default();
        table.row([
            if it.picked { marks.passed } else { marks.noted }.to_owned(),
            it.name.clone(),
            it.state.clone(),
            it.tier.clone().unwrap_or_else(|| "none".to_owned()),
            it.weight.to_string(),
            format!("{}{most}", it.in_flight),
            it.latency_ms.map(|ms| format!("{ms:.1} ms")).unwrap_or_default(),
            it.reason.clone(),
        ]);
    }
    table.lines()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_by_its_verdict_and_what_was_looked_at() {
        let told: Request = serde_json::from_str(
            r#"{"served":false,"verdict":"refused with 404","hint":"did you mean\u001b `x`?",
            "reason":"no_route","asked":{"method":"GET","scheme":"http","host":"y","path":"/a",
            "query":"b","client":"127.0.0.1","entry_point":"http"},"routes":[{"pool":"shop/api",
            "rule":"host `x`, any path","fate":"missed","reason":"the host is `y`"}],
            "routes_left_out":3}"#,
        )
        .unwrap();
        let expected = "\
x refused with 404
  hint: did you mean  `x`?
  in the access log: no_route

Request
  GET http://y/a?b
  from 127.0.0.1, coming in by `http`

Rules, in the order in which they are tried
  x shop/api: host `x`, any path: the host is `y`
  and 3 more, for other hosts";
        assert_eq!(request(&told, Marks::new(false)), expected);
        assert!(request(&told, Marks::new(true)).starts_with("✗ refused"));
    }

    #[test]
    fn a_container_is_told_by_its_verdict_and_its_steps() {
        let told: Containers = serde_json::from_str(
            r#"{"containers":[{"name":"a","served":true,"verdict":"it gets requests",
            "steps":[{"outcome":"passed","what":"labels","message":"`lb.pool=a`"},
            {"outcome":"noted","what":"lb.prot","message":"odd","hint":"write it"}]},
            {"name":"b","image":"nginx","verdict":"it gets none"}],"left_out":1}"#,
        )
        .unwrap();
        let expected = "\
+ a: it gets requests

  + labels: `lb.pool=a`
  - lb.prot: odd
    hint: write it

x b: it gets none

  - image: nginx

and 1 more of this name";
        assert_eq!(containers(&told, Marks::new(false)), expected);
    }
}

//! Draining by the API: what an order may look like, and what it does.

use evenkeel::admin::view::{Ordered, Refused, Status};

use super::access::{Desk, LOCAL};

#[tokio::test]
async fn a_replica_is_drained_and_brought_back() {
    let desk = Desk::start().await;
    let answer = desk.post("/api/v1/drain", LOCAL, r#"{"replicas": ["web-1"]}"#).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let ordered: Ordered = serde_json::from_str(&answer.body).unwrap();
    let [replica] = ordered.replicas.as_slice() else { panic!("{ordered:?}") };
    assert_eq!((replica.pool.as_str(), replica.name.as_str()), ("shop/web", "web-1"));
    assert_eq!((replica.state.as_str(), replica.in_flight), ("draining", 0));
    assert_eq!(replica.address.as_deref(), Some("10.0.0.1:80"));

    let shown = desk.status().await;
    assert_eq!(states(&shown), ["draining", "starting"]);
    assert_eq!(shown.pools[0].replicas[0].reason, "drained by an operator");

    let answer = desk.post("/api/v1/undrain", LOCAL, r#"{"replicas": ["web-1"]}"#).await;
    assert_eq!(answer.status, 200);
    assert_eq!(states(&desk.status().await), ["suspect", "starting"], "it must answer first");
}

#[tokio::test]
async fn a_container_may_be_named_by_its_id_and_several_at_once() {
    let desk = Desk::start().await;
    let body = r#"{"replicas": ["bbbbbbbbbbbb", "web-1"]}"#;
    assert_eq!(desk.post("/api/v1/drain", LOCAL, body).await.status, 200);
    assert_eq!(states(&desk.status().await), ["draining", "draining"]);
}

#[tokio::test]
async fn an_unknown_name_is_404_and_nothing_of_the_order_is_done() {
    let desk = Desk::start().await;
    let body = r#"{"replicas": ["web-1", "wbe-2"]}"#;
    let answer = desk.post("/api/v1/drain", LOCAL, body).await;
    assert_eq!(answer.status, 404);
    let refused: Refused = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(refused.message, "no replica is named `wbe-2`");
    assert_eq!(refused.hint, "did you mean `web-2`? There are: `web-1`, `web-2`");
    assert_eq!(states(&desk.status().await), ["starting", "starting"]);
}

#[tokio::test]
async fn other_methods_are_405_and_say_which_is_meant() {
    let desk = Desk::start().await;
    for path in ["/api/v1/drain", "/api/v1/undrain"] {
        for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = desk.ask(method, path, LOCAL, "").await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
        }
    }
}

#[tokio::test]
async fn only_json_is_an_order_so_that_no_form_can_send_one() {
    let desk = Desk::start().await;
    let body = r#"{"replicas": ["web-1"]}"#;
    for content_type in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
    ] {
        let headers = format!("{HOST}{content_type}Content-Length: {}\r\n", body.len());
        let answer = desk.ask("POST", "/api/v1/drain", &headers, body).await;
        assert_eq!(answer.status, 415, "{content_type}");
    }
    assert_eq!(states(&desk.status().await), ["starting", "starting"]);
}

#[tokio::test]
async fn an_order_that_cannot_be_read_is_refused_with_an_example() {
    let desk = Desk::start().await;
    let many = format!(r#"{{"replicas": [{}"web-1"]}}"#, r#""web-1","#.repeat(256));
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("{}", 422),
        (r#"["web-1"]"#, 422),
        (r#"{"replicas": "web-1"}"#, 422),
        (r#"{"replica": ["web-1"]}"#, 422),
        (r#"{"replicas": ["web-1"], "wait": 1}"#, 422),
        (r#"{"replicas": []}"#, 422),
        (many.as_str(), 422),
    ] {
        let answer = desk.post("/api/v1/drain", LOCAL, body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        let refused: Refused = serde_json::from_str(&answer.body).unwrap();
        assert!(!refused.message.is_empty() && refused.hint.contains("replicas"), "{refused:?}");
    }
    assert_eq!(states(&desk.status().await), ["starting", "starting"]);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let desk = Desk::start().await;
    let body = |bytes: usize| {
        let frame = r#"{"replicas": [""]}"#.len();
        format!(r#"{{"replicas": ["{}"]}}"#, "x".repeat(bytes - frame))
    };
    assert_eq!(desk.post("/api/v1/drain", LOCAL, &body(64 << 10)).await.status, 404);
    let answer = desk.post("/api/v1/drain", LOCAL, &body((64 << 10) + 1)).await;
    assert_eq!(answer.status, 413, "{}", answer.body);
}

fn states(status: &Status) -> Vec<&str> {
    let replicas = status.pools.iter().flat_map(|pool| &pool.replicas);
    replicas.map(|replica| replica.state.as_str()).collect()
}

const HOST: &str = "Host: localhost\r\n";

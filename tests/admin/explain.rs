//! Explanations by the API: who may ask, and what is answered.

use evenkeel::admin::view::Refused;
use evenkeel::admin::view::explain::{Containers, Request};

use super::access::{Desk, LOCAL};

#[tokio::test]
async fn a_request_is_told_where_it_would_go_and_what_it_waits_for() {
    let desk = Desk::start().await;
    let body = r#"{"url": "shop.example/a?b=c", "headers": [["Accept", "*/*"]], "method": "POST"}"#;
    let answer = desk.post(REQUEST, LOCAL, body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told: Request = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((told.served, told.pool.as_deref()), (false, Some("shop/web")));
    assert_eq!(told.reason.as_deref(), Some("hold_timeout"), "they have not accepted yet");
    assert_eq!(told.hint, "`evenkeel explain --container web-2` tells what it lacks");
    assert_eq!(told.routes.iter().map(|it| it.fate.as_str()).collect::<Vec<_>>(), ["taken"]);
    let states: Vec<_> = told.replicas.iter().map(|it| (it.state.as_str(), it.picked)).collect();
    assert_eq!(states, [("starting", false); 2]);
    assert_eq!(told.asked.query.as_deref(), Some("b=c"));
}

#[tokio::test]
async fn a_container_is_meant_by_its_name_its_service_or_the_beginning_of_its_id() {
    let desk = Desk::start().await;
    for (name, meant) in [
        ("web-1", &["web-1"][..]),
        ("web", &["web-1", "web-2"]),
        ("shop/web", &["web-1", "web-2"]),
        ("bbbb", &["web-2"]),
        ("BBBBBB", &["web-2"]),
    ] {
        let body = format!(r#"{{"name": "{name}"}}"#);
        let answer = desk.post(CONTAINER, LOCAL, &body).await;
        let told: Containers = serde_json::from_str(&answer.body).unwrap();
        let names: Vec<_> = told.containers.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, meant, "{name}");
        let verdict = "it gets no requests: starting: it has not accepted a connection yet";
        assert_eq!(told.containers[0].verdict, verdict);
    }
    for (name, hint) in [("wbe-1", "did you mean `web-1`?"), ("bbb", "`docker ps -a` lists what")] {
        let answer = desk.post(CONTAINER, LOCAL, &format!(r#"{{"name": "{name}"}}"#)).await;
        assert_eq!(answer.status, 404, "{name}");
        let refused: Refused = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(refused.message, format!("no container or service is called `{name}`"));
        assert!(refused.hint.starts_with(hint), "{}", refused.hint);
    }
}

#[tokio::test]
async fn who_may_read_may_ask_though_it_is_posted() {
    let desk = Desk::start().await;
    for (headers, status) in [
        (LOCAL, 200),
        // It would be refused an order.
        ("Host: localhost\r\nOrigin: http://evil.example\r\n", 200),
        ("Host: evil.example\r\n", 403),
        ("Host: localhost\r\nVia: 1.1 proxy\r\n", 403),
        ("Host: localhost\r\nAuthorization: Bearer wrong\r\n", 401),
    ] {
        for (path, body) in [(REQUEST, r#"{"url": "x/"}"#), (CONTAINER, r#"{"name": "web-1"}"#)] {
            assert_eq!(desk.post(path, headers, body).await.status, status, "{path} {headers}");
        }
    }
}

#[tokio::test]
async fn a_question_that_cannot_be_understood_is_422_with_what_to_write() {
    let desk = Desk::start().await;
    for (body, message) in [
        (r#"{"url": "ftp://x/"}"#, "`ftp` is no scheme that we serve"),
        (r#"{"url": "http:///x"}"#, "`http:///x` names no host"),
        (r#"{"url": "x", "method": "G T"}"#, "`G T` is no method"),
        (r#"{"url": "x", "client": "me"}"#, "`me` is no IP address"),
        (r#"{"url": "x", "entry_point": "side"}"#, "no entry point is called `side`"),
        (r#"{"url": "x", "headers": [["a b", "c"]]}"#, "`a b: c` is no header"),
    ] {
        let answer = desk.post(REQUEST, LOCAL, body).await;
        let refused: Refused = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, refused.message.as_str()), (422, message), "{body}");
        assert!(!refused.hint.is_empty());
    }
    for body in ["{", "{}", r#"{"url": "x", "uri": "y"}"#] {
        let answer = desk.post(REQUEST, LOCAL, body).await;
        assert!([400, 422].contains(&answer.status), "{body}");
    }
}

const REQUEST: &str = "/api/v1/explain";
const CONTAINER: &str = "/api/v1/explain/container";

//! Header fields that labels set.

use super::{Backend, Client, before_with, ok};

#[test]
fn labels_set_and_remove_fields_of_requests_and_answers() {
    let backend = Backend::answering(|request| ok(&request.head));
    let labels = r#"
        headers.request = { X-Env = "prod", X-Debug = "" }
        headers.response.X-Served-By = "us"
    "#;
    let balancer = before_with(&[backend], labels);
    let request = "GET / HTTP/1.1\r\nHost: shop.example\r\nX-Debug: 1\r\nX-Env: test\r\n\r\n";
    let answer = Client::connect(balancer.http).send(request).answer();
    let seen = answer.text().to_ascii_lowercase();
    assert!(seen.contains("x-env: prod\r\n") && !seen.contains("x-debug"), "{seen}");
    assert_eq!(answer.field("x-served-by").as_deref(), Some("us"));
}

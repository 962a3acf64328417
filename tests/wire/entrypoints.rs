//! Entry points: by which port a request came in is a condition of its route.

use super::{Backend, Client, before_pools, get, ok};

#[test]
fn a_rule_takes_only_what_comes_by_its_entry_point() {
    let backends = [["public"], ["private"]].map(|[name]| [Backend::answering(move |_| ok(name))]);
    let private = "host = \"shop.example\"\nentrypoint = \"internal\"";
    let pools: [(&str, &[Backend], &str); 2] =
        [("public", &backends[0], "host = \"shop.example\""), ("private", &backends[1], private)];
    let balancer = before_pools(&pools, &["--http", "internal=127.0.0.1:0"]);
    let [http, internal] = balancer.all_http()[..] else { panic!("two are served") };
    assert_eq!(Client::connect(http).send(get("/")).answer().text(), "public");
    assert_eq!(Client::connect(internal).send(get("/")).answer().text(), "private");
}

#[test]
fn an_entry_point_that_is_not_there_closes_the_route() {
    let backends = [Backend::answering(|_| ok(""))];
    let balancer = before_pools(&[("web", &backends, "entrypoint = \"htp\"")], &[]);
    assert!(balancer.logged("no entry point").contains("did you mean `http`?"));
    assert_eq!(Client::connect(balancer.http).send(get("/")).answer().status, 503);
}

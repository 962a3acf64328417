//! compose/hardened.yml: no root, no capabilities, no writable file system.

use std::path::Path;
use std::time::Duration;

use crate::stacks::tls::{ask, folder};
use crate::support::engine::Engine;
use crate::support::stack::Stack;
use crate::support::wait::eventually;

#[test]
fn it_serves_without_root_capabilities_or_a_writable_file_system() {
    let Some(engine) = Engine::find() else { return };
    let stack = Stack::up(&engine, "hardened.yml", 2);

    assert_eq!(stack.settle(BOUND).len(), 2);

    let lb = &stack.containers("lb")[0];
    eventually(BOUND, || match engine.docker(&["inspect", "-f", HEALTH, lb]).as_str() {
        "healthy" => Ok(()),
        other => Err(format!("the balancer's HEALTHCHECK says {other}")),
    });
}

#[test]
fn it_serves_https_by_secrets_and_writes_its_state_to_a_new_volume() {
    let Some(engine) = Engine::find() else { return };
    let certs = folder();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["compose/hardened.yml", "compose/hardened-https.yml", "tests/stacks/isolated.yml"];
    let environment = vec![
        ("CERTS", certs.path().to_str().unwrap().to_owned()),
        // Where nobody listens: what is kept is another matter than what is issued.
        ("ACME_DIRECTORY", "http://127.0.0.1:9/directory".to_owned()),
    ];
    let stack = Stack::of(&engine, files.map(|file| root.join(file)).into(), environment);
    stack.scale(1);
    stack.settle(BOUND);

    assert_eq!(ask(&stack, &certs, &[]).status, 200);

    let wish = ["lb.pool=auto", "lb.host=shop.example.com", "lb.tls=auto"];
    stack.run("auto", &stack.network(), &wish);
    let lb = &stack.containers("lb")[0];
    eventually(BOUND, || {
        let copy = tempfile::tempdir().unwrap();
        let from = format!("{lb}:/var/lib/evenkeel/.");
        engine.docker(&["cp", &from, copy.path().to_str().unwrap()]);
        let kept = copy.path().join("acme").read_dir();
        let mut kept = kept.map_err(|_| stack.logs())?;
        let has_lock = kept.any(|folder| folder.unwrap().path().join("lock").is_file());
        if has_lock { Ok(()) } else { Err(stack.logs()) }
    });
}

/// Long enough for a loaded machine, HEALTHCHECK's interval included.
const BOUND: Duration = Duration::from_secs(30);
const HEALTH: &str = "{{.State.Health.Status}}";

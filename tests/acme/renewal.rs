//! A renewal while clients are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::client::{Secure, shown};
use super::directory::{answer, serve};
use super::pebble::{Site, is_installed};
use super::{NAME, WAIT, backend, balancer_of, issued};
use crate::support::wait::eventually;

#[test]
fn a_renewal_drops_no_connection_and_new_handshakes_see_the_new_certificate() {
    if !is_installed() {
        return;
    }
    let (site, backend) = (Site::new(), backend());
    let _pebble = site.pebble();
    let hurry = Arc::new(AtomicBool::new(false));
    let directory = directory_with_advice(&site, Arc::clone(&hurry));
    let balancer = balancer_of(&site, &directory, &backend, &[]);
    let first = issued(&site);

    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let port = site.ports.https;
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            thread::spawn(move || {
                let mut client = Secure::connect(port, NAME).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    // Half of them stay, the others come anew each time.
                    if number % 2 == 0 {
                        client = Secure::connect(port, NAME).unwrap();
                    }
                    assert_eq!(client.get(NAME).unwrap(), 200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let more = |count: u32| {
        let before = served.load(Ordering::Relaxed);
        eventually(WAIT, || {
            let now = served.load(Ordering::Relaxed);
            if now >= before + count { Ok(()) } else { Err(format!("{now} after {before}")) }
        });
    };
    more(100);
    hurry.store(true, Ordering::Relaxed);
    eventually(WAIT, || match shown(port, NAME) {
        Ok(shown) if shown.is_of_pebble() && shown != first => Ok(()),
        shown => Err(format!("{shown:?}")),
    });
    more(100);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert!(!balancer.has_logged("could not verify"));
}

/// A directory in front of pebble, which knows nothing of renewal information
/// (RFC 9773): it says "at once", but only after it was told to.
fn directory_with_advice(site: &Site, hurry: Arc<AtomicBool>) -> String {
    let pebble = format!("https://localhost:{}", site.ports.directory);
    let head = "200 OK\r\nContent-Type: application/json\r\nRetry-After: 21600";
    let advice = r#"{"suggestedWindow": {"start": "2020-01-01T00:00:00Z",
        "end": "2020-01-02T00:00:00Z"}}"#;
    let own = serve(site, move |asked, own| {
        if asked.is_for("/advice/") {
            let _ = eventually_true(&hurry);
            return Some(answer(head, advice));
        }
        let directory = format!(
            r#"{{"newNonce": "{pebble}/nonce-plz", "newAccount": "{pebble}/sign-me-up",
                "newOrder": "{pebble}/order-plz", "revokeCert": "{pebble}/revoke-cert",
                "keyChange": "{pebble}/rollover-account-key", "renewalInfo": "{own}/advice"}}"#
        );
        Some(answer(head, &directory))
    });
    format!("{own}/dir")
}

fn eventually_true(flag: &AtomicBool) -> Result<(), ()> {
    crate::support::wait::within(Duration::from_secs(25), || {
        if flag.load(Ordering::Relaxed) { Ok(()) } else { Err(()) }
    })
}

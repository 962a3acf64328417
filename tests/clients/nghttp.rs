//! nghttp, which shows what an HTTP/2 connection is made of.

use super::{Site, run, there_is};
use crate::cli::support::Whoami;

#[test]
fn nghttp_gets_many_answers_by_one_connection() {
    if !there_is("nghttp2-client", &["nghttp", "--version"]) {
        return;
    }
    let replica = Whoami::start(&[]);
    let pools = format!("[pools.web]\nservers = [\"{}\"]\n", replica.address);
    let site = Site::open(&pools, &[replica.address]);
    for origin in [format!("https://{}", site.https), format!("http://{}", site.http)] {
        let url = format!("{origin}/?size=100KiB");
        let output = run(&["nghttp", "-nv", "-m", "20", "--no-verify-peer", &url]);
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(told.matches(":status: 200\n").count(), 20, "{told}");
        // What the front promises: WebSockets on streams, and a bound on these.
        assert!(told.contains("[SETTINGS_ENABLE_CONNECT_PROTOCOL(0x08):1]"), "{told}");
        assert!(told.contains("[SETTINGS_MAX_CONCURRENT_STREAMS(0x03):100]"), "{told}");
        assert!(!told.contains("RST_STREAM"), "{told}");
    }
}

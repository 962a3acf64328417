//! curl, by every version of HTTP that it speaks with us.

use super::{Site, run, there_is};
use crate::cli::support::Whoami;

#[test]
fn curl_is_served_by_both_versions_over_tls() {
    let Some((site, _replica)) = site() else { return };
    let resolve = format!("localhost:{}:127.0.0.1", site.https.port());
    let authority = site.authority();
    for (flag, version, logged) in
        [("--http1.1", "1.1", " HTTP/1.1\" 200 "), ("--http2", "2", " HTTP/2.0\" 200 ")]
    {
        let url = format!("https://localhost:{}/by{version}?a=b", site.https.port());
        let verified = ["--cacert", authority.to_str().unwrap(), "--resolve", &resolve, &url];
        let told = curl(&[&[flag][..], &verified].concat());
        assert!(told.ends_with(&format!("\n{version} 200")), "{told}");
        assert!(told.contains(&format!("GET /by{version}?a=b HTTP/1.1\n")), "{told}");
        assert!(told.contains("x-forwarded-proto: https\n"), "{told}");
        assert!(site.balancer.access_logged(&format!("/by{version}")).contains(logged));
    }
}

#[test]
fn curl_is_served_by_both_versions_in_the_clear() {
    let Some((site, _replica)) = site() else { return };
    for (flag, version) in [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")] {
        let told = curl(&[flag, &format!("http://{}/", site.http)]);
        assert!(told.ends_with(&format!("\n{version} 200")), "{told}");
        assert!(told.contains("x-forwarded-proto: http\n"), "{told}");
    }
}

#[test]
fn curl_uploads_and_downloads_much_by_both_versions() {
    let Some((site, _replica)) = site() else { return };
    let file = site.folder.path().join("upload");
    std::fs::write(&file, vec![b'x'; 3_000_000]).unwrap();
    let upload = format!("@{}", file.display());
    for flag in ["--http1.1", "--http2"] {
        let url = format!("https://{}/?size=5MiB", site.https);
        let told = curl(&["-k", flag, "--data-binary", &upload, &url]);
        assert!(told.contains("\nBody: 3000000 bytes\n"), "{}", &told[..200]);
        let body = told.rsplit_once('\n').unwrap().0;
        assert_eq!(body.len(), 5 << 20, "{flag}");
    }
}

fn site() -> Option<(Site, Whoami)> {
    if !there_is("curl", &["curl", "--version"]) {
        return None;
    }
    let replica = Whoami::start(&[]);
    let pools = format!("[pools.web]\nservers = [\"{}\"]\n", replica.address);
    Some((Site::open(&pools, &[replica.address]), replica))
}

/// What it prints, and then the version and the status on a line.
fn curl(arguments: &[&str]) -> String {
    let told = ["-w", "\n%{http_version} %{http_code}"];
    let output = run(&[&["curl", "-sS", "--max-time", "20"][..], &told, arguments].concat());
    String::from_utf8(output.stdout).unwrap()
}

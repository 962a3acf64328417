//! Fields after a body.

use http::HeaderMap;
use http::header::HeaderName;

use super::{forwarded, hop_by_hop};

/// Removes the trailer fields of a request that must not come after its head
/// (RFC 9110 §6.5.1): those that route or authenticate it, and those that speak
/// of the client, which an upstream that merges trailers would believe.
pub fn strip(trailers: &mut HeaderMap) {
    let barred = |name: &&HeaderName| {
        hop_by_hop::is_guarded(name.as_str().as_bytes()) || forwarded::speaks_of_client(name)
    };
    // Stays empty, and so unallocated, for the usual trailers.
    let names: Vec<HeaderName> = trailers.keys().filter(barred).cloned().collect();
    for name in names {
        trailers.remove(name);
    }
}

/// Trailers of one request, in bytes: as they are written in HTTP/1, decoded in
/// HTTP/2.
pub const BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_what_may_come_after_a_body_passes() {
        let value = HeaderValue::from_static("x");
        for (name, passes) in [
            ("x-checksum", true),
            ("grpc-status", true),
            ("x-forwarded-for", false),
            ("x_forwarded_for", false),
            ("host", false),
            ("authorization", false),
            ("content-length", false),
        ] {
            let name: HeaderName = name.parse().unwrap();
            let mut trailers = HeaderMap::from_iter([(name.clone(), value.clone())]);
            strip(&mut trailers);
            assert_eq!(trailers.contains_key(&name), passes, "{name}");
        }
    }
}

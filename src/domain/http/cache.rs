//! Who may store an answer (RFC 9111), and whom it may be given to.

use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderValue};

use super::token;

/// Whether an answer says that caches of several clients may store it: what is
/// meant for one client only must not stand in it.
pub fn is_shared(headers: &HeaderMap) -> bool {
    let has = |name: &[u8]| {
        token::elements(headers, &CACHE_CONTROL).any(|it| {
            let said = it.split(|&byte| byte == b'=').next().unwrap_or_default();
            said.trim_ascii().eq_ignore_ascii_case(name)
        })
    };
    (has(b"public") || has(b"s-maxage")) && !has(b"no-store") && !has(b"private")
}

/// Tells caches that the answer depends on the request's field `name`, unless it
/// says so already.
pub fn vary_by(headers: &mut HeaderMap, name: &'static str) {
    let says_so = |it: &[u8]| it == b"*" || it.eq_ignore_ascii_case(name.as_bytes());
    if !token::elements(headers, &VARY).any(says_so) {
        headers.append(VARY, HeaderValue::from_static(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn an_answer_is_shared_if_it_says_so_and_nothing_else() {
        for (lines, shared) in [
            (&[][..], false),
            (&["max-age=60"], false),
            (&["public"], true),
            (&["Public, max-age=60"], true),
            (&["max-age=60, s-maxage=60"], true),
            (&["max-age=60", "S-MaxAge = 60"], true),
            (&["public", "no-store"], false),
            (&["private, s-maxage=60"], false),
            (&["publicity"], false),
        ] {
            let fields = lines.iter().map(|it| (CACHE_CONTROL, HeaderValue::from_static(it)));
            let mut headers = HeaderMap::new();
            fields.for_each(|(name, value)| {
                headers.append(name, value);
            });
            assert_eq!(is_shared(&headers), shared, "{lines:?}");
        }
    }
}

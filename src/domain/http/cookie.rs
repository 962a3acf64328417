//! Reading one cookie of a request.

use http::HeaderMap;
use http::header::COOKIE;

use super::token::trim;

/// The value of the first cookie with this name, without quotes around it.
///
/// RFC 6265 (section 5.4) has browsers send the cookie with the longest path
/// first. Names are compared with their case.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    pairs.map(pair).find(|(it, _)| *it == name.as_bytes()).map(|(_, value)| value)
}

fn pair(written: &[u8]) -> (&[u8], &[u8]) {
    let at = written.iter().position(|&byte| byte == b'=').unwrap_or(written.len());
    let (name, value) = written.split_at(at);
    let value = match trim(value.get(1..).unwrap_or_default()) {
        [b'"', inner @ .., b'"'] => inner,
        bare => bare,
    };
    (trim(name), value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_first_cookie_of_the_name_counts() {
        for (lines, value) in [
            (&["app=one"][..], Some("one")),
            (&["x=1; app=one; app=two"], Some("one")),
            (&["x=1;app=one"], Some("one")),
            (&["  app = one ;x=1"], Some("one")),
            (&["app=\"one\""], Some("one")),
            (&["app=\"one"], Some("\"one")),
            (&["app=\""], Some("\"")),
            (&["app=a=b"], Some("a=b")),
            (&["app="], Some("")),
            (&["app"], Some("")),
            (&["x=1", "app=one"], Some("one")),
            (&["App=one"], None),
            (&["myapp=one; app2=two"], None),
            (&["x=app=one"], None),
            (&[";;=;"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, HeaderValue::from_static(line));
            }
            assert_eq!(find(&headers, "app"), value.map(str::as_bytes), "{lines:?}");
        }
    }
}

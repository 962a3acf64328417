//! Keeping credentials out of what is logged of URLs.

use std::borrow::Cow;

use crate::config::{AccessLogQuery, PARAMETER_BYTES_MAX};

/// What is shown of URLs.
#[derive(Debug)]
pub(super) struct Redaction {
    query: AccessLogQuery,
    /// In lower case.
    secrets: Vec<Box<str>>,
    /// A bit for each length that a secret has, and for each first letter. Most
    /// names that are none are told by them.
    lengths: u128,
    initials: u32,
}

impl Redaction {
    /// `more`: further names of parameters that carry secrets.
    pub(super) fn new(query: AccessLogQuery, more: &[String]) -> Self {
        let secrets = USUAL.into_iter().chain(more.iter().map(String::as_str));
        let secrets: Vec<Box<str>> = secrets.map(|it| it.to_ascii_lowercase().into()).collect();
        let lengths = secrets.iter().fold(0, |bits, name| bits | 1u128 << (name.len() & 127));
        let first = |name: &str| name.bytes().next().map_or(0, initial);
        let initials = secrets.iter().fold(0, |bits, name| bits | first(name));
        Self { query, secrets, lengths, initials }
    }

    /// What is logged of a target or a referer.
    pub(super) fn shown<'a>(&self, url: &'a [u8]) -> Cow<'a, [u8]> {
        let url = match self.query {
            AccessLogQuery::Full => return Cow::Borrowed(url),
            AccessLogQuery::Redacted => url,
            AccessLogQuery::Off => match memchr::memchr2(b'?', b'#', url) {
                Some(end) => url.get(..end).unwrap_or(url),
                None => url,
            },
        };
        let mut masked = Masked { url, copy: Vec::new(), done: 0 };
        let mut named = 0;
        if !url.starts_with(b"/")
            && let Some((start, end)) = user_info(url)
        {
            masked.mask(start, end);
            named = end;
        }
        // Within user info nothing separates parameters.
        let after = url.get(named..).unwrap_or_default();
        let mut rest = memchr::memchr3(b'?', b'#', b';', after).map(|place| named + place);
        while let Some(separator) = rest {
            let start = separator + 1;
            let left = url.get(start..).unwrap_or_default();
            let length = left.iter().position(|byte| b"&;?#".contains(byte));
            let pair = left.get(..length.unwrap_or(left.len())).unwrap_or_default();
            if let Some(equals) = memchr::memchr(b'=', pair)
                && pair.get(..equals).is_some_and(|name| self.is_secret(name))
            {
                masked.mask(start + equals + 1, start + pair.len());
            }
            rest = length.map(|length| start + length);
        }
        masked.finish()
    }

    /// Whether the name, or a part of one such as `user[password]`, is that of a
    /// secret. It may be percent-encoded.
    fn is_secret(&self, name: &[u8]) -> bool {
        let mut part = [0; PARAMETER_BYTES_MAX];
        let mut length = 0;
        let mut bytes = name;
        while let Some((&first, rest)) = bytes.split_first() {
            let (byte, rest) = match (first, rest) {
                (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                    (Some(high), Some(low)) => (high << 4 | low, after),
                    (None, _) | (_, None) => (first, rest),
                },
                _ => (first, rest),
            };
            bytes = rest;
            if matches!(byte, b'[' | b']') {
                if self.has(&part, length) {
                    return true;
                }
                length = 0;
            } else {
                if let Some(place) = part.get_mut(length) {
                    *place = byte.to_ascii_lowercase();
                }
                // One that is longer than any secret is none.
                length += 1;
            }
        }
        self.has(&part, length)
    }

    fn has(&self, part: &[u8; PARAMETER_BYTES_MAX], length: usize) -> bool {
        let Some(part @ [first, ..]) = part.get(..length) else { return false };
        self.lengths >> length & 1 == 1
            && self.initials & initial(*first) != 0
            && self.secrets.iter().any(|secret| secret.as_bytes() == part)
    }
}

/// A URL of which nothing is copied until something is masked.
struct Masked<'a> {
    url: &'a [u8],
    copy: Vec<u8>,
    /// How far it has been copied.
    done: usize,
}

impl<'a> Masked<'a> {
    fn mask(&mut self, start: usize, end: usize) {
        if start < end {
            self.copy.extend_from_slice(self.url.get(self.done..start).unwrap_or_default());
            self.copy.extend_from_slice(MASK);
            self.done = end;
        }
    }

    fn finish(mut self) -> Cow<'a, [u8]> {
        if self.done == 0 {
            return Cow::Borrowed(self.url);
        }
        self.copy.extend_from_slice(self.url.get(self.done..).unwrap_or_default());
        Cow::Owned(self.copy)
    }
}

/// Where `user:password` stands in `https://user:password@shop.example/`.
fn user_info(url: &[u8]) -> Option<(usize, usize)> {
    let colon = memchr::memchr(b':', url)?;
    let start = colon + b"://".len();
    let rest = url.get(colon..)?.strip_prefix(b"://")?;
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    Some((start, start + memchr::memrchr(b'@', rest.get(..end)?)?))
}

fn initial(byte: u8) -> u32 {
    1 << (byte & 31)
}

fn digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

const MASK: &[u8] = b"REDACTED";

/// Parameters that carry credentials wherever one meets them.
const USUAL: [&str; 46] = [
    "access_key",
    "access_token",
    "accesstoken",
    "api-key",
    "api_key",
    "api_token",
    "apikey",
    "assertion",
    "auth",
    "auth_token",
    "authorization",
    "authtoken",
    "bearer",
    "client_assertion",
    "client_secret",
    "code",
    "credential",
    "credentials",
    "csrf_token",
    "id_token",
    "jsessionid",
    "jwt",
    "key",
    "otp",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "phpsessid",
    "private_key",
    "pwd",
    "refresh_token",
    "samlresponse",
    "secret",
    "secret_key",
    "session",
    "session_token",
    "sessionid",
    "sig",
    "signature",
    "ticket",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-signature",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_of_secret_parameters_are_masked() {
        for (url, shown) in [
            ("/", "/"),
            ("/a?b=c", "/a?b=c"),
            ("/token=1", "/token=1"),
            ("/a?token=x", "/a?token=REDACTED"),
            ("/a?token=x&b=c", "/a?token=REDACTED&b=c"),
            ("/a?b=c&TOKEN=x=y;Api_Key=z", "/a?b=c&TOKEN=REDACTED;Api_Key=REDACTED"),
            ("/a?X-Amz-Signature=0af&X-Amz-Date=1", "/a?X-Amz-Signature=REDACTED&X-Amz-Date=1"),
            ("/a?tokens=x&a_token=y", "/a?tokens=x&a_token=y"),
            ("/a?token=&token&=x", "/a?token=&token&=x"),
            ("/a?%74oke%6E=x&%5x=1&%=2", "/a?%74oke%6E=REDACTED&%5x=1&%=2"),
            ("/a?user[name]=a&user[password]=x", "/a?user[name]=a&user[password]=REDACTED"),
            ("/a?user%5Bpassword%5D=x", "/a?user%5Bpassword%5D=REDACTED"),
            ("/a?token[]=x&key[a]=y", "/a?token[]=REDACTED&key[a]=REDACTED"),
            ("/a?next=/b?code=x", "/a?next=/b?code=REDACTED"),
            ("/a;jsessionid=x?b=c", "/a;jsessionid=REDACTED?b=c"),
            ("/a#access_token=x&b=c", "/a#access_token=REDACTED&b=c"),
            ("https://shop.example/a?sig=x", "https://shop.example/a?sig=REDACTED"),
            ("https://ann:pw@shop.example/?key=x", "https://REDACTED@shop.example/?key=REDACTED"),
            ("https://ann@shop.example", "https://REDACTED@shop.example"),
            (
                "https://ann;token=x;S3CRET@shop.example/;key=x",
                "https://REDACTED@shop.example/;key=REDACTED",
            ),
            ("https://shop.example/@x", "https://shop.example/@x"),
            ("*", "*"),
            ("", ""),
        ] {
            let found = redacted(&[]).shown(url.as_bytes()).into_owned();
            assert_eq!(String::from_utf8(found).unwrap(), shown, "{url}");
        }
    }

    #[test]
    fn further_names_are_masked_beside_the_usual_ones() {
        let redaction = redacted(&["invite", &"x".repeat(PARAMETER_BYTES_MAX)]);
        let long = format!("/?{0}=1&{0}x=2", "X".repeat(PARAMETER_BYTES_MAX));
        for (url, shown) in [
            ("/?Invite=1&token=2&i=3", "/?Invite=REDACTED&token=REDACTED&i=3"),
            (&long, &long.replace("=1", "=REDACTED")),
        ] {
            assert_eq!(redaction.shown(url.as_bytes()), shown.as_bytes());
        }
    }

    #[test]
    fn a_query_is_logged_in_full_or_not_at_all_where_that_is_asked_for() {
        let url = b"https://ann:pw@shop.example/a?token=x#b";
        for (query, shown) in [
            (AccessLogQuery::Full, &url[..]),
            (AccessLogQuery::Off, b"https://REDACTED@shop.example/a"),
        ] {
            assert_eq!(Redaction::new(query, &[]).shown(url), shown);
        }
    }

    #[test]
    fn nothing_is_copied_unless_something_is_masked() {
        let redaction = redacted(&[]);
        for url in ["/a?b=c&d=e", "/", "/a?tokens=1", "https://shop.example/?token="] {
            assert!(matches!(redaction.shown(url.as_bytes()), Cow::Borrowed(_)), "{url}");
        }
    }

    #[test]
    fn the_manual_lists_the_usual_names() {
        let page = include_str!("../../../docs/access-log.md");
        let list: Vec<_> = USUAL.iter().map(|name| format!("`{name}`")).collect();
        let words: Vec<_> = page.split_whitespace().collect();
        assert!(words.join(" ").contains(&list.join(", ")), "{}", list.join(", "));
    }

    proptest! {
        #[test]
        fn a_secret_is_never_shown_and_the_rest_always(
            before in "[a-z]{0,9}", after in "[a-z]{0,9}", which in 0..USUAL.len(), upper: bool,
        ) {
            let name = USUAL[which];
            let name = if upper { name.to_ascii_uppercase() } else { name.to_owned() };
            let url = format!("/{before}?b={before}&{name}=S3CRET&z={after}");
            let shown = String::from_utf8(redacted(&[]).shown(url.as_bytes()).into_owned()).unwrap();
            prop_assert_eq!(shown, url.replace("S3CRET", "REDACTED"));
        }

        #[test]
        fn whatever_comes_is_shown_to_its_end(url: Vec<u8>) {
            let shown = redacted(&[]).shown(&url).into_owned();
            let plain = !url.iter().any(|byte| b"=@".contains(byte));
            prop_assert!(!plain || shown == url);
        }
    }

    fn redacted(more: &[&str]) -> Redaction {
        let more: Vec<_> = more.iter().map(|&name| name.to_owned()).collect();
        Redaction::new(AccessLogQuery::Redacted, &more)
    }
}

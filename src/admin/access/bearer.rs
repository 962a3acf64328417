//! Whether a request carries the token.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::config::Token;

/// What a request shows of the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shown {
    Nothing,
    Right,
    /// Another one, or anything where there is no token to be had.
    Wrong,
}

pub(super) fn shown(headers: &HeaderMap, token: Option<&Token>) -> Shown {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    match (given.next(), given.next()) {
        (None, _) => Shown::Nothing,
        (Some(value), None) if is_right(value.as_bytes(), token) => Shown::Right,
        (Some(_), _) => Shown::Wrong,
    }
}

/// Digests are compared, so that the time taken tells nothing of the token, not
/// even its length.
fn is_right(value: &[u8], token: Option<&Token>) -> bool {
    let (Some(token), Some((scheme, given))) = (token, value.split_at_checked(SCHEME.len())) else {
        return false;
    };
    let [given, kept] = [given, token.secret().as_bytes()].map(|it| digest(&SHA256, it));
    scheme.eq_ignore_ascii_case(SCHEME)
        && verify_slices_are_equal(given.as_ref(), kept.as_ref()).is_ok()
}

const SCHEME: &[u8] = b"Bearer ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Key};
    use std::collections::BTreeMap;

    #[test]
    fn only_the_whole_token_and_nothing_else_is_right() {
        let token = token();
        let table = [
            (&[][..], Shown::Nothing),
            (&["Bearer 0123456789abcdef"], Shown::Right),
            (&["bearer 0123456789abcdef"], Shown::Right),
            (&["Bearer 0123456789abcdeF"], Shown::Wrong),
            (&["Bearer 0123456789abcde"], Shown::Wrong),
            (&["Bearer 0123456789abcdef0"], Shown::Wrong),
            (&["Bearer  0123456789abcdef"], Shown::Wrong),
            (&["Bearer "], Shown::Wrong),
            (&["Bearer"], Shown::Wrong),
            (&[""], Shown::Wrong),
            (&["0123456789abcdef"], Shown::Wrong),
            (&["Basic 0123456789abcdef"], Shown::Wrong),
            (&["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"], Shown::Wrong),
        ];
        for (given, expected) in table {
            let given = given.iter().map(|value| (AUTHORIZATION, value.parse().unwrap()));
            let headers: HeaderMap = given.collect();
            assert_eq!(shown(&headers, Some(&token)), expected, "{headers:?}");
        }
    }

    #[test]
    fn where_there_is_no_token_none_is_right() {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, "Bearer ".parse().unwrap())]);
        assert_eq!(shown(&headers, None), Shown::Wrong);
        assert_eq!(shown(&HeaderMap::new(), None), Shown::Nothing);
    }

    fn token() -> Token {
        let flags = [(Key::AdminTokenFile, "token".to_owned())];
        let file = |path: &std::path::Path| match path.ends_with("token") {
            true => Ok("0123456789abcdef".to_owned()),
            false => Err(std::io::ErrorKind::NotFound.into()),
        };
        config::load(&flags, &BTreeMap::new(), &file).unwrap().admin_token.unwrap()
    }
}

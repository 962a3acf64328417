//! Which requests the further conditions of a rule take, and how narrow they are.

use std::cmp::Reverse;

use ipnet::IpNet;

use crate::domain::routing::{Asked, Miss};
use crate::domain::rule::{Conditions, Wanted};

/// What sorts the narrower of two rules first.
pub(super) type Breadth = (Reverse<usize>, usize, usize, usize, (u128, u64));

impl Conditions {
    /// The first of them that does not hold.
    pub(super) fn miss(&self, asked: &Asked<'_>) -> Option<Miss<'_>> {
        if !self.methods.is_empty() && !self.methods.contains(asked.method) {
            return Some(Miss::Method(&self.methods));
        }
        let entry_points = &self.entry_points;
        if !entry_points.is_empty() && !entry_points.iter().any(|it| **it == *asked.entry_point) {
            return Some(Miss::EntryPoint(entry_points));
        }
        if !self.clients.is_empty() && !self.clients.iter().any(|it| it.contains(&asked.client)) {
            return Some(Miss::Client(&self.clients));
        }
        let header = self.headers.iter().find(|(name, wanted)| {
            let mut lines = asked.headers.get_all(name).iter();
            !lines.any(|line| wanted.takes(line.as_bytes().iter().copied()))
        });
        if let Some((name, wanted)) = header {
            return Some(Miss::Header(name, wanted));
        }
        let query = self.queries.iter().find(|(name, wanted)| {
            !parameters(asked.query).any(|(given, value)| {
                name.bytes().eq(decoded(given)) && wanted.takes(decoded(value))
            })
        });
        query.map(|(name, wanted)| Miss::Query(name, wanted))
    }

    /// The least sorts first: more conditions, then narrower ones. What takes
    /// only requests that others take too, and not all of them, sorts before.
    pub(super) fn breadth(&self) -> Breadth {
        let wanted = self.headers.iter().map(|(_, it)| it);
        let wanted = wanted.chain(self.queries.iter().map(|(_, it)| it));
        let any = wanted.filter(|it| matches!(it, Wanted::Any)).count();
        let (methods, entry_points) = (self.methods.len(), self.entry_points.len());
        (Reverse(self.count()), any, methods, entry_points, addresses(&self.clients))
    }
}

/// How many addresses there are in `networks`, which do not overlap: of IPv6,
/// then of IPv4.
fn addresses(networks: &[IpNet]) -> (u128, u64) {
    networks.iter().fold((0_u128, 0), |(six, four), network| match network {
        IpNet::V4(it) => (six, four + (1 << (32 - it.prefix_len()))),
        IpNet::V6(it) => {
            let size = 1_u128.checked_shl(u32::from(128 - it.prefix_len())).unwrap_or(u128::MAX);
            (six.saturating_add(size), four)
        }
    })
}

/// Names and values of a query, as they are written; a name alone has an empty
/// value.
fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.into_iter().flat_map(|query| query.split('&'));
    parts.filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// The bytes that are meant: `+` is a space, and what is no escape is itself, as
/// in forms (WHATWG URL, section 5.1).
fn decoded(written: &str) -> impl Iterator<Item = u8> {
    let mut rest = written.as_bytes();
    std::iter::from_fn(move || {
        let (byte, after) = match rest {
            [b'%', high, low, after @ ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                (Some(_) | None, _) => (b'%', rest.get(1..)?),
            },
            [b'+', after @ ..] => (b' ', after),
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        rest = after;
        Some(byte)
    })
}

fn digit(byte: u8) -> Option<u8> {
    u8::try_from(char::from(byte).to_digit(16)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    #[test]
    fn a_method_is_one_of_the_list_and_its_case_matters() {
        let conditions =
            Conditions { methods: vec![Method::GET, Method::POST], ..Conditions::default() };
        for (method, taken) in [("GET", true), ("POST", true), ("PUT", false), ("get", false)] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(conditions.hold(&Asked { method: &method, ..plain() }), taken, "{method}");
        }
    }

    #[test]
    fn a_header_has_the_value_in_any_of_its_lines() {
        let exactly = header("x-canary", Wanted::Exactly("yes".into()));
        let any = header("x-canary", Wanted::Any);
        for (lines, is_yes, is_there) in [
            (&[][..], false, false),
            (&["yes"], true, true),
            (&["no", "yes"], true, true),
            (&["Yes"], false, true),
            (&["yes, no"], false, true),
            (&["yesterday"], false, true),
            (&["ye"], false, true),
            (&[""], false, true),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-canary", HeaderValue::from_static(line));
            }
            assert_eq!(exactly.hold(&Asked { headers: &headers, ..plain() }), is_yes, "{lines:?}");
            assert_eq!(any.hold(&Asked { headers: &headers, ..plain() }), is_there, "{lines:?}");
        }
    }

    #[test]
    fn a_query_parameter_is_compared_once_it_is_decoded() {
        let exactly = query("q", Wanted::Exactly("a b".into()));
        let any = query("q", Wanted::Any);
        for (query, is_value, is_there) in [
            (None, false, false),
            (Some(""), false, false),
            (Some("q=a+b"), true, true),
            (Some("q=a%20b"), true, true),
            (Some("%71=%61%20%62"), true, true),
            (Some("q=x&q=a+b"), true, true),
            (Some("q"), false, true),
            (Some("q=a+bc"), false, true),
            (Some("q=a%2"), false, true),
            (Some("Q=a+b"), false, false),
            (Some("x=q&y=q=a+b"), false, false),
            (Some("q=a+b;x=1"), false, true),
        ] {
            assert_eq!(exactly.hold(&Asked { query, ..plain() }), is_value, "{query:?}");
            assert_eq!(any.hold(&Asked { query, ..plain() }), is_there, "{query:?}");
        }
    }

    #[test]
    fn what_is_no_escape_is_itself() {
        for (written, meant) in
            [("%", "%"), ("%4", "%4"), ("%zz%41", "%zzA"), ("%%41", "%A"), ("a%+", "a% ")]
        {
            assert!(decoded(written).eq(meant.bytes()), "{written}");
        }
    }

    #[test]
    fn a_client_is_in_any_of_the_networks() {
        let clients = ["10.0.0.0/8", "2001:db8::/32"].map(|it| it.parse().unwrap()).to_vec();
        let conditions = Conditions { clients, ..Conditions::default() };
        for (client, taken) in
            [("10.1.2.3", true), ("11.0.0.1", false), ("2001:db8::1", true), ("::1", false)]
        {
            let client = client.parse().unwrap();
            assert_eq!(conditions.hold(&Asked { client, ..plain() }), taken, "{client}");
        }
    }

    #[test]
    fn a_client_comes_in_by_any_of_the_entry_points() {
        let entry_points = vec!["https".into(), "internal".into()];
        let conditions = Conditions { entry_points, ..Conditions::default() };
        for (entry_point, taken) in
            [("https", true), ("internal", true), ("http", false), ("", false)]
        {
            let asked = Asked { entry_point, ..plain() };
            assert_eq!(conditions.hold(&asked), taken, "{entry_point}");
        }
    }

    #[test]
    fn conditions_that_all_must_hold_do() {
        let conditions = Conditions {
            methods: vec![Method::GET],
            ..header("x-canary", Wanted::Exactly("yes".into()))
        };
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("x-canary"),
            HeaderValue::from_static("yes"),
        )]);
        assert!(conditions.hold(&Asked { headers: &headers, ..plain() }));
        assert!(!conditions.hold(&plain()));
        let post = Asked { method: &Method::POST, headers: &headers, ..plain() };
        assert!(!conditions.hold(&post));
    }

    #[test]
    fn what_is_narrower_sorts_first() {
        let networks = |list: &[&str]| Conditions {
            clients: list.iter().map(|it| it.parse().unwrap()).collect(),
            ..Conditions::default()
        };
        let methods =
            |list: &[Method]| Conditions { methods: list.to_vec(), ..Conditions::default() };
        for (narrow, broad) in [
            (header("a", Wanted::Any), Conditions::default()),
            (header("a", Wanted::Exactly("1".into())), header("a", Wanted::Any)),
            (methods(&[Method::GET]), methods(&[Method::GET, Method::PUT])),
            (networks(&["10.0.0.1/32"]), networks(&["10.0.0.0/8"])),
            (networks(&["10.0.0.0/8"]), networks(&["0.0.0.0/0"])),
            (networks(&["0.0.0.0/0"]), networks(&["0.0.0.0/0", "::1/128"])),
            (networks(&["::/1"]), networks(&["::/0"])),
        ] {
            assert!(narrow.breadth() < broad.breadth(), "{narrow} and {broad}");
        }
    }

    impl Conditions {
        fn hold(&self, asked: &Asked<'_>) -> bool {
            self.miss(asked).is_none()
        }
    }

    fn plain() -> Asked<'static> {
        Asked::get("x", "/", [127, 0, 0, 1].into())
    }

    fn header(name: &'static str, wanted: Wanted) -> Conditions {
        let headers = vec![(HeaderName::from_static(name), wanted)];
        Conditions { headers, ..Conditions::default() }
    }

    fn query(name: &str, wanted: Wanted) -> Conditions {
        Conditions { queries: vec![(name.into(), wanted)], ..Conditions::default() }
    }
}

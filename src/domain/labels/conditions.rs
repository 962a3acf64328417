//! Values of the labels `method`, `header.*`, `query.*` and of lists of clients.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use ipnet::{IpNet, Ipv4Net};

use crate::domain::http::hop_by_hop;
use crate::domain::labels::value::{InvalidValue, list};
use crate::domain::rule::{Conditions, Wanted};

/// What can be read of a list of methods, sorted, and the first fault in it.
pub(super) fn methods(written: &str) -> (Vec<Method>, Option<InvalidValue>) {
    let (names, fault) = list(written, |entry| {
        let upper = entry.to_ascii_uppercase();
        match Method::from_bytes(upper.as_bytes()) {
            Ok(_) if entry.len() <= METHOD_BYTES_MAX => Ok(upper),
            Ok(_) | Err(_) => Err(InvalidValue::entry_that(entry, "is not a method")),
        }
    });
    let methods = names.iter().filter_map(|name| Method::from_bytes(name.as_bytes()).ok());
    (methods.collect(), fault)
}

/// Adds the condition on the header `name`.
pub(super) fn header(
    conditions: &mut Conditions,
    name: &str,
    written: &str,
) -> Result<(), InvalidValue> {
    let read = HeaderName::from_bytes(name.as_bytes());
    let read = read.map_err(|_| InvalidValue::name_that(name, "is not the name of a header"))?;
    // `Upgrade` is all that is left of these where it asks for a protocol.
    if hop_by_hop::ends_here(&read) && read != http::header::UPGRADE {
        return Err(InvalidValue::name_that(name, "is a header that no rule gets to see"));
    }
    let wanted = wanted(written)?;
    if let Wanted::Exactly(value) = &wanted
        && HeaderValue::from_str(value).is_err()
    {
        return Err(InvalidValue::HeaderValue);
    }
    has_room(conditions)?;
    let at = conditions.headers.partition_point(|(it, _)| it.as_str() < read.as_str());
    conditions.headers.insert(at, (read, wanted));
    Ok(())
}

/// Adds the condition on the query parameter `name`.
pub(super) fn query(
    conditions: &mut Conditions,
    name: &str,
    written: &str,
) -> Result<(), InvalidValue> {
    let wanted = wanted(written)?;
    has_room(conditions)?;
    let at = conditions.queries.partition_point(|(it, _)| &**it < name);
    conditions.queries.insert(at, (name.into(), wanted));
    Ok(())
}

/// What can be read of a list of networks and addresses, and the first fault in
/// it. They do not overlap, and IPv4-mapped ones are IPv4.
pub(super) fn clients(written: &str) -> (Vec<IpNet>, Option<InvalidValue>) {
    let (networks, fault) = list(written, |entry| {
        network(entry)
            .ok_or_else(|| InvalidValue::entry_that(entry, "is not an address or a network"))
    });
    (IpNet::aggregate(&networks), fault)
}

/// An address is a network of one; host bits are dropped.
fn network(written: &str) -> Option<IpNet> {
    let one = || written.parse::<IpAddr>().ok().map(IpNet::from);
    let network = written.parse::<IpNet>().ok().or_else(one)?.trunc();
    let IpNet::V6(six) = network else { return Some(network) };
    match (six.addr().to_ipv4_mapped(), six.prefix_len().checked_sub(MAPPED_BITS)) {
        (Some(four), Some(bits)) => Some(Ipv4Net::new(four, bits).ok()?.into()),
        (None, _) | (_, None) => Some(network),
    }
}

fn wanted(written: &str) -> Result<Wanted, InvalidValue> {
    match written.trim() {
        "" => Err(InvalidValue::Empty),
        "*" => Ok(Wanted::Any),
        value if value.len() > WANTED_BYTES_MAX => Err(InvalidValue::TooLong),
        value if value.contains(char::is_control) => {
            Err(InvalidValue::that("holds a control character"))
        }
        value => Ok(Wanted::Exactly(Arc::from(value))),
    }
}

fn has_room(conditions: &Conditions) -> Result<(), InvalidValue> {
    if conditions.headers.len() + conditions.queries.len() < NAMES_MAX {
        Ok(())
    } else {
        Err(InvalidValue::that(
            "is one more than the 32 headers and parameters that a rule may ask for",
        ))
    }
}

/// Headers and parameters that one rule asks for, since a request that it does
/// not take may be compared with all of them.
const NAMES_MAX: usize = 32;

/// The longest that is registered has 17 letters.
const METHOD_BYTES_MAX: usize = 32;

/// Of a value; no request line or field that we take is much longer.
const WANTED_BYTES_MAX: usize = 4096;

/// Before the IPv4 address in an IPv4-mapped one (RFC 4291, section 2.5.5.2).
const MAPPED_BITS: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_tokens_in_upper_case() {
        let (good, fault) = methods("post, GET,get,m-search");
        let good: Vec<_> = good.iter().map(Method::as_str).collect();
        assert_eq!((&good[..], fault), (&["GET", "M-SEARCH", "POST"][..], None));
        for written in ["GET POST", "GET,PO/ST", "", "*é", &"x".repeat(METHOD_BYTES_MAX + 1)] {
            assert!(methods(written).1.is_some(), "{written}");
        }
    }

    #[test]
    fn an_address_is_a_network_and_a_mapped_one_is_ipv4() {
        for (written, read) in [
            ("10.1.2.3/8, 10.0.0.0/9", "10.0.0.0/8"),
            ("192.168.1.1", "192.168.1.1/32"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("2001:DB8::1/32", "2001:db8::/32"),
            ("10.0.0.0/9,10.128.0.0/9", "10.0.0.0/8"),
        ] {
            let (networks, fault) = clients(written);
            let shown: Vec<_> = networks.iter().map(ToString::to_string).collect();
            assert_eq!((shown.join(" ").as_str(), fault), (read, None), "{written}");
        }
        for written in ["10.0.0.0/33", "10.0.0", "example.com", "all", "10.0.0.0-10.0.0.9", "", "*"]
        {
            assert!(clients(written).1.is_some(), "{written}");
        }
    }

    #[test]
    fn a_star_is_any_value_and_all_else_is_meant_as_it_is_written() {
        let mut conditions = Conditions::default();
        header(&mut conditions, "X-Tenant", " blue, green ").unwrap();
        header(&mut conditions, "Authorization", "*").unwrap();
        query(&mut conditions, "Q", "a b").unwrap();
        assert!(query(&mut conditions, "Q", "a\nb").is_err());
        assert_eq!(
            conditions.to_string(),
            "any header `authorization`, header `x-tenant: blue, green`, query `Q=a b`"
        );
        for (name, written) in [("a b", "1"), ("connection", "*"), ("x", "a\u{1}b"), ("x", " ")] {
            assert!(header(&mut conditions, name, written).is_err(), "{name}: {written}");
        }
    }

    #[test]
    fn the_conditions_of_a_rule_have_a_bound() {
        let mut conditions = Conditions::default();
        for number in 0..NAMES_MAX / 2 {
            header(&mut conditions, &format!("x-{number}"), "*").unwrap();
            query(&mut conditions, &format!("q{number}"), "*").unwrap();
        }
        assert!(header(&mut conditions, "x", "*").is_err());
        assert!(query(&mut conditions, "q", "*").is_err());
        let long = "x".repeat(WANTED_BYTES_MAX);
        assert!(query(&mut Conditions::default(), "q", &long).is_ok());
        assert!(query(&mut Conditions::default(), "q", &(long + "x")).is_err());
    }
}

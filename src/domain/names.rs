//! Names that must not be mixed up, checked once where they enter.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A host name as it is compared: lower case, without port or trailing dot.
/// IPv6 literals keep their brackets.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Host(Arc<str>);

/// Which host names a rule takes.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum HostPattern {
    Exact(Host),
    /// `*.example.com`, kept as `example.com`: one or more labels before it.
    Wildcard(Host),
}

/// A pool as users name it. The same name in two compose projects is two pools.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PoolName {
    /// Compose project or stack; none for shared pools and static ones.
    pub project: Option<Arc<str>>,
    pub name: Arc<str>,
}

/// Where observations come from: `docker`, `static`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SourceName(Arc<str>);

/// Why a string is not a host name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{given}` is not a host name: {fault}")]
pub struct InvalidHost {
    given: String,
    fault: &'static str,
}

/// Why a string is not a pool name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{given}` is not a pool name: use letters, digits, `-`, `_` and `.`, at most 63 of them")]
pub struct InvalidPoolName {
    given: String,
}

impl InvalidHost {
    /// What is wrong with it and how to write it.
    pub fn fault(&self) -> &'static str {
        self.fault
    }
}

impl Host {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        match host_fault(given) {
            Some(fault) => Err(InvalidHost { given: given.to_owned(), fault }),
            None => Ok(Self(host_key(given).into())),
        }
    }
}

impl Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostPattern {
    type Err = InvalidHost;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        match given.strip_prefix("*.") {
            Some(suffix) => suffix.parse().map(Self::Wildcard),
            None => given.parse().map(Self::Exact),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

impl PoolName {
    /// Checks `name`; `project` is taken as Docker gives it.
    pub fn new(project: Option<&str>, name: &str) -> Result<Self, InvalidPoolName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > POOL_NAME_BYTES_MAX || !name.chars().all(allowed) {
            return Err(InvalidPoolName { given: name.to_owned() });
        }
        Ok(Self { project: project.map(Arc::from), name: name.to_ascii_lowercase().into() })
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.project {
            Some(project) => write!(f, "{project}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl SourceName {
    pub fn docker() -> Self {
        Self("docker".into())
    }

    /// Pools written in the settings rather than found.
    pub fn settings() -> Self {
        Self("settings".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The form in which a host name, without port, is looked up. It allocates only
/// when the name is not in that form yet.
pub fn host_key(given: &str) -> Cow<'_, str> {
    let name = given.strip_suffix('.').unwrap_or(given);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

fn host_fault(given: &str) -> Option<&'static str> {
    let name = given.strip_suffix('.').unwrap_or(given);
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > HOST_BYTES_MAX {
        return Some("it is longer than 253 bytes");
    }
    if let Some(inner) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let literal = inner.parse::<std::net::Ipv6Addr>().is_ok();
        return (!literal).then_some("the brackets hold no IPv6 address");
    }
    if name.contains(['/', ':', ' ']) {
        return Some("write the name alone, without scheme, port or path");
    }
    if name.split('.').any(|label| label.is_empty() || label.len() > LABEL_BYTES_MAX) {
        return Some("each part between dots has 1 to 63 characters");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Some("only letters, digits, `-`, `_` and dots may stand in it");
    }
    None
}

/// RFC 1035, section 2.3.4, counted without the trailing dot.
pub const HOST_BYTES_MAX: usize = 253;

/// RFC 1035, section 2.3.4.
const LABEL_BYTES_MAX: usize = 63;

/// As long as a DNS label, since each pool answers at `<pool>.localhost`.
const POOL_NAME_BYTES_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_compare_without_case_or_trailing_dot() {
        let written: Host = "Shop.Example.".parse().unwrap();
        let asked: Host = "shop.example".parse().unwrap();
        assert_eq!(written, asked);
    }

    #[test]
    fn a_url_is_refused_with_the_way_to_fix_it() {
        let refused = "https://shop.example".parse::<Host>().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`https://shop.example` is not a host name: \
             write the name alone, without scheme, port or path"
        );
    }

    #[test]
    fn names_that_dns_could_not_carry_are_refused() {
        for given in ["", ".", "a..b", "shop example", "sh*p", "[::zz]", &"a".repeat(64)] {
            assert!(given.parse::<Host>().is_err(), "`{given}`");
        }
    }

    #[test]
    fn an_ipv6_literal_is_a_host() {
        assert_eq!("[::1]".parse::<Host>().unwrap().as_str(), "[::1]");
    }

    #[test]
    fn only_a_leading_star_label_is_a_wildcard() {
        assert!("*.example.com".parse::<HostPattern>().is_ok());
        for given in ["*", "*example.com", "a.*.com", "*.*.com"] {
            assert!(given.parse::<HostPattern>().is_err(), "`{given}`");
        }
    }

    #[test]
    fn a_name_already_in_its_lookup_form_is_not_copied() {
        assert!(matches!(host_key("shop.example"), Cow::Borrowed(_)));
        assert_eq!(host_key("SHOP.example."), "shop.example");
    }

    #[test]
    fn pools_of_two_projects_differ() {
        let shop = PoolName::new(Some("shop"), "web").unwrap();
        let blog = PoolName::new(Some("blog"), "web").unwrap();
        assert_ne!(shop, blog);
        assert_eq!(shop.to_string(), "shop/web");
    }
}

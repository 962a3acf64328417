//! Which paths a rule takes.

use std::fmt;
use std::sync::Arc;

/// One path condition of a rule, in normal form.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PathMatch {
    /// This path alone.
    Exact(Arc<str>),
    /// This path and all below it, by whole segments: `/api` takes `/api` and
    /// `/api/x`, not `/apix`.
    Prefix(Arc<str>),
    Any,
}

impl PathMatch {
    /// The root takes every path, as no condition does.
    pub(super) fn prefix(path: &Arc<str>) -> Self {
        if **path == *"/" { Self::Any } else { Self::Prefix(Arc::clone(path)) }
    }

    /// `path` is in normal form, without its query.
    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *path,
            Self::Prefix(prefix) => path
                .strip_prefix(&**prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }

    /// Exact paths come first, then prefixes by their length.
    pub(super) fn specificity(&self) -> usize {
        match self {
            Self::Exact(_) => usize::MAX,
            Self::Prefix(prefix) => prefix.len(),
            Self::Any => 0,
        }
    }
}

impl PathMatch {
    /// `/only/this`, `/api/*`, `/*`.
    pub(super) fn pattern(&self) -> String {
        match self {
            Self::Exact(path) => path.to_string(),
            Self::Prefix(prefix) => format!("{prefix}/*"),
            Self::Any => "/*".to_owned(),
        }
    }
}

/// As part of a rule: "path `/api`".
impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => write!(f, "exact path `{path}`"),
            Self::Prefix(path) => write!(f, "path `{path}`"),
            Self::Any => f.write_str("any path"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let api = PathMatch::Prefix("/api".into());
        for (path, matches) in
            [("/api", true), ("/api/", true), ("/api/x", true), ("/apix", false), ("/", false)]
        {
            assert_eq!(api.matches(path), matches, "{path}");
        }
    }

    #[test]
    fn the_root_prefix_is_no_condition() {
        let root = PathMatch::prefix(&"/".into());
        assert!(root.matches("/") && root.matches("/api"));
        assert_eq!(root, PathMatch::Any);
    }

    #[test]
    fn an_exact_path_takes_nothing_below_it() {
        let exact = PathMatch::Exact("/api".into());
        assert!(exact.matches("/api") && !exact.matches("/api/"));
        assert!(exact.specificity() > PathMatch::Prefix("/api/v1/long".into()).specificity());
    }
}

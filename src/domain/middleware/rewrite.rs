//! The path that a replica is asked for, where it is not the client's.

use std::sync::Arc;

/// `strip_prefix` and `add_prefix`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rewrite {
    /// Whole segments in normal form, without a trailing slash; the longest that
    /// matches is removed.
    pub strip: Vec<Arc<str>>,
    /// As those; put before what is left.
    pub add: Option<Arc<str>>,
}

/// A path in place of another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rewritten<'a> {
    /// It begins with one `/`.
    pub path: String,
    /// What was removed.
    pub stripped: Option<&'a str>,
}

impl Rewrite {
    pub fn is_empty(&self) -> bool {
        self.strip.is_empty() && self.add.is_none()
    }

    /// What `path`, in normal form, becomes; none if it stays as it is.
    ///
    /// Where the rest would begin with several slashes one stays, since some
    /// servers would read a host after two.
    pub fn apply<'a>(&'a self, path: &str) -> Option<Rewritten<'a>> {
        let rests = self.strip.iter().filter_map(|prefix| Some((&**prefix, below(prefix, path)?)));
        let found = rests.max_by_key(|(prefix, _)| prefix.len());
        let (stripped, rest) = match found {
            Some((prefix, rest)) => (Some(prefix), rest),
            // `OPTIONS *` asks for no path.
            None if self.add.is_none() || !path.starts_with('/') => return None,
            None => (None, path),
        };
        let add = self.add.as_deref().unwrap_or_default();
        let path = format!("{add}/{}", rest.trim_start_matches('/'));
        Some(Rewritten { path, stripped })
    }
}

/// What follows `prefix` in `path`, if it ends there at a segment.
fn below<'a>(prefix: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_removed_and_added_by_whole_segments() {
        for (strip, add, path, expected) in [
            (&["/api"][..], None, "/api/x", Some(("/x", Some("/api")))),
            (&["/api"], None, "/api", Some(("/", Some("/api")))),
            (&["/api"], None, "/api/", Some(("/", Some("/api")))),
            (&["/api"], None, "/apix", None),
            (&["/api"], None, "/x/api", None),
            (&["/api"], None, "/api//evil.example", Some(("/evil.example", Some("/api")))),
            (&["/api"], None, "/api/%2Fx", Some(("/%2Fx", Some("/api")))),
            (&["/api", "/api/v1"], None, "/api/v1/x", Some(("/x", Some("/api/v1")))),
            (&["/api/v1", "/api"], None, "/api/v2", Some(("/v2", Some("/api")))),
            (&[], Some("/v1"), "/x", Some(("/v1/x", None))),
            (&[], Some("/v1"), "/", Some(("/v1/", None))),
            (&[], Some("/v1"), "*", None),
            (&["/api"], Some("/v1"), "/api/x", Some(("/v1/x", Some("/api")))),
            (&["/api"], Some("/v1"), "/other", Some(("/v1/other", None))),
        ] {
            let strip = strip.iter().map(|&it| it.into()).collect();
            let rewrite = Rewrite { strip, add: add.map(Into::into) };
            let rewritten = rewrite.apply(path);
            let rewritten = rewritten.as_ref().map(|it| (it.path.as_str(), it.stripped));
            assert_eq!(rewritten, expected, "{path}");
        }
    }
}

//! Pages of a pool's own in place of an answer that failed.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Which page stands for which answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorPage {
    pub page: Page,
    /// Statuses of replicas whose answers it replaces; those that the balancer
    /// makes itself it always replaces.
    pub on: Arc<[RangeInclusive<u16>]>,
}

/// Where a page comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Page {
    File(Arc<Template>),
    /// Fetched from another pool, at a path that may have `{status}` in it.
    Pool {
        pool: Arc<str>,
        path: Arc<str>,
    },
}

/// A page of HTML in which `{status}`, `{message}` and `{request_id}` stand for
/// what they say.
#[derive(Clone, Eq, PartialEq)]
pub struct Template(Box<str>);

impl ErrorPage {
    /// Whether it stands for an answer of a replica with this status.
    pub fn replaces(&self, status: u16) -> bool {
        self.on.iter().any(|range| range.contains(&status))
    }
}

impl Template {
    /// None if it is no text.
    pub fn read(content: &[u8]) -> Option<Self> {
        std::str::from_utf8(content).ok().map(|text| Self(text.into()))
    }

    /// The page, with `message` and `request_id` escaped.
    pub fn fill(&self, status: u16, message: &str, request_id: &str) -> String {
        let mut page = String::with_capacity(self.0.len() + message.len() + request_id.len());
        let mut rest = &*self.0;
        while let Some((before, after)) = rest.split_once('{') {
            page.push_str(before);
            rest = if let Some(after) = after.strip_prefix("status}") {
                page.push_str(&status.to_string());
                after
            } else if let Some(after) = after.strip_prefix("message}") {
                escape(message, &mut page);
                after
            } else if let Some(after) = after.strip_prefix("request_id}") {
                escape(request_id, &mut page);
                after
            } else {
                page.push('{');
                after
            };
        }
        page.push_str(rest);
        page
    }
}

/// It may be long.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

fn escape(text: &str, to: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&#39;"),
            letter => to.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_names_is_filled_in_and_escaped_and_all_else_left() {
        let page = "<style>a{b:c}</style>{status} {message} {request_id}{status}{{status}{x}{";
        let page = Template::read(page.as_bytes()).unwrap();
        assert_eq!(
            page.fill(502, "a <b> & \"c\" {status}", "id-'1'"),
            "<style>a{b:c}</style>502 a &lt;b&gt; &amp; &quot;c&quot; {status} id-&#39;1&#39;502\
             {502{x}{"
        );
        assert_eq!(Template::read(b"\xff"), None);
    }
}

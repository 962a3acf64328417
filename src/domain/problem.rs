//! What a person can mend.

use std::fmt;
use std::sync::Arc;

/// Something wrong in what a person wrote or runs. It never stops the balancer:
/// it is logged once and shown until it is mended.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Problem {
    pub subject: Subject,
    /// The setting or label as it was written, such as `lb.port`.
    pub key: Option<Arc<str>>,
    /// What is wrong: a sentence without its full stop, naming the value.
    pub message: String,
    /// What to do about it; empty when there is nothing to add.
    pub hint: String,
}

/// What a problem is about.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Subject {
    Container(Arc<str>),
    Pool(Arc<str>),
    Source(Arc<str>),
    /// By its file, or whom it is for.
    Certificate(Arc<str>),
    Setting,
}

impl Problem {
    pub fn new(subject: Subject, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { subject, key: None, message: message.into(), hint: hint.into() }
    }

    #[must_use]
    pub fn about(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// One line, as in "container `shop-1`: label `lb.port` is `80a`, …"; the hint is told apart.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.message)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(name) => write!(f, "container `{name}`"),
            Self::Pool(name) => write!(f, "pool `{name}`"),
            Self::Source(name) => write!(f, "source `{name}`"),
            Self::Certificate(name) => write!(f, "certificate `{name}`"),
            Self::Setting => f.write_str("setting"),
        }
    }
}

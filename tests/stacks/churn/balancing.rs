//! How the pool balances, and what its clients do so that it matters.

use std::sync::Mutex;

use crate::support::engine::set;

/// What the replicas ask for by label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Balancing {
    RoundRobin,
    LeastRequest,
    IpHash,
    /// By a cookie, which the clients keep.
    Sticky,
    /// By a field that names a replica.
    Pin,
}

/// The clients of a pool, each of which comes again and again.
#[derive(Debug)]
pub(super) struct Visitors {
    balancing: Balancing,
    /// Replicas that can be asked for by name.
    names: Vec<String>,
    visitors: Vec<Mutex<Visitor>>,
}

#[derive(Clone, Debug, Default)]
struct Visitor {
    cookie: Option<String>,
    /// The replica that it belongs to now.
    replica: Option<String>,
}

impl Balancing {
    const ALL: [Self; 5] =
        [Self::RoundRobin, Self::LeastRequest, Self::IpHash, Self::Sticky, Self::Pin];

    /// What `EVK_CHURN_POOL` asks for.
    pub(super) fn chosen() -> Self {
        let Some(name) = set("EVK_CHURN_POOL") else { return Self::RoundRobin };
        let chosen = Self::ALL.into_iter().find(|it| it.as_str() == name);
        let names = Self::ALL.map(Self::as_str).join(", ");
        chosen.unwrap_or_else(|| panic!("EVK_CHURN_POOL is `{name}`; it may be one of {names}"))
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastRequest => "least_request",
            Self::IpHash => "ip_hash",
            Self::Sticky => "sticky",
            Self::Pin => "pin",
        }
    }

    /// The label of each replica.
    pub(super) fn label(self) -> String {
        match self {
            Self::RoundRobin | Self::LeastRequest | Self::IpHash => {
                format!("lb.balance={}", self.as_str())
            }
            Self::Sticky => "lb.sticky=cookie".to_owned(),
            Self::Pin => "lb.pin.header=app".to_owned(),
        }
    }

    /// Of a hundred requests of those who belong to a replica, how many may meet
    /// another without a reason; none if nobody belongs to any. A hash passes
    /// over one that has more than its share.
    pub(super) fn strays_max(self) -> Option<usize> {
        match self {
            Self::RoundRobin | Self::LeastRequest => None,
            Self::IpHash => Some(2),
            Self::Sticky | Self::Pin => Some(0),
        }
    }

    /// Fields by which a client of a number of its own is known.
    pub(super) fn fields(self, number: usize) -> Option<(&'static str, String)> {
        match self {
            Self::RoundRobin | Self::LeastRequest | Self::Sticky | Self::Pin => None,
            Self::IpHash => Some(("X-Forwarded-For", format!("203.0.113.{}", number % 250))),
        }
    }
}

impl Visitors {
    pub(super) fn new(balancing: Balancing, names: Vec<String>) -> Self {
        let visitors = (0..VISITORS).map(|_| Mutex::default()).collect();
        Self { balancing, names, visitors }
    }

    /// The fields of the request of this number, and the replica that should
    /// answer it.
    pub(super) fn greeting(&self, number: usize) -> (String, Option<String>) {
        let number = number % VISITORS;
        let Visitor { cookie, replica } = self.visitors[number].lock().unwrap().clone();
        match self.balancing {
            Balancing::RoundRobin | Balancing::LeastRequest => (String::new(), None),
            Balancing::IpHash => {
                let (name, value) = self.balancing.fields(number).unwrap();
                (format!("{name}: {value}\r\n"), replica)
            }
            Balancing::Sticky => match cookie {
                Some(cookie) => (format!("Cookie: {cookie}\r\n"), replica),
                None => (String::new(), None),
            },
            Balancing::Pin => {
                let name = &self.names[number % self.names.len()];
                (format!("app: {name}\r\n"), Some(name.clone()))
            }
        }
    }

    /// Who answered the request of this number, perhaps with a cookie.
    pub(super) fn learn(&self, number: usize, replica: &str, cookie: Option<String>) {
        let mut visitor = self.visitors[number % VISITORS].lock().unwrap();
        let keeps = self.balancing == Balancing::Sticky && cookie.is_none();
        if !keeps {
            visitor.replica = Some(replica.to_owned());
        }
        if let Some(cookie) = cookie {
            visitor.cookie = cookie.split(';').next().map(str::to_owned);
        }
    }
}

/// So many that each replica has some.
const VISITORS: usize = 16;

mod tests {
    use super::*;

    #[test]
    fn a_visitor_shows_the_cookie_that_it_was_given_last() {
        let visitors = Visitors::new(Balancing::Sticky, Vec::new());
        assert_eq!(visitors.greeting(3), (String::new(), None));
        visitors.learn(3, "a", Some("lb=1; Path=/".to_owned()));
        visitors.learn(3 + VISITORS, "b", None);
        assert_eq!(visitors.greeting(3), ("Cookie: lb=1\r\n".to_owned(), Some("a".to_owned())));
        assert_eq!(visitors.greeting(4), (String::new(), None));
        visitors.learn(3, "b", Some("lb=2".to_owned()));
        assert_eq!(visitors.greeting(3).1.as_deref(), Some("b"));
    }

    #[test]
    fn a_visitor_with_an_address_of_its_own_belongs_to_whom_it_met_last() {
        let visitors = Visitors::new(Balancing::IpHash, Vec::new());
        let (fields, replica) = visitors.greeting(7);
        assert_eq!((fields.as_str(), replica), ("X-Forwarded-For: 203.0.113.7\r\n", None));
        visitors.learn(7, "a", None);
        assert_eq!(visitors.greeting(7 + VISITORS).1.as_deref(), Some("a"));
    }

    #[test]
    fn who_names_a_replica_means_it() {
        let visitors = Visitors::new(Balancing::Pin, vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(visitors.greeting(1), ("app: b\r\n".to_owned(), Some("b".to_owned())));
    }
}

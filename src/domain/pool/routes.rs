//! The routes of a pool, counted apart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::pool::Tally;

/// What each route of a pool has served, by a short text of it such as
/// `shop.example/api/*`. Empty where there is one alone, of which the pool's own
/// tally tells all.
#[derive(Debug, Default)]
pub struct Routes(BTreeMap<Arc<str>, Arc<Tally>>);

impl Routes {
    /// A route that was there `before` counts on.
    pub fn build(names: BTreeSet<String>, before: Option<&Self>) -> Self {
        if names.len() < 2 {
            return Self::default();
        }
        let rest = (names.len() > ROUTES_MAX).then(|| OTHER.to_owned());
        let named = names.into_iter().take(ROUTES_MAX).chain(rest);
        let counted = named.map(|name| {
            let known = before.and_then(|before| before.0.get_key_value(name.as_str()));
            known.map_or_else(
                || (name.into(), Arc::default()),
                |(name, tally)| (Arc::clone(name), Arc::clone(tally)),
            )
        });
        Self(counted.collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the requests of this route are counted beside the pool.
    pub fn tally(&self, name: &str) -> Option<&Arc<Tally>> {
        self.0.get(name).or_else(|| self.0.get(OTHER))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tally)> {
        self.0.iter().map(|(name, tally)| (&**name, &**tally))
    }
}

/// Routes of one pool that are counted apart; a rule may name hundreds of hosts,
/// and a tally has some 200 bytes and 25 lines of a scrape.
const ROUTES_MAX: usize = 64;

/// Counts the routes beyond. No route is called so, since each has a `/`.
const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_route_alone_is_not_counted_apart() {
        assert!(Routes::build(names(1), None).is_empty());
        assert_eq!(Routes::build(names(2), None).iter().count(), 2);
    }

    #[test]
    fn routes_beyond_the_bound_are_counted_as_one() {
        let at_the_bound = Routes::build(names(ROUTES_MAX), None);
        assert_eq!(at_the_bound.iter().count(), ROUTES_MAX);
        assert!(at_the_bound.tally("other").is_none());

        let beyond = Routes::build(names(ROUTES_MAX + 2), None);
        assert_eq!(beyond.iter().count(), ROUTES_MAX + 1);
        let last = |back: usize| beyond.tally(&name(ROUTES_MAX + 2 - back)).unwrap();
        assert!(Arc::ptr_eq(last(1), last(2)) && !Arc::ptr_eq(last(2), last(3)));
    }

    #[test]
    fn a_route_that_stays_counts_on() {
        let before = Routes::build(names(2), None);
        before.tally(&name(1)).unwrap().record(200, Duration::ZERO);
        let after = Routes::build([name(1), name(7)].into(), Some(&before));
        let counts = |at| after.tally(&name(at)).unwrap().duration.counts()[0];
        assert_eq!((counts(1), counts(7)), (1, 0));
        assert!(after.tally(&name(0)).is_none());
    }

    fn names(count: usize) -> BTreeSet<String> {
        (0..count).map(name).collect()
    }

    fn name(at: usize) -> String {
        format!("{at:03}.example/*")
    }
}

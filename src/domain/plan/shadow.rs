//! Pools whose every request another one takes first.

use std::sync::Arc;

use crate::domain::names::{HostPattern, PoolName};
use crate::domain::plan::Plan;
use crate::domain::problem::{Problem, Subject};
use crate::domain::rule::Rule;

/// One problem for each pool that no request reaches, since pools of a larger
/// priority take all that it asks for.
///
/// That may be meant, as with a page for the time of maintenance, so that it is no
/// problem of what runs; but nobody writes a file so.
pub fn shadowed(plan: &Plan, prefix: &str) -> Vec<Problem> {
    let mut left = COMPARED_MAX;
    let told = plan.pools.iter().filter_map(|(name, pool)| {
        let rule = pool.access.rule();
        let mut by: Vec<&PoolName> = Vec::new();
        for (host, path) in asked(rule) {
            left = left.checked_sub(plan.pools.len())?;
            let takes = |(_, other): &(_, &Rule)| takes(other, rule, host, path);
            let mut rules = plan.pools.iter().map(|(name, pool)| (name, pool.access.rule()));
            by.push(rules.find(takes)?.0);
        }
        by.sort_unstable();
        by.dedup();
        let names: Vec<_> = by.iter().take(SHOWN_MAX).map(|it| format!("`{it}`")).collect();
        let noun = if by.len() == 1 { "pool" } else { "pools" };
        let verb = if by.len() == 1 { "takes" } else { "take" };
        Some(Problem::new(
            Subject::Pool(name.to_string().into()),
            format!(
                "no request reaches it, since {noun} {} {verb} all that it asks for: {rule}",
                names.join(", ")
            ),
            format!(
                "give it a `{prefix}.priority` as large, or give the other a narrower \
                 `{prefix}.host` or `{prefix}.path`"
            ),
        ))
    });
    told.collect()
}

/// A path of a rule.
#[derive(Clone, Copy, Debug)]
enum Path<'a> {
    Prefix(&'a str),
    Exact(&'a str),
}

/// Every host with every path that a rule asks for.
fn asked(rule: &Rule) -> impl Iterator<Item = (Option<&HostPattern>, Path<'_>)> {
    let hosts = rule.hosts.iter().map(Some).chain(rule.hosts.is_empty().then_some(None));
    hosts.flat_map(|host| {
        let any = rule.prefixes.is_empty() && rule.exact.is_empty();
        let any = any.then_some(Path::Prefix("/"));
        let prefixes = rule.prefixes.iter().map(|path| Path::Prefix(path));
        let exact = rule.exact.iter().map(|path| Path::Exact(path));
        prefixes.chain(exact).chain(any).map(move |path| (host, path))
    })
}

/// Whether `other` comes before `rule` and takes this host and path whole. A
/// pattern for hosts takes nothing from one that is narrower, whatever its
/// priority, and of one priority the narrower path comes first.
fn takes(other: &Rule, rule: &Rule, host: Option<&HostPattern>, path: Path<'_>) -> bool {
    if other.priority <= rule.priority {
        return false;
    }
    let has_host = match host {
        Some(host) => other.hosts.contains(host),
        None => other.hosts.is_empty(),
    };
    let asks_no_more = other.conditions.is_none() || other.conditions == rule.conditions;
    let any_path = other.prefixes.is_empty() && other.exact.is_empty();
    let has_path = any_path
        || match path {
            Path::Prefix(path) => covered(&other.prefixes, path),
            Path::Exact(path) => {
                covered(&other.prefixes, path) || other.exact.iter().any(|it| **it == *path)
            }
        };
    has_host && asks_no_more && has_path
}

/// Whether `path` is one of these, or below one.
fn covered(prefixes: &[Arc<str>], path: &str) -> bool {
    prefixes.iter().any(|prefix| {
        let below = path.strip_prefix(prefix.trim_end_matches('/'));
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Rules that are compared, path by path; beyond it no more pools are told of.
const COMPARED_MAX: usize = 200_000;

/// Pools that a problem names besides its own.
const SHOWN_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::plan::PoolPlan;
    use crate::domain::pool::PoolSettings;
    use crate::domain::rule::{Access, Conditions};

    fn rule(hosts: &[&str], prefixes: &[&str], priority: i32) -> Rule {
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        let prefixes = prefixes.iter().map(|&path| path.into()).collect();
        Rule { hosts, prefixes, priority, ..Rule::default() }
    }

    fn is_shadowed(lower: &Rule, upper: &Rule) -> bool {
        let pool = |name: &str, rule: &Rule| {
            let access = Access::Open(rule.clone());
            let settings = PoolSettings::default();
            let plan = PoolPlan { access, settings, members: Vec::new() };
            (PoolName::new(None, name).unwrap(), plan)
        };
        let pools = BTreeMap::from([pool("lower", lower), pool("upper", upper)]);
        let told = shadowed(&Plan { pools, ..Plan::default() }, "lb");
        assert!(told.iter().all(|it| it.subject == Subject::Pool("lower".into())), "{told:?}");
        !told.is_empty()
    }

    #[test]
    fn a_pool_is_shadowed_where_a_larger_priority_takes_all_of_it() {
        for (hosts, paths, upper_hosts, upper_paths, shadowed) in [
            (&[][..], &[][..], &[][..], &[][..], true),
            (&["a.org"], &["/api"], &["a.org"], &["/"], true),
            (&["a.org"], &["/api/v1"], &["a.org", "b.org"], &["/api"], true),
            (&["a.org"], &["/apis"], &["a.org"], &["/api"], false),
            (&["a.org"], &["/", "/api"], &["a.org"], &["/api"], false),
            (&["a.org", "b.org"], &[], &["a.org"], &[], false),
            // Its host is narrower than any.
            (&["a.org"], &[], &[], &[], false),
            (&["a.org"], &[], &["*.org"], &[], false),
        ] {
            let (lower, upper) = (rule(hosts, paths, 0), rule(upper_hosts, upper_paths, 1));
            assert_eq!(is_shadowed(&lower, &upper), shadowed, "{lower} by {upper}");
            assert!(!is_shadowed(&lower, &Rule { priority: 0, ..upper }));
        }
    }

    #[test]
    fn who_asks_for_more_leaves_the_rest() {
        let conditions = Conditions { methods: vec![http::Method::GET], ..Conditions::default() };
        let narrow = Rule { conditions: Some(Arc::new(conditions)), ..rule(&[], &[], 1) };
        assert!(!is_shadowed(&rule(&[], &[], 0), &narrow));
        assert!(is_shadowed(&Rule { priority: 0, ..narrow.clone() }, &narrow));
        let exact = Rule { exact: vec!["/a".into()], ..Rule::default() };
        assert!(is_shadowed(&exact, &rule(&[], &["/a"], 1)));
    }
}

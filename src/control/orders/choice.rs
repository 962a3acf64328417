//! Which replicas an operator means.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::control::orders::Refusal;
use crate::domain::plan::{Member, Plan};
use crate::domain::suggest;
use crate::domain::world::WorkloadId;

/// The workloads that `names` name: by the container's name, by `host:port` of
/// a written server, or by the beginning of a container's id. A name means every
/// replica that bears it, in whatever pool.
pub(in crate::control) fn choose(
    plan: &Plan,
    names: &[String],
) -> Result<BTreeSet<WorkloadId>, Refusal> {
    let members: Vec<&Member> = plan.pools.values().flat_map(|pool| &pool.members).collect();
    let mut chosen = BTreeSet::new();
    for name in names {
        chosen.extend(find(&members, name)?);
    }
    Ok(chosen)
}

fn find(members: &[&Member], name: &str) -> Result<BTreeSet<WorkloadId>, Refusal> {
    let those = |is_meant: &dyn Fn(&Member) -> bool| -> BTreeMap<WorkloadId, Arc<str>> {
        let meant = members.iter().filter(|it| is_meant(it));
        meant.map(|it| (it.workload.clone(), Arc::clone(&it.name))).collect()
    };
    let mut found = those(&|it| *it.name == *name);
    if found.is_empty() && is_id(name) {
        let prefix = name.to_ascii_lowercase();
        found = those(&|it| it.workload.id.starts_with(&prefix));
        let ids: BTreeSet<_> = found.keys().map(|it| &it.id).collect();
        if ids.len() > 1 {
            let hint = format!("name one of them: {}", listed(found.into_values()));
            return Err(Refusal::Ambiguous { prefix: shown(name), hint });
        }
    }
    if found.is_empty() {
        let hint = hint(members, name);
        return Err(Refusal::Unknown { name: shown(name), hint });
    }
    Ok(found.into_keys().collect())
}

/// Whether it is long enough to be taken for the beginning of an id: as long as
/// the Docker CLI shows it.
fn is_id(name: &str) -> bool {
    name.len() >= ID_LEN_MIN && name.chars().all(|c| c.is_ascii_hexdigit())
}

fn hint(members: &[&Member], name: &str) -> String {
    if members.is_empty() {
        return "there are no replicas at all".to_owned();
    }
    let known = listed(members.iter().map(|it| Arc::clone(&it.name)));
    match suggest::nearest(&shown(name), members.iter().map(|it| &*it.name)) {
        Some(near) => format!("did you mean `{near}`? There are: {known}"),
        None => format!("there are: {known}"),
    }
}

fn listed(names: impl Iterator<Item = Arc<str>>) -> String {
    let names: BTreeSet<_> = names.collect();
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let first: Vec<_> = names.iter().take(NAMES_SHOWN).map(|name| format!("`{name}`")).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", first.join(", "))
}

/// What was given, as far as a person needs to recognise it.
fn shown(name: &str) -> String {
    name.chars().take(NAME_SHOWN).collect()
}

const ID_LEN_MIN: usize = 12;

/// Of the replicas that there are.
const NAMES_SHOWN: usize = 20;

/// Characters of a name that was given; it may be anything.
const NAME_SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::PoolName;
    use crate::domain::plan::PoolPlan;
    use crate::domain::pool::PoolSettings;
    use crate::domain::rule::{Access, Rule};
    use crate::domain::upstream::Scheme;
    use crate::domain::world::{Health, RunState};

    #[test]
    fn a_name_means_every_replica_that_bears_it_in_every_pool() {
        let plan = shop();
        assert_eq!(chosen(&plan, &["shop-web-1"]), ["aaaaaaaaaaaa1"]);
        assert_eq!(chosen(&plan, &["db:5432"]), ["one/db:5432", "two/db:5432"]);
        assert_eq!(chosen(&plan, &["shop-web-1", "shop-web-1"]), ["aaaaaaaaaaaa1"]);
    }

    #[test]
    fn an_id_may_be_cut_short_as_docker_shows_it() {
        let plan = shop();
        assert_eq!(chosen(&plan, &["AAAAAAAAAAAA1"]), ["aaaaaaaaaaaa1"]);
        assert!(choose(&plan, &["aaaaaaaaaaa".to_owned()]).is_err(), "11 digits are too few");
    }

    #[test]
    fn an_id_that_two_containers_share_is_refused_with_their_names() {
        let refused = choose(&shop(), &["aaaaaaaaaaaa".to_owned()]).unwrap_err();
        assert_eq!(refused.to_string(), "the ids of several containers begin with `aaaaaaaaaaaa`");
        assert_eq!(refused.hint(), "name one of them: `shop-web-1`, `shop-web-2`");
    }

    #[test]
    fn an_unknown_name_is_refused_with_what_was_meant_and_what_there_is() {
        let refused = choose(&shop(), &["shop-wbe-1".to_owned()]).unwrap_err();
        assert_eq!(refused.to_string(), "no replica is named `shop-wbe-1`");
        assert_eq!(
            refused.hint(),
            "did you mean `shop-web-1`? There are: `db:5432`, `shop-web-1`, `shop-web-2`"
        );
        let refused = choose(&Plan::default(), &["x".to_owned()]).unwrap_err();
        assert_eq!(refused.hint(), "there are no replicas at all");
    }

    #[test]
    fn one_unknown_name_refuses_the_whole_order() {
        let names = ["shop-web-1", "nothing"].map(str::to_owned);
        assert!(choose(&shop(), &names).is_err());
    }

    #[test]
    fn a_refusal_repeats_a_bounded_part_of_what_was_given_and_of_what_there_is() {
        let many = (0..500).map(|n| member(&format!("id-{n}"), &format!("web-{n:03}")));
        let plan = plan([("web", many.collect())]);
        let refused = choose(&plan, &["x".repeat(50_000)]).unwrap_err();
        assert!(refused.to_string().len() < 200 && refused.hint().len() < 400, "{refused}");
        assert!(refused.hint().ends_with("`web-019` and 480 more"), "{}", refused.hint());
    }

    fn chosen(plan: &Plan, names: &[&str]) -> Vec<String> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        choose(plan, &names).unwrap().into_iter().map(|it| it.id.to_string()).collect()
    }

    /// `shop-web-1` is in two pools; two pools have a server of one name.
    fn shop() -> Plan {
        let (one, two) =
            (member("aaaaaaaaaaaa1", "shop-web-1"), member("aaaaaaaaaaaa2", "shop-web-2"));
        plan([
            ("web", vec![one.clone(), two, member("one/db:5432", "db:5432")]),
            ("admin", vec![one, member("two/db:5432", "db:5432")]),
        ])
    }

    fn plan<const N: usize>(pools: [(&str, Vec<Member>); N]) -> Plan {
        let pools = pools.map(|(name, members)| {
            let access = Access::Open(Rule::default());
            let pool = PoolPlan { access, settings: PoolSettings::default(), members };
            (PoolName::new(None, name).unwrap(), pool)
        });
        Plan { pools: pools.into(), ..Plan::default() }
    }

    fn member(id: &str, name: &str) -> Member {
        Member {
            workload: WorkloadId { id: id.into(), life: 0 },
            name: name.into(),
            service: None,
            host_name: None,
            run: RunState::Running,
            drained: false,
            health: Health::None,
            address: None,
            scheme: Scheme::Http,
            weight: 1,
            backup: false,
            max_conns: None,
            check: None,
        }
    }
}

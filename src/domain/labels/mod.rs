//! What a container asks for, read from its labels.

mod auth;
mod choice;
mod compress;
mod conditions;
mod cors;
mod edge;
mod error_page;
mod group;
mod guards;
mod health;
mod middlewares;
mod needs;
mod own;
pub mod path;
mod rate;
mod redirect;
pub mod schema;
mod unknown;
mod upstream;
pub mod value;
mod voice;
mod wish;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

pub use edge::Served;

use crate::domain::files::Files;
use crate::domain::labels::group::{Group, Groups};
use crate::domain::labels::own::Own;
use crate::domain::labels::schema::Setting;
use crate::domain::labels::value::InvalidValue;
use crate::domain::labels::voice::Voice;
use crate::domain::labels::wish::Wish;
use crate::domain::names::PoolName;
use crate::domain::pool::PoolSettings;
use crate::domain::problem::Problem;
use crate::domain::rule::Access;
use crate::domain::upstream::Scheme;
use crate::domain::world::{Place, Workload};

/// How what runs is read, from the settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LabelSettings {
    /// `lb` unless set otherwise.
    pub prefix: Arc<str>,
    /// Only containers that carry all of these labels are ours.
    pub constraints: Vec<(String, String)>,
    /// Where we listen ourselves: what is sent there would come round again.
    pub listeners: Vec<SocketAddr>,
    /// What the files hold that labels name.
    pub files: Arc<Files>,
    /// None where nobody knows: then whatever is asked for is taken to be there.
    pub served: Option<Served>,
}

impl Default for LabelSettings {
    fn default() -> Self {
        Self {
            prefix: "lb".into(),
            constraints: Vec::new(),
            listeners: Vec::new(),
            files: Arc::default(),
            served: None,
        }
    }
}

/// All that the labels of one workload say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reading {
    /// The default group first, the others by their name.
    pub memberships: Vec<Membership>,
    pub problems: Vec<Problem>,
    /// The files that were looked up, whether they are known or not.
    pub files: BTreeSet<Arc<str>>,
    /// Why it joins no pool; none if it does.
    pub left_out: Option<LeftOut>,
}

/// Why a workload joins no pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LeftOut {
    /// It has no label with our prefix.
    Unlabelled,
    /// It lacks this label with this value, which the setting `constraint` wants.
    Constraint(String, String),
    /// `enable=false`.
    Disabled,
    /// Made by `docker-compose run`, without `oneoff=true`.
    OneOff,
    /// None of its labels names a pool that can be used; a problem says why.
    NoPool,
}

/// A pool that a workload joins, and what it asks of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Membership {
    pub pool: PoolName,
    /// What stands before its labels: `lb`, or `lb.admin` for a group.
    pub stem: String,
    pub port: Option<u16>,
    pub network: Option<Arc<str>>,
    /// None if it wants to be spoken to in a way that we do not know.
    pub scheme: Option<Scheme>,
    pub weight: u16,
    pub backup: bool,
    /// Requests that it may have at once; none: any number.
    pub max_conns: Option<NonZeroU32>,
    pub settings: PoolSettings,
    /// Closed if a guard cannot be used, with the readable rest of the rule.
    pub access: Access,
}

/// Reads the labels of one workload. Who opts out, is not ours by the
/// constraints, or was made by `docker-compose run`, asks for nothing.
pub fn read(workload: &Workload, settings: &LabelSettings) -> Reading {
    let own = own_labels(workload, &settings.prefix);
    if own.is_empty() {
        return Reading::without(LeftOut::Unlabelled);
    }
    if let Some((label, value)) = unmet(workload, settings) {
        return Reading::without(LeftOut::Constraint(label.clone(), value.clone()));
    }
    let mut voice = Voice::new(workload, settings);
    let mut groups = Groups::sort(&own, &mut voice);
    let mut wish = Wish::read(&groups.default, settings, &mut voice);
    if !wish.enable {
        return Reading::without(LeftOut::Disabled);
    }
    if workload.oneoff && !wish.oneoff {
        return Reading::without(LeftOut::OneOff);
    }

    let service = workload.service.as_ref().unwrap_or(&workload.name);
    let named = wish.pool.as_ref().and_then(|(_, name)| name.clone());
    let pool = named.unwrap_or_else(|| Arc::clone(service));
    wish.closed |= groups.settle_strays(&mut voice);

    let mut memberships = Vec::new();
    if joins_default(&groups) {
        if let Some((known, None)) = &wish.pool {
            voice.invalid(known, Setting::Pool, &InvalidValue::PoolName);
        }
        match pool_name(workload, &wish, &pool) {
            Some(pool) => memberships.push(wish.join(pool, &groups.default)),
            None => voice.no_default_pool(service),
        }
    }
    for group in groups.further.values() {
        let wish = Wish::read(group, settings, &mut voice);
        match &wish.pool {
            _ if !wish.enable => {}
            Some((known, None)) => voice.no_pool(known),
            Some((_, Some(name))) => {
                if let Some(pool) = pool_name(workload, &wish, name) {
                    memberships.push(wish.join(pool, group));
                }
            }
            None => {}
        }
    }
    let (problems, files) = voice.finish();
    let left_out = memberships.is_empty().then_some(LeftOut::NoPool);
    Reading { memberships, problems, files, left_out }
}

impl Reading {
    fn without(reason: LeftOut) -> Self {
        Self { left_out: Some(reason), ..Self::default() }
    }
}

/// `enable` and `oneoff` speak of the container: beside a group they alone do
/// not ask for the default pool too.
fn joins_default(groups: &Groups<'_>) -> bool {
    let of_container = |key| ["enable", "oneoff"].contains(&key);
    let alone = groups.further.is_empty();
    groups.default.labels.iter().any(|known| alone || !of_container(known.label.key))
}

fn pool_name(workload: &Workload, wish: &Wish<'_>, name: &str) -> Option<PoolName> {
    let project = workload.project.as_deref().filter(|_| !wish.shared);
    PoolName::new(project, name).ok()
}

impl Wish<'_> {
    fn join(self, pool: PoolName, group: &Group<'_>) -> Membership {
        Membership {
            pool,
            stem: group.stem.clone(),
            port: self.port,
            network: self.network,
            scheme: self.scheme,
            weight: self.weight,
            backup: self.backup,
            max_conns: self.max_conns,
            settings: self.settings,
            access: if self.closed { Access::Closed(self.rule) } else { Access::Open(self.rule) },
        }
    }
}

/// The labels with our prefix; its case does not matter either.
fn own_labels<'a>(workload: &'a Workload, prefix: &str) -> Vec<Own<'a>> {
    let own = |(written, value): (&'a String, &'a String)| {
        let (head, rest) = written.split_at_checked(prefix.len())?;
        let key = rest.strip_prefix('.').filter(|_| head.eq_ignore_ascii_case(prefix))?;
        Some(Own { written, key, value })
    };
    workload.labels.iter().filter_map(own).collect()
}

/// The first constraint that a container does not meet: they divide the
/// containers of one engine between balancers. Servers that are written down are
/// always ours.
fn unmet<'a>(workload: &Workload, settings: &'a LabelSettings) -> Option<&'a (String, String)> {
    let lacks = |(label, value): &&(String, String)| workload.labels.get(label) != Some(value);
    match workload.place {
        Place::Container { .. } => settings.constraints.iter().find(lacks),
        Place::Fixed(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::world::{Health, NetworkMode, RunState, WorkloadId};

    #[test]
    fn who_joins_no_pool_is_told_why() {
        let constraints = vec![("stage".to_owned(), "prod".to_owned())];
        let settings = LabelSettings { constraints, ..LabelSettings::default() };
        let unmet = LeftOut::Constraint("stage".to_owned(), "prod".to_owned());
        for (labels, oneoff, left_out) in [
            (&[("stage", "prod"), ("lb.pool", "a")][..], false, None),
            (&[("stage", "prod")], false, Some(LeftOut::Unlabelled)),
            (&[("stage", "test"), ("lb.pool", "a")], false, Some(unmet.clone())),
            (&[("lb.pool", "a")], false, Some(unmet)),
            (
                &[("stage", "prod"), ("lb.pool", "a"), ("lb.enable", "false")],
                false,
                Some(LeftOut::Disabled),
            ),
            (&[("stage", "prod"), ("lb.pool", "a")], true, Some(LeftOut::OneOff)),
            (&[("stage", "prod"), ("lb.pol", "a")], false, Some(LeftOut::NoPool)),
        ] {
            let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let reading = read(&workload(labels.collect(), oneoff), &settings);
            assert_eq!(reading.left_out, left_out);
            assert_eq!(reading.memberships.is_empty(), left_out.is_some());
        }
    }

    fn workload(labels: std::collections::BTreeMap<String, String>, oneoff: bool) -> Workload {
        Workload {
            id: WorkloadId { id: "x".into(), life: 0 },
            name: "x".into(),
            project: None,
            service: None,
            host_name: None,
            labels,
            run: RunState::Running,
            health: Health::None,
            created: 0,
            place: Place::Container { mode: NetworkMode::Own, networks: Vec::new(), exposed: None },
            stop_timeout: None,
            exit_code: None,
            oneoff,
        }
    }
}

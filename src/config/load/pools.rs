//! Pools on their way through the layers.

use std::collections::BTreeMap;

use crate::config::layer::{Written, WrittenPool};
use crate::config::load::Reader;
use crate::config::mistake::{Mistake, Place, shown};
use crate::config::value;
use crate::config::{Server, StaticPool};
use crate::domain::names::PoolName;
use crate::domain::suggest;

type PoolPlaces = BTreeMap<PoolName, Place>;

type LabelPlaces = BTreeMap<(PoolName, String), Place>;

/// A pool on its way through the layers.
pub(super) struct Pool {
    place: Place,
    servers: Vec<Server>,
    /// Whether anything stands for its servers, readable or not.
    has_servers: bool,
    labels: BTreeMap<String, (String, Place)>,
}

impl Reader {
    /// A pool as a flag or a word of `EVENKEEL_POOL` names it.
    pub(super) fn flat_pool(&mut self, written: &Written) -> Option<WrittenPool> {
        match value::pool(&written.text) {
            Ok((name, servers)) => Some(WrittenPool {
                name,
                place: written.place.clone(),
                servers: vec![(servers.to_owned(), written.place.clone())],
                labels: BTreeMap::new(),
            }),
            Err(fault) => {
                self.fault(written, fault);
                None
            }
        }
    }

    /// Lays the pools of one layer over those of the layers before: servers
    /// replace servers, labels stay.
    pub(super) fn lay_pools(&mut self, pools: Vec<WrittenPool>) {
        let mut renewed: Vec<PoolName> = Vec::new();
        for written in pools {
            let servers = self.servers(&written);
            let has_servers = !written.servers.is_empty();
            let pool = self.pools.entry(written.name.clone()).or_insert_with(|| Pool {
                place: written.place,
                servers: Vec::new(),
                has_servers,
                labels: BTreeMap::new(),
            });
            if has_servers && !renewed.contains(&written.name) {
                pool.servers.clear();
                renewed.push(written.name);
            }
            pool.has_servers |= has_servers;
            pool.labels.extend(written.labels);
            for server in servers {
                if !pool.servers.contains(&server) {
                    pool.servers.push(server);
                }
            }
        }
    }

    fn servers(&mut self, pool: &WrittenPool) -> Vec<Server> {
        let mut servers = Vec::new();
        for (text, place) in &pool.servers {
            let mut parts = value::list(text).peekable();
            if parts.peek().is_none() {
                let message = format!("pool `{}` has no servers here", pool.name);
                let hint = "write at least one `HOST:PORT`";
                self.mistakes.push(Mistake::new(place.clone(), message, hint));
            }
            for part in parts {
                match value::server(part) {
                    Ok(server) => servers.push(server),
                    Err(fault) => {
                        let message = format!(
                            "server `{}` of pool `{}` {}",
                            shown(part),
                            pool.name,
                            fault.what
                        );
                        self.mistakes.push(Mistake::new(place.clone(), message, fault.hint));
                    }
                }
            }
        }
        servers
    }

    /// Hands the pools to the settings; the answer is where they and their
    /// labels stand.
    pub(super) fn finish_pools(&mut self) -> (PoolPlaces, LabelPlaces) {
        let mut places = BTreeMap::new();
        let mut labels = BTreeMap::new();
        for (name, pool) in std::mem::take(&mut self.pools) {
            if !pool.has_servers {
                self.mistakes.push(without_servers(&name, &pool.place, pool.labels.keys()));
            }
            let mut texts = BTreeMap::new();
            for (key, (text, place)) in pool.labels {
                labels.insert((name.clone(), key.clone()), place);
                texts.insert(key, text);
            }
            places.insert(name.clone(), pool.place);
            self.config.pools.push(StaticPool { name, servers: pool.servers, labels: texts });
        }
        (places, labels)
    }
}

fn without_servers<'a>(
    name: &PoolName,
    place: &Place,
    keys: impl Iterator<Item = &'a String>,
) -> Mistake {
    let meant = keys.into_iter().find(|key| suggest::nearest(key, ["servers"]).is_some());
    let hint = meant.map_or_else(
        || "add `servers = [\"HOST:PORT\"]`".to_owned(),
        |meant| format!("did you mean `servers` by `{meant}`?"),
    );
    Mistake::new(place.clone(), format!("pool `{name}` has no servers"), hint)
}

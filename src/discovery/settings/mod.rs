//! Servers written in the settings: resolved, and resolved again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use crate::config::{Server, StaticPool};
use crate::domain::names::SourceName;
use crate::domain::world::{
    Health, Observation, Place, Report, RunState, SourceHealth, Workload, WorkloadId,
};

/// Reports the servers of `pools` and resolves their names every 30 s, sooner
/// after a failure; for ever, or until nobody takes the reports any more.
pub async fn watch(pools: Vec<StaticPool>, label_prefix: Arc<str>, reports: mpsc::Sender<Report>) {
    let mut names = Names::of(&pools);
    loop {
        names.resolve().await;
        let source = SourceName::settings;
        let health = names.health();
        if reports.send(Report::Health { source: source(), health }).await.is_err() {
            return;
        }
        // Also if it is the same as before: it is known to hold still.
        let observation = observation(&pools, &label_prefix, &names);
        if reports
            .send(Report::Seen { source: source(), observation, event_at: None })
            .await
            .is_err()
        {
            return;
        }
        sleep(names.pause()).await;
    }
}

/// What the servers resolve to.
struct Names {
    known: BTreeMap<Server, Known>,
    /// How many rounds in a row left something unresolved.
    failures: u32,
}

/// What is known of one server.
#[derive(Debug, Default)]
struct Known {
    /// Kept over a failed lookup.
    addresses: BTreeSet<SocketAddr>,
    fault: Option<String>,
}

impl Names {
    fn of(pools: &[StaticPool]) -> Self {
        let servers = pools.iter().flat_map(|pool| &pool.servers);
        let known = servers.map(|server| (server.clone(), Known::of_literal(server))).collect();
        Self { known, failures: 0 }
    }

    fn addresses(&self, server: &Server) -> impl Iterator<Item = SocketAddr> {
        self.known.get(server).into_iter().flat_map(|known| &known.addresses).copied()
    }

    async fn resolve(&mut self) {
        let names: Vec<Server> =
            self.known.keys().filter(|server| literal(&server.host).is_none()).cloned().collect();
        let lookups =
            names.into_iter().map(|server| async move { (lookup(&server).await, server) });
        let mut lookups = futures::stream::iter(lookups).buffer_unordered(LOOKUPS_MAX);
        while let Some((answer, server)) = lookups.next().await {
            if let Some(known) = self.known.get_mut(&server) {
                known.learn(&server, answer);
            }
        }
        let failed = self.known.values().any(|known| known.fault.is_some());
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
    }

    fn health(&self) -> SourceHealth {
        let faults = self.known.values().filter_map(|known| known.fault.as_deref());
        let message = faults.collect::<Vec<_>>().join("; ");
        if message.is_empty() {
            return SourceHealth::Connected { peer: counted(self.known.len()) };
        }
        let hint = "check the name and the resolver; in compose, the service must share a network \
                    with the balancer";
        SourceHealth::Away { message, hint: hint.to_owned(), retry_in: self.pause() }
    }

    fn pause(&self) -> Duration {
        match self.failures.checked_sub(1) {
            Some(doublings) => (RETRY_MIN * 2_u32.pow(doublings.min(5))).min(RESOLVE_EVERY),
            None => RESOLVE_EVERY,
        }
    }
}

impl Known {
    fn of_literal(server: &Server) -> Self {
        let address = literal(&server.host).map(|address| SocketAddr::new(address, server.port));
        Self { addresses: address.into_iter().collect(), fault: None }
    }

    /// Takes in an answer. The control loop tells people of a fault, from the
    /// source's health.
    fn learn(&mut self, server: &Server, answer: io::Result<BTreeSet<SocketAddr>>) {
        match answer {
            Ok(addresses) => {
                self.fault = None;
                self.addresses = addresses;
            }
            Err(error) => {
                let fault = format!("cannot resolve the server `{}`: {error}", server.host);
                debug!(last_known = self.addresses.len(), "{fault}");
                self.fault = Some(fault);
            }
        }
    }
}

fn counted(servers: usize) -> String {
    if servers == 1 { "1 server".to_owned() } else { format!("{servers} servers") }
}

async fn lookup(server: &Server) -> io::Result<BTreeSet<SocketAddr>> {
    let began = Instant::now();
    let answer = timeout(LOOKUP_TIMEOUT, lookup_host((&*server.host, server.port))).await;
    let addresses: BTreeSet<_> = match answer {
        Ok(answer) => answer?.take(ADDRESSES_MAX).collect(),
        Err(_) => {
            let text = format!("no answer within {} s", began.elapsed().as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
    };
    if addresses.is_empty() {
        return Err(io::Error::other("the name has no address"));
    }
    Ok(addresses)
}

/// The address in `host`; IPv6 may stand in brackets.
fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

fn observation(pools: &[StaticPool], prefix: &str, names: &Names) -> Observation {
    let mut workloads = BTreeMap::new();
    for pool in pools {
        let mut labels = BTreeMap::from([(format!("{prefix}.pool"), pool.name.name.to_string())]);
        labels.extend(
            pool.labels.iter().map(|(key, value)| (format!("{prefix}.{key}"), value.clone())),
        );
        for server in &pool.servers {
            for address in names.addresses(server) {
                let name = match literal(&server.host) {
                    Some(_) => address.to_string(),
                    None => format!("{}:{}", server.host, server.port),
                };
                let id =
                    WorkloadId { id: format!("{}/{name}/{address}", pool.name).into(), life: 0 };
                let mut workload = fixed(id, &name, &labels, address);
                workload.host_name = Some(Arc::clone(&server.host));
                workloads.insert(workload.id.clone(), workload);
            }
        }
    }
    Observation { workloads: workloads.into_values().collect(), ..Observation::default() }
}

fn fixed(
    id: WorkloadId,
    name: &str,
    labels: &BTreeMap<String, String>,
    address: SocketAddr,
) -> Workload {
    Workload {
        id,
        name: name.into(),
        project: None,
        service: None,
        host_name: None,
        labels: labels.clone(),
        run: RunState::Running,
        health: Health::None,
        created: 0,
        place: Place::Fixed(address),
        stop_timeout: None,
        exit_code: None,
        oneoff: false,
    }
}

const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// After the first failure; doubled after each further one.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// The first observation waits for all names, for so long at most.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// At the same time.
const LOOKUPS_MAX: usize = 16;

/// Of one name.
const ADDRESSES_MAX: usize = 256;

#[cfg(test)]
mod tests;

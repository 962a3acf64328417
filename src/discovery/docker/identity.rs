//! Who we are among the containers, and hence which networks we share.
//!
//! Every file that could tell has a trap: the host name may be anybody's, the
//! cgroup is hidden in a private namespace, and other mounts carry 64-digit
//! ids too. So a candidate counts only when the daemon lists it.

use std::sync::Arc;

use super::wire::Listed;
use super::workload;
use crate::domain::world::{NetworkMode, OwnNetwork, Vantage};

/// The ids that we may have, the likeliest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Candidates(Vec<String>);

impl Candidates {
    /// Reads what this process can know of itself; nothing outside a container.
    pub(super) async fn read() -> Self {
        let read = async |path| tokio::fs::read_to_string(path).await.unwrap_or_default();
        Self::parse(
            &read("/proc/self/mountinfo").await,
            &read("/proc/self/cgroup").await,
            &read("/proc/sys/kernel/hostname").await,
        )
    }

    pub(super) fn parse(mountinfo: &str, cgroup: &str, hostname: &str) -> Self {
        let hostname = hostname.trim();
        // A name that was chosen freely could be anybody's.
        let by_default = hostname.len() == SHORT_ID && is_hex(hostname);
        let mut candidates: Vec<String> = Vec::new();
        for candidate in mountinfo
            .lines()
            .filter_map(mounted_for)
            .chain(cgroup.lines().filter_map(grouped_for))
            .chain(by_default.then_some(hostname))
        {
            if !candidates.iter().any(|known| known == candidate) {
                candidates.push(candidate.to_owned());
            }
        }
        Self(candidates)
    }

    /// Whether the container with this id may be ours.
    pub(super) fn hold(&self, id: &str) -> bool {
        self.0.iter().any(|candidate| id.starts_with(candidate.as_str()))
    }

    /// Where we stand: in the first candidate that the daemon lists, else on
    /// its host.
    pub(super) fn vantage(&self, list: &[Listed]) -> Vantage {
        let named =
            |candidate: &String| list.iter().find(|it| it.id.starts_with(candidate.as_str()));
        let Some(own) = self.0.iter().find_map(named) else {
            return Vantage::Host;
        };
        let network_owner = network_owner(own, list);
        Vantage::Container {
            id: own.id.as_str().into(),
            name: workload::name(own),
            host_network: workload::network_mode(network_owner, list) == NetworkMode::Host,
            networks: networks(network_owner),
        }
    }
}

/// The id in a line of mountinfo that mounts one of the three files which
/// Docker keeps per container; all three are looked at, since a user may mount
/// over any of them. Under `container:x` these are the files of x.
fn mounted_for(line: &str) -> Option<&str> {
    let mut fields = line.split(' ').skip(3);
    let (root, at) = (fields.next()?, fields.next()?);
    let file = at.strip_prefix("/etc/").filter(|file| OWN_FILES.contains(file))?;
    let folder = root.strip_suffix(file)?.strip_suffix('/')?;
    // Podman: `overlay-containers/<id>/userdata/hostname`.
    let folder = folder.strip_suffix("/userdata").unwrap_or(folder);
    let (parent, id) = folder.rsplit_once('/')?;
    (parent.ends_with("containers") && is_id(id)).then_some(id)
}

/// The innermost id in a line of cgroup, such as `/docker/<id>` or
/// `/system.slice/docker-<id>.scope`.
fn grouped_for(line: &str) -> Option<&str> {
    let path = line.splitn(3, ':').nth(2)?;
    path.rsplit('/').find_map(|segment| {
        let segment = segment.strip_suffix(".scope").unwrap_or(segment);
        let id = segment.rsplit('-').next()?;
        is_id(id).then_some(id)
    })
}

/// The container whose networks we use: our own, or that of `container:x`.
fn network_owner<'a>(own: &'a Listed, list: &'a [Listed]) -> &'a Listed {
    match workload::network_mode(own, list) {
        NetworkMode::Container(peer) => list.iter().find(|it| *it.id == *peer).unwrap_or(own),
        NetworkMode::Own | NetworkMode::Host | NetworkMode::None => own,
    }
}

fn networks(listed: &Listed) -> Vec<OwnNetwork> {
    let networks = listed.network_settings.networks.iter();
    networks
        .map(|(name, connection)| {
            let connection = connection.clone().unwrap_or_default();
            OwnNetwork {
                name: Arc::from(name.as_str()),
                network: workload::network_id(name, &connection),
                gateway: connection.gateway.parse().ok(),
                address: workload::address(&connection),
            }
        })
        .collect()
}

fn is_id(text: &str) -> bool {
    text.len() == ID && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

const OWN_FILES: [&str; 3] = ["resolv.conf", "hostname", "hosts"];

const ID: usize = 64;
const SHORT_ID: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const OWN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

    #[test]
    fn the_id_is_found_wherever_an_engine_leaves_it() {
        let mounted = |root: &str, at: &str| {
            format!("604 590 8:1 {root} {at} rw,relatime - ext4 /dev/sda1 rw")
        };
        let own_file = |file: &str| {
            mounted(&format!("/var/lib/docker/containers/{OWN}/{file}"), &format!("/etc/{file}"))
        };
        let table = [
            ("resolv.conf", own_file("resolv.conf"), String::new(), "web"),
            ("a bound hostname hides one", own_file("hosts"), String::new(), "web"),
            (
                "another data root",
                mounted(&format!("/docker/containers/{OWN}/hostname"), "/etc/hostname"),
                String::new(),
                "",
            ),
            (
                "Podman",
                mounted(
                    &format!("/run/containers/storage/overlay-containers/{OWN}/userdata/hosts"),
                    "/etc/hosts",
                ),
                String::new(),
                "",
            ),
            (
                "cgroup v1",
                String::new(),
                format!("12:pids:/docker/{OWN}\n11:cpu:/docker/{OWN}"),
                "web",
            ),
            (
                "cgroup v1, an engine in a container",
                String::new(),
                format!("12:pids:/docker/{OTHER}/docker/{OWN}"),
                "",
            ),
            (
                "cgroup v2 by systemd",
                String::new(),
                format!("0::/system.slice/docker-{OWN}.scope"),
                "",
            ),
            (
                "Podman's cgroup",
                String::new(),
                format!("0::/machine.slice/libpod-{OWN}.scope/container"),
                "",
            ),
        ];
        for (what, mountinfo, cgroup, hostname) in table {
            let found = Candidates::parse(&mountinfo, &cgroup, hostname);
            assert_eq!(found, Candidates(vec![OWN.to_owned()]), "{what}");
        }
        assert_eq!(
            Candidates::parse("", "", "0123456789ab\n"),
            Candidates(vec![OWN[..12].to_owned()])
        );
    }

    #[test]
    fn nothing_else_with_an_id_in_it_is_taken_for_ours() {
        let lines = [
            format!("1 2 8:1 /var/lib/docker/overlay2/{OWN}/merged / rw - overlay overlay rw"),
            format!(
                "1 2 8:1 /var/lib/docker/volumes/{OWN}/_data /etc/hosts rw - ext4 /dev/sda1 rw"
            ),
            format!(
                "1 2 8:1 /var/lib/docker/containers/{OWN}/hostname /logs/hostname rw - ext4 /dev/sda1 rw"
            ),
            format!(
                "1 2 8:1 /var/lib/docker/containers/{OWN}/mounts/shm /dev/shm rw - tmpfs shm rw"
            ),
            format!(
                "1 2 8:1 /var/lib/docker/volumes/{OWN}/hosts /etc/hosts rw - ext4 /dev/sda1 rw"
            ),
            "1 2 8:1 /var/lib/docker/containers/short/hosts /etc/hosts rw - ext4 /dev/sda1 rw"
                .to_owned(),
            "1 2".to_owned(),
        ];
        let cgroup = format!("0::/\n1:name=systemd:/user.slice/{}", &OWN[..40]);
        for line in lines {
            assert_eq!(
                Candidates::parse(&line, &cgroup, "balancer"),
                Candidates::default(),
                "{line}"
            );
        }
    }

    #[test]
    fn mounts_come_before_the_cgroup_and_that_before_the_host_name() {
        let mountinfo =
            format!("1 2 8:1 /containers/{OWN}/hosts /etc/hosts rw - ext4 /dev/sda1 rw");
        let found =
            Candidates::parse(&mountinfo, &format!("1:pids:/docker/{OTHER}"), "aaaaaaaaaaaa");
        assert_eq!(found.0, [OWN, OTHER, "aaaaaaaaaaaa"]);
    }

    #[test]
    fn a_candidate_counts_only_when_the_daemon_lists_it() {
        let candidates = Candidates(vec![OTHER.to_owned(), OWN[..12].to_owned()]);
        let own = listed(
            json!({"Id": OWN, "Names": ["/lb"], "HostConfig": {"NetworkMode": "default"},
            "NetworkSettings": {"Networks": {"bridge": {"NetworkID": "n1", "Gateway": "172.17.0.1", "IPAddress": "172.17.0.3"},
                                             "inner": {"NetworkID": "n2", "Gateway": "", "IPAddress": "10.0.0.3"}}}}),
        );
        let vantage = candidates.vantage(&[own]);
        let network = |name: &str, id: &str, gateway: Option<&str>, address: &str| OwnNetwork {
            name: name.into(),
            network: id.into(),
            gateway: gateway.map(|it| it.parse().unwrap()),
            address: Some(address.parse().unwrap()),
        };
        let expected = Vantage::Container {
            id: OWN.into(),
            name: "lb".into(),
            host_network: false,
            networks: vec![
                network("bridge", "n1", Some("172.17.0.1"), "172.17.0.3"),
                network("inner", "n2", None, "10.0.0.3"),
            ],
        };
        assert_eq!(vantage, expected);
        assert_eq!(candidates.vantage(&[]), Vantage::Host);
        assert_eq!(Candidates::default().vantage(&[listed(json!({"Id": OWN}))]), Vantage::Host);
    }

    #[test]
    fn in_the_network_of_another_container_its_networks_are_ours() {
        let list = [
            listed(
                json!({"Id": OWN, "Names": ["/lb"], "HostConfig": {"NetworkMode": format!("container:{OTHER}")}}),
            ),
            listed(
                json!({"Id": OTHER, "HostConfig": {"NetworkMode": "host"}, "NetworkSettings": {"Networks": {"host": {}}}}),
            ),
        ];
        let Vantage::Container { id, host_network, networks, .. } =
            Candidates(vec![OWN.to_owned()]).vantage(&list)
        else {
            panic!("a container");
        };
        assert_eq!((&*id, host_network, networks.len()), (OWN, true, 1));
    }

    fn listed(entry: serde_json::Value) -> Listed {
        serde_json::from_value(entry).unwrap()
    }
}

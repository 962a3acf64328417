//! What the daemon writes, read leniently.
//!
//! bollard's enums are closed: one unknown state fails a whole list and one
//! unknown event ends the stream, so these two answers are read here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::domain::world::Health;

/// One entry of `GET /containers/json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub(super) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) names: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) image: String,
    /// Whole seconds since the epoch.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) created: i64,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) state: String,
    /// For people, such as `Up 3 minutes (healthy)`.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) status: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) ports: Vec<Port>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) host_config: HostConfig,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) network_settings: NetworkSettings,
    /// Since API 1.52.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) health: HealthSummary,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Port {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) private_port: u16,
    #[serde(default, deserialize_with = "or_default", rename = "Type")]
    pub(super) protocol: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostConfig {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) network_mode: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NetworkSettings {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) networks: BTreeMap<String, Option<Connection>>,
}

/// A container's connection to one network.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Connection {
    #[serde(default, deserialize_with = "or_default", rename = "NetworkID")]
    pub(super) network: String,
    #[serde(default, deserialize_with = "or_default", rename = "Gateway")]
    pub(super) gateway: String,
    #[serde(default, deserialize_with = "or_default", rename = "IPAddress")]
    pub(super) ipv4: String,
    #[serde(default, deserialize_with = "or_default", rename = "GlobalIPv6Address")]
    pub(super) ipv6: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HealthSummary {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) status: String,
}

/// Something that happened to a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Event {
    /// The full id of the container.
    pub(super) container: Arc<str>,
    pub(super) happening: Happening,
    /// Nanoseconds since the epoch by the daemon's clock.
    pub(super) at: i64,
    /// The container's labels among them; a label hides an attribute of its name.
    pub(super) attributes: BTreeMap<String, String>,
}

/// What happened, in the order of a container's life.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Happening {
    Created,
    /// To the network with this id.
    Connected(Arc<str>),
    Started,
    /// The new verdict, where the event says it.
    HealthChanged(Option<Health>),
    Renamed,
    Paused,
    Unpaused,
    /// By the signal with this number, where the event says it.
    Signalled(Option<i32>),
    Died,
    Disconnected(Arc<str>),
    Stopped,
    Destroyed,
}

/// `GET /containers/json`, as far as it can be read.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    pub(super) entries: Vec<Listed>,
    pub(super) misread: Vec<Misread>,
}

/// An entry that cannot be read, and what can be told of it all the same.
#[derive(Clone, Debug)]
pub(super) struct Misread {
    pub(super) id: Option<Arc<str>>,
    /// Its name, or its id.
    pub(super) name: String,
    /// The keys of its labels; none if not even they can be read.
    pub(super) labels: Option<Vec<String>>,
    pub(super) fault: String,
}

/// Reads a list; an entry that cannot be read costs only itself.
pub(super) fn list(text: &[u8]) -> Result<List, serde_json::Error> {
    let entries: Vec<Value> = serde_json::from_slice(text)?;
    let mut list = List { entries: Vec::with_capacity(entries.len()), misread: Vec::new() };
    for entry in entries {
        match Listed::deserialize(&entry) {
            Ok(listed) => list.entries.push(listed),
            Err(error) => list.misread.push(Misread::new(&entry, &error)),
        }
    }
    Ok(list)
}

impl Misread {
    fn new(entry: &Value, error: &serde_json::Error) -> Self {
        let id = entry.get("Id").and_then(Value::as_str);
        let name = entry.pointer("/Names/0").and_then(Value::as_str);
        let name = name.map(|name| name.trim_start_matches('/')).or(id).unwrap_or("without a name");
        let labels = entry.get("Labels").and_then(Value::as_object);
        Self {
            id: id.map(Arc::from),
            name: name.to_owned(),
            labels: labels.map(|labels| labels.keys().cloned().collect()),
            fault: error.to_string(),
        }
    }
}

/// Reads an event; none for those that are not about containers or not known.
pub(super) fn event(text: &[u8]) -> Result<Option<Event>, serde_json::Error> {
    let Message { kind, action, actor, time_nano } = serde_json::from_slice(text)?;
    let subject: Arc<str> = actor.id.as_str().into();
    let happening = match (kind.as_str(), action.as_str()) {
        ("network", "connect") => Happening::Connected(Arc::clone(&subject)),
        ("network", "disconnect") => Happening::Disconnected(Arc::clone(&subject)),
        ("container", "create") => Happening::Created,
        ("container", "start") => Happening::Started,
        ("container", "rename") => Happening::Renamed,
        ("container", "pause") => Happening::Paused,
        ("container", "unpause") => Happening::Unpaused,
        ("container", "kill") => {
            Happening::Signalled(actor.attributes.get("signal").and_then(|it| it.parse().ok()))
        }
        ("container", "die") => Happening::Died,
        ("container", "stop") => Happening::Stopped,
        ("container", "destroy") => Happening::Destroyed,
        ("container", other) => match other.strip_prefix("health_status") {
            Some(rest) => Happening::HealthChanged(verdict(rest.trim_start_matches([':', ' ']))),
            None => return Ok(None),
        },
        (_, _) => return Ok(None),
    };
    let container = match &happening {
        Happening::Connected(_) | Happening::Disconnected(_) => {
            match actor.attributes.get("container") {
                Some(container) => container.as_str().into(),
                None => return Ok(None),
            }
        }
        Happening::Created
        | Happening::Started
        | Happening::HealthChanged(_)
        | Happening::Renamed
        | Happening::Paused
        | Happening::Unpaused
        | Happening::Signalled(_)
        | Happening::Died
        | Happening::Stopped
        | Happening::Destroyed => subject,
    };
    Ok(Some(Event { container, happening, at: time_nano, attributes: actor.attributes }))
}

/// A HEALTHCHECK's verdict in the daemon's words; none for other words.
pub(super) fn verdict(word: &str) -> Option<Health> {
    match word {
        "healthy" => Some(Health::Healthy),
        "unhealthy" => Some(Health::Unhealthy),
        "starting" | "health: starting" => Some(Health::Starting),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Message {
    #[serde(default, deserialize_with = "or_default", rename = "Type")]
    kind: String,
    #[serde(default, deserialize_with = "or_default", rename = "Action")]
    action: String,
    #[serde(default, deserialize_with = "or_default", rename = "Actor")]
    actor: Actor,
    #[serde(default, deserialize_with = "or_default", rename = "timeNano")]
    time_nano: i64,
}

#[derive(Default, Deserialize)]
struct Actor {
    #[serde(default, deserialize_with = "or_default", rename = "ID")]
    id: String,
    #[serde(default, deserialize_with = "or_default", rename = "Attributes")]
    attributes: BTreeMap<String, String>,
}

/// Go writes an empty list or map as `null`.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_entry_that_cannot_be_read_costs_only_itself() {
        let text = json!([
            {"Id": "good", "Names": null, "Labels": null, "State": "hibernating"},
            {"Id": "bad", "Names": "no list"},
            {"Names": []},
        ]);
        let List { entries, misread } = list(text.to_string().as_bytes()).unwrap();
        assert_eq!(entries.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(), ["good"]);
        assert_eq!(misread.len(), 2);
        assert_eq!((misread[0].id.as_deref(), &*misread[0].name), (Some("bad"), "bad"));
        assert_eq!((misread[1].id.as_deref(), &*misread[1].name), (None, "without a name"));
        assert!(list(b"{").is_err());
    }

    #[test]
    fn each_event_says_what_happened_to_which_container() {
        use Happening::*;
        let network = json!({"container": "c", "name": "net", "type": "bridge"});
        let net = || Arc::from("n");
        let table = [
            ("container", "create", json!({}), Created),
            ("container", "start", json!({}), Started),
            ("container", "kill", json!({"signal": "15"}), Signalled(Some(15))),
            ("container", "kill", json!({"signal": "none"}), Signalled(None)),
            ("container", "die", json!({"exitCode": "143"}), Died),
            (
                "container",
                "health_status: healthy",
                json!({}),
                HealthChanged(Some(Health::Healthy)),
            ),
            ("container", "health_status", json!({}), HealthChanged(None)),
            ("network", "connect", network.clone(), Connected(net())),
            ("network", "disconnect", network, Disconnected(net())),
        ];
        for (kind, action, attributes, expected) in table {
            let id = if kind == "network" { "n" } else { "c" };
            let text = json!({"Type": kind, "Action": action, "timeNano": 7,
                              "Actor": {"ID": id, "Attributes": attributes}});
            let event = event(text.to_string().as_bytes()).unwrap().unwrap();
            assert_eq!((&*event.container, event.at), ("c", 7), "{action}");
            assert_eq!(event.happening, expected, "{action}");
        }
    }

    #[test]
    fn events_of_other_things_and_unknown_ones_are_passed_over() {
        for (kind, action) in [
            ("container", "exec_create: /check"),
            ("container", "levitate"),
            ("network", "create"),
            ("network", "connect"),
            ("moon", "rise"),
        ] {
            let text = json!({"Type": kind, "Action": action, "Actor": {"ID": "x"}});
            assert_eq!(event(text.to_string().as_bytes()).unwrap(), None, "{kind} {action}");
        }
        assert!(event(b"{\"Type\":").is_err());
    }
}

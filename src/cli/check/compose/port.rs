//! Ports that a service publishes.

use std::ops::RangeInclusive;

use crate::cli::check::compose::service::Reader;
use crate::cli::check::yaml::{At, Node};

/// Ports of a container that are those of the host too.
#[derive(Clone, Debug)]
pub(in crate::cli::check) struct Port {
    pub(in crate::cli::check) at: At,
    /// The address on the host; empty for every one.
    pub(in crate::cli::check) ip: String,
    /// None where the engine chooses one.
    pub(in crate::cli::check) published: Option<RangeInclusive<u16>>,
    /// None where it is not known before compose fills it in.
    pub(in crate::cli::check) target: Option<RangeInclusive<u16>>,
    pub(in crate::cli::check) is_tcp: bool,
}

/// None for what compose refuses.
pub(super) fn read(reader: &Reader<'_>, node: &Node) -> Option<Port> {
    let Some(whole) = reader.text(Some(node)) else {
        return of_map(reader, node);
    };
    let (ports, protocol) = whole.text.rsplit_once('/').unwrap_or((&whole.text, "tcp"));
    let (front, target) = ports.rsplit_once(':').unwrap_or(("", ports));
    let (ip, published) = front.rsplit_once(':').unwrap_or(("", front));
    // What is open has a `$` left, and is no number.
    Some(Port {
        at: node.at,
        ip: ip.trim_matches(['[', ']']).to_owned(),
        published: range(published),
        target: range(target),
        is_tcp: protocol == "tcp",
    })
}

fn of_map(reader: &Reader<'_>, node: &Node) -> Option<Port> {
    let field = |key: &str| reader.text(node.get(key));
    Some(Port {
        at: node.at,
        ip: field("host_ip").map(|ip| ip.text).unwrap_or_default(),
        published: field("published").and_then(|it| range(&it.text)),
        target: range(&field("target")?.text),
        is_tcp: field("protocol").is_none_or(|protocol| protocol.text == "tcp"),
    })
}

/// A port, or the first and the last of several.
pub(in crate::cli::check) fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last && first != 0).then_some(first..=last)
}

impl Port {
    /// Whether both would be bound at one address of the host.
    pub(in crate::cli::check) fn meets(&self, other: &Self) -> Option<u16> {
        let any = |ip: &str| ["", "0.0.0.0", "::"].contains(&ip);
        let same_ip = self.ip == other.ip || any(&self.ip) || any(&other.ip);
        let (ours, theirs) = (self.published.as_ref()?, other.published.as_ref()?);
        let first = *ours.start().max(theirs.start());
        let is_shared = first <= *ours.end().min(theirs.end());
        (is_shared && same_ip && self.is_tcp == other.is_tcp).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::variables::Variables;
    use crate::cli::check::yaml;

    fn ports(list: &str) -> Vec<Port> {
        let documents = yaml::parse(list, 0).unwrap();
        let variables = Variables::default();
        let told = &mut Vec::new();
        let reader = Reader { variables: &variables, folder: "".as_ref(), told };
        documents[0].items().iter().map(|item| read(&reader, item).unwrap()).collect()
    }

    #[test]
    fn ports_are_written_short_or_long() {
        let shown = |port: &Port| {
            let shown = |range: &Option<RangeInclusive<u16>>| {
                range.as_ref().map_or("?".to_owned(), |it| format!("{it:?}"))
            };
            let protocol = if port.is_tcp { "tcp" } else { "other" };
            format!("{} {} {} {protocol}", port.ip, shown(&port.published), shown(&port.target))
        };
        for (written, read) in [
            ("80", " ? 80..=80 tcp"),
            ("'8000:80'", " 8000..=8000 80..=80 tcp"),
            ("127.0.0.1:8000-8002:80-82/udp", "127.0.0.1 8000..=8002 80..=82 other"),
            ("'[::1]:8000:80'", "::1 8000..=8000 80..=80 tcp"),
            ("'${PORT}:80'", " ? 80..=80 tcp"),
            ("127.0.0.1::80", "127.0.0.1 ? 80..=80 tcp"),
            (
                "{target: 80, published: '8000', host_ip: 10.0.0.1}",
                "10.0.0.1 8000..=8000 80..=80 tcp",
            ),
        ] {
            let ports = ports(&format!("- {written}"));
            assert_eq!(shown(&ports[0]), read, "{written}");
        }
    }

    #[test]
    fn ports_meet_at_one_address_of_the_host() {
        for (one, other, meeting) in [
            ("80:80", "80:3000", Some(80)),
            ("80:80", "127.0.0.1:80:80", Some(80)),
            ("127.0.0.1:80:80", "127.0.0.2:80:80", None),
            ("80-90:80-90", "85-95:1-11", Some(85)),
            ("80:80", "80:80/udp", None),
            ("80", "80", None),
        ] {
            let ports = ports(&format!("['{one}', '{other}']"));
            assert_eq!(ports[0].meets(&ports[1]), meeting, "{one} {other}");
        }
    }
}

//! What each value means: text in, checked value or fault out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use crate::config::mistake::{Fault, shown};
use crate::config::{EntryPoint, Server};
use crate::domain::names::{Host, PoolName};
use crate::domain::suggest;
use crate::domain::units;

/// A pool as a flag names it: `NAME=HOST:PORT,HOST:PORT`. The servers are what
/// stands behind the `=`.
pub(super) fn pool(written: &str) -> Result<(PoolName, &str), Fault> {
    let hint = "write `NAME=HOST:PORT,HOST:PORT`, such as `api=10.0.0.5:8080,10.0.0.6:8080`";
    let (name, servers) =
        written.split_once('=').ok_or_else(|| Fault::new("names no servers", hint))?;
    Ok((pool_name(name.trim())?, servers))
}

pub(super) fn pool_name(written: &str) -> Result<PoolName, Fault> {
    PoolName::new(None, written).map_err(|_| {
        let what = format!("has no pool name in `{}`", shown(written));
        Fault::new(what, "name a pool with letters, digits, `-`, `_` and `.`, at most 63 of them")
    })
}

/// The parts of a list that is separated by commas or white space.
pub(super) fn list(written: &str) -> impl Iterator<Item = &str> {
    written.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty())
}

/// `HOST:PORT`, with IPv6 addresses in brackets.
pub(super) fn server(written: &str) -> Result<Server, Fault> {
    let hint = "write `HOST:PORT`, such as `10.0.0.5:8080` or `[fd00::5]:8080`";
    if written.contains("://") || written.contains('/') {
        return Err(Fault::new("is a URL", hint));
    }
    if written.parse::<Ipv6Addr>().is_ok() {
        return Err(Fault::new("has no port", hint));
    }
    let (host, port) = written.rsplit_once(':').ok_or_else(|| Fault::new("has no port", hint))?;
    let port = match port.parse::<u16>() {
        Ok(0) | Err(_) => return Err(Fault::new("has a wrong port", PORT_HINT)),
        Ok(port) => port,
    };
    let host: Host = host.parse().map_err(|_| Fault::new("has a wrong host", hint))?;
    Ok(Server { host: without_brackets(host.as_str()).into(), port })
}

/// `[::1]` as resolvers want it: `::1`.
pub(super) fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

/// An address to listen on; `:8000` and `8000` are on `bare`.
pub(super) fn listen(written: &str, bare: Ipv4Addr) -> Result<SocketAddr, Fault> {
    if let Ok(address) = written.parse() {
        return Ok(address);
    }
    if let Ok(ip) = written.parse::<IpAddr>() {
        let example = SocketAddr::new(ip, 8000);
        return Err(Fault::new("has no port", format!("write it as `{example}`")));
    }
    let (host, port) = written.rsplit_once(':').unwrap_or(("", written));
    let ip = match host {
        "" => bare,
        "localhost" => Ipv4Addr::LOCALHOST,
        _ => {
            return Err(Fault::new(
                "is not an address to listen on",
                "write an IP address and a port, such as `127.0.0.1:8000`, or a port alone",
            ));
        }
    };
    let port = port.parse().map_err(|_| {
        Fault::new(
            "is not an address to listen on",
            "write a port from 1 to 65535, such as `8000`, or an address with one, \
             such as `127.0.0.1:8000`",
        )
    })?;
    Ok((ip, port).into())
}

/// `ADDR` or `NAME=ADDR`. Without a name it is called `usual`, and to call it
/// `other` would mislead.
pub(super) fn entry_point(written: &str, usual: &str, other: &str) -> Result<EntryPoint, Fault> {
    let (name, address) = written.split_once('=').unwrap_or((usual, written));
    let name = name.to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || name.len() > ENTRY_POINT_BYTES_MAX || !name.chars().all(allowed) {
        let what = format!("has no name of an entry point in `{}`", shown(&name));
        let hint = "use letters, digits, `-` and `_`, at most 63 of them, such as `internal=:8081`";
        return Err(Fault::new(what, hint));
    }
    if name == other {
        let what = format!("gives the name `{other}` to what is none");
        return Err(Fault::new(what, "give it another name, such as `internal=:8081`"));
    }
    let address = listen(address, Ipv4Addr::UNSPECIFIED)?;
    Ok(EntryPoint { name: name.into(), address })
}

pub(super) fn port(written: &str) -> Result<u16, Fault> {
    let port = written.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| Fault::new("is not a port", PORT_HINT))
}

pub(super) fn workers(written: &str) -> Result<NonZeroUsize, Fault> {
    written.parse().ok().filter(|count: &NonZeroUsize| count.get() <= WORKERS_MAX).ok_or_else(
        || {
            Fault::new(
                "is not a number of threads",
                format!("write a number from 1 to {WORKERS_MAX}, or leave it out for one a CPU"),
            )
        },
    )
}

pub(super) fn keep_alive(written: &str) -> Result<Duration, Fault> {
    let hint = "write a time from `1s` to `1h`, such as `75s`";
    let read = units::duration(written, KEEP_ALIVE_MAX);
    let time = read.map_err(|invalid| Fault::new(invalid.to_string(), hint))?;
    if time < KEEP_ALIVE_MIN {
        return Err(Fault::new("is shorter than a second", hint));
    }
    Ok(time)
}

/// Connections of one client; none for `off`.
pub(super) fn connections(written: &str) -> Result<Option<u32>, Fault> {
    if written == "off" {
        return Ok(None);
    }
    let count = written.parse().ok().filter(|count| (1..=CONNECTIONS_MAX).contains(count));
    count.map(Some).ok_or_else(|| {
        let hint = format!("write a number from 1 to {CONNECTIONS_MAX}, or `off`");
        Fault::new("is not a number of connections", hint)
    })
}

/// A size of memory in bytes; none for `auto`.
pub(super) fn memory(written: &str) -> Result<Option<u64>, Fault> {
    if written == "auto" {
        return Ok(None);
    }
    let size = units::size(written).ok().filter(|&size| size >= MEMORY_LEAST);
    size.map(Some).ok_or_else(|| {
        Fault::new("is not a size of memory", "write one from `1MiB`, such as `512MiB`, or `auto`")
    })
}

pub(super) fn uid(written: &str) -> Result<u32, Fault> {
    written.parse().map_err(|_| {
        Fault::new("is not a user id", "write the number that `id -u NAME` prints, such as `65532`")
    })
}

/// A folder, which is named in full.
pub(super) fn folder(written: &str) -> Result<&Path, Fault> {
    let path = Path::new(written);
    let hint = "write it from the root, with a `/` first";
    if path.is_absolute() { Ok(path) } else { Err(Fault::new("is no absolute path", hint)) }
}

pub(super) fn switch(written: &str) -> Result<bool, Fault> {
    match written {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err(Fault::new("is neither on nor off", "write `on` or `off`")),
    }
}

pub(super) fn label_prefix(written: &str) -> Result<&str, Fault> {
    if let Some(without) = written.strip_suffix('.').filter(|without| !without.is_empty()) {
        return Err(Fault::new("ends with a dot", format!("write `{}`", shown(without))));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if written.is_empty() || written.starts_with('.') || !written.chars().all(allowed) {
        return Err(Fault::new(
            "is not a label prefix",
            "use letters, digits, `-`, `_` and dots between them, such as `lb` or `com.example.lb`",
        ));
    }
    Ok(written)
}

/// `label=value`; the value may be empty and may contain `=`.
pub(super) fn constraint(written: &str) -> Result<(String, String), Fault> {
    match written.split_once('=') {
        Some((label, value)) if !label.trim().is_empty() => {
            Ok((label.trim().to_owned(), value.trim().to_owned()))
        }
        Some(_) | None => Err(Fault::new(
            "is not a label with its value",
            "write `LABEL=VALUE`, such as `com.example.edge=public`",
        )),
    }
}

/// A network, or an address as a network of one.
pub(super) fn network(written: &str) -> Result<IpNet, Fault> {
    let one = written.parse::<IpAddr>().map(IpNet::from);
    written.parse::<IpNet>().map(|network| network.trunc()).or(one).map_err(|_| {
        Fault::new(
            "is not a network",
            "write an address or a network, such as `10.0.0.0/8`, `192.168.1.1` or `fd00::/8`",
        )
    })
}

/// A filter that `tracing` understands.
///
/// `tracing` takes a lone word for a module, so that a misspelt level would
/// silence everything; a word that is no level is refused.
pub(super) fn log_filter(written: &str) -> Result<String, Fault> {
    let hint = "write `error`, `warn`, `info`, `debug` or `trace`, also by module: \
                `info,evenkeel::discovery=debug`";
    let bare = |part: &&str| !part.is_empty() && !part.contains(['=', '[', ':']);
    let is_level = |part: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part));
    let mut words = written.split(',').map(str::trim).filter(bare);
    if let Some(word) = words.find(|word| !is_level(word)) {
        let hint = match suggest::nearest(word, LEVELS) {
            Some(level) => format!("did you mean `{level}`?"),
            None => format!("write `{word}=debug` for a module"),
        };
        return Err(Fault::new("is not a log filter", hint));
    }
    let read = EnvFilter::builder().parse(written);
    if written.trim().is_empty() || read.is_err() {
        return Err(Fault::new("is not a log filter", hint));
    }
    Ok(written.to_owned())
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// As many as a machine holds with all of its ports and addresses.
const CONNECTIONS_MAX: u32 = 1 << 24;

/// Nothing runs in less.
const MEMORY_LEAST: u64 = 1 << 20;

/// As long as the name of a pool.
const ENTRY_POINT_BYTES_MAX: usize = 63;

/// More threads than any machine that we know has use for.
const WORKERS_MAX: usize = 1024;

/// Less would close connections that are in use.
const KEEP_ALIVE_MIN: Duration = Duration::from_secs(1);

/// Whoever is silent for so long does not come back.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(3600);

pub(super) const PORT_HINT: &str = "a port is a number from 1 to 65535";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_port_listens_where_the_setting_says() {
        for written in [":8000", "8000"] {
            let everywhere = listen(written, Ipv4Addr::UNSPECIFIED).unwrap();
            assert_eq!(everywhere.to_string(), "0.0.0.0:8000");
            let loopback = listen(written, Ipv4Addr::LOCALHOST).unwrap();
            assert_eq!(loopback.to_string(), "127.0.0.1:8000");
        }
        let written = listen("[::]:80", Ipv4Addr::LOCALHOST).unwrap();
        assert_eq!(written.to_string(), "[::]:80");
        let named = listen("localhost:80", Ipv4Addr::UNSPECIFIED).unwrap();
        assert_eq!(named.to_string(), "127.0.0.1:80");
    }

    #[test]
    fn what_cannot_be_listened_on_is_refused_with_the_way_to_write_it() {
        let hint = |written| listen(written, Ipv4Addr::UNSPECIFIED).unwrap_err().hint;
        assert_eq!(hint("10.0.0.1"), "write it as `10.0.0.1:8000`");
        assert_eq!(hint("::1"), "write it as `[::1]:8000`");
        for written in ["80a", "", ":", ":70000", "web:80", "0.0.0.0:http"] {
            assert!(!hint(written).is_empty(), "`{written}`");
        }
    }

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for (written, host, port) in [
            ("10.0.0.5:80", "10.0.0.5", 80),
            ("Web_1:8080", "web_1", 8080),
            ("[fd00::5]:80", "fd00::5", 80),
        ] {
            let read = server(written).unwrap();
            assert_eq!((&*read.host, read.port), (host, port));
        }
        for written in
            ["web", "fd00::5", "web:", "web:0", "web:65536", "http://web:80", ":80", "a b:1"]
        {
            assert!(server(written).is_err(), "`{written}`");
        }
    }

    #[test]
    fn a_pool_flag_is_a_name_and_servers() {
        let (name, servers) = pool("Api=h:1,h:2").unwrap();
        assert_eq!((name.to_string().as_str(), servers), ("api", "h:1,h:2"));
        assert!(pool("api").is_err());
        assert!(pool("a b=h:1").is_err());
    }

    #[test]
    fn lists_are_separated_by_commas_or_spaces() {
        assert!(list(" a, b\nc,,d ").eq(["a", "b", "c", "d"]));
    }

    #[test]
    fn an_address_is_a_network_of_one_and_host_bits_are_dropped() {
        assert_eq!(network("192.168.1.1").unwrap().to_string(), "192.168.1.1/32");
        assert_eq!(network("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert!(network("10.0.0.0/33").is_err());
        assert!(network("example.com").is_err());
    }

    #[test]
    fn a_misspelt_level_is_no_module() {
        assert_eq!(log_filter("inof").unwrap_err().hint, "did you mean `info`?");
        assert_eq!(log_filter("evenkeel=debug,wran").unwrap_err().hint, "did you mean `warn`?");
        for written in ["info", "DEBUG", "info,evenkeel::discovery=debug", "warn,hyper=off"] {
            assert_eq!(log_filter(written).unwrap(), written);
        }
        for written in ["", "evenkeel=loud", "=="] {
            assert!(log_filter(written).is_err(), "`{written}`");
        }
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(workers("4").unwrap().get(), 4);
        for written in ["0", "-1", "1025", "two"] {
            assert!(workers(written).is_err(), "`{written}`");
        }
        assert_eq!(port("8443").unwrap(), 8443);
        for written in ["0", "-1", "65536", "https"] {
            assert!(port(written).is_err(), "`{written}`");
        }
        assert_eq!(uid("65532").unwrap(), 65_532);
        assert!(uid("nobody").is_err());
        assert!(uid("4294967296").is_err());
    }

    #[test]
    fn connections_rest_for_a_second_to_an_hour() {
        for (written, seconds) in [("1s", 1), ("1m10s", 70), ("1h", 3600)] {
            assert_eq!(keep_alive(written).unwrap(), Duration::from_secs(seconds));
        }
        for written in ["0", "999ms", "70", "1h1s", "long"] {
            assert!(keep_alive(written).is_err(), "`{written}`");
        }
    }

    #[test]
    fn a_label_prefix_is_written_without_its_dot() {
        assert_eq!(label_prefix("com.example.lb").unwrap(), "com.example.lb");
        assert_eq!(label_prefix("lb.").unwrap_err().hint, "write `lb`");
        for written in ["", ".", ".lb", "l b"] {
            assert!(label_prefix(written).is_err(), "`{written}`");
        }
    }

    #[test]
    fn a_constraint_is_a_label_and_its_value() {
        assert_eq!(constraint("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert_eq!(constraint("a=").unwrap(), ("a".to_owned(), String::new()));
        for written in ["a", "=b", ""] {
            assert!(constraint(written).is_err(), "`{written}`");
        }
    }
}

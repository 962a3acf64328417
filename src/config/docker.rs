//! Where the Docker Engine answers, as the Docker CLI would find it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::DockerAddress;
use crate::config::mistake::{Fault, Mistake, Place};
use crate::config::value;
use crate::domain::names::Host;

/// How TCP addresses are secured, from the variables of the Docker CLI.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Tls {
    /// Whether every `tcp://` is TLS.
    always: bool,
    verify: bool,
    /// None if neither `DOCKER_CERT_PATH` nor a home directory is known.
    certificates: Option<PathBuf>,
}

impl Tls {
    /// Any text makes the two switches true, `0` too: so the Docker CLI reads them.
    pub(super) fn read(env: &BTreeMap<String, String>) -> Self {
        let given = |name: &str| env.get(name).filter(|text| !text.is_empty());
        let home = || {
            let config = given("DOCKER_CONFIG").map(PathBuf::from);
            config.or_else(|| given("HOME").map(|home| PathBuf::from(home).join(".docker")))
        };
        let verify = given("DOCKER_TLS_VERIFY").is_some();
        let unverified = given("DOCKER_TLS").is_some() && !verify;
        Self {
            always: verify || unverified,
            verify: !unverified,
            certificates: given("DOCKER_CERT_PATH").map(PathBuf::from).or_else(home),
        }
    }
}

/// What `DOCKER_HOST` says; none if it says nothing.
pub(super) fn from_docker_host(
    env: &BTreeMap<String, String>,
    tls: &Tls,
) -> Option<Result<DockerAddress, Mistake>> {
    let written = env.get(DOCKER_HOST).filter(|text| !text.is_empty())?;
    Some(address(written, tls).map_err(|fault| {
        Mistake::of(Place::Variable(DOCKER_HOST.to_owned()), DOCKER_HOST, written, fault)
    }))
}

/// The value of `--docker`; none for `off`.
pub(super) fn setting(written: &str, tls: &Tls) -> Result<Option<DockerAddress>, Fault> {
    if written == "off" {
        return Ok(None);
    }
    address(written, tls).map(Some)
}

fn address(written: &str, tls: &Tls) -> Result<DockerAddress, Fault> {
    if written.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Fault::new("is not valid UTF-8", HINT));
    }
    if written.starts_with('/') {
        return Ok(DockerAddress::Unix(written.into()));
    }
    let Some((scheme, rest)) = written.split_once("://") else {
        return Err(Fault::new("is not an address of a Docker Engine", HINT));
    };
    match scheme {
        "unix" if rest.is_empty() => Ok(DockerAddress::default()),
        "unix" if rest.starts_with('/') => Ok(DockerAddress::Unix(rest.into())),
        "unix" => Err(Fault::new(
            "is not an absolute path",
            format!("write three slashes: `unix:///{rest}`"),
        )),
        "http" => tcp(rest, None),
        "https" => tcp(rest, Some(tls)),
        "tcp" => tcp(rest, Some(tls).filter(|tls| tls.always)),
        "ssh" => Err(Fault::new(
            "is reached over SSH, which is not supported",
            "forward the socket with `ssh -L /tmp/docker.sock:/var/run/docker.sock HOST` and \
             write `unix:///tmp/docker.sock`",
        )),
        _ => Err(Fault::new("is not an address of a Docker Engine", HINT)),
    }
}

fn tcp(rest: &str, tls: Option<&Tls>) -> Result<DockerAddress, Fault> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let default_port = if tls.is_some() { 2376 } else { 2375 };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let port = port.parse().ok().filter(|&port: &u16| port != 0);
            (host, port.ok_or_else(|| Fault::new("has a wrong port", value::PORT_HINT))?)
        }
        Some(_) | None => (rest, default_port),
    };
    let host: Host = host.parse().map_err(|_| Fault::new("has a wrong host", HINT))?;
    let host = value::without_brackets(host.as_str()).to_owned();
    let Some(tls) = tls else {
        return Ok(DockerAddress::Tcp { host, port });
    };
    let certificates = tls.certificates.clone().ok_or_else(|| {
        Fault::new(
            "needs certificates",
            "set DOCKER_CERT_PATH to the folder of `ca.pem`, `cert.pem` and `key.pem`",
        )
    })?;
    Ok(DockerAddress::Tls { host, port, certificates, verify: tls.verify })
}

const DOCKER_HOST: &str = "DOCKER_HOST";

const HINT: &str = "write `unix:///var/run/docker.sock`, `tcp://HOST:2375`, `https://HOST:2376` \
                    or `off`";

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect()
    }

    fn read(written: &str, pairs: &[(&str, &str)]) -> Result<Option<DockerAddress>, Fault> {
        setting(written, &Tls::read(&env(pairs)))
    }

    #[test]
    fn sockets_and_plain_addresses_are_read_as_the_docker_cli_reads_them() {
        let unix = |path: &str| Some(DockerAddress::Unix(path.into()));
        let tcp = |host: &str, port| Some(DockerAddress::Tcp { host: host.to_owned(), port });
        for (written, address) in [
            ("off", None),
            ("unix:///run/d.sock", unix("/run/d.sock")),
            ("unix://", unix("/var/run/docker.sock")),
            ("/run/d.sock", unix("/run/d.sock")),
            ("tcp://docker:1234", tcp("docker", 1234)),
            ("tcp://docker", tcp("docker", 2375)),
            ("tcp://docker:2375/", tcp("docker", 2375)),
            ("http://10.0.0.1", tcp("10.0.0.1", 2375)),
            ("tcp://[::1]:2375", tcp("::1", 2375)),
            ("tcp://[::1]", tcp("::1", 2375)),
        ] {
            assert_eq!(read(written, &[]).unwrap(), address, "{written}");
        }
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_a_remedy() {
        for written in [
            "",
            "docker.sock",
            "unix://run/d.sock",
            "ssh://h",
            "npipe:////./pipe",
            "tcp://",
            "tcp://h:0",
            "tcp://h:x",
            "tcp://h/x",
        ] {
            assert!(!read(written, &[]).unwrap_err().hint.is_empty(), "`{written}`");
        }
    }

    #[test]
    fn with_tls_verify_every_tcp_address_is_tls() {
        let pairs = [("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/certs")];
        let tls = DockerAddress::Tls {
            host: "docker".to_owned(),
            port: 2376,
            certificates: "/certs".into(),
            verify: true,
        };
        assert_eq!(read("tcp://docker", &pairs).unwrap(), Some(tls.clone()));
        assert_eq!(read("https://docker", &pairs[1..]).unwrap(), Some(tls));
        let plain = DockerAddress::Tcp { host: "docker".to_owned(), port: 2375 };
        assert_eq!(read("tcp://docker", &pairs[1..]).unwrap(), Some(plain));
    }

    #[test]
    fn docker_tls_alone_does_not_verify_and_certificates_stand_at_home() {
        let read = read("tcp://docker", &[("DOCKER_TLS", "1"), ("HOME", "/root")]).unwrap();
        let Some(DockerAddress::Tls { certificates, verify, .. }) = read else {
            panic!("{read:?}");
        };
        assert_eq!(certificates, PathBuf::from("/root/.docker"));
        assert!(!verify);
    }

    #[test]
    fn an_empty_docker_host_says_nothing() {
        let environment = env(&[("DOCKER_HOST", "")]);
        assert_eq!(from_docker_host(&environment, &Tls::read(&environment)), None);
    }
}

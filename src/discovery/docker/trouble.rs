//! What to tell a person when the daemon cannot be heard.

use std::error::Error;

use super::api::ApiError;
use super::transport::{TransportError, spelled};
use crate::config::DockerAddress;

/// What failed, with its causes.
pub(super) fn message(error: &ApiError, address: &DockerAddress) -> String {
    let mut text = format!("Docker at {} cannot be heard: {error}", spelled(address));
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        // Transparent levels would say the same twice.
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

/// How to mend it; empty where waiting is all that helps.
pub(super) fn hint(error: &ApiError, address: &DockerAddress) -> String {
    match error {
        ApiError::Transport(error) => transport(error, address),
        ApiError::TooOld { .. } => "upgrade Docker to 20.10 or newer".to_owned(),
        ApiError::TooNew { .. } => {
            "upgrade Evenkeel, or lower `min-api-version` in the daemon's daemon.json".to_owned()
        }
        ApiError::Status { status: 401 | 403, .. } => {
            "let the proxy before the socket pass GET on /_ping, /version, /events and /containers"
                .to_owned()
        }
        ApiError::TimedOut { .. } => {
            "the daemon is reached but does not answer: see `journalctl -u docker` on its host"
                .to_owned()
        }
        ApiError::Status { .. } | ApiError::Broken { .. } | ApiError::Unreadable { .. } => {
            String::new()
        }
    }
}

fn transport(error: &TransportError, address: &DockerAddress) -> String {
    match error {
        TransportError::Missing(path) => format!(
            "mount the socket with `-v /var/run/docker.sock:{}:ro`, or say where the daemon \
             listens with --docker or DOCKER_HOST (`--docker off`: written pools alone)",
            path.display()
        ),
        TransportError::Directory(path) => format!(
            "the socket did not exist when this container was made, so a directory took its \
             place: stop this container, remove the empty directory {} on the host, start \
             Docker, then recreate this container",
            path.display()
        ),
        TransportError::Denied { group: Some(group), .. } => format!(
            "the socket belongs to group {group}: add `group_add: [\"{group}\"]` to this \
             container beside its `user:`, or leave `user:` out, so that it starts as root and \
             takes that group over by itself (EVENKEEL_USER)"
        ),
        TransportError::Denied { group: None, .. } => {
            "let the user of this process into the folder of the socket".to_owned()
        }
        TransportError::Dead(path) => format!(
            "the daemon has made a new socket, and this mount still holds the old one: restart \
             this container. To be spared this, mount the directory of the socket (`-v \
             /var/run:/host/run:ro` with `--docker unix:///host/run/{}`), or have systemd own \
             the socket (`dockerd -H fd://`)",
            path.file_name().unwrap_or_default().display()
        ),
        TransportError::Refused(_) => {
            "start Docker: `systemctl start docker`, then see `journalctl -u docker`".to_owned()
        }
        TransportError::Connect { .. } => format!(
            "check that the daemon listens there, and the address in --docker or DOCKER_HOST ({})",
            spelled(address)
        ),
        TransportError::Handshake { .. } => {
            "check that the daemon speaks TLS on this port, that ca.pem signed its certificate \
             for this name, and that its own authority signed cert.pem"
                .to_owned()
        }
        TransportError::Tls(_) => {
            "DOCKER_CERT_PATH must hold ca.pem, cert.pem and key.pem, readable by this process"
                .to_owned()
        }
        TransportError::ServerName(_) => "use the daemon's DNS name or IP address".to_owned(),
        TransportError::Request { .. } | TransportError::Broken(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn the_message_names_the_address_and_every_cause_once() {
        let source = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error =
            ApiError::from(TransportError::Connect { address: "tcp://d:2375".into(), source });
        let address = DockerAddress::Tcp { host: "d".into(), port: 2375 };
        assert_eq!(
            message(&error, &address),
            "Docker at tcp://d:2375 cannot be heard: cannot connect to tcp://d:2375: connection refused"
        );
    }

    #[test]
    fn what_a_person_can_mend_comes_with_the_way_to_mend_it() {
        let path = || "/var/run/docker.sock".into();
        let table = [
            (TransportError::Missing(path()), "-v /var/run/docker.sock:/var/run/docker.sock:ro"),
            (TransportError::Directory(path()), "remove the empty directory /var/run/docker.sock"),
            (TransportError::Denied { path: path(), group: Some(998) }, "group_add: [\"998\"]"),
            (TransportError::Dead(path()), "restart this container"),
            (TransportError::Refused(path()), "systemctl start docker"),
        ];
        let address = DockerAddress::Unix(path());
        for (error, expected) in table {
            let error = ApiError::from(error);
            let hint = hint(&error, &address);
            assert!(hint.contains(expected), "{error}: {hint}");
        }
    }
}

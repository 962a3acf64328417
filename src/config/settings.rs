//! The one table of settings: flags, variables, file keys and their
//! documentation are all made from it.

use crate::config::setting::{Absent, Arity, Setting};

/// Which setting; every place that decides on settings matches on it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Key {
    Http,
    Https,
    TlsCert,
    TlsKey,
    TlsDir,
    TlsClientCa,
    TlsProfile,
    Sni,
    Admin,
    AdminTokenFile,
    AdminAllow,
    Docker,
    Pool,
    Workers,
    User,
    State,
    LabelPrefix,
    LabelFiles,
    Constraint,
    TrustedProxies,
    HttpsPublicPort,
    KeepAlive,
    StickyKeyFile,
    ProxyProtocol,
    ConnectionsPerClient,
    MemoryLimit,
    Localhost,
    MetricsTraefik,
    AcmeEmail,
    AcmeDirectory,
    AcmeCa,
    AcmeEabKid,
    AcmeEabKeyFile,
    AcmeChallenge,
    Log,
    AccessLog,
    AccessLogQuery,
    AccessLogRedact,
    AccessLogStatus,
    AccessLogSlow,
    AccessLogSample,
    Config,
}

/// Every setting, in the order in which they are explained.
pub static SETTINGS: [Setting; 42] = [
    Setting {
        key: Key::Http,
        name: "http",
        arity: Arity::List,
        value: "[NAME=]ADDR",
        absent: Absent::Value("0.0.0.0:80"),
        help: "Where HTTP is served",
        more: "An IP address with a port, such as `10.0.0.1:80` or `[::]:80`. `:8000` and `8000` \
               stand for port 8000 on every IPv4 address. `NAME=ADDR` gives it a name for the label \
               `lb.entrypoint`, such as `internal=:8081`; without one that is `http`.",
        example: r#"[":80", ":8000"]"#,
    },
    Setting {
        key: Key::Https,
        name: "https",
        arity: Arity::List,
        value: "[NAME=]ADDR",
        absent: Absent::Meaning("not served"),
        help: "Where HTTPS is served",
        more: "Written as for `http`; without a name it is `https` for `lb.entrypoint`. HTTP/2 and HTTP/1.1 are spoken there, as the client chooses.",
        example: r#"[":443"]"#,
    },
    Setting {
        key: Key::TlsCert,
        name: "tls_cert",
        arity: Arity::One,
        value: "FILE",
        absent: Absent::Meaning("one that is made at start, in the name of `localhost`"),
        help: "The certificate that is shown unless another fits better",
        more: "In PEM form, our own certificate first, then those that lead from it to the \
               authority; together with `tls_key`. It is shown to clients that ask for no name \
               too. Changed files are read again within 10 s, and no connection is dropped for \
               it; while a certificate, chain or key is bad, does not belong to the other or has \
               expired, the one before it stays in use and `status` says why. OCSP answers are \
               not stapled: most authorities give none any more, and clients do not wait for them.",
        example: r#""/run/secrets/site.crt""#,
    },
    Setting {
        key: Key::TlsKey,
        name: "tls_key",
        arity: Arity::One,
        value: "FILE",
        absent: Absent::Meaning("none"),
        help: "The private key of that certificate",
        more: "In PEM form, without a passphrase. It must stay readable after root is given up: \
               `status` prints the command where it is not.",
        example: r#""/run/secrets/site.key""#,
    },
    Setting {
        key: Key::TlsDir,
        name: "tls_dir",
        arity: Arity::One,
        value: "DIR",
        absent: Absent::Meaning("none"),
        help: "The folder of further certificates with their keys",
        more: "Pairs `NAME.crt` (or `.pem`, `.cert`) and `NAME.key`, or folders `NAME` with \
               `fullchain.pem` and `privkey.pem`, as certbot lays them out; at most 1000. They are \
               chosen by the names within the certificates: the exact name, then a wildcard for \
               one label, then the default, which is `tls_cert`, else the pair called `default`, \
               else the first. Of several for one name one that is good now counts before others, then one from files before one by ACME, then the one that is good for longest. Pairs \
               may come, change and go while we run.",
        example: r#""/etc/evenkeel/certs""#,
    },
    Setting {
        key: Key::TlsClientCa,
        name: "tls_client_ca",
        arity: Arity::One,
        value: "FILE",
        absent: Absent::Meaning("no client is known by a certificate"),
        help: "Authorities whose certificates clients are known by",
        more: "In PEM form. Clients are asked for a certificate where `lb.tls.client` says so; \
               without this file nobody passes where it is `required`. A changed file is read \
               again within 10 s.",
        example: r#""/etc/evenkeel/clients.pem""#,
    },
    Setting {
        key: Key::TlsProfile,
        name: "tls_profile",
        arity: Arity::One,
        value: "modern|intermediate",
        absent: Absent::Value("intermediate"),
        help: "Which clients can shake hands with us",
        more: "By Mozilla's names for such sets: `modern` is TLS 1.3 alone, `intermediate` TLS 1.2 \
               too, with ciphers that keep what was recorded secret if the key leaks (ECDHE) and \
               authenticate what they encrypt (AES-GCM, ChaCha20-Poly1305).",
        example: r#""modern""#,
    },
    Setting {
        key: Key::Sni,
        name: "sni",
        arity: Arity::One,
        value: "default|strict",
        absent: Absent::Value("default"),
        help: "What clients get that ask for a name without a certificate",
        more: "`default`: the default certificate. `strict`: the alert `unrecognized_name`, so that \
               nobody learns whom we serve by asking for anything.",
        example: r#""strict""#,
    },
    Setting {
        key: Key::Admin,
        name: "admin",
        arity: Arity::One,
        value: "ADDR",
        absent: Absent::Value("127.0.0.1:9090"),
        help: "Where health, readiness, metrics and the API are served",
        more: "`:9090` and `9090` stand for port 9090 on loopback. In a container listen on \
               `0.0.0.0:9090` and publish it as `127.0.0.1:9090:9090`. The commands `status`, \
               `top`, `drain`, `undrain` and `healthcheck` find the balancer here.",
        example: r#""0.0.0.0:9090""#,
    },
    Setting {
        key: Key::AdminTokenFile,
        name: "admin_token_file",
        arity: Arity::One,
        value: "PATH",
        absent: Absent::Meaning("no token: only loopback may change anything"),
        help: "The file whose first line is the token of the admin port",
        more: "At least 16 characters. Who sends it as `Authorization: Bearer TOKEN` may read \
               everything and drain replicas from anywhere. It is read at start, before root is \
               given up. The client commands send it.",
        example: r#""/run/secrets/evenkeel-token""#,
    },
    Setting {
        key: Key::AdminAllow,
        name: "admin_allow",
        arity: Arity::List,
        value: "CIDR",
        absent: Absent::Meaning("loopback and the Docker host"),
        help: "Who else may read everything at the admin port without a token",
        more: "Networks or single addresses, such as `10.0.0.0/8,192.168.1.1`. Everybody may read \
               health, readiness and metrics; to change anything takes loopback or the token.",
        example: r#"["10.0.0.0/8", "192.168.1.1"]"#,
    },
    Setting {
        key: Key::Docker,
        name: "docker",
        arity: Arity::One,
        value: "URL|off",
        absent: Absent::Meaning("DOCKER_HOST, else unix:///var/run/docker.sock"),
        help: "Where the Docker Engine answers, or `off`",
        more: "`unix:///PATH`, `tcp://HOST:PORT`, or `https://HOST:PORT` for TLS. As for the Docker \
               CLI, DOCKER_TLS_VERIFY makes every `tcp://` TLS (DOCKER_TLS too, without verifying) \
               and DOCKER_CERT_PATH says where `ca.pem`, `cert.pem` and `key.pem` stand \
               (`~/.docker` unless set). `off` serves written pools only.",
        example: r#""unix:///var/run/docker.sock""#,
    },
    Setting {
        key: Key::Pool,
        name: "pool",
        arity: Arity::Words,
        value: "NAME=HOST:PORT[,HOST:PORT…]",
        absent: Absent::Meaning("none"),
        help: "A pool of servers that are written down rather than found",
        more: "Also `EVENKEEL_POOL_NAME=\"HOST:PORT HOST:PORT\"` (pool `name`; `_` is `-`) and \
               `[pools.NAME]` in the file, where labels may stand too. Servers written in a later \
               layer replace those of an earlier one; the labels stay.",
        example: r#"["legacy=10.0.0.5:8080,10.0.0.6:8080"]"#,
    },
    Setting {
        key: Key::Workers,
        name: "workers",
        arity: Arity::One,
        value: "COUNT",
        absent: Absent::Meaning("one for each CPU we may use"),
        help: "Threads that serve requests",
        more: "1 to 1024. A CPU quota of the container counts as that many CPUs.",
        example: "2",
    },
    Setting {
        key: Key::User,
        name: "user",
        arity: Arity::One,
        value: "UID",
        absent: Absent::Meaning("stay who we are"),
        help: "The user id to drop to once the listeners are bound",
        more: "A number. The group of the Docker socket is kept, so that it stays readable, and \
               nothing else.",
        example: "65532",
    },
    Setting {
        key: Key::State,
        name: "state",
        arity: Arity::One,
        value: "DIR",
        absent: Absent::Value("/var/lib/evenkeel"),
        help: "Where is kept what must survive a restart",
        more: "Accounts, keys and certificates from authorities, readable by us alone. It is made \
               and given to `user` at start if anything is to be kept. In a container mount a \
               volume here.",
        example: r#""/var/lib/evenkeel""#,
    },
    Setting {
        key: Key::LabelPrefix,
        name: "label_prefix",
        arity: Arity::One,
        value: "PREFIX",
        absent: Absent::Value("lb"),
        help: "What the labels that are ours begin with",
        more: "Without the dot: `lb` reads `lb.pool`, `lb.port` and so on.",
        example: r#""lb""#,
    },
    Setting {
        key: Key::LabelFiles,
        name: "label_files",
        arity: Arity::One,
        value: "DIR",
        absent: Absent::Value("/etc/evenkeel/labels"),
        help: "Where the files stand that labels name as `file:PATH`",
        more: "Only files beneath it are read, of at most 1 MiB and not by way of links, so that a \
               label never reads a secret of the balancer. They are read again within 10 s of a \
               change.",
        example: r#""/etc/evenkeel/labels""#,
    },
    Setting {
        key: Key::Constraint,
        name: "constraint",
        arity: Arity::Words,
        value: "LABEL=VALUE",
        absent: Absent::Meaning("every labelled container is ours"),
        help: "Only containers that carry this label with this value are ours",
        more: "Given more than once, all must hold. It splits the containers of one daemon between \
               several balancers.",
        example: r#"["com.example.edge=public"]"#,
    },
    Setting {
        key: Key::TrustedProxies,
        name: "trusted_proxies",
        arity: Arity::List,
        value: "CIDR",
        absent: Absent::Meaning("none"),
        help: "Whose X-Forwarded-* headers are believed",
        more: "Networks or single addresses, such as `10.0.0.0/8,192.168.1.1`. From anyone else \
               these headers are dropped.",
        example: r#"["10.0.0.0/8", "192.168.1.1"]"#,
    },
    Setting {
        key: Key::HttpsPublicPort,
        name: "https_public_port",
        arity: Arity::One,
        value: "PORT",
        absent: Absent::Value("443"),
        help: "The port of https that clients see, for redirects to it",
        more: "What `lb.redirect_https` sends clients to. It differs from where we listen if a port \
               is published as another, or if a proxy before us ends TLS.",
        example: "8443",
    },
    Setting {
        key: Key::KeepAlive,
        name: "keep_alive",
        arity: Arity::One,
        value: "DURATION",
        absent: Absent::Value("75s"),
        help: "How long a client's connection may rest between requests",
        more: "`1s` to `1h`. A new connection has as long for its first request to begin. Where \
               another proxy keeps connections to this one, longer than it keeps them itself is best.",
        example: r#""70s""#,
    },
    Setting {
        key: Key::StickyKeyFile,
        name: "sticky_key_file",
        arity: Arity::One,
        value: "PATH",
        absent: Absent::Meaning("a key of its own at each start"),
        help: "The file with the key that signs the cookies of `sticky=cookie`",
        more: "Any text of at least 16 bytes. Without it a restart of the balancer forgets which \
               replica a client belongs to; several balancers before the same replicas need the \
               same file. It is read at start, before root is given up.",
        example: r#""/run/secrets/evenkeel-sticky-key""#,
    },
    Setting {
        key: Key::ProxyProtocol,
        name: "proxy_protocol",
        arity: Arity::List,
        value: "CIDR",
        absent: Absent::Meaning("none"),
        help: "Whose connections begin with a PROXY header",
        more: "Networks or single addresses. A connection from there must begin with a header of \
               version 1 or 2, whose source is the client then; without one it is closed. From \
               anyone else a header is no HTTP and refused. Replicas are sent one with the label \
               `lb.proxy_protocol`.",
        example: r#"["10.0.0.0/8", "192.168.1.1"]"#,
    },
    Setting {
        key: Key::ConnectionsPerClient,
        name: "connections_per_client",
        arity: Arity::One,
        value: "COUNT|off",
        absent: Absent::Value("16384"),
        help: "Connections that one client may hold at once",
        more: "A client is an IPv4 address or an IPv6 /64. Further connections are closed at once. \
               Addresses of `trusted_proxies` and `proxy_protocol` may hold any number. Where all \
               clients seem to come from one address, as behind a port that Docker forwards by its \
               proxy, count them together.",
        example: "1000",
    },
    Setting {
        key: Key::MemoryLimit,
        name: "memory_limit",
        arity: Arity::One,
        value: "SIZE|auto",
        absent: Absent::Value("auto"),
        help: "How much memory we may hold",
        more: "From 85 % of it on no new connections are taken and idle ones are closed; from 95 % on \
               new requests are answered 503. `auto` is the limit of our control group, where we \
               hold a good part of it, or the machine's memory.",
        example: r#""512MiB""#,
    },
    Setting {
        key: Key::Localhost,
        name: "localhost",
        arity: Arity::One,
        value: "on|off",
        absent: Absent::Value("on"),
        help: "Whether each pool answers at POOL.localhost too",
        more: "Only for clients on loopback and private addresses, by the pool's own rule: \
               `http://api.localhost:8000` works on a laptop without a name server.",
        example: r#""off""#,
    },
    Setting {
        key: Key::MetricsTraefik,
        name: "metrics_traefik",
        arity: Arity::One,
        value: "on|off",
        absent: Absent::Value("off"),
        help: "Whether /metrics has Traefik's names too",
        more: "For dashboards and alerts that were made for Traefik: `traefik_service_requests_total` \
               and what else `docs/metrics.md` lists.",
        example: r#""on""#,
    },
    Setting {
        key: Key::AcmeEmail,
        name: "acme_email",
        arity: Arity::One,
        value: "ADDRESS",
        absent: Absent::Meaning("none is given"),
        help: "Where the certificate authority may write to",
        more: "It belongs to the account: another address makes another account. An authority is \
               asked only once a pool has `lb.tls=auto`; with that you agree to its terms.",
        example: r#""ops@example.com""#,
    },
    Setting {
        key: Key::AcmeDirectory,
        name: "acme_directory",
        arity: Arity::One,
        value: "URL",
        absent: Absent::Value("https://acme-v02.api.letsencrypt.org/directory"),
        help: "The ACME directory that issues certificates for `lb.tls=auto`",
        more: "Let's Encrypt unless set. `http://` is taken for loopback, private addresses and \
               names of the local network only.",
        example: r#""https://acme-staging-v02.api.letsencrypt.org/directory""#,
    },
    Setting {
        key: Key::AcmeCa,
        name: "acme_ca",
        arity: Arity::One,
        value: "FILE",
        absent: Absent::Meaning("who is trusted on this system"),
        help: "The authorities by which the ACME directory is known, in PEM form",
        more: "For a directory of your own. It is read at start, before root is given up.",
        example: r#""/etc/evenkeel/acme-ca.pem""#,
    },
    Setting {
        key: Key::AcmeEabKid,
        name: "acme_eab_kid",
        arity: Arity::One,
        value: "ID",
        absent: Absent::Meaning("no external account"),
        help: "The id of the external account that our ACME account is bound to",
        more: "Some authorities want it (RFC 8555, section 7.3.4); `acme_eab_key_file` belongs to \
               it.",
        example: r#""kid-1""#,
    },
    Setting {
        key: Key::AcmeEabKeyFile,
        name: "acme_eab_key_file",
        arity: Arity::One,
        value: "PATH",
        absent: Absent::Meaning("no external account"),
        help: "The file with the key of the external account, in base64url",
        more: "It is read at start, before root is given up.",
        example: r#""/run/secrets/evenkeel-eab-key""#,
    },
    Setting {
        key: Key::AcmeChallenge,
        name: "acme_challenge",
        arity: Arity::One,
        value: "auto|http-01|tls-alpn-01",
        absent: Absent::Value("auto"),
        help: "How we show the authority that a name is ours",
        more: "`http-01` is asked at port 80 and `tls-alpn-01` at port 443 of the name. `auto` \
               takes the first where http is served, and the other after a failure.",
        example: r#""http-01""#,
    },
    Setting {
        key: Key::Log,
        name: "log",
        arity: Arity::One,
        value: "FILTER",
        absent: Absent::Value("info"),
        help: "What is logged",
        more: "`error`, `warn`, `info`, `debug` or `trace`, also by module: \
               `info,evenkeel::discovery=debug`.",
        example: r#""info,evenkeel::discovery=debug""#,
    },
    Setting {
        key: Key::AccessLog,
        name: "access_log",
        arity: Arity::One,
        value: "combined|json|logfmt|off",
        absent: Absent::Value("combined"),
        help: "How each request is logged on stdout",
        more: "`combined` is Apache's format with our fields after it, `json` one object a line, \
               `logfmt` one `key=value` after the other; [access-log.md](access-log.md) lists the \
               fields.",
        example: r#""json""#,
    },
    Setting {
        key: Key::AccessLogQuery,
        name: "access_log_query",
        arity: Arity::One,
        value: "full|redacted|off",
        absent: Absent::Value("redacted"),
        help: "What is logged of the queries in URLs",
        more: "Of the target and of `Referer`. `redacted`: without the values of parameters that \
               carry credentials, which [access-log.md](access-log.md) names. `off`: what stands \
               before the `?` alone.",
        example: r#""off""#,
    },
    Setting {
        key: Key::AccessLogRedact,
        name: "access_log_redact",
        arity: Arity::List,
        value: "NAME",
        absent: Absent::Meaning("the usual names alone"),
        help: "Further parameters of queries whose values are not logged",
        more: "In any case of letters, besides the names that [access-log.md](access-log.md) lists; \
               `password` is that of `user[password]` too.",
        example: r#"["session_id", "invite"]"#,
    },
    Setting {
        key: Key::AccessLogStatus,
        name: "access_log_status",
        arity: Arity::List,
        value: "STATUS",
        absent: Absent::Meaning("requests of all statuses"),
        help: "Statuses of which every request is logged",
        more: "`404`, a range `502-504` or a class `5xx`. Others are logged if `access_log_slow` or \
               `access_log_sample` says so.",
        example: r#"["4xx", "5xx"]"#,
    },
    Setting {
        key: Key::AccessLogSlow,
        name: "access_log_slow",
        arity: Arity::One,
        value: "DURATION",
        absent: Absent::Meaning("requests of any duration"),
        help: "From how long on every request is logged",
        more: "By its total time. Tunnels are never slow. Others are logged if `access_log_status` \
               or `access_log_sample` says so.",
        example: r#""500ms""#,
    },
    Setting {
        key: Key::AccessLogSample,
        name: "access_log_sample",
        arity: Arity::One,
        value: "SHARE",
        absent: Absent::Meaning(
            "all, or none where `access_log_status` or `access_log_slow` is set",
        ),
        help: "The share of requests that is logged, from 0 to 1",
        more: "Those with a status from 500 on, and those that `access_log_status` and \
               `access_log_slow` name, are logged whatever it is.",
        example: "0.1",
    },
    Setting {
        key: Key::Config,
        name: "config",
        arity: Arity::One,
        value: "FILE",
        absent: Absent::Meaning("evenkeel.toml here, else /etc/evenkeel/evenkeel.toml, else none"),
        help: "The file of settings",
        more: "A file that is named must exist.",
        example: "",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_one_row() {
        for (place, setting) in SETTINGS.iter().enumerate() {
            assert_eq!(setting.key as usize, place, "{}", setting.name);
            assert_eq!(Setting::named(setting.name).unwrap().key, setting.key);
        }
    }

    #[test]
    fn help_is_one_line_and_more_is_sentences() {
        for setting in &SETTINGS {
            assert!(!setting.help.ends_with('.') && setting.help.len() < 70, "{}", setting.name);
            assert!(
                setting.more.ends_with('.') && !setting.more.contains("  "),
                "{}",
                setting.name
            );
        }
    }
}

//! The layers, and that no mistake hides another.

use super::*;
use crate::config::StaticPool;
use crate::config::setting::Absent;
use crate::config::{AccessLogFormat, DockerAddress};
use crate::domain::tls::{Profile, UnknownName};

/// What a test writes, layer by layer.
#[derive(Default)]
struct Given {
    file: Option<&'static str>,
    env: &'static [(&'static str, &'static str)],
    flags: &'static [(Key, &'static str)],
}

impl Given {
    fn file(text: &'static str) -> Self {
        Self { file: Some(text), ..Self::default() }
    }

    fn env(env: &'static [(&'static str, &'static str)]) -> Self {
        Self { env, ..Self::default() }
    }

    fn flags(flags: &'static [(Key, &'static str)]) -> Self {
        Self { flags, ..Self::default() }
    }

    fn read(&self) -> Reading {
        let flags: Vec<_> = self.flags.iter().map(|&(key, text)| (key, text.to_owned())).collect();
        let env = self.env.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect();
        read(&flags, &env, &|path| match self.file {
            Some(text) if path == Path::new("evenkeel.toml") => Ok(text.to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn config(&self) -> Config {
        let reading = self.read();
        assert_eq!(reading.mistakes, []);
        reading.config
    }

    /// Each mistake as a person reads it.
    fn mistakes(&self) -> Vec<String> {
        let shown = |it: &Mistake| format!("{}: {} ({})", it.place, it.message, it.hint);
        self.read().mistakes.iter().map(shown).collect()
    }
}

fn pool(config: &Config, name: &str) -> StaticPool {
    config.pools.iter().find(|pool| &*pool.name.name == name).unwrap().clone()
}

fn servers(pool: &StaticPool) -> Vec<String> {
    pool.servers.iter().map(|server| format!("{}:{}", server.host, server.port)).collect()
}

#[test]
fn a_later_layer_replaces_the_value_of_an_earlier_one() {
    let mut given = Given::file("admin = 1\nlog = \"warn\"\nuser = 7");
    given.env = &[("EVENKEEL_ADMIN", "2"), ("EVENKEEL_LOG", "debug")];
    given.flags = &[(Key::Admin, "3")];
    let config = given.config();
    assert_eq!(config.admin.to_string(), "127.0.0.1:3");
    assert_eq!(config.log, "debug");
    assert_eq!(config.user, Some(7));
    assert_eq!(config.access_log.format, AccessLogFormat::Combined);
    assert_eq!(config.file, Some("evenkeel.toml".into()));
}

#[test]
fn a_list_is_replaced_as_a_whole() {
    let mut given = Given::file("http = [\":1\", \":2\"]");
    assert_eq!(given.config().http.len(), 2);
    given.flags = &[(Key::Http, ":3"), (Key::Http, "[::1]:4,:5")];
    let http: Vec<String> = given.config().http.iter().map(|it| it.address.to_string()).collect();
    assert_eq!(http, ["0.0.0.0:3", "[::1]:4", "0.0.0.0:5"]);
}

#[test]
fn defaults_are_what_the_table_says() {
    let flags: Vec<(Key, String)> = SETTINGS
        .iter()
        .filter_map(|setting| match setting.absent {
            Absent::Value(text) => Some((setting.key, text.to_owned())),
            Absent::Meaning(_) => None,
        })
        .collect();
    assert!(flags.len() >= 5);
    let nothing = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let told = load(&flags, &BTreeMap::new(), &nothing).unwrap();
    let untold = load(&[], &BTreeMap::new(), &nothing).unwrap();
    assert_eq!(format!("{told:?}"), format!("{untold:?}"));
    assert_eq!(format!("{told:?}"), format!("{:?}", Config::default()));
}

#[test]
fn all_mistakes_of_all_layers_are_told_at_once_with_place_value_and_hint() {
    let mut given = Given::file(
        "htpp = \":80\"\nadmin = \"10.0.0.1\"\nworkers = 0\n\n[pools.api]\nservers = [\n  \"a:1\",\n  \"b\",\n]\n",
    );
    given.env = &[("EVENKEEL_ACESS_LOG", "json"), ("EVENKEEL_USER", "nobody")];
    given.flags = &[(Key::Log, "inof"), (Key::Pool, "web")];
    assert_eq!(
        given.mistakes(),
        [
            "evenkeel.toml:1:1: `htpp` is not a setting (did you mean `http`?)",
            "evenkeel.toml:2:9: `admin` is `10.0.0.1`, which has no port (write it as `10.0.0.1:8000`)",
            "evenkeel.toml:3:11: `workers` is `0`, which is not a number of threads \
             (write a number from 1 to 1024, or leave it out for one a CPU)",
            "evenkeel.toml:8:3: server `b` of pool `api` has no port \
             (write `HOST:PORT`, such as `10.0.0.5:8080` or `[fd00::5]:8080`)",
            "environment EVENKEEL_ACESS_LOG: `EVENKEEL_ACESS_LOG` is not a setting \
             (did you mean `EVENKEEL_ACCESS_LOG`?)",
            "environment EVENKEEL_USER: `user` is `nobody`, which is not a user id \
             (write the number that `id -u NAME` prints, such as `65532`)",
            "flag --log: `log` is `inof`, which is not a log filter (did you mean `info`?)",
            "flag --pool: `pool` is `web`, which names no servers \
             (write `NAME=HOST:PORT,HOST:PORT`, such as `api=10.0.0.5:8080,10.0.0.6:8080`)",
        ]
    );
}

#[test]
fn a_value_that_is_overridden_is_checked_too() {
    let mut given = Given::file("admin = \"x\"");
    given.flags = &[(Key::Admin, ":9")];
    assert_eq!(given.mistakes().len(), 1);
    assert_eq!(given.read().config.admin.port(), 9);
}

#[test]
fn a_syntax_error_is_one_mistake_with_its_line() {
    let mistakes = Given::file("admin = \":1\"\nhttp = [\nuser = = 3\n").mistakes();
    assert_eq!(mistakes.len(), 1);
    assert!(mistakes[0].starts_with("evenkeel.toml:3:"), "{mistakes:?}");
}

#[test]
fn a_label_below_one_with_a_value_is_quoted_and_the_mistake_says_so() {
    let quoted = Given::file("[pools.a]\nservers = 'a:1'\nhold = '1s'\n'hold.max' = 3\n");
    assert_eq!(pool(&quoted.config(), "a").labels["hold.max"], "3");
    let dotted = Given::file("[pools.a]\nservers = 'a:1'\nhold = '1s'\nhold.max = 3\n");
    let mistakes = dotted.mistakes();
    assert!(mistakes[0].contains("`\"hold.max\" = 100`"), "{mistakes:?}");
}

#[test]
fn dashes_and_underscores_are_the_same_but_not_both() {
    assert_eq!(&*Given::file("label-prefix = 'x'").config().labels.prefix, "x");
    assert_eq!(&*Given::file("label_prefix = 'x'").config().labels.prefix, "x");
    let both = Given::file("label-prefix = 'x'\nlabel_prefix = 'x'").mistakes();
    assert_eq!(both.len(), 1);
}

#[test]
fn the_wrong_kind_of_value_is_refused_with_an_example() {
    assert_eq!(
        Given::file("admin = ['x']").mistakes(),
        ["evenkeel.toml:1:9: `admin` is a list, not a value (write `admin = \"0.0.0.0:9090\"`)"]
    );
    assert_eq!(Given::file("http = 1979-05-27").mistakes().len(), 1);
    let table = Given::file("[pool.api]\nservers = ['a:1']").mistakes();
    assert!(table[0].contains("[pools.NAME]"), "{table:?}");
    assert_eq!(Given::file("config = 'x'").mistakes().len(), 1);
}

#[test]
fn labels_of_a_written_pool_are_flattened_and_keep_their_place() {
    let given = Given::file(
        "[pools.Api]\nservers = \"a:1, b:2\"\nhost = [\"x.org\", \"y.org\"]\nshared = true\n\
         health = { path = \"/up\", rise = 2 }\n\"header.X-A\" = \"1\"\n",
    );
    let reading = given.read();
    let api = pool(&given.config(), "api");
    assert_eq!(servers(&api), ["a:1", "b:2"]);
    let labels: Vec<_> = api.labels.iter().map(|(key, text)| format!("{key}={text}")).collect();
    assert_eq!(
        labels,
        ["header.X-A=1", "health.path=/up", "health.rise=2", "host=x.org,y.org", "shared=true"]
    );
    let place = &reading.labels[&(api.name, "health.rise".to_owned())];
    assert_eq!(place.to_string(), "evenkeel.toml:5:26");
}

#[test]
fn a_key_written_twice_in_two_spellings_is_a_mistake() {
    let given = Given::file("[pools.a]\nservers='h:1'\n\"x.y\" = 1\nx.y = 2");
    assert_eq!(given.mistakes().len(), 1);
}

#[test]
fn a_pool_variable_names_its_pool_and_replaces_servers_only() {
    let mut given = Given::file("[pools.my-api]\nservers = ['a:1']\nhost = 'x.org'");
    given.env = &[("EVENKEEL_POOL_MY_API", "b:2 c:3,d:4")];
    let api = pool(&given.config(), "my-api");
    assert_eq!(servers(&api), ["b:2", "c:3", "d:4"]);
    assert_eq!(api.labels["host"], "x.org");
}

#[test]
fn pools_of_one_layer_add_up() {
    let flags =
        Given::flags(&[(Key::Pool, "a=h:1"), (Key::Pool, "a=h:2,h:1"), (Key::Pool, "b=h:3")]);
    let config = flags.config();
    assert_eq!(servers(&pool(&config, "a")), ["h:1", "h:2"]);
    assert_eq!(servers(&pool(&config, "b")), ["h:3"]);
    let words = Given::env(&[("EVENKEEL_POOL", "a=h:1,h:2 b=h:3")]);
    assert_eq!(words.config().pools, config.pools);
    let file = Given::file("pool = ['a=h:1,h:2', 'b=h:3']");
    assert_eq!(file.config().pools, config.pools);
}

#[test]
fn a_pool_without_servers_is_a_mistake() {
    assert_eq!(
        Given::file("[pools.a]\nserver = ['h:1']").mistakes(),
        ["evenkeel.toml:1:8: pool `a` has no servers (did you mean `servers` by `server`?)"]
    );
    assert_eq!(Given::file("[pools.a]\nservers = []").mistakes().len(), 1);
    assert_eq!(Given::flags(&[(Key::Pool, "a=")]).mistakes().len(), 1);
    assert_eq!(Given::file("[pools.'a b']\nservers = ['h:1']").mistakes().len(), 1);
}

#[test]
fn the_usual_files_may_be_absent_but_a_named_one_may_not() {
    assert_eq!(Given::default().config().file, None);
    assert_eq!(
        Given::env(&[("EVENKEEL_CONFIG", "no.toml")]).mistakes(),
        [
            "environment EVENKEEL_CONFIG: `config` is `no.toml`, which cannot be read: entity not found \
          (name a file that exists and that we may read, or leave this out)"
        ]
    );
    assert!(Given::flags(&[(Key::Config, "no.toml")]).mistakes()[0].starts_with("flag --config: "));
}

#[test]
fn a_usual_file_that_cannot_be_read_is_not_passed_over() {
    let denied = |_: &Path| Err(io::ErrorKind::PermissionDenied.into());
    let mistakes = load(&[], &BTreeMap::new(), &denied).unwrap_err();
    assert_eq!(mistakes[0].place, Place::File("evenkeel.toml".into()));
}

#[test]
fn the_file_in_etc_is_read_when_there_is_none_here() {
    let config = load(&[], &BTreeMap::new(), &|path| {
        if path.is_absolute() {
            Ok("user = 9".to_owned())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    });
    assert_eq!(config.unwrap().user, Some(9));
}

#[test]
fn docker_host_counts_only_where_no_setting_says_more() {
    let tcp = |host: &str| Some(DockerAddress::Tcp { host: host.to_owned(), port: 2375 });
    let mut given = Given::env(&[("DOCKER_HOST", "tcp://a")]);
    assert_eq!(given.config().docker, tcp("a"));
    given.file = Some("docker = 'tcp://b'");
    assert_eq!(given.config().docker, tcp("b"));
    given.flags = &[(Key::Docker, "off")];
    assert_eq!(given.config().docker, None);
    let wrong = Given::env(&[("DOCKER_HOST", "ssh://me@host")]).mistakes();
    assert!(wrong[0].starts_with("environment DOCKER_HOST: "), "{wrong:?}");
    let unused =
        Given { env: &[("DOCKER_HOST", "ssh://h")], flags: &[(Key::Docker, "off")], file: None };
    assert_eq!(unused.config().docker, None);
}

#[test]
fn an_empty_variable_says_nothing_and_a_foreign_one_is_not_ours() {
    let given = Given::env(&[("EVENKEEL_ADMIN", ""), ("EVENKEEL_NEW", " "), ("EVEN", "x")]);
    assert_eq!(given.config().admin, Config::default().admin);
}

#[test]
fn a_variable_that_is_not_utf8_is_a_mistake() {
    let mistakes = Given::env(&[("EVENKEEL_CONSTRAINT", "a=\u{fffd}")]).mistakes();
    assert_eq!(mistakes.len(), 1);
    assert!(mistakes[0].contains("UTF-8"), "{mistakes:?}");
}

#[test]
fn two_listeners_on_one_port_are_a_mistake() {
    for flags in [
        &[(Key::Http, ":9090")][..],
        &[(Key::Http, ":80"), (Key::Http, "10.0.0.1:80")],
        &[(Key::Http, "[::1]:80"), (Key::Http, "[::]:80")],
    ] {
        let flags: Vec<_> = flags.iter().map(|&(key, text)| (key, text.to_owned())).collect();
        let mistakes = load(&flags, &BTreeMap::new(), &|_| Err(io::ErrorKind::NotFound.into()));
        assert_eq!(mistakes.unwrap_err().len(), 1, "{flags:?}");
    }
    let apart =
        Given::flags(&[(Key::Http, "10.0.0.1:80"), (Key::Http, "10.0.0.2:80"), (Key::Http, "0")]);
    assert_eq!(apart.config().http.len(), 3);
}

#[test]
fn a_mistake_elsewhere_does_not_keep_anyone_from_the_admin_port() {
    let nothing = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let env = BTreeMap::from([("EVENKEEL_USER".to_owned(), "nobody".to_owned())]);
    let flags = [(Key::Admin, ":7".to_owned())];
    assert_eq!(load_admin(&flags, &env, &nothing).unwrap().port(), 7);
    let flags = [(Key::Admin, "x".to_owned())];
    assert_eq!(load_admin(&flags, &env, &nothing).unwrap_err().len(), 2);
    assert!(load_admin(&[], &BTreeMap::new(), &|_| Ok("admin = = 3".to_owned())).is_err());
}

#[test]
fn constraints_and_proxies_are_lists() {
    let config = Given::env(&[
        ("EVENKEEL_CONSTRAINT", "a=b c=d,e"),
        ("EVENKEEL_TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("EVENKEEL_PROXY_PROTOCOL", "10.0.0.1 fd00::/8"),
    ])
    .config();
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(config.labels.constraints, [pair("a", "b"), pair("c", "d,e")]);
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.proxy_protocol.len(), 2);
}

#[test]
fn a_token_is_read_from_its_file_and_every_fault_of_it_is_a_mistake() {
    let of_file = |text: &'static str| {
        move |path: &Path| match path == Path::new("token") {
            true => Ok(text.to_owned()),
            false => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    };
    let flags = [(Key::AdminTokenFile, "token".to_owned())];
    let env = BTreeMap::new();
    let token = load(&flags, &env, &of_file("0123456789abcdef\n")).unwrap().admin_token.unwrap();
    assert_eq!(token.secret(), "0123456789abcdef");
    for (file, message) in [
        ("", "`admin_token_file` is `token`, which has no token in its first line"),
        (
            "short",
            "`admin_token_file` is `token`, which has a token of 5 characters, which is too short",
        ),
    ] {
        let mistakes = load(&flags, &env, &of_file(file)).unwrap_err();
        assert_eq!(mistakes[0].message, message);
        assert_eq!(mistakes[0].place, Place::Flag("admin-token-file".to_owned()));
    }
    let absent = [(Key::AdminTokenFile, "absent".to_owned())];
    let mistakes = load(&absent, &env, &of_file("")).unwrap_err();
    assert!(mistakes[0].message.contains("which cannot be read: "), "{mistakes:?}");
    assert!(load_client(&absent, &env, &of_file("")).is_err());
    assert!(load_admin(&absent, &env, &of_file("")).is_ok(), "health needs no token");
    let client = load_client(&flags, &env, &of_file("0123456789abcdef")).unwrap();
    assert_eq!(client.token, Some(token));
}

#[test]
fn who_may_read_the_admin_port_is_a_list_and_localhost_a_switch() {
    let given = Given::flags(&[(Key::AdminAllow, "10.0.0.0/8,::1"), (Key::Localhost, "off")]);
    let config = given.config();
    assert_eq!((config.admin_allow.len(), config.localhost), (2, false));
    assert!(Config::default().localhost);
    let mistakes = Given::flags(&[(Key::Localhost, "maybe")]).mistakes();
    assert_eq!(
        mistakes,
        [
            "flag --localhost: `localhost` is `maybe`, which is neither on nor off (write `on` or `off`)"
        ]
    );
    assert_eq!(Given::flags(&[(Key::AdminAllow, "everyone")]).mistakes().len(), 1);
}

#[test]
fn an_external_account_is_an_id_and_a_key() {
    let given = Given::flags(&[(Key::AcmeEabKid, "kid-1")]);
    assert_eq!(
        given.mistakes(),
        ["flag --acme-eab-kid: `acme_eab_kid` is `kid-1`, which has no key beside it (give the \
          file with its key too, as `acme_eab_key_file`)"]
    );
    let given = Given::flags(&[(Key::AcmeEabKeyFile, "/key")]);
    assert_eq!(
        given.mistakes(),
        ["flag --acme-eab-key-file: `acme_eab_key_file` is `/key`, which has no key id beside it \
          (give the id that belongs to it too, as `acme_eab_kid`)"]
    );
    let both = [(Key::AcmeEabKid, "kid-1".to_owned()), (Key::AcmeEabKeyFile, "/key".to_owned())];
    let config = load(&both, &BTreeMap::new(), &|path| match path.to_str() {
        Some("/key") => Ok("c2VjcmV0\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    });
    let binding = config.unwrap().acme.binding.unwrap();
    assert_eq!((&*binding.key_id, &*binding.key), ("kid-1", &b"secret"[..]));
}

#[test]
fn a_directory_may_have_its_own_authorities() {
    let given = Given::flags(&[(Key::AcmeCa, "/ca.pem")]);
    let mistakes = given.mistakes();
    assert!(mistakes[0].contains("`acme_ca` is `/ca.pem`, which cannot be read"), "{mistakes:?}");
    let given = Given::file("acme_directory = \"http://acme.example.com/\"");
    assert!(given.mistakes()[0].contains("is not encrypted"), "{:?}", given.mistakes());
}

#[test]
fn a_certificate_and_its_key_may_come_from_two_layers() {
    let mut given = Given::file("tls_cert = \"a.crt\"\ntls_dir = \"certs\"\nsni = \"strict\"");
    given.env = &[("EVENKEEL_TLS_KEY", "/run/a.key"), ("EVENKEEL_TLS_PROFILE", "modern")];
    given.flags = &[(Key::TlsClientCa, "ca.pem"), (Key::State, "/data")];
    let config = given.config();
    let pair = PairFiles { certificate: "a.crt".into(), key: "/run/a.key".into() };
    assert_eq!(config.tls.pair, Some(pair));
    assert_eq!(config.tls.folder, Some("certs".into()));
    assert_eq!(config.tls.client_ca, Some("ca.pem".into()));
    assert!(config.labels.served.unwrap().client_ca, "labels may ask for them");
    assert_eq!(config.tls.profile, Profile::Modern);
    assert_eq!(config.tls.unknown_name, UnknownName::Refuse);
    assert_eq!(config.state, Path::new("/data"));
}

#[test]
fn a_certificate_without_its_key_is_a_mistake_and_so_is_a_key_alone() {
    let hint = "(name the certificate and its key, or leave both out)";
    let given = Given::flags(&[(Key::TlsCert, "a.crt")]);
    let expected = format!("flag --tls-cert: `tls_cert` stands without `tls_key` {hint}");
    assert_eq!(given.mistakes(), [expected]);
    let given = Given::env(&[("EVENKEEL_TLS_KEY", "a.key")]);
    let expected =
        format!("environment EVENKEEL_TLS_KEY: `tls_key` stands without `tls_cert` {hint}");
    assert_eq!(given.mistakes(), [expected]);
    assert_eq!(given.read().config.tls.pair, None);
}

#[test]
fn what_is_kept_has_a_place_that_is_named_in_full() {
    let given = Given::flags(&[(Key::State, "state"), (Key::TlsProfile, "old")]);
    let mistakes = given.mistakes();
    assert!(mistakes[0].contains("`state` is `state`, which is no absolute path"), "{mistakes:?}");
    assert!(mistakes[1].contains("`tls_profile` is `old`, which is not served"), "{mistakes:?}");
}

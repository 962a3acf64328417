//! From the layers to one checked [`Config`]: defaults, then the file, then the
//! environment, then flags.

mod binding;
mod pools;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config::access_log;
use crate::config::acme;
use crate::config::docker::{self, Tls};
use crate::config::file;
use crate::config::layer::{self, Layer, Written};
use crate::config::load::binding::AcmeFiles;
use crate::config::load::pools::Pool;
use crate::config::mistake::{Fault, Mistake, Place};
use crate::config::setting::Setting;
use crate::config::settings::{Key, SETTINGS};
use crate::config::sticky;
use crate::config::tls;
use crate::config::value;
use crate::config::{Config, PairFiles, Token};
use crate::domain::files::Files;
use crate::domain::names::PoolName;

/// What was found, mistakes and all.
#[derive(Debug)]
pub struct Reading {
    /// What is mistaken keeps the value of the layer below.
    pub config: Config,
    /// Every mistake of every layer, in the order of the layers.
    pub mistakes: Vec<Mistake>,
    /// Where written pools stand.
    pub pools: BTreeMap<PoolName, Place>,
    /// Where their labels stand, by pool and dotted key.
    pub labels: BTreeMap<(PoolName, String), Place>,
    /// Which settings have a mistake of their own.
    mistaken: Vec<Key>,
}

/// How to ask a running balancer.
#[derive(Clone, Debug)]
pub struct Client {
    pub admin: SocketAddr,
    pub token: Option<Token>,
}

/// Reads the whole of a file.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// The settings, or everything that is wrong with them.
pub fn load(
    flags: &[(Key, String)],
    env: &BTreeMap<String, String>,
    read_file: ReadFile<'_>,
) -> Result<Config, Vec<Mistake>> {
    let reading = read(flags, env, read_file);
    if reading.mistakes.is_empty() { Ok(reading.config) } else { Err(reading.mistakes) }
}

/// Where a running balancer answers. Mistakes that do not concern this do not
/// keep anyone from asking it.
pub fn load_admin(
    flags: &[(Key, String)],
    env: &BTreeMap<String, String>,
    read_file: ReadFile<'_>,
) -> Result<SocketAddr, Vec<Mistake>> {
    let reading = read(flags, env, read_file);
    if reading.is_mistaken(&[Key::Admin, Key::Config]) {
        return Err(reading.mistakes);
    }
    Ok(reading.config.admin)
}

/// What it takes to ask a running balancer for more than everybody may read.
/// Mistakes that do not concern this do not keep anyone from it.
pub fn load_client(
    flags: &[(Key, String)],
    env: &BTreeMap<String, String>,
    read_file: ReadFile<'_>,
) -> Result<Client, Vec<Mistake>> {
    let reading = read(flags, env, read_file);
    if reading.is_mistaken(&[Key::Admin, Key::AdminTokenFile, Key::Config]) {
        return Err(reading.mistakes);
    }
    Ok(Client { admin: reading.config.admin, token: reading.config.admin_token })
}

/// Reads every layer, keeping what is good in spite of what is not.
pub fn read(
    flags: &[(Key, String)],
    env: &BTreeMap<String, String>,
    read_file: ReadFile<'_>,
) -> Reading {
    let flags = layer::of_flags(flags);
    let environment = layer::of_environment(env);
    let named = [&flags, &environment].into_iter().find_map(Layer::named_file);
    let mut reader = Reader::new(Tls::read(env));
    if let Some(layer) = reader.file(named, read_file) {
        reader.apply(layer);
    }
    reader.apply(environment);
    reader.apply(flags);
    reader.docker_host(env);
    reader.admin_token(read_file);
    reader.sticky_key(read_file);
    reader.acme(read_file);
    reader.pair();
    reader.listeners();
    reader.finish()
}

struct Reader {
    config: Config,
    tls: Tls,
    token_file: Option<Written>,
    sticky_key_file: Option<Written>,
    acme: AcmeFiles,
    pools: BTreeMap<PoolName, Pool>,
    /// Where each setting was last given.
    places: BTreeMap<Key, Place>,
    mistakes: Vec<Mistake>,
    mistaken: Vec<Key>,
}

impl Reading {
    fn is_mistaken(&self, keys: &[Key]) -> bool {
        keys.iter().any(|key| self.mistaken.contains(key))
    }
}

impl Reader {
    fn new(tls: Tls) -> Self {
        Self {
            config: Config::default(),
            tls,
            token_file: None,
            sticky_key_file: None,
            acme: AcmeFiles::default(),
            pools: BTreeMap::new(),
            places: BTreeMap::new(),
            mistakes: Vec::new(),
            mistaken: Vec::new(),
        }
    }

    /// The file that was named, or the first of the usual ones that exists.
    fn file(&mut self, named: Option<&Written>, read_file: ReadFile<'_>) -> Option<Layer> {
        if let Some(named) = named {
            return match read_file(Path::new(&named.text)) {
                Ok(text) => Some(self.parse(named.text.as_str().into(), &text)),
                Err(error) => {
                    let fault = Fault::new(
                        format!("cannot be read: {error}"),
                        "name a file that exists and that we may read, or leave this out",
                    );
                    self.mistaken.push(Key::Config);
                    self.fault(named, fault);
                    None
                }
            };
        }
        for usual in USUAL_FILES {
            match read_file(Path::new(usual)) {
                Ok(text) => return Some(self.parse(usual.into(), &text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let message = format!("the file cannot be read: {error}");
                    let hint = "make it readable, or name another with --config";
                    self.mistaken.push(Key::Config);
                    self.mistakes.push(Mistake::new(Place::File(usual.into()), message, hint));
                    return None;
                }
            }
        }
        None
    }

    fn parse(&mut self, path: PathBuf, text: &str) -> Layer {
        let layer = file::read(&path, text);
        if layer.is_broken {
            self.mistaken.push(Key::Config);
        }
        self.config.file = Some(path);
        layer
    }

    /// Lays `layer` over what is known.
    fn apply(&mut self, layer: Layer) {
        self.mistakes.extend(layer.mistakes);
        let (flat, values): (Vec<_>, Vec<_>) =
            layer.values.into_iter().partition(|written| written.setting.key == Key::Pool);
        for setting in &SETTINGS {
            let group: Vec<&Written> =
                values.iter().filter(|written| written.setting.key == setting.key).collect();
            if let Some(last) = group.last() {
                self.places.insert(setting.key, last.place.clone());
                self.set(setting, &group);
            }
        }
        let mut pools = layer.pools;
        pools.extend(flat.iter().filter_map(|written| self.flat_pool(written)));
        self.lay_pools(pools);
    }

    fn set(&mut self, setting: &'static Setting, group: &[&Written]) {
        match setting.key {
            Key::Http => {
                let parse = |text: &str| value::entry_point(text, "http", "https");
                if let Some(entry_points) = self.list(group, parse) {
                    self.config.http = entry_points;
                }
            }
            Key::Https => {
                let parse = |text: &str| value::entry_point(text, "https", "http");
                if let Some(entry_points) = self.list(group, parse) {
                    self.config.https = entry_points;
                }
            }
            Key::TlsCert => {
                self.one(group, tls::path, |config, path| pair(config).certificate = path);
            }
            Key::TlsKey => self.one(group, tls::path, |config, path| pair(config).key = path),
            Key::TlsDir => {
                self.one(group, tls::path, |config, path| config.tls.folder = Some(path));
            }
            Key::TlsClientCa => {
                self.one(group, tls::path, |config, path| config.tls.client_ca = Some(path));
            }
            Key::TlsProfile => {
                self.one(group, tls::profile, |config, profile| config.tls.profile = profile);
            }
            Key::Sni => {
                self.one(group, tls::sni, |config, unknown| config.tls.unknown_name = unknown)
            }
            Key::Admin => {
                let parse = |text: &str| value::listen(text, Ipv4Addr::LOCALHOST);
                self.one(group, parse, |config, address| config.admin = address);
            }
            Key::AdminTokenFile => {
                self.token_file = group.last().map(|&written| written.clone());
            }
            Key::AdminAllow => {
                if let Some(networks) = self.list(group, value::network) {
                    self.config.admin_allow = networks;
                }
            }
            Key::Docker => {
                let tls = self.tls.clone();
                let parse = |text: &str| docker::setting(text, &tls);
                self.one(group, parse, |config, address| config.docker = address);
            }
            Key::Workers => {
                self.one(group, value::workers, |config, count| config.workers = Some(count));
            }
            Key::User => self.one(group, value::uid, |config, uid| config.user = Some(uid)),
            Key::State => {
                let parse = |text: &str| value::folder(text).map(Path::to_owned);
                self.one(group, parse, |config, path| config.state = path);
            }
            Key::LabelPrefix => {
                let parse = |text: &str| value::label_prefix(text).map(Into::into);
                self.one(group, parse, |config, prefix| config.labels.prefix = prefix);
            }
            Key::LabelFiles => {
                let parse = |text: &str| value::folder(text).map(Files::beneath);
                self.one(group, parse, |config, files| config.labels.files = files.into());
            }
            Key::Constraint => {
                if let Some(constraints) = self.each(group, value::constraint) {
                    self.config.labels.constraints = constraints;
                }
            }
            Key::TrustedProxies => {
                if let Some(networks) = self.list(group, value::network) {
                    self.config.trusted_proxies = networks;
                }
            }
            Key::HttpsPublicPort => {
                self.one(group, value::port, |config, port| config.https_public_port = port);
            }
            Key::KeepAlive => {
                self.one(group, value::keep_alive, |config, time| config.keep_alive = time);
            }
            Key::StickyKeyFile => {
                self.sticky_key_file = group.last().map(|&written| written.clone());
            }
            Key::ProxyProtocol => {
                if let Some(networks) = self.list(group, value::network) {
                    self.config.proxy_protocol = networks;
                }
            }
            Key::ConnectionsPerClient => {
                let set = |config: &mut Config, most| config.connections_per_client = most;
                self.one(group, value::connections, set);
            }
            Key::MemoryLimit => {
                self.one(group, value::memory, |config, limit| config.memory_limit = limit);
            }
            Key::Localhost => self.one(group, value::switch, |config, on| config.localhost = on),
            Key::MetricsTraefik => {
                self.one(group, value::switch, |config, on| config.metrics_traefik = on);
            }
            Key::AcmeEmail => {
                self.one(group, acme::email, |config, email| config.acme.email = Some(email));
            }
            Key::AcmeDirectory => {
                self.one(group, acme::Directory::read, |config, it| config.acme.directory = it);
            }
            Key::AcmeCa => self.acme.authorities = group.last().map(|&written| written.clone()),
            Key::AcmeEabKid => self.acme.key_id = group.last().map(|&written| written.clone()),
            Key::AcmeEabKeyFile => self.acme.key = group.last().map(|&written| written.clone()),
            Key::AcmeChallenge => {
                self.one(group, acme::challenge, |config, it| config.acme.challenge = it);
            }
            Key::Log => self.one(group, value::log_filter, |config, filter| config.log = filter),
            Key::AccessLog => {
                self.one(group, access_log::format, |config, it| config.access_log.format = it);
            }
            Key::AccessLogQuery => {
                self.one(group, access_log::query, |config, it| config.access_log.query = it);
            }
            Key::AccessLogRedact => {
                let names = self.list(group, access_log::parameter).map(access_log::parameters);
                match (names, group.last()) {
                    (Some(Ok(names)), _) => self.config.access_log.redact = names,
                    (Some(Err(fault)), Some(written)) => self.fault(written, fault),
                    (Some(Err(_)), None) | (None, _) => {}
                }
            }
            Key::AccessLogStatus => {
                if let Some(statuses) = self.list(group, access_log::status) {
                    self.config.access_log.statuses = statuses;
                }
            }
            Key::AccessLogSlow => {
                self.one(group, access_log::slow, |config, it| config.access_log.slow = Some(it));
            }
            Key::AccessLogSample => {
                let set = |config: &mut Config, share| config.access_log.sample = Some(share);
                self.one(group, access_log::sample, set);
            }
            // The file was read before all else, and pools are laid by name.
            Key::Config | Key::Pool => {}
        }
    }

    /// Sets what has one value. Every value is checked; the last one holds.
    fn one<T>(
        &mut self,
        group: &[&Written],
        parse: impl Fn(&str) -> Result<T, Fault>,
        set: impl FnOnce(&mut Config, T),
    ) {
        let values = self.each(group, |text| parse(text.trim()));
        if let Some(value) = values.and_then(|mut values| values.pop()) {
            set(&mut self.config, value);
        }
    }

    /// The values of `group`, one of each text; none if any is mistaken.
    fn each<T>(
        &mut self,
        group: &[&Written],
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<Vec<T>> {
        let mut values = Some(Vec::new());
        for written in group {
            match parse(&written.text) {
                Ok(value) => {
                    if let Some(values) = &mut values {
                        values.push(value);
                    }
                }
                Err(fault) => {
                    self.fault(written, fault);
                    values = None;
                }
            }
        }
        values
    }

    /// The values of `group`, several of each text; none if any is mistaken.
    fn list<T>(
        &mut self,
        group: &[&Written],
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<Vec<T>> {
        let parts: Vec<Written> = group
            .iter()
            .flat_map(|written| {
                value::list(&written.text)
                    .map(|part| Written { text: part.to_owned(), ..(*written).clone() })
            })
            .collect();
        self.each(&parts.iter().collect::<Vec<_>>(), parse)
    }

    /// Asks the environment of the Docker CLI where no setting says more.
    fn docker_host(&mut self, env: &BTreeMap<String, String>) {
        if self.places.contains_key(&Key::Docker) {
            return;
        }
        match docker::from_docker_host(env, &self.tls) {
            Some(Ok(address)) => self.config.docker = Some(address),
            Some(Err(mistake)) => self.mistakes.push(mistake),
            None => {}
        }
    }

    /// Reads the token from the file that the last layer names.
    fn admin_token(&mut self, read_file: ReadFile<'_>) {
        let Some(written) = self.token_file.take() else { return };
        match secret(&written, read_file).and_then(|file| Token::read(&file)) {
            Ok(token) => self.config.admin_token = Some(token),
            Err(fault) => self.fault(&written, fault),
        }
    }

    /// Reads the key of cookies from the file that the last layer names.
    fn sticky_key(&mut self, read_file: ReadFile<'_>) {
        let Some(written) = self.sticky_key_file.take() else { return };
        match secret(&written, read_file).and_then(|file| sticky::key(&file)) {
            Ok(key) => self.config.sticky_key = Some(key),
            Err(fault) => self.fault(&written, fault),
        }
    }

    /// Finds a certificate without its key, and the other way round.
    fn pair(&mut self) {
        let Some(pair) = &self.config.tls.pair else { return };
        let (given, missing, key) = match (is_given(&pair.certificate), is_given(&pair.key)) {
            (true, false) => ("tls_cert", "tls_key", Key::TlsCert),
            (false, true) => ("tls_key", "tls_cert", Key::TlsKey),
            (true, true) | (false, false) => return,
        };
        self.config.tls.pair = None;
        // What is given and mistaken has been told.
        if !self.mistaken.iter().any(|it| matches!(it, Key::TlsCert | Key::TlsKey)) {
            let place = self.places.get(&key).cloned();
            let place = place.unwrap_or_else(|| Place::Flag(given.to_owned()));
            let message = format!("`{given}` stands without `{missing}`");
            let hint = "name the certificate and its key, or leave both out";
            self.mistakes.push(Mistake::new(place, message, hint));
        }
    }

    /// Finds two listeners on one port, which could not both be bound.
    fn listeners(&mut self) {
        let mut taken = vec![("admin", self.config.admin)];
        let http = self.config.http.iter().map(|it| ("http", Key::Http, it.address));
        let https = self.config.https.iter().map(|it| ("https", Key::Https, it.address));
        for (setting, key, address) in http.chain(https) {
            let clash = taken.iter().find(|(_, other)| collide(address, *other));
            if let Some((name, other)) = clash {
                let given = self.places.get(&key).or_else(|| self.places.get(&Key::Admin));
                let place = given.cloned().unwrap_or(Place::Flag(setting.to_owned()));
                let message =
                    format!("`{setting}` is `{address}`, which `{name}` takes with `{other}`");
                self.mistakes.push(Mistake::new(place, message, "choose another port"));
            }
            taken.push((setting, address));
        }
    }

    fn fault(&mut self, written: &Written, fault: Fault) {
        self.mistaken.push(written.setting.key);
        let name = written.setting.name;
        self.mistakes.push(Mistake::of(written.place.clone(), name, &written.text, fault));
    }

    fn finish(mut self) -> Reading {
        let (pools, labels) = self.finish_pools();
        self.config.labels.served = Some(self.config.served());
        self.mistakes.sort();
        Reading {
            config: self.config,
            mistakes: self.mistakes,
            pools,
            labels,
            mistaken: self.mistaken,
        }
    }
}

/// What stands in the file that `written` names.
fn secret(written: &Written, read_file: ReadFile<'_>) -> Result<String, Fault> {
    read_file(Path::new(written.text.trim())).map_err(|error| {
        let hint = "name a file that exists and that we may read, or leave this out";
        Fault::new(format!("cannot be read: {error}"), hint)
    })
}

/// The default certificate, one half of which may not be there yet.
fn pair(config: &mut Config) -> &mut PairFiles {
    config.tls.pair.get_or_insert_default()
}

fn is_given(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

/// Whether both cannot be bound. Port 0 asks for any free one.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let anywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    let family = one.is_ipv4() == other.is_ipv4();
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || (anywhere && family))
}

/// Tried in this order when no file is named.
const USUAL_FILES: [&str; 2] = ["evenkeel.toml", "/etc/evenkeel/evenkeel.toml"];

#[cfg(test)]
mod tests;

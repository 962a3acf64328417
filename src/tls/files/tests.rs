//! Files that come, change, break and go.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::config::PairFiles;
use crate::domain::tls::{ClientAuth, Profile, UnknownName};
use crate::tls::made::{Authority, DAY, Made, Term};
use crate::tls::store::Choice;

#[test]
fn a_pair_serves_from_the_first_look_and_a_new_one_once_it_is_still() {
    let mut site = Site::with_pair(&Authority::new("a").issue(&["a.example"]));
    assert_eq!(site.look(), NONE);
    assert_eq!(site.served(), ["a.example"]);

    site.put_pair(&Authority::new("b").issue(&["b.example"]));
    assert_eq!(site.look(), NONE);
    assert_eq!(site.served(), ["a.example"], "it may be half written");
    assert_eq!(site.look(), NONE);
    assert_eq!(site.served(), ["b.example"]);
}

#[test]
fn a_certificate_that_comes_before_its_key_is_told_when_the_key_stays_away() {
    let authority = Authority::new("a");
    let mut site = Site::with_pair(&authority.issue(&["a.example"]));
    site.look();
    let new = authority.issue(&["b.example"]);
    site.put("site.crt", &new.chain);
    let began = site.now;
    let problems = loop {
        let problems = site.look();
        assert_eq!(site.served(), ["a.example"]);
        if !problems.is_empty() {
            break problems;
        }
        assert!(site.now < began + 2 * PATIENCE);
    };
    assert!(site.now >= began + PATIENCE, "whoever renews it has time to write both");
    assert!(problems[0].contains("site.key` cannot be used: the key belongs to another certificate; the one before it stays in use"), "{problems:?}");
    let fault = site.store.standings()[0].fault.clone().unwrap();
    assert!(fault.contains("the key belongs to another"), "{fault}");

    site.put("site.key", &new.key);
    site.look();
    assert_eq!(site.look(), NONE);
    assert_eq!(site.served(), ["b.example"]);
    assert_eq!(site.store.standings()[0].fault, None);
}

#[test]
fn what_is_bad_from_the_start_is_told_at_once_and_serves_when_it_is_mended() {
    let made = Authority::new("a").issue(&["a.example"]);
    let mut site = Site::with_pair(&made);
    site.put("site.crt", "not yet");
    let problems = site.look();
    assert!(problems[0].contains("site.crt`: it cannot be used: it holds no certificate in PEM form; there is none before it"), "{problems:?}");
    assert_eq!(site.served(), ["", "localhost"]);
    site.put("site.crt", &made.chain);
    assert_eq!(site.look(), NONE);
    assert_eq!(site.served(), ["a.example"]);
}

#[test]
fn a_file_that_vanishes_takes_nothing_along() {
    let mut site = Site::with_pair(&Authority::new("a").issue(&["a.example"]));
    site.look();
    fs::remove_file(site.path("site.key")).unwrap();
    let problems = site.wait_for_problems();
    assert!(problems[0].contains("site.key` is not there; the one before it stays in use"));
    assert_eq!(site.served(), ["a.example"]);
}

#[test]
fn what_is_no_small_file_is_not_read() {
    let made = Authority::new("a").issue(&["a.example"]);
    let mut site = Site::with_pair(&made);
    let padded = |bytes: usize| "\n".repeat(bytes - made.chain.len()) + &made.chain;
    site.put("site.crt", &padded((1 << 20) + 1));
    assert!(site.look()[0].contains("site.crt` is larger than 1 MiB"));
    site.put("site.crt", &padded(1 << 20));
    assert_eq!(site.look(), NONE);

    let mut site = Site::with_pair(&made);
    fs::remove_file(site.path("site.crt")).unwrap();
    let status = std::process::Command::new("mkfifo").arg(site.path("site.crt")).status();
    assert!(status.unwrap().success());
    assert!(site.look()[0].contains("site.crt` is no file"));
}

#[test]
fn one_that_has_expired_replaces_none_that_is_good() {
    let authority = Authority::new("a");
    let over = authority.issue_for(&["over.example"], Term::over());
    let mut site = Site::with_pair(&authority.issue(&["a.example"]));
    site.look();
    site.put_pair(&over);
    let problems = site.wait_for_problems();
    assert!(problems[0].contains("the new certificate is good only from"), "{problems:?}");
    assert_eq!(site.served(), ["a.example"]);

    let mut site = Site::with_pair(&over);
    let problems = site.look();
    assert!(problems[0].contains("site.crt`: it has expired at 20"), "{problems:?}");
    assert_eq!(site.served(), ["over.example"], "it is better than nothing");
}

#[test]
fn one_that_is_good_from_tomorrow_on_serves_from_then_on_as_it_lies_there() {
    let authority = Authority::new("a");
    let mut site = Site::with_pair(&authority.issue(&["a.example"]));
    site.look();
    let start = site.date;
    let term = Term { from: start + DAY, until: start + 90 * DAY };
    site.put_pair(&authority.issue_for(&["b.example"], term));
    let problems = site.wait_for_problems();
    assert!(problems[0].contains("the new certificate is good only from"), "{problems:?}");
    site.date = start + DAY - Duration::from_secs(1);
    site.look();
    assert_eq!(site.served(), ["a.example"]);
    site.date = start + DAY;
    assert_eq!(site.look(), NONE);
    assert_eq!(site.served(), ["b.example"]);
}

#[test]
fn a_key_that_everybody_may_read_is_told_and_serves() {
    let mut site = Site::with_pair(&Authority::new("a").issue(&["a.example"]));
    let key = site.path("site.key");
    fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let problems = site.look();
    assert!(problems[0].contains("every user of the machine may read the private key"));
    assert_eq!(site.served(), ["a.example"]);
    assert_eq!(site.look(), problems, "as long as it is so");
    fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
    site.look();
    assert_eq!(site.look(), NONE);
}

#[test]
fn what_does_not_belong_to_a_chain_is_told_and_it_serves_without() {
    let [authority, other] = ["a", "b"].map(Authority::new);
    let made = authority.issue(&["a.example"]).with(&other).with(&authority).with(&authority);
    let mut site = Site::with_pair(&made);
    let problems = site.look();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("the certificates at places 2, 4 of the chain are not sent"));
    assert_eq!(site.served(), ["a.example"]);
}

#[test]
fn two_weeks_before_the_end_it_is_told() {
    let made = Authority::new("a").issue_for(&["a.example"], Term::days(90));
    let mut site = Site::with_pair(&made);
    let start = site.date;
    let day = |count| start + DAY * count;
    for (date, told) in [
        (day(75), None),
        (day(77), Some("it expires at 20")),
        (day(89), Some("it expires at 20")),
        (day(91), Some("it has expired at 20")),
        (start - 3 * DAY, Some("it is good only from 20")),
    ] {
        site.date = date;
        let problems = site.look();
        match told {
            Some(told) => assert!(problems[0].contains(told), "{problems:?}"),
            None => assert_eq!(problems, NONE),
        }
    }
}

#[test]
fn the_same_bytes_in_other_files_end_no_session() {
    let made = Authority::new("a").issue(&["a.example"]);
    let mut site = Site::with_pair(&made);
    site.look();
    let before = site.choice("a.example");
    site.put_pair(&made);
    site.look();
    site.look();
    assert!(Arc::ptr_eq(&before.config, &site.choice("a.example").config));
}

#[test]
fn pairs_of_a_folder_come_and_go_and_the_first_is_the_default() {
    let authority = Authority::new("a");
    let mut site = Site::with_folder();
    assert!(site.look()[0].contains("holds no certificate with its key"));
    for name in ["b", "c"] {
        site.put_named(name, &authority.issue(&[&format!("{name}.example")]));
    }
    assert_eq!(site.look(), NONE);
    assert_eq!(site.served(), ["b.example", "c.example"]);
    assert_eq!(site.default(), "b.example");
    site.put_named("default", &authority.issue(&["z.example"]));
    site.look();
    assert_eq!(site.default(), "z.example");

    fs::remove_file(site.path("b.crt")).unwrap();
    fs::remove_file(site.path("b.key")).unwrap();
    site.look();
    assert_eq!(site.served().len(), 3, "it may come back at once");
    let gone_at = site.now + PATIENCE;
    while site.now < gone_at {
        site.look();
    }
    assert_eq!(site.served(), ["z.example", "c.example"]);
}

#[test]
fn a_folder_that_is_swapped_by_a_link_is_seen() {
    let authority = Authority::new("a");
    let mut site = Site::with_folder();
    for (version, name) in [("..1", "a.example"), ("..2", "b.example")] {
        let folder = site.path(version);
        fs::create_dir(&folder).unwrap();
        authority.issue(&[name]).write(&folder.join("tls.crt"), &folder.join("tls.key"));
        fs::set_permissions(folder.join("tls.key"), PermissionsExt::from_mode(0o600)).unwrap();
    }
    symlink("..1", site.path("..data")).unwrap();
    for file in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{file}"), site.path(file)).unwrap();
    }
    assert_eq!(site.look(), NONE);
    assert_eq!(site.served(), ["a.example"]);
    symlink("..2", site.path("..new")).unwrap();
    fs::rename(site.path("..new"), site.path("..data")).unwrap();
    site.look();
    assert_eq!(site.look(), NONE);
    assert_eq!(site.served(), ["b.example"]);
}

#[test]
fn a_folder_that_is_away_takes_nothing_along() {
    let mut site = Site::with_folder();
    site.put_named("a", &Authority::new("a").issue(&["a.example"]));
    site.look();
    fs::rename(site.root.path().join("files"), site.root.path().join("away")).unwrap();
    let problems = site.wait_for_problems();
    assert!(problems[0].contains("which cannot be read"), "{problems:?}");
    assert_eq!(site.served(), ["a.example"]);
}

#[test]
fn a_folder_that_is_emptied_takes_nothing_along() {
    let authority = Authority::new("a");
    let mut site = Site::with_folder();
    site.put_named("a", &authority.issue(&["a.example"]));
    site.look();
    for file in ["a.crt", "a.key"] {
        fs::remove_file(site.path(file)).unwrap();
    }
    let until = site.now + 3 * PATIENCE;
    while site.now < until {
        let problems = site.look();
        assert!(problems[0].contains("holds no certificate with its key; those that were there"));
        assert_eq!(site.served(), ["a.example"]);
    }
    site.put_named("b", &authority.issue(&["b.example"]));
    assert_eq!(site.look(), NONE);
    assert_eq!(site.served(), ["b.example"], "it is mounted again, with others");
}

#[test]
fn a_key_without_a_certificate_is_told() {
    let mut site = Site::with_folder();
    site.put("a.key", "");
    let problems = site.look();
    assert!(problems[0].contains("a.key` has no certificate beside it"), "{problems:?}");
}

#[test]
fn authorities_of_clients_are_read_again_and_bad_ones_change_nothing() {
    let [first, second] = ["a", "b"].map(Authority::new);
    let mut site = Site::new(|path| TlsSettings {
        client_ca: Some(path.join("ca.pem")),
        ..TlsSettings::default()
    });
    let required = |site: &Site| site.store.choose(None, ClientAuth::Required).unwrap().config;
    let problems = site.look();
    assert!(problems[0].contains("ca.pem` is not there; no client is known"), "{problems:?}");
    let nobody = required(&site);
    site.put("ca.pem", &first.pem());
    assert_eq!(site.look(), NONE);
    let before = required(&site);
    assert!(!Arc::ptr_eq(&nobody, &before));

    site.put("ca.pem", &first.pem());
    site.look();
    site.look();
    assert!(Arc::ptr_eq(&before, &required(&site)), "they are the same");
    site.put("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let problems = site.wait_for_problems();
    assert!(problems[0].contains("place 1 of the chain cannot be read; the authorities before it"));
    assert!(Arc::ptr_eq(&before, &required(&site)));
    site.put("ca.pem", &(first.pem() + &second.pem()));
    site.look();
    assert_eq!(site.look(), NONE);
    assert!(!Arc::ptr_eq(&before, &required(&site)));
}

/// Files in a folder of their own, and the store that they are read into.
struct Site {
    root: TempDir,
    files: Files,
    store: Arc<Store>,
    now: Instant,
    date: SystemTime,
}

impl Site {
    fn new(settings: impl FnOnce(&Path) -> TlsSettings) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("files");
        fs::create_dir(&folder).unwrap();
        let store = Store::new(Profile::default(), UnknownName::default()).unwrap();
        let store = Arc::new(store);
        let files = Files::new(&settings(&folder), Arc::clone(&store));
        Self { root, files, store, now: Instant::now(), date: wall_clock() }
    }

    fn with_pair(made: &Made) -> Self {
        let site = Self::new(|folder| {
            let (certificate, key) = (folder.join("site.crt"), folder.join("site.key"));
            TlsSettings { pair: Some(PairFiles { certificate, key }), ..TlsSettings::default() }
        });
        site.put_pair(made);
        site
    }

    fn with_folder() -> Self {
        Self::new(|folder| TlsSettings { folder: Some(folder.into()), ..TlsSettings::default() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("files").join(name)
    }

    /// Puts a file in the place of another at once.
    fn put(&self, name: &str, content: &str) {
        let new = self.root.path().join("new");
        fs::write(&new, content).unwrap();
        fs::set_permissions(&new, PermissionsExt::from_mode(0o600)).unwrap();
        fs::rename(&new, self.path(name)).unwrap();
    }

    fn put_named(&self, name: &str, made: &Made) {
        self.put(&format!("{name}.crt"), &made.chain);
        self.put(&format!("{name}.key"), &made.key);
    }

    fn put_pair(&self, made: &Made) {
        self.put_named("site", made);
    }

    /// The next look, and what it has to tell.
    fn look(&mut self) -> Vec<String> {
        self.now += LOOK_EVERY;
        let problems = self.files.look(self.now, self.date);
        assert!(problems.iter().all(|it| !it.hint.is_empty() && it.key.is_some()), "{problems:?}");
        problems.iter().map(ToString::to_string).collect()
    }

    fn wait_for_problems(&mut self) -> Vec<String> {
        let until = self.now + 2 * PATIENCE;
        while self.now < until {
            let problems = self.look();
            if !problems.is_empty() {
                return problems;
            }
        }
        panic!("there is no problem");
    }

    /// The first name of each certificate that is in use or should be.
    fn served(&self) -> Vec<String> {
        let standings = self.store.standings();
        standings.iter().map(|it| it.names.first().cloned().unwrap_or_default()).collect()
    }

    fn default(&self) -> String {
        let standings = self.store.standings();
        standings.iter().find(|it| it.is_default).unwrap().names[0].clone()
    }

    fn choice(&self, name: &str) -> Choice {
        self.store.choose(Some(name), ClientAuth::Off).unwrap()
    }
}

const NONE: [String; 0] = [];

//! What is kept, what is found again, and what is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::config::Acme;

fn storage() -> (TempDir, Storage) {
    let state = tempfile::tempdir().unwrap();
    let storage = Storage::new(state.path(), &Acme::default().directory);
    (state, storage)
}

fn name() -> Host {
    "shop.example.com".parse().unwrap()
}

fn kept() -> Kept {
    let made = rcgen::generate_simple_self_signed(["shop.example.com".to_owned()]).unwrap();
    let text = made.signing_key.serialize_pem() + &made.cert.pem();
    Kept {
        certificate: pem::certificate(text.as_bytes(), text.as_bytes()).unwrap(),
        text: text.into(),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_certificate_is_found_again_with_its_key_and_nobody_else_may_read_it() {
    let (_state, storage) = storage();
    assert!(storage.certificate(&name()).unwrap().is_none());
    let kept = kept();
    assert!(storage.keep_certificate(&name(), &kept));
    let found = storage.certificate(&name()).unwrap().unwrap();
    assert_eq!(found.certificate.key.cert, kept.certificate.key.cert);
    let path = storage.folder().join("shop.example.com.pem");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(storage.folder()), 0o700);
    assert_eq!(mode(storage.folder().parent().unwrap()), 0o700);
    let folder = storage.folder().file_name().unwrap().to_str().unwrap();
    assert!(folder.starts_with("acme-v02.api.letsencrypt.org-"), "{folder}");
}

#[test]
fn another_directory_has_another_folder() {
    let state = tempfile::tempdir().unwrap();
    let folder = |url: &str| {
        let flags = [(crate::config::Key::AcmeDirectory, url.to_owned())];
        let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let config = crate::config::load(&flags, &Default::default(), &none).unwrap();
        Storage::new(state.path(), &config.acme.directory).folder().to_owned()
    };
    let one = folder("https://acme.example.com:14000/one");
    assert_ne!(one, folder("https://acme.example.com:14000/two"));
    assert_eq!(one, folder("https://acme.example.com:14000/one"));
    assert_eq!(one.parent().unwrap(), state.path().join("acme"));
}

#[test]
fn a_crash_between_write_and_rename_leaves_the_old_one_whole() {
    let (_state, storage) = storage();
    let old = kept();
    assert!(storage.keep_certificate(&name(), &old));
    let beside = storage.folder().join("shop.example.com.pem.new");
    fs::write(&beside, "-----BEGIN PRIV").unwrap();
    let found = storage.certificate(&name()).unwrap().unwrap();
    assert_eq!(found.text, old.text);
    let new = kept();
    assert!(storage.keep_certificate(&name(), &new));
    assert_eq!(storage.certificate(&name()).unwrap().unwrap().text, new.text);
    assert!(!beside.exists());
}

#[test]
fn a_damaged_file_is_set_aside_and_is_told() {
    let (_state, storage) = storage();
    let (one, other) = (kept(), kept());
    let path = storage.folder().join("shop.example.com.pem");
    let half = one.text[..one.text.len() / 2].to_owned();
    let key_of_another =
        one.text.split_inclusive("-----END PRIVATE KEY-----\n").next().unwrap().to_owned();
    let mixed = key_of_another + other.text.split_once("-----END PRIVATE KEY-----").unwrap().1;
    for damaged in [String::new(), half, mixed, "\u{1b}[31m".to_owned()] {
        assert!(storage.keep_certificate(&name(), &one));
        assert_eq!(storage.problems(), []);
        fs::write(&path, &damaged).unwrap();
        assert!(storage.certificate(&name()).unwrap().is_none());
        let problem = storage.problems().remove(0).to_string();
        assert!(problem.contains("shop.example.com.pem` is damaged"), "{problem}");
        assert!(!problem.contains('\u{1b}'), "{problem}");
        let aside = fs::read_to_string(path.with_added_extension("damaged")).unwrap();
        assert_eq!(aside, damaged);
        assert!(storage.certificate(&name()).unwrap().is_none());
    }
}

#[test]
fn what_is_there_and_cannot_be_read_is_told_and_stays() {
    let (_state, storage) = storage();
    assert!(storage.lead());
    let path = storage.folder().join("shop.example.com.pem");
    fs::create_dir(&path).unwrap();
    assert_eq!(storage.certificate(&name()).err(), Some(Unread));
    assert!(!storage.keep_certificate(&name(), &kept()));
    let problems = storage.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.contains("shop.example.com.pem` cannot be read"), "{problems:?}");
    assert!(path.is_dir());

    fs::remove_dir(&path).unwrap();
    assert!(storage.certificate(&name()).unwrap().is_none());
    assert_eq!(storage.problems(), []);
    assert!(storage.keep_certificate(&name(), &kept()));
}

#[test]
fn an_account_that_cannot_be_read_is_not_taken_for_none() {
    let (_state, storage) = storage();
    assert!(storage.lead());
    assert!(storage.account("ops").unwrap().is_none());
    fs::create_dir(storage.path_of_account("ops")).unwrap();
    assert_eq!(storage.account("ops").err(), Some(Unread));
}

#[test]
fn a_folder_that_cannot_be_made_is_told_with_its_path() {
    let state = tempfile::NamedTempFile::new().unwrap();
    let storage = Storage::new(state.path(), &Acme::default().directory);
    assert!(!storage.keep_certificate(&name(), &kept()));
    assert!(storage.lead(), "nobody else can have it");
    let problems = storage.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.contains("cannot write to `"), "{problems:?}");
    assert!(problems[0].hint.contains("mount a volume"), "{problems:?}");
}

#[test]
fn of_two_balancers_with_one_folder_one_orders() {
    let state = tempfile::tempdir().unwrap();
    let storage = || Storage::new(state.path(), &Acme::default().directory);
    let (one, other) = (storage(), storage());
    assert!(one.lead());
    assert!(!other.lead());
    assert!(one.lead());
    drop(one);
    assert!(other.lead(), "who ends gives it back");
}

#[test]
fn the_longest_name_has_a_file_too() {
    let (_state, storage) = storage();
    let label = "a".repeat(63);
    let long: Host = format!("{label}.{label}.{label}.{}", "b".repeat(61)).parse().unwrap();
    assert!(storage.keep_certificate(&long, &kept()));
    assert!(storage.certificate(&long).unwrap().is_some());
}

//! The pairs that stand in a folder.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use crate::config::PairFiles;

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By what they are called, at most [`PAIRS_MAX`].
    pub(super) pairs: BTreeMap<String, PairFiles>,
    /// Keys that have no certificate beside them.
    pub(super) keys_alone: Vec<PathBuf>,
    /// Pairs that are more than we take.
    pub(super) too_many: usize,
}

impl Found {
    /// Whether there is not even a key.
    pub(super) fn is_nothing(&self) -> bool {
        self.pairs.is_empty() && self.keys_alone.is_empty()
    }
}

/// Finds `NAME.crt` with `NAME.key`, and `fullchain.pem` with `privkey.pem` in it
/// or in a folder `NAME` in it. Hidden names are passed over: Kubernetes keeps what its
/// links lead to in such folders. So are certificates without a key, which
/// may be those of authorities.
pub(super) fn find(folder: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let mut certificates: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut keys: BTreeMap<String, PathBuf> = BTreeMap::new();
    for entry in fs::read_dir(folder)?.take(ENTRIES_MAX) {
        let path = entry.as_ref().map(DirEntry::path).unwrap_or_default();
        let Some(name) = path.file_name().and_then(OsStr::to_str) else { continue };
        if name.starts_with('.') {
            continue;
        }
        match (path.file_stem().and_then(OsStr::to_str), path.extension().and_then(OsStr::to_str)) {
            (Some(stem), Some("key")) => {
                keys.insert(stem.to_owned(), path.clone());
            }
            (Some(stem), Some("crt" | "pem" | "cert")) => {
                let first = certificates.entry(stem.to_owned()).or_insert_with(|| path.clone());
                if rank(&path) < rank(first) {
                    first.clone_from(&path);
                }
            }
            (_, _) => {
                found.pairs.extend(of_certbot(&path).map(|pair| (format!("{name}/"), pair)));
            }
        }
    }
    for (stem, key) in keys {
        match certificates.remove(&stem) {
            Some(certificate) => {
                found.pairs.insert(stem, PairFiles { certificate, key });
            }
            None => found.keys_alone.push(key),
        }
    }
    found.pairs.extend(of_certbot(folder).map(|pair| ("fullchain".to_owned(), pair)));
    found.keys_alone.sort();
    found.too_many = found.pairs.len().saturating_sub(PAIRS_MAX);
    while found.pairs.len() > PAIRS_MAX {
        found.pairs.pop_last();
    }
    Ok(found)
}

/// The pair in a folder that certbot has laid out for one certificate.
fn of_certbot(folder: &Path) -> Option<PairFiles> {
    let pair =
        PairFiles { certificate: folder.join("fullchain.pem"), key: folder.join("privkey.pem") };
    (pair.certificate.exists() && pair.key.exists()).then_some(pair)
}

/// Of `a.crt`, `a.pem` and `a.cert` the first counts.
fn rank(certificate: &Path) -> usize {
    let extension = certificate.extension().and_then(OsStr::to_str).unwrap_or_default();
    ["crt", "pem", "cert"].iter().position(|it| *it == extension).unwrap_or(usize::MAX)
}

/// Each takes memory for its handshakes, some 50 KiB.
pub(super) const PAIRS_MAX: usize = 1000;

/// A folder with more was not meant.
const ENTRIES_MAX: usize = 10 * PAIRS_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_stand_side_by_side_or_in_folders_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["b.example", "..data", "empty"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in [
            "a.example.crt",
            "a.example.key",
            "ca.pem",
            "both.pem",
            "both.crt",
            "both.key",
            "alone.key",
            ".hidden.crt",
            ".hidden.key",
            "..data/tls.crt",
            "..data/tls.key",
            "b.example/fullchain.pem",
            "b.example/privkey.pem",
            "b.example/chain.pem",
            "README",
        ] {
            fs::write(at(name), "").unwrap();
        }
        let found = find(folder.path()).unwrap();
        let itself = find(&at("b.example")).unwrap();
        let pair = |certificate, key| PairFiles { certificate: at(certificate), key: at(key) };
        let expected = [
            ("a.example", pair("a.example.crt", "a.example.key")),
            ("b.example/", pair("b.example/fullchain.pem", "b.example/privkey.pem")),
            ("both", pair("both.crt", "both.key")),
        ];
        assert_eq!(found.pairs, expected.map(|(name, pair)| (name.to_owned(), pair)).into());
        let itself: Vec<_> = itself.pairs.into_values().collect();
        assert_eq!(itself, [pair("b.example/fullchain.pem", "b.example/privkey.pem")]);
        assert_eq!(found.keys_alone, [at("alone.key")]);
        assert_eq!(found.too_many, 0);
    }

    #[test]
    fn no_more_than_a_thousand_pairs_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=PAIRS_MAX {
            for extension in ["crt", "key"] {
                fs::write(folder.path().join(format!("{number:04}.{extension}")), "").unwrap();
            }
        }
        let found = find(folder.path()).unwrap();
        assert_eq!((found.pairs.len(), found.too_many), (PAIRS_MAX, 1));
        assert!(!found.pairs.contains_key("1000"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(find(&folder.path().join("none")).is_err());
    }
}

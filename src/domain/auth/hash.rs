//! Stored hashes of passwords, in the forms that htpasswd files have.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordVerifier};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use sha_crypt::ShaCrypt;

use crate::domain::auth::apr1;

/// A hash that a password can be held against, at a bounded cost.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Hash {
    kind: Kind,
    text: Arc<str>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Kind {
    Bcrypt,
    Argon2,
    Apr1,
    ShaCrypt,
}

/// Why a hash is not used. `Display` continues "has `user`, which".
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidHash {
    #[error("has no hash")]
    Missing,
    #[error("has a password in a form that is too weak: {0}")]
    Weak(&'static str),
    #[error("has a hash with `$$` in it")]
    Doubled,
    #[error("has a hash that is cut short, or has letters that no hash has")]
    Malformed,
    #[error("has a hash that takes too much to verify")]
    TooDear,
    #[error("has no hash in a form that is known here")]
    Unknown,
}

impl Hash {
    pub fn read(text: &str) -> Result<Self, InvalidHash> {
        let kind = match text {
            "" => return Err(InvalidHash::Missing),
            _ if text.contains("$$") => return Err(InvalidHash::Doubled),
            _ if BCRYPT.iter().any(|head| text.starts_with(head)) => bcrypt(text)?,
            _ if text.starts_with("$argon2") => argon2(text)?,
            _ => match text.strip_prefix("$apr1$") {
                Some(rest) => apr1_crypt(rest)?,
                None if text.starts_with("$5$") => sha_crypt(text, SHA_256_LETTERS)?,
                None if text.starts_with("$6$") => sha_crypt(text, SHA_512_LETTERS)?,
                None => return Err(refused(text)),
            },
        };
        Ok(Self { kind, text: text.into() })
    }

    /// Whether `password` is the one. Takes milliseconds to a second by design.
    pub fn verifies(&self, password: &[u8]) -> bool {
        match self.kind {
            Kind::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Kind::Argon2 => PasswordHash::new(&self.text)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
            Kind::Apr1 => {
                let parts = self.text.strip_prefix("$apr1$").and_then(|rest| rest.split_once('$'));
                parts.is_some_and(|(salt, stored)| {
                    let hashed = apr1::hash(password, salt.as_bytes());
                    verify_slices_are_equal(hashed.as_bytes(), stored.as_bytes()).is_ok()
                })
            }
            Kind::ShaCrypt => {
                PasswordVerifier::<str>::verify_password(&ShaCrypt::default(), password, &self.text)
                    .is_ok()
            }
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl InvalidHash {
    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Doubled => {
                "write every `$` once; only in a compose file it is doubled, and what makes it \
                 single again is compose"
            }
            Self::TooDear => {
                "make it anew, at most with bcrypt's cost 14, argon2's m=65536 and t=10, or \
                 1000000 rounds"
            }
            Self::Missing | Self::Weak(_) | Self::Malformed | Self::Unknown => {
                "make it with `htpasswd -nB USER`; in a compose file write every `$` twice, or \
                 all of it as `base64:…` or `file:PATH`"
            }
        }
    }
}

fn bcrypt(text: &str) -> Result<Kind, InvalidHash> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| InvalidHash::Malformed)?;
    match parts.get_cost() {
        0..4 => Err(InvalidHash::Malformed),
        4..=BCRYPT_COST_MAX => Ok(Kind::Bcrypt),
        _ => Err(InvalidHash::TooDear),
    }
}

fn argon2(text: &str) -> Result<Kind, InvalidHash> {
    let hash = PasswordHash::new(text).map_err(|_| InvalidHash::Malformed)?;
    let params = argon2::Params::try_from(&hash).map_err(|_| InvalidHash::Malformed)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(InvalidHash::Malformed);
    }
    let dear = params.m_cost() > ARGON2_MEMORY_KIB_MAX
        || params.t_cost() > ARGON2_PASSES_MAX
        || params.p_cost() > ARGON2_LANES_MAX;
    if dear { Err(InvalidHash::TooDear) } else { Ok(Kind::Argon2) }
}

fn apr1_crypt(rest: &str) -> Result<Kind, InvalidHash> {
    match rest.split_once('$') {
        Some((salt, hash)) if !salt.is_empty() && is_crypt(hash, APR1_LETTERS) => Ok(Kind::Apr1),
        Some(_) | None => Err(InvalidHash::Malformed),
    }
}

fn sha_crypt(text: &str, letters: usize) -> Result<Kind, InvalidHash> {
    let rest = text.get(3..).unwrap_or_default();
    let (rounds, rest) = match rest.strip_prefix("rounds=").and_then(|it| it.split_once('$')) {
        Some((rounds, rest)) => (rounds.parse::<u32>().map_err(|_| InvalidHash::Malformed)?, rest),
        None => (SHA_ROUNDS, rest),
    };
    match rest.split_once('$') {
        _ if rounds > SHA_ROUNDS_MAX => Err(InvalidHash::TooDear),
        Some((salt, hash))
            if (1..=SHA_SALT_MAX).contains(&salt.len())
                && is_crypt(salt, salt.len())
                && is_crypt(hash, letters)
                && rounds >= SHA_ROUNDS_MIN =>
        {
            Ok(Kind::ShaCrypt)
        }
        Some(_) | None => Err(InvalidHash::Malformed),
    }
}

fn is_crypt(text: &str, letters: usize) -> bool {
    text.len() == letters && text.bytes().all(|letter| apr1::ALPHABET.contains(&letter))
}

/// Why something that is no hash of ours is not used.
fn refused(text: &str) -> InvalidHash {
    if text.starts_with("{SHA}") || text.starts_with("{SSHA}") {
        return InvalidHash::Weak("one round of SHA-1");
    }
    if text.starts_with("$1$") {
        return InvalidHash::Weak("MD5 without Apache's changes");
    }
    if is_crypt(text, DES_LETTERS) {
        return InvalidHash::Weak("DES, or plain text");
    }
    InvalidHash::Unknown
}

const BCRYPT: [&str; 3] = ["$2a$", "$2b$", "$2y$"];

/// Each step doubles the work; this is most of a second.
const BCRYPT_COST_MAX: u32 = 14;

/// Of the few that are verified at once each takes this much.
const ARGON2_MEMORY_KIB_MAX: u32 = 64 * 1024;
const ARGON2_PASSES_MAX: u32 = 10;
const ARGON2_LANES_MAX: u32 = 8;

/// Without a word about them; fewer than the least are none of crypt(5).
const SHA_ROUNDS: u32 = 5_000;
const SHA_ROUNDS_MIN: u32 = 1_000;
/// Python's passlib makes 656000 of them unless told otherwise.
const SHA_ROUNDS_MAX: u32 = 1_000_000;
const SHA_SALT_MAX: usize = 16;

const APR1_LETTERS: usize = 22;
const SHA_256_LETTERS: usize = 43;
const SHA_512_LETTERS: usize = 86;
const DES_LETTERS: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by openssl, crypt(3) and the reference program of argon2.
    const SECRET: [&str; 6] = [
        "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0",
        "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
        "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN\
         .Pq.H91p5hVO1",
        "$6$rounds=10000$saltsalt$WowrPBpEDVlCoruBosYlrZycTCx3//TyDHYqEhX9DUHHt0XTztUqzQDDUuvU\
         GRA8aUe9p55hcAxeGcu58sm3u.",
    ];

    #[test]
    fn each_form_takes_its_password_and_no_other() {
        for text in SECRET {
            let hash = Hash::read(text).unwrap();
            assert!(hash.verifies(b"secret"), "{text}");
            for wrong in [&b"Secret"[..], b"", b"secret ", b"secre"] {
                assert!(!hash.verifies(wrong), "{text} took {wrong:?}");
            }
        }
    }

    #[test]
    fn argon2_is_taken_as_the_reference_program_writes_it() {
        // The test vector of its README: `echo -n password | argon2 somesalt -t 2 -m 16 -p 4`.
        let hash = Hash::read(
            "$argon2i$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG",
        );
        let hash = hash.unwrap();
        assert!(hash.verifies(b"password"));
        assert!(!hash.verifies(b"Password"));
    }

    #[test]
    fn what_is_no_hash_or_a_weak_one_or_too_dear_is_refused() {
        let bcrypt = "abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
        for (text, fault) in [
            ("", InvalidHash::Missing),
            ("secret", InvalidHash::Unknown),
            ("rl0uE0NN0Ejyo", InvalidHash::Weak("DES, or plain text")),
            ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", InvalidHash::Weak("one round of SHA-1")),
            ("$1$x$y", InvalidHash::Weak("MD5 without Apache's changes")),
            ("$$apr1$$saltsalt$$LrttParrLPdxvgutaSXWJ0", InvalidHash::Doubled),
            ("$apr1$saltsalt$LrttParrLPdxvgutaSXWJ", InvalidHash::Malformed),
            ("$apr1$$LrttParrLPdxvgutaSXWJ0", InvalidHash::Doubled),
            ("$2y$05$short", InvalidHash::Malformed),
            ("$5$saltsalt$short", InvalidHash::Malformed),
            ("$6$rounds=x$saltsalt$short", InvalidHash::Malformed),
            ("$6$rounds=1000001$saltsalt$short", InvalidHash::TooDear),
            (
                "$argon2id$v=19$m=65537,t=2,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b5dWQ",
                InvalidHash::TooDear,
            ),
            (
                "$argon2id$v=19$m=1024,t=11,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b5dWQ",
                InvalidHash::TooDear,
            ),
            ("$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHQ", InvalidHash::Malformed),
            ("$y$j9T$x$y", InvalidHash::Unknown),
            (&format!("$2y$15${bcrypt}"), InvalidHash::TooDear),
            (&format!("$2y$03${bcrypt}"), InvalidHash::Malformed),
            (&format!("$2x$05${bcrypt}"), InvalidHash::Unknown),
        ] {
            assert_eq!(Hash::read(text), Err(fault), "`{text}`");
        }
        assert!(Hash::read(&format!("$2y$14${bcrypt}")).is_ok());
    }
}

//! Who may pass by a name and a password.

mod apr1;
mod hash;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64ct::{Base64, Encoding};

pub use hash::{Hash, InvalidHash};

/// The users of one pool, by name, each with the hash of a password.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Users(Vec<(Arc<str>, Hash)>);

/// An entry that lets nobody in. `Display` continues "has `entry`, which".
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidUser {
    #[error("is not written as `user:hash`")]
    Form {
        /// Where it stands, from 1: the rest may be a secret.
        number: usize,
    },
    #[error("{fault}")]
    Hash { user: String, fault: InvalidHash },
    #[error("stands there twice")]
    Twice { user: String },
    #[error("is one of more than {USERS_MAX} users")]
    TooMany { user: String },
}

/// A name and a password, as a request brings them.
#[derive(Clone, Eq, PartialEq)]
pub struct Credentials {
    pub user: String,
    pub password: Vec<u8>,
}

impl Users {
    /// Reads `user:hash,user:hash`. A comma within a hash of argon2 is told from
    /// one between users, since only the latter is followed by a colon.
    pub fn from_list(written: &str) -> (Self, Vec<InvalidUser>) {
        let mut entries: Vec<String> = Vec::new();
        for piece in written.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
            match entries.last_mut() {
                Some(last) if !piece.contains(':') => {
                    last.push(',');
                    last.push_str(piece);
                }
                Some(_) | None => entries.push(piece.to_owned()),
            }
        }
        Self::of(entries.iter().map(String::as_str))
    }

    /// Reads a text in the format of htpasswd: an entry a line, `#` for comments.
    pub fn from_lines(text: &str) -> (Self, Vec<InvalidUser>) {
        let lines = text.lines().map(str::trim);
        Self::of(lines.filter(|line| !line.is_empty() && !line.starts_with('#')))
    }

    /// As [`Self::from_lines`], of a text in base 64.
    pub fn from_base64(written: &str) -> Option<(Self, Vec<InvalidUser>)> {
        let packed: String = written.chars().filter(|it| !it.is_whitespace()).collect();
        let text = String::from_utf8(decode(&packed)?).ok()?;
        Some(Self::from_lines(&text))
    }

    fn of<'a>(entries: impl Iterator<Item = &'a str>) -> (Self, Vec<InvalidUser>) {
        let (mut users, mut faults) = (BTreeMap::<Arc<str>, Hash>::new(), Vec::new());
        for (index, entry) in entries.enumerate() {
            let number = index + 1;
            let Some((user, hash)) = entry.split_once(':').filter(|(user, _)| !user.is_empty())
            else {
                faults.push(InvalidUser::Form { number });
                continue;
            };
            // Other tools of htpasswd write more fields after the hash.
            let hash = hash.split(':').next().unwrap_or_default();
            let user = user.to_owned();
            match Hash::read(hash) {
                Err(fault) => faults.push(InvalidUser::Hash { user, fault }),
                Ok(_) if users.contains_key(user.as_str()) => {
                    faults.push(InvalidUser::Twice { user });
                }
                Ok(_) if users.len() >= USERS_MAX => faults.push(InvalidUser::TooMany { user }),
                Ok(hash) => {
                    users.insert(user.into(), hash);
                }
            }
        }
        faults.truncate(FAULTS_MAX);
        (Self(users.into_iter().collect()), faults)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hash to hold the password of `user` against, and whether it is that
    /// user's. For an unknown one it is that of somebody else, drawn by the
    /// number, which is to be constant for the name: it costs the same, and
    /// which names there are cannot be told by the time it takes.
    pub fn hash_of(&self, user: &str, number: u64) -> Option<(&Hash, bool)> {
        let place = self.0.binary_search_by(|(known, _)| (**known).cmp(user));
        let place = place.ok().map(|index| (index, true));
        let (index, own) = place.or_else(|| {
            let index = number.checked_rem(u64::try_from(self.0.len()).ok()?)?;
            Some((usize::try_from(index).ok()?, false))
        })?;
        self.0.get(index).map(|(_, hash)| (hash, own))
    }
}

impl InvalidUser {
    /// The user, or the place of the entry.
    pub fn entry(&self) -> String {
        match self {
            Self::Form { number } => format!("entry {number}"),
            Self::Hash { user, .. } | Self::Twice { user } | Self::TooMany { user } => user.clone(),
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Form { .. } => "write `user:hash`, as `htpasswd -nB USER` prints it",
            Self::Hash { fault, .. } => fault.remedy(),
            Self::Twice { .. } => "keep one of them",
            Self::TooMany { .. } => "ask a service of your own by `auth.forward`",
        }
    }
}

impl Credentials {
    /// Those of an `Authorization` field; none if it has none of `Basic`
    /// (RFC 7617).
    pub fn read(field: &[u8]) -> Option<Self> {
        let field = std::str::from_utf8(field).ok()?;
        let (scheme, packed) = field.split_once(' ')?;
        let packed = packed.trim_matches(' ');
        if !scheme.eq_ignore_ascii_case("basic") || packed.len() > CREDENTIALS_MAX {
            return None;
        }
        let mut user = decode(packed)?;
        let colon = user.iter().position(|&byte| byte == b':')?;
        let password = user.split_off(colon + 1);
        user.truncate(colon);
        Some(Self { user: String::from_utf8(user).ok()?, password })
    }
}

/// Hashes are neither shown nor logged.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Passwords are neither shown nor logged.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Base 64, with or without its padding.
fn decode(packed: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(packed).or_else(|_| base64ct::Base64Unpadded::decode_vec(packed)).ok()
}

/// A verification must not have to search for long, nor a label to grow without end.
const USERS_MAX: usize = 10_000;

/// More faults than that are told by the first of them.
const FAULTS_MAX: usize = 20;

/// A name and a password in base 64; longer ones only cost time to hash.
const CREDENTIALS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const APR1: &str = "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0";
    const ARGON2: &str =
        "$argon2i$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG";

    fn names(users: &Users) -> Vec<&str> {
        users.0.iter().map(|(name, _)| &**name).collect()
    }

    #[test]
    fn a_list_is_split_between_users_and_not_within_a_hash() {
        let (users, faults) = Users::from_list(&format!("a:{ARGON2}, b:{APR1},,c:{ARGON2}"));
        assert_eq!((names(&users), faults), (vec!["a", "b", "c"], Vec::new()));
        assert_eq!(users.hash_of("a", 0).unwrap().0.as_str(), ARGON2);
    }

    #[test]
    fn a_text_has_a_user_a_line() {
        let text = format!("# who may\n\na:{APR1}\r\n b:{APR1}:more:fields\n");
        let (users, faults) = Users::from_lines(&text);
        assert_eq!((names(&users), faults), (vec!["a", "b"], Vec::new()));
        let packed = Base64::encode_string(text.as_bytes());
        let (head, tail) = packed.split_at(40);
        assert_eq!(Users::from_base64(&format!("{head}\n{tail}")).unwrap().0, users);
        assert_eq!(Users::from_base64("a:b"), None);
    }

    #[test]
    fn a_bad_entry_is_told_without_its_secret_and_the_others_stand() {
        let (users, faults) = Users::from_list(&format!("hunter2,a:plain,b:{APR1},b:{APR1},:x"));
        assert_eq!(names(&users), ["b"]);
        let told: Vec<_> =
            faults.iter().map(|fault| format!("{} {fault}", fault.entry())).collect();
        assert_eq!(
            told,
            [
                "entry 1 is not written as `user:hash`",
                "a has no hash in a form that is known here",
                "b stands there twice",
                "entry 5 is not written as `user:hash`",
            ]
        );
    }

    #[test]
    fn an_unknown_user_is_held_against_the_hash_of_another() {
        let (users, _) = Users::from_list(&format!("a:{APR1},b:{ARGON2}"));
        assert_eq!(users.hash_of("b", 0).map(|(_, own)| own), Some(true));
        for number in 0..4 {
            let (hash, own) = users.hash_of("nobody", number).unwrap();
            assert!(!own);
            assert_eq!(hash.as_str(), if number % 2 == 0 { APR1 } else { ARGON2 });
        }
        assert_eq!(Users::default().hash_of("a", 1), None);
    }

    #[test]
    fn users_have_a_bound() {
        let many: String = (0..=USERS_MAX).map(|number| format!("u{number}:{APR1}\n")).collect();
        let (users, faults) = Users::from_lines(&many);
        assert_eq!(users.0.len(), USERS_MAX);
        assert_eq!(faults, [InvalidUser::TooMany { user: format!("u{USERS_MAX}") }]);
    }

    #[test]
    fn credentials_are_read_as_rfc_7617_writes_them() {
        let read = |field: &str| Credentials::read(field.as_bytes());
        let aladdin = read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
        assert_eq!((aladdin.user.as_str(), &*aladdin.password), ("Aladdin", &b"open sesame"[..]));
        assert_eq!(read("basic  QWxhZGRpbjpvcGVuIHNlc2FtZQ"), Some(aladdin.clone()));
        assert_eq!(format!("{aladdin:?}"), "Credentials { user: \"Aladdin\", .. }");
        for none in [
            "",
            "Basic",
            "Basic ",
            "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "Basic !!",
            "Basic QWxhZGRpbg==",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
        let colons = format!("Basic {}", Base64::encode_string(b"a:b:c"));
        assert_eq!(read(&colons).unwrap().password, b"b:c");
        let long =
            |bytes: usize| Base64::encode_string(format!("a:{}", "x".repeat(bytes)).as_bytes());
        assert!(read(&format!("Basic {}", long(766))).is_some());
        assert!(read(&format!("Basic {}", long(767))).is_none());
    }
}

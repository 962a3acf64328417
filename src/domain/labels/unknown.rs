//! What a key that we do not know was meant to be.

use crate::domain::labels::schema::{self, LABELS, Label};
use crate::domain::suggest;

/// A guess at an unknown key.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Guess {
    pub(super) meant: Option<String>,
    /// It may have been meant to restrict who passes.
    pub(super) guard: bool,
}

/// Guesses what an unknown key, without prefix and group, was meant to be.
///
/// A key that is near no other resembles a guard if one of its words does:
/// `ip_allow`, `host.regex`, `basicauth`.
pub(super) fn guess(key: &str) -> Guess {
    let plain = schema::canonical(key);
    if let Some(label) = nearest(&plain, |_| true) {
        let guard = label.guard || nearest(&plain, |label| label.guard).is_some();
        return Guess { meant: Some(label.key.to_owned()), guard };
    }
    Guess { meant: family(key, &plain), guard: words(&plain).any(resembles_guard) }
}

/// The label whose whole key is near.
pub(super) fn nearest(plain: &str, among: fn(&Label) -> bool) -> Option<&'static Label> {
    let fixed = || LABELS.iter().filter(|label| label.family().is_none() && among(label));
    let key = near(plain, fixed().map(|label| label.key))?;
    fixed().find(|label| label.key == key)
}

/// As [`suggest::nearest`], at a tenth of its cost, since a typo in a service
/// is read again for each of its replicas.
pub(super) fn near<'a>(given: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if given.len() > GUESS_BYTES_MAX {
        return None;
    }
    let may_be_near = |word: &&str| least_distance(given, word) * 3 <= word.len().max(3);
    suggest::nearest(given, words.filter(may_be_near))
}

/// How many letters of one word the other lacks: no fewer edits lead there.
fn least_distance(one: &str, other: &str) -> usize {
    let mut counts = [0_i32; 32];
    let mut count = |word: &str, by: i32| {
        for letter in word.bytes().filter(|byte| !is_continuation(*byte)) {
            if let Some(count) = counts.get_mut(usize::from(letter % 32)) {
                *count += by;
            }
        }
    };
    count(one, 1);
    count(other, -1);
    let sum = |sign: i32| counts.iter().map(|count| (count * sign).max(0)).sum::<i32>();
    usize::try_from(sum(1).max(sum(-1))).unwrap_or(usize::MAX)
}

/// Of a letter in UTF-8 after its first byte.
fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// `header.x-tenant` for `headr.x-tenant`.
fn family(key: &str, plain: &str) -> Option<String> {
    let heads = || LABELS.iter().filter_map(Label::family);
    let dots = plain.match_indices('.').map(|(at, _)| at + 1);
    dots.filter(|&end| end < key.len())
        .filter_map(|end| Some((plain.get(..end)?, key.get(end..)?)))
        .find_map(|(head, name)| Some(format!("{}{name}", near(head, heads())?)))
}

fn words(plain: &str) -> impl Iterator<Item = &str> {
    plain.split(['.', '_']).filter(|word| !word.is_empty())
}

fn resembles_guard(word: &str) -> bool {
    let guards = || LABELS.iter().filter(|label| label.guard).map(Label::head);
    guards().any(|guard| word.starts_with(guard) || word.ends_with(guard))
        || near(word, guards()).is_some()
}

/// Nothing longer is compared with the words we know, since that costs its
/// length times theirs.
pub(super) const GUESS_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_guard_among_them_told() {
        for (key, meant, guard) in [
            ("prot", Some("port"), false),
            ("hots", Some("host"), true),
            ("Paht.Exact", Some("path.exact"), true),
            ("timeout.conect", Some("timeout.connect"), false),
            ("headr.X-Tenant", Some("header.X-Tenant"), true),
            ("header.", None, true),
            ("colour", None, false),
            ("healthcheck", None, false),
        ] {
            let expected = Guess { meant: meant.map(str::to_owned), guard };
            assert_eq!(guess(key), expected, "{key}");
        }
    }

    #[test]
    fn words_of_guards_in_an_unknown_key_close_the_route() {
        for key in ["ip_allow", "host.regex", "basicauth", "auth.digest", "allowlist", "ratelimit"]
        {
            assert!(guess(key).guard, "{key}");
        }
    }

    #[test]
    fn nothing_near_is_passed_over_for_speed() {
        let keys = || LABELS.iter().map(|label| label.key);
        for key in keys() {
            for (at, letter) in key.char_indices() {
                let left_out = format!("{}{}", &key[..at], &key[at + letter.len_utf8()..]);
                for given in [left_out.clone(), format!("{left_out}é"), left_out + "X"] {
                    assert_eq!(near(&given, keys()), suggest::nearest(&given, keys()), "{given}");
                }
            }
        }
    }

    #[test]
    fn a_very_long_key_is_not_compared_letter_by_letter() {
        let key = format!("allow.{}", "x".repeat(1000));
        assert_eq!(guess(&key), Guess { meant: None, guard: true });
    }
}

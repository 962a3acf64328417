//! Apache's variant of MD5-crypt, which `htpasswd` makes unless told otherwise.

use md5::{Digest, Md5};

/// The 22 letters after the salt of `$apr1$SALT$…`. Of the salt the first eight
/// letters count.
pub(super) fn hash(password: &[u8], salt: &[u8]) -> String {
    let salt = salt.get(..SALT_MAX).unwrap_or(salt);
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password);
    let inner = inner.finalize();
    let mut outer = Md5::new().chain_update(password).chain_update(MAGIC).chain_update(salt);
    for piece in password.chunks(inner.len()) {
        outer.update(inner.get(..piece.len()).unwrap_or_default());
    }
    let mut length = password.len();
    while length > 0 {
        // Odd bits add a zero, even ones the first letter: a slip of 1994 that
        // is the format now.
        outer.update(if length & 1 == 1 { &[0] } else { password.get(..1).unwrap_or_default() });
        length >>= 1;
    }
    let mut digest = outer.finalize();
    for round in 0..ROUNDS {
        let (odd, salted, doubled) = (round % 2 == 1, round % 3 != 0, round % 7 != 0);
        let mut next = Md5::new();
        next.update(if odd { password } else { &digest });
        if salted {
            next.update(salt);
        }
        if doubled {
            next.update(password);
        }
        next.update(if odd { &digest[..] } else { password });
        digest = next.finalize();
    }
    encode(&digest.into())
}

/// Its own base 64: three bytes as four letters, the lowest bits first, from
/// bytes that are out of order.
fn encode(digest: &[u8; 16]) -> String {
    let [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15] = *digest;
    let groups = [(a0, a6, a12), (a1, a7, a13), (a2, a8, a14), (a3, a9, a15), (a4, a10, a5)];
    let mut text = String::with_capacity(22);
    for (high, middle, low) in groups {
        letters(u32::from_be_bytes([0, high, middle, low]), 4, &mut text);
    }
    letters(u32::from(a11), 2, &mut text);
    text
}

fn letters(mut bits: u32, count: usize, to: &mut String) {
    for _ in 0..count {
        to.extend(ALPHABET.get((bits & 63) as usize).map(|&letter| char::from(letter)));
        bits >>= 6;
    }
}

const MAGIC: &[u8] = b"$apr1$";
const ROUNDS: u32 = 1000;
const SALT_MAX: usize = 8;
pub(super) const ALPHABET: &[u8; 64] =
    b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_openssl() {
        for (password, salt, hashed) in [
            ("secret", "saltsalt", "LrttParrLPdxvgutaSXWJ0"),
            ("", "x", "tMwYqBfQwi3FYAr0aJc8M/"),
            ("a password that is longer than one digest", "abcdefgh", "Kwi2W8.i50P9zjq8krzn/0"),
        ] {
            assert_eq!(hash(password.as_bytes(), salt.as_bytes()), hashed, "{password}");
        }
    }
}

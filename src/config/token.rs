//! The secret that opens the admin port to those who are not on loopback.

use std::fmt;
use std::sync::Arc;

use crate::config::mistake::Fault;

/// A token; no log and no message ever shows it.
#[derive(Clone, Eq, PartialEq)]
pub struct Token(Arc<str>);

impl Token {
    /// The first line of the file that holds it.
    pub(super) fn read(file: &str) -> Result<Self, Fault> {
        let hint = "write at least 16 characters into its first line, such as what \
                    `openssl rand -hex 32` prints";
        let line = file.lines().next().unwrap_or_default().trim();
        let length = line.chars().count();
        if line.is_empty() {
            Err(Fault::new("has no token in its first line", hint))
        } else if !line.chars().all(|c| c.is_ascii_graphic()) {
            Err(Fault::new("has a token with spaces, or letters beyond ASCII", hint))
        } else if length < LENGTH_MIN {
            Err(Fault::new(format!("has a token of {length} characters, which is too short"), hint))
        } else if length > LENGTH_MAX {
            Err(Fault::new(format!("has a token of {length} characters, which is too long"), hint))
        } else {
            Ok(Self(line.into()))
        }
    }

    /// The secret itself, to be sent or compared.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Nobody guesses so many characters.
const LENGTH_MIN: usize = 16;

/// It has to fit into a head beside all else.
const LENGTH_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_first_line_of_its_file() {
        for file in ["0123456789abcdef", "0123456789abcdef\r\nmore\n", "  0123456789abcdef \n"] {
            assert_eq!(Token::read(file).unwrap().secret(), "0123456789abcdef", "{file:?}");
        }
        assert!(Token::read(&"x".repeat(LENGTH_MAX)).is_ok());
    }

    #[test]
    fn what_can_be_guessed_or_not_be_sent_is_refused_without_being_repeated() {
        let long = "x".repeat(LENGTH_MAX + 1);
        for file in [
            "",
            "\n0123456789abcdef",
            "0123456789abcde",
            "0123456789 abcdef",
            "0123456789abcdéf",
            &long,
        ] {
            let fault = Token::read(file).unwrap_err();
            assert!(!fault.what.contains("0123") && !fault.hint.contains("0123"), "{fault:?}");
        }
    }

    #[test]
    fn nothing_that_is_logged_shows_it() {
        let token = Token::read("0123456789abcdef").unwrap();
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}

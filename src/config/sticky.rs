//! The key that signs the cookies by which clients come back to their replica.

use crate::config::mistake::Fault;
use crate::domain::pool::{KEY_BYTES_MIN, StickyKey};

/// All of the file that holds it, but white space at its ends.
pub(super) fn key(file: &str) -> Result<StickyKey, Fault> {
    let secret = file.trim().as_bytes();
    if secret.len() < KEY_BYTES_MIN {
        let length = secret.len();
        let hint = "write at least 16 bytes into it, such as what `openssl rand -hex 32` prints";
        return Err(Fault::new(format!("has a key of {length} bytes, which is too short"), hint));
    }
    Ok(StickyKey::new(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_sixteen_bytes_at_least_and_is_never_shown() {
        assert_eq!(format!("{:?}", key("0123456789abcdef\n").unwrap()), "StickyKey(…)");
        for file in ["", "\n\n", "0123456789abcde\n"] {
            let fault = key(file).unwrap_err();
            assert!(!fault.what.contains("0123") && !fault.hint.contains("0123"), "{fault:?}");
        }
    }
}

//! Values of fields that keep nothing else in memory.

use http::{HeaderMap, HeaderValue};

/// Gives each value bytes of its own. What was read is shared with the buffer it
/// was read into, and HPACK remembers fields for as long as a connection lives
/// (RFC 7541, section 2.3.2): a date of 29 bytes would keep as much as 64 KiB.
pub fn own(fields: &mut HeaderMap) {
    for value in fields.values_mut() {
        // It is a value already, so it can be one again.
        let Ok(mut owned) = HeaderValue::from_bytes(value.as_bytes()) else { continue };
        owned.set_sensitive(value.is_sensitive());
        *value = owned;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_value_stays_the_same_and_lets_go_of_what_it_was_read_from() {
        let read = Bytes::from(b"date: today\r\nset-cookie: \xff=1".to_vec());
        let mut fields = HeaderMap::new();
        let part =
            |at: std::ops::Range<usize>| HeaderValue::from_maybe_shared(read.slice(at)).unwrap();
        fields.insert("date", part(6..11));
        let mut cookie = part(25..28);
        cookie.set_sensitive(true);
        fields.insert("set-cookie", cookie);
        assert!(!read.is_unique());
        own(&mut fields);
        assert!(read.is_unique());
        assert_eq!(fields["date"], "today");
        assert_eq!(fields["set-cookie"].as_bytes(), b"\xff=1");
        assert!(fields["set-cookie"].is_sensitive() && !fields["date"].is_sensitive());
    }
}

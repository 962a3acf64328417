//! The messages of the gRPC health protocol (`grpc.health.v1.Health/Check`).
//!
//! Two messages of one field each are read and written by hand: the protocol is
//! frozen, and a whole library would be there for sixteen bytes.

use crate::domain::lifecycle::Fault;

/// Where the question is sent.
pub const TARGET: &str = "/grpc.health.v1.Health/Check";

/// Largest answer that is read, in bytes. One that is understood has 7.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// The question whether `service` serves, as a gRPC message; the empty name is
/// the whole server.
pub fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(service.len() + 4);
    if !service.is_empty() {
        // Field 1, a string.
        message.push(0x0a);
        put_varint(service.len(), &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.append(&mut message);
    framed
}

/// What the answer says, of which `status` is the `grpc-status`, if there was
/// one.
pub fn verdict(status: Option<&[u8]>, body: &[u8]) -> Result<(), Fault> {
    let status = status.and_then(|it| std::str::from_utf8(it).ok()?.parse::<u8>().ok());
    match status {
        Some(0) => {}
        Some(status) => return Err(Fault::Grpc(status)),
        None => return Err(Fault::NotHttp2),
    }
    match serving_status(body) {
        Some(SERVING) => Ok(()),
        Some(_) => Err(Fault::NotServing),
        None => Err(Fault::NotHttp2),
    }
}

/// Field 1 of the message, which is 0 where it is left out; none if it cannot be
/// read.
fn serving_status(body: &[u8]) -> Option<u64> {
    // A compressed one was not asked for.
    let (&[0, a, b, c, d], mut rest) = body.split_first_chunk::<5>()? else { return None };
    if usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()? != rest.len() {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let key = take_varint(&mut rest)?;
        match key & 7 {
            0 => {
                let value = take_varint(&mut rest)?;
                if key >> 3 == 1 {
                    status = value;
                }
            }
            // What later versions may add is stepped over.
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn put_varint(mut number: usize, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for place in 0..VARINT_BYTES_MAX {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// `ServingStatus.SERVING`.
const SERVING: u64 = 1;

/// Of 64 bits, 7 in each.
const VARINT_BYTES_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_question_names_a_service_or_none() {
        assert_eq!(question(""), b"\0\0\0\0\0");
        assert_eq!(question("a.B"), b"\0\0\0\0\x05\x0a\x03a.B");
        let long = question(&"x".repeat(300));
        assert_eq!(long[..8], *b"\0\0\0\x01\x2f\x0a\xac\x02");
        assert_eq!(long.len(), 5 + 3 + 300);
    }

    #[test]
    fn only_serving_passes() {
        for (status, body, expected) in [
            (Some("0"), &b"\0\0\0\0\x02\x08\x01"[..], Ok(())),
            (Some("0"), b"\0\0\0\0\x02\x08\x02", Err(Fault::NotServing)),
            (Some("0"), b"\0\0\0\0\x02\x08\x03", Err(Fault::NotServing)),
            (Some("0"), b"\0\0\0\0\0", Err(Fault::NotServing)),
            (Some("0"), b"\0\0\0\0\x05\x12\x01x\x08\x01", Ok(())),
            (Some("0"), b"\x01\0\0\0\x02\x08\x01", Err(Fault::NotHttp2)),
            (Some("0"), b"\0\0\0\0\x03\x08\x01", Err(Fault::NotHttp2)),
            (Some("0"), b"", Err(Fault::NotHttp2)),
            (Some("5"), b"", Err(Fault::Grpc(5))),
            (Some("12"), b"\0\0\0\0\x02\x08\x01", Err(Fault::Grpc(12))),
            (Some("x"), b"\0\0\0\0\x02\x08\x01", Err(Fault::NotHttp2)),
            (None, b"\0\0\0\0\x02\x08\x01", Err(Fault::NotHttp2)),
        ] {
            assert_eq!(verdict(status.map(str::as_bytes), body), expected, "{status:?} {body:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_reader(body: Vec<u8>) {
            let framed = [&[0, 0, 0, 0, body.len() as u8][..], &body].concat();
            let _ = verdict(Some(b"0"), &framed);
            let _ = verdict(Some(b"0"), &body);
        }
    }
}

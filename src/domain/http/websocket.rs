//! Where the frames of a WebSocket begin and end (RFC 6455, section 5.2), and how
//! a server proves that it speaks it.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64ct::{Base64, Encoding};

/// Follows one direction of a WebSocket as its bytes pass, in pieces of any size.
///
/// What the frames mean is the business of both ends. Between two of them a frame
/// of our own may stand, which in the middle of one would be taken for a part of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frames {
    stage: Stage,
    is_close: bool,
    has_closed: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    #[default]
    Between,
    /// The next byte has the length, or says how long that is.
    Length,
    /// So many bytes of the length are to come.
    LongLength { bytes_left: u8, length: u64, mask: u64 },
    /// So many bytes of mask and payload are to come, at least one.
    Payload { left: u64 },
}

impl Frames {
    /// Passes over the whole of `bytes`.
    pub fn walk(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = self.step(bytes);
        }
    }

    /// Passes over what `bytes` has of the frame that has begun, and tells how
    /// many that are. None of them, between two frames.
    pub fn finish(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_between() {
            rest = self.step(rest);
        }
        bytes.len() - rest.len()
    }

    /// Whether another frame may begin here.
    pub fn is_between(&self) -> bool {
        self.stage == Stage::Between
    }

    /// Whether the whole of a close frame has passed, after which nothing else
    /// may come (section 5.5.1).
    pub fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Passes over some of `bytes`, and over at least one. Gives the rest.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some((&first, rest)) = bytes.split_first() else { return bytes };
        match self.stage {
            Stage::Between => {
                self.is_close = first & OPCODE == CLOSE;
                self.stage = Stage::Length;
                rest
            }
            Stage::Length => {
                let mask = if first & MASKED == 0 { 0 } else { MASK_BYTES };
                let long = |bytes_left| Stage::LongLength { bytes_left, length: 0, mask };
                match first & !MASKED {
                    126 => self.stage = long(2),
                    127 => self.stage = long(8),
                    length => self.enter(mask + u64::from(length)),
                }
                rest
            }
            Stage::LongLength { bytes_left, length, mask } => {
                let length = length << 8 | u64::from(first);
                match bytes_left {
                    // The highest bit must not be set, and does no harm.
                    ..=1 => self.enter(length.saturating_add(mask)),
                    more => {
                        let bytes_left = more - 1;
                        self.stage = Stage::LongLength { bytes_left, length, mask };
                    }
                }
                rest
            }
            Stage::Payload { left } => {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.enter(left.saturating_sub(here as u64));
                bytes.get(here..).unwrap_or_default()
            }
        }
    }

    /// So many bytes of the frame are left.
    fn enter(&mut self, left: u64) {
        if left > 0 {
            self.stage = Stage::Payload { left };
        } else {
            self.stage = Stage::Between;
            self.has_closed |= self.is_close;
        }
    }
}

/// Ends a WebSocket from the server's side: "going away" (section 7.4.1).
pub const GOING_AWAY: [u8; 4] = [FIN | CLOSE, 2, 0x03, 0xe9];

/// The same from the client's side, whose frames are masked.
pub fn going_away_masked(mask: [u8; 4]) -> [u8; 8] {
    let [fin_close, length, high, low] = GOING_AWAY;
    let [a, b, c, d] = mask;
    [fin_close, MASKED | length, a, b, c, d, high ^ a, low ^ b]
}

const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 8;
const MASKED: u8 = 0x80;
const MASK_BYTES: u64 = 4;

/// What proves that a handshake was understood: the `Sec-WebSocket-Accept` for a
/// `Sec-WebSocket-Key` (section 4.2.2).
pub fn proof(key: &[u8]) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    Base64::encode_string(hash.as_ref())
}

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of section 1.3.
    #[test]
    fn a_key_has_one_proof() {
        assert_eq!(proof(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_close_frames_are_what_they_are_taken_for() {
        for bytes in [&GOING_AWAY[..], &going_away_masked([1, 2, 3, 4])] {
            let mut frames = Frames::default();
            let (last, most) = bytes.split_last().unwrap();
            frames.walk(most);
            assert!(!frames.has_closed() && !frames.is_between());
            frames.walk(&[*last]);
            assert!(frames.has_closed() && frames.is_between());
        }
        assert_eq!(1001_u16.to_be_bytes(), [0x03, 0xe9]);
        assert_eq!(going_away_masked([0; 4])[6..], GOING_AWAY[2..]);
    }

    #[test]
    fn a_frame_without_payload_ends_with_its_head() {
        let mut frames = Frames::default();
        frames.walk(&[0x89, 0]);
        assert!(frames.is_between() && !frames.has_closed());
        frames.walk(&[0x88, 0x80, 1, 2, 3]);
        assert!(!frames.is_between(), "its mask is not whole");
        frames.walk(&[4]);
        assert!(frames.is_between() && frames.has_closed());
    }

    #[test]
    fn a_length_that_no_frame_may_have_is_a_frame_that_does_not_end() {
        let mut frames = Frames::default();
        frames.walk(&[0x82, 0xff]);
        frames.walk(&[0xff; 8]);
        assert_eq!(frames.finish(&[0x88; 100]), 100);
        assert!(!frames.is_between() && !frames.has_closed());
    }

    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let length = prop_oneof![0..130_usize, 65_530..65_540_usize];
        (0..=15_u8, any::<bool>(), length, 0..3_usize).prop_map(|(opcode, masked, length, form)| {
            let mut frame = vec![FIN | opcode];
            let mask = if masked { MASKED } else { 0 };
            // A length may be written longer than need be; some do.
            match (length, form) {
                (..=125, 0) => frame.push(mask | length as u8),
                (..=65_535, ..=1) => {
                    frame.push(mask | 126);
                    frame.extend((length as u16).to_be_bytes());
                }
                _ => {
                    frame.push(mask | 127);
                    frame.extend((length as u64).to_be_bytes());
                }
            }
            frame.extend(vec![0x88; length + if masked { 4 } else { 0 }]);
            frame
        })
    }

    proptest! {
        /// However the bytes are cut, frames end where they end.
        #[test]
        fn frames_end_where_they_end(
            frames in prop::collection::vec(frame(), 0..6),
            cuts in prop::collection::vec(1..70_000_usize, 1..20),
        ) {
            let bytes = frames.concat();
            let mut ends = vec![0];
            ends.extend(frames.iter().scan(0, |at, frame| { *at += frame.len(); Some(*at) }));
            let (mut walked, mut finished, mut at) = (Frames::default(), Frames::default(), 0);
            for cut in cuts.iter().cycle() {
                let piece = &bytes[at..bytes.len().min(at + cut)];
                if piece.is_empty() {
                    break;
                }
                let end = finished.finish(piece);
                let next = ends.iter().find(|&&end| end >= at).unwrap() - at;
                prop_assert_eq!(end, next.min(piece.len()));
                finished.walk(&piece[end..]);
                walked.walk(piece);
                at += piece.len();
                prop_assert_eq!(walked.is_between(), ends.contains(&at));
                prop_assert_eq!(finished.is_between(), ends.contains(&at));
                let closed = frames.iter().zip(&ends[1..]).any(|(it, &end)| it[0] & 15 == 8 && end <= at);
                prop_assert_eq!(walked.has_closed(), closed);
            }
        }
    }
}

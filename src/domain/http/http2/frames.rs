//! Finds the frames in a stream of bytes, wherever it is cut (RFC 9113 §4.1).

/// What the beginning of a frame says of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    /// Bytes after the nine of its head.
    pub length: u32,
    /// 0 for the connection itself.
    pub stream: u32,
    /// The error code of a RST_STREAM, or how much of a DATA frame is padding,
    /// with the byte that says so; else 0.
    pub detail: u32,
}

/// One direction of a connection. It keeps no payload.
#[derive(Debug, Default)]
pub struct Frames {
    /// Bytes to come that begin no frame.
    skip: usize,
    head: [u8; HEAD_BYTES + DETAIL_BYTES_MAX],
    have: usize,
}

impl Frames {
    /// As a client speaks: behind a preface.
    pub fn of_client() -> Self {
        Self { skip: PREFACE_BYTES, ..Self::default() }
    }

    /// Tells `found` of each frame that begins in `bytes`.
    pub fn walk(&mut self, mut bytes: &[u8], mut found: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some(needed) = self.needed().checked_sub(self.have) else { return };
            let (taken, rest) = bytes.split_at(needed.min(bytes.len()));
            if let Some(room) = self.head.get_mut(self.have..self.have + taken.len()) {
                room.copy_from_slice(taken);
            }
            self.have += taken.len();
            bytes = rest;
            if self.have >= HEAD_BYTES && self.have == self.needed() {
                let frame = self.frame();
                self.skip = (frame.length as usize).saturating_sub(self.have - HEAD_BYTES);
                self.have = 0;
                found(frame);
            }
        }
    }

    /// Whether the last frame has come to its end.
    pub fn is_between(&self) -> bool {
        self.skip == 0 && self.have == 0
    }

    /// Bytes of the frame that are looked at.
    fn needed(&self) -> usize {
        if self.have < HEAD_BYTES {
            return HEAD_BYTES;
        }
        let [_, _, _, kind, flags, ..] = self.head;
        let detail = match kind {
            kind::RST_STREAM => 4,
            kind::DATA if flags & flag::PADDED != 0 => 1,
            _ => 0,
        };
        HEAD_BYTES + detail.min(self.length() as usize)
    }

    fn length(&self) -> u32 {
        let [a, b, c, ..] = self.head;
        u32::from_be_bytes([0, a, b, c])
    }

    fn frame(&self) -> Frame {
        let [_, _, _, kind, flags, a, b, c, d, e, f, g, h] = self.head;
        let detail = match self.have - HEAD_BYTES {
            4 => u32::from_be_bytes([e, f, g, h]),
            1 => u32::from(e) + 1,
            _ => 0,
        };
        let stream = u32::from_be_bytes([a & 0x7f, b, c, d]);
        Frame { kind, flags, length: self.length(), stream, detail }
    }
}

/// The types of RFC 9113 §6.
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// The flags of RFC 9113 §6.
pub mod flag {
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
}

const HEAD_BYTES: usize = 9;
const DETAIL_BYTES_MAX: usize = 4;
/// `PRI * HTTP/2.0`, `SM` and their line ends.
const PREFACE_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut add = |kind, flags, stream: u32, payload: &[u8]| {
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            bytes.extend_from_slice(&length[1..]);
            bytes.extend_from_slice(&[kind, flags]);
            bytes.extend_from_slice(&stream.to_be_bytes());
            bytes.extend_from_slice(payload);
        };
        add(kind::SETTINGS, 0, 0, &[]);
        add(kind::HEADERS, flag::END_HEADERS, 1, &[7; 300]);
        add(kind::DATA, flag::PADDED, 1, &[3, 1, 2, 0, 0, 0]);
        add(kind::DATA, flag::PADDED, 1, &[]);
        add(kind::RST_STREAM, 0, 0x8000_0003, &[0, 0, 1, 8]);
        add(0xfa, 0, 0, &[1]);
        let frame =
            |kind, flags, length, stream, detail| Frame { kind, flags, length, stream, detail };
        let wanted = [
            frame(kind::SETTINGS, 0, 0, 0, 0),
            frame(kind::HEADERS, flag::END_HEADERS, 300, 1, 0),
            frame(kind::DATA, flag::PADDED, 6, 1, 4),
            frame(kind::DATA, flag::PADDED, 0, 1, 0),
            frame(kind::RST_STREAM, 0, 4, 3, 0x108),
            frame(0xfa, 0, 1, 0, 0),
        ];
        for cut in 0..=bytes.len() {
            let (mut frames, mut found) = (Frames::of_client(), Vec::new());
            let (first, second) = bytes.split_at(cut);
            frames.walk(first, |frame| found.push(frame));
            frames.walk(second, |frame| found.push(frame));
            assert_eq!(found, wanted, "cut at {cut}");
            assert!(frames.is_between());
        }
        let (mut frames, mut found) = (Frames::of_client(), Vec::new());
        for byte in &bytes {
            frames.walk(std::slice::from_ref(byte), |frame| found.push(frame));
        }
        assert_eq!(found, wanted, "byte by byte");
    }
}

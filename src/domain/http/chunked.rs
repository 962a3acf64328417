//! Where a chunked body ends, read strictly and as it comes.

use super::refusal::Refusal;
use super::token::{is_field_value, is_tchar};
use super::trailers;

/// A scanner over the framing of one chunked body (RFC 9112 §7.1), trailers
/// included. It holds no bytes.
#[derive(Clone, Debug)]
pub struct Chunked {
    at: At,
    /// Bytes of the present chunk that are still to come.
    left: u64,
    extension_bytes: usize,
    trailer_bytes: usize,
}

/// What [`Chunked::advance`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// How many of the bytes belong to the body.
    pub consumed: usize,
    /// The body, with its trailers, ended with them.
    pub ended: bool,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum At {
    /// A digit of the size, after this many.
    Size(u8),
    /// White space after the size, which only an extension may follow.
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a trailer line, or the CR of the last line.
    LineStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    End,
}

impl Chunked {
    pub fn new() -> Self {
        Self { at: At::Size(0), left: 0, extension_bytes: 0, trailer_bytes: 0 }
    }

    /// Reads on with `bytes`, which follow those of the last call; bytes after
    /// the body's end are left alone. After an error the scanner is of no use.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Progress, Refusal> {
        let mut rest = bytes;
        while self.at != At::End {
            if self.at == At::Data {
                rest = self.skip_data(rest);
            }
            let Some((&byte, after)) = rest.split_first() else { break };
            self.at = self.step(byte)?;
            rest = after;
        }
        Ok(Progress { consumed: bytes.len() - rest.len(), ended: self.at == At::End })
    }

    fn skip_data<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let here = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.left -= here as u64;
        if self.left == 0 {
            self.at = At::DataCr;
        }
        bytes.get(here..).unwrap_or_default()
    }

    fn step(&mut self, byte: u8) -> Result<At, Refusal> {
        match self.at {
            At::Size(digits) => self.size(digits, byte),
            At::Space | At::Extension => self.extension(byte),
            At::SizeLf if byte == b'\n' && self.left == 0 => Ok(At::LineStart),
            At::SizeLf if byte == b'\n' => Ok(At::Data),
            At::SizeLf => Err(Refusal::ChunkSize),
            At::DataCr if byte == b'\r' => Ok(At::DataLf),
            At::DataLf if byte == b'\n' => Ok(At::Size(0)),
            At::DataCr | At::DataLf => Err(Refusal::ChunkEnd),
            At::LineStart | At::TrailerName | At::TrailerValue | At::TrailerLf | At::LastLf => {
                self.trailer(byte)
            }
            At::Data | At::End => Ok(self.at),
        }
    }

    fn size(&mut self, digits: u8, byte: u8) -> Result<At, Refusal> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            // Sixteen digits fill 64 bits; more would be zeros or an overflow.
            if digits == SIZE_DIGITS_MAX {
                return Err(Refusal::ChunkSize);
            }
            self.left = (self.left << 4) | u64::from(digit);
            return Ok(At::Size(digits + 1));
        }
        match byte {
            _ if digits == 0 => Err(Refusal::ChunkSize),
            b'\r' => Ok(At::SizeLf),
            b' ' | b'\t' | b';' => self.extension(byte),
            _ => Err(Refusal::ChunkSize),
        }
    }

    fn extension(&mut self, byte: u8) -> Result<At, Refusal> {
        let next = match (self.at, byte) {
            (At::Extension, b'\r') => return Ok(At::SizeLf),
            (At::Extension, _) if is_field_value(byte) => At::Extension,
            (At::Size(_) | At::Space, b' ' | b'\t') => At::Space,
            (At::Size(_) | At::Space, b';') => At::Extension,
            _ => return Err(Refusal::ChunkSize),
        };
        self.extension_bytes += 1;
        if self.extension_bytes < EXTENSION_BYTES_MAX {
            Ok(next)
        } else {
            Err(Refusal::ChunkExtensions)
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<At, Refusal> {
        self.trailer_bytes += 1;
        if self.trailer_bytes >= trailers::BYTES_MAX {
            return Err(Refusal::TrailersTooLong);
        }
        match (self.at, byte) {
            (At::LineStart, b'\r') => Ok(At::LastLf),
            (At::LastLf, b'\n') => Ok(At::End),
            (At::LineStart | At::TrailerName, _) if is_tchar(byte) => Ok(At::TrailerName),
            (At::TrailerName, b':') => Ok(At::TrailerValue),
            (At::TrailerValue, b'\r') => Ok(At::TrailerLf),
            (At::TrailerValue, _) if is_field_value(byte) => Ok(At::TrailerValue),
            (At::TrailerLf, b'\n') => Ok(At::LineStart),
            _ => Err(Refusal::Trailer),
        }
    }
}

impl Default for Chunked {
    fn default() -> Self {
        Self::new()
    }
}

const SIZE_DIGITS_MAX: u8 = 16;
/// Over all chunks of a body.
const EXTENSION_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_body_ends_with_its_last_line() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5;a=b\r\nhello\r\n000 ;x\r\n\r\n",
            "A\r\n0123456789\r\n1\r\n\n\r\n0\r\n\r\n",
            "0\r\nX-Sum: 1\r\nY:\r\n\r\n",
            "5 \t;q=\"a;b\"\r\n\r\n\r\n\r\r\n0\r\n\r\n",
        ] {
            let with_more = format!("{body}GET /");
            let progress = Chunked::new().advance(with_more.as_bytes());
            assert_eq!(progress, Ok(Progress { consumed: body.len(), ended: true }), "{body:?}");
        }
    }

    #[test]
    fn framing_that_could_be_read_in_two_ways_is_refused() {
        for (body, refusal) in [
            ("\r\n", Refusal::ChunkSize),
            ("g\r\n", Refusal::ChunkSize),
            ("0x5\r\n", Refusal::ChunkSize),
            ("+5\r\n", Refusal::ChunkSize),
            ("-1\r\n", Refusal::ChunkSize),
            (" 5\r\n", Refusal::ChunkSize),
            ("5 \r\n", Refusal::ChunkSize),
            ("5\n", Refusal::ChunkSize),
            ("5\rX", Refusal::ChunkSize),
            ("5;a\nX", Refusal::ChunkSize),
            ("5;a\rX", Refusal::ChunkSize),
            ("5;\0\r\n", Refusal::ChunkSize),
            ("00000000000000005\r\n", Refusal::ChunkSize),
            ("10000000000000000\r\n", Refusal::ChunkSize),
            ("5\r\nhelloX", Refusal::ChunkEnd),
            ("5\r\nhello\n", Refusal::ChunkEnd),
            ("5\r\nhello\rX", Refusal::ChunkEnd),
            ("0\r\n\n", Refusal::Trailer),
            ("0\r\n X: a\r\n", Refusal::Trailer),
            ("0\r\nX: a\r\n b\r\n", Refusal::Trailer),
            ("0\r\nX : a\r\n", Refusal::Trailer),
            ("0\r\nX\r\n", Refusal::Trailer),
            ("0\r\nX: a\n", Refusal::Trailer),
            ("0\r\nX: \0\r\n", Refusal::Trailer),
            ("0\r\nGET / HTTP/1.1\r\n", Refusal::Trailer),
        ] {
            assert_eq!(Chunked::new().advance(body.as_bytes()), Err(refusal), "{body:?}");
        }
    }

    #[test]
    fn the_largest_size_is_taken() {
        let mut body = Chunked::new();
        assert!(!body.advance(b"ffffffffffffffff\r\n").unwrap().ended);
        assert_eq!(body.left, u64::MAX);
    }

    #[test]
    fn extensions_and_trailers_are_bounded_over_the_whole_body() {
        let mut body = Chunked::new();
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(1_000));
        let refused = (0..20).find_map(|_| body.advance(chunk.as_bytes()).err());
        assert_eq!(refused, Some(Refusal::ChunkExtensions));

        let trailers = format!("0\r\n{}", "X: a\r\n".repeat(trailers::BYTES_MAX / 6 + 1));
        assert_eq!(
            Chunked::new().advance(format!("{trailers}\r\n").as_bytes()),
            Err(Refusal::TrailersTooLong)
        );
    }

    proptest! {
        #[test]
        fn any_split_finds_the_same_end(
            chunks in proptest::collection::vec(1_usize..40, 0..5),
            cuts in proptest::collection::vec(0_usize..300, 0..6),
        ) {
            let mut stream = String::new();
            for size in chunks {
                stream += &format!("{size:x};e\r\n{}\r\n", "d".repeat(size));
            }
            stream += "0\r\nT: v\r\n\r\n";
            let end = stream.len();
            stream += "GET / HTTP/1.1\r\n";
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(end - 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let mut body = Chunked::new();
            for pair in cuts.windows(2) {
                let part = &stream.as_bytes()[pair[0]..pair[1]];
                let progress = body.advance(part).unwrap();
                prop_assert_eq!(progress.ended, pair[1] == stream.len());
                prop_assert_eq!(progress.consumed, part.len().min(end - pair[0]));
            }
        }

        #[test]
        fn any_bytes_are_scanned(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(progress) = Chunked::new().advance(&bytes) {
                prop_assert!(progress.consumed <= bytes.len());
            }
        }
    }
}

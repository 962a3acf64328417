//! The codings as one: bytes in, compressed bytes out.

use std::io;

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{
    BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct,
};
use flate2::{Compress, FlushCompress, Status};
use zstd::stream::raw::{self, CParameter, InBuffer, Operation, OutBuffer};

use crate::domain::middleware::Coding;

/// One compressed stream. It takes up to 0.3 MiB for gzip, 1.1 for zstd, and for
/// brotli 1.2 or, where the body is large, 2.7.
pub(super) enum Encoder {
    Gzip(Box<Compress>),
    Brotli(Box<BrotliEncoderStateStruct<StandardAlloc>>),
    Zstd(raw::Encoder<'static>),
}

/// What is done with what was put in so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Then {
    /// It comes out when the coding likes.
    GoOn,
    /// All of it comes out now.
    Flush,
    /// As flushed, and the stream ends.
    End,
}

impl Encoder {
    /// An encoder for `length` bytes, if it is known how many.
    pub(super) fn new(coding: Coding, length: Option<u64>) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                Self::Gzip(Box::new(Compress::new_gzip(level, GZIP_WINDOW)))
            }
            Coding::Brotli => Self::Brotli(Box::new(brotli())),
            Coding::Zstd => Self::Zstd(zstd(length)?),
        })
    }

    /// Takes all of `input`, and adds to `out` what comes out.
    pub(super) fn put(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Gzip(stream) => put_gzip(stream, input, then, out),
            Self::Brotli(stream) => put_brotli(stream, input, then, out),
            Self::Zstd(stream) => put_zstd(stream, input, then, out),
        }
    }
}

fn put_gzip(
    stream: &mut Compress,
    mut input: &[u8],
    then: Then,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let flush = match then {
        Then::GoOn => FlushCompress::None,
        Then::Flush => FlushCompress::Sync,
        Then::End => FlushCompress::Finish,
    };
    loop {
        out.reserve(ROOM);
        let before = stream.total_in();
        let status = stream.compress_vec(input, out, flush).map_err(io::Error::other)?;
        let taken = usize::try_from(stream.total_in() - before).unwrap_or(usize::MAX);
        input = input.get(taken..).unwrap_or_default();
        // Where room is left, nothing more wants to come out.
        let done = match then {
            Then::GoOn | Then::Flush => input.is_empty() && out.len() < out.capacity(),
            Then::End => status == Status::StreamEnd,
        };
        if done {
            return Ok(());
        }
    }
}

fn put_brotli(
    stream: &mut BrotliEncoderStateStruct<StandardAlloc>,
    input: &[u8],
    then: Then,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let operation = match then {
        Then::GoOn => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
        Then::Flush => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
        Then::End => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
    };
    let (mut left, mut at) = (input.len(), 0);
    loop {
        // Without room of ours it keeps what comes out until it is taken.
        let taken = stream.compress_stream(
            operation,
            &mut left,
            input,
            &mut at,
            &mut 0,
            &mut [],
            &mut 0,
            &mut None,
            &mut |_, _, _, _| (),
        );
        if !taken {
            return Err(io::Error::other("brotli refused its input"));
        }
        let had_more = stream.has_more_output();
        while stream.has_more_output() {
            let mut length = 0;
            let more = stream.take_output(&mut length);
            out.extend_from_slice(more.get(..length).unwrap_or_default());
        }
        if left == 0 && !had_more && (then != Then::End || stream.is_finished()) {
            return Ok(());
        }
    }
}

fn put_zstd(
    stream: &mut raw::Encoder<'static>,
    input: &[u8],
    then: Then,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let mut input = InBuffer::around(input);
    while input.pos() < input.src.len() {
        stream.run(&mut input, &mut room(out))?;
    }
    loop {
        let left = match then {
            Then::GoOn => 0,
            Then::Flush => stream.flush(&mut room(out))?,
            Then::End => stream.finish(&mut room(out), true)?,
        };
        if left == 0 {
            return Ok(());
        }
    }
}

/// Room behind what stands in `out`.
fn room(out: &mut Vec<u8>) -> OutBuffer<'_, Vec<u8>> {
    out.reserve(ROOM);
    let filled = out.len();
    OutBuffer::around_pos(out, filled)
}

/// It is not told how long the body is: from a megabyte on it would take tables
/// of four more.
fn brotli() -> BrotliEncoderStateStruct<StandardAlloc> {
    let mut stream = BrotliEncoderStateStruct::new(StandardAlloc::default());
    stream.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, BROTLI_QUALITY);
    stream.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, BROTLI_WINDOW);
    stream
}

fn zstd(length: Option<u64>) -> io::Result<raw::Encoder<'static>> {
    let mut stream = raw::Encoder::new(ZSTD_LEVEL)?;
    stream.set_parameter(CParameter::WindowLog(ZSTD_WINDOW))?;
    // Small tables for small bodies.
    stream.set_pledged_src_size(length)?;
    Ok(stream)
}

/// As nginx is mostly set up, and zlib by itself: higher ones cost much and
/// gain little.
const GZIP_LEVEL: u32 = 6;

/// 32 KiB, the largest there is.
const GZIP_WINDOW: u8 = 15;

/// A twentieth smaller than gzip's level 6 for twice to three times the work;
/// the next level takes several times that.
const BROTLI_QUALITY: u32 = 5;

/// 128 KiB. With the largest window one stream would take 16 MiB and more.
const BROTLI_WINDOW: u32 = 17;

/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;

/// 128 KiB, for the memory of both sides; each megabyte gains little in text.
const ZSTD_WINDOW: u32 = 17;

/// What there is room for at least when something may come out.
const ROOM: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    #[test]
    fn what_is_flushed_can_be_read_at_once() {
        for coding in Coding::ALL {
            let mut encoder = Encoder::new(coding, None).unwrap();
            let (mut out, mut plain) = (Vec::new(), Vec::new());
            for piece in ["first", "second", "", "third"] {
                encoder.put(piece.as_bytes(), Then::Flush, &mut out).unwrap();
                plain.extend_from_slice(piece.as_bytes());
                assert_eq!(decode_start(coding, &out, plain.len()), plain, "{coding:?}");
            }
            encoder.put(b"", Then::End, &mut out).unwrap();
            assert_eq!(decode(coding, &out), plain, "{coding:?}");
        }
    }

    #[test]
    fn an_empty_stream_is_whole() {
        for coding in Coding::ALL {
            let mut out = Vec::new();
            Encoder::new(coding, None).unwrap().put(b"", Then::End, &mut out).unwrap();
            assert!(!out.is_empty());
            assert_eq!(decode(coding, &out), b"", "{coding:?}");
        }
    }

    proptest! {
        // Each case is a few megabytes at most, in three codings.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_comes_out_is_what_went_in(
            pieces in proptest::collection::vec((piece(), any::<bool>()), 0..5),
            known: bool,
        ) {
            let plain: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.clone()).collect();
            for coding in Coding::ALL {
                let length = known.then_some(plain.len() as u64);
                let mut encoder = Encoder::new(coding, length).unwrap();
                let mut out = Vec::new();
                for (piece, flush) in &pieces {
                    let then = if *flush { Then::Flush } else { Then::GoOn };
                    encoder.put(piece, then, &mut out).unwrap();
                }
                encoder.put(b"", Then::End, &mut out).unwrap();
                prop_assert!(decode(coding, &out) == plain, "{:?}", coding);
            }
        }
    }

    /// Noise and repetition, small and larger than any block.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            (any::<u8>(), 0..150_000usize).prop_map(|(byte, length)| vec![byte; length]),
            (any::<u64>(), 0..100_000usize).prop_map(|(seed, length)| noise(seed, length)),
        ]
    }

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..length).map(|_| random.u8(..)).collect()
    }

    fn decode(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        decoder(coding, bytes).read_to_end(&mut plain).unwrap();
        plain
    }

    fn decode_start(coding: Coding, bytes: &[u8], length: usize) -> Vec<u8> {
        let mut plain = vec![0; length];
        decoder(coding, bytes).read_exact(&mut plain).unwrap();
        plain
    }

    fn decoder(coding: Coding, bytes: &[u8]) -> Box<dyn Read + '_> {
        match coding {
            Coding::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
            Coding::Brotli => Box::new(brotli::Decompressor::new(bytes, 4096)),
            Coding::Zstd => Box::new(zstd::Decoder::new(bytes).unwrap()),
        }
    }
}

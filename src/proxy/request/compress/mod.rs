//! An answer's body on its way through an encoder.

mod encoder;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use crate::domain::middleware::{self, Coding};
use crate::proxy::encoders::Room;
use encoder::{Encoder, Then};

/// A body that is compressed as it is read. What has come of it goes out as
/// soon as no more follows at once, so that events and slow pages stay live.
pub(super) struct Compressed<S> {
    source: S,
    coding: Coding,
    length: Option<u64>,
    /// None until there is something to compress.
    encoder: Option<Encoder>,
    /// What has come and is not yet in the encoder.
    input: Bytes,
    /// Something may still be in the encoder that could go out.
    holds: bool,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// What the encoder takes, until it is dropped.
    _room: Room,
}

impl<S: Body<Data = Bytes, Error: From<io::Error>> + Unpin> Compressed<S> {
    /// `length`: of the plain body, if it is known.
    pub(super) fn new(source: S, coding: Coding, length: Option<u64>, room: Room) -> Self {
        Self {
            source,
            coding,
            length,
            encoder: None,
            input: Bytes::new(),
            holds: false,
            trailers: None,
            ended: false,
            _room: room,
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.ended && self.trailers.is_none()
    }

    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, S::Error>>> {
        if self.ended {
            return Poll::Ready(self.trailers.take().map(|it| Ok(Frame::trailers(it))));
        }
        let mut out = Vec::new();
        let mut taken = 0;
        while out.len() < OUT_BYTES {
            if self.input.is_empty() && !self.source.is_end_stream() {
                match Pin::new(&mut self.source).poll_frame(context) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => self.input = data,
                        Err(frame) => {
                            self.trailers = frame.into_trailers().ok();
                            if let Some(fields) = &mut self.trailers {
                                middleware::forget_plain_form(fields);
                            }
                        }
                    },
                    // Without its end a client sees that something is missing.
                    Poll::Ready(Some(Err(broken))) => return Poll::Ready(Some(Err(broken))),
                    Poll::Ready(None) => {}
                    Poll::Pending if self.holds => {
                        self.put(Then::Flush, &mut out)?;
                        break;
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            taken += self.input.len().min(PIECE_BYTES_MAX);
            if self.input.len() <= PIECE_BYTES_MAX && self.source.is_end_stream() {
                self.put(Then::End, &mut out)?;
                self.ended = true;
                break;
            }
            self.put(Then::GoOn, &mut out)?;
            if taken >= PIECE_BYTES_MAX {
                if out.is_empty() {
                    // Others have their turn.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                break;
            }
        }
        Poll::Ready(Some(Ok(Frame::data(out.into()))))
    }

    /// Compresses the next piece of the input.
    fn put(&mut self, then: Then, out: &mut Vec<u8>) -> io::Result<()> {
        let piece = self.input.split_to(self.input.len().min(PIECE_BYTES_MAX));
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(Encoder::new(self.coding, self.length)?),
        };
        encoder.put(&piece, then, out)?;
        self.holds = then == Then::GoOn;
        Ok(())
    }
}

/// What is compressed at once, before others have their turn.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// What is gathered before it goes out, while more is at hand.
const OUT_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::encoders::Encoders;
    use http_body_util::{BodyExt, Full};
    use std::io::Read;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_large_body_is_compressed_a_piece_at_a_time() {
        const PIECES: usize = 20;
        for (coding, byte) in Coding::ALL.into_iter().flat_map(|it| [(it, 0), (it, 251)]) {
            let plain: Vec<u8> = match byte {
                0 => vec![0; PIECES * PIECE_BYTES_MAX],
                _ => (0..PIECES * PIECE_BYTES_MAX).map(|n| (n % 251 * n % 253) as u8).collect(),
            };
            let source = Full::<Bytes>::from(plain.clone());
            let source = source.map_err(|never| -> io::Error { match never {} });
            let room = Encoders::default().begin(coding).unwrap();
            let mut body = Compressed::new(source, coding, Some(plain.len() as u64), room);
            let (mut packed, mut polls) = (Vec::new(), 0);
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let mut context = Context::from_waker(&waker);
            loop {
                polls += 1;
                let before = woken.0.load(Ordering::Relaxed);
                match body.poll_frame(&mut context) {
                    Poll::Ready(Some(frame)) => packed.extend(frame.unwrap().into_data().unwrap()),
                    Poll::Ready(None) => break,
                    Poll::Pending => assert!(woken.0.load(Ordering::Relaxed) > before),
                }
            }
            assert!(body.is_end_stream());
            assert!((PIECES..2 * PIECES + 100).contains(&polls), "{coding:?}: {polls} polls");
            let mut unpacked = Vec::new();
            let mut decoder: Box<dyn Read> = match coding {
                Coding::Gzip => Box::new(flate2::read::GzDecoder::new(&packed[..])),
                Coding::Brotli => Box::new(brotli::Decompressor::new(&packed[..], 4096)),
                Coding::Zstd => Box::new(zstd::Decoder::new(&packed[..]).unwrap()),
            };
            decoder.read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == plain, "{coding:?}");
        }
    }
}

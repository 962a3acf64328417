//! How much memory the encoders of one worker may take.

use std::cell::Cell;
use std::rc::Rc;

use crate::domain::middleware::Coding;

/// The encoders of one worker, by the memory that they take.
#[derive(Clone, Debug, Default)]
pub(super) struct Encoders(Rc<Cell<usize>>);

/// Room for one encoder, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    taken: Rc<Cell<usize>>,
    bytes: usize,
}

impl Encoders {
    /// Room for an encoder of this coding, if there is any left.
    pub(super) fn begin(&self, coding: Coding) -> Option<Room> {
        let bytes = most_bytes(coding);
        let after = self.0.get() + bytes;
        (after <= ENCODER_BYTES_MAX).then(|| {
            self.0.set(after);
            Room { taken: Rc::clone(&self.0), bytes }
        })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken.set(self.taken.get().saturating_sub(self.bytes));
    }
}

/// What an encoder takes at the most, as was measured with its settings.
fn most_bytes(coding: Coding) -> usize {
    match coding {
        Coding::Gzip => 320 * KIB,
        Coding::Zstd => 1_152 * KIB,
        Coding::Brotli => 2_816 * KIB,
    }
}

/// Of one worker: room for 23 answers in brotli at once, 56 in zstd or 204 in
/// gzip. An answer has its encoder for as long as its replica takes to give it
/// and its client to read it, so that a few thousand slow clients could take all
/// of the machine. Whoever finds no room is answered in plain.
const ENCODER_BYTES_MAX: usize = 64 * 1024 * KIB;

const KIB: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoders_have_so_much_room_and_no_more_until_one_ends() {
        for (coding, most) in [(Coding::Brotli, 23), (Coding::Zstd, 56), (Coding::Gzip, 204)] {
            let encoders = Encoders::default();
            let mut rooms: Vec<_> = std::iter::from_fn(|| encoders.begin(coding)).collect();
            assert_eq!(rooms.len(), most, "{coding:?}");
            rooms.pop();
            assert!(encoders.begin(coding).is_some());
            drop(rooms);
            assert_eq!(encoders.0.get(), 0);
        }
    }

    #[test]
    fn what_is_too_little_for_one_coding_may_do_for_another() {
        let encoders = Encoders::default();
        let _rooms: Vec<_> = std::iter::from_fn(|| encoders.begin(Coding::Brotli)).collect();
        assert!(encoders.begin(Coding::Brotli).is_none());
        let _room = encoders.begin(Coding::Zstd).or_else(|| encoders.begin(Coding::Gzip)).unwrap();
    }
}

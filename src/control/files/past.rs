//! When what a file holds counts.
//!
//! Most tools empty a file and then write it: between the two everybody whom it
//! names would be locked out. A file that has been read before counts anew when
//! it was the same at two looks, [`STILL`] apart.

use std::time::Duration;

use tokio::time::Instant;

use crate::control::files::look::Sign;

/// What the looks at one file have shown so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Past {
    /// It was never read: what it holds is better than nothing, and counts at once.
    #[default]
    Unread,
    /// It was as this when it was read.
    Read(Sign),
    /// It was read once, and is not as it was.
    Moving(Motion),
    /// It was read once, and could not be at the last look.
    Lost,
}

/// A file that may be half written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Motion {
    pub(super) sign: Sign,
    /// When it was first seen with that sign.
    pub(super) seen: Instant,
    /// When it was first seen to have changed since it was read.
    pub(super) since: Instant,
}

/// What to do with a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// It holds what was read.
    Keep,
    /// What was read stands for now.
    Wait(Motion),
    /// Read it; what is read counts even if it changes meanwhile.
    Take,
    /// Read it; it counts unless it changes meanwhile.
    TakeIfStill,
}

impl Past {
    /// For a file that has this sign at a look that began `now`.
    pub(super) fn step(self, sign: Sign, now: Instant) -> Step {
        match self {
            Self::Unread => Step::Take,
            Self::Read(read) if read == sign => Step::Keep,
            Self::Read(_) | Self::Lost => Step::Wait(Motion { sign, seen: now, since: now }),
            Self::Moving(motion) if now.duration_since(motion.since) >= MOTION_MAX => Step::Take,
            Self::Moving(motion) if motion.sign != sign => {
                Step::Wait(Motion { sign, seen: now, ..motion })
            }
            Self::Moving(motion) if now.duration_since(motion.seen) < STILL => Step::Wait(motion),
            Self::Moving(_) => Step::TakeIfStill,
        }
    }

    /// After it changed to this sign while it was read.
    pub(super) fn stirred(self, sign: Sign, now: Instant) -> Motion {
        let since = match self {
            Self::Moving(motion) => motion.since,
            Self::Unread | Self::Read(_) | Self::Lost => now,
        };
        Motion { sign, seen: now, since }
    }

    /// After it could not be read.
    pub(super) fn lost(self) -> Self {
        match self {
            Self::Unread => Self::Unread,
            Self::Read(_) | Self::Moving(_) | Self::Lost => Self::Lost,
        }
    }
}

/// How long a file stays as it is before it is taken to be whole.
pub(super) const STILL: Duration = Duration::from_secs(1);

/// A file that never rests counts as it is after that.
const MOTION_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_at_once_the_first_time_and_then_when_it_was_still() {
        let (was, is, becomes) = (sign(1), sign(2), sign(3));
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(100 * tenths);
        let moving = |sign, seen, since| Motion { sign, seen: at(seen), since: at(since) };
        let in_motion = |sign, seen, since| Past::Moving(moving(sign, seen, since));
        for (past, sign, now, step) in [
            (Past::Unread, is, 0, Step::Take),
            (Past::Read(is), is, 0, Step::Keep),
            (Past::Read(was), is, 0, Step::Wait(moving(is, 0, 0))),
            (Past::Lost, is, 0, Step::Wait(moving(is, 0, 0))),
            (in_motion(is, 0, 0), is, 9, Step::Wait(moving(is, 0, 0))),
            (in_motion(is, 0, 0), is, 10, Step::TakeIfStill),
            (in_motion(is, 0, 0), becomes, 10, Step::Wait(moving(becomes, 10, 0))),
            (in_motion(becomes, 10, 0), becomes, 19, Step::Wait(moving(becomes, 10, 0))),
            (in_motion(becomes, 10, 0), becomes, 20, Step::TakeIfStill),
            (in_motion(is, 40, 0), becomes, 49, Step::Wait(moving(becomes, 49, 0))),
            (in_motion(is, 40, 0), becomes, 50, Step::Take),
            (in_motion(becomes, 49, 0), becomes, 50, Step::Take),
        ] {
            assert_eq!(past.step(sign, at(now)), step, "{past:?}, {sign:?} at {now}");
        }
    }

    #[test]
    fn a_change_during_a_look_begins_the_wait_anew_and_not_its_bound() {
        let start = Instant::now();
        let later = start + STILL;
        let past = Past::Moving(Motion { sign: sign(1), seen: start, since: start });
        let expected = Motion { sign: sign(2), seen: later, since: start };
        assert_eq!(past.stirred(sign(2), later), expected);
        assert_eq!((past.lost(), Past::Unread.lost()), (Past::Lost, Past::Unread));
    }

    /// Of a file of so many bytes.
    fn sign(bytes: u64) -> Sign {
        let file = tempfile::tempfile().unwrap();
        file.set_len(bytes).unwrap();
        Sign::of(&rustix::fs::fstat(&file).unwrap())
    }
}

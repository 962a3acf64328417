//! What a client says of the codings that it takes (RFC 9110, section 12.5.3).

use crate::domain::http::token;
use crate::domain::middleware::compress::Coding;

/// The client's weights of codings, in thousandths; 0 is a refusal.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Wanted {
    zstd: Option<u16>,
    brotli: Option<u16>,
    gzip: Option<u16>,
    /// No coding at all.
    identity: Option<u16>,
    /// All that is not named.
    others: Option<u16>,
}

impl Wanted {
    /// Reads the lines of `Accept-Encoding`. What cannot be read is passed over;
    /// what is not named and not meant by `*` is not wanted.
    pub(super) fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut wanted = Self::default();
        for entry in lines.flat_map(token::list) {
            let mut parts = entry.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let Some(place) = parts.next().and_then(|name| wanted.place(name)) else { continue };
            let weight = match parts.find_map(weight) {
                None => MOST,
                Some(Some(weight)) => weight,
                // Whatever it says, it is no wish.
                Some(None) => 0,
            };
            *place = Some(weight);
        }
        wanted
    }

    fn place(&mut self, name: &[u8]) -> Option<&mut Option<u16>> {
        let is = |it: &[u8]| name.eq_ignore_ascii_case(it);
        Some(match name {
            b"*" => &mut self.others,
            _ if is(b"gzip") || is(b"x-gzip") => &mut self.gzip,
            _ if is(b"br") => &mut self.brotli,
            _ if is(b"zstd") => &mut self.zstd,
            _ if is(b"identity") => &mut self.identity,
            _ => return None,
        })
    }

    /// The coding that the client wants most; of those that it wants alike, the
    /// first. None if it would rather have none.
    pub(super) fn best_of(self, offered: &[Coding]) -> Option<Coding> {
        let mut best = None;
        let mut most = self.identity.unwrap_or(0);
        for &coding in offered {
            let weight = self.weight(coding);
            // It may take a plain answer as gladly, and gets a smaller one.
            if weight > most || (best.is_none() && weight == most && weight > 0) {
                (best, most) = (Some(coding), weight);
            }
        }
        best
    }

    fn weight(self, coding: Coding) -> u16 {
        let named = match coding {
            Coding::Zstd => self.zstd,
            Coding::Brotli => self.brotli,
            Coding::Gzip => self.gzip,
        };
        named.or(self.others).unwrap_or(0)
    }
}

/// The weight that a parameter gives, none inside if it cannot be read; none at
/// all of another parameter.
fn weight(parameter: &[u8]) -> Option<Option<u16>> {
    let (name, value) = parameter.split_at_checked(2)?;
    name.eq_ignore_ascii_case(b"q=").then(|| thousandths(value))
}

/// `0.5` as 500; at most three digits after the point.
fn thousandths(written: &[u8]) -> Option<u16> {
    let (whole, digits) = match written {
        [whole] | [whole, b'.'] => (*whole, &[][..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (*whole, digits),
        _ => return None,
    };
    let mut value = u16::from(whole.checked_sub(b'0').filter(|it| *it <= 1)?);
    for place in 0..3 {
        let digit = digits.get(place).copied().unwrap_or(b'0');
        value = value * 10 + u16::from(digit.checked_sub(b'0').filter(|it| *it <= 9)?);
    }
    (value <= MOST).then_some(value)
}

const MOST: u16 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_clients_weights_come_before_the_servers_order() {
        use Coding::{Brotli, Gzip, Zstd};
        let all = &Coding::ALL[..];
        for (accepts, offered, best) in [
            (&[][..], all, None),
            (&[""], all, None),
            (&["gzip, deflate, br, zstd"], all, Some(Zstd)),
            (&["gzip, deflate, br"], all, Some(Brotli)),
            (&["gzip, deflate, br, zstd"], &[Gzip, Zstd], Some(Gzip)),
            (&["GZIP"], all, Some(Gzip)),
            (&["x-gzip"], all, Some(Gzip)),
            (&["deflate"], all, None),
            (&["gzip;q=1.0, br;q=0.9"], all, Some(Gzip)),
            (&["gzip; q=0.5 , br ;q=0.501"], all, Some(Brotli)),
            (&["gzip;q=0.8", "zstd;q=0.9"], all, Some(Zstd)),
            (&["gzip;q=0"], all, None),
            (&["gzip;q=0.000, *;q=0.001"], &[Gzip], None),
            (&["gzip;q=0, *"], all, Some(Zstd)),
            (&["*;q=0"], all, None),
            (&["*"], all, Some(Zstd)),
            (&["identity"], all, None),
            (&["identity, gzip"], all, Some(Gzip)),
            (&["identity;q=0"], all, None),
            (&["identity;q=0, *"], all, Some(Zstd)),
            (&["identity;q=1, gzip;q=0.5"], all, None),
            (&["identity;q=0.5, gzip;q=1"], all, Some(Gzip)),
            (&["gzip;q=2, br"], all, Some(Brotli)),
            (&["gzip;q=0.1234"], all, None),
            (&["gzip;q="], all, None),
            (&["gzip;level=9;q=0"], all, None),
            (&["gzip;level=9"], all, Some(Gzip)),
        ] {
            let lines = accepts.iter().map(|line: &&str| line.as_bytes());
            assert_eq!(Wanted::read(lines).best_of(offered), best, "{accepts:?}");
        }
    }

    #[test]
    fn weights_have_three_digits_and_are_one_at_the_most() {
        for (written, value) in [
            ("0", Some(0)),
            ("1", Some(1000)),
            ("0.", Some(0)),
            ("1.000", Some(1000)),
            ("0.05", Some(50)),
            ("0.999", Some(999)),
            ("1.001", None),
            ("0.0001", None),
            (".5", None),
            ("", None),
            ("0,5", None),
            ("-1", None),
            ("0.5x", None),
        ] {
            assert_eq!(thousandths(written.as_bytes()), value, "{written}");
        }
    }

    proptest! {
        #[test]
        fn any_line_can_be_read(line: Vec<u8>) {
            Wanted::read([&line[..]].into_iter()).best_of(&Coding::ALL);
        }
    }
}

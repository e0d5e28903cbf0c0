//! Cookies, which the inbound edge has instead of state, and tokens, which stand for them the next time.
//!
//! Guarantees: one MAC makes one, one MAC checks one, and an old one costs none. A cookie counts for one RLOC, one outbound tag, two
//! hosts and [`COOKIE_LIFETIME`]; a token for one RLOC and [`TOKEN_LIFETIME`]. A key that was replaced still counts until the next is.
//! Never: keeps anything for whoever it gave one to, reads a clock, or makes a key.

use super::message::{Id, Rloc, Tag};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

/// Bytes of a cookie or token.
pub const COOKIE: usize = 20;
/// Seconds for which a cookie counts: longer than the outbound edge goes on asking.
pub const COOKIE_LIFETIME: u32 = 15;
/// Seconds for which a token counts.
pub const TOKEN_LIFETIME: u32 = 3600;
/// Seconds after which the key is to be replaced; what it made counts for as long again, which no token outlives.
pub const ROTATION: u32 = TOKEN_LIFETIME;

/// A key of SipHash-2-4, with 128 bits out.
pub type Key = [u8; 16];

/// Of the first byte: which of two keys.
const PARITY: u8 = 0x80;
const TIME_BITS: u32 = 0x00ff_ffff;

/// What a cookie counts for.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    pub rloc: Rloc,
    /// The outbound edge's tag, which stands for the pair of hosts there.
    pub sst: Tag,
    pub source: Id<'a>,
    pub destination: Id<'a>,
}

/// Which kind of cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// For both hosts.
    Cookie = 1,
    /// For whatever ID the source will have: it was asked for one of another type, and the tag ties the two together.
    AnySource = 2,
    /// For the RLOC alone.
    Token = 3,
}

/// What somebody has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// That it gets what is sent to its RLOC.
    Proof,
    /// What may have been right once: no MAC was spent on it.
    Stale,
    /// What was never given out.
    Forged,
}

/// The two keys, and how many MACs were spent.
pub struct Cookies {
    keys: [Key; 2],
    /// Which of them makes new ones.
    newest: usize,
    rotated: u32,
    macs: u64,
}

impl Cookies {
    /// `now`: seconds.
    pub fn new(keys: [Key; 2], now: u32) -> Cookies {
        Cookies { keys, newest: 0, rotated: now, macs: 0 }
    }

    /// Whether [`Self::rotate`] is due.
    pub fn is_due(&self, now: u32) -> bool {
        now.wrapping_sub(self.rotated) >= ROTATION
    }

    /// Makes new ones by `key` from now on.
    pub fn rotate(&mut self, key: Key, now: u32) {
        self.newest ^= 1;
        self.keys[self.newest] = key;
        self.rotated = now;
    }

    /// MACs that were made or checked.
    pub fn macs(&self) -> u64 {
        self.macs
    }

    pub fn make(&mut self, form: Form, bound: &Bound<'_>, now: u32) -> [u8; COOKIE] {
        let time = now & TIME_BITS;
        let first = form as u8 | if self.newest == 1 { PARITY } else { 0 };
        let mut cookie = [0; COOKIE];
        cookie[..4].copy_from_slice(&(u32::from(first) << 24 | time).to_be_bytes());
        cookie[4..].copy_from_slice(&self.mac(form, bound, first, time));
        cookie
    }

    /// Judges what came back.
    pub fn check(&mut self, cookie: &[u8], bound: &Bound<'_>, now: u32) -> Shown {
        let Ok(cookie) = <&[u8; COOKIE]>::try_from(cookie) else { return Shown::Forged };
        let word = u32::from_be_bytes([cookie[0], cookie[1], cookie[2], cookie[3]]);
        let (first, time) = (cookie[0], word & TIME_BITS);
        let (form, lifetime) = match first & !PARITY {
            1 => (Form::Cookie, COOKIE_LIFETIME),
            2 => (Form::AnySource, COOKIE_LIFETIME),
            3 => (Form::Token, TOKEN_LIFETIME),
            _ => return Shown::Forged,
        };
        if now.wrapping_sub(time) & TIME_BITS > lifetime {
            return Shown::Stale;
        }
        let mac = self.mac(form, bound, first, time);
        // The time that hashing takes says nothing of the key, and comparing 128 bits at once says nothing of which differ.
        if u128::from_ne_bytes(mac) == cookie[4..].try_into().map_or(0, u128::from_ne_bytes) {
            Shown::Proof
        } else {
            Shown::Forged
        }
    }

    fn mac(&mut self, form: Form, bound: &Bound<'_>, first: u8, time: u32) -> [u8; 16] {
        self.macs += 1;
        let mut hasher = SipHasher24::new_with_key(&self.keys[usize::from(first & PARITY != 0)]);
        hasher.write(&(u32::from(first) << 24 | time).to_be_bytes());
        // The carrier says how long the address is: what is hashed can be read in one way only.
        hasher.write(&[bound.rloc.carrier() as u8]);
        match bound.rloc {
            Rloc::V4(address) => hasher.write(&address.octets()),
            Rloc::V6(address) => hasher.write(&address.octets()),
            Rloc::Ethernet(address) => hasher.write(&address.0),
        }
        if form != Form::Token {
            hasher.write(&bound.sst.get().to_be_bytes());
            let id = |hasher: &mut SipHasher24, id: &Id<'_>| {
                hasher.write(&[id.id_type as u8, id.value.len() as u8]);
                hasher.write(id.value);
            };
            id(&mut hasher, &bound.destination);
            if form == Form::Cookie {
                id(&mut hasher, &bound.source);
            }
        }
        hasher.finish128().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::cetp::message::IdType;

    fn bound() -> Bound<'static> {
        Bound {
            rloc: Rloc::V4([192, 0, 2, 1].into()),
            sst: Tag::new(7).expect("not 0"),
            source: Id { id_type: IdType::Fqdn, value: b"a.example" },
            destination: Id { id_type: IdType::Fqdn, value: b"b.example" },
        }
    }

    #[test]
    fn a_cookie_counts_for_what_it_is_bound_to() {
        let mut cookies = Cookies::new([[1; 16], [2; 16]], 0);
        let bound = bound();
        let other = Id { id_type: IdType::Fqdn, value: b"c.example" };
        let others = [
            Bound { rloc: Rloc::V4([192, 0, 2, 2].into()), ..bound },
            Bound { sst: Tag::new(8).expect("not 0"), ..bound },
            Bound { destination: other, ..bound },
            Bound { source: other, ..bound },
        ];
        for (form, counts_for) in [(Form::Cookie, 0), (Form::AnySource, 1), (Form::Token, 3)] {
            let cookie = cookies.make(form, &bound, 100);
            assert_eq!(cookies.check(&cookie, &bound, 100), Shown::Proof);
            let proofs = others.iter().filter(|of| cookies.check(&cookie, of, 100) == Shown::Proof).count();
            assert_eq!(proofs, counts_for, "{form:?}");
            for bit in 0..COOKIE * 8 {
                let mut wrong = cookie;
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(cookies.check(&wrong, &bound, 100), Shown::Proof, "bit {bit}");
            }
            assert_eq!(cookies.check(&cookie[1..], &bound, 100), Shown::Forged);
        }
    }

    #[test]
    fn a_cookie_counts_for_its_time_and_an_old_one_costs_nothing() {
        let mut cookies = Cookies::new([[1; 16], [2; 16]], 0);
        let now = 0xffff_fff8; // and over the end of the numbers
        for (form, lifetime) in [(Form::Cookie, COOKIE_LIFETIME), (Form::Token, TOKEN_LIFETIME)] {
            let cookie = cookies.make(form, &bound(), now);
            assert_eq!(cookies.check(&cookie, &bound(), now.wrapping_add(lifetime)), Shown::Proof);
            let macs = cookies.macs();
            assert_eq!(cookies.check(&cookie, &bound(), now.wrapping_add(lifetime + 1)), Shown::Stale);
            assert_eq!(cookies.check(&cookie, &bound(), now - 1), Shown::Stale, "from tomorrow");
            assert_eq!(cookies.macs(), macs);
        }
    }

    #[test]
    fn a_key_counts_until_the_second_after_it() {
        let mut cookies = Cookies::new([[1; 16], [2; 16]], 0);
        let cookie = cookies.make(Form::Token, &bound(), 0);
        assert!(!cookies.is_due(ROTATION - 1) && cookies.is_due(ROTATION));
        cookies.rotate([3; 16], 1);
        assert_eq!(cookies.check(&cookie, &bound(), 1), Shown::Proof);
        let newer = cookies.make(Form::Token, &bound(), 1);
        cookies.rotate([4; 16], 2);
        assert_eq!(cookies.check(&cookie, &bound(), 2), Shown::Forged);
        assert_eq!(cookies.check(&newer, &bound(), 2), Shown::Proof);
    }
}

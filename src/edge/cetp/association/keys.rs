//! The keys of an association: X25519 (RFC 7748) agrees on a secret, HKDF (RFC 5869) makes two keys of it, and HMAC-SHA-256,
//! cut to 128 bits (RFC 4868), is the MAC of every message.
//!
//! Guarantees: what each side sends has a key of its own, so that nothing that was sent can come back as an answer; each number of a
//! key counts once. Never: gives a key out, or prints one.

use super::window::Window;
use crate::edge::cetp::message::{Seal, Tag};
use crate::edge::cetp::wire::{MAC, Sealed};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::rand::SystemRandom;
use ring::{hkdf, hmac};

/// After so many messages there must be a new key: far fewer than a MAC of 128 bits stands.
pub const MESSAGES: u64 = 1 << 32;
/// Bytes of a key.
const KEY: usize = 32;

/// One's own half of a key exchange, which makes one key.
pub struct Half {
    private: EphemeralPrivateKey,
    pub public: [u8; 32],
}

impl Half {
    /// `None` if the system has no randomness.
    pub fn new() -> Option<Half> {
        let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).ok()?;
        let public = private.compute_public_key().ok()?.as_ref().try_into().ok()?;
        Some(Half { private, public })
    }

    /// The keys of both directions; `transcript` is a hash of all that both have said. `None`: the other half is none.
    pub fn agree(self, other: &[u8; 32], transcript: &[u8], is_initiator: bool, epoch: u8) -> Option<Keys> {
        agree_ephemeral(self.private, &UnparsedPublicKey::new(&X25519, other), |secret| {
            let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, transcript).extract(secret);
            let outbound = expand(&extracted, b"CETP/1 outbound")?;
            let inbound = expand(&extracted, b"CETP/1 inbound")?;
            let (send, receive) = if is_initiator { (outbound, inbound) } else { (inbound, outbound) };
            Some(Keys { epoch, send, receive, sent: 0, window: Window::default() })
        })
        .ok()?
    }
}

fn expand(extracted: &hkdf::Prk, label: &[u8]) -> Option<hmac::Key> {
    let mut key = [0; KEY];
    extracted.expand(&[label], hkdf::HKDF_SHA256).ok()?.fill(&mut key).ok()?;
    Some(hmac::Key::new(hmac::HMAC_SHA256, &key))
}

/// The keys of an epoch.
pub struct Keys {
    pub epoch: u8,
    send: hmac::Key,
    receive: hmac::Key,
    sent: u64,
    window: Window,
}

impl Keys {
    /// The seal of the next message to the association that the other side calls so.
    pub fn next(&mut self, association: Tag) -> Seal {
        self.sent = (self.sent + 1).min(Seal::LAST);
        Seal { association, epoch: self.epoch, sequence: self.sent }
    }

    /// Messages sent under it.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    pub fn mac(&self, covered: &[u8]) -> [u8; MAC] {
        let tag = hmac::sign(&self.send, covered);
        let mut mac = [0; MAC];
        mac.copy_from_slice(&tag.as_ref()[..MAC]);
        mac
    }

    /// Whether the message may still come, before a MAC is spent on it.
    pub fn is_open(&self, sealed: &Sealed<'_>) -> bool {
        sealed.seal.epoch == self.epoch && self.window.is_open(sealed.seal.sequence)
    }

    /// Whether its MAC is right; then its number has come.
    pub fn open(&mut self, sealed: &Sealed<'_>) -> bool {
        let tag = hmac::sign(&self.receive, sealed.covered);
        let (own, its) = (tag.as_ref().first_chunk::<MAC>(), sealed.mac);
        // 128 bits compared at once say nothing of which differ.
        let is_right = own.is_some_and(|own| u128::from_ne_bytes(*own) == u128::from_ne_bytes(*its));
        if is_right {
            self.window.close(sealed.seal.sequence);
        }
        is_right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(transcripts: [&[u8]; 2]) -> [Keys; 2] {
        let (one, other) = (Half::new().expect("randomness"), Half::new().expect("randomness"));
        let publics = [one.public, other.public];
        [
            one.agree(&publics[1], transcripts[0], true, 1).expect("a half"),
            other.agree(&publics[0], transcripts[1], false, 1).expect("a half"),
        ]
    }

    fn opens(from: &mut Keys, to: &mut Keys) -> bool {
        let seal = from.next(Tag::new(1).expect("not 0"));
        let mac = from.mac(b"covered");
        let sealed = Sealed { seal, covered: b"covered", mac: &mac };
        let is_right = to.is_open(&sealed) && to.open(&sealed);
        assert!(!is_right || !to.is_open(&sealed), "each number once");
        is_right
    }

    #[test]
    fn each_direction_has_a_key_and_what_was_said_makes_it() {
        let [mut one, mut other] = pair([b"same", b"same"]);
        assert!(opens(&mut one, &mut other) && opens(&mut other, &mut one));
        let mac = one.mac(b"covered");
        let seal = Seal { association: Tag::new(1).expect("not 0"), epoch: 1, sequence: 9 };
        assert!(
            !one.open(&Sealed { seal, covered: b"covered", mac: &mac }),
            "one's own message is no answer"
        );
        let [mut one, mut other] = pair([b"same", b"changed"]);
        assert!(!opens(&mut one, &mut other));
        assert!(
            Half::new().expect("randomness").agree(&[0; 32], b"", true, 1).is_none(),
            "a point of small order"
        );
    }

    #[test]
    fn another_epoch_is_another_key() {
        let [mut one, other] = pair([b"same", b"same"]);
        let seal = Seal { epoch: 2, ..one.next(Tag::new(1).expect("not 0")) };
        assert!(!other.is_open(&Sealed { seal, covered: b"", mac: &[0; MAC] }));
    }
}

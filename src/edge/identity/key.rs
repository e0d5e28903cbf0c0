//! Keys that sign messages: those of certificates, and the edge's own.
//!
//! Ed25519 (RFC 8032), and ECDSA on P-256 with SHA-256 (FIPS 186-5) whose signature is r and s, 32 bytes each.
//!
//! Guarantees: every signature is 64 bytes. Never: shows a private key.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    UnparsedPublicKey,
};
use webpki::EndEntityCert;

/// Bytes of a signature.
pub const SIGNATURE: usize = 64;

/// What a signature is made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Ed25519,
    EcdsaP256,
}

/// `SubjectPublicKeyInfo` up to the key itself: of Ed25519 (RFC 8410 section 4), and of an uncompressed point on P-256 (RFC 5480
/// section 2).
const ED25519_INFO: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const P256_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The signature is not of that text by that key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is wrong")]
pub struct BadSignature;

/// A key of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    bytes: Box<[u8]>,
}

impl PublicKey {
    /// That of a certificate; `None` where it is of another kind.
    pub(super) fn of(certificate: &EndEntityCert<'_>) -> Option<PublicKey> {
        let info = certificate.subject_public_key_info();
        let key = |prefix: &[u8], length: usize| info.strip_prefix(prefix).filter(|key| key.len() == length);
        let ed25519 = key(&ED25519_INFO, 32).map(|key| (Algorithm::Ed25519, key));
        let (algorithm, key) = ed25519.or_else(|| Some((Algorithm::EcdsaP256, key(&P256_INFO, 65)?)))?;
        Some(PublicKey { algorithm, bytes: key.into() })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether the signature is of that text.
    ///
    /// # Errors
    /// It is not, or it is by another algorithm than the key is for.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        text: &[u8],
        signature: &[u8; SIGNATURE],
    ) -> Result<(), BadSignature> {
        if algorithm != self.algorithm {
            return Err(BadSignature);
        }
        let verified = match algorithm {
            Algorithm::Ed25519 => UnparsedPublicKey::new(&ED25519, &self.bytes).verify(text, signature),
            Algorithm::EcdsaP256 => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.bytes).verify(text, signature)
            }
        };
        verified.map_err(|_| BadSignature)
    }
}

/// The key is of no kind that signs messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is no private key of Ed25519 or P-256 in PKCS #8; make one by: openssl genpkey -algorithm ed25519"
)]
pub struct BadKey;

enum Pair {
    Ed25519(Ed25519KeyPair),
    EcdsaP256(EcdsaKeyPair),
}

/// The edge's own key.
pub struct OwnKey {
    pair: Pair,
    random: SystemRandom,
}

impl OwnKey {
    /// A key in PKCS #8 (RFC 5958).
    ///
    /// # Errors
    /// It is none.
    pub fn from_pkcs8(der: &[u8]) -> Result<OwnKey, BadKey> {
        let random = SystemRandom::new();
        let p256 =
            || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random).map(Pair::EcdsaP256);
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Pair::Ed25519).or_else(|_| p256());
        pair.map(|pair| OwnKey { pair, random: SystemRandom::new() }).map_err(|_| BadKey)
    }

    /// Whether it is the private part of that.
    pub fn belongs_to(&self, key: &PublicKey) -> bool {
        let (algorithm, bytes) = match &self.pair {
            Pair::Ed25519(pair) => (Algorithm::Ed25519, pair.public_key().as_ref()),
            Pair::EcdsaP256(pair) => (Algorithm::EcdsaP256, pair.public_key().as_ref()),
        };
        key.algorithm == algorithm && *key.bytes == *bytes
    }

    /// Signs; `None` where the system has no random numbers.
    pub fn sign(&self, text: &[u8]) -> Option<(Algorithm, [u8; SIGNATURE])> {
        let (algorithm, signature) = match &self.pair {
            Pair::Ed25519(pair) => (Algorithm::Ed25519, pair.sign(text)),
            Pair::EcdsaP256(pair) => (Algorithm::EcdsaP256, pair.sign(&self.random, text).ok()?),
        };
        Some((algorithm, signature.as_ref().try_into().ok()?))
    }
}

impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.pair {
            Pair::Ed25519(_) => "a private key of Ed25519",
            Pair::EcdsaP256(_) => "a private key of P-256",
        })
    }
}

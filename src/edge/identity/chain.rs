//! A chain of certificates: what is known of a valid one, and why another proves nothing.
//!
//! Guarantees: no bytes panic; what a refusal says is what its certificates say. Never: names a reason that is not the peer's fault.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use super::AuthorityId;
use super::key::PublicKey;
use crate::edge::policy::Name;

/// Most certificates of a chain, the leaf included and the anchor not.
pub const CHAIN_MAX: usize = 4;
/// Most bytes of a chain.
pub const CHAIN_BYTES_MAX: usize = 8192;

/// What a valid chain says.
#[derive(Debug)]
pub struct Certified {
    /// Whose it is.
    pub authority: AuthorityId,
    /// The leaf's.
    pub key: PublicKey,
    /// The DNS names of the leaf, in lower case.
    pub(super) names: Box<[Box<str>]>,
    /// Seconds since 1970-01-01 UTC: after that it is to be validated anew.
    pub(super) good_until: u64,
}

impl Certified {
    /// Whether it is a certificate of that very name. A wildcard is equal to no name.
    pub fn has(&self, name: Name<'_>) -> bool {
        self.names.iter().any(|known| **known == *name.as_str())
    }
}

/// Why a chain proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no certificate")]
    Empty,
    #[error(
        "the chain has more than {CHAIN_MAX} certificates or {CHAIN_BYTES_MAX} bytes; send no root, and fewer intermediate ones"
    )]
    TooLong,
    #[error("a certificate cannot be read (RFC 5280); send DER, leaf first")]
    Malformed,
    #[error(
        "a certificate, or a revocation list, has expired; renew it, or look at the clocks of both edges"
    )]
    Expired,
    #[error("a certificate is not valid yet; look at the clocks of both edges")]
    NotYet,
    #[error("a certificate is revoked")]
    Revoked,
    #[error(
        "no revocation list in force says of a certificate whether it is revoked; renew the lists, or set revocation to \"soft\""
    )]
    RevocationUnknown,
    #[error("no authority of the configuration answers for it")]
    Untrusted,
    #[error("the certificate has other names")]
    WrongName,
    #[error("its authority may not certify that name")]
    NotItsName,
    #[error("its key is neither of Ed25519 nor of ECDSA on P-256")]
    Key,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        match error {
            Error::CertExpired { .. } => Refused::Expired,
            Error::CrlExpired { .. } => Refused::RevocationUnknown,
            Error::CertNotValidYet { .. } => Refused::NotYet,
            Error::CertRevoked => Refused::Revoked,
            Error::UnknownRevocationStatus => Refused::RevocationUnknown,
            Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => Refused::Malformed,
            _ => Refused::Untrusted,
        }
    }
}

/// Refuses what nobody needs and what would cost too much to look at.
pub(super) fn check_size(chain: &[&[u8]]) -> Result<(), Refused> {
    let bytes: usize = chain.iter().map(|certificate| certificate.len()).sum();
    match chain.len() {
        0 => Err(Refused::Empty),
        1..=CHAIN_MAX if bytes <= CHAIN_BYTES_MAX => Ok(()),
        _ => Err(Refused::TooLong),
    }
}

/// When a certificate ends, in seconds since 1970-01-01 UTC. Asked at the end of time: its own validity is the first thing that the
/// validation looks at, before anything that costs something.
pub(super) fn not_after(der: &CertificateDer<'_>) -> Option<u64> {
    let end_of_time = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    let certificate = EndEntityCert::try_from(der).ok()?;
    let usage = KeyUsage::server_auth();
    match certificate.verify_for_usage(&[], &[], &[], end_of_time, usage, None, None) {
        Err(Error::CertExpired { not_after, .. }) => Some(not_after.as_secs()),
        _ => None,
    }
}

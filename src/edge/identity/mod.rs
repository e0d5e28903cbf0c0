//! Who peers are: their certificates, their signatures, and whether their names are theirs.
//!
//! | file | what it is |
//! |---|---|
//! | `authorities` | whose certificates are believed, and for which names |
//! | `chain` | a certificate chain, validated up to one of them |
//! | `key` | public keys, and the edge's own |
//! | [`naming`] | the naming-level check: a name and the edge that speaks for it, by the DNS |
//! | [`load`] | all of that from the files that the configuration names |
//! | [`reload`] | the authorities' files, read anew from time to time |
//!
//! A certificate says who somebody is by its DNS names (RFC 5280 section 4.2.1.6), each whole: a wildcard names nobody. It proves
//! an edge's name, or a host's own; an edge's certificate proves nothing of the hosts behind it. For those the DNS has to bind the
//! name to that edge.
//!
//! Guarantees: any bytes for a chain come to a refusal, after a bounded number of signature checks; at most so many validated chains
//! are remembered as the configuration says, none beyond its validity or [`REMEMBERED`] seconds. Only authorities of the
//! configuration are believed: an address of one in a message selects among them. Never: opens a connection, or reads a clock.

mod authorities;
mod chain;
mod key;
pub mod load;
pub mod naming;
pub mod reload;

#[cfg(test)]
mod tests;

pub use authorities::{Authorities, Authority, AuthorityId, Revocation};
pub use chain::{CHAIN_BYTES_MAX, CHAIN_MAX, Certified, Refused};
pub use key::{Algorithm, BadKey, BadSignature, OwnKey, PublicKey};

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use sha2::{Digest, Sha256};

use super::policy::Name;

/// Longest time that a validated chain is remembered, in seconds: so long a revocation list may take to be felt that has run out.
pub const REMEMBERED: u64 = 300;

/// What a validated chain is remembered by.
type ChainKey = [u8; 32];

/// See the module.
pub struct Identities {
    authorities: Authorities,
    remembered: Mutex<LruCache<ChainKey, Arc<Certified>>>,
}

impl Identities {
    /// `capacity` chains are remembered.
    pub fn new(authorities: Authorities, capacity: NonZeroUsize) -> Identities {
        Identities { authorities, remembered: Mutex::new(LruCache::new(capacity)) }
    }

    pub fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// Puts others in the place of the authorities, with their revocation lists: what is remembered was validated by the old ones.
    pub fn replace(&mut self, authorities: Authorities) {
        self.authorities = authorities;
        self.remembered.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whose chain it is, if it is that of `name`: leaf first, in DER, at `now` seconds since 1970-01-01 UTC. With an authority
    /// it is validated up to that one alone.
    ///
    /// # Errors
    /// Why it proves nothing.
    pub fn identify(
        &self,
        chain: &[&[u8]],
        name: Name<'_>,
        authority: Option<AuthorityId>,
        now: u64,
    ) -> Result<Arc<Certified>, Refused> {
        let certified = self.validated(chain, authority, now)?;
        if !certified.has(name) {
            return Err(Refused::WrongName);
        }
        if !self.authorities.get(certified.authority).may_certify(name) {
            return Err(Refused::NotItsName);
        }
        Ok(certified)
    }

    /// Whose chain it is, whoever that may be: the first name of the leaf that its authority may certify.
    ///
    /// # Errors
    /// Why it proves nothing.
    pub fn bearer(&self, chain: &[&[u8]], now: u64) -> Result<(Arc<Certified>, Box<str>), Refused> {
        let certified = self.validated(chain, None, now)?;
        let authority = self.authorities.get(certified.authority);
        let is_its = |name: &str| Name::new(name).is_some_and(|name| authority.may_certify(name));
        let name = certified.names.iter().find(|name| is_its(name)).cloned().ok_or(Refused::NotItsName)?;
        Ok((certified, name))
    }

    fn validated(
        &self,
        chain: &[&[u8]],
        authority: Option<AuthorityId>,
        now: u64,
    ) -> Result<Arc<Certified>, Refused> {
        chain::check_size(chain)?;
        let key = chain_key(chain, authority);
        let remembered = self.remembered().get(&key).filter(|known| now < known.good_until).cloned();
        if let Some(certified) = remembered {
            return Ok(certified);
        }
        let certified = Arc::new(self.authorities.validate(chain, authority, now)?);
        self.remembered().put(key, certified.clone());
        Ok(certified)
    }

    /// Chains that are remembered.
    pub fn remembered_count(&self) -> usize {
        self.remembered().len()
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, LruCache<ChainKey, Arc<Certified>>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn chain_key(chain: &[&[u8]], authority: Option<AuthorityId>) -> ChainKey {
    let mut hash = Sha256::new();
    hash.update(authority.map_or(u32::MAX, |id| u32::from(id.0)).to_be_bytes());
    for certificate in chain {
        hash.update((certificate.len() as u32).to_be_bytes());
        hash.update(certificate);
    }
    hash.finalize().into()
}

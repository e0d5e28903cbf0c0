//! The authorities whose certificates are believed.
//!
//! Guarantees: the operator's list is all there is; an address that a peer tells selects one of it, or none. Never: fetches anything.

use std::ops::Range;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeIdIter,
    KeyUsage, RequiredEkuNotFoundContext, RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};

use super::REMEMBERED;
use super::chain::{Certified, Refused, not_after};
use super::key::PublicKey;
use crate::config::Kinds;
use crate::edge::policy::{Name, NameSet};

/// An authority, by its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AuthorityId(pub u16);

/// What becomes of a certificate of which no list in force says whether it is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It is refused.
    Hard,
    /// It is taken; one that a list has, be the list old, is refused.
    Soft,
}

/// An authority.
#[derive(Debug)]
pub struct Authority {
    /// What the configuration calls it.
    pub name: String,
    /// By which peers may name it (CETP's CA address).
    pub addresses: Vec<String>,
    /// What it may certify; `None`: any name.
    pub names: Option<NameSet>,
    /// The type of ID that it answers for: one of [`crate::config::ID_TYPES`].
    pub id: Kinds,
}

impl Authority {
    pub fn may_certify(&self, name: Name<'_>) -> bool {
        self.names.as_ref().is_none_or(|names| names.has(name))
    }
}

/// See the module.
pub struct Authorities {
    list: Vec<Authority>,
    /// Of all of them, in their order.
    anchors: Vec<TrustAnchor<'static>>,
    /// The anchors of each.
    ranges: Vec<Range<usize>>,
    lists: Vec<CertRevocationList<'static>>,
    revocation: Revocation,
    /// Seconds that clocks may differ.
    tolerance: u64,
}

impl Authorities {
    /// None yet.
    pub fn new(revocation: Revocation, tolerance: u64) -> Authorities {
        Authorities { list: vec![], anchors: vec![], ranges: vec![], lists: vec![], revocation, tolerance }
    }

    /// Adds one, with its trust anchors and revocation lists.
    pub fn push(
        &mut self,
        authority: Authority,
        anchors: Vec<TrustAnchor<'static>>,
        lists: Vec<CertRevocationList<'static>>,
    ) {
        let first = self.anchors.len();
        self.anchors.extend(anchors);
        self.ranges.push(first..self.anchors.len());
        self.list.push(authority);
        self.lists.extend(lists);
    }

    /// One that was given as an ID.
    pub fn get(&self, id: AuthorityId) -> &Authority {
        &self.list[usize::from(id.0)]
    }

    /// The one that a peer means by that address, whatever its letters' case. Nobody else's address is of any use.
    pub fn by_address(&self, address: &str) -> Option<AuthorityId> {
        let has = |authority: &Authority| {
            authority.addresses.iter().any(|known| known.eq_ignore_ascii_case(address))
        };
        self.list.iter().position(has).map(|place| AuthorityId(place as u16))
    }

    /// Validates a chain whose size is right.
    pub(super) fn validate(
        &self,
        chain: &[&[u8]],
        authority: Option<AuthorityId>,
        now: u64,
    ) -> Result<Certified, Refused> {
        let chain: Vec<CertificateDer<'_>> = chain.iter().map(|der| CertificateDer::from(*der)).collect();
        let (leaf, rest) = chain.split_first().ok_or(Refused::Empty)?;
        let leaf = EndEntityCert::try_from(leaf).map_err(|_| Refused::Malformed)?;
        let range = authority.map_or(0..self.anchors.len(), |id| self.ranges[usize::from(id.0)].clone());
        let place = range.start + self.anchor(&leaf, rest, &self.anchors[range], now)?;
        let authority = self.ranges.iter().position(|range| range.contains(&place));
        let key = PublicKey::of(&leaf).ok_or(Refused::Key)?;
        let names = leaf.valid_dns_names().map(|name| name.to_ascii_lowercase().into()).collect();
        let ends = chain.iter().map(not_after).try_fold(u64::MAX, |least, end| Some(least.min(end?)));
        let end = ends.ok_or(Refused::Malformed)?.saturating_add(self.tolerance);
        Ok(Certified {
            // Every anchor is in a range.
            authority: AuthorityId(authority.unwrap_or_default() as u16),
            key,
            names,
            good_until: end.min(now.saturating_add(REMEMBERED)),
        })
    }

    /// Which of the anchors the chain leads to, at a time that the clocks may mean.
    fn anchor(
        &self,
        leaf: &EndEntityCert<'_>,
        rest: &[CertificateDer<'_>],
        anchors: &[TrustAnchor<'static>],
        now: u64,
    ) -> Result<usize, Refused> {
        let at = |seconds: u64| self.anchor_at(leaf, rest, anchors, seconds);
        let found = match at(now) {
            Err(Error::CertNotValidYet { .. }) => at(now.saturating_add(self.tolerance)),
            Err(Error::CertExpired { .. } | Error::CrlExpired { .. }) => {
                at(now.saturating_sub(self.tolerance))
            }
            found => found,
        };
        found.map_err(Refused::from)
    }

    fn anchor_at(
        &self,
        leaf: &EndEntityCert<'_>,
        rest: &[CertificateDer<'_>],
        anchors: &[TrustAnchor<'static>],
        seconds: u64,
    ) -> Result<usize, Error> {
        let lists: Vec<&CertRevocationList<'_>> = self.lists.iter().collect();
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let path = leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            anchors,
            rest,
            time,
            Either,
            self.revocation(&lists)?,
            None,
        )?;
        anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor())).ok_or(Error::UnknownIssuer)
    }

    /// How revocation is judged.
    fn revocation<'a>(
        &self,
        lists: &'a [&'a CertRevocationList<'a>],
    ) -> Result<Option<RevocationOptions<'a>>, Error> {
        let (status, expiration) = match self.revocation {
            Revocation::Hard => (UnknownStatusPolicy::Deny, ExpirationPolicy::Enforce),
            Revocation::Soft => (UnknownStatusPolicy::Allow, ExpirationPolicy::Ignore),
        };
        match RevocationOptionsBuilder::new(lists) {
            Ok(builder) => Ok(Some(
                builder
                    .with_depth(RevocationCheckDepth::Chain)
                    .with_status_policy(status)
                    .with_expiration_policy(expiration)
                    .build(),
            )),
            Err(_) if self.revocation == Revocation::Soft => Ok(None),
            Err(_) => Err(Error::UnknownRevocationStatus),
        }
    }
}

/// What a certificate of an edge or a host may be for: an edge is the client of some peers and the server of others.
struct Either;

impl ExtendedKeyUsageValidator for Either {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut is_said = false;
        for purpose in purposes {
            is_said = true;
            let purpose = purpose?.to_decoded_oid();
            if purpose == KeyUsage::SERVER_AUTH_REPR || purpose == KeyUsage::CLIENT_AUTH_REPR {
                return Ok(());
            }
        }
        // RFC 5280 section 4.2.1.12: where nothing is said it may be for anything.
        let found = RequiredEkuNotFoundContext { required: KeyUsage::server_auth(), present: Vec::new() };
        if is_said { Err(Error::RequiredEkuNotFoundContext(found)) } else { Ok(()) }
    }
}

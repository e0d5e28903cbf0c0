//! Sessions to proxy addresses: what packets from inside are for where their destination stands for somebody else.
//!
//! Such a session is translated on both ends: its inside half has the proxy address, its outside half the remote one. Mappings,
//! filters and quotas know the remote address alone. Each session is counted at its proxy address when it begins and when it ends,
//! so that nobody else gets that address meanwhile. A remote host that opens a session itself, by a mapping, is seen as the address
//! that stands for it, if one does: a server may answer from another port than it was asked at.
//!
//! A host that knows both addresses of a remote host, or has been opened a session by it before it had the second, and talks to
//! both from one socket, would have two sessions that the answers could not tell apart: it gets the first alone.
//!
//! Never: says whom an address stands for.

use super::nat44::{Nat44, NatHome};
use crate::flow::{Key4, Proxies, Realm};
use crate::packet::DropReason;
use std::net::Ipv4Addr;
use std::sync::Arc;

impl Nat44 {
    /// The same, where some inside realms have proxy addresses.
    pub fn with_proxies(mut self, proxies: Arc<Proxies>) -> Self {
        self.proxies = Some(proxies);
        self
    }

    #[inline]
    fn proxy_number(&self, realm: Realm, address: Ipv4Addr) -> Option<u32> {
        self.proxies.as_ref()?.number(realm, address)
    }

    /// Whether this is a proxy address of that realm, where no host has it.
    #[inline]
    pub fn is_proxy(&self, realm: Realm, address: Ipv4Addr) -> bool {
        self.proxy_number(realm, address).is_some()
    }

    /// Whom packets of this key are for.
    ///
    /// # Errors
    /// [`DropReason::ProxyUnassigned`]: their destination is a proxy address that stands for nobody.
    #[inline]
    pub fn remote_of(&self, key: &Key4) -> Result<Ipv4Addr, DropReason> {
        let Some(proxies) = &self.proxies else { return Ok(key.destination()) };
        match proxies.number(key.realm(), key.destination()) {
            None => Ok(key.destination()),
            Some(number) => proxies.remote(number).ok_or(DropReason::ProxyUnassigned),
        }
    }

    /// What `remote` is known by in that realm: the address that stands for it, or its own.
    pub(super) fn known_as(&self, realm: Realm, remote: Ipv4Addr) -> Ipv4Addr {
        let proxies = self.proxies.as_deref();
        let proxy = proxies.and_then(|proxies| proxies.address(proxies.standing_for(realm, remote)?));
        proxy.map_or(remote, |(_, address)| address)
    }

    /// Whether a session of packets of this key, from inside, may be told from others by the answers only if its outside half is new.
    #[inline]
    pub(super) fn may_collide(&self, out: &Key4) -> bool {
        self.proxies.as_ref().is_some_and(|proxies| proxies.serves(out.realm()))
    }

    /// The number of the proxy address of a session, given the key of packets from inside and whom they are for.
    fn proxy_of(&self, out: &Key4, remote: Ipv4Addr) -> Option<(&Proxies, u32)> {
        if out.destination() == remote {
            return None;
        }
        let number = self.proxy_number(out.realm(), out.destination())?;
        Some((self.proxies.as_deref()?, number))
    }
}

impl NatHome {
    /// A session of packets of this key, from inside, begins: they are for `remote`.
    ///
    /// # Errors
    /// [`DropReason::ProxyUnassigned`]: no longer. Nothing is counted.
    #[inline]
    pub(super) fn enter_proxy(&self, out: &Key4, remote: Ipv4Addr) -> Result<(), DropReason> {
        match self.nat.proxy_of(out, remote) {
            Some((proxies, number)) if !proxies.enter(number, remote) => Err(DropReason::ProxyUnassigned),
            _ => Ok(()),
        }
    }

    /// It is over, or came to nothing.
    #[inline]
    pub(super) fn leave_proxy(&self, out: &Key4, remote: Ipv4Addr) {
        if let Some((proxies, number)) = self.nat.proxy_of(out, remote) {
            proxies.leave(number);
        }
    }
}

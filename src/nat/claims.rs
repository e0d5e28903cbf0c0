//! Sessions at addresses of the circular pool: somebody outside has reserved an address by a name, and the first packet to it has
//! been given a host. No mapping, and no port, is spent on it: packets of that client socket to that address and port become the
//! host's, its answers come from that address, and all else that the host sends goes by its mappings.
//!
//! Any number of sessions share an address, as long as their clients' sockets differ; a live one is never overwritten. Where
//! the host talks to that very client socket already (by a mapping, or by another address of the pool), the inside would have
//! two sessions of one key: then the newer one has its client translated, too, to the pool address, with a port that is free.
//!
//! Every such session is told of twice, when it begins and when it ends ([`SessionEvent`]). What is to be told waits here until
//! it is taken; where it has no room none begins, and what is over stays a little longer. So nobody who counts miscounts.
//!
//! Never: decides who may have a host.

use super::nat44::{Nat44, NatHome, compile, full};
use crate::flow::circular::Circular;
use crate::flow::key::ports;
use crate::flow::lifetime::TcpState;
use crate::flow::record::Record;
use crate::flow::table::STRETCH;
use crate::flow::{Action, FlowHome, FlowTable, Half, Key4, Protocol, Realm, Record4, Ref, SessionEvent};
use crate::packet::DropReason;
use rand::RngExt;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Events that may wait to be told.
const EVENTS: usize = 4096;
/// Ports that are tried for a client whose own is taken.
const TRIES: usize = 32;
/// The first that a client may get.
const LOWEST: u16 = 1024;

/// What a home knows of such sessions.
pub(super) struct Claims {
    worker: usize,
    events: VecDeque<SessionEvent>,
}

impl Claims {
    pub(super) fn new(worker: usize) -> Self {
        Self { worker, events: VecDeque::with_capacity(EVENTS) }
    }

    /// Whether all that one stretch of the sweep may end can be told.
    fn have_room(&self) -> bool {
        self.events.len() + STRETCH < EVENTS
    }
}

/// A session that a claim has led to.
#[derive(Clone, Copy, Debug)]
pub struct Claimed {
    pub session: Ref,
    /// Whether it was not there before.
    pub is_new: bool,
    /// Whether one that was closing had to go for it.
    pub replaced: bool,
}

impl Nat44 {
    /// The same, with a circular pool in the outside realm.
    pub fn with_circular(mut self, circular: Arc<Circular>) -> Self {
        self.circular = Some(circular);
        self
    }

    /// The number of an address of the circular pool.
    #[inline]
    pub fn circular_number(&self, address: Ipv4Addr) -> Option<u32> {
        self.circular.as_ref()?.number(address)
    }

    /// Whether something waits at an address of the circular pool.
    pub fn waits(&self, address: Ipv4Addr) -> bool {
        let waits = |pool: &Arc<Circular>| pool.number(address).is_some_and(|number| pool.waits(number));
        self.circular.as_ref().is_some_and(waits)
    }
}

/// Of the half that packets from outside travel along, the key of those from inside, if the connection is TCP's and over but for
/// its rest.
pub fn closing(table: &FlowTable, back: &Record4) -> Option<Key4> {
    let out = table.twin(back)?;
    let state = TcpState::of(back.common().tcp_flags(), out.common().tcp_flags());
    let is_closing = back.key().protocol() == Protocol::Tcp as u8 && state == TcpState::Closing;
    is_closing.then(|| out.key())
}

impl NatHome {
    /// The first packet of `key`, from outside to an address of the circular pool, is this host's, whose home this is: its
    /// session, made if there is none.
    ///
    /// # Errors
    /// Why the packet is dropped.
    pub fn claim(
        &mut self,
        flows: &mut FlowHome,
        key: &Key4,
        (realm, host): (Realm, Ipv4Addr),
        now: u32,
    ) -> Result<Claimed, DropReason> {
        self.now = now;
        let claims = self.claims.as_ref().ok_or(DropReason::RealmNotServed)?;
        if !claims.have_room() {
            return Err(DropReason::PrgwEventsFull);
        }
        // Inside, that address is somebody else.
        if self.nat.is_proxy(realm, key.source()) {
            return Err(DropReason::Ipv4SourceInvalid);
        }
        let mut replaced = false;
        if let Some((session, there)) = flows.table().lookup::<Record4>(key) {
            match closing(flows.table(), there) {
                None => return Ok(Claimed { session, is_new: false, replaced }),
                Some(_) => replaced = self.release(flows, key, now),
            }
            if !replaced {
                return Err(DropReason::PrgwClosing);
            }
        }
        let outside = self.nat.options().outside;
        let answer = self.unused_answer(flows.table(), key, (realm, host))?;
        // To a client that is a subscriber, which is reached by its public address, it is a second leg from here.
        let hairpin = self.nat.contains(key.source());
        let kind = if hairpin { Action::HAIRPIN } else { Action::FORWARD };
        let back =
            Half { key: *key, rewrite: compile(key, &answer.reversed(realm), true), action: Action::FORWARD };
        let out = Half {
            key: answer,
            rewrite: compile(&answer, &key.reversed(outside), !hairpin),
            action: kind.with(Action::OUTBOUND),
        };
        let session = flows.create::<Record4>(&back, &out, now).map_err(full)?;
        self.tell(SessionEvent::Began(*key));
        Ok(Claimed { session, is_new: true, replaced })
    }

    /// Ends the session of packets of `key`, from outside, if it is closing and this is its home. False where it is not.
    pub fn release(&mut self, flows: &mut FlowHome, key: &Key4, now: u32) -> bool {
        self.now = now;
        let table = flows.table().clone();
        let Some((back, there)) = table.lookup::<Record4>(key) else { return false };
        let (Some(out), Some(twin)) = (closing(&table, there), table.twin(there)) else { return false };
        let claims = self.claims.as_ref().filter(|claims| claims.have_room());
        let is_own = claims.is_some_and(|c| c.worker == self.nat.home_of_inside(out.realm(), out.source()));
        // Of a session that began inside, the initiator's half is the other.
        let is_claim =
            there.common().action().is_initiator() && self.nat.circular_number(key.destination()).is_some();
        if !is_own || !is_claim || !flows.may_remove() || !flows.remove::<Record4>(back) {
            return false;
        }
        crate::flow::Judge::removed(self, there, twin);
        true
    }

    /// The key of a host's answers: as if nobody had translated its client, or, where such a session is there already, with a
    /// client at the pool's address.
    fn unused_answer(
        &mut self,
        table: &FlowTable,
        key: &Key4,
        (realm, host): (Realm, Ipv4Addr),
    ) -> Result<Key4, DropReason> {
        let answer = |client: Ipv4Addr, port: u16| {
            let (protocol, own) = (key.protocol(), key.destination_port());
            Key4::of_any_protocol(realm, protocol, (host, client), ports(own, port))
        };
        let is_free = |answer: &Key4| table.lookup::<Record4>(answer).is_none();
        let (pool, port) = (key.destination(), key.source_port());
        if let Some(free) = [key.source(), pool].map(|client| answer(client, port)).into_iter().find(is_free)
        {
            return Ok(free);
        }
        if !matches!(key.protocol(), 6 | 17) {
            return Err(DropReason::PrgwCollision);
        }
        let random = &mut self.random;
        let mut others = (0..TRIES).map(|_| answer(pool, random.random_range(LOWEST..=u16::MAX)));
        others.find(is_free).ok_or(DropReason::PrgwCollision)
    }

    /// A session is over; false where it is none of the circular pool's.
    pub(super) fn claim_is_over(&mut self, back: &Key4) -> bool {
        let is_claim = self.nat.circular_number(back.destination()).is_some();
        if is_claim {
            self.tell(SessionEvent::Ended(*back));
        }
        is_claim
    }

    /// Whether the end of a session can be told, if it is to be.
    pub(super) fn may_end(&self, back: &Key4) -> bool {
        let is_claim = self.nat.circular_number(back.destination()).is_some();
        !is_claim || self.claims.as_ref().is_some_and(Claims::have_room)
    }

    fn tell(&mut self, event: SessionEvent) {
        if let Some(claims) = self.claims.as_mut().filter(|claims| claims.events.len() < EVENTS) {
            claims.events.push_back(event);
        }
    }

    /// What has begun and ended, oldest first: each goes as `tell` takes it.
    pub fn tell_of_claims(&mut self, mut tell: impl FnMut(SessionEvent) -> bool) {
        let Some(claims) = &mut self.claims else { return };
        while let Some(event) = claims.events.front()
            && tell(*event)
        {
            claims.events.pop_front();
        }
    }
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;

//! Flows between hosts behind two edges: how they are translated between a host's realm and the tunnel, and when they are over.
//!
//! On its way into a tunnel a packet is translated as by the NAT, host and proxy address to the two session tags, which stand for
//! addresses there ([`Realm::TUNNEL`]); then its header is compressed and an outer one put before it ([`outer`]). On its way out all
//! of that is undone in reverse order, with the other pair of addresses. So a flow is a session of two halves like any other, and its
//! checksums, ICMP errors, fragments and TCP state are dealt with as any other's.
//!
//! Two hosts behind the same edge have a session each, and no tunnel: a flow between them is translated in one step.
//!
//! ```text
//!  host ─► proxy address    own tag ─► peer's tag     other edge      peer's proxy address ─► peer's host
//!          ENCAPSULATE half ───────────────────────────────────────► DECAPSULATE half
//!
//!  one host ─► proxy address of the other      becomes      proxy address of the one ─► other host       LOCAL half
//! ```
//!
//! What it guarantees: a flow begins only where its session's services allow its opener to; it is over at the latest when its
//! session is and nothing has been heard of it for the shortest idle time. What it never does: read a clock, allocate.

pub mod common;
pub mod outer;

use super::nat44::{compile, full, opens};
use super::session::Timeouts;
use crate::flow::record::{Record, Rewrite4};
use crate::flow::table::Judge;
use crate::flow::tunnel::{Opens, Session, TunnelTable};
use crate::flow::{Action, FlowHome, Half, Key4, Realm, Record4, Ref};
use crate::packet::DropReason;
use std::net::Ipv4Addr;

/// A flow's key as it is in the tunnel, into it: from the own tag to the peer's.
fn tunnelled(tags: (u32, u32), key: &Key4) -> Key4 {
    let ends = (Ipv4Addr::from_bits(tags.0), Ipv4Addr::from_bits(tags.1));
    Key4::of_any_protocol(Realm::TUNNEL, key.protocol(), ends, key.tail as u32)
}

/// Compiles both halves of a flow whose packets from the host have that key, outbound half first. `tags`: own, peer's; `place` is
/// that of their session.
pub fn halves(tags: (u32, u32), place: u32, out_key: &Key4) -> (Half<Key4, Rewrite4>, Half<Key4, Rewrite4>) {
    let within = tunnelled(tags, out_key);
    let back_key = within.reversed(Realm::TUNNEL);
    let out = Half {
        key: *out_key,
        rewrite: Rewrite4 { ports: place, ..compile(out_key, &within, true) },
        action: Action::ENCAPSULATE.with(Action::OUTBOUND),
    };
    let rewrite = Rewrite4 { ports: place, ..compile(&back_key, &out_key.reversed(out_key.realm()), true) };
    (out, Half { key: back_key, rewrite, action: Action::DECAPSULATE })
}

/// The same between the hosts of two local sessions, whose packets from the first one's have that key.
pub fn local_halves(
    from: &Session,
    to: &Session,
    key: &Key4,
) -> (Half<Key4, Rewrite4>, Half<Key4, Rewrite4>) {
    let (host, proxy) = to.pair();
    let arrives = Key4::of_any_protocol(to.realm(), key.protocol(), (proxy, host), key.tail as u32);
    let answer = arrives.reversed(to.realm());
    let half = |tag: u32, key: &Key4, becomes: &Key4| Half {
        key: *key,
        rewrite: Rewrite4 { ports: tag, ..compile(key, becomes, true) },
        action: Action::LOCAL,
    };
    let out = half(from.tags().0, key, &arrives);
    // To the address that it was opened from, of those that the host has.
    let back = half(to.tags().0, &answer, &key.reversed(from.realm()));
    (Half { action: out.action.with(Action::OUTBOUND), ..out }, back)
}

/// A flow that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    pub flow: Ref,
    /// Flows of an earlier session of the same hosts that were in its way, and are gone.
    pub ended: u64,
}

/// A flow of that key whose session is over makes way for one of its successor.
fn make_way(flows: &mut FlowHome, table: &TunnelTable, key: &Key4) -> Result<u64, DropReason> {
    let Some((found, record)) = flows.table().lookup::<Record4>(key) else { return Ok(0) };
    let action = record.common().action();
    let initiator = if action.is_initiator() { found } else { record.common().twin() };
    // Those of local sessions may live at another home: they wait for the sweep.
    let is_ours = matches!(action.kind(), Action::ENCAPSULATE | Action::DECAPSULATE);
    if !is_ours || table.find(own_tag(record)).is_some() {
        return Err(DropReason::ProxyCollision);
    }
    Ok(u64::from(flows.remove::<Record4>(initiator)))
}

/// A packet of that key, from the host of `session` or, in [`Realm::TUNNEL`], from the other one, has no flow: makes one at this home,
/// which is the session's. `tcp_flags` are the segment's, 0 for other protocols.
///
/// # Errors
/// Why the packet is dropped.
pub fn open(
    flows: &mut FlowHome,
    table: &TunnelTable,
    session: &Session,
    key: &Key4,
    tcp_flags: u8,
    now: u32,
) -> Result<Opened, DropReason> {
    opens(key, tcp_flags)?;
    let (host, proxy) = session.pair();
    let is_out = key.realm() != Realm::TUNNEL;
    let allows =
        |session: &Session, opener| session.services().allow(opener, key.protocol(), key.destination_port());
    if !allows(session, if is_out { Opens::Host } else { Opens::Remote }) {
        return Err(DropReason::CetpNotNegotiated);
    }
    let create = |flows: &mut FlowHome, first: &Half<_, _>, other: &Half<_, _>| {
        let ended = make_way(flows, table, &first.key)? + make_way(flows, table, &other.key)?;
        let flow = flows.create::<Record4>(first, other, now).map_err(full)?;
        Ok(Opened { flow, ended })
    };
    if session.is_local() {
        let twin = table.twin(session).ok_or(DropReason::CetpNoTunnel)?;
        if !allows(twin, Opens::Remote) {
            return Err(DropReason::CetpNotNegotiated);
        }
        let (out, back) = local_halves(session, twin, key);
        return create(flows, &out, &back);
    }
    let realm = session.realm();
    let out_key = if is_out {
        *key
    } else {
        let ports = key.reversed(realm).tail as u32;
        Key4::of_any_protocol(realm, key.protocol(), (host, proxy), ports)
    };
    let (out, back) = halves(session.tags(), table.place_of(session.tags().0), &out_key);
    if is_out { create(flows, &out, &back) } else { create(flows, &back, &out) }
}

/// The tag by which this edge knows the session of a flow's half; 0 for a half of no session.
#[inline(always)]
pub fn own_tag(record: &Record4) -> u32 {
    match record.common().action().kind() {
        // Its new source, of which the first byte on the wire is the lowest here.
        Action::ENCAPSULATE => (record.rewrite().addresses as u32).swap_bytes(),
        Action::DECAPSULATE => record.key().destination().to_bits(),
        Action::LOCAL => record.rewrite().ports,
        _ => 0,
    }
}

/// What packets of a half become.
#[inline(always)]
pub fn rewrite_of(record: &Record4) -> Rewrite4 {
    let rewrite = record.rewrite();
    match record.common().action().is_tunnelled() {
        true => Rewrite4 { ports: record.key().tail as u32, ..rewrite },
        false => rewrite,
    }
}

/// Whether a flow of a session is over: its own idle time, or nothing heard of it since its session ended.
pub fn is_over(
    table: &TunnelTable,
    timeouts: &Timeouts,
    initiator: &Record4,
    other: &Record4,
    now: u32,
) -> bool {
    let lives = |record: &Record4| table.find(own_tag(record)).is_some();
    !lives(initiator) || !lives(other) || timeouts.is_over(initiator, other, now)
}

/// Judges flows where there is no NAT.
pub struct Flows<'a> {
    pub table: &'a TunnelTable,
    pub timeouts: &'a Timeouts,
}

impl Judge<Record4> for Flows<'_> {
    fn is_over(&mut self, initiator: &Record4, other: &Record4, now: u32) -> bool {
        initiator.common().action().is_tunnelled()
            && is_over(self.table, self.timeouts, initiator, other, now)
    }

    fn removed(&mut self, _initiator: &Record4, _other: &Record4) {}
}

#[cfg(test)]
mod flow_tests;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;

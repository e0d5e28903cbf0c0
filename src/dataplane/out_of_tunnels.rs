//! The fast way out of a tunnel: the flow of what another edge carries is told by the frame as it came, and one pass takes the outer
//! headers off and translates what was inside.
//!
//! ```text
//! burst ─► tags, ports and protocol are a key ─► look up; the session is on the way, too ─► session, edge, RLOC, epoch ─► act
//!                                                                                      │ anything odd
//!                                                                                      └─► decapsulate
//! ```
//!
//! Guarantees: what leaves is what [`super::decapsulate`] and the way of any other packet would send; a packet that it does not know is
//! left as it was. Never: judges why a packet is refused.

use super::classify::{Common, HEADERS, Ingress, SYN_RST_OR_ACK, at, transport, word};
use super::core::Core;
use super::encapsulate;
use super::lanes::{Acted, Fast, Lane, saw};
use super::rewrite;
use super::slow::IP;
use super::vlan::Vlan;
use super::world::World;
use crate::dpdk::{Checksum, Mbuf};
use crate::flow::record::Record;
use crate::flow::tunnel::Session;
use crate::flow::{Key4, Live, Protocol, Realm, Record4};
use crate::nat::tunnel::common::{HEAD, Header, REMOVED, Wrapped};
use crate::packet::DropReason;

/// Bytes that are looked at: those of any common packet, behind what is taken off.
const LOOKED_AT: usize = HEADERS + REMOVED;

pub struct OutOfTunnel;

impl Fast for OutOfTunnel {
    type Record = Record4;
    /// In which it has come.
    type Memo = Realm;
    const FORESEES: bool = true;

    #[inline(always)]
    fn classify(world: &World, mbuf: &Mbuf, ingress: &Ingress) -> Option<Common<Key4>> {
        let h: &[u8; LOOKED_AT] = mbuf.data().first_chunk()?;
        let head: &[u8; HEAD] = h.first_chunk()?;
        let port = world.tunnels.as_ref()?.port;
        let verified = match mbuf.rx_ip_checksum() {
            Checksum::Bad => return None,
            known => known == Checksum::Good,
        };
        let Header { total, ttl, protocol, addresses, .. } =
            Wrapped::parse(head, mbuf.data().len(), ingress.mac, port, verified)?.inside();
        let (says, tcp_flags) = transport(h, REMOVED, protocol, SYN_RST_OR_ACK)?;
        if ttl <= 1 || 20 + says > usize::from(total) {
            return None;
        }
        let ports = word(h, at::PORTS + REMOVED);
        Some(Common { key: Key4::from_words(addresses, ports, Realm::TUNNEL, protocol), tcp_flags })
    }

    #[inline(always)]
    fn memo(ingress: &Ingress) -> Realm {
        ingress.realm
    }

    #[inline(always)]
    fn foresee(world: &World, record: &Record4) {
        if let Some(tunnels) = &world.tunnels {
            tunnels.table.prefetch(record.rewrite().ports);
        }
    }

    #[inline(always)]
    fn act(core: &mut Core, world: &World, mut mbuf: Mbuf, record: &Record4, lane: &Lane<Self>) -> Acted {
        let Some(Admitted { session, header, hop }) = admit(world, &mbuf, record, lane) else {
            return Acted::Not(mbuf);
        };
        if !mbuf.adj(REMOVED) {
            return Acted::Not(mbuf);
        }
        mbuf.truncate(IP + usize::from(header.total));
        // There is as much behind it as was taken off before it.
        if mbuf.len() < encapsulate::MINIMUM && encapsulate::pad(&mut mbuf).is_err() {
            core.out.drop(mbuf, DropReason::NoBuffer);
            return Acted::Dropped;
        }
        let (length, is_tcp) = (mbuf.len() as u32, header.protocol == Protocol::Tcp as u8);
        let Some(h) = mbuf.data_mut().first_chunk_mut::<HEADERS>() else {
            core.out.drop(mbuf, DropReason::Truncated);
            return Acted::Dropped;
        };
        h[..12].copy_from_slice(&hop.macs());
        header.write(h, at::ETHER_TYPE);
        rewrite::transport4(h, &record.rewrite(), is_tcp);
        record.common().count(length, core.now);
        session.count_in(length, core.now);
        if is_tcp {
            saw(world, lane, record, h[at::TCP_ACKNOWLEDGEMENT..].first_chunk().copied());
        }
        core.send(mbuf, hop.port(), Vlan(hop.vlan()));
        Acted::Sent
    }
}

/// What goes on, and where.
struct Admitted<'w> {
    session: &'w Session,
    header: Header,
    hop: Live<'w>,
}

/// Both tags, the RLOCs and the epoch are the session's, and the next hop takes what was carried.
#[inline(always)]
fn admit<'w>(
    world: &'w World,
    mbuf: &Mbuf,
    record: &Record4,
    lane: &Lane<OutOfTunnel>,
) -> Option<Admitted<'w>> {
    let table = &world.tunnels.as_ref()?.table;
    let wrapped = Wrapped::again(mbuf.data().first_chunk()?);
    let hop = world.adjacencies.live(record.common().path())?;
    let session = table.of_both(record.rewrite().ports, lane.key.addresses)?;
    let peer = table.peer(session)?;
    let way = table.active(peer)?;
    let ends = wrapped.ends();
    let is_from_there = ends != 0 && ends == way.ends4() && way.realm() == lane.memo;
    if !is_from_there || !peer.takes_epoch(wrapped.epoch()) {
        return None;
    }
    let inside = wrapped.inside();
    let service = wrapped.service_at_exit()?;
    let header = Header { service, ttl: inside.ttl - 1, addresses: record.rewrite().addresses, ..inside };
    let length = (IP + usize::from(header.total)).max(encapsulate::MINIMUM);
    (length <= usize::from(hop.limit())).then_some(Admitted { session, header, hop })
}

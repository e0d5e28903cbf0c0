//! What edges say to each other, up to the thread that negotiates, and what it says on its way: no kernel between. And the beginnings
//! of tunnelled packets that no session here is for, so that it can tell the edge that has sent them; and what routers between the
//! edges say of packets that were too big for them.
//!
//! Up, by the interface that it came in by: [`MESSAGE`], a whole frame with a message; [`STRAY`], the first [`STRAY_LENGTH`] bytes of
//! a frame with a tunnelled packet; [`TRESPASS`], as many of one that has left its tunnel; [`TOO_BIG`], a whole frame with a router's message. Down, for the interface that it is to leave by: [`MESSAGE`], an IP packet in a frame without
//! addresses; [`FRAME`], a frame as it is.
//!
//! Guarantees: what goes up has a right checksum, is no more a second than it may be, nor from one source, and nobody's strays take
//! from messages, nor what anybody can write of a packet from what only who has seen it can; a full ring never makes a worker wait.
//! Never: reads a message.

use super::core::Core;
use super::limit::{Shares, TokenBucket};
use super::resolve;
use super::slow::Arrival;
use super::tunnels::Tunnels;
use super::world::{Interface, World};
use crate::dpdk::Mbuf;
use crate::flow::tunnel::Ends;
use crate::packet::cetp::PAYLOAD;
use crate::packet::{DropReason, MacAddr, PseudoHeader, TooBig, Udp, ethernet};
use crate::ring::frames::{FrameReceiver, FrameSender};
use std::net::{IpAddr, Ipv6Addr};

/// The class of messages, over IP or Ethernet up, over IP down.
pub const MESSAGE: u16 = 0;
/// Up: the beginning of a tunnelled packet that was dropped.
pub const STRAY: u16 = 1;
/// Up: an ICMP or ICMPv6 message that a tunnelled packet was too big.
pub const TOO_BIG: u16 = 2;
/// Up: the beginning of a packet that has left a tunnel, its addresses the tags, and that no service of its session is for.
pub const TRESPASS: u16 = 3;
/// Down: a whole Ethernet frame, its addresses written.
pub const FRAME: u16 = 1;
/// Bytes of a stray that go up, at most.
pub const STRAY_LENGTH: usize = 160;

/// Messages a second of all workers, and of one source at each worker: what an edge with many hosts says comes from one.
const MESSAGES: u32 = 200_000;
const MESSAGES_OF_ONE: u32 = 50_000;
const STRAYS: u32 = 100;
const STRAYS_OF_ONE: u32 = 10;
/// Packets a second that no service of their session is for, of all workers, and of one session at each worker.
const TRESPASSES: u32 = 1000;
const TRESPASSES_OF_ONE: u32 = 10;
/// Routers' messages a second of all workers, and of one router at each worker: one is enough for a link.
const TOO_BIGS: u32 = 100;
const TOO_BIGS_OF_ONE: u32 = 10;

/// How much may go up.
struct Limit {
    all: TokenBucket,
    sources: Shares,
}

impl Limit {
    fn new(all: u32, source: u32, secret: u64) -> Self {
        Self { all: TokenBucket::of_rate(all), sources: Shares::new(TokenBucket::of_rate(source), secret) }
    }

    /// Whether one more may. The source first: what one sends too much of costs the others nothing.
    fn allow(&mut self, source: IpAddr, now: u32) -> bool {
        self.sources.allow(source, now) && self.all.allow(now)
    }
}

/// One worker's limits, and its rings to and from the thread.
pub struct Cetp {
    messages: Limit,
    strays: Limit,
    trespasses: Limit,
    /// Of packets too big: with their tags, and without.
    too_big: [Limit; 2],
    up: FrameSender,
    down: FrameReceiver,
}

impl Cetp {
    /// For one of `workers`.
    pub fn new(workers: usize, secret: u64, up: FrameSender, down: FrameReceiver) -> Self {
        let part = |all: u32| all.div_ceil(workers as u32);
        Self {
            messages: Limit::new(part(MESSAGES), MESSAGES_OF_ONE, secret),
            strays: Limit::new(part(STRAYS), STRAYS_OF_ONE, secret),
            trespasses: Limit::new(part(TRESPASSES), TRESPASSES_OF_ONE, secret),
            too_big: [(); 2].map(|()| Limit::new(part(TOO_BIGS), TOO_BIGS_OF_ONE, secret)),
            up,
            down,
        }
    }

    /// The thread learns what has gone up to it; whether there was anything.
    pub(super) fn wake(&mut self) -> bool {
        self.up.wake()
    }

    /// What the thread sends.
    pub(super) fn down(&mut self) -> &mut FrameReceiver {
        &mut self.down
    }
}

/// Whether a UDP datagram to an address of the edge's own is another edge's.
pub fn is_of_an_edge(tunnels: Option<&Tunnels>, datagram: &[u8]) -> bool {
    tunnels.is_some_and(|tunnels| datagram.get(2..4) == Some(&tunnels.port.to_be_bytes()))
}

/// Takes a frame, whose datagram stands beside it, to the thread.
///
/// # Errors
/// Why not.
pub fn up(
    core: &mut Core,
    interface: u16,
    source: IpAddr,
    datagram: &[u8],
    pseudo_header: &PseudoHeader,
    mbuf: &Mbuf,
) -> Result<(), DropReason> {
    // Before its checksum is looked at, which takes longer.
    admit(core, source)?;
    let udp = Udp::parse(datagram)?;
    // Tunnelled packets that are whole have been told apart before.
    if !is_message(udp.payload()) || !udp.checksum_is_right(pseudo_header) {
        return Err(DropReason::CetpInvalid);
    }
    push(core, interface, MESSAGE, mbuf)
}

/// The same of an Ethernet frame to the edge.
///
/// # Errors
/// Why not.
pub fn up_ethernet(core: &mut Core, interface: u16, source: MacAddr, mbuf: &Mbuf) -> Result<(), DropReason> {
    admit(core, station(source))?;
    let is_message =
        mbuf.is_contiguous() && mbuf.data().get(ethernet::HEADER_LENGTH..).is_some_and(is_message);
    if is_message { push(core, interface, MESSAGE, mbuf) } else { Err(DropReason::CetpInvalid) }
}

/// What a router says of a tunnelled packet goes up, if the tags that it quotes are those of a session between these RLOCs. Without
/// tags it proves nothing, and goes up within a limit of its own: what becomes of it is the thread's business.
///
/// # Errors
/// Why not.
pub fn up_too_big(
    core: &mut Core,
    tunnels: &Tunnels,
    arrival: Arrival,
    router: IpAddr,
    said: &TooBig,
    mbuf: &Mbuf,
) -> Result<(), DropReason> {
    let now = core.now;
    if let Some(tags) = said.tags {
        let ends = Ends::udp(said.local, said.remote);
        let is_ours = ends.is_some_and(|ends| tunnels.table.may_have_sent(tags, &ends));
        is_ours.then_some(()).ok_or(DropReason::CetpPathMtuForged)?;
    }
    let cetp = core.punts.cetp.as_mut().ok_or(DropReason::LocalNoListener)?;
    let limit = &mut cetp.too_big[usize::from(said.tags.is_none())];
    limit.allow(router, now).then_some(()).ok_or(DropReason::PuntRate)?;
    push(core, arrival.interface, TOO_BIG, mbuf)
}

/// A message has 0 where a payload TLV has 1.
fn is_message(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & PAYLOAD == 0)
}

/// A station where limits know IP addresses: the first half of one.
fn station(MacAddr([a, b, c, d, e, f]): MacAddr) -> IpAddr {
    let word = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    IpAddr::V6(Ipv6Addr::from(u128::from(word) << 64))
}

fn admit(core: &mut Core, source: IpAddr) -> Result<(), DropReason> {
    let now = core.now;
    let cetp = core.punts.cetp.as_mut().ok_or(DropReason::LocalNoListener)?;
    cetp.messages.allow(source, now).then_some(()).ok_or(DropReason::PuntRate)
}

fn push(core: &mut Core, interface: u16, class: u16, mbuf: &Mbuf) -> Result<(), DropReason> {
    let cetp = core.punts.cetp.as_mut().ok_or(DropReason::LocalNoListener)?;
    cetp.up.push(interface, class, &[mbuf.data()]).then_some(()).ok_or(DropReason::PuntFull)
}

/// A tunnelled packet that no session here is for: the thread gets its beginning, if there is room for it. It is dropped anyway.
#[cold]
pub fn stray(core: &mut Core, interface: u16, source: IpAddr, mbuf: &Mbuf) {
    beginning(core, (interface, STRAY), |cetp| &mut cetp.strays, source, mbuf);
}

/// A packet that has left a tunnel and that no service of its session, of that own tag, is for: the same. It is dropped anyway.
#[cold]
pub fn trespass(core: &mut Core, interface: u16, own: u32, mbuf: &Mbuf) {
    let session = IpAddr::V4(own.into());
    beginning(core, (interface, TRESPASS), |cetp| &mut cetp.trespasses, session, mbuf);
}

/// Takes the beginning of a packet that is dropped to the thread, as often as `limit` lets one `of` it.
fn beginning(
    core: &mut Core,
    (interface, class): (u16, u16),
    limit: impl FnOnce(&mut Cetp) -> &mut Limit,
    of: IpAddr,
    mbuf: &Mbuf,
) {
    let now = core.now;
    let Some(cetp) = core.punts.cetp.as_mut() else { return };
    if limit(cetp).allow(of, now) {
        let frame = mbuf.data();
        // One more or less: there will be others.
        let _ = cetp.up.push(interface, class, &[&frame[..frame.len().min(STRAY_LENGTH)]]);
    }
}

/// Whom limits take the sender of a tunnelled packet for.
pub fn sender(ends: &crate::flow::tunnel::Ends) -> IpAddr {
    use crate::flow::tunnel::Ends;
    match *ends {
        Ends::V4 { remote, .. } => remote.into(),
        Ends::V6 { remote, .. } => remote.into(),
        Ends::Ethernet { remote, .. } => station(MacAddr(remote)),
    }
}

/// Sends what the thread says.
pub(super) fn send(core: &mut Core, world: &World, interface: &Interface, class: u16, mbuf: Mbuf) {
    if class == FRAME {
        return core.originate(interface, mbuf);
    }
    core.out.counters.originated_packets.add(1);
    resolve::towards(core, world, mbuf, interface.realm, None, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::frames::frames;
    use std::net::Ipv4Addr;

    #[test]
    fn strays_are_few_and_messages_are_theirs_who_send_them() {
        let ((up, _), (_, down)) = (frames(0), frames(0));
        let mut cetp = Cetp::new(1, 0x1234_5678_9abc_def1, up, down);
        let edge = |n: u8| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n));
        assert!(!cetp.messages.sources.share_a_bucket(edge(1), edge(2)), "of this secret");
        let one = (0..100_000).filter(|i| cetp.strays.allow(edge(1), i / 50)).count();
        assert!((20..=22).contains(&one), "{one} in two seconds");
        let all = (0..100_000u32)
            .filter(|&i| cetp.strays.allow(IpAddr::V4((i << 8).into()), 2000 + i / 50))
            .count();
        assert!((150..=220).contains(&all), "{all} in two seconds");
        let flood = (0..200_000).filter(|i| cetp.messages.allow(edge(1), i / 1000)).count();
        assert!((10_000..=15_100).contains(&flood), "{flood} in 200 ms");
        assert!(cetp.messages.allow(edge(2), 200));
        assert!(!is_message(&[]) && is_message(&[0x10]) && !is_message(&[0x94]));
    }
}

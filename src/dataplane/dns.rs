//! Datagrams to port 53 of the edge's own addresses, up to the thread of the DNS, and its answers on their way: no kernel between.
//!
//! Guarantees: the thread gets whole datagrams with a right checksum, no more a second than it is to get, nor from one source; a full
//! ring never makes a worker wait. An answer leaves by the routes of the realm that it was asked in; to a link-local address, by the
//! link. Fragments are no questions: they go where all else goes. Never: reads a question.

use super::core::Core;
use super::limit::{Shares, TokenBucket};
use super::resolve;
use super::world::{Interface, World};
use crate::dpdk::Mbuf;
use crate::packet::{DropReason, EtherType, Ipv6, Link, PseudoHeader, Udp};
use crate::ring::frames::{FrameReceiver, FrameSender};
use std::net::IpAddr;

/// Where a DNS listens (RFC 1035 section 4.2.1).
const PORT: u16 = 53;
/// Of all that goes up by this ring.
const CLASS: u16 = 0;

/// What a worker may let through a second.
#[derive(Clone, Copy, Debug)]
pub struct DnsRates {
    pub all: u32,
    /// And of each source.
    pub source: u32,
}

/// One worker's limits, and its rings to and from the thread.
pub struct Dns {
    all: TokenBucket,
    sources: Shares,
    up: FrameSender,
    down: FrameReceiver,
}

impl Dns {
    pub fn new(rates: DnsRates, secret: u64, up: FrameSender, down: FrameReceiver) -> Self {
        Self {
            all: TokenBucket::of_rate(rates.all),
            sources: Shares::new(TokenBucket::of_rate(rates.source), secret),
            up,
            down,
        }
    }

    /// The thread's answers.
    pub(super) fn down(&mut self) -> &mut FrameReceiver {
        &mut self.down
    }

    /// The thread learns what has gone up to it; whether there was anything.
    pub(super) fn wake(&mut self) -> bool {
        self.up.wake()
    }

    /// Whether one more datagram may go up from that source: the source first, so that a flood of one costs the others nothing.
    fn admit(&mut self, source: IpAddr, now: u32) -> bool {
        self.sources.allow(source, now) && self.all.allow(now)
    }
}

/// Whether a UDP datagram to an address of the edge's own is for its DNS.
pub fn is_question(core: &Core, datagram: &[u8]) -> bool {
    core.punts.dns.is_some() && datagram.get(2..4) == Some(&PORT.to_be_bytes())
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
    let now = core.now;
    let dns = core.punts.dns.as_mut().ok_or(DropReason::LocalNoListener)?;
    // Before its checksum is looked at, which takes longer.
    if !dns.admit(source, now) {
        return Err(DropReason::PuntRate);
    }
    let udp = Udp::parse(datagram)?;
    if udp.source_port() == 0 || !udp.checksum_is_right(pseudo_header) {
        return Err(DropReason::DnsInvalid);
    }
    if dns.up.push(interface, CLASS, &[mbuf.data()]) { Ok(()) } else { Err(DropReason::PuntFull) }
}

/// Sends an answer to whoever asked by `interface`.
pub(super) fn send(core: &mut Core, world: &World, interface: &Interface, mbuf: Mbuf) {
    if is_to_link(&mbuf) {
        // The station that asked is the one: its frame's addresses are turned round already.
        return core.originate(interface, mbuf);
    }
    core.out.counters.originated_packets.add(1);
    resolve::towards(core, world, mbuf, interface.realm, None, 0);
}

/// Whether a frame goes to an address that its link alone knows (RFC 4291 section 2.5.6).
fn is_to_link(mbuf: &Mbuf) -> bool {
    let link = Link::parse(mbuf.data()).ok().filter(|link| link.ether_type == EtherType::IPV6);
    let ip = link.and_then(|link| Ipv6::parse(link.payload).ok());
    ip.is_some_and(|ip| ip.destination().is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::super::punt::{Punts, Rates};
    use super::*;
    use crate::ring::frames::frames;
    use crate::ring::wake;
    use std::net::Ipv4Addr;
    use std::time::{Duration, Instant};

    #[test]
    fn what_goes_up_wakes_the_thread_once_and_what_comes_down_wakes_the_worker() {
        const MINUTE: Duration = Duration::from_secs(60);
        let ((up, questions), (mut answers, down)) = (frames(0), frames(0));
        let rates = Rates { echo: 1, neighbors: 1, control: 1, class: 1, source: 1 };
        let dns = Dns::new(DnsRates { all: 1, source: 1 }, 1, up, down);
        let mut punts = Punts::new(rates, 1, 1, None, None).with_dns(Some(dns));
        assert!(!punts.wake(), "there is nothing new");
        // Here both are this thread.
        questions.wakes_me();
        punts.wakes_me();
        let start = Instant::now();
        assert!(punts.dns.as_mut().is_some_and(|dns| dns.up.push(0, CLASS, &[&[1]])));
        assert!(punts.wake());
        wake::nap(MINUTE);
        assert!(!punts.wake(), "it knows");
        assert!(answers.push(0, CLASS, &[&[1]]) && answers.wake());
        wake::nap(MINUTE);
        assert!(start.elapsed() < MINUTE / 2);
    }

    #[test]
    fn a_flood_of_questions_leaves_others_theirs() {
        let ((up, _questions), (_answers, down)) = (frames(0), frames(0));
        let mut dns = Dns::new(DnsRates { all: 20_000, source: 2000 }, 0x1234_5678_9abc_def1, up, down);
        let host = |n| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n));
        assert!(!dns.sources.share_a_bucket(host(1), host(2)), "of this secret");
        let admitted = (0..100_000).filter(|i| dns.admit(host(1), i / 500)).count();
        assert!((200..=700).contains(&admitted), "{admitted} in 200 ms at 2,000 a second");
        assert!(dns.admit(host(2), 200));
        let others = (0..100_000u32).filter(|&i| dns.admit(IpAddr::V4((i << 8).into()), 200 + i / 500));
        assert!((1000..=7000).contains(&others.count()), "all together");
    }
}

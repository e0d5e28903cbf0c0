//! Up to the edge's own addresses, and down from them: what a worker lets through a second, by class and by source, and the
//! rings to and from the thread that owns the kernel's interfaces (the exception path).
//!
//! Guarantees: a flood of one class, or from one source, takes nothing from another class or, but by chance, another source; one
//! of neighbour messages leaves half of what is listened to for the other links; a full ring never makes a worker wait. A drop costs a worker a few dozen cycles, whatever comes.

use super::cetp::{self, Cetp};
use super::core::Core;
use super::dns::{self, Dns};
use super::limit::{Answers, Shares, TokenBucket};
use super::world::{Interface, World};
use crate::dpdk::{BURST, Mbuf};
use crate::packet::DropReason;
use crate::ring::frames::{FRAME_MAX, FrameReceiver, FrameSender};
use arrayvec::ArrayVec;
use std::net::IpAddr;

/// What the edge's own addresses get, each kind within a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Opens a TCP connection: what a flood is made of.
    TcpSyn,
    /// TCP otherwise: what an operator's session is made of.
    Tcp,
    Udp,
    Other,
    /// Copies of the neighbours' answers, by which the kernel learns them too.
    Neighbor,
}

const CLASSES: usize = 5;
/// Segments of a packet that is copied into the ring.
const SEGMENTS: usize = 16;

/// What a worker may let through a second.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Echo requests that are answered.
    pub echo: u32,
    /// ARP and neighbour discovery messages that are listened to.
    pub neighbors: u32,
    /// Requests of subscribers about their mappings that are answered; of one, a tenth.
    pub control: u32,
    /// Packets of each class to the kernel.
    pub class: u32,
    /// And of each source, all classes together.
    pub source: u32,
}

/// One worker's limits and rings.
pub struct Punts {
    echo: TokenBucket,
    control: Answers,
    neighbors: TokenBucket,
    /// Of each interface: half of that.
    links: Box<[TokenBucket]>,
    classes: [TokenBucket; CLASSES],
    sources: Shares,
    to_kernel: Option<FrameSender>,
    from_kernel: Option<FrameReceiver>,
    /// Where the edge serves DNS.
    pub(super) dns: Option<Dns>,
    /// Where it has tunnels to other edges.
    pub(super) cetp: Option<Cetp>,
}

impl Punts {
    /// For so many `interfaces`. `to_kernel` where there is an exception path, `from_kernel` on the one worker that sends for the
    /// kernel.
    pub fn new(
        rates: Rates,
        interfaces: usize,
        secret: u64,
        to_kernel: Option<FrameSender>,
        from_kernel: Option<FrameReceiver>,
    ) -> Self {
        let class = TokenBucket::of_rate(rates.class);
        Self {
            echo: TokenBucket::of_rate(rates.echo),
            control: Answers::new(rates.control, secret),
            neighbors: TokenBucket::of_rate(rates.neighbors),
            links: vec![TokenBucket::of_rate(rates.neighbors.div_ceil(2)); interfaces].into(),
            classes: std::array::from_fn(|_| class.clone()),
            sources: Shares::new(TokenBucket::of_rate(rates.source), secret),
            to_kernel,
            from_kernel,
            dns: None,
            cetp: None,
        }
    }

    /// The edge serves DNS, by these rings.
    pub fn with_dns(self, dns: Option<Dns>) -> Self {
        Self { dns, ..self }
    }

    /// It talks to other edges, by these rings.
    pub fn with_cetp(self, cetp: Option<Cetp>) -> Self {
        Self { cetp, ..self }
    }

    /// What comes down from control threads ends the calling thread's naps.
    pub fn wakes_me(&mut self) {
        let down = [
            self.from_kernel.as_ref(),
            self.dns.as_mut().map(|dns| &*dns.down()),
            self.cetp.as_mut().map(|cetp| &*cetp.down()),
        ];
        down.into_iter().flatten().for_each(FrameReceiver::wakes_me);
    }

    /// The threads that nap learn what has gone up to them; whether anything has. For a worker that has nothing else to do: it may
    /// enter the kernel.
    #[inline]
    pub fn wake(&mut self) -> bool {
        let dns = self.dns.as_mut().is_some_and(Dns::wake);
        self.cetp.as_mut().is_some_and(Cetp::wake) | dns
    }

    /// Whether one more echo request may be answered.
    pub fn echo(&mut self, now: u32) -> Result<(), DropReason> {
        self.echo.allow(now).then_some(()).ok_or(DropReason::PuntRate)
    }

    /// Whether one more request about mappings may be answered.
    pub fn control(&mut self, source: IpAddr, now: u32) -> Result<(), DropReason> {
        self.control.allow(source, now).then_some(()).ok_or(DropReason::PuntRate)
    }

    /// Whether one more neighbour message may be listened to on that interface. The link first: while the subscribers' is
    /// flooded the gateways' answers are heard.
    pub fn neighbors(&mut self, interface: u16, now: u32) -> Result<(), DropReason> {
        let allowed = self.links[usize::from(interface)].allow(now) && self.neighbors.allow(now);
        allowed.then_some(()).ok_or(DropReason::PuntRate)
    }

    /// Whether one more packet of that class may go up from that source.
    fn admit(&mut self, class: Class, source: IpAddr, now: u32) -> bool {
        // The source first: what one sends too much of costs the others nothing.
        self.sources.allow(source, now) && self.classes[class as usize].allow(now)
    }

    /// A packet for the kernel's interface that mirrors `interface`.
    ///
    /// # Errors
    /// [`DropReason::LocalNoListener`] where there is no exception path, else the limit or the ring.
    pub fn up(
        &mut self,
        world: &World,
        interface: u16,
        class: Class,
        source: IpAddr,
        mbuf: &Mbuf,
        now: u32,
    ) -> Result<(), DropReason> {
        if !world.interfaces[usize::from(interface)].mirrored || self.to_kernel.is_none() {
            return Err(DropReason::LocalNoListener);
        }
        if !self.admit(class, source, now) {
            return Err(DropReason::PuntRate);
        }
        let mut segments = ArrayVec::<&[u8], SEGMENTS>::new();
        let whole = mbuf.segments().all(|s| segments.try_push(s).is_ok());
        let ring = self.to_kernel.as_mut().ok_or(DropReason::LocalNoListener)?;
        let pushed = whole && ring.push(interface, class as u16, &segments);
        if pushed { Ok(()) } else { Err(DropReason::PuntFull) }
    }
}

/// What control threads send: the kernel's frames go out by the interface that they were sent by, the answers of the DNS to whoever
/// asked, and what other edges are told to them. Returns the frames taken.
pub fn down(core: &mut Core, world: &World) -> usize {
    let kernel =
        drain(core, world, |p| p.from_kernel.as_mut(), |core, _, by, _, mbuf| core.originate(by, mbuf));
    let answers = |core: &mut Core, world: &World, by: &Interface, _, mbuf| dns::send(core, world, by, mbuf);
    kernel
        + drain(core, world, |p| p.dns.as_mut().map(Dns::down), answers)
        + drain(core, world, |p| p.cetp.as_mut().map(Cetp::down), cetp::send)
}

/// Takes what a ring has, at most a burst, and sends each frame by the interface of its tag; the class stands beside it. Returns the
/// frames taken.
fn drain(
    core: &mut Core,
    world: &World,
    ring: impl Fn(&mut Punts) -> Option<&mut FrameReceiver>,
    send: impl Fn(&mut Core, &World, &Interface, u16, Mbuf),
) -> usize {
    let mut taken = 0;
    while taken < BURST {
        let Some(ring) = ring(&mut core.punts) else { return taken };
        let Some(head) = ring.peek() else { return taken };
        taken += 1;
        let length = usize::from(head.length).min(FRAME_MAX);
        // Ethernet's minimum (IEEE 802.3), padded here: not every virtual device does.
        let mbuf = core.pool.alloc().and_then(|mut mbuf| {
            let room = mbuf.append(length.max(60))?;
            room[length.min(60)..].fill(0);
            ring.pop(room);
            Some(mbuf)
        });
        match (mbuf, world.interfaces.get(usize::from(head.tag))) {
            (Some(mbuf), Some(interface)) => send(core, world, interface, head.class, mbuf),
            (Some(mbuf), None) => core.out.free(mbuf),
            (None, _) => {
                // Taken off all the same, or the ring would stand still.
                ring.pop_with(|_, _, _| ());
                core.out.lost(DropReason::NoBuffer);
            }
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn punts(class: u32, source: u32) -> Punts {
        Punts::new(
            Rates { echo: 1, neighbors: 1000, control: 1, class, source },
            2,
            0x1234_5678_9abc_def1,
            None,
            None,
        )
    }

    #[test]
    fn a_flood_from_one_source_leaves_room_for_others() {
        let mut p = punts(20_000, 2000);
        let (flood, other) =
            (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));
        assert!(!p.sources.share_a_bucket(flood, other), "of this secret");
        let admitted = (0..100_000).filter(|i| p.admit(Class::TcpSyn, flood, i / 500)).count();
        assert!((200..=700).contains(&admitted), "{admitted} in 200 ms at 2,000 a second");
        assert!(p.admit(Class::TcpSyn, other, 200));
    }

    #[test]
    fn a_flood_of_one_class_leaves_room_for_others() {
        let mut p = punts(1000, 1_000_000);
        let source = |i: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + i));
        let admitted = (0..100_000).filter(|&i| p.admit(Class::TcpSyn, source(i), i / 500)).count();
        assert!((100..=400).contains(&admitted), "{admitted} in 200 ms at 1,000 a second");
        assert!(p.admit(Class::Tcp, source(1), 200));
    }

    #[test]
    fn a_flooded_link_leaves_half_to_the_others() {
        let mut p = punts(1, 1);
        let heard = |p: &mut Punts, link| (0..1000).filter(|&i| p.neighbors(link, i).is_ok()).count();
        let mut p2 = punts(1, 1);
        // A second in which both are flooded, one question a millisecond and link, the first link's first.
        let both = (0..1000).map(|i| [0, 1].map(|link| p.neighbors(link, i).is_ok()));
        let both = both.fold([0, 0], |sum, heard| [0, 1].map(|link| sum[link] + usize::from(heard[link])));
        assert!(both.iter().all(|heard| (450..=600).contains(heard)), "{both:?}");
        let alone = heard(&mut p2, 0);
        assert!((450..=600).contains(&alone), "{alone}");
        assert!(p2.neighbors(1, 1000).is_ok());
    }
}

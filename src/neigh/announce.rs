//! Which addresses are ours: told to the link at start and when it returns, and defended when somebody else uses one.
//!
//! Every address goes through three steps, in the order of the table:
//!
//! ```text
//!           1 s                 2 s
//!  probe ────────► announce ────────► announce          IPv4: RFC 5227 sections 2.1 and 2.3
//!  join + probe ──► join + announce ─► announce         IPv6: RFC 4862 section 5.4, RFC 4861 section 7.2.6, RFC 3810
//! ```
//!
//! Shorter than RFC 5227's three probes, and the address is used from the beginning (in the spirit of RFC 4429): an edge's
//! addresses are configured, and a carrier's traffic must not wait seconds for the rare case of two routers with one address.
//! A conflict is for the operator to end. Until then the address is defended, as RFC 5227 section 2.4 (c) lets an
//! infrastructure device do.
//!
//! Guarantees:
//! - Nothing is allocated after [`Announcer::new`]; a tick takes at most its budget of outputs, a conflict a binary search.
//! - An address is defended at most once a [`DEFEND_INTERVAL`], however often it is claimed.
//! - Groups are reported again, once a second at most, when a querier asks.
//!
//! Never: reads a clock, touches a packet, or gives an address up.

use std::net::IpAddr;

/// Milliseconds that an answer to a probe may take: RetransTimer (RFC 4861 section 10), and RFC 5227's PROBE_MAX, halved.
const PROBE_WAIT: u32 = 1000;
/// RFC 5227 section 1.1 (ANNOUNCE_INTERVAL), and longer than RFC 4861 wants between unsolicited advertisements.
const ANNOUNCE_INTERVAL: u32 = 2000;
/// Between two defences of one address: RFC 5227 section 1.1.
pub const DEFEND_INTERVAL: u32 = 10_000;
/// Between two rounds of reports (RFC 3810 section 9.11: the unsolicited report interval).
const REPORT_INTERVAL: u32 = 1000;

const STEPS: usize = 3;
/// How long after the step before each comes.
const WAITS: [u32; STEPS] = [0, PROBE_WAIT, ANNOUNCE_INTERVAL];

/// What is to be sent about one of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// Who has it? From nobody: an ARP probe, or a solicitation to detect duplicates.
    Probe { interface: u16, addr: IpAddr },
    /// We have it: a gratuitous ARP request, or an unsolicited advertisement to all nodes.
    Announce { interface: u16, addr: IpAddr },
    /// We listen to its solicited-node group: a report for the switches that snoop. IPv6 only.
    Join { interface: u16, addr: IpAddr },
}

#[derive(Clone, Copy, Debug)]
struct Own {
    interface: u16,
    addr: IpAddr,
    /// When its last step was taken.
    stepped: u32,
    /// When it was last defended.
    defended: Option<u32>,
}

/// The addresses of ours on some interfaces: those of a port. See the module.
#[derive(Debug)]
pub struct Announcer {
    /// Sorted by interface and address.
    own: Box<[Own]>,
    /// The address that takes each step next. Steps are taken in the order of the table, so that none overtakes the one
    /// before, and what was due first comes first.
    next: [usize; STEPS],
    /// The address whose group is reported next, while a round of reports is on.
    reporting: Option<usize>,
    /// When the last round of reports began.
    reported: Option<u32>,
}

impl Announcer {
    /// For these addresses; one that is given twice is taken once.
    pub fn new(addresses: impl IntoIterator<Item = (u16, IpAddr)>) -> Self {
        let mut addresses: Vec<_> = addresses.into_iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        let own = |(interface, addr)| Own { interface, addr, stepped: 0, defended: None };
        let own = addresses.into_iter().map(own).collect();
        Self { own, next: [0; STEPS], reporting: None, reported: None }
    }

    /// Says everything again from the beginning: a link has come up.
    pub fn restart(&mut self) {
        self.next = [0; STEPS];
    }

    /// Whether a tick may have something to say; cheap.
    pub fn is_done(&self) -> bool {
        self.next[STEPS - 1] == self.own.len() && self.reporting.is_none()
    }

    /// Lets time pass: takes the steps that are due, as long as `allow` lets one more message out. It is asked once for
    /// each output, and what it refuses waits for the next call.
    pub fn tick(&mut self, now: u32, mut allow: impl FnMut() -> bool, out: &mut impl FnMut(Announcement)) {
        // The last step first: what has been begun is finished before more is begun.
        for step in (0..STEPS).rev() {
            while let Some(at) = self.due(step, now) {
                let Own { interface, addr, .. } = self.own[at];
                let joins = addr.is_ipv6() && step < 2;
                // Two messages or one; the second is not refused, so that the step is whole.
                if !allow() {
                    return;
                }
                if joins {
                    let _ = allow();
                    out(Announcement::Join { interface, addr });
                }
                out(match step {
                    0 => Announcement::Probe { interface, addr },
                    _ => Announcement::Announce { interface, addr },
                });
                self.own[at].stepped = now;
                self.next[step] += 1;
            }
        }
        while let Some(at) = self.reporting {
            let Some(&Own { interface, addr, .. }) = self.own.get(at) else {
                self.reporting = None;
                return;
            };
            if addr.is_ipv6() {
                if !allow() {
                    return;
                }
                out(Announcement::Join { interface, addr });
            }
            self.reporting = Some(at + 1);
        }
    }

    /// The address that takes this step next, if it is time.
    fn due(&self, step: usize, now: u32) -> Option<usize> {
        let at = self.next[step];
        let begun = step.checked_sub(1).map_or(self.own.len(), |before| self.next[before]);
        let waited = |own: &Own| step == 0 || now.wrapping_sub(own.stepped) >= WAITS[step];
        (at < begun && waited(&self.own[at])).then_some(at)
    }

    /// Somebody else on that link uses this address. Answers with a defence, unless there was one lately; `false`: the
    /// address is not in the table.
    pub fn conflict(
        &mut self,
        interface: u16,
        addr: IpAddr,
        now: u32,
        out: &mut impl FnMut(Announcement),
    ) -> bool {
        let Ok(at) = self.own.binary_search_by_key(&(interface, addr), |own| (own.interface, own.addr))
        else {
            return false;
        };
        let own = &mut self.own[at];
        if own.defended.is_none_or(|then| now.wrapping_sub(then) >= DEFEND_INTERVAL) {
            own.defended = Some(now);
            out(Announcement::Announce { interface, addr });
        }
        true
    }

    /// A querier asked who listens to which group (RFC 3810 section 5.1): the next ticks report them all.
    pub fn queried(&mut self, now: u32) {
        let lately = self.reported.is_some_and(|then| now.wrapping_sub(then) < REPORT_INTERVAL);
        if self.reporting.is_none() && !lately {
            (self.reporting, self.reported) = (Some(0), Some(now));
        }
    }
}

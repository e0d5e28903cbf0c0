//! Subscribers control their own mappings (RFC 6888 REQ-9): a server of the Port Control Protocol (RFC 6887), and of its
//! predecessor NAT-PMP (RFC 6886) over the same logic.
//!
//! Sans-IO, and part of a home: [`NatHome::control`](super::NatHome::control) takes a request's bytes, its source and `now`, changes
//! the mappings of that subscriber, and writes the answer. Home owns them, so that no other thread is asked.
//!
//! What it guarantees:
//! - A mapping that was asked for lives until its lifetime is over, and as long as it has sessions, whichever is longer.
//! - Nobody asks for somebody else: the client is the source of the datagram, THIRD_PARTY is refused (RFC 6887 section 13.1), and
//!   a mapping is changed by its nonce alone.
//! - A request that is refused changes nothing (section 8.2).
//! - What is asked for is in a table of a fixed size, and of each subscriber a fixed number; ports are the subscriber's own.
//! - The epoch begins at zero when the state is lost, which is when the process starts (section 8.5).
//!
//! What it never does: send, log, allocate after start; keep a mapping over a restart.
//!
//! | file | what it is |
//! |---|---|
//! | [`wire`] | PCP: requests and answers |
//! | [`natpmp`] | NAT-PMP: the same |
//! | [`table`] | what was asked for, and until when |
//! | [`server`] | what a request does |

pub mod natpmp;
pub mod server;
pub mod table;
pub mod wire;

use table::Table;

/// Where servers listen (RFC 6887 section 19.1).
pub const SERVER_PORT: u16 = 5351;
/// Where clients listen to what is announced to all.
pub const CLIENT_PORT: u16 = 5350;

/// What the operator decides. See [`crate::nat::NatOptions::pcp`].
#[derive(Clone, Copy, Debug)]
pub struct PcpOptions {
    /// Seconds that a mapping lives at the least, and at the most (RFC 6887 section 15: 120, and 24 hours).
    pub lifetime_min: u32,
    pub lifetime_max: u32,
    /// What may be asked for at a time: of all homes together, and of one subscriber.
    pub mappings: usize,
    pub per_subscriber: u16,
}

impl Default for PcpOptions {
    fn default() -> Self {
        Self { lifetime_min: 120, lifetime_max: 86_400, mappings: 65_536, per_subscriber: 32 }
    }
}

/// What a home keeps of it.
pub struct Control {
    pub(super) options: PcpOptions,
    pub(super) table: Table,
    clock: Clock,
    /// When what is over was looked for, in milliseconds since the state began.
    swept: u64,
    /// Sessions that the present request has made.
    opened: usize,
}

impl Control {
    /// For so many mappings of this home.
    pub fn new(options: PcpOptions, mappings: usize, hash: crate::flow::HashKey) -> Self {
        Self { options, table: Table::new(mappings, hash), clock: Clock::default(), swept: 0, opened: 0 }
    }

    /// Seconds since the state began (RFC 6887 section 8.5).
    pub fn epoch(&self) -> u32 {
        (self.clock.ms / 1000) as u32
    }

    /// Milliseconds since the state began; `now` as everywhere, wrapping.
    pub(super) fn at(&mut self, now: u32) -> u64 {
        self.clock.at(now)
    }

    /// What a client is given that asks for so many seconds.
    pub(super) fn lifetime(&self, wanted: u32) -> u32 {
        wanted.clamp(self.options.lifetime_min, self.options.lifetime_max)
    }
}

/// Counts on where a clock of 32 bits begins anew. It must be asked once in 49 days.
#[derive(Default)]
struct Clock {
    last: Option<u32>,
    ms: u64,
}

impl Clock {
    fn at(&mut self, now: u32) -> u64 {
        let last = self.last.replace(now).unwrap_or(now);
        self.ms += u64::from(now.wrapping_sub(last));
        self.ms
    }
}

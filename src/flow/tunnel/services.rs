//! What two hosts may use of each other, as it was negotiated, compiled: asked once for each flow.

use crate::flow::sync::{AtomicU64, Ordering};

/// Services that one session may have.
pub const SERVICES: usize = 20;

/// Who may open flows of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opens {
    /// The host behind this edge: ports are the other one's.
    Host = 1,
    /// The host behind the other edge: ports are those of the host behind this one.
    Remote = 2,
    Either = 3,
}

/// A service that hosts use of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// By its IANA number; `None` for any.
    pub protocol: Option<u8>,
    /// First and last port of the host that is called; protocols other than TCP and UDP have port 0, because nobody looks at theirs.
    pub ports: (u16, u16),
    pub opens: Opens,
}

impl Service {
    /// Everything that either host wants of the other.
    pub const ANY: Service = Service { protocol: None, ports: (0, u16::MAX), opens: Opens::Either };

    /// Protocol 8 | any protocol 1 | who opens 2, at bit 9 | first port 16, at bit 16 | last port 16. Never 0.
    fn word(&self) -> u64 {
        let protocol = self.protocol.map_or(1 << 8, u64::from);
        protocol | (self.opens as u64) << 9 | u64::from(self.ports.0) << 16 | u64::from(self.ports.1) << 32
    }
}

/// Those of one session. Written by the owner before the session is published.
#[repr(C)]
pub struct Services([AtomicU64; SERVICES]);

impl Services {
    pub(super) fn none() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// Whether a session may have these: 1 to [`SERVICES`].
    pub(super) fn fits(services: &[Service]) -> bool {
        (1..=SERVICES).contains(&services.len())
    }

    pub(super) fn write(&self, services: &[Service]) {
        for (i, cell) in self.0.iter().enumerate() {
            cell.store(services.get(i).map_or(0, Service::word), Ordering::Relaxed);
        }
    }

    /// Adds services behind those that there are, which come first in the list; false, and nothing changed, where they don't, or
    /// there is no room. A worker that looks meanwhile sees some of the new ones: none of the old is missing
    /// at any time, and nothing is open that won't stay open.
    pub(super) fn grow(&self, services: &[Service]) -> bool {
        let has = |(i, cell): (usize, &AtomicU64)| {
            let before = cell.load(Ordering::Relaxed);
            let now = services.get(i);
            before == 0 || now.map_or(0, Service::word) == before
        };
        let grows = Services::fits(services) && self.0.iter().enumerate().all(has);
        if grows {
            self.write(services);
        }
        grows
    }

    /// Whether `opener`, one of the two hosts, may open a flow of that protocol (by its IANA number) to `port` of the other. What no
    /// service says anything of may not.
    pub fn allow(&self, opener: Opens, protocol: u8, port: u16) -> bool {
        let port = if matches!(protocol, 6 | 17) { port } else { 0 };
        let is_in = |word: u64| {
            let (first, last) = ((word >> 16) as u16, (word >> 32) as u16);
            let opens = word >> 9 & 3 & opener as u64 != 0;
            let is_protocol = word >> 8 & 1 != 0 || word as u8 == protocol;
            opens && is_protocol && (first..=last).contains(&port)
        };
        let words = self.0.iter().map(|cell| cell.load(Ordering::Relaxed));
        words.take_while(|word| *word != 0).any(is_in)
    }
}

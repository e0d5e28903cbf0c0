//! Which flows between two hosts a tunnel lets through: what their edges have negotiated.
//!
//! Guarantees: the first entry that a flow is in decides about it, and what is in none is not let through; of fixed size, and looked
//! at without allocation. Never: says anything of packets back: they are of the flow that they answer.

/// Most entries.
pub const ENTRIES_MAX: usize = 16;

/// Who may open flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    /// The host behind this edge.
    Local,
    /// The host behind the other edge.
    Remote,
}

/// Flows by protocol and by port of the host that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `None`: any.
    pub protocol: Option<u8>,
    /// Both included. Protocols without ports have port 0.
    pub first: u16,
    pub last: u16,
    pub is_open: bool,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    opener: Opener,
    count: u8,
    entries: [Entry; ENTRIES_MAX],
}

impl Filter {
    /// One that lets nothing through.
    pub const fn new(opener: Opener) -> Filter {
        let none = Entry { protocol: None, first: 0, last: 0, is_open: false };
        Filter { opener, count: 0, entries: [none; ENTRIES_MAX] }
    }

    /// Adds what holds where no entry before it does. What does not fit is not let through.
    pub fn push(&mut self, entry: Entry) {
        if let Some(place) = self.entries.get_mut(usize::from(self.count)) {
            *place = entry;
            self.count += 1;
        }
    }

    /// In the order in which they decide.
    pub fn entries(&self) -> &[Entry] {
        self.entries.get(..usize::from(self.count)).unwrap_or_default()
    }

    pub fn opener(&self) -> Opener {
        self.opener
    }

    /// Whether a flow may be opened from there to that port.
    pub fn permits(&self, opener: Opener, protocol: u8, port: u16) -> bool {
        let is_in = |entry: &&Entry| {
            entry.protocol.is_none_or(|known| known == protocol) && (entry.first..=entry.last).contains(&port)
        };
        opener == self.opener && self.entries().iter().find(is_in).is_some_and(|entry| entry.is_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_decides_and_what_is_in_none_is_closed() {
        let mut filter = Filter::new(Opener::Remote);
        assert!(!filter.permits(Opener::Remote, 6, 443), "nothing was negotiated");
        filter.push(Entry { protocol: Some(6), first: 25, last: 25, is_open: false });
        filter.push(Entry { protocol: Some(6), first: 1, last: 1023, is_open: true });
        filter.push(Entry { protocol: Some(1), first: 0, last: u16::MAX, is_open: true });
        for (protocol, port, is_open) in
            [(6, 443, true), (6, 25, false), (6, 1024, false), (17, 443, false), (1, 0, true), (6, 0, false)]
        {
            assert_eq!(filter.permits(Opener::Remote, protocol, port), is_open, "{protocol}/{port}");
        }
        assert!(!filter.permits(Opener::Local, 6, 443), "nobody has negotiated the way back");
    }

    #[test]
    fn what_does_not_fit_stays_closed() {
        let mut filter = Filter::new(Opener::Local);
        for port in 1..=20 {
            filter.push(Entry { protocol: Some(6), first: port, last: port, is_open: true });
        }
        assert_eq!(filter.entries().len(), ENTRIES_MAX);
        assert!(filter.permits(Opener::Local, 6, 16) && !filter.permits(Opener::Local, 6, 17));
    }
}

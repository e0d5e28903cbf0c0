//! The names that a host is found by: its own, those of its services (SFQDNs), and its own below the label of a port
//! (`tcp443.host.example`), which nobody has written down.
//!
//! Guarantees: a number is a name's for as long as its host is not changed. Never: looks for a host.

use super::HostRef;
use crate::config::ServiceTarget;

/// Which of the names of a host that are written down, as a number: 0 is its own, services follow in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Which(u32);

impl Which {
    /// The host's own name.
    pub const OWN: Which = Which(0);

    pub(super) fn of_entry(which: usize) -> Which {
        Which(which as u32)
    }

    /// As a number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// From that.
    pub fn from_number(number: u32) -> Which {
        Which(number)
    }
}

/// What a label such as `tcp443` means.
pub(super) fn port_label(label: &str) -> Option<ServiceTarget> {
    const NAMES: [(&str, u8); 4] = [("tcp", 6), ("udp", 17), ("sctp", 132), ("dccp", 33)];
    let (digits, protocol) =
        NAMES.iter().find_map(|(name, number)| Some((label.strip_prefix(name)?, *number)))?;
    // Written in one way only.
    let port = digits.parse().ok().filter(|port: &u16| *port > 0 && !digits.starts_with(['0', '+']))?;
    Some(ServiceTarget { protocol: Some(protocol), port: Some(port) })
}

impl<'a> HostRef<'a> {
    /// That name of it, and what it means; `None` where it has no such name any more.
    pub fn named(&self, which: Which) -> Option<(&'a str, Option<ServiceTarget>)> {
        let parts = self.parts();
        match (which.0 as usize).checked_sub(1) {
            None => Some((parts.name, None)),
            Some(number) => parts.services().nth(number).map(|(name, target)| (name, Some(target))),
        }
    }
}

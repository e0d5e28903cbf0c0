//! The names that a host is found by: its own, those of its services (SFQDNs), and its own below the label of a port
//! (`tcp443.host.example`).
//!
//! Guarantees: a number is a name's for as long as its host is not changed. Never: looks for a host.

use std::borrow::Cow;

use super::HostRef;
use crate::config::ServiceTarget;

/// The protocols whose ports have labels.
const LABELS: [(&str, u8); 4] = [("tcp", 6), ("udp", 17), ("sctp", 132), ("dccp", 33)];
/// Set in the number of a name that has the label of a port, whose protocol and port follow.
const LABELLED: u32 = 1 << 31;

/// Which of a host's names, as a number: 0 is its own, services follow in their order.
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

/// What a label such as `tcp443` means, and which name that makes of the host's own.
pub(super) fn port_label(label: &str) -> Option<(ServiceTarget, Which)> {
    let (digits, protocol) =
        LABELS.iter().find_map(|(name, number)| Some((label.strip_prefix(name)?, *number)))?;
    // Written in one way only.
    let port = digits.parse().ok().filter(|port: &u16| *port > 0 && !digits.starts_with(['0', '+']))?;
    let which = Which(LABELLED | u32::from(protocol) << 16 | u32::from(port));
    Some((ServiceTarget { protocol: Some(protocol), port: Some(port) }, which))
}

/// The label that a number says, and what it means.
fn labelled(which: u32) -> Option<(&'static str, ServiceTarget)> {
    let (protocol, port) = ((which >> 16) as u8, which as u16);
    let (name, _) = LABELS.iter().find(|(_, number)| *number == protocol && which & LABELLED != 0)?;
    Some((name, ServiceTarget { protocol: Some(protocol), port: Some(port) }))
}

impl<'a> HostRef<'a> {
    /// That name of it, and what it means; `None` where it has no such name any more.
    pub fn named(&self, which: Which) -> Option<(Cow<'a, str>, Option<ServiceTarget>)> {
        let parts = self.parts();
        if let Some((label, target)) = labelled(which.0) {
            let port = target.port.unwrap_or_default();
            return Some((format!("{label}{port}.{}", parts.name).into(), Some(target)));
        }
        match (which.0 as usize).checked_sub(1) {
            None => Some((parts.name.into(), None)),
            Some(number) => parts.services().nth(number).map(|(name, target)| (name.into(), Some(target))),
        }
    }
}

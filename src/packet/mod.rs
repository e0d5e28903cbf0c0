//! Typed views over bytes: what a frame says, and how to write one.
//!
//! A view is made by `parse`, which checks every length once and refuses a header that contradicts itself; afterwards
//! no accessor can fail, panic, or look at bytes that the packet does not own. A `…Mut` view changes bytes in place and keeps
//! checksums right. Each protocol's `Header` is the same content as a plain value: `emit` writes it into a caller's buffer,
//! and parsing that gives it back. [`build`] composes whole frames.
//!
//! Guaranteed: no input of any length or content makes anything here panic or loop without bound. Never: allocates, reads a clock, keeps state.

pub mod arp;
pub mod build;
pub mod cetp;
pub mod checksum;
pub mod drop;
mod error;
pub mod ethernet;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod mld;
pub mod ndp;
mod options;
mod protocol;
pub mod tcp;
pub mod too_big;
pub mod udp;
pub mod vlan;

pub use arp::Arp;
pub use checksum::{Delta, PseudoHeader};
pub use drop::{DROP_REASONS, DropReason};
pub use error::Error;
pub use ethernet::{EtherType, Ethernet, EthernetMut, MacAddr};
pub use icmp::{Icmp, IcmpMut, IcmpType};
pub use icmpv6::{Icmpv6, Icmpv6Type};
pub use ipv4::{Ipv4, Ipv4Mut};
pub use ipv6::Ipv6;
pub use protocol::Protocol;
pub use tcp::{Tcp, TcpFlags, TcpMut, TcpOption};
pub use too_big::TooBig;
pub use udp::{Udp, UdpMut};
pub use vlan::{Link, Tag, Tags};

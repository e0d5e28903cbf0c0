//! Keys of flows: who talks to whom, by which protocol, in which realm.
//!
//! A key holds the bytes of the packet as they are on the wire (read little-endian, on every machine), so that making one
//! is a few loads and comparing one is two or five word compares.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A private network, or the Internet: what gives an address its meaning. 0 is reserved for "no realm".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Realm(pub u16);

impl Realm {
    /// Between edges, where session tags stand for addresses (see [`crate::packet::cetp`]): packets that have just left a tunnel, or
    /// are about to enter one. No configured realm has it.
    pub const TUNNEL: Self = Self(u16::MAX);
}

/// The transport protocols that a session can be told by its ports, with their IANA numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// ICMP echo; the identifier stands for both ports.
    Icmp = 1,
    Tcp = 6,
    Udp = 17,
    /// ICMPv6 echo.
    Icmpv6 = 58,
}

impl Protocol {
    /// From the IANA number; `None` for one that is not translated.
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            1 => Some(Self::Icmp),
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            58 => Some(Self::Icmpv6),
            _ => None,
        }
    }

    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmpv6 => "icmpv6",
        }
    }
}

/// The last word of a key: ports 32 | realm 16 | protocol 8 | IP version 8.
const fn tail(ports: [u8; 4], realm: Realm, protocol: u8, version: u8) -> u64 {
    u32::from_le_bytes(ports) as u64
        | (realm.0 as u64) << 32
        | (protocol as u64) << 48
        | (version as u64) << 56
}

/// Two ports as a packet has them, read little-endian.
pub const fn ports(source: u16, destination: u16) -> u32 {
    u32::from_le_bytes(join_ports(source, destination))
}

const fn join_ports(source: u16, destination: u16) -> [u8; 4] {
    let (s, d) = (source.to_be_bytes(), destination.to_be_bytes());
    [s[0], s[1], d[0], d[1]]
}

/// Swaps source and destination port in the last word.
const fn swap_ports(tail: u64) -> u64 {
    (tail & !0xffff_ffff) | (tail as u32).rotate_left(16) as u64
}

macro_rules! tail_accessors {
    () => {
        /// Source port, or ICMP identifier.
        pub const fn source_port(&self) -> u16 {
            (self.tail as u16).swap_bytes()
        }
        /// Destination port, or ICMP identifier.
        pub const fn destination_port(&self) -> u16 {
            ((self.tail >> 16) as u16).swap_bytes()
        }
        /// The realm in which the packet arrives.
        pub const fn realm(&self) -> Realm {
            Realm((self.tail >> 32) as u16)
        }
        /// IANA protocol number.
        pub const fn protocol(&self) -> u8 {
            (self.tail >> 48) as u8
        }
    };
}

/// An IPv4 flow in one direction: 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Key4 {
    /// Source then destination address, wire order.
    pub addresses: u64,
    /// Ports, realm, protocol, version.
    pub tail: u64,
}

impl Key4 {
    /// From wire bytes: `addresses` is source and destination as in the IPv4 header, `ports` as in the TCP or UDP header
    /// (for an ICMP echo its identifier, twice).
    #[inline(always)]
    pub const fn from_wire(addresses: [u8; 8], ports: [u8; 4], realm: Realm, protocol: u8) -> Self {
        Self { addresses: u64::from_le_bytes(addresses), tail: tail(ports, realm, protocol, 4) }
    }

    /// From words of the packet as they lie in memory, read little-endian: the two addresses, the two ports.
    #[inline(always)]
    pub const fn from_words(addresses: u64, ports: u32, realm: Realm, protocol: u8) -> Self {
        Self { addresses, tail: tail(ports.to_le_bytes(), realm, protocol, 4) }
    }

    /// From typed values.
    pub fn new(
        realm: Realm,
        protocol: Protocol,
        source: (Ipv4Addr, u16),
        destination: (Ipv4Addr, u16),
    ) -> Self {
        let (s, d) = (source.0.octets(), destination.0.octets());
        let addresses = [s[0], s[1], s[2], s[3], d[0], d[1], d[2], d[3]];
        Self::from_wire(addresses, join_ports(source.1, destination.1), realm, protocol as u8)
    }

    /// For any protocol, by its IANA number: source and destination, and `ports` as a packet has them, read little-endian (0
    /// for a protocol without).
    pub fn of_any_protocol(realm: Realm, protocol: u8, ends: (Ipv4Addr, Ipv4Addr), ports: u32) -> Self {
        let (s, d) = (u32::from_le_bytes(ends.0.octets()), u32::from_le_bytes(ends.1.octets()));
        Self::from_words(u64::from(s) | u64::from(d) << 32, ports, realm, protocol)
    }

    /// The same flow to another destination address.
    #[inline]
    pub fn towards(&self, destination: Ipv4Addr) -> Self {
        let destination = u64::from(u32::from_le_bytes(destination.octets()));
        Self { addresses: self.addresses & 0xffff_ffff | destination << 32, tail: self.tail }
    }

    /// A key that no packet has, of a half that none shall find: as this one otherwise.
    pub const fn shadow(&self) -> Self {
        Self { addresses: self.addresses, tail: self.tail & !(0xff << 56) }
    }

    /// The key of the answers, if nothing translated the flow, in `realm`.
    pub const fn reversed(&self, realm: Realm) -> Self {
        let tail = swap_ports(self.tail) & !(0xffff << 32) | (realm.0 as u64) << 32;
        Self { addresses: self.addresses.rotate_left(32), tail }
    }

    pub const fn source(&self) -> Ipv4Addr {
        let b = self.addresses.to_le_bytes();
        Ipv4Addr::new(b[0], b[1], b[2], b[3])
    }

    pub const fn destination(&self) -> Ipv4Addr {
        let b = self.addresses.to_le_bytes();
        Ipv4Addr::new(b[4], b[5], b[6], b[7])
    }

    tail_accessors!();
}

impl std::fmt::Debug for Key4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (s, d) = (self.source(), self.destination());
        let (sp, dp) = (self.source_port(), self.destination_port());
        write!(f, "{s}:{sp}>{d}:{dp} proto {} realm {}", self.protocol(), self.realm().0)
    }
}

/// An IPv6 flow in one direction: 40 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Key6 {
    /// Source (two words) then destination (two words), wire order.
    pub addresses: [u64; 4],
    /// Ports, realm, protocol, version.
    pub tail: u64,
}

impl Key6 {
    /// From words of the packet as they lie in memory, read little-endian: the two addresses, two words each, and the two
    /// ports (0 for a protocol without).
    #[inline(always)]
    pub const fn from_words(addresses: [u64; 4], ports: u32, realm: Realm, protocol: u8) -> Self {
        Self { addresses, tail: tail(ports.to_le_bytes(), realm, protocol, 6) }
    }

    /// From typed values.
    pub fn new(
        realm: Realm,
        protocol: Protocol,
        source: (Ipv6Addr, u16),
        destination: (Ipv6Addr, u16),
    ) -> Self {
        Self::of_any_protocol(
            realm,
            protocol as u8,
            (source.0, destination.0),
            ports(source.1, destination.1),
        )
    }

    /// For any upper-layer protocol, by its IANA number: source and destination, and `ports` as a packet has them, read
    /// little-endian (0 for a protocol without).
    pub const fn of_any_protocol(
        realm: Realm,
        protocol: u8,
        addresses: (Ipv6Addr, Ipv6Addr),
        ports: u32,
    ) -> Self {
        let (s, d) = (u128::from_le_bytes(addresses.0.octets()), u128::from_le_bytes(addresses.1.octets()));
        Self::from_words([s as u64, (s >> 64) as u64, d as u64, (d >> 64) as u64], ports, realm, protocol)
    }

    /// The key of the answers, in `realm`.
    pub const fn reversed(&self, realm: Realm) -> Self {
        let [a, b, c, d] = self.addresses;
        let tail = swap_ports(self.tail) & !(0xffff << 32) | (realm.0 as u64) << 32;
        Self { addresses: [c, d, a, b], tail }
    }

    pub fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from((self.addresses[0] as u128 | (self.addresses[1] as u128) << 64).to_le_bytes())
    }

    pub fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from((self.addresses[2] as u128 | (self.addresses[3] as u128) << 64).to_le_bytes())
    }

    tail_accessors!();
}

impl std::fmt::Debug for Key6 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (s, d) = (self.source(), self.destination());
        let (sp, dp) = (self.source_port(), self.destination_port());
        write!(f, "[{s}]:{sp}>[{d}]:{dp} proto {} realm {}", self.protocol(), self.realm().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_and_wire_agree_and_reverse_twice_is_identity() {
        let k = Key4::new(
            Realm(3),
            Protocol::Udp,
            (Ipv4Addr::new(10, 0, 0, 2), 4000),
            (Ipv4Addr::new(203, 0, 113, 9), 53),
        );
        assert_eq!(k, Key4::from_wire([10, 0, 0, 2, 203, 0, 113, 9], [0x0f, 0xa0, 0, 53], Realm(3), 17));
        assert_eq!(
            (k.source_port(), k.destination_port(), k.realm(), k.protocol()),
            (4000, 53, Realm(3), 17)
        );
        assert_eq!(k.source(), Ipv4Addr::new(10, 0, 0, 2));
        let r = k.reversed(Realm(9));
        assert_eq!((r.source(), r.source_port(), r.realm()), (Ipv4Addr::new(203, 0, 113, 9), 53, Realm(9)));
        assert_eq!(r.reversed(Realm(3)), k);
        let other = Ipv4Addr::new(172, 16, 64, 9);
        let expected = Key4::new(Realm(3), Protocol::Udp, (k.source(), 4000), (other, 53));
        assert_eq!(k.towards(other), expected);

        let (a, b) = ("2001:db8::1".parse().unwrap(), "2001:db8:1::2".parse().unwrap());
        let k6 = Key6::new(Realm(7), Protocol::Tcp, (a, 1), (b, 2));
        assert_eq!((k6.source(), k6.destination()), (a, b));
        let r6 = k6.reversed(Realm(8));
        assert_eq!((r6.source(), r6.source_port(), r6.realm()), (b, 2, Realm(8)));
        assert_eq!(r6.reversed(Realm(7)), k6);
    }

    #[test]
    fn words_of_an_ipv6_header_make_the_same_key() {
        let (a, b): (Ipv6Addr, Ipv6Addr) =
            ("2001:db8:1:2:3:4:5:6".parse().unwrap(), "2001:db8:9::7".parse().unwrap());
        let wire = [a.octets(), b.octets()].concat();
        let word = |i: usize| u64::from_le_bytes(wire[i * 8..i * 8 + 8].try_into().unwrap());
        let words = [word(0), word(1), word(2), word(3)];
        let typed = Key6::new(Realm(3), Protocol::Udp, (a, 4000), (b, 53));
        assert_eq!(Key6::from_words(words, u32::from_le_bytes([0x0f, 0xa0, 0, 53]), Realm(3), 17), typed);
        let esp = Key6::of_any_protocol(Realm(3), 50, (a, b), 0);
        assert_eq!((esp, esp.source_port()), (Key6::from_words(words, 0, Realm(3), 50), 0));
    }
}

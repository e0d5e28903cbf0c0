//! What the shared world says about IPv6: which addresses are the edge's own, on which link, and as which of them it speaks.
//!
//! Every interface has a link-local address (RFC 4291 section 2.8): a configured one, or the one that its MAC address makes.
//! Nothing here changes anything.

use super::world::{Interface, World};
use crate::flow::Realm;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};

impl Interface {
    fn addresses6(&self) -> impl Iterator<Item = ipnet::Ipv6Net> {
        self.addresses.iter().filter_map(|net| match net {
            IpNet::V6(net) => Some(*net),
            IpNet::V4(_) => None,
        })
    }

    /// Its link-local address: a configured one, else fe80::/64 with the modified EUI-64 of its MAC address (RFC 4291
    /// appendix A).
    pub fn link_local(&self) -> Ipv6Addr {
        let configured = self.addresses6().map(|net| net.addr()).find(Ipv6Addr::is_unicast_link_local);
        let [a, b, c, d, e, f] = self.mac.0;
        let identifier = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        configured.unwrap_or_else(|| Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(identifier)))
    }

    /// Whether this is an address of the edge's own on this interface.
    pub fn has6(&self, address: Ipv6Addr) -> bool {
        self.addresses6().any(|net| net.addr() == address) || self.link_local() == address
    }

    /// Whether an address is on this interface's link.
    pub fn is_on_link6(&self, address: Ipv6Addr) -> bool {
        address.is_unicast_link_local() || self.addresses6().any(|net| net.contains(&address))
    }

    /// The edge's own address that speaks here: the one in the prefix of `towards` if there is one, else the link-local one.
    pub fn speaks_as6(&self, towards: Ipv6Addr) -> Ipv6Addr {
        let near = self.addresses6().find(|net| net.contains(&towards));
        near.map_or_else(|| self.link_local(), |net| net.addr())
    }
}

impl World {
    /// Whether this is an address of the edge's own in that realm. A link-local one is on its link only: where the link is
    /// known, ask [`World::answers_for6`].
    pub fn is_own6(&self, realm: Realm, address: Ipv6Addr) -> bool {
        self.interfaces.iter().any(|i| i.realm == realm && i.has6(address))
    }

    /// Whether the edge answers neighbour discovery for this address on that interface.
    pub fn answers_for6(&self, interface: u16, address: Ipv6Addr) -> bool {
        self.interfaces[usize::from(interface)].has6(address)
    }

    /// As [`Interface::speaks_as6`].
    pub fn speaks_as6(&self, interface: u16, towards: Ipv6Addr) -> Ipv6Addr {
        self.interfaces[usize::from(interface)].speaks_as6(towards)
    }

    /// As [`Interface::link_local`].
    pub fn link_local(&self, interface: u16) -> Ipv6Addr {
        self.interfaces[usize::from(interface)].link_local()
    }

    /// Whether an address is the edge's own on that interface, of either family.
    pub fn has(&self, interface: u16, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.answers_for(interface, address),
            IpAddr::V6(address) => self.answers_for6(interface, address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::MacAddr;

    #[test]
    fn the_link_local_address_is_the_macs_or_the_configured_one() {
        let mut interface = Interface {
            name: "wan".into(),
            port: 0,
            realm: Realm(1),
            mac: MacAddr([0x02, 0, 0x5e, 0x10, 0, 1]),
            addresses: vec!["192.0.2.1/24".parse().unwrap(), "2001:db8::1/64".parse().unwrap()],
            mtu: 1500,
            vlan: crate::dataplane::vlan::Vlan::NONE,
            tcp_mss: crate::dataplane::world::TcpMss::Auto,
            mirrored: false,
        };
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let own = address("fe80::5eff:fe10:1");
        assert_eq!(interface.link_local(), own);
        assert!(interface.has6(own) && interface.has6(address("2001:db8::1")));
        assert!(!interface.has6(address("2001:db8::2")) && interface.is_on_link6(address("2001:db8::2")));
        assert!(interface.is_on_link6(address("fe80::9")) && !interface.is_on_link6(address("2001:db9::1")));
        assert_eq!(interface.speaks_as6(address("2001:db8::7")), address("2001:db8::1"));
        assert_eq!(interface.speaks_as6(address("fe80::7")), own);
        assert_eq!(interface.speaks_as6(address("2001:db9::7")), own);
        interface.addresses.push("fe80::1/64".parse().unwrap());
        assert_eq!(interface.link_local(), address("fe80::1"));
        assert!(!interface.has6(own), "the configured one takes its place");
        assert_eq!(interface.speaks_as6(address("fe80::7")), address("fe80::1"));
    }
}

//! From the configuration to what the links are told, and whom they are asked for at start: pure, no device is touched.

use crate::config::{Config, PoolRange, Stop};
use crate::dataplane::Interface;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Announcements take at most one part in this many of the limit of solicitations.
const ANNOUNCEMENTS_PART: u32 = 4;

/// Whether there are links to speak on. Where input ends it is a capture that is replayed: nobody is there to be told.
pub fn are_live(config: &Config) -> bool {
    config.workers.stop != Stop::EndOfInput
}

/// Announcements a second.
pub fn announcements_per_second(config: &Config) -> u32 {
    (config.limits.arp_per_second / ANNOUNCEMENTS_PART).max(1)
}

/// Every address that is to be announced, with its interface: the interface's own, its link-local one where IPv6 is spoken, and
/// the NAT's public addresses, and those of the circular pool, in its connected prefixes. At most 65,536 of either: there are
/// no more.
pub fn announced(config: &Config, interfaces: &[Interface]) -> BTreeSet<(u16, IpAddr)> {
    let gateways = gateways(config);
    let mut announced = BTreeSet::new();
    for (number, interface) in (0..).zip(interfaces) {
        let own = interface.addresses.iter().map(IpNet::addr);
        let speaks_ipv6 = own.clone().any(|a| a.is_ipv6())
            || gateways.iter().any(|(on, gateway)| *on == number && gateway.is_ipv6());
        announced.extend(own.map(|address| (number, address)));
        if speaks_ipv6 {
            announced.insert((number, interface.link_local().into()));
        }
        if let Some(nat) = config.nat44.as_ref().filter(|nat| nat.outside == interface.realm.0) {
            let circular = config.prgw.iter().flat_map(|prgw| &prgw.pool);
            let public = nat.pools.iter().flat_map(|p| &p.addresses).chain(circular);
            announced.extend(public_on(public, interface).map(|address| (number, address.into())));
        }
    }
    announced
}

/// Those of the public addresses that lie in a connected prefix.
fn public_on<'a>(
    public: impl Iterator<Item = &'a PoolRange> + Clone,
    interface: &'a Interface,
) -> impl Iterator<Item = Ipv4Addr> {
    let prefixes = interface.addresses.iter().filter_map(|net| match net {
        IpNet::V4(net) => Some((net.network().to_bits(), net.broadcast().to_bits())),
        IpNet::V6(_) => None,
    });
    prefixes.flat_map(move |(lowest, highest)| {
        let within =
            move |range: &PoolRange| range.first.to_bits().max(lowest)..=range.last.to_bits().min(highest);
        public.clone().flat_map(within).map(Ipv4Addr::from_bits)
    })
}

/// Every gateway of a configured route, with its interface.
pub fn gateways(config: &Config) -> BTreeSet<(u16, IpAddr)> {
    config.routes.iter().flat_map(crate::config::Route::gateways).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::vlan::Vlan;
    use crate::dataplane::world::TcpMss;
    use crate::flow::Realm;
    use crate::packet::MacAddr;

    fn config(rest: &str) -> Config {
        let text = format!(
            "[instance]\nname = \"t\"\n[workers]\ncores = [0]\nidle = \"sleep\"\n\
             [[port]]\nname = \"lan\"\ndevice = \"net_null0\"\n[[port]]\nname = \"wan\"\ndevice = \"net_null1\"\n\
             [[realm]]\nname = \"home\"\nside = \"inside\"\n[[realm]]\nname = \"internet\"\nside = \"outside\"\n\
             [[interface]]\nport = \"lan\"\nrealm = \"home\"\naddresses = [\"10.0.0.1/24\"]\n\
             [[interface]]\nport = \"wan\"\nrealm = \"internet\"\n\
             addresses = [\"192.0.2.1/28\", \"2001:db8::1/64\"]\n{rest}"
        );
        crate::config::parse("t.toml", &text).unwrap_or_else(|e| panic!("{e}"))
    }

    fn interfaces(config: &Config) -> Vec<Interface> {
        let made = |i: &crate::config::Interface| Interface {
            name: i.name.clone(),
            port: i.port,
            realm: Realm(i.realm),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            addresses: i.addresses.clone(),
            vlan: Vlan::NONE,
            mtu: 1500,
            tcp_mss: TcpMss::Auto,
            mirrored: false,
        };
        config.interfaces.iter().map(made).collect()
    }

    fn shown(config: &Config) -> Vec<String> {
        let announced = announced(config, &interfaces(config));
        announced.iter().map(|(interface, address)| format!("{interface} {address}")).collect()
    }

    #[test]
    fn own_and_public_addresses_on_their_links() {
        let own = ["0 10.0.0.1", "1 192.0.2.1", "1 2001:db8::1", "1 fe80::ff:fe00:1"];
        assert_eq!(shown(&config("")), own);
        let nat = config(
            "[nat44]\ninside = [\"home\"]\noutside = \"internet\"\npool = [\"192.0.2.12-192.0.2.14\", \"198.51.100.0/24\"]\n",
        );
        let public = ["1 192.0.2.12", "1 192.0.2.13", "1 192.0.2.14"];
        assert_eq!(shown(&nat), [&own[..2], &public, &own[2..]].concat());
        assert!(are_live(&nat));
        assert_eq!(announcements_per_second(&nat), 250);
    }

    #[test]
    fn a_gateway_is_asked_for_once_and_makes_its_link_speak_its_family() {
        let config = config(
            "[[route]]\nrealm = \"internet\"\nprefix = \"0.0.0.0/0\"\nvia = \"192.0.2.2\"\n\
             [[route]]\nrealm = \"internet\"\nprefix = \"198.51.100.0/24\"\nvia = \"192.0.2.2\"\n\
             [[route]]\nrealm = \"internet\"\nprefix = \"203.0.113.0/24\"\nblackhole = true\n\
             [[route]]\nrealm = \"home\"\nprefix = \"2001:db8:1::/48\"\nvia = \"fe80::9\"\ninterface = \"lan\"\n",
        );
        let found: Vec<String> = gateways(&config).iter().map(|(i, a)| format!("{i} {a}")).collect();
        assert_eq!(found, ["0 fe80::9", "1 192.0.2.2"]);
        assert!(shown(&config).contains(&"0 fe80::ff:fe00:1".to_owned()));
    }
}

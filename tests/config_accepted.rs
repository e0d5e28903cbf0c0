//! Right configurations: what they come to, the defaults, the warnings, and the files of `configs/`. And no text at all,
//! right or wrong, makes the reader panic.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use ces::config::{
    self, Config, Dependence, Device, Distribute, HugePages, Idle, NextHop, PortSelection, Remote,
    RouteTarget, Sharing, Side, SourceCheck, Stop, TcpMss, Vlan,
};
use proptest::prelude::*;

const SMALL: &str = r#"
[instance]
name = "small"
[workers]
cores = [3, 4]
[[port]]
name = "in"
device = "net_tap0,iface=a,mac=fixed"
[[port]]
name = "out"
device = "0000:0A:00.1"
[[realm]]
name = "home"
side = "inside"
[[realm]]
name = "internet"
side = "outside"
[[interface]]
port = "in"
realm = "home"
addresses = ["10.0.0.1/24"]
[[interface]]
name = "wan"
port = "out"
realm = "internet"
addresses = ["203.0.113.1/24", "fe80::1/64", "2001:db8::1/64"]
[nat44]
inside = ["home"]
outside = "internet"
pool = ["198.51.100.0/28", "198.51.100.20", "198.51.100.30-198.51.100.33"]
"#;

/// A key of each kind that `SMALL` lacks, for the properties at the end.
const FUNCTIONS: &str = r#"
[hosts]
capacity = 10
store = "/var/lib/ces/small.hosts"
pending_reservations = 4
reservations_per_second = 20
[[host]]
name = "A.Ces.Example."
realm = "home"
addresses = ["10.0.0.2", "fd00::2"]
group = "staff"
pending_reservations = 2
reservations_per_second = 3
[[host.services]]
name = "www.ces.example"
protocol = "tcp"
port = 443
[[host.services]]
name = "any.ces.example"
protocol = 50
port = "any"
[prgw]
pool = ["192.0.2.64/28", "192.0.2.100-192.0.2.101"]
reservations = 100
timeout_ms = 1000
timeout_least_ms = 100
adaptive = true
per_resolver = 4
trusted_resolvers = ["192.0.2.53", "2001:db8:5::/48"]
good = 70
remembered = 1024
first_packets_per_source_per_second = 10
[[prgw.tiers]]
proof = "nothing"
[[prgw.tiers]]
asker = 40
[[prgw.tiers]]
source = 30
[[prgw.tiers]]
proof = "label-by-tcp"
[ipv6]
inside = ["home"]
outside = "internet"
sessions = 4096
allow_ipsec = false
[ipv6.timeouts]
udp = 300
other = 60
[exception]
netns = "ces-small"
interfaces = ["wan", "in-100"]
[limits]
echo_per_second = 10
neighbor_messages_per_second = 10
exception_per_second = 10
exception_per_source_per_second = 10
dns_per_second = 10
dns_per_source_per_second = 10
subscriber_packets_per_second = 1000
fragment_datagrams = 1000
fragment_datagrams_per_source = 10
fragment_hold = 100
fragment_hold_per_source = 50
fragment_timeout = 30
[[port]]
name = "more"
device = "net_tap3"
rx_packets_per_second = 100_000
vlan_offload = false
[[realm]]
name = "office"
side = "inside"
source_check = "loose"
bogons = ["127.0.0.0/8", "fec0::/10"]
remote = "real"
proxies_per_host = 20
[[realm]]
name = "lan"
side = "inside"
bogons = "rfc6890"
public = ["198.51.101.0/24", "2001:db8:9::/48"]
[[interface]]
port = "more"
realm = "lan"
[[interface]]
port = "in"
realm = "office"
vlan = 100
mtu = 1400
tcp_mss = 1300
addresses = ["10.0.0.1/16"]
[[interface]]
port = "more"
realm = "office"
vlan = [200, 100]
mtu = 1280
tcp_mss = "off"
addresses = ["10.1.0.1/16", "2001:db8:1::1/64"]
"#;

fn accepted(text: &str) -> Config {
    config::parse("test.toml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn configs() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let files = std::fs::read_dir(directory).expect("configs/").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

#[test]
fn every_file_of_configs_is_accepted() {
    let names: Vec<String> = configs()
        .iter()
        .map(|path| {
            if let Err(errors) = config::load(path) {
                panic!("{errors}");
            }
            path.file_stem().expect("a name").to_string_lossy().into_owned()
        })
        .collect();
    for name in ["lab", "pcap", "null", "bench", "bare-metal"] {
        assert!(names.iter().any(|found| found == name), "configs/{name}.toml is missing");
    }
}

#[test]
fn defaults_are_filled_in() {
    let config = accepted(SMALL);
    assert_eq!(config.instance.runtime_dir, Path::new("/run/ces"));
    assert_eq!(config.manage.socket, Path::new("/run/ces/small.sock"));
    assert_eq!(config.manage.log, "info");
    assert_eq!((config.eal.huge_pages, config.eal.mbuf_data_room), (HugePages::Auto, 2176));
    assert_eq!((config.eal.memory_mb, config.eal.mbufs, config.eal.args.len()), (None, None, 0));
    let workers = &config.workers;
    assert_eq!((workers.distribute, workers.idle, workers.stop), (Distribute::Rss, Idle::Poll, Stop::Signal));
    assert_eq!(workers.control_core, None);
    let port = &config.ports[0];
    assert_eq!((port.mtu, port.rx_descriptors, port.tx_descriptors), (1500, 1024, 1024));
    assert_eq!((port.queues, port.owner, port.mac), (2, None, None), "a queue for each worker");
    assert_eq!((config.flow.sessions, config.flow.neighbors), (65_536, 1024));
    let limits = config.limits;
    assert_eq!((limits.icmp_errors_per_second, limits.arp_per_second), (1000, 1000));
    assert_eq!((limits.neighbor_hold, limits.neighbor_hold_total), (8, 1024));
    assert_eq!((limits.echo_per_second, limits.neighbor_messages_per_second), (10_000, 20_000));
    assert_eq!((limits.exception_per_second, limits.exception_per_source_per_second), (20_000, 2000));
    assert_eq!((limits.dns_per_second, limits.dns_per_source_per_second), (200_000, 5000));
    assert_eq!(limits.subscriber_packets_per_second, None);
    let fragments = limits.fragments;
    assert_eq!((fragments.datagrams, fragments.datagrams_per_source), (4096, 64));
    assert_eq!((fragments.hold, fragments.hold_per_source, fragments.timeout), (1024, 128, 15));
    assert_eq!((port.rx_packets_per_second, port.vlan_offload), (None, true));
    let interface = &config.interfaces[0];
    assert_eq!((interface.vlan, interface.mtu, interface.tcp_mss), (Vlan::Untagged, 1500, TcpMss::Auto));
    let checks: Vec<_> = config.realms.iter().map(|realm| (realm.source_check, realm.bogons.len())).collect();
    assert_eq!(checks, [(SourceCheck::Strict, 0), (SourceCheck::Off, 0)], "by the side");
    assert_eq!((config.ipv6, config.exception), (None, None));
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn a_port_has_an_interface_for_each_vlan() {
    let config = accepted(&format!(
        "{SMALL}
[[interface]]
port = \"in\"
realm = \"home\"
vlan = 100
addresses = [\"10.1.0.1/24\"]
[[interface]]
port = \"in\"
realm = \"home\"
vlan = [100, 4094]
[[interface]]
name = \"tagged\"
port = \"out\"
realm = \"internet\"
vlan = [1, 1]
mtu = 1400
tcp_mss = 1360
[[interface]]
port = \"out\"
realm = \"internet\"
vlan = 100
mtu = 68
tcp_mss = \"off\"
"
    ));
    let of = |index: usize| {
        let interface = &config.interfaces[index];
        (interface.name.as_str(), interface.port, interface.vlan)
    };
    assert_eq!(of(0), ("in", 0, Vlan::Untagged));
    assert_eq!(of(2), ("in-100", 0, Vlan::Single(100)));
    assert_eq!(
        of(3),
        ("in-100-4094", 0, Vlan::Double { outer: 100, inner: 4094 }),
        "its first tag is an S-tag"
    );
    assert_eq!(of(4), ("tagged", 1, Vlan::Double { outer: 1, inner: 1 }));
    assert_eq!(of(5), ("out-100", 1, Vlan::Single(100)), "other ports' VLANs are others");
    assert_eq!((config.interfaces[4].mtu, config.interfaces[4].tcp_mss), (1400, TcpMss::AtMost(1360)));
    assert_eq!((config.interfaces[5].mtu, config.interfaces[5].tcp_mss), (68, TcpMss::Off));
    let shown = config.to_string();
    assert!(shown.contains("net_tap0,iface=a,mac=fixed VLAN [100, 4094] in realm \"home\""), "{shown}");
}

#[test]
fn an_interfaces_mtu_is_its_ports() {
    let jumbo = SMALL.replace("name = \"out\"\n", "name = \"out\"\nmtu = 9000\nvlan_offload = false\n");
    let config = accepted(&jumbo.replace("name = \"wan\"", "name = \"wan\"\ntcp_mss = 8960"));
    assert_eq!((config.interfaces[0].mtu, config.interfaces[1].mtu), (1500, 9000));
    assert_eq!(config.interfaces[1].tcp_mss, TcpMss::AtMost(8960));
    assert!(!config.ports[1].vlan_offload);
    let least = accepted(&jumbo.replace("name = \"wan\"", "name = \"wan\"\nmtu = 1280"));
    assert_eq!(least.interfaces[1].mtu, 1280, "just enough for IPv6");
}

#[test]
fn sources_are_checked_as_written() {
    let inside = "side = \"inside\"\nsource_check = \"loose\"\nbogons = [\"127.0.0.0/8\", \"fc00::/7\"]";
    let outside = "side = \"outside\"\nsource_check = \"strict\"\nbogons = \"rfc6890\"";
    let text = SMALL
        .replace("side = \"inside\"", inside)
        .replace("side = \"outside\"", outside)
        .replace("203.0.113.1/24", "8.8.8.1/24")
        .replace("2001:db8::1/64", "2600::1/64");
    let config = accepted(&text);
    assert_eq!(config.realms[0].source_check, SourceCheck::Loose);
    assert_eq!(
        config.realms[0].bogons.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["127.0.0.0/8", "fc00::/7"]
    );
    assert_eq!(config.realms[1].source_check, SourceCheck::Strict);
    let ranges = &config.realms[1].bogons;
    assert_eq!(ranges.len(), 21);
    let is_bogon = |address: &str| {
        let address: std::net::IpAddr = address.parse().expect("an address");
        ranges.iter().any(|range| range.contains(&address))
    };
    for address in
        ["10.1.2.3", "100.127.0.1", "192.0.0.8", "255.255.255.255", "::", "::1", "fd00::1", "2001:2::1"]
    {
        assert!(is_bogon(address), "{address}");
    }
    for address in ["9.9.9.9", "100.128.0.1", "192.0.1.1", "224.0.0.1", "fe80::1", "2001:3::1", "2600::2"] {
        assert!(!is_bogon(address), "{address}");
    }
    assert_eq!(
        accepted(&SMALL.replace("side = \"inside\"", "side = \"inside\"\nbogons = []")).realms[0].bogons,
        []
    );
}

#[test]
fn remote_hosts_are_seen_as_written() {
    let dns = "[dns]\nupstreams = [{ address = \"203.0.113.53\" }]\n[[dns.zones]]\napex = \"ces.example\"\n\
               [[dns.zones.name_servers]]\nname = \"ns1.ces.example\"\naddresses = [\"203.0.113.1\"]\n";
    let config = |keys: &str, more: &str| {
        accepted(&format!(
            "{}{dns}{more}",
            SMALL.replace("side = \"inside\"", &format!("side = \"inside\"\n{keys}"))
        ))
    };
    let home = |config: &Config| {
        let realm = &config.realms[0];
        (realm.remote, realm.proxies(), realm.proxies_per_host)
    };
    assert_eq!(home(&config("", "")), (Remote::Real, 0, 1));
    let proxies = |addresses: &str| format!("remote = \"proxy\"\nproxy_addresses = [{addresses}]\n");
    let seen = config(&proxies("\"172.16.64.0/18\""), "");
    assert_eq!(home(&seen), (Remote::Proxy, 16_384, 1024));
    assert!(!seen.warnings.iter().any(|warning| warning.contains("proxy")), "{:?}", seen.warnings);
    assert!(seen.to_string().contains(", 16384 proxy addresses"), "{seen}");
    assert_eq!(home(&config(&proxies("\"172.16.64.0/25\""), "")), (Remote::Proxy, 128, 16));
    assert_eq!(home(&config(&proxies("\"172.16.64.1\", \"172.16.64.4/30\""), "")), (Remote::Proxy, 5, 5));
    let own = format!("{}proxies_per_host = 7", proxies("\"172.16.64.0/18\""));
    assert_eq!(home(&config(&own, "")), (Remote::Proxy, 16_384, 7));
    // The same ones in another realm, hosts of which have addresses that are proxies elsewhere; and a wider route.
    let office = "[[realm]]\nname = \"office\"\nside = \"inside\"\n[[port]]\nname = \"office\"\ndevice = \"net_null7\"\n\
                  [[interface]]\nport = \"office\"\nrealm = \"office\"\naddresses = [\"172.16.64.1/24\"]\n\
                  [[host]]\nname = \"a.ces.example\"\nrealm = \"office\"\naddresses = [\"172.16.64.9\"]\n\
                  [[route]]\nrealm = \"home\"\nprefix = \"172.16.0.0/12\"\nvia = \"10.0.0.9\"\n";
    config(&proxies("\"172.16.64.0/18\""), office);
}

#[test]
fn public_addresses_that_are_only_answered_are_warned_of() {
    let text = |outside: &str| {
        let public = "side = \"inside\"\npublic = [\"2001:db8:9::/48\"]";
        let ipv6 = format!("[ipv6]\ninside = [\"{outside}\"]\noutside = \"internet\"\n");
        let realm = "[[realm]]\nname = \"more\"\nside = \"inside\"\n[[interface]]\nport = \"in\"\nvlan = 9\nrealm = \"more\"\n";
        format!("{}{realm}{ipv6}", SMALL.replacen("side = \"inside\"", public, 1))
    };
    let warnings = accepted(&text("home")).warnings;
    assert!(
        warnings.len() == 1 && warnings[0].contains("RFC 6092") && warnings[0].contains("realm.public"),
        "{warnings:?}"
    );
    assert_eq!(accepted(&text("more")).warnings, Vec::<String>::new());
}

#[test]
fn public_prefixes_are_of_their_realm() {
    let realms = "[hosts]\n[[realm]]\nname = \"servers\"\nside = \"inside\"\npublic = [\"192.0.2.128/25\", \"2001:db8:9::/48\"]\n\
        [[realm]]\nname = \"more\"\nside = \"inside\"\npublic = [\"192.0.2.0/28\"]\n";
    let config = accepted(&format!("{SMALL}{realms}"));
    let id = |name: &str| config.realms.iter().find(|realm| realm.name == name).map(|realm| realm.id);
    let of_public = |address: &str| {
        let address = address.parse().expect("an address");
        config.hosts.as_ref().expect("a register").realms.of_public(address)
    };
    for (address, realm) in [
        ("192.0.2.0", id("more")),
        ("192.0.2.15", id("more")),
        ("192.0.2.16", None),
        ("192.0.2.127", None),
        ("192.0.2.128", id("servers")),
        ("192.0.2.255", id("servers")),
        ("192.0.3.0", None),
        ("2001:db8:9:ffff::1", id("servers")),
        ("2001:db8:a::", None),
        ("0.0.0.1", None),
    ] {
        assert_eq!(of_public(address), realm, "{address}");
    }
}

#[test]
fn ipv6_is_sized_by_sessions_and_workers() {
    let ipv6 = |more: &str| {
        let text = format!("{SMALL}[ipv6]\ninside = [\"home\"]\noutside = \"internet\"\n{more}");
        let config = accepted(&text);
        assert_eq!(config.warnings, Vec::<String>::new());
        config.ipv6.expect("ipv6")
    };
    let default = ipv6("");
    assert_eq!((default.inside.as_slice(), default.outside), (&[1][..], 2));
    assert_eq!((default.sessions, default.allow_ipsec), (65_536 / 4, true));
    let times = default.timeouts;
    assert_eq!((times.udp, times.tcp_established, times.tcp_transitory), (300, 7440, 240));
    assert_eq!((times.icmp, times.other), (60, 300));
    assert_eq!(ipv6("[flow]\nsessions = 4096\n").sessions, 2048, "1,024 for each of two workers");
    let written = ipv6("sessions = 2048\nallow_ipsec = false\ntimeouts.udp = 120\ntimeouts.other = 1\n");
    assert_eq!((written.sessions, written.allow_ipsec), (2048, false));
    assert_eq!((written.timeouts.udp, written.timeouts.other), (120, 1));
}

#[test]
fn link_local_addresses_are_no_overlap_between_realms() {
    let text = SMALL.replace("\"10.0.0.1/24\"", "\"10.0.0.1/24\", \"fe80::1/64\"");
    let text = format!("{text}[ipv6]\ninside = [\"home\"]\noutside = \"internet\"\n");
    accepted(&text);
    let other = "[[interface]]\nport = \"in\"\nvlan = 5\nrealm = \"home\"\naddresses = [\"fe80::1/64\"]\n";
    accepted(&format!("{text}{other}"));
    // What isn't forwarded as it is may overlap.
    accepted(&SMALL.replace("\"10.0.0.1/24\"", "\"10.0.0.1/24\", \"2001:db8::2/64\""));
}

#[test]
fn exceptions_go_to_every_interface_with_an_address_or_to_those_named() {
    let bare = "[[interface]]\nname = \"lo\"\nport = \"in\"\nvlan = 5\nrealm = \"home\"\n";
    let exception = |interfaces: &str| {
        let text = format!("{SMALL}{bare}[exception]\nnetns = \"ces-1_x\"\n{interfaces}");
        accepted(&text).exception.expect("exception")
    };
    assert_eq!(exception("").netns, "ces-1_x");
    assert_eq!(exception("").interfaces, [0, 1], "the one without an address is none");
    assert_eq!(exception("interfaces = [\"wan\"]").interfaces, [1]);
    // An address may be the edge's in two realms where the kernel has one of them, and a link-local one in both.
    let twins = "[[realm]]\nname = \"twin\"\nside = \"inside\"\n\
        [[interface]]\nname = \"a\"\nport = \"in\"\nvlan = 6\nrealm = \"twin\"\naddresses = [\"fe80::1/64\", \"10.0.0.1/24\"]\n\
        [[interface]]\nname = \"b\"\nport = \"in\"\nvlan = 7\nrealm = \"home\"\naddresses = [\"fe80::1/64\"]\n\
        [exception]\nnetns = \"ces\"\ninterfaces = [\"a\", \"b\"]\n";
    assert_eq!(accepted(&format!("{SMALL}{twins}")).exception.expect("exception").interfaces.len(), 2);
}

#[test]
fn all_functions_are_accepted_together() {
    let config = accepted(&format!("{SMALL}{FUNCTIONS}"));
    assert_eq!(config.warnings, Vec::<String>::new());
    let shown = config.to_string();
    assert!(
        shown.ends_with(
            "ipv6 with 4096 sessions, 1 of at most 10 hosts, a circular pool of 18 address(es), exceptions to namespace \"ces-small\""
        ),
        "{shown}"
    );
}

#[test]
fn hosts_are_taken_as_written() {
    assert_eq!(accepted(SMALL).hosts, None);
    let hosts = accepted(&format!("{SMALL}[hosts]\n")).hosts.expect("a register");
    assert_eq!((hosts.capacity, hosts.store), (65_536, None));
    assert_eq!((hosts.pending_reservations, hosts.reservations_per_second), (16, 50));
    let text = format!("{SMALL}[[host]]\nname = \"b.ces.example\"\nrealm = \"home\"\naddresses = []\n");
    assert_eq!(accepted(&text).hosts.expect("a register").hosts[0].addresses, [] as [std::net::IpAddr; 0]);

    let hosts = accepted(&format!("{SMALL}{FUNCTIONS}")).hosts.expect("a register");
    assert_eq!((hosts.pending_reservations, hosts.reservations_per_second), (4, 20));
    assert_eq!(hosts.store, Some("/var/lib/ces/small.hosts".into()));
    let host = &hosts.hosts[0];
    assert_eq!((host.name.as_str(), host.realm, host.group.as_deref()), ("a.ces.example", 1, Some("staff")));
    assert_eq!((host.pending_reservations, host.reservations_per_second), (Some(2), Some(3)));
    let addresses: Vec<String> = host.addresses.iter().map(|address| address.to_string()).collect();
    assert_eq!(addresses, ["10.0.0.2", "fd00::2"]);
    let services: Vec<_> =
        host.services.iter().map(|s| (s.name.as_str(), s.target.protocol, s.target.port)).collect();
    assert_eq!(services, [("www.ces.example", Some(6), Some(443)), ("any.ces.example", Some(50), None)]);
}

#[test]
fn limits_are_taken_as_written() {
    let config = accepted(&format!(
        "{SMALL}[limits]\necho_per_second = 0\nneighbor_messages_per_second = 1\nexception_per_second = 0\n\
         subscriber_packets_per_second = 100\nfragment_datagrams = 64\nfragment_hold = 64\nfragment_timeout = 120\n"
    ));
    let limits = config.limits;
    assert_eq!((limits.echo_per_second, limits.neighbor_messages_per_second), (0, 1));
    assert_eq!((limits.exception_per_second, limits.subscriber_packets_per_second), (0, Some(100)));
    let fragments = limits.fragments;
    assert_eq!((fragments.datagrams, fragments.hold, fragments.timeout), (64, 64, 120));
    assert_eq!((fragments.datagrams_per_source, fragments.hold_per_source), (64, 64), "no more than all");
    let text = SMALL.replace("name = \"out\"\n", "name = \"out\"\nrx_packets_per_second = 1_000_000_000\n");
    assert_eq!(accepted(&text).ports[1].rx_packets_per_second, Some(1_000_000_000));
}

#[test]
fn names_become_indices() {
    let config = accepted(SMALL);
    let vdev = Device::Vdev { name: "net_tap0".into(), args: "iface=a,mac=fixed".into() };
    assert_eq!(config.ports[0].device, vdev);
    assert_eq!(vdev.to_string(), "net_tap0,iface=a,mac=fixed");
    assert_eq!(config.ports[1].device, Device::Pci("0000:0a:00.1".into()), "lower-case");
    let realms: Vec<_> =
        config.realms.iter().map(|realm| (realm.id, realm.name.as_str(), realm.side)).collect();
    assert_eq!(realms, [(1, "home", Side::Inside), (2, "internet", Side::Outside)]);
    let interfaces: Vec<_> = config
        .interfaces
        .iter()
        .map(|it| (it.name.as_str(), it.port, it.realm, it.addresses.len()))
        .collect();
    assert_eq!(interfaces, [("in", 0, 1, 1), ("wan", 1, 2, 3)], "the first is named by its port");
}

#[test]
fn translation_is_sized_by_pool_and_sessions() {
    let nat = accepted(SMALL).nat44.expect("nat44");
    let b = nat.pools[0].behaviour;
    assert_eq!((nat.inside.as_slice(), nat.outside), (&[1][..], 2));
    assert_eq!(nat.pools[0].addresses.iter().map(|range| range.count()).collect::<Vec<_>>(), [16, 1, 4]);
    assert!(nat.pools[0].addresses[2].contains(Ipv4Addr::new(198, 51, 100, 33)));
    assert!(!nat.pools[0].addresses[2].contains(Ipv4Addr::new(198, 51, 100, 34)));
    assert_eq!((nat.addresses(), nat.pools[0].behaviour.blocks_per_address()), (21, 1008));
    assert_eq!(nat.subscribers, 21 * 1008, "a block each");
    assert_eq!((nat.pools[0].behaviour.ports.first, nat.pools[0].behaviour.ports.last), (1024, 65_535));
    assert_eq!((b.block_size, b.blocks_per_subscriber, nat.mappings), (64, 8, 65_536));
    assert_eq!(
        (b.mapping, b.filtering, nat.hairpin),
        (Dependence::EndpointIndependent, Dependence::EndpointIndependent, true)
    );
    assert_eq!((nat.inbound_sessions_per_mapping, nat.random_seed), (64, None));
    let times = nat.timeouts;
    assert_eq!((times.udp, times.tcp_established, times.tcp_transitory, times.icmp), (300, 7440, 240, 60));
    assert_eq!((times.tcp_opening, times.udp_inbound_refresh, times.udp_ports), (240, false, vec![]));

    let few = accepted(&format!("{SMALL}ports = \"1024-1087\"\n[flow]\nsessions = 2048\n"));
    let nat = few.nat44.expect("nat44");
    assert_eq!(
        (nat.pools[0].behaviour.blocks_per_subscriber, nat.subscribers),
        (1, 21),
        "one block an address"
    );
    let few = accepted(&format!("{SMALL}[flow]\nsessions = 2048\n"));
    assert_eq!(few.nat44.expect("nat44").subscribers, 2048, "a session each");
}

const POOL: &str = r#"pool = ["198.51.100.0/28", "198.51.100.20", "198.51.100.30-198.51.100.33"]"#;

/// Pools of every kind in the place of the one of `SMALL`, for the properties at the end too.
const POOLS: &str = r#"mapping = "address-dependent"
block_size = 512
first_block_size = 64
blocks_per_subscriber = 4
sessions_per_subscriber = 2000
new_sessions_per_second = 100
port_cool_down = 300
[[nat44.pools]]
name = "homes"
addresses = ["198.51.100.0/28", "198.51.100.20"]
filtering = "address-and-port-dependent"
port_selection = "preserve"
ports = "4096-65535"
[[nat44.pools]]
name = "formula"
addresses = ["198.51.101.0/30"]
realms = ["home"]
subscribers = ["10.0.0.0/25", "10.0.1.0/24"]
deterministic = true
mapping = "endpoint-independent"
[[nat44.pools]]
name = "whole"
addresses = ["198.51.102.0-198.51.102.3"]
subscribers = ["10.0.0.0/24"]
whole_address = true
deterministic = false
port_selection = "preserve-parity"
[[nat44.pools]]
name = "small"
addresses = ["198.51.103.0"]
block_size = 128
blocks_per_subscriber = 2
"#;

#[test]
fn pools_inherit_what_they_do_not_say() {
    let config = accepted(&SMALL.replace(POOL, POOLS));
    assert_eq!(config.warnings, Vec::<String>::new());
    let nat = config.nat44.expect("nat44");
    assert_eq!((nat.sessions_per_subscriber, nat.new_sessions_per_second), (2000, Some(100)));
    assert_eq!((nat.port_cool_down, nat.addresses()), (300, 17 + 4 + 4 + 1));
    let [homes, formula, whole, small] = &nat.pools[..] else { panic!("{:?}", nat.pools) };
    let names = [homes, formula, whole, small].map(|pool| pool.name.as_str());
    assert_eq!(names, ["homes", "formula", "whole", "small"], "in the order of the file");
    assert!(nat.pools.iter().all(|pool| pool.realms == nat.inside), "of all realms by default");

    let b = homes.behaviour;
    assert_eq!((b.mapping, b.filtering), (Dependence::AddressDependent, Dependence::AddressAndPortDependent));
    assert_eq!((b.port_selection, b.ports.first), (PortSelection::Preserve, 4096));
    assert_eq!((b.first_block_size, b.block_size, b.blocks_per_subscriber), (64, 512, 4));
    // 61,440 ports: 106 who may have 64 and 512 each, and one more block of 512 in what is left.
    assert_eq!((homes.sharing, b.blocks_per_address(), homes.room()), (Sharing::Blocks, 212, 17 * 106));

    let b = formula.behaviour;
    assert_eq!((b.mapping, b.filtering), (Dependence::EndpointIndependent, Dependence::EndpointIndependent));
    assert_eq!((formula.sharing, formula.room()), (Sharing::Deterministic, 128 + 256));
    assert_eq!(
        formula.subscribers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.0/25", "10.0.1.0/24"]
    );
    assert_eq!((whole.sharing, whole.room()), (Sharing::WholeAddress, 4));
    assert_eq!(whole.behaviour.port_selection, PortSelection::PreserveParity);
    // A size written here is that of the first blocks too.
    let b = small.behaviour;
    assert_eq!((b.first_block_size, b.block_size, b.blocks_per_subscriber), (128, 128, 2));
    assert_eq!((b.blocks_per_address(), small.room()), (504, 504));
    assert_eq!(nat.subscribers, 17 * 106 + 384 + 4 + 504);
}

#[test]
fn pools_may_serve_the_same_hosts_and_use_every_limit() {
    // Of two that serve a host the first has it, and the other when that is drained or full.
    let twice = POOLS.replace("\"10.0.0.0/25\", \"10.0.1.0/24\"", "\"10.0.0.0/24\"");
    accepted(&SMALL.replace(POOL, &twice));
    for limits in [
        "sessions_per_subscriber = 1\nnew_sessions_per_second = 1\nport_cool_down = 86_400",
        "sessions_per_subscriber = 67_108_864\nnew_sessions_per_second = 1_000_000\nport_cool_down = 120",
        "inbound_sessions_per_mapping = 65_535\nblocks_per_subscriber = 1\nport_selection = \"random\"",
        "block_size = 4096\nfirst_block_size = 64\nports = \"4096-65535\"\nblocks_per_subscriber = 15",
    ] {
        let config = accepted(&format!("{SMALL}{limits}\n"));
        assert_eq!(config.warnings, Vec::<String>::new(), "{limits}");
    }
    // A block each, and not one subscriber more: 64 ports of 64,512 to each of 1,008 on an address.
    let pool = "[[nat44.pools]]\nname = \"f\"\naddresses = [\"198.51.100.0\"]\ndeterministic = true\n";
    let most = format!(
        "{pool}subscribers = [\"10.0.0.0/23\", \"10.0.2.0/24\", \"10.0.3.0/25\", \"10.0.3.128/26\"]\n"
    );
    let nat = accepted(&SMALL.replace(POOL, &most)).nat44.expect("nat44");
    assert_eq!((nat.pools[0].determined_subscribers(), nat.subscribers), (960, 960));
    let both = SMALL.replace("inside = [\"home\"]", "inside = [\"home\", \"office\"]");
    let both = format!("[[realm]]\nname = \"office\"\nside = \"inside\"\n{}", both.replace(POOL, &most));
    let refused = config::parse("test.toml", &both).expect_err("twice as many").to_string();
    assert!(refused.contains("1920 subscribers share 1 address(es)"), "{refused}");
}

#[test]
fn routes_find_their_interfaces() {
    let config = accepted(&format!(
        "{SMALL}
[[route]]
realm = \"internet\"
prefix = \"0.0.0.0/0\"
via = \"203.0.113.254\"
[[route]]
realm = \"internet\"
prefix = \"::/0\"
via = \"fe80::2\"
interface = \"wan\"
[[route]]
realm = \"home\"
prefix = \"192.168.0.0/16\"
via = \"172.16.0.1\"
interface = \"in\"
[[route]]
realm = \"home\"
prefix = \"172.16.0.0/12\"
interface = \"in\"
[[route]]
realm = \"home\"
prefix = \"10.0.0.0/8\"
blackhole = true
unreachable = false
[[route]]
realm = \"home\"
prefix = \"10.1.0.0/16\"
unreachable = true
[[route]]
realm = \"home\"
prefix = \"10.2.0.0/16\"
prohibit = true
[[route]]
realm = \"internet\"
prefix = \"198.51.100.0/24\"
via = [\"203.0.113.254\", \"203.0.113.253\"]
[[route]]
realm = \"home\"
prefix = \"192.0.2.0/24\"
via = [\"172.16.0.1\", \"172.16.0.3\"]
interface = \"in\"
[[route]]
realm = \"home\"
prefix = \"192.0.3.0/24\"
via = [\"172.16.0.1\"]
interface = \"in\"
[[neighbor]]
interface = \"in\"
address = \"172.16.0.1\"
mac = \"02:00:00:00:00:01\"
"
    ));
    let gateways = |addresses: &[&str], interface| {
        let next_hop =
            |address: &&str| NextHop { interface, gateway: Some(address.parse().expect("an address")) };
        RouteTarget::NextHops(addresses.iter().map(next_hop).collect())
    };
    let gateway = |address: &str, interface| gateways(&[address], interface);
    let targets: Vec<RouteTarget> = config.routes.iter().map(|route| route.target.clone()).collect();
    let expected = [
        gateway("203.0.113.254", 1),
        gateway("fe80::2", 1),
        gateway("172.16.0.1", 0),
        RouteTarget::NextHops(vec![NextHop { interface: 0, gateway: None }]),
        RouteTarget::Blackhole,
        RouteTarget::Unreachable,
        RouteTarget::Prohibit,
        gateways(&["203.0.113.254", "203.0.113.253"], 1),
        gateways(&["172.16.0.1", "172.16.0.3"], 0),
        gateway("172.16.0.1", 0),
    ];
    assert_eq!(targets, expected);
    assert_eq!(config.neighbors[0].mac, [2, 0, 0, 0, 0, 1]);
}

#[test]
fn two_realms_may_have_the_same_prefix_and_point_to_point_links_both_addresses() {
    let text = SMALL.replace("\"203.0.113.1/24\"", "\"10.0.0.1/24\"").replace("10.0.0.1/24", "10.0.0.0/31");
    assert_eq!(accepted(&text).interfaces[1].addresses[0].to_string(), "10.0.0.0/31");
}

#[test]
fn life_times_have_parts_of_their_own() {
    let timeouts = |text: &str| {
        let config = accepted(&format!("{SMALL}[nat44.timeouts]\n{text}"));
        (config.nat44.expect("nat44").timeouts, config.warnings)
    };
    let (times, warnings) = timeouts("tcp_transitory = 300\n");
    assert_eq!(
        (times.tcp_opening, times.tcp_transitory),
        (300, 300),
        "as transitory where nothing else is said"
    );
    assert!(warnings.is_empty());
    let (times, warnings) = timeouts("tcp_opening = 30\nudp_inbound_refresh = true\n");
    assert_eq!((times.tcp_opening, times.tcp_transitory, times.udp_inbound_refresh), (30, 240, true));
    assert!(warnings.is_empty(), "RFC 7857 section 2.1 allows less: {warnings:?}");
    let (times, warnings) =
        timeouts("udp_ports = { \"4500\" = 900, \"53\" = 20, \"1023\" = 1, \"1024\" = 120 }\n");
    assert_eq!(times.udp_ports, [(53, 20), (1023, 1), (1024, 120), (4500, 900)]);
    assert!(warnings.is_empty(), "shorter below 1,024 is RFC 4787 REQ-5 a's: {warnings:?}");
}

#[test]
fn hosts_may_ask_for_mappings_where_the_operator_says_so() {
    let pcp = |text: &str| {
        let config = accepted(&format!("{SMALL}{text}"));
        (config.nat44.expect("nat44").pcp, config.warnings.len())
    };
    assert_eq!(pcp(""), (None, 0), "off where nothing is written");
    assert_eq!(pcp("[nat44.pcp]\nenabled = false\n"), (None, 0));
    let (defaults, warnings) = pcp("[nat44.pcp]\n");
    let p = defaults.expect("on");
    assert_eq!((p.lifetime_min, p.lifetime_max, p.mappings_per_subscriber), (120, 86_400, 32));
    assert_eq!((p.mappings, p.requests_per_second, warnings), (65_536, 1000, 0));
    let all = "lifetime_min = 60\nlifetime_max = 864_000\nmappings = 9\nmappings_per_subscriber = 2\nrequests_per_second = 7\n";
    let (all, warnings) = pcp(&format!("[nat44.pcp]\n{all}"));
    let p = all.expect("on");
    assert_eq!((p.lifetime_min, p.lifetime_max, p.mappings), (60, 864_000, 9));
    assert_eq!(
        (p.mappings_per_subscriber, p.requests_per_second, warnings),
        (2, 7, 1),
        "less than the RFC's is warned of"
    );
}

#[test]
fn the_circular_pool_has_defaults_by_its_size_and_every_number_of_the_operators() {
    let prgw = |text: &str| {
        let config =
            accepted(&format!("{SMALL}[hosts]\n[prgw]\npool = [\"192.0.2.0/24\", \"192.0.3.7\"]\n{text}"));
        assert!(
            config.warnings.is_empty() && config.to_string().contains("a circular pool of 257 address(es)")
        );
        config.prgw.expect("it is written")
    };
    assert_eq!(accepted(SMALL).prgw, None);
    let p = prgw("");
    assert_eq!((p.reservations, p.per_resolver), (4096 + 514, 128));
    assert_eq!((p.timeout_ms, p.timeout_least_ms, p.adaptive, p.good), (2000, 200, true, 70));
    assert_eq!((p.first_packets_per_second, p.first_packets_per_source_per_second), (200_000, 2000));
    let numbers = "reservations = 100\ntimeout_ms = 150\nadaptive = false\nper_resolver = 2\ntrusted_resolvers = [\"192.0.2.53\", \"2001:db8:5::/48\"]\ngood = 80\n\
        remembered = 2000\nrejects = 3000\nsession_pairs = 4000\nfirst_packets_per_second = 5\n\
        first_packets_per_source_per_second = 6\n";
    let tier = |n| format!("[[prgw.tiers]]\nproof = \"label\"\nasker = {n}\nsource = {n}\n");
    let p = prgw(&format!("{numbers}{}", (1..=4).map(tier).collect::<String>()));
    assert_eq!((p.reservations, p.per_resolver, p.good), (100, 2, 80));
    assert_eq!((p.timeout_ms, p.timeout_least_ms, p.adaptive), (150, 150, false));
    let trusted: Vec<String> = p.trusted_resolvers.iter().map(ToString::to_string).collect();
    assert_eq!(trusted, ["192.0.2.53/32", "2001:db8:5::/48"]);
    assert_eq!((p.remembered, p.rejects, p.session_pairs), (2000, 3000, 4000));
    assert_eq!((p.first_packets_per_second, p.first_packets_per_source_per_second), (5, 6));
    let tiers = p.tiers.map(|tier| (tier.proof, tier.asker, tier.source));
    assert_eq!(tiers, [1, 2, 3, 4].map(|n| (config::PrgwProof::Label, n, n)));
    assert_eq!(p.addresses(), 257);
}

#[test]
fn tunnels_end_at_own_addresses_and_have_defaults() {
    let edge = "[hosts]\n[dns]\n[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"2001:db8::1\", \"203.0.113.1\"]\n\
        [[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns.other.example\"\n";
    let config = accepted(&format!("{SMALL}{edge}[cetp]\n"));
    let tunnels = config.tunnels.as_ref().expect("it is written");
    assert_eq!((tunnels.port, tunnels.sessions, tunnels.edges), (48_001, 65_536, 1024));
    assert_eq!(tunnels.ethernet, [] as [u16; 0]);
    let rlocs: Vec<_> = tunnels.rlocs.iter().map(|rloc| (rloc.address.to_string(), rloc.interface)).collect();
    assert_eq!(rlocs, [("2001:db8::1".to_owned(), 1), ("203.0.113.1".to_owned(), 1)]);
    assert!(config.to_string().ends_with(", tunnels for 65536 sessions"), "{config}");
    let numbers = "port = 4800\nsessions = 10\nedges = 3\nethernet = [\"wan\", \"in\"]\n[cetp.identity]\n";
    let tunnels = accepted(&format!("{SMALL}{edge}[cetp]\n{numbers}")).tunnels.expect("it is written");
    assert_eq!((tunnels.port, tunnels.sessions, tunnels.edges), (4800, 10, 3));
    assert_eq!(tunnels.ethernet, [1, 0]);
    // Who says only who the edge is has tunnels where it can, and needs none.
    let identity = "[cetp.identity]\n";
    assert_eq!(accepted(&format!("{SMALL}{edge}")).tunnels, None);
    assert!(accepted(&format!("{SMALL}{edge}{identity}")).tunnels.is_some());
    for without in ["", &edge.replace("203.0.113.1", "203.0.113.9"), &edge["[hosts]\n".len()..]] {
        assert_eq!(accepted(&format!("{SMALL}{without}{identity}")).tunnels, None, "{without}");
    }
}

#[test]
fn sleeping_workers_share_a_core() {
    let text = SMALL.replace("cores = [3, 4]", "cores = [1, 1]\nidle = \"sleep\"");
    assert_eq!(accepted(&text).workers.cores, [1, 1]);
}

#[test]
fn what_is_odd_is_warned_about_at_its_place() {
    let warned = |piece: &str, with: &str| {
        let warnings = accepted(&SMALL.replacen(piece, with, 1)).warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        warnings[0].clone()
    };
    let nat = "[nat44]\n";
    let udp = warned(nat, "[nat44]\ntimeouts.udp = 30\n");
    assert_eq!(udp, "test.toml:28:16: nat44.timeouts.udp: 30 s is less than the 120 s of RFC 4787 REQ-5");
    assert!(
        warned(nat, "[nat44]\ntimeouts.udp_ports.1024 = 119\n").contains(
            "nat44.timeouts.udp_ports: 119 s is less than the 120 s of RFC 4787 REQ-5, and port 1024"
        )
    );
    assert!(warned(nat, "[nat44]\nrandom_seed = 1\n").contains("predictable"));
    assert!(warned(nat, "[nat44]\nmappings = 70000\n").contains("flow.sessions"));
    let rest = warned(nat, "[nat44]\nport_cool_down = 119\n");
    assert!(rest.contains("nat44.port_cool_down: 119 s is less than the 120 s of RFC 6888 REQ-8"), "{rest}");
    assert!(
        warned("[[realm]]", "[[realm]]\nname = \"x\"\nside = \"inside\"\n[[realm]]").contains("no interface")
    );
    assert!(
        warned("[[realm]]", "[[port]]\nname = \"x\"\ndevice = \"net_null0\"\n[[realm]]").contains("dropped")
    );
    assert!(warned("cores = [3, 4]", "cores = [3, 4]\ncontrol_core = 3").contains("core 3"));
    let ipv6 = "[ipv6]\ninside = [\"home\"]\noutside = \"internet\"\n";
    assert!(
        warned(nat, &format!("{ipv6}timeouts.udp = 119\n[nat44]\n"))
            .contains("ipv6.timeouts.udp: 119 s is less")
    );
    assert!(
        warned(nat, &format!("{ipv6}timeouts.tcp_established = 60\n[nat44]\n")).contains("RFC 6092 REC-35")
    );
    let limits = "[limits]\nexception_per_second = 10\nexception_per_source_per_second = 11\n[nat44]\n";
    assert!(warned(nat, limits).contains("exception_per_second is 10"));
    let limits = "[limits]\ndns_per_second = 10\ndns_per_source_per_second = 11\n[nat44]\n";
    assert!(warned(nat, limits).contains("dns_per_second is 10"));
    let bogons = "side = \"inside\"\nbogons = [\"10.0.0.128/25\"]";
    assert!(warned("side = \"inside\"", bogons).contains("10.0.0.128/25 is in 10.0.0.0/24"));
    assert!(warned("name = \"in\"", "name = \"in\"\nqueues = 2\nowner = 1").contains("without effect"));
    let proxies = "side = \"inside\"\nproxy_addresses = [\"172.16.64.0/18\"]";
    assert!(warned("side = \"inside\"", proxies).contains("write remote = \"proxy\""));
}

#[test]
fn cesd_checks_and_says_so_by_its_exit_code() {
    let check = |path: &Path| {
        let run =
            Command::new(env!("CARGO_BIN_EXE_cesd")).arg("--check").arg(path).output().expect("cesd runs");
        (
            run.status.code(),
            String::from_utf8_lossy(&run.stdout).into_owned(),
            String::from_utf8_lossy(&run.stderr).into_owned(),
        )
    };
    let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/lab.toml");
    let (code, out, err) = check(&lab);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with(&format!("{}: ok\n", lab.display())), "{out}");

    let (code, out, err) = check(Path::new("/nonexistent/ces.toml"));
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.starts_with("/nonexistent/ces.toml: cannot be read: ") && err.contains("hint: "), "{err}");

    let (code, out, err) = check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("Cargo.toml:1:1: instance: "), "{err}");
}

#[test]
fn endless_and_binary_files_are_refused() {
    for path in ["/dev/zero", env!("CARGO_BIN_EXE_cesd"), "/"] {
        assert!(config::load(Path::new(path)).is_err(), "{path}");
    }
}

/// A refused text has a refusal, and every refusal a place in the text and a hint.
fn judge(text: &str) -> Result<(), TestCaseError> {
    if let Err(errors) = config::parse("any.toml", text) {
        prop_assert!(!errors.refusals().is_empty(), "refused without a reason:\n{text}");
        for refusal in errors.refusals() {
            prop_assert!(refusal.line <= text.split('\n').count() && refusal.column >= 1);
            prop_assert!(!refusal.message.is_empty() && !refusal.hint.is_empty());
        }
    }
    Ok(())
}

/// The files of `configs/` and the text above.
fn texts() -> impl Strategy<Value = String> {
    let read = |path: PathBuf| std::fs::read_to_string(path).expect("a file of configs/");
    let mut texts: Vec<String> = configs().into_iter().map(read).collect();
    texts.push(SMALL.into());
    texts.push(format!("{SMALL}{FUNCTIONS}"));
    texts.push(SMALL.replace(POOL, POOLS));
    prop::sample::select(texts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_text_panics(text in any::<String>()) {
        judge(&text)?;
    }

    #[test]
    fn no_truncation_panics(text in texts(), end in any::<prop::sample::Index>()) {
        let end = text.floor_char_boundary(end.index(text.len() + 1));
        judge(&text[..end])?;
    }

    #[test]
    fn no_changed_bytes_panic(text in texts(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = text.into_bytes();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        judge(&String::from_utf8_lossy(&bytes))?;
    }

    /// Whole lines dropped, doubled or exchanged: still TOML, so it is judged rather than refused as text.
    #[test]
    fn no_changed_lines_panic(text in texts(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3), 1..6)) {
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        for (from, to, kind) in changes {
            let (from, to) = (from.index(lines.len()), to.index(lines.len()));
            match kind {
                0 => { lines.remove(from); }
                1 => lines.insert(to, lines[from]),
                _ => lines.swap(from, to),
            }
        }
        judge(&lines.join("\n"))?;
    }

    /// Any value for any key.
    #[test]
    fn no_value_panics(text in texts(), line in any::<prop::sample::Index>(), value in values()) {
        let mut lines: Vec<String> = text.lines().map(String::from).collect();
        let assignments: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].contains(" = ")).collect();
        let at = assignments[line.index(assignments.len())];
        let key = lines[at].split(" = ").next().unwrap_or_default().to_owned();
        lines[at] = format!("{key} = {value}");
        judge(&lines.join("\n"))?;
    }
}

/// TOML values, right and wrong ones.
fn values() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[0-9a-f:.]{0,20}(/[0-9]{1,3})?".prop_map(String::from),
        "[0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,3}(/[0-9]{1,2}|-[0-9]{1,3}[.]0[.]0[.][0-9])?",
        "[0-9]{1,5}-[0-9]{1,5}",
        "(net|eth)_[a-z_]{0,12}[0-9]?(,[a-z]{1,4}=[a-z0-9/]{0,9})?",
        "[a-zµ☃,=:\\[\\] -]{0,40}",
    ]
    .prop_map(|text| format!("\"{text}\""));
    let value = prop_oneof![
        text,
        any::<i64>().prop_map(|number| number.to_string()),
        (0..70_000i64).prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|value| value.to_string()),
        Just("1979-05-27".into()),
        Just("nan".into()),
        Just("{ a = 1 }".into()),
    ];
    prop_oneof![
        value.clone(),
        prop::collection::vec(value, 0..5).prop_map(|list| format!("[{}]", list.join(", ")))
    ]
}

#[test]
fn destinations_without_translation() {
    let text =
        format!("{SMALL}untranslated = [\"192.0.2.0/24\", \"198.51.100.7/32 port 443\", \"port 25\"]\n");
    let entries: Vec<(String, Option<u16>)> = accepted(&text)
        .nat44
        .expect("nat44")
        .untranslated
        .iter()
        .map(|entry| (entry.prefix.to_string(), entry.port))
        .collect();
    let written = [("192.0.2.0/24", None), ("198.51.100.7/32", Some(443)), ("0.0.0.0/0", Some(25))];
    assert_eq!(entries, written.map(|(prefix, port)| (prefix.to_owned(), port)));
    assert!(accepted(SMALL).nat44.expect("nat44").untranslated.is_empty());
}

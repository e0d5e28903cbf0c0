//! The links of the scenario: who is where, by which tags.

use std::net::Ipv6Addr;

use ces::packet::MacAddr;
use ces::packet::build::Path;
use ces::packet::vlan::{Tag, Tags};

pub const IN: usize = 0;
pub const OUT: usize = 1;
pub const PORTS: [&str; 2] = ["in", "out"];

/// One link: a port, its tags, who is on it.
#[derive(Clone, Copy)]
pub struct Network {
    pub port: usize,
    pub tags: Tags,
    /// Of its prefix 2001:db8:SUBNET::/64.
    pub subnet: u16,
}

pub const HOME: Network = Network { port: IN, tags: Tags::NONE, subnet: 1 };
pub const OFFICE: Network = Network { port: IN, tags: Tags::one(Tag::customer(100)), subnet: 2 };
pub const BRANCH: Network =
    Network { port: IN, tags: Tags::two(Tag::service(200), Tag::customer(100)), subnet: 3 };
pub const INTERNET: Network = Network { port: OUT, tags: Tags::one(Tag::customer(300)), subnet: 0xff };

pub const EDGE: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 1, 1])];

impl Network {
    pub const fn address(&self, host: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, self.subnet, 0, 0, 0, 0, host)
    }

    /// Of the edge here.
    pub const fn edge(&self) -> Ipv6Addr {
        self.address(1)
    }

    pub const fn mac(&self, host: u8) -> MacAddr {
        MacAddr([2, 0, 0, 1, self.subnet as u8, host])
    }

    /// From a host to the edge.
    pub const fn up(&self, host: u8) -> Path {
        Path { destination: EDGE[self.port], source: self.mac(host), tags: self.tags }
    }

    /// From the edge to a host.
    pub const fn down(&self, host: u8) -> Path {
        Path { destination: self.mac(host), source: EDGE[self.port], tags: self.tags }
    }
}

/// Without the workers.
pub const CONFIG: &str = r#"idle = "sleep"
stop = "end-of-input"
[eal]
huge_pages = "none"
[[port]]
name = "in"
device = "net_pcap0,rx_pcap=in-in.pcap,tx_pcap=in-out.pcap"
mac = "02:00:00:00:00:01"
[[port]]
name = "out"
device = "net_pcap1,rx_pcap=out-in.pcap,tx_pcap=out-out.pcap"
mac = "02:00:00:00:01:01"
[[realm]]
name = "home"
side = "inside"
[[realm]]
name = "office"
side = "inside"
[[realm]]
name = "branch"
side = "inside"
bogons = ["2001:db8:3:0:b000::/68"]
[[realm]]
name = "internet"
side = "outside"
[[interface]]
port = "in"
realm = "home"
addresses = ["2001:db8:1::1/64", "10.0.1.1/24"]
[[interface]]
port = "in"
realm = "office"
vlan = 100
addresses = ["2001:db8:2::1/64", "10.0.2.1/24"]
[[interface]]
port = "in"
realm = "branch"
vlan = [200, 100]
addresses = ["2001:db8:3::1/64", "10.0.3.1/24"]
[[interface]]
port = "out"
realm = "internet"
vlan = 300
mtu = 1300
addresses = ["2001:db8:ff::1/64"]
[[neighbor]]
interface = "in"
address = "2001:db8:1::2"
mac = "02:00:00:01:01:02"
[[neighbor]]
interface = "in-100"
address = "2001:db8:2::2"
mac = "02:00:00:01:02:02"
[[neighbor]]
interface = "in-200-100"
address = "2001:db8:3::2"
mac = "02:00:00:01:03:02"
[[neighbor]]
interface = "in-200-100"
address = "2001:db8:3::3"
mac = "02:00:00:01:03:03"
[[neighbor]]
interface = "out-300"
address = "2001:db8:ff::2"
mac = "02:00:00:01:ff:02"
[[route]]
realm = "internet"
prefix = "2001:db8:a000::/48"
via = "2001:db8:ff::2"
[[route]]
realm = "internet"
prefix = "2001:db8:b001::/48"
blackhole = true
[[route]]
realm = "internet"
prefix = "2001:db8:b002::/48"
unreachable = true
[[route]]
realm = "internet"
prefix = "2001:db8:b003::/48"
prohibit = true
[ipv6]
inside = ["home", "office", "branch"]
outside = "internet"
sessions = 4096
"#;

//! The validated configuration: what the rest of the house reads.
//!
//! Guarantees: a value of these types was accepted by [`parse`](super::parse), so every name is resolved to an
//! index, every number lies in the range that its field gives, and no two fields contradict each other.
//! Never: changed after it is made, and no default is left to its readers except where a field says `None`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::cetp::Cetp;
use super::dns::Dns;
use super::host_model::Hosts;
use super::nat_model::{Nat44, PoolRange};
use super::policy_rule::Policy;
use super::prgw::Prgw;
use super::tunnels::Tunnels;
use ipnet::IpNet;

pub use super::model_functions::{Exception, Fragments, Ipv6, Limits, SourceCheck, TcpMss, Timeouts6, Vlan};

/// A whole configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[instance]`: which edge this is.
    pub instance: Instance,
    /// `[eal]`: DPDK's environment abstraction layer.
    pub eal: Eal,
    /// `[workers]`: the threads that forward.
    pub workers: Workers,
    /// `[[port]]`, in file order; 1 to 32 of them. Other fields name a port by its index here.
    pub ports: Vec<Port>,
    /// `[[realm]]`, in file order; 1 to 4095 of them. Realm `id` stands at index `id - 1`.
    pub realms: Vec<Realm>,
    /// `[[interface]]`, in file order; at most 4,096, and one for each port and VLAN. Other fields name an interface by
    /// its index here.
    pub interfaces: Vec<Interface>,
    /// `[[route]]`, in file order, without the connected routes: those follow from [`Interface::addresses`].
    pub routes: Vec<Route>,
    /// `[[neighbor]]`: static neighbours, in file order; at most [`Flow::neighbors`].
    pub neighbors: Vec<Neighbor>,
    /// `[flow]`: sizes of the tables.
    pub flow: Flow,
    /// `[nat44]`: IPv4 address and port translation; `None` when the file has no such section.
    pub nat44: Option<Nat44>,
    /// `[ipv6]`: stateful forwarding of IPv6; `None` when the file has no such section: none is forwarded.
    pub ipv6: Option<Ipv6>,
    /// `[exception]`: the kernel interfaces behind the edge's own addresses; `None` when the file has no such section.
    pub exception: Option<Exception>,
    /// `[hosts]` and `[[host]]`: the hosts that have names; `None` when the file has neither.
    pub hosts: Option<Hosts>,
    /// `[dns]`: the zones that the edge answers for; `None`: it answers for none.
    pub dns: Option<Dns>,
    /// `[prgw]`: the circular pool, whose addresses names of hosts are answered with; `None`: there is none.
    pub prgw: Option<Prgw>,
    /// `[cetp]`: the edge's identity, and whom it believes.
    pub cetp: Cetp,
    /// Of `[cetp]`: tunnels to other edges; `None` where there is no such section, `[dns.edge]` or register of hosts: there are none.
    pub tunnels: Option<Tunnels>,
    /// `[policy]`: who may talk to whom; what holds without the section is [`Policy::default`].
    pub policy: Policy,
    /// `[limits]`: what the edge answers and holds at most.
    pub limits: Limits,
    /// `[manage]`: the operator's socket and the log.
    pub manage: Manage,
    /// What is accepted and yet worth a second look: at most 100, each `file:line:column: key: sentence`.
    pub warnings: Vec<String>,
}

/// `[instance]`: which edge this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// 1 to 32 of `a-z`, `0-9` and `-`. DPDK's file prefix, the socket and the lock are named by it. Required.
    pub name: String,
    /// Absolute path of the directory of the socket and the lock. Default `/run/ces`.
    pub runtime_dir: PathBuf,
}

/// `[eal]`: DPDK's environment abstraction layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eal {
    /// Whether memory comes from huge pages. Default [`HugePages::Auto`].
    pub huge_pages: HugePages,
    /// Memory for DPDK, in mebibytes: 64 to 1,048,576. Default `None`: DPDK decides.
    pub memory_mb: Option<u32>,
    /// Further arguments of EAL, none of which contradicts an argument that `cesd` makes itself. Default empty.
    pub args: Vec<String>,
    /// Size of the packet pool, in mbufs: 1,024 to 67,108,864. Default `None`: derived from the ports' rings.
    pub mbufs: Option<u32>,
    /// Bytes of an mbuf's data, its 128 bytes of headroom included: 192 to 16,384. Default 2,176.
    pub mbuf_data_room: u16,
}

/// `eal.huge_pages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// `"auto"`: used when there are any.
    Auto,
    /// `"required"`: the start fails without them.
    Required,
    /// `"none"`: never used.
    None,
}

/// `[workers]`: the threads that forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// The core (0 to 1023) of each worker, 1 to 64 of them. A core stands twice only with [`Idle::Sleep`]. Required.
    pub cores: Vec<u16>,
    /// The core of every other thread, 0 to 1023. Default `None`: the cores that the process was started on.
    pub control_core: Option<u16>,
    /// How flows are spread over the workers. Default [`Distribute::Rss`].
    pub distribute: Distribute,
    /// What a worker does while nothing arrives. Default [`Idle::Poll`].
    pub idle: Idle,
    /// What ends the process. Default [`Stop::Signal`].
    pub stop: Stop,
}

/// `workers.distribute`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribute {
    /// `"rss"`: by the device's receive-side scaling.
    Rss,
    /// `"software"`: the receiving worker hashes the inner header and hands packets off.
    Software,
}

/// `workers.idle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// `"poll"`: polls without a pause, and wakes nobody.
    Poll,
    /// `"sleep"`: sleeps after a run of empty polls until another thread has something for it or, where all its queues have
    /// interrupts, a packet comes; otherwise it looks every 50 µs. Wakes those that it has something for.
    Sleep,
}

/// `workers.stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// `"signal"`: SIGTERM or SIGINT.
    Signal,
    /// `"end-of-input"`: ports are read one after another, in file order, each to its end; then the process exits.
    /// Every device is then a `net_pcap`, `net_null` or `net_ring` that comes to an end.
    EndOfInput,
}

/// `[[port]]`: a DPDK port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Unique; 1 to 32 of `a-z`, `0-9` and `-`. Required.
    pub name: String,
    /// Unique by [`Device::name`]. Required.
    pub device: Device,
    /// Longest layer 3 packet, in bytes: 68 to 9,600. Default 1,500.
    pub mtu: u16,
    /// Descriptors of a receive queue: 64 to 32,768. Default 1,024. The device may round it.
    pub rx_descriptors: u16,
    /// Descriptors of a transmit queue: 64 to 32,768. Default 1,024. The device may round it.
    pub tx_descriptors: u16,
    /// Receive queues wanted: 1 to the number of workers. Default: the number of workers. The device may have fewer.
    pub queues: u16,
    /// Index of the worker that polls this port when it has fewer queues than there are workers. Default `None`:
    /// the data plane decides.
    pub owner: Option<u16>,
    /// A unicast MAC address to use instead of the device's. Default `None`.
    pub mac: Option<[u8; 6]>,
    /// Packets taken in a second, the rest is dropped: 1,000 to 1,000,000,000. Default `None`: all of them.
    pub rx_packets_per_second: Option<u32>,
    /// Whether the device is asked to strip and insert VLAN tags, if it can. Default true.
    pub vlan_offload: bool,
}

/// `port.device`: what a port is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A PCI address in full, lower-case: `0000:03:00.0`.
    Pci(String),
    /// A virtual device of DPDK.
    Vdev {
        /// The driver's name and an instance number: `net_tap0`.
        name: String,
        /// What follows the first comma; may be empty: `iface=ces-in`.
        args: String,
    },
}

impl Device {
    /// The name that DPDK knows the device by: the PCI address, or the virtual device without its arguments.
    pub fn name(&self) -> &str {
        match self {
            Device::Pci(address) => address,
            Device::Vdev { name, .. } => name,
        }
    }
}

impl fmt::Display for Device {
    /// As DPDK takes it: the PCI address, or `name,args`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Vdev { name, args } if !args.is_empty() => write!(f, "{name},{args}"),
            _ => f.write_str(self.name()),
        }
    }
}

/// `[[realm]]`: an address space of its own. Two realms may have the same prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    /// Position in the file, counted from 1: 1 to 4,095. 0 is no realm.
    pub id: u16,
    /// Unique; 1 to 32 of `a-z`, `0-9` and `-`. Required.
    pub name: String,
    /// Required.
    pub side: Side,
    /// Default [`SourceCheck::Strict`] for an inside realm, [`SourceCheck::Off`] for an outside one.
    pub source_check: SourceCheck,
    /// Prefixes without host bits that are no packet's source here, each once, at most 4,096. None has an address of the
    /// edge or a gateway of this realm in it. `"rfc6890"` stands for 21 special-purpose ranges. Default empty.
    pub bogons: Vec<IpNet>,
    /// Default [`Remote::Real`]; with [`Remote::Proxy`] the realm is one of [`Nat44::inside`] and there are upstreams of `[dns]`.
    pub remote: Remote,
    /// Private addresses that stand for remote hosts inside this realm, in disjoint ranges: none is of a public pool or of the edge
    /// outside, nor of a host, a connected prefix, a gateway or a route's prefix of this realm. At most
    /// [`Realm::PROXY_ADDRESSES_MAX`] of all realms together; two realms may have the same. Default empty.
    pub proxy_addresses: Vec<PoolRange>,
    /// Of those, how many one host may have asked for at a time: 1 to [`Realm::PROXY_ADDRESSES_MAX`]. Default an eighth of them, 16 to
    /// 1,024, and never more than there are.
    pub proxies_per_host: u32,
}

impl Realm {
    /// The most [`Realm::proxy_addresses`]: each takes some 130 bytes, its names up to a kilobyte more.
    pub const PROXY_ADDRESSES_MAX: u32 = 1 << 20;

    /// How many [`Realm::proxy_addresses`] there are.
    pub fn proxies(&self) -> u32 {
        self.proxy_addresses.iter().map(PoolRange::count).sum::<u64>() as u32
    }
}

/// `realm.remote`: how hosts see the remote hosts that they ask for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// `"real"`: by their own addresses.
    Real,
    /// `"proxy"`: by [`Realm::proxy_addresses`].
    Proxy,
}

/// `realm.side`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `"inside"`: private hosts.
    Inside,
    /// `"outside"`: the public network.
    Outside,
}

/// `[[interface]]`: a place in a realm for a port, or for a VLAN of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Unique; 1 to 32 of `a-z`, `0-9` and `-`. Default: the port's name, with the VLAN behind it: `PORT-100` or
    /// `PORT-200-100`.
    pub name: String,
    /// Index in [`Config::ports`]. Required.
    pub port: u16,
    /// Unique on the port. Default [`Vlan::Untagged`].
    pub vlan: Vlan,
    /// [`Realm::id`]. Required.
    pub realm: u16,
    /// The edge's own host addresses, each with its connected prefix; at most 64. Unique in the realm, and no two
    /// interfaces of a realm have overlapping prefixes (IPv6 link-local excepted). Default empty.
    pub addresses: Vec<IpNet>,
    /// Longest layer 3 packet, in bytes: 68 to [`Port::mtu`], and 1,280 or more with an IPv6 address (RFC 8200 section
    /// 5) or where tunnels to other edges end ([`Tunnels::MTU_MIN`]). Default [`Port::mtu`].
    pub mtu: u16,
    /// Default [`TcpMss::Auto`].
    pub tcp_mss: TcpMss,
}

/// `[[route]]`: a static route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// [`Realm::id`]. Required.
    pub realm: u16,
    /// Without host bits; unique in the realm, and no interface's connected prefix. Required.
    pub prefix: IpNet,
    /// Required: `via`, `interface`, both, or one of `blackhole`, `unreachable` and `prohibit`, `= true`.
    pub target: RouteTarget,
}

impl Route {
    /// The most routes: more than the Internet's table has (about a million IPv4 prefixes).
    pub const MAX: usize = 2_000_000;

    /// The interface and the address of each of the route's gateways.
    pub fn gateways(&self) -> impl Iterator<Item = (u16, IpAddr)> {
        let next_hops = match &self.target {
            RouteTarget::NextHops(next_hops) => &next_hops[..],
            RouteTarget::Blackhole | RouteTarget::Unreachable | RouteTarget::Prohibit => &[],
        };
        next_hops.iter().filter_map(|hop| Some((hop.interface, hop.gateway?)))
    }
}

/// Where a [`Route`] leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// `via`, one router or a list of 1 to [`RouteTarget::NEXT_HOPS_MAX`], distinct; or `interface` alone, so that the
    /// destinations are neighbours there: one next hop without a gateway.
    NextHops(Vec<NextHop>),
    /// `blackhole = true`: dropped.
    Blackhole,
    /// `unreachable = true`: dropped, and the sender is told that it is unreachable.
    Unreachable,
    /// `prohibit = true`: dropped, and the sender is told that it is prohibited.
    Prohibit,
}

impl RouteTarget {
    /// The most next hops of a route.
    pub const NEXT_HOPS_MAX: usize = 16;
}

/// One of the places where a [`Route`] leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Index in [`Config::interfaces`], of the route's realm: given, or the one with the gateway in a connected prefix.
    pub interface: u16,
    /// A router of the prefix's address family, and not an address of the edge.
    pub gateway: Option<IpAddr>,
}

/// `[[neighbor]]`: a neighbour that is neither resolved nor aged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Index in [`Config::interfaces`]. Required.
    pub interface: u16,
    /// In a connected prefix of the interface, or the gateway of a route there; unique on the interface. Required.
    pub address: IpAddr,
    /// Unicast. Required.
    pub mac: [u8; 6],
}

/// `[flow]`: sizes of the tables, all allocated at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Bidirectional sessions: 1,024 for each worker to 67,108,864 in all. Default 65,536.
    pub sessions: u32,
    /// Neighbours, static ones included: 16 to 32,768. Default 1,024.
    pub neighbors: u16,
}

/// `[manage]`: the operator's socket and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manage {
    /// Unix socket of `cesctl`, derived: `RUNTIME_DIR/NAME.sock`; at most 107 bytes.
    pub socket: PathBuf,
    /// Directives of `tracing`'s filter, such as `info` or `info,ces::nat=debug`. Default `info`.
    pub log: String,
}

impl fmt::Display for Config {
    /// A short summary for the operator, without a line feed at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  instance \"{}\", {} worker(s) on cores {:?}",
            self.instance.name,
            self.workers.cores.len(),
            self.workers.cores
        )?;
        for interface in &self.interfaces {
            let (port, realm) =
                (&self.ports[usize::from(interface.port)], &self.realms[usize::from(interface.realm) - 1]);
            let addresses: Vec<String> = interface.addresses.iter().map(IpNet::to_string).collect();
            let addresses = if addresses.is_empty() { "no address".into() } else { addresses.join(" ") };
            let vlan = match interface.vlan {
                Vlan::Untagged => String::new(),
                tagged => format!(" VLAN {tagged}"),
            };
            writeln!(
                f,
                "  interface \"{}\": {}{vlan} in realm \"{}\", {addresses}",
                interface.name, port.device, realm.name
            )?;
        }
        write!(f, "  {} route(s), {} sessions", self.routes.len(), self.flow.sessions)?;
        match &self.nat44 {
            Some(nat) => write!(f, ", nat44 with {} public address(es)", nat.addresses())?,
            None => write!(f, ", no nat44")?,
        }
        if let Some(ipv6) = &self.ipv6 {
            write!(f, ", ipv6 with {} sessions", ipv6.sessions)?;
        }
        if let Some(hosts) = &self.hosts {
            write!(f, ", {} of at most {} hosts", hosts.hosts.len(), hosts.capacity)?;
        }
        if let Some(prgw) = &self.prgw {
            write!(f, ", {prgw}")?;
        }
        let proxies: u32 = self.realms.iter().filter(|r| r.remote == Remote::Proxy).map(Realm::proxies).sum();
        if proxies > 0 {
            write!(f, ", {proxies} proxy addresses")?;
        }
        if let Some(tunnels) = &self.tunnels {
            write!(f, ", tunnels for {} sessions", tunnels.sessions)?;
        }
        match &self.exception {
            Some(exception) => write!(f, ", exceptions to namespace \"{}\"", exception.netns),
            None => Ok(()),
        }
    }
}

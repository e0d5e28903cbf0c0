//! The exception path: packets to the edge's own addresses that no worker answers itself go to the Linux kernel, in a network
//! namespace of the instance's own, where ordinary servers listen; and what those send comes back.
//!
//! For every interface of the edge there is a tap of the same name, MAC address and addresses in that namespace. Workers
//! hand frames over, and get frames back, as bytes through [`crate::ring::frames`]; one thread, `ces-exception`, owns the
//! taps. Every realm has a routing table of its own there, chosen by the source address: a server's answers leave by the
//! realm in which it was asked, though two realms have the same prefixes. What the namespace begins by itself uses the main
//! table, which has the routes of the outside.
//!
//! Guarantees: nothing is done outside the namespace; frames are whole Ethernet frames both ways, untouched; each
//! direction is bounded and drops, counted, what it cannot take; the taps go with the process, even a killed one, and the
//! rules and routes that a killed one leaves in the namespace are cleared away by the next.
//! Never forwards: the kernel there is a host. It answers no ARP request: workers answer for the edge's addresses.

mod mirror;
mod netlink;
mod routes;
mod service;
mod tap;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

use ipnet::IpNet;

use crate::packet::MacAddr;
use crate::ring::frames::{FrameReceiver, FrameSender};

pub use routes::{KernelRoute, RouteTarget};
pub use service::{ExceptionCounters, Service};

/// An interface of the edge that the kernel is to have too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorInterface {
    /// The tag of its frames in the rings, and how routes and neighbours name it.
    pub index: u16,
    /// The tap's name: at most 15 bytes.
    pub name: String,
    pub mac: MacAddr,
    /// The longest IP packet.
    pub mtu: u16,
    /// The edge's own, each with the prefix of its link.
    pub addresses: Vec<IpNet>,
    pub realm: u16,
    /// Whether its realm is the one by which the namespace reaches others of itself. When several are, the first counts.
    pub outside: bool,
}

/// A neighbour that is configured, so that nobody needs to ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelNeighbor {
    /// The index of a [`MirrorInterface`].
    pub interface: u16,
    pub address: IpAddr,
    pub mac: MacAddr,
}

/// What [`start`] is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// A network namespace as `ip netns` knows it, which exists.
    pub netns: String,
    /// No address but link-local ones is in two realms: the kernel could not tell in which one it is asked.
    pub interfaces: Vec<MirrorInterface>,
    /// The routes of the realms, as for [`Service::set_routes`]. The links' own prefixes need not be among them.
    pub routes: Vec<KernelRoute>,
    pub neighbors: Vec<KernelNeighbor>,
    /// The core on which the thread runs.
    pub control_core: usize,
}

/// Why there is no exception path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no network namespace {0:?}: make it with `ip netns add {0}`, or name another")]
    NamespaceMissing(String),
    #[error("cannot enter the network namespace {netns:?}: {source}; run as root, or with CAP_SYS_ADMIN")]
    Namespace { netns: String, source: io::Error },
    #[error(
        "{0:?} is no name of a network namespace: name one that `ip netns add` made, with no `/` in its name"
    )]
    NamespaceName(String),
    #[error(
        "the network namespace {0:?} is the machine's own, where the edge must not touch anything: make one for it with \
         `ip netns add`"
    )]
    NamespaceOfTheMachine(String),
    #[error(
        "the interface name {0:?} cannot be the kernel's too: use 1 to 15 bytes without white space, `/`, `:` or `%`, and not \
         `lo`, `all` or `default`"
    )]
    InterfaceName(String),
    #[error(
        "there is an interface {name} in the network namespace {netns} already: stop who made it, or remove it with \
         `ip -n {netns} link delete {name}`"
    )]
    InterfaceExists { name: String, netns: String },
    #[error("two interfaces have the index or the name of {0:?}: give each its own")]
    InterfaceTwice(String),
    #[error("the MTU of {name}, {mtu}, is more than {most}, the most that the rings take: lower it")]
    Mtu { name: String, mtu: u16, most: u16 },
    #[error(
        "cannot make the tap {name}: {source}; it takes the kernel's module `tun`, /dev/net/tun and CAP_NET_ADMIN"
    )]
    Tap { name: String, source: io::Error },
    #[error("cannot open the kernel's routing socket: {0}; run as root, or with CAP_NET_ADMIN")]
    Netlink(io::Error),
    #[error("cannot write {value} to {path}: {source}; /proc/sys must be writable")]
    Sysctl { path: String, value: &'static str, source: io::Error },
    #[error(
        "the kernel refuses {what}: {source}; correct it in the configuration, and see `ip -n` what the namespace has"
    )]
    Refused { what: String, source: io::Error },
    #[error("cannot run on core {core}: {source}; choose a control core that this process may use")]
    Core { core: usize, source: io::Error },
    #[error(
        "cannot listen on TCP port {port} in the network namespace {netns:?}: {source}; stop who listens there"
    )]
    Listen { netns: String, port: u16, source: io::Error },
    #[error("cannot start the thread ces-exception: {0}; raise the limit of processes (ulimit -u)")]
    Thread(io::Error),
    #[error("the thread ces-exception ended before it was ready: see the log")]
    ThreadEnded,
}

/// Moves the calling thread, and no other, into the namespace `netns`, where what it opens then uses the taps' addresses and routes.
///
/// # Errors
/// If there is no such namespace, it is the machine's own, or this process may not enter it; then nothing has changed.
pub fn enter(netns: &str) -> Result<(), Error> {
    tap::enter(netns)
}

/// Makes the taps and all that belongs to them, and carries frames until the [`Service`] is stopped or dropped:
/// `from_workers` to the tap of their tag, and what the kernel sends by a tap to `to_worker`, its tag the interface's
/// index. Returns when the kernel is ready.
///
/// The thread inherits the caller's signal mask: block signals before.
pub fn start(
    options: Options,
    from_workers: Vec<FrameReceiver>,
    to_worker: FrameSender,
) -> Result<Service, Error> {
    service::start(options, from_workers, to_worker)
}

/// Listens on a TCP port of every address in the namespace `netns`, which the sockets belong to from then on, whoever has them.
///
/// # Errors
/// [`Error::Listen`], or why the namespace cannot be entered.
pub fn listen(netns: &str, port: u16) -> Result<Vec<TcpListener>, Error> {
    let failed = |source| Error::Listen { netns: netns.to_owned(), port, source };
    let bind = || {
        tap::enter(netns)?;
        // One for both families; of IPv4 alone where the kernel has no other.
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port));
        let listener = match listener {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
            }
            other => other,
        };
        Ok(vec![listener.map_err(failed)?])
    };
    // A thread that has entered a namespace stays there.
    std::thread::scope(|scope| scope.spawn(bind).join()).unwrap_or(Err(Error::ThreadEnded))
}

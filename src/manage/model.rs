//! What the operator's socket shows: one type a verb, plain data with its units.
//!
//! Guarantees: the field names are the JSON names and only change with [`super::protocol::VERSION`]; counts run from
//! the start of the process and never fall. Never computes or fetches anything.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use super::pool_model::{
    AddressRange, Dependence, Determined, InUse, PoolChanged, PoolState, PoolStatus, PortRange,
    PortSelection, Sharing,
};
use crate::packet::{DROP_REASONS, DropReason};

/// `show status`: the process as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the protocol: [`super::protocol::VERSION`].
    pub version: u32,
    /// The instance's name in the config.
    pub instance: String,
    /// Version of the program that runs.
    pub ces_version: String,
    /// Milliseconds since the process started.
    pub uptime_ms: u64,
    /// Every worker polls and every port is started.
    pub ready: bool,
    pub workers: Vec<WorkerStatus>,
    /// Live sessions, and how many fit.
    pub sessions: u64,
    pub sessions_capacity: u64,
    /// Live mappings, and how many fit.
    pub mappings: u64,
    pub mappings_capacity: u64,
    /// Subscribers that hold ports now, and how many fit.
    pub subscribers: u64,
    pub subscribers_capacity: u64,
    /// Memory stands on huge pages.
    pub huge_pages: bool,
    /// What an operator should know about this run, a sentence each.
    pub notes: Vec<String>,
}

/// A worker thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its number, from 0.
    pub worker: u16,
    /// The CPU core that it is pinned to.
    pub core: u32,
    /// The thread's name, as `ps -L` shows it.
    pub thread: String,
    pub state: WorkerState,
    /// Milliseconds since it last finished a round.
    pub heartbeat_age_ms: u64,
}

/// What a worker does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// It polls its queues.
    Polling,
    /// It rests after a run of empty polls.
    Sleeping,
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WorkerState::Polling => "polling",
            WorkerState::Sleeping => "sleeping",
        })
    }
}

/// `show ports`: a port as its device reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// The port's name in the config.
    pub name: String,
    /// PCI address or virtual device string.
    pub device: String,
    /// The driver's name in DPDK.
    pub driver: String,
    /// `02:00:00:00:00:01`.
    pub mac: String,
    pub link_up: bool,
    /// Megabits a second; `None` where the device does not say.
    pub speed_mbps: Option<u32>,
    /// Largest layer 3 packet, in bytes.
    pub mtu: u16,
    pub rx_queues: u16,
    pub tx_queues: u16,
    /// Of each receive queue, as the device has them.
    pub rx_descriptors: u16,
    /// Of each transmit queue.
    pub tx_descriptors: u16,
    pub rx_packets: u64,
    pub rx_bytes: u64,
    /// Packets that the device dropped because no worker fetched them in time.
    pub rx_missed: u64,
    /// Packets that arrived broken.
    pub rx_errors: u64,
    /// Packets that found no buffer.
    pub rx_nombuf: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    /// Packets that the device failed to send.
    pub tx_errors: u64,
    /// The offloads in use, by name.
    pub offloads: Vec<String>,
}

/// `show counters`: what the workers counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub workers: Vec<WorkerCounters>,
    pub drops: Drops,
}

/// What one worker counted. Packets and bytes are layer 2 frames without their check sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerCounters {
    /// Its number, from 0.
    pub worker: u16,
    /// Received from the ports.
    pub rx_packets: u64,
    pub rx_bytes: u64,
    /// Given to the ports.
    pub tx_packets: u64,
    pub tx_bytes: u64,
    /// Of those received, the ones that were sent on.
    pub forwarded_packets: u64,
    pub forwarded_bytes: u64,
    /// Addressed to the edge itself and answered: ARP, echo.
    pub local_packets: u64,
    /// Made by the edge itself: ARP, echo replies, ICMP errors.
    pub originated_packets: u64,
    /// Passed to the worker that owns the flow.
    pub handed_off: u64,
    /// Taken over from other workers.
    pub received_handoff: u64,
    pub sessions_created: u64,
    pub sessions_removed: u64,
    /// Requests of subscribers about their mappings (PCP, NAT-PMP) that were answered, and what is asked for now.
    pub control_requests: u64,
    pub asked_mappings: u64,
    /// Rounds of the worker loop, and those that found nothing.
    pub polls: u64,
    pub empty_polls: u64,
}

/// The drops by the name of their [`DropReason`]. Made by [`Drops::new`], every reason is there, those at zero too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Drops(BTreeMap<String, DropCount>);

/// Packets dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// By all workers.
    pub total: u64,
    /// By each worker, from worker 0.
    pub workers: Vec<u64>,
}

impl Drops {
    /// From each worker's array of counters, which [`DropReason`] indexes.
    pub fn new(workers: &[[u64; DROP_REASONS]]) -> Drops {
        let count = |reason: DropReason| {
            let workers: Vec<u64> = workers.iter().map(|drops| drops[reason as usize]).collect();
            DropCount { total: workers.iter().sum(), workers }
        };
        Drops(DropReason::ALL.iter().map(|&reason| (reason.name().to_owned(), count(reason))).collect())
    }

    /// Name and count of every reason, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &DropCount)> {
        self.0.iter().map(|(name, count)| (name.as_str(), count))
    }
}

/// `show flows`: the sessions that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// How many sessions match, shown or not.
    pub total_matched: u64,
    /// Some that match are not shown: the limit was reached.
    pub truncated: bool,
    pub flows: Vec<Flow>,
}

/// A session: both directions of one conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The realm of its inside, by name.
    pub realm: String,
    pub protocol: Protocol,
    /// The subscriber's own address and port; for ICMP the port is the echo's identifier, here and below.
    pub inside: SocketAddr,
    /// The address and port that the outside sees.
    pub outside: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// From the inside to the outside.
    pub packets_out: u64,
    /// From the outside to the inside.
    pub packets_in: u64,
    pub bytes_out: u64,
    pub bytes_in: u64,
    /// Milliseconds since the last packet of either direction.
    pub idle_ms: u64,
    /// The protocol's state as the NAT sees it.
    pub state: String,
    /// The worker that made it and will expire it.
    pub home_worker: u16,
}

/// The transport protocol of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    /// ICMP or ICMPv6 echo.
    Icmp,
    Esp,
    Ah,
    Sctp,
    Gre,
    /// Any other: its sessions are of addresses alone.
    Other,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Icmp => "icmp",
            Protocol::Esp => "esp",
            Protocol::Ah => "ah",
            Protocol::Sctp => "sctp",
            Protocol::Gre => "gre",
            Protocol::Other => "other",
        })
    }
}

/// `show neighbors`: a host or gateway on the link of a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighborStatus {
    /// The interface's name in the config.
    pub interface: String,
    pub address: IpAddr,
    /// `None` until it has answered.
    pub mac: Option<String>,
    /// The state of RFC 4861 section 7.3.2, in lower case.
    pub state: String,
    /// Milliseconds since it was last confirmed or, unanswered, first asked.
    pub age_ms: u64,
    /// Packets that wait for its answer.
    pub held: u32,
    /// A route leads by it: it is kept resolved and probed, with or without traffic.
    #[serde(default)]
    pub gateway: bool,
}

/// `show routes`: the routes that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    /// How many routes match, shown or not.
    pub total_matched: u64,
    /// Some that match are not shown: the limit was reached.
    pub truncated: bool,
    pub routes: Vec<RouteStatus>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Its realm, by name.
    pub realm: String,
    pub prefix: IpNet,
    pub kind: RouteKind,
    /// 1 to 16 where the kind is [`RouteKind::Via`], else none.
    pub next_hops: Vec<NextHopStatus>,
    pub origin: RouteOrigin,
}

/// What a route does with its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// Forwards them.
    Via,
    /// Drops them.
    Blackhole,
    /// Drops them, and says that the destination is unreachable.
    Unreachable,
    /// Drops them, and says that they are prohibited.
    Prohibit,
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RouteKind::Via => "via",
            RouteKind::Blackhole => "blackhole",
            RouteKind::Unreachable => "unreachable",
            RouteKind::Prohibit => "prohibit",
        })
    }
}

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteOrigin {
    /// An interface's prefix.
    Connected,
    /// The configuration.
    Static,
    /// A command: gone at a restart.
    Runtime,
}

impl fmt::Display for RouteOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RouteOrigin::Connected => "connected",
            RouteOrigin::Static => "static",
            RouteOrigin::Runtime => "runtime",
        })
    }
}

/// One of a route's next hops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHopStatus {
    /// The interface's name in the config.
    pub interface: String,
    /// `None`: the destinations are neighbours on the interface.
    pub gateway: Option<IpAddr>,
    /// The gateway's state as `show neighbors` has it; `None` where there is none, or nobody has asked for it yet.
    pub neighbor: Option<String>,
}

/// `route add` and `route del`: what was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteChanged {
    pub action: RouteAction,
    /// The route that is there now or, deleted, was.
    pub route: RouteStatus,
}

/// What a command did with a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteAction {
    Added,
    /// Another one was in its place.
    Replaced,
    Deleted,
}

impl fmt::Display for RouteAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RouteAction::Added => "added",
            RouteAction::Replaced => "replaced",
            RouteAction::Deleted => "deleted",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_present_and_summed() {
        let mut workers = [[0; DROP_REASONS]; 2];
        workers[0][DropReason::NoRoute as usize] = 3;
        workers[1][DropReason::NoRoute as usize] = 4;
        let drops = Drops::new(&workers);
        assert_eq!(drops.iter().count(), DROP_REASONS);
        for (name, count) in drops.iter() {
            let expected = if name == "no_route" { (7, vec![3, 4]) } else { (0, vec![0, 0]) };
            assert_eq!((count.total, count.workers.clone()), expected, "{name}");
        }
    }
}

//! The sessions of both families as the operator sees them. Read as they are: nothing here makes a worker wait.

use crate::config::Config;
use crate::dataplane::{World, tunnels};
use crate::flow::lifetime::TcpState;
use crate::flow::record::{Common, Record};
use crate::flow::{Key4, Realm, Record4, Record6};
use crate::manage::model::{Flow, Protocol};
use crate::manage::{FlowFilter, Flows};
use std::net::{IpAddr, SocketAddr};

/// What tells a session from all others, from the inside.
struct Ends {
    /// Of the inside.
    realm: u16,
    /// IANA number.
    protocol: u8,
    inside: SocketAddr,
    /// As the outside sees the inside.
    outside: SocketAddr,
    remote: SocketAddr,
    /// As the inside sees the remote: another where that is a proxy address, or of the circular pool.
    known_as: IpAddr,
    home: usize,
}

/// The sessions that match, of IPv4 first; `realm` is the filter's by number, `now` the workers' clock.
pub fn matching(config: &Config, world: &World, filter: &FlowFilter, realm: Option<u16>, now: u32) -> Flows {
    let mut found = Flows { total_matched: 0, truncated: false, flows: vec![] };
    let mut take = |ends: Ends, first: &Common, other: &Common| {
        let all = [ends.inside.ip(), ends.outside.ip(), ends.remote.ip(), ends.known_as];
        let host = |host: IpAddr| all.contains(&host);
        if realm.is_some_and(|realm| realm != ends.realm) || !filter.host.is_none_or(host) {
            return;
        }
        found.total_matched += 1;
        if found.flows.len() < filter.limit.get() {
            found.flows.push(flow(config, ends, first, other, now));
        }
    };
    for (first, other) in world.flows.sessions::<Record4>() {
        take(ends4(world, first, other), first.common(), other.common());
    }
    for (first, other) in world.flows.sessions::<Record6>() {
        take(ends6(world, first, other), first.common(), other.common());
    }
    found.truncated = found.total_matched > found.flows.len() as u64;
    found
}

fn ends4(world: &World, first: &Record4, other: &Record4) -> Ends {
    let (out, back) = ordered(first, other);
    let o = out.key();
    // Into a tunnel there are no addresses, but what its ends are known by here.
    let is_into_tunnel = back.key().realm() == Realm::TUNNEL;
    let b = if is_into_tunnel { o.reversed(o.realm()) } else { back.key() };
    let home = if out.common().action().is_tunnelled() { tunnels::home_of(world, &o) } else { None };
    Ends {
        realm: o.realm().0,
        protocol: o.protocol(),
        inside: SocketAddr::new(o.source().into(), o.source_port()),
        outside: SocketAddr::new(b.destination().into(), b.destination_port()),
        remote: SocketAddr::new(b.source().into(), b.source_port()),
        known_as: o.destination().into(),
        home: home.or_else(|| nat_home(world, &o)).unwrap_or(0),
    }
}

fn nat_home(world: &World, out: &Key4) -> Option<usize> {
    world.nat.as_ref().map(|nat| nat.home_of_inside(out.realm(), out.source()))
}

fn ends6(world: &World, first: &Record6, other: &Record6) -> Ends {
    let (out, back) = ordered(first, other);
    let (o, b) = (out.key(), back.key());
    let home = world.firewall.as_ref().and_then(|firewall| firewall.home_of_session(&o, b.realm()));
    Ends {
        realm: o.realm().0,
        protocol: o.protocol(),
        inside: SocketAddr::new(o.source().into(), o.source_port()),
        outside: SocketAddr::new(b.destination().into(), b.destination_port()),
        remote: SocketAddr::new(o.destination().into(), o.destination_port()),
        known_as: o.destination().into(),
        home: home.unwrap_or(0),
    }
}

/// The half from the inside first.
fn ordered<'r, R: Record>(first: &'r R, other: &'r R) -> (&'r R, &'r R) {
    if first.common().action().is_outbound() { (first, other) } else { (other, first) }
}

fn flow(config: &Config, ends: Ends, first: &Common, other: &Common, now: u32) -> Flow {
    let outbound = first.action().is_outbound();
    let (out, back) = if outbound { (first, other) } else { (other, first) };
    let protocol = protocol(ends.protocol);
    let state = match protocol {
        Protocol::Tcp => TcpState::of(first.tcp_flags(), other.tcp_flags()).name(),
        _ => "open",
    };
    let idle = now.wrapping_sub(out.last_seen()).min(now.wrapping_sub(back.last_seen()));
    let realm = config.realms.iter().find(|r| r.id == ends.realm);
    Flow {
        realm: realm.map_or_else(|| ends.realm.to_string(), |r| r.name.clone()),
        protocol,
        inside: ends.inside,
        outside: ends.outside,
        remote: ends.remote,
        packets_out: out.packets(),
        packets_in: back.packets(),
        bytes_out: out.bytes(),
        bytes_in: back.bytes(),
        // A packet may have been counted after this clock was read.
        idle_ms: if idle > u32::MAX / 2 { 0 } else { u64::from(idle) },
        state: state.into(),
        home_worker: ends.home as u16,
    }
}

fn protocol(number: u8) -> Protocol {
    match number {
        1 | 58 => Protocol::Icmp,
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        47 => Protocol::Gre,
        50 => Protocol::Esp,
        51 => Protocol::Ah,
        132 => Protocol::Sctp,
        _ => Protocol::Other,
    }
}

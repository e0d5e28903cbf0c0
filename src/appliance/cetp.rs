//! From the configuration to the thread `ces-cetp`; what it shows, and what ends sessions.
//!
//! Guarantees: it has the keys and the authorities that the configuration names, or doesn't start. Never: negotiates anything itself.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::assemble::Ports;
use super::tunnels::Rings;
use super::{Error, plan};
use crate::config::{Config, DomainName, Side as RealmSide};
use crate::edge::calls::Lookups;
use crate::edge::calls::edges::ShownWay;
use crate::edge::calls::own::{Credentials, Own, OwnRloc};
use crate::edge::calls::refusals::Refusal as Kept;
use crate::edge::calls::reputations::ShownReputation;
use crate::edge::calls::service::Service;
use crate::edge::calls::shown::{Shown, ShownEdge, ShownFilter, ShownSession, Told, Wanted};
use crate::edge::calls::thread::{Cetp, Options};
use crate::edge::cetp::message::{Direction, Limits, Rloc, Service as Wire};
use crate::edge::cetp::negotiation::Size;
use crate::edge::cetp::terms::Side;
use crate::edge::cetp::wire::TLV_HEADER;
use crate::edge::identity::reload::Reload;
use crate::edge::identity::{Authorities, Identities, Revocation, load};
use crate::edge::proxies::Proxies;
use crate::edge::thread::Edge;
use crate::flow::Realm;
use crate::flow::tunnel::{Ends, Tunnels};
use crate::manage::Refusal;
use crate::manage::cetp_model::{
    CetpChange, CetpChanged, CetpCounter, CetpEdge, CetpFilter, CetpFiltering, CetpLocal, CetpRefusal,
    CetpReputation, CetpSession, CetpStatus, CetpWay,
};
use crate::packet::MacAddr;

/// Address-bound tokens of other edges that are kept, for each edge.
const TOKENS: usize = 4;
/// Seconds without a packet after which a session goes, where no policy says.
const TIMEOUT: u32 = 300;
/// Negotiations a second that another edge may begin, where no policy says.
const NEGOTIATIONS: u32 = 10_000;

/// What every link of IPv6 takes (RFC 8200 section 5).
const LEAST_MTU: u16 = 1280;

/// What else the thread needs.
pub struct Parts<'p> {
    pub tunnels: (Tunnels, Rings),
    pub edge: &'p Edge,
    pub proxies: Arc<Proxies>,
    pub lookups: Option<Box<dyn Lookups>>,
    /// The MAC address of each interface.
    pub macs: &'p [MacAddr],
    /// The wrapping milliseconds of the workers.
    pub worker_clock: Box<dyn Fn() -> u32 + Send>,
    pub core: usize,
}

/// Starts the thread, where the configuration has tunnels.
///
/// # Errors
/// What is missing, and what to do about it.
pub fn start(config: &Config, parts: Parts<'_>) -> Result<Option<Cetp>, Error> {
    let Some(tunnels) = &config.tunnels else { return Ok(None) };
    let Some(own) = own(config, parts.macs) else { return Ok(None) };
    let edges = NonZeroUsize::new(tunnels.edges as usize).unwrap_or(NonZeroUsize::MIN);
    let (keys, identities) = identity(config, &own.name)?;
    if let Some(keys) = &keys {
        check_room(keys, &own)?;
    }
    let size = Size { sessions: tunnels.sessions as usize, peers: edges.get(), tokens: TOKENS * edges.get() };
    let (owner, rings) = parts.tunnels;
    let proxies = parts.proxies;
    let service = move |now| {
        let credentials = Credentials::new(keys, identities, edges);
        Service::new(size, (own, credentials), owner, proxies, rand::random(), now)
    };
    let options = Options {
        service: Box::new(service),
        hosts: parts.edge.reader().clone(),
        from_workers: rings.up,
        to_workers: rings.down,
        lookups: parts.lookups,
        worker_clock: parts.worker_clock,
        nap: plan::nap(config),
        core: Some(parts.core),
    };
    Ok(Some(Cetp::start(options)?))
}

/// The edge's own keys, and who is believed: nobody where nothing is said.
fn identity(config: &Config, name: &DomainName) -> Result<(Option<load::Own>, Identities), Error> {
    match &config.cetp.identity {
        None => {
            let nobody = Authorities::new(Revocation::Soft, 0);
            Ok((None, Identities::new(nobody, NonZeroUsize::MIN)))
        }
        Some(identity) => {
            let keys = identity.own.as_ref().map(|own| load::own(own, name)).transpose()?;
            Ok((keys, load::identities(identity)?))
        }
    }
}

/// Whether the certificates fit into the messages that show them: else no association would ever be.
fn check_room(keys: &load::Own, own: &Own) -> Result<(), Error> {
    let bytes: usize = keys.chain.iter().map(|certificate| TLV_HEADER + certificate.len()).sum();
    let room = own.room_for_certificates(keys.ca_address.as_deref());
    if bytes > room { Err(Error::CertificatesTooLong { bytes, room }) } else { Ok(()) }
}

/// The MAC address of each interface.
pub fn macs(config: &Config, ports: &Ports) -> Vec<MacAddr> {
    let mac = |port: u16| {
        let own = config.ports[usize::from(port)].mac;
        own.or_else(|| ports[usize::from(port)].mac().ok()).map_or(MacAddr([0; 6]), MacAddr)
    };
    config.interfaces.iter().map(|interface| mac(interface.port)).collect()
}

/// What the edge is, and where; `None` where it has no name.
fn own(config: &Config, macs: &[MacAddr]) -> Option<Own> {
    let tunnels = config.tunnels.as_ref()?;
    let edge = config.dns.as_ref()?.edge.as_ref()?;
    let at = |interface: u16, rloc: Rloc| {
        let of = &config.interfaces[usize::from(interface)];
        OwnRloc { rloc, realm: Realm(of.realm), interface, mtu: of.mtu }
    };
    let by_ip = tunnels.rlocs.iter().map(|own| {
        let rloc = match own.address {
            IpAddr::V4(address) => Rloc::V4(address),
            IpAddr::V6(address) => Rloc::V6(address),
        };
        at(own.interface, rloc)
    });
    let by_mac = tunnels.ethernet.iter().filter_map(|interface| {
        macs.get(usize::from(*interface)).map(|mac| at(*interface, Rloc::Ethernet(*mac)))
    });
    let inside = config.interfaces.iter().filter(|interface| {
        config.realms.iter().any(|realm| realm.id == interface.realm && realm.side == RealmSide::Inside)
    });
    Some(Own {
        name: edge.cesid.clone(),
        port: tunnels.port,
        rlocs: by_ip.chain(by_mac).collect(),
        mtu: inside.map(|interface| interface.mtu).min().unwrap_or(LEAST_MTU),
        limits: Limits { sessions: tunnels.sessions, negotiations: NEGOTIATIONS },
        timeout: TIMEOUT,
    })
}

/// Has revocation lists, and authorities, read anew when it is time. What cannot be read leaves those that are believed.
///
/// # Errors
/// Which file is wrong, or that the thread doesn't answer.
pub fn reload(config: &Config, cetp: &Cetp, reload: &mut Reload, now_ms: u64) -> Result<(), Error> {
    let Some(identity) = &config.cetp.identity else { return Ok(()) };
    let Some(authorities) = reload.turn(identity, now_ms) else { return Ok(()) };
    cetp.believe(authorities?).map_err(|_| Error::Cetp(crate::edge::calls::thread::Error::Ended))
}

fn silent(_: crate::edge::calls::thread::Silent) -> Refusal {
    Refusal::new("the thread ces-cetp doesn't answer", "ask again; if it never does, see the log")
}

fn none() -> Refusal {
    Refusal::new("there are no tunnels", "write [cetp] into the configuration and start cesd again")
}

/// As the operator sees it.
///
/// # Errors
/// There are no tunnels, or no answer.
pub fn show(config: &Config, cetp: Option<&Cetp>, filter: &CetpFilter) -> Result<CetpStatus, Refusal> {
    let cetp = cetp.ok_or_else(none)?;
    let wanted = Wanted {
        host: filter.host.as_deref().map(folded),
        edge: filter.edge.as_deref().map(folded),
        limit: filter.limit.get(),
    };
    let shown = cetp.show(wanted).map_err(silent)?;
    let mut counters = counters(&shown);
    counters.extend(cetp.traffic().figures().map(|(name, count)| CetpCounter { name: name.into(), count }));
    Ok(CetpStatus {
        counters,
        total_matched: shown.total,
        sessions: shown.sessions.into_iter().map(|session| show_session(config, session)).collect(),
        local: shown.locals.iter().map(show_local).collect(),
        edges: shown.edges.into_iter().map(show_edge).collect(),
        ways: shown.ways.into_iter().map(|(edge, way)| show_way(edge, &way)).collect(),
        refusals: shown.refusals.iter().map(show_refusal).collect(),
        filtering: shown.filters.into_iter().map(show_filter).collect(),
        reputations: shown.reputations.into_iter().map(show_reputation).collect(),
    })
}

/// Ends sessions, or lets hosts come again.
///
/// # Errors
/// There are no tunnels, no answer, or nothing says which.
pub fn change(cetp: Option<&Cetp>, change: &CetpChange) -> Result<CetpChanged, Refusal> {
    let cetp = cetp.ok_or_else(none)?;
    let (CetpChange::Terminate { host, edge, all } | CetpChange::Pardon { host, edge, all }) = change;
    if host.is_none() && edge.is_none() && !all {
        return Err(Refusal::new("nothing says whose they are", "name a host, an edge, or all"));
    }
    let wanted =
        Wanted { host: host.as_deref().map(folded), edge: edge.as_deref().map(folded), limit: usize::MAX };
    let changed = match change {
        CetpChange::Terminate { .. } => {
            cetp.terminate(wanted).map(|ended| CetpChanged { ended, pardoned: 0 })
        }
        CetpChange::Pardon { .. } => cetp.pardon(wanted).map(|pardoned| CetpChanged { ended: 0, pardoned }),
    };
    changed.map_err(silent)
}

/// A name as it is kept.
fn folded(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}

fn counters(shown: &Shown) -> Vec<CetpCounter> {
    let (service, protocol, path_mtu) = (&shown.counters, &shown.protocol, &shown.path_mtu);
    let all = [
        ("calls", service.calls),
        ("calls-reused", service.reused),
        ("calls-joined", service.joined),
        ("calls-busy", service.busy),
        ("calls-local", service.local),
        ("sessions-installed", service.installed),
        ("sessions-removed", service.removed),
        ("sessions-untaken", service.untaken),
        ("sessions-withdrawn", service.withdrawn),
        ("addresses-left-out", service.addresses_left_out),
        ("naming-checks", service.checks),
        ("reports", service.reports),
        ("path-mtu-lowered", path_mtu.lowered),
        ("path-mtu-ignored", path_mtu.ignored),
        ("path-mtu-restored", path_mtu.restored),
        ("evidence", service.evidence),
        ("trespasses", service.trespasses),
        ("evidence-sent", service.evidence_sent),
        ("filtering-sent", service.filtering_sent),
        ("filtering-lifted", service.filtering_lifted),
        ("filtering-taken", service.filtering_taken),
        ("filtering-ignored", service.filtering_ignored),
        ("refusals", shown.refused),
        ("malformed", protocol.malformed),
        ("other-version", protocol.version),
        ("unsealed", protocol.unsealed),
        ("forged-cookies", protocol.forged),
        ("too-short", protocol.short),
        ("cookies", protocol.cookies),
        ("unexpected", protocol.unexpected),
        ("established", protocol.established),
        ("unknown-hashes", protocol.unknown_hashes),
        ("refused", protocol.refused),
        ("full", protocol.full),
    ];
    all.into_iter().map(|(name, count)| CetpCounter { name: name.into(), count }).collect()
}

fn show_service(service: &Wire) -> String {
    let way = match service.direction {
        Direction::ToInbound => "out",
        Direction::ToOutbound => "in",
        Direction::Both => "both",
    };
    format!("{way} {}", crate::edge::calls::granted::from_the_wire(service))
}

fn show_session(config: &Config, session: ShownSession) -> CetpSession {
    let realm = config.realms.iter().find(|realm| realm.id == session.realm.0);
    CetpSession {
        realm: realm.map_or_else(|| session.realm.0.to_string(), |realm| realm.name.clone()),
        host: session.host.into(),
        address: session.address,
        proxy: session.proxy,
        peer: session.peer.into(),
        edge: session.edge.map(Into::into),
        rloc: session.rloc.to_string(),
        direction: if session.side == Side::Outbound { "outbound" } else { "inbound" }.into(),
        local_tag: session.tags.0.get(),
        remote_tag: session.tags.1.get(),
        services: session.services.iter().map(show_service).collect(),
        timeout_s: session.timeout,
        packets_out: session.counts.packets_out,
        bytes_out: session.counts.bytes_out,
        packets_in: session.counts.packets_in,
        bytes_in: session.counts.bytes_in,
        age_ms: session.age,
        idle_ms: session.idle,
    }
}

fn show_local(twins: &crate::edge::calls::local::Twins) -> CetpLocal {
    CetpLocal {
        hosts: twins.halves.each_ref().map(|half| half.name.to_string()),
        proxies: twins.halves.each_ref().map(|half| half.proxy),
        timeout_s: twins.timeout,
    }
}

fn show_edge(edge: ShownEdge) -> CetpEdge {
    CetpEdge {
        name: edge.name.into(),
        is_associated: edge.is_associated,
        rlocs: edge.rlocs.iter().map(Rloc::to_string).collect(),
        sessions: edge.sessions,
        clock_ms: edge.clock,
        incarnation: edge.incarnation,
        heard_ms: edge.heard,
    }
}

fn show_way(edge: Option<Box<str>>, way: &ShownWay) -> CetpWay {
    let (local, rloc) = match way.ends {
        Ends::V4 { local, remote } => (local.to_string(), remote.to_string()),
        Ends::V6 { local, remote } => (local.to_string(), remote.to_string()),
        Ends::Ethernet { local, remote, .. } => (MacAddr(local).to_string(), MacAddr(remote).to_string()),
    };
    CetpWay {
        edge: edge.map(Into::into),
        local,
        rloc,
        mtu: way.mtu,
        most: way.most,
        restored_in_ms: way.until,
    }
}

fn show_filter(filter: ShownFilter) -> CetpFiltering {
    let direction = match filter.told {
        Told::Sent => "sent",
        Told::Received => "received",
        Told::Nobody => "own",
    };
    CetpFiltering {
        edge: filter.edge.into(),
        direction: direction.into(),
        what: filter.what.into(),
        from: filter.from.map(Into::into),
        why: filter.why,
        left_s: filter.left,
    }
}

fn show_reputation(shown: ShownReputation) -> CetpReputation {
    CetpReputation {
        edge: shown.edge.map(Into::into),
        host: shown.host.map(Into::into),
        reputation: shown.value,
    }
}

fn show_refusal(kept: &Kept) -> CetpRefusal {
    let rule = kept.rule.as_ref().map(|rule| {
        let attribute = rule.attribute.map_or_else(String::new, |attribute| format!(": {attribute}"));
        format!("{} {}{attribute}", rule.level.name(), rule.name)
    });
    CetpRefusal {
        at_ms: kept.at,
        direction: kept.direction.name().into(),
        host: kept.host.to_string(),
        peer: kept.peer.to_string(),
        edge: kept.edge.as_ref().map(ToString::to_string),
        rloc: kept.rloc.map(|rloc| rloc.to_string()),
        by: if kept.by_peer { "peer" } else { "own" }.into(),
        has_ended: kept.has_ended,
        reason: kept.backoff.reason.to_string(),
        about: kept.backoff.code.and_then(|code| code.name()).map(str::to_owned),
        rule,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::identity::OwnKey;

    /// And there is room for a leaf of P-256 that says all that one of a carrier's says: some 730 bytes, 918 where its issuer signs by RSA.
    #[test]
    fn certificates_that_do_not_fit_are_refused_with_a_hint() {
        let rlocs = [Rloc::V4([203, 0, 113, 1].into()), Rloc::V6(std::net::Ipv6Addr::LOCALHOST)];
        let at = |rloc| OwnRloc { rloc, realm: Realm(2), interface: 0, mtu: 1500 };
        let own = Own {
            name: DomainName::new("ces1.edge.operator.example").expect("a name"),
            port: 48_001,
            rlocs: rlocs.map(at).into(),
            mtu: 1500,
            limits: Limits { sessions: 1, negotiations: 1 },
            timeout: 60,
        };
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key").serialize_der();
        let keys = |bytes: usize| load::Own {
            chain: vec![vec![0; bytes]],
            key: OwnKey::from_pkcs8(&key).expect("a key"),
            ca_address: Some("http://pki.operator.example/".into()),
        };
        let room = own.room_for_certificates(keys(1).ca_address.as_deref());
        assert!((918 + TLV_HEADER..1000).contains(&room), "{room}");
        assert!(check_room(&keys(room - TLV_HEADER), &own).is_ok());
        let refused =
            check_room(&keys(room - TLV_HEADER + 1), &own).expect_err("one byte too many").to_string();
        assert!(refused.contains(&format!("room for {room}")) && refused.contains("leaf"), "{refused}");
    }
}

//! From the configuration to the threads of the edge's DNS, and what they show.
//!
//! Guarantees: answers by UDP fit every link that they may leave by, and every packet buffer. Never: answers anything itself.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use super::assemble::DnsRings;
use super::{Error, plan};
use crate::config::{Config, Dns, Realms, Side};
use crate::dns::circular::Pool;
use crate::dns::counters::{CALL_ENDS, Count, Counters, DISCOVERY_ENDS, LOOKUP_ENDS, POOL_ENDS, SILENCES};
use crate::dns::discovery::Callers;
use crate::dns::forward::{self, Resolver};
use crate::dns::forwarder::Forwarder;
use crate::dns::server::Parts;
use crate::dns::thread::{Options, Service, Streams};
use crate::dns::{Responder, datagram::HEADERS_MAX};
use crate::dpdk::HEADROOM;
use crate::edge::proxies::Proxies;
use crate::edge::thread::Edge;
use crate::exception;
use crate::manage::dns_model::{DnsConnections, DnsQuestions, DnsStatus, DnsUpdates};
use tracing::warn;

/// Where a DNS listens (RFC 1035 section 4.2).
const PORT: u16 = 53;
/// What every asker takes (RFC 1035 section 4.2.1).
const UDP_LEAST: u16 = 512;
/// Bytes of IPv6 and UDP headers.
const IP_HEADERS: u16 = 40 + 8;

/// The running threads. Dropping it ends them.
pub struct DnsControl {
    service: Service,
    /// Where there are upstreams.
    resolver: Option<Arc<forward::Counters>>,
}

/// Starts the threads, where the configuration has zones. `callers` make calls of hosts' questions, and ask for naming checks.
///
/// # Errors
/// What is missing, and what to do about it.
pub fn start(
    config: &Config,
    rings: Option<DnsRings>,
    pool: Option<Pool>,
    proxies: Option<Arc<Proxies>>,
    edge: Option<&Edge>,
    callers: Callers,
    core: usize,
) -> Result<Option<DnsControl>, Error> {
    let (Some(dns), Some(rings)) = (&config.dns, rings) else { return Ok(None) };
    let no_realms = Realms::default();
    let realms = config.hosts.as_ref().map_or(&no_realms, |hosts| &hosts.realms);
    let responder = Responder::new(&fitting(config, dns), realms, rand::random());
    let responder = responder.with_proxies(proxies.clone());
    let listen = |netns| exception::listen(netns, PORT).map_err(Error::DnsListen);
    let listeners = config.exception.as_ref().map(|exception| listen(&exception.netns)).transpose()?;
    let streams = listeners.map(|listeners| Streams { listeners, realms: addresses(config) });
    let resolver = resolver(config, proxies, core)?;
    let asked = resolver.as_ref().map(|resolver| resolver.counters().clone());
    let options = Options {
        server: Parts {
            responder,
            realms: config.interfaces.iter().map(|interface| inside(config, interface.realm)).collect(),
            changer: edge.map(Edge::changer),
            pool,
            forwarder: resolver.map(|resolver| Box::new(resolver) as Box<dyn Forwarder>),
            callers,
            counters: Arc::new(Counters::default()),
        },
        hosts: edge.map(|edge| edge.reader().clone()),
        from_workers: rings.up,
        to_workers: rings.down,
        streams,
        nap: plan::nap(config),
        rotates: dns.cookie_secrets.is_empty(),
        core: Some(core),
    };
    Ok(Some(DnsControl { service: Service::start(options)?, resolver: asked }))
}

/// Whoever asks other servers, where the configuration names any: from the exception path's namespace, if there is one.
fn resolver(config: &Config, proxies: Option<Arc<Proxies>>, core: usize) -> Result<Option<Resolver>, Error> {
    let Some(options) = forward::Options::new(config) else { return Ok(None) };
    let options = forward::Options { proxies, ..options };
    let netns = config.exception.as_ref().map(|exception| exception.netns.clone());
    let enter = move || netns.map_or(Ok(()), |netns| exception::enter(&netns).map_err(io::Error::other));
    Ok(Some(Resolver::start(options, core, enter)?))
}

/// With no longer answers over UDP than links and packet buffers take.
fn fitting(config: &Config, dns: &Dns) -> Dns {
    let mtu = config.interfaces.iter().map(|interface| interface.mtu).min().unwrap_or(u16::MAX);
    let room = config.eal.mbuf_data_room.saturating_sub(HEADROOM + HEADERS_MAX as u16);
    let most = mtu.saturating_sub(IP_HEADERS).min(room);
    let udp_payload = dns.udp_payload.min(most).max(UDP_LEAST);
    if udp_payload < dns.udp_payload {
        warn!("answers of the DNS have at most {udp_payload} bytes over UDP: more fit no packet");
    }
    Dns { udp_payload, ..dns.clone() }
}

/// A realm if it is an inside one.
fn inside(config: &Config, realm: u16) -> Option<u16> {
    config.realms.iter().find(|known| known.id == realm && known.side == Side::Inside).map(|known| known.id)
}

/// The inside realm of each address that the kernel has too.
fn addresses(config: &Config) -> Vec<(IpAddr, Option<u16>)> {
    let mirrored = config.exception.iter().flat_map(|exception| &exception.interfaces);
    let interfaces = mirrored.map(|&number| &config.interfaces[usize::from(number)]);
    interfaces
        .flat_map(|interface| {
            let realm = inside(config, interface.realm);
            interface.addresses.iter().map(move |net| (net.addr(), realm))
        })
        .collect()
}

impl DnsControl {
    /// What has been counted.
    pub fn show(&self) -> DnsStatus {
        let counters = self.service.counters();
        let named = |names: &[&str], counts: &[Count]| {
            let counts = names.iter().zip(counts).map(|(name, count)| ((*name).to_owned(), count.get()));
            counts.collect::<BTreeMap<String, u64>>()
        };
        let codes = counters.answers.iter().enumerate().filter(|(_, count)| count.get() > 0);
        let seen = |names: &[&str], counts: &[Count]| {
            let mut counts = named(names, counts);
            counts.retain(|_, count| *count > 0);
            counts
        };
        let waiting = Some(counters.calls_waiting.get()).filter(|count| *count > 0);
        let resolver = self.resolver.iter().flat_map(|counters| counters.iter());
        DnsStatus {
            questions: DnsQuestions {
                udp: counters.udp.get(),
                tcp: counters.tcp.get(),
                malformed: counters.malformed.get(),
            },
            answers: codes.map(|(code, count)| (code_name(code), count.get())).collect(),
            truncated: counters.truncated.get(),
            lost: counters.lost.get(),
            silences: named(&SILENCES, &counters.silences),
            pool: named(&POOL_ENDS, &counters.pool),
            updates: DnsUpdates {
                done: counters.updates_done.get(),
                refused: counters.updates_refused.get(),
                failed: counters.updates_failed.get(),
                waiting: counters.updates_waiting.get(),
            },
            forwarded: counters.forwarded.get(),
            resolver: resolver.map(|(name, count)| (name.to_owned(), count)).collect(),
            discovery: seen(&DISCOVERY_ENDS, &counters.discovery),
            calls: seen(&CALL_ENDS, &counters.calls)
                .into_iter()
                .chain(waiting.map(|count| ("waiting".to_owned(), count)))
                .collect(),
            lookups: seen(&LOOKUP_ENDS, &counters.lookups),
            connections: DnsConnections {
                accepted: counters.connections.get(),
                open: counters.connections_open.get(),
                refused: counters.connections_refused.get(),
                idle: counters.connections_idle.get(),
                bad: counters.connections_bad.get(),
            },
        }
    }
}

/// As RFC 6895 section 2.3 names it.
fn code_name(code: usize) -> String {
    let name = match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        16 => "BADVERS",
        23 => "BADCOOKIE",
        other => return other.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// By the shortest link, by the packet buffers, and 512 bytes in any case.
    #[test]
    fn answers_by_udp_fit_links_and_buffers() {
        let most = |udp_payload: u16, mtu: u16, room: u16| {
            let text = format!(
                "[instance]\nname = \"t\"\n[eal]\nmbuf_data_room = {room}\n[workers]\ncores = [0]\n\
                 [[port]]\nname = \"p\"\ndevice = \"net_null0\"\nmtu = {mtu}\n[[realm]]\nname = \"net\"\nside = \"outside\"\n\
                 [[interface]]\nport = \"p\"\nrealm = \"net\"\naddresses = [\"192.0.2.1/24\"]\nmtu = {mtu}\n\
                 [dns]\nudp_payload = {udp_payload}\n[[dns.zones]]\napex = \"ces.example\"\n\
                 [[dns.zones.name_servers]]\nname = \"ns1.other.example\"\n"
            );
            let config = config::parse("t.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
            fitting(&config, config.dns.as_ref().expect("it is written")).udp_payload
        };
        assert_eq!(most(1232, 1500, 2176), 1232);
        assert_eq!(most(4096, 1500, 2176), 1500 - 40 - 8);
        assert_eq!(most(4096, 1280, 2176), 1280 - 40 - 8);
        assert_eq!(most(4096, 9000, 2176), 2176 - 128 - 62);
    }
}

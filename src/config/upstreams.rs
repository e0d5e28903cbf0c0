//! What `[dns]` says about others' names, asked from inside: whom to ask (`upstreams`), for how long, and what to remember.
//!
//! Guarantees: none of the upstreams stands twice or is the edge itself; a TLS one has a name that its certificate must bear. What
//! is about upstreams is refused where there is none. Never: opens a socket, or reads the file of authorities.

use std::net::IpAddr;
use std::path::PathBuf;

use super::domain_name::{DomainName, domain_name};
use super::error::Report;
use super::network::Network;
use super::section::{Located, Section, or};
use super::values;

/// How others' names are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstreams {
    /// `upstreams`, in the order of preference: 1 to [`Upstreams::MAX`].
    pub servers: Vec<Upstream>,
    /// `upstream_source`: the address that questions are sent from, at most one of each family. Default: the kernel's choice.
    pub sources: Vec<IpAddr>,
    /// How long one try waits, in milliseconds: 100 to 10,000. Default 1,000.
    pub timeout_ms: u32,
    /// Tries of a question, over all upstreams: 1 to 8. Default 4. A question is answered within `timeout_ms` × `attempts`.
    pub attempts: u32,
    /// Answers that are remembered, each of at most 4,096 bytes: 0 (none) to 4,194,304. Default 65,536.
    pub cache_entries: u32,
    /// Shortest and longest time that an answer is remembered, in seconds, whatever its TTL: default 0 and 86,400. An answer whose
    /// TTL is 0 is never remembered.
    pub cache_ttl_min: u32,
    pub cache_ttl_max: u32,
    /// Longest time that is remembered what is not there (RFC 2308 section 5), in seconds. Default 3,600.
    pub cache_negative_ttl_max: u32,
    /// `upstream_ca`: a file of the authorities (PEM) that a TLS upstream's certificate must come from. Default: the system's.
    pub authorities: PathBuf,
    /// Whether private addresses, and those of inside realms, are taken out of answers for others' names.
    pub rebind_protection: bool,
}

impl Upstreams {
    pub const MAX: usize = 8;
    /// Where Debian's `ca-certificates` keeps them.
    pub const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
}

/// A recursive resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub address: IpAddr,
    /// Default 53, and 853 with TLS.
    pub port: u16,
    pub protocol: UpstreamProtocol,
}

/// What an upstream is asked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// And TCP, where an answer is truncated or looks forged.
    Udp,
    Tcp,
    /// RFC 7858, in the strict profile of RFC 8310: the certificate bears this name, `tls_name`.
    Tls(DomainName),
}

#[derive(Clone, Copy)]
enum Protocol {
    Udp,
    Tcp,
    Tls,
}

const PROTOCOLS: [(&str, Protocol); 3] =
    [("udp", Protocol::Udp), ("tcp", Protocol::Tcp), ("tls", Protocol::Tls)];
const NUMBERS: [&str; 6] =
    ["timeout_ms", "attempts", "cache_entries", "cache_ttl_min", "cache_ttl_max", "cache_negative_ttl_max"];
const OTHERS: [&str; 3] = ["upstream_source", "upstream_ca", "rebind_protection"];
/// Longest times: RFC 8767 section 4 advises a week for what is there, RFC 2308 section 5 a day for what is not.
const TTL_MAX: u32 = 604_800;
const NEGATIVE_TTL_MAX: u32 = 86_400;

/// What `section`, which is `[dns]`, has of them.
pub(super) fn read<'a>(
    report: &Report<'a>,
    section: &mut Section<'a>,
    network: &Network,
) -> Option<Upstreams> {
    let has_upstreams = section.contains("upstreams");
    let stray = NUMBERS.iter().chain(&OTHERS).find(|key| section.contains(key)).copied();
    let servers = section.tables_at("upstreams", "dns.upstreams", Upstreams::MAX);
    let sources = section.string_or_strings("upstream_source", 1..=2, values::address);
    let timeout_ms = or(section.integer("timeout_ms", 100..=10_000), 1000);
    let attempts = or(section.integer("attempts", 1..=8), 4);
    let cache_entries = or(section.integer("cache_entries", 0..=1 << 22), 65_536);
    let cache_ttl_min = section.integer("cache_ttl_min", 0..=3600);
    let cache_ttl_max = or(section.integer("cache_ttl_max", 1..=TTL_MAX), 86_400);
    let cache_negative_ttl_max = or(section.integer("cache_negative_ttl_max", 0..=NEGATIVE_TTL_MAX), 3600);
    let authorities = section.parse("upstream_ca", values::absolute_path);
    let rebind_protection = or(section.boolean("rebind_protection"), false);
    if !has_upstreams {
        if let Some(key) = stray {
            let place = super::error::Place { key, ..section.place() };
            let hint = "write upstreams = [{ address = \"192.0.2.53\" }], or remove this";
            report.refuse(place, "there are no upstreams", hint);
        }
        return None;
    }
    if let Some(least) = cache_ttl_min.filter(|least| least.value > cache_ttl_max) {
        report.refuse(
            least.place,
            format!("{} is more than the longest time, {cache_ttl_max}", least.value),
            "write less, or raise cache_ttl_max",
        );
    }
    let sources = sources.unwrap_or_default();
    if let [first, second] = &sources[..]
        && first.value.is_ipv4() == second.value.is_ipv4()
    {
        let hint = "write one IPv4 and one IPv6 address at most";
        report.refuse(second.place, "is a second address of one family", hint);
    }
    let mut read: Vec<Upstream> = Vec::new();
    for server in servers? {
        let place = server.place();
        let Some(upstream) = read_one(report, server, network) else { continue };
        if read.iter().any(|known| is_same(known, &upstream)) {
            let message = format!("{} port {} stands twice", upstream.address, upstream.port);
            report.refuse(place, message, "remove one of the two");
        }
        read.push(upstream);
    }
    Some(Upstreams {
        servers: read,
        sources: sources.into_iter().map(|source| source.value).collect(),
        timeout_ms,
        attempts,
        cache_entries,
        cache_ttl_min: or(cache_ttl_min, 0),
        cache_ttl_max,
        cache_negative_ttl_max,
        authorities: or(authorities, PathBuf::from(Upstreams::AUTHORITIES)),
        rebind_protection,
    })
}

fn is_same(one: &Upstream, other: &Upstream) -> bool {
    let kind = |upstream: &Upstream| std::mem::discriminant(&upstream.protocol);
    (one.address, one.port, kind(one)) == (other.address, other.port, kind(other))
}

fn read_one<'a>(report: &Report<'a>, mut section: Section<'a>, network: &Network) -> Option<Upstream> {
    let address = section.require(
        "address",
        values::address,
        "write address = \"192.0.2.53\", that of a recursive resolver",
    );
    let port = section.integer("port", 1..=u16::MAX);
    let is_default = !section.contains("protocol");
    let protocol = section.choice("protocol", &PROTOCOLS);
    let name = section.parse("tls_name", domain_name);
    let is_named = section.contains("tls_name");
    let is_tls = matches!(&protocol, Some(Located { value: Protocol::Tls, .. }));
    if is_tls {
        section
            .missing("tls_name", "write tls_name = \"dns.example\", the name in the upstream's certificate");
    }
    let place = section.place();
    section.finish();
    if is_named && !is_tls && (is_default || protocol.is_some()) {
        let place = name.as_ref().map_or(place, |name| name.place);
        report.refuse(place, "only TLS has a name", "write protocol = \"tls\", or remove it");
    }
    let address = address?;
    if is_own(network, address.value) {
        let message = format!("{} is the edge's own address", address.value);
        report.refuse(address.place, message, "write the address of a resolver that is another machine");
    }
    let (protocol, default_port) = match protocol.map(|protocol| protocol.value) {
        None if !is_default => return None,
        None | Some(Protocol::Udp) => (UpstreamProtocol::Udp, 53),
        Some(Protocol::Tcp) => (UpstreamProtocol::Tcp, 53),
        Some(Protocol::Tls) => (UpstreamProtocol::Tls(name?.value), 853),
    };
    Some(Upstream { address: address.value, port: or(port, default_port), protocol })
}

fn is_own(network: &Network, address: IpAddr) -> bool {
    let of = |realm| network.addresses_in(realm).any(|(_, own)| own.value.addr() == address);
    network.realms().any(of)
}

#[cfg(test)]
#[path = "upstreams_tests.rs"]
mod tests;

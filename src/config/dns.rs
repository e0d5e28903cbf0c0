//! The section about the edge's own zones: `[dns]`.
//!
//! Guarantees: no zone and no key stands twice; what a zone's records need is there, fits the wire, and is no host's. Never: makes
//! a secret, or a record.

use std::net::IpAddr;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};

use super::domain_name::{DomainName, domain_name};
use super::error::{Report, Wrong, one_of};
use super::host_model::Hosts;
use super::network::Network;
use super::section::{Section, or};
use super::upstreams::{self, Upstreams};
use super::values;

/// `[dns]`: what the edge answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// `[[dns.zones]]`, in file order; at least one.
    pub zones: Vec<DnsZone>,
    /// `[[dns.keys]]`: who may change hosts by DNS UPDATE.
    pub keys: Vec<UpdateKey>,
    /// `[[dns.views]]`: what hosts of a realm are told of those of others, where that is not [`OtherRealms::Hide`].
    pub views: Vec<DnsView>,
    /// `[dns.edge]`: how other edges find this one, by NAPTR. Default `None`: it says nothing of itself.
    pub edge: Option<EdgeIdentity>,
    /// Longest answer over UDP: 512 to 4,096 bytes. Default 1,232, which no path fragments.
    pub udp_payload: u16,
    /// What becomes of a question from outside about somebody else's names.
    pub foreign: Foreign,
    /// Secrets of the server cookies (RFC 9018): the first makes them, each is taken. Empty: made at the start.
    pub cookie_secrets: Vec<[u8; 16]>,
    /// Who is asked for others' names. Default `None`: nobody, and hosts are refused.
    pub upstreams: Option<Upstreams>,
}

/// A zone that the edge is the authority of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsZone {
    pub apex: DomainName,
    /// In file order, the first is the SOA's MNAME; at least one.
    pub name_servers: Vec<NameServer>,
    /// The SOA's RNAME: a mailbox, its `@` as a dot. Default `hostmaster.APEX`.
    pub contact: DomainName,
    /// The SOA's numbers; times are in seconds.
    pub serial: u32,
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
    /// How long what is not there may be remembered (RFC 2308). Default 60.
    pub negative_ttl: u32,
    /// TTL of every record but an address of the pool, which has 0, and a NAPTR, which has 30. Default 300.
    pub ttl: u32,
    /// TXT of the apex.
    pub text: Vec<String>,
    /// Whether it is nobody's outside.
    pub inside_only: bool,
}

/// One of a zone's name servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    pub name: DomainName,
    /// Its addresses, where its name is of the zone itself.
    pub addresses: Vec<IpAddr>,
}

/// Who may change hosts by DNS UPDATE: a key of RFC 8945.
#[derive(Clone, PartialEq, Eq)]
pub struct UpdateKey {
    /// In lower case, without the dot of the root; at most [`UpdateKey::NAME_MAX`] characters.
    pub name: String,
    pub algorithm: KeyAlgorithm,
    pub secret: Vec<u8>,
    /// The realm that its hosts are in.
    pub realm: u16,
    /// Places in [`Dns::zones`] of those that it may change.
    pub zones: Vec<usize>,
}

impl UpdateKey {
    /// So that a signed answer fits into 512 bytes.
    pub const NAME_MAX: usize = 64;
}

/// Without the secret.
impl std::fmt::Debug for UpdateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let UpdateKey { name, algorithm, realm, zones, .. } = self;
        write!(f, "UpdateKey {{ {name:?}, {algorithm:?}, realm {realm}, zones {zones:?} }}")
    }
}

/// What RFC 8945 section 6 recommends, and stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

/// What the hosts of a realm are told of hosts of other realms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsView {
    pub realm: u16,
    pub other_realms: OtherRealms,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtherRealms {
    /// There are none.
    #[default]
    Hide,
    /// Their private addresses: the realms are routed to each other.
    Private,
    /// An address that stands for them, reserved for this question as for one from outside: of the circular pool, to which hosts
    /// of this realm come by the NAT's hairpin. None where it has none for them.
    Reserve,
}

/// What becomes of a question from outside about names that are not the edge's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foreign {
    #[default]
    Drop,
    Refuse,
}

/// How other edges find this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeIdentity {
    pub cesid: DomainName,
    /// Addresses that its tunnels end at, in the order of preference; at least one.
    pub rlocs: Vec<IpAddr>,
    /// The network that the addresses are of.
    pub alias: Option<String>,
}

const OTHER_REALMS: [(&str, OtherRealms); 3] =
    [("hide", OtherRealms::Hide), ("private", OtherRealms::Private), ("reserve", OtherRealms::Reserve)];
const ALGORITHMS: [(&str, KeyAlgorithm); 3] = [
    ("hmac-sha256", KeyAlgorithm::HmacSha256),
    ("hmac-sha384", KeyAlgorithm::HmacSha384),
    ("hmac-sha512", KeyAlgorithm::HmacSha512),
];
const ZONES_MAX: usize = 64;
const KEYS_MAX: usize = 64;
const NAME_SERVERS_MAX: usize = 8;
/// Longest time of an SOA or TTL: RFC 2181 section 8.
const TIME_MAX: u32 = i32::MAX as u32;

/// The section, if it is there. TCP is served by the exception path's sockets, where `has_exception` says that there is one.
pub(super) fn read<'a>(
    report: &Report<'a>,
    mut section: Section<'a>,
    hosts: Option<&Hosts>,
    has_exception: bool,
    network: &Network,
) -> Option<Dns> {
    if !section.is_written() {
        return None;
    }
    if !has_exception {
        report.warn(
            section.place(),
            "answers by UDP only: for TCP, which long answers need, write [exception] and its netns",
        );
    }
    let udp_payload = or(section.integer("udp_payload", 512..=4096), 1232);
    let choices = [("drop", Foreign::Drop), ("refuse", Foreign::Refuse)];
    let foreign = or(section.choice("foreign", &choices), Foreign::Drop);
    let secrets = section.strings("cookie_secrets", 0..=3, cookie_secret).unwrap_or_default();
    let edge = read_edge(section.table("edge", "dns.edge"));
    let upstreams = upstreams::read(report, &mut section, network);
    let no_zone = !section.contains("zones");
    let place = section.place();
    let zones = section.tables_at("zones", "dns.zones", ZONES_MAX).unwrap_or_default();
    if no_zone {
        report.refuse(
            place,
            "no zone",
            "write [[dns.zones]] and apex = \"ces.example\", or remove the section",
        );
    }
    let mut read: Vec<DnsZone> = Vec::new();
    for zone in zones {
        let place = zone.place();
        let Some(zone) = read_zone(report, zone, hosts) else { continue };
        if read.iter().any(|known| known.apex == zone.apex) {
            report.refuse(place, format!("zone \"{}\" stands twice", zone.apex), "remove one of the two");
        }
        read.push(zone);
    }
    let mut keys: Vec<UpdateKey> = Vec::new();
    for key in section.tables_at("keys", "dns.keys", KEYS_MAX).unwrap_or_default() {
        let place = key.place();
        let Some(key) = read_key(report, key, &read, hosts) else { continue };
        if keys.iter().any(|known| known.name == key.name) {
            report.refuse(place, format!("key \"{}\" stands twice", key.name), "remove one of the two");
        }
        keys.push(key);
    }
    let mut views: Vec<DnsView> = Vec::new();
    for mut view in section.tables_at("views", "dns.views", usize::from(u16::MAX)).unwrap_or_default() {
        let place = view.place();
        let realm =
            view.require("realm", values::reference, "write realm = \"…\", the name of an inside realm");
        view.missing("other_realms", "write other_realms = \"hide\", \"private\" or \"reserve\"");
        let other_realms = view.choice("other_realms", &OTHER_REALMS);
        view.finish();
        let (Some(realm), Some(other_realms)) = (realm, other_realms) else { continue };
        let Some(realm) = resolve_realm(report, realm.place, &realm.value, hosts) else { continue };
        if views.iter().any(|known| known.realm == realm) {
            report.refuse(place, "the realm has a view already", "remove one of the two");
        }
        views.push(DnsView { realm, other_realms: other_realms.value });
    }
    section.finish();
    let cookie_secrets = secrets.into_iter().map(|secret| secret.value).collect();
    Some(Dns { zones: read, keys, views, edge, udp_payload, foreign, cookie_secrets, upstreams })
}

fn read_zone<'a>(report: &Report<'a>, mut section: Section<'a>, hosts: Option<&Hosts>) -> Option<DnsZone> {
    let apex = section.require("apex", domain_name, "write apex = \"ces.example\", or \"10.in-addr.arpa\"");
    let contact = section.parse("contact", domain_name);
    let serial = or(section.integer("serial", 0..=u32::MAX), 1);
    let refresh = or(section.integer("refresh", 1..=TIME_MAX), 3600);
    let retry = or(section.integer("retry", 1..=TIME_MAX), 600);
    let expire = or(section.integer("expire", 1..=TIME_MAX), 604_800);
    let negative_ttl = or(section.integer("negative_ttl", 0..=86_400), 60);
    let ttl = or(section.integer("ttl", 0..=TIME_MAX), 300);
    let text = section.strings("text", 0..=8, character_string).unwrap_or_default();
    let inside_only = or(section.boolean("inside_only"), false);
    let (place, is_missing) = (section.place(), !section.contains("name_servers"));
    let servers =
        section.tables_at("name_servers", "dns.zones.name_servers", NAME_SERVERS_MAX).unwrap_or_default();
    section.finish();
    let apex = apex?;
    if is_missing {
        let hint = format!("write [[dns.zones.name_servers]] and name = \"ns1.{}\" below it", apex.value);
        report.refuse(place, "the zone has no name server", hint);
    }
    let servers: Vec<NameServer> = servers
        .into_iter()
        .filter_map(|section| read_name_server(report, section, &apex.value, hosts))
        .collect();
    let contact = match contact {
        Some(contact) => contact.value,
        None => {
            let Some(contact) = DomainName::new(&format!("hostmaster.{}", apex.value)) else {
                report.refuse(apex.place, "is too long for a hostmaster", "write contact = \"…\"");
                return None;
            };
            contact
        }
    };
    let zone = DnsZone {
        apex: apex.value,
        name_servers: servers,
        contact,
        serial,
        refresh,
        retry,
        expire,
        negative_ttl,
        ttl,
        text: text.into_iter().map(|text| text.value).collect(),
        inside_only,
    };
    (!zone.name_servers.is_empty()).then_some(zone)
}

fn read_name_server<'a>(
    report: &Report<'a>,
    mut section: Section<'a>,
    apex: &DomainName,
    hosts: Option<&Hosts>,
) -> Option<NameServer> {
    let hint = format!("write name = \"ns1.{apex}\"");
    let name = section.require("name", domain_name, &hint);
    let addresses = section.strings("addresses", 0..=8, values::address).unwrap_or_default();
    let place = section.place();
    section.finish();
    let name = name?;
    let addresses: Vec<IpAddr> = addresses.into_iter().map(|address| address.value).collect();
    if is_within(name.value.as_str(), apex.as_str()) == addresses.is_empty() {
        let (message, hint) = match addresses.is_empty() {
            true => (
                "is of the zone itself and has no address",
                "write addresses = [\"…\"]: nobody else knows them",
            ),
            false => {
                ("is of another zone and has addresses", "remove them: the zone that has its name knows them")
            }
        };
        report.refuse(place, format!("name server \"{}\" {message}", name.value), hint);
    }
    let is_host = |host: &super::Host| {
        host.name == name.value || host.services.iter().any(|service| service.name == name.value)
    };
    if hosts.is_some_and(|hosts| hosts.hosts.iter().any(is_host)) {
        report.refuse(
            name.place,
            format!("\"{}\" is a name of a [[host]]", name.value),
            "write another name",
        );
    }
    Some(NameServer { name: name.value, addresses })
}

/// Whether `name` is `apex` or below it; both in lower case.
pub(crate) fn is_within(name: &str, apex: &str) -> bool {
    name.strip_suffix(apex).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

fn read_key<'a>(
    report: &Report<'a>,
    mut section: Section<'a>,
    zones: &[DnsZone],
    hosts: Option<&Hosts>,
) -> Option<UpdateKey> {
    let name =
        section.require("name", key_name, "write name = \"dhcp.ces.example\", as the DHCP server has it");
    let algorithm = or(section.choice("algorithm", &ALGORITHMS), KeyAlgorithm::HmacSha256);
    let secret =
        section.require("secret", key_secret, "write secret = \"…\" in base 64, as `tsig-keygen` prints it");
    let realm =
        section.require("realm", values::reference, "write realm = \"…\", where the hosts of this key are");
    let allowed = section.strings("zones", 1..=ZONES_MAX, domain_name);
    section.missing("zones", "write zones = [\"ces.example\"], what this key may change");
    section.finish();
    let mut places = Vec::new();
    for zone in allowed? {
        match zones.iter().position(|known| known.apex == zone.value) {
            Some(place) => places.push(place),
            None => {
                let known: Vec<&str> = zones.iter().map(|zone| zone.apex.as_str()).collect();
                let hint = one_of("the zones are", zone.value.as_str(), &known);
                report.refuse(zone.place, format!("no zone is \"{}\"", zone.value), hint);
            }
        }
    }
    let realm = realm?;
    let realm = resolve_realm(report, realm.place, &realm.value, hosts)?;
    Some(UpdateKey { name: name?.value, algorithm, secret: secret?.value, realm, zones: places })
}

fn resolve_realm(
    report: &Report<'_>,
    place: super::error::Place,
    name: &str,
    hosts: Option<&Hosts>,
) -> Option<u16> {
    let Some(hosts) = hosts else {
        report.refuse(place, "there is no register of hosts", "write [hosts]");
        return None;
    };
    hosts.realms.realm(name).map_err(|wrong| report.refuse(place, wrong.message, wrong.hint)).ok()
}

fn read_edge(mut section: Section<'_>) -> Option<EdgeIdentity> {
    if !section.is_written() {
        return None;
    }
    let cesid = section.require("cesid", cesid, "write cesid = \"ces1.ces.example\", the edge's name");
    let rlocs = section.strings("rlocs", 1..=4, values::address);
    section.missing("rlocs", "write rlocs = [\"203.0.113.1\"], where its tunnels end");
    let alias = section.parse("alias", alias).map(|alias| alias.value);
    section.finish();
    let rlocs = rlocs?.into_iter().map(|rloc| rloc.value).collect();
    Some(EdgeIdentity { cesid: cesid?.value, rlocs, alias })
}

/// An edge's name: the regular expression of its NAPTR has 255 bytes for it and all else.
fn cesid(text: &str) -> Result<DomainName, Wrong> {
    let name = domain_name(text)?;
    match name.as_str().len() {
        ..=150 => Ok(name),
        _ => Err(Wrong::new("has more than 150 characters", "write a shorter one")),
    }
}

fn alias(text: &str) -> Result<String, Wrong> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=16).contains(&text.len()) && text.bytes().all(is_allowed) {
        return Ok(text.into());
    }
    Err(Wrong::new(format!("\"{text}\" is no alias"), "write 1 to 16 letters, digits and -, such as \"IXP\""))
}

fn cookie_secret(text: &str) -> Result<[u8; 16], Wrong> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        Wrong::new(
            "is no secret of 128 bits",
            "write 32 hexadecimal digits, as `openssl rand -hex 16` prints them",
        )
    })
}

fn key_secret(text: &str) -> Result<Vec<u8>, Wrong> {
    let hint = "write base 64 of 16 to 128 bytes, as `tsig-keygen` prints it";
    match BASE64.decode(text.as_bytes()) {
        Ok(secret) if (16..=128).contains(&secret.len()) => Ok(secret),
        Ok(secret) => Err(Wrong::new(format!("a secret of {} bytes", secret.len()), hint)),
        Err(_) => Err(Wrong::new("is not base 64", hint)),
    }
}

fn key_name(text: &str) -> Result<String, Wrong> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_allowed);
    if name.len() <= UpdateKey::NAME_MAX && name.split('.').all(is_label) {
        return Ok(name);
    }
    let hint = "write at most 64 letters, digits, -, _ and single dots between them";
    Err(Wrong::new("is not the name of a key", hint))
}

fn character_string(text: &str) -> Result<String, Wrong> {
    if text.len() <= 255 {
        return Ok(text.into());
    }
    Err(Wrong::new("has more than 255 bytes", "write several strings"))
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;

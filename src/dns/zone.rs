//! The zones that the edge is the authority of, and the records that come from the configuration alone.
//!
//! Guarantees: a zone's records are made once; the owner of a record is the name of the question or its end, so that it has the
//! question's letters and is compressed. Never: knows a host.

use std::net::IpAddr;

use hickory_proto::rr::rdata::{A, AAAA, HINFO, NAPTR, NS, NULL, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::update::DHCID;
use crate::config::{DnsZone, DomainName, EdgeIdentity, is_within};

/// A NAPTR of the dialect of the CES papers: order, preference, TTL.
const NAPTR_ORDER: u16 = 10;
const NAPTR_PREFERENCE: u16 = 6;
const NAPTR_TTL: u32 = 30;

/// See the module.
#[derive(Clone, Debug)]
pub struct Zone {
    pub config: DnsZone,
    labels: usize,
    soa: RData,
    name_servers: Vec<RData>,
    text: Vec<RData>,
}

impl Zone {
    pub fn new(config: &DnsZone) -> Zone {
        let primary = config.name_servers.first().map_or(Name::root(), |server| name(&server.name));
        let seconds = |seconds: u32| i32::try_from(seconds).unwrap_or(i32::MAX);
        let soa = SOA::new(
            primary,
            name(&config.contact),
            config.serial,
            seconds(config.refresh),
            seconds(config.retry),
            seconds(config.expire),
            config.negative_ttl,
        );
        Zone {
            labels: config.apex.as_str().split('.').count(),
            soa: RData::SOA(soa),
            name_servers: config
                .name_servers
                .iter()
                .map(|server| RData::NS(NS(name(&server.name))))
                .collect(),
            text: config.text.iter().map(|text| RData::TXT(TXT::new(vec![text.clone()]))).collect(),
            config: config.clone(),
        }
    }

    pub fn apex(&self) -> &str {
        self.config.apex.as_str()
    }

    /// The SOA of an answer that says no (RFC 2308 section 3).
    pub fn negative_soa(&self, asked: &Name) -> Record {
        let ttl = self.config.ttl.min(self.config.negative_ttl);
        Record::from_rdata(asked.trim_to(self.labels), ttl, self.soa.clone())
    }

    /// Records of the apex.
    pub fn apex_records(&self, asked: &Name, record_type: RecordType) -> Vec<Record> {
        let data = match record_type {
            RecordType::SOA => std::slice::from_ref(&self.soa),
            RecordType::NS => &self.name_servers,
            RecordType::TXT => &self.text,
            _ => &[],
        };
        data.iter().map(|data| Record::from_rdata(asked.clone(), self.config.ttl, data.clone())).collect()
    }

    /// Addresses of the name servers that are of this zone.
    pub fn glue(&self) -> impl Iterator<Item = Record> {
        let ttl = self.config.ttl;
        self.config.name_servers.iter().flat_map(move |server| {
            let owner = name(&server.name);
            server.addresses.iter().map(move |address| address_record(owner.clone(), ttl, *address))
        })
    }

    /// The addresses of the name server of that name.
    pub fn name_server(&self, text: &str) -> Option<&[IpAddr]> {
        let server = self.config.name_servers.iter().find(|server| server.name.as_str() == text)?;
        (!server.addresses.is_empty()).then_some(&server.addresses)
    }

    /// Whether the name of a name server is below `text`.
    pub fn has_server_below(&self, text: &str) -> bool {
        self.config.name_servers.iter().any(|server| {
            let above = server.name.as_str().strip_suffix(text);
            above.is_some_and(|above| above.ends_with('.'))
        })
    }
}

/// The zone that `text` is of, the one of the longest apex.
pub fn find<'a>(zones: &'a [Zone], text: &str) -> Option<&'a Zone> {
    zones.iter().filter(|zone| is_within(text, zone.apex())).max_by_key(|zone| zone.apex().len())
}

/// The name on the wire, from the root.
pub fn name(domain: &DomainName) -> Name {
    // It fits: that is what a `DomainName` is.
    let mut name = Name::from_labels(domain.as_str().split('.').map(str::as_bytes)).unwrap_or_default();
    name.set_fqdn(true);
    name
}

pub fn address_record(owner: Name, ttl: u32, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    };
    Record::from_rdata(owner, ttl, data)
}

/// RFC 4701 section 3.
pub fn dhcid(data: &[u8]) -> RData {
    RData::Unknown { code: DHCID, rdata: NULL::with(data.to_vec()) }
}

/// RFC 8482 section 4.2: what a question for ANY gets.
pub fn any_record(owner: Name, ttl: u32) -> Record {
    let (cpu, os) = (b"RFC8482"[..].into(), b""[..].into());
    Record::from_rdata(owner, ttl, RData::HINFO(HINFO::from_bytes(cpu, os)))
}

/// The SOA of an answer that says no of a name that is of no zone of ours, for so many seconds: as of one that is served locally (RFC
/// 6303 section 3).
pub fn local_soa(apex: Name, negative_ttl: u32) -> Record {
    let nobody = Name::from_labels([&b"nobody"[..], b"invalid"]).unwrap_or_default();
    let soa = SOA::new(apex.clone(), nobody, 1, 3600, 1200, 604_800, negative_ttl);
    Record::from_rdata(apex, negative_ttl, RData::SOA(soa))
}

/// How other edges find this one: a record for each address that its tunnels end at.
pub fn naptr_records(owner: &Name, edge: &EdgeIdentity) -> Vec<Record> {
    let record = |(address, preference): (&IpAddr, u16)| {
        let family = if address.is_ipv4() { "ip" } else { "ipv6" };
        let alias = edge.alias.as_ref().map(|alias| format!("?alias={alias}")).unwrap_or_default();
        let regexp = format!("!^(.*)$!cesid:1={}.?{family}={address}{alias}!", edge.cesid);
        let naptr = NAPTR::new(
            NAPTR_ORDER,
            preference,
            b"U"[..].into(),
            b"CETP+cesid"[..].into(),
            regexp.into_bytes().into(),
            Name::root(),
        );
        Record::from_rdata(owner.clone(), NAPTR_TTL, RData::NAPTR(naptr))
    };
    edge.rlocs.iter().zip(NAPTR_PREFERENCE..).map(record).collect()
}

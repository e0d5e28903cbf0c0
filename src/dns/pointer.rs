//! The names behind a proxy address, asked from its realm (RFC 1035 section 3.5).
//!
//! Guarantees: what is answered about a proxy address is known here alone: it goes to no upstream, and is of no zone, whoever has
//! its part of `in-addr.arpa`. An address that stands for nobody has no name (RFC 8020). Never: assigns one.

use std::net::IpAddr;

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

use super::Asker;
use super::name::{self, Reverse};
use super::pending::Sections;
use super::zone::{any_record, local_soa};
use crate::edge::proxies::{Known, Proxies, TTL};
use crate::flow::Realm;

/// Seconds for which it may be remembered that there is no name: soon it may be somebody's.
const NEGATIVE_TTL: u32 = 5;
/// Labels of the zone that answers, which is as wide as a /24: three numbers and `in-addr.arpa`.
const ZONE_LABELS: usize = 5;

/// The answer to a question for that name, `text` in lower case; `None` where it is about no proxy address of the asker's realm.
pub(super) fn find(query: &Query, text: &str, asker: &Asker, proxies: &Proxies) -> Option<Sections> {
    let Some(Reverse::Address(IpAddr::V4(address))) = name::reverse(text) else { return None };
    let realm = Realm(asker.realm.filter(|_| query.query_class() == DNSClass::IN)?);
    let known = proxies.known(realm, address);
    let sections = Sections { is_authoritative: true, ..Sections::default() };
    let soa = || local_soa(query.name().trim_to(ZONE_LABELS), NEGATIVE_TTL);
    let negative = |code| Sections { code, authorities: vec![soa()], ..sections.clone() };
    let owner = || query.name().clone();
    Some(match (known, query.query_type()) {
        (Known::Else, _) => return None,
        (Known::Nobody, _) => negative(ResponseCode::NXDomain),
        (Known::Named(names), RecordType::PTR) => {
            let names = names.iter().filter_map(|text| name::of_shown(text));
            let record = |name| Record::from_rdata(owner(), TTL, RData::PTR(PTR(name)));
            Sections { answers: names.map(record).collect(), ..sections }
        }
        (Known::Named(_), RecordType::ANY) => {
            Sections { answers: vec![any_record(owner(), TTL)], ..sections }
        }
        (Known::Named(_), _) => negative(ResponseCode::NoError),
    })
}

#[cfg(test)]
#[path = "pointer_tests.rs"]
pub(super) mod tests;

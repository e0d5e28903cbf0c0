//! What a host is told of others' addresses where its realm sees them by proxy addresses.
//!
//! Each A record of an answer becomes one with the proxy address that stands for its own ([`Proxies`]), all with the shortest TTL that
//! any of them may have; aliases stay as they are, and so do AAAA records: IPv6 is not translated. What leads around a proxy address
//! goes: `ipv4hint` of SVCB and HTTPS records (RFC 9460 section 7.3; a client asks for A then), and with it signatures that no longer
//! fit what they sign. So nobody inside who validates (RFC 4035) can believe such an answer: that is what hosts have to give for it.
//!
//! Addresses that never lead through the edge stay: those of no host (RFC 6890: 0.0.0.0/8, loopback, link-local, multicast and
//! above, as block lists answer with), and those that the operator says are reached inside.
//!
//! Never: judges what is believed, or remembers anything.

use std::net::Ipv4Addr;
use std::time::Instant;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::rdata::svcb::{SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::{RData, Record, RecordType};
use ipnet::Ipv4Net;

use super::answer::Found;
use crate::dns::{Asker, name};
use crate::edge::proxies::{self, Proxies, Refused};
use crate::flow::Realm;

/// See the module.
pub(super) fn show(
    mut found: Found,
    asked: &hickory_proto::rr::Name,
    asker: &Asker,
    proxies: &Proxies,
    inside: &[(u16, Ipv4Net)],
    now: Instant,
) -> Found {
    let Some(realm) = asker.realm.filter(|realm| proxies.hides_strangers(Realm(*realm))) else {
        return found;
    };
    let has_hints = found.answers.iter_mut().fold(false, |any, record| any | take_hint(record));
    if has_hints {
        found.answers.retain(|record| !signs(record, RecordType::HTTPS) && !signs(record, RecordType::SVCB));
    }
    let stays = |address: Ipv4Addr| {
        is_nobodys(address) || inside.iter().any(|(of, net)| *of == realm && net.contains(&address))
    };
    let is_remote = |record: &Record| matches!(&record.data, RData::A(a) if !stays(a.0));
    if !found.answers.iter().any(is_remote) {
        return found;
    }
    let asker = proxies::Asker { realm: Realm(realm), address: asker.address };
    let asked = name::shown(asked);
    let (mut ttl, mut refused) = (u32::MAX, false);
    found.answers.retain_mut(|record| {
        let RData::A(A(address)) = &mut record.data else { return !signs(record, RecordType::A) };
        if stays(*address) {
            ttl = ttl.min(record.ttl);
            return true;
        }
        match proxies.assign(&asker, *address, &asked, record.ttl, now) {
            Ok(assigned) => {
                *address = assigned.address;
                ttl = ttl.min(assigned.ttl);
                true
            }
            Err(why) => {
                refused |= why != Refused::NoRemote;
                false
            }
        }
    });
    let mut addresses =
        found.answers.iter_mut().filter(|record| record.record_type() == RecordType::A).peekable();
    if refused && addresses.peek().is_none() {
        return Found::code(ResponseCode::ServFail);
    }
    // RFC 2181 section 5.2: one for all of a kind.
    addresses.for_each(|record| record.ttl = ttl);
    found
}

/// Whether no host has such an address.
fn is_nobodys(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first == 0 || first >= 224 || address.is_loopback() || address.is_link_local()
}

/// Whether this is a signature of records of that type, which it begins with (RFC 4034 section 3.1).
fn signs(record: &Record, covered: RecordType) -> bool {
    match &record.data {
        RData::Unknown { code: RecordType::RRSIG, rdata } => {
            rdata.anything.first_chunk() == Some(&u16::from(covered).to_be_bytes())
        }
        _ => false,
    }
}

/// Takes addresses out of a record that says how a service is reached; whether there were any.
fn take_hint(record: &mut Record) -> bool {
    let svcb: &mut SVCB = match &mut record.data {
        RData::SVCB(svcb) => svcb,
        RData::HTTPS(https) => &mut https.0,
        _ => return false,
    };
    let before = svcb.svc_params.len();
    svcb.svc_params.retain(|(key, _)| *key != SvcParamKey::Ipv4Hint);
    if svcb.svc_params.len() == before {
        return false;
    }
    // What must be understood must be there (section 8).
    for (_, value) in &mut svcb.svc_params {
        if let SvcParamValue::Mandatory(mandatory) = value {
            mandatory.0.retain(|key| *key != SvcParamKey::Ipv4Hint);
        }
    }
    svcb.svc_params.retain(|(_, value)| !matches!(value, SvcParamValue::Mandatory(m) if m.0.is_empty()));
    true
}

#[cfg(test)]
#[path = "proxied_tests.rs"]
mod tests;

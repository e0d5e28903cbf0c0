//! The edges that a name's NAPTR records name, in the three dialects that there are.
//!
//! | Dialect | Service | Regular expression |
//! |---|---|---|
//! | the first paper's | `ID+idprotocol` | `!^(.*)$!dest:1234?eth=12:34:56:78:90:AB&ip=192.0.2.10&ipv6=2001:db8::10!` |
//! | the CES papers', and ours | `CETP+cesid` | `!^(.*)$!cesid:1=cesb.ces.?ip=192.0.2.10?alias=IXP!` |
//! | of CETP version 2 | `CES+cesid` | `!^.*$!cesid=1:cesb.ces.?cetp_ipv4=192.0.2.10?proto=tls?port=48001!` |
//!
//! The first names no edge, and may name RLOCs of any kind; the others name an edge, and may name RLOCs or leave them to its own
//! name. Parameters that aren't known here say nothing. A record that is of a dialect and not written as it is counts for nothing, and
//! so does one with an address that no edge can have. Records of one edge are one [`Speaker`].
//!
//! Guarantees: whatever the records, at most [`SPEAKERS_MAX`] edges and [`RLOCS_MAX`] RLOCs of each, the preferred ones first: by
//! order, then by preference (RFC 3403 section 4.1). Only NAPTR of the name itself counts. Never: applies a regular expression.

use std::net::IpAddr;

use hickory_proto::rr::rdata::NAPTR;
use hickory_proto::rr::{DNSClass, Name, RData, Record};

use crate::config::DomainName;
use crate::edge::identity::naming::{Rloc, Speaker};

/// Edges of a name.
pub const SPEAKERS_MAX: usize = 8;
/// RLOCs of an edge.
pub const RLOCS_MAX: usize = 8;

/// The edges that `records` name for `name`, the preferred one first.
pub fn speakers(name: &Name, records: &[Record]) -> Vec<Speaker> {
    let naptr = |record: &&Record| record.name == *name && record.dns_class == DNSClass::IN;
    let mut found: Vec<&NAPTR> = records.iter().filter(naptr).filter_map(read_data).collect();
    found.sort_by_key(|naptr| (naptr.order, naptr.preference));
    let mut speakers: Vec<Speaker> = Vec::new();
    for speaker in found.into_iter().filter_map(read) {
        let known = speakers.iter().position(|known| known.edge.is_some() && known.edge == speaker.edge);
        match known {
            Some(at) => speaker.rlocs.into_iter().for_each(|rloc| add(&mut speakers[at].rlocs, rloc)),
            None if speakers.len() < SPEAKERS_MAX => speakers.push(speaker),
            None => {}
        }
    }
    speakers
}

fn read_data(record: &Record) -> Option<&NAPTR> {
    match &record.data {
        RData::NAPTR(naptr) => Some(naptr),
        _ => None,
    }
}

/// The edge of one record; `None` where it is of no dialect.
fn read(naptr: &NAPTR) -> Option<Speaker> {
    if !naptr.flags.eq_ignore_ascii_case(b"U") || !naptr.replacement.is_root() {
        return None;
    }
    let mut parts = std::str::from_utf8(&naptr.regexp).ok()?.strip_prefix('!')?.split('!');
    let (pattern, text, end) = (parts.next()?, parts.next()?, parts.next()?);
    // The whole of whatever is asked for is replaced.
    if !matches!(pattern, "^(.*)$" | "^.*$") || !end.is_empty() || parts.next().is_some() {
        return None;
    }
    let service = naptr.services.to_ascii_lowercase();
    match &service[..] {
        b"id+idprotocol" => first_dialect(text),
        b"cetp+cesid" => cesid(text, "cesid:", '=', ["ip", "ipv6", "eth"]),
        b"ces+cesid" => cesid(text, "cesid=", ':', ["cetp_ipv4", "cetp_ipv6", "cetp_eth"]),
        _ => None,
    }
}

/// `dest:ID?parameter&parameter`, of which one is an RLOC.
fn first_dialect(text: &str) -> Option<Speaker> {
    let (id, parameters) = text.strip_prefix("dest:")?.split_once('?')?;
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let rlocs = rlocs(parameters.split('&'), ["ip", "ipv6", "eth"])?;
    (!rlocs.is_empty()).then_some(Speaker { edge: None, rlocs })
}

/// A key, the number of an ID, and the edge's name; and then parameters, each behind a `?`.
fn cesid(text: &str, key: &str, before_name: char, keys: [&str; 3]) -> Option<Speaker> {
    let mut parts = text.split('?');
    let (number, name) = parts.next()?.strip_prefix(key)?.split_once(before_name)?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Speaker { edge: Some(DomainName::new(name)?), rlocs: rlocs(parts, keys)? })
}

/// The RLOCs among `parameters`, by the keys of an IPv4, an IPv6 and an Ethernet one; `None` where one is none, or a parameter has
/// no key.
fn rlocs<'a>(parameters: impl Iterator<Item = &'a str>, keys: [&str; 3]) -> Option<Vec<Rloc>> {
    let mut rlocs = Vec::new();
    for parameter in parameters {
        let (key, value) = parameter.split_once('=')?;
        let rloc = match keys.iter().position(|known| *known == key) {
            Some(0) => ip(IpAddr::V4(value.parse().ok()?))?,
            Some(1) => ip(IpAddr::V6(value.parse().ok()?))?,
            Some(_) => Rloc::Ethernet(station(value)?),
            None => continue,
        };
        add(&mut rlocs, rloc);
    }
    Some(rlocs)
}

/// One more, unless it is there, or there are enough.
fn add(rlocs: &mut Vec<Rloc>, rloc: Rloc) {
    if rlocs.len() < RLOCS_MAX && !rlocs.contains(&rloc) {
        rlocs.push(rloc);
    }
}

/// An address that something between the realms can have (RFC 6890): whoever writes a record is not to have us send to ourselves, or
/// to many.
fn ip(address: IpAddr) -> Option<Rloc> {
    let is_nobodys = match address {
        IpAddr::V4(v4) => {
            v4.octets()[0] == 0 || v4.octets()[0] >= 224 || v4.is_loopback() || v4.is_link_local()
        }
        IpAddr::V6(v6) => {
            v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || v6.to_ipv4_mapped().is_some()
        }
    };
    (!is_nobodys).then_some(Rloc::Ip(address))
}

/// Six pairs of hexadecimal digits with colons: the address of one station.
fn station(text: &str) -> Option<[u8; 6]> {
    let mut address = [0; 6];
    let mut pairs = text.split(':');
    for byte in &mut address {
        let pair =
            pairs.next().filter(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    let is_one = address[0] & 1 == 0 && address != [0; 6];
    (is_one && pairs.next().is_none()).then_some(address)
}

#[cfg(test)]
#[path = "naptr_tests.rs"]
mod tests;

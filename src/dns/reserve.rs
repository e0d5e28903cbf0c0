//! What the circular pool is asked, and what its decision becomes.
//!
//! Guarantees: every decision becomes an answer that the asker can follow: what asks for a proof that was given, or that the asker
//! cannot give, becomes an empty answer instead of a loop. An address of the pool has TTL 0. Never: reserves anything.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ipnet::IpNet;

use super::cookie::Cookies;
use super::pending::{Pending, Sections};
use super::zone::{Zone, address_record};
use super::{Transport, name};
use crate::config::ServiceTarget;
use crate::edge::hosts::HostId;
use crate::edge::prgw::HostLimits;

/// What is to be reserved, for whom, and what the asker has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    pub host: HostId,
    /// What the register allows it.
    pub limits: HostLimits,
    /// For the name of a service (an SFQDN), its protocol and port.
    pub service: Option<ServiceTarget>,
    pub family: Family,
    /// Who asked: a resolver from outside, or a host of [`Reserve::realm`].
    pub resolver: IpAddr,
    /// The realm of an asker from inside; `None` outside.
    pub realm: Option<u16>,
    /// The subnet that the resolver asks for, if it tells (RFC 7871).
    pub subnet: Option<IpNet>,
    pub proof: Proof,
}

/// The family of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// What shows that the asker gets what is sent to its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// It asked over TCP.
    pub tcp: bool,
    /// It showed a server cookie of ours (RFC 7873).
    pub cookie: bool,
    /// It asked under a random label that this resolver was told: the asker itself, or another of its group.
    pub label: Option<IpAddr>,
}

/// What the pool says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Reserved.
    Address(IpAddr),
    /// Not before the asker comes by TCP.
    DemandTcp,
    /// Not before it asks under a random label.
    DemandLabel,
    /// Not before it shows a cookie of ours.
    DemandCookie,
    /// No answer: the resolver asks again.
    Silence,
    /// Nothing now, and nothing to remember.
    Empty,
    /// There are no addresses of that family, and that may be remembered.
    NoAddress,
    Refuse,
}

/// A question that waits for a [`Decision`].
#[derive(Clone, Debug)]
pub struct Deferral {
    pub reserve: Reserve,
    pub(super) pending: Pending,
    /// Place of its zone.
    pub(super) zone: usize,
    /// That was asked for, or that others' records led to.
    pub(super) name: Name,
    /// What is said in any case.
    pub(super) known: Sections,
}

impl Deferral {
    /// Whether it came over TCP, where the pool may try once more before it says [`Decision::Empty`].
    pub fn transport(&self) -> Transport {
        if self.reserve.proof.tcp { Transport::Tcp } else { Transport::Udp }
    }

    /// What the decision comes to; `None` for silence.
    pub(super) fn sections(
        &self,
        decision: Decision,
        zone: &Zone,
        cookies: &Cookies,
        now: u32,
    ) -> Option<Sections> {
        let empty = self.known.clone();
        let and = |record| [self.known.answers.clone(), vec![record]].concat();
        let query = self.pending.query.as_ref()?;
        let is_udp = self.transport() == Transport::Udp;
        Some(match decision {
            Decision::Address(address) => {
                let is_asked = address.is_ipv4() == (query.query_type() == RecordType::A);
                if !is_asked {
                    return Some(Sections::code(ResponseCode::ServFail));
                }
                let answers = and(address_record(self.name.clone(), 0, address));
                Sections { answers, is_for_subnet: self.reserve.subnet.is_some(), ..empty }
            }
            Decision::DemandTcp if is_udp => Sections { is_truncated: true, ..empty },
            Decision::DemandCookie if is_udp => match self.pending.cookie() {
                // RFC 7873 section 5.2.3; who sends no cookie of its own knows none.
                Some(shown) if !shown.is_proof => Sections::code(ResponseCode::BADCOOKIE),
                Some(_) => empty,
                None => Sections { is_truncated: true, ..empty },
            },
            Decision::DemandLabel if self.reserve.proof.label.is_none() => {
                let text = name::text(&self.name)?;
                let label = cookies.label(&text, self.reserve.resolver, now);
                match self.name.prepend_label(label.as_bytes()) {
                    Ok(target) => {
                        let alias = RData::CNAME(CNAME(target));
                        let answers = and(Record::from_rdata(self.name.clone(), 0, alias));
                        Sections { answers, ..empty }
                    }
                    // The name is too long for a label more.
                    Err(_) => Sections { is_truncated: is_udp, ..empty },
                }
            }
            Decision::DemandTcp | Decision::DemandCookie | Decision::DemandLabel | Decision::Empty => empty,
            Decision::NoAddress => Sections { authorities: vec![zone.negative_soa(&self.name)], ..empty },
            Decision::Refuse => Sections::code(ResponseCode::Refused),
            Decision::Silence => return None,
        })
    }
}

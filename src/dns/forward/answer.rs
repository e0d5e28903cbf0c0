//! What of an upstream's answer is believed, how long, and what a host is told.
//!
//! Guarantees: of the answer section only what the question leads to is kept, by CNAMEs and DNAMEs (RFC 1034 section 4.3.2, RFC
//! 6672); of the authority section only what says that something is not there (RFC 2308) or proves it (RFC 4035); nothing is kept
//! about our own zones, nor with a protected address. A TTL is never more than its bounds.
//! Never: follows a chain of more than [`CHAIN_MAX`] names, or keeps more than [`RECORDS_MAX`] records.

use std::net::IpAddr;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::svcb::SvcParamValue;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use ipnet::IpNet;

use crate::dns::pending::Sections;

/// Names of a chain: what resolvers follow.
const CHAIN_MAX: usize = 16;
/// Records of an answer.
pub(super) const RECORDS_MAX: usize = 512;
/// RFC 9520 section 3.2: a failure is remembered for a second at least.
const FAILURE_TTL: u32 = 1;

/// What is asked of upstreams.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// Its name in lower case, its class IN.
    pub query: Query,
    /// DO: with signatures (RFC 3225).
    pub dnssec: bool,
    /// CD: even if they are wrong (RFC 4035 section 3.2.2).
    pub checking_disabled: bool,
}

impl Question {
    pub fn new(query: &Query, dnssec: bool, checking_disabled: bool) -> Question {
        let query = Query::query(query.name().to_lowercase(), query.query_type());
        Question { query, dnssec, checking_disabled }
    }
}

/// What has been found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub code: ResponseCode,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
}

impl Found {
    /// Nothing but a code.
    pub fn code(code: ResponseCode) -> Found {
        Found { code, ..Found::default() }
    }
}

/// What is not believed.
#[derive(Debug)]
pub(super) struct Doubts {
    /// Apices of our own zones.
    pub own: Vec<Name>,
    /// Sorted, without overlaps.
    protected: Vec<IpNet>,
}

/// What was taken out of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TakenOut {
    pub own: u64,
    pub protected: u64,
}

impl Doubts {
    pub fn new(own: Vec<Name>, protected: &[IpNet]) -> Doubts {
        let mut protected = IpNet::aggregate(&protected.to_vec());
        protected.sort_unstable();
        Doubts { own, protected }
    }

    fn is_own(&self, name: &Name) -> bool {
        self.own.iter().any(|apex| apex.zone_of(name))
    }

    /// The name of ours to which `found` leads from what `query` asked for.
    pub fn leads_to(&self, found: &Found, query: &Query) -> Option<Name> {
        if self.own.is_empty()
            || !found.answers.iter().any(|record| record.record_type() == RecordType::CNAME)
        {
            return None;
        }
        chain(&found.answers, query).pop().filter(|name| self.is_own(name))
    }

    fn is_protected(&self, record: &Record) -> bool {
        if self.protected.is_empty() {
            return false;
        }
        match &record.data {
            RData::A(a) => self.has(a.0.into()),
            RData::AAAA(aaaa) => self.has(aaaa.0.into()),
            RData::SVCB(svcb) => self.is_hinted(&svcb.svc_params),
            RData::HTTPS(https) => self.is_hinted(&https.0.svc_params),
            _ => false,
        }
    }

    fn is_hinted(&self, params: &[(hickory_proto::rr::rdata::svcb::SvcParamKey, SvcParamValue)]) -> bool {
        params.iter().any(|(_, value)| match value {
            SvcParamValue::Ipv4Hint(hint) => hint.0.iter().any(|a| self.has(a.0.into())),
            SvcParamValue::Ipv6Hint(hint) => hint.0.iter().any(|aaaa| self.has(aaaa.0.into())),
            _ => false,
        })
    }

    fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical(); // an IPv4 one may come as ::ffff:…
        let after = self.protected.partition_point(|net| net.network() <= address);
        after.checked_sub(1).is_some_and(|at| self.protected[at].contains(&address))
    }
}

/// What of `message`, which answers `question`, is believed, and what was not; `None` if it has too many records.
pub(super) fn believe(message: Message, question: &Question, doubts: &Doubts) -> Option<(Found, TakenOut)> {
    if message.answers.len() + message.authorities.len() > RECORDS_MAX {
        return None;
    }
    let mut taken_out = TakenOut::default();
    let mut keep = |record: &Record| {
        let (own, protected) = (doubts.is_own(&record.name), doubts.is_protected(record));
        taken_out.own += u64::from(own);
        taken_out.protected += u64::from(protected && !own);
        record.dns_class == DNSClass::IN && !own && !protected
    };
    let chain = chain(&message.answers, &question.query);
    let wanted = question.query.query_type();
    let mut answers = message.answers;
    answers.retain(|record| {
        let kind = record.record_type();
        let is_signature = kind == RecordType::RRSIG && question.dnssec;
        let is_asked =
            kind == wanted || wanted == RecordType::ANY || kind == RecordType::CNAME || is_signature;
        let is_of_chain = is_asked && chain.contains(&record.name);
        let leads = (kind == RecordType::DNAME || is_signature)
            && chain.iter().any(|name| record.name.zone_of(name) && record.name != *name);
        (is_of_chain || leads) && keep(record)
    });
    let mut authorities = message.authorities;
    authorities.retain(|record| {
        let is_proof = match record.record_type() {
            RecordType::SOA => true,
            RecordType::NSEC | RecordType::NSEC3 | RecordType::RRSIG => question.dnssec,
            _ => false,
        };
        is_proof && keep(record)
    });
    Some((Found { code: message.metadata.response_code, answers, authorities }, taken_out))
}

/// The names that `query` leads to by the CNAMEs of `records`, its own first.
pub(in crate::dns) fn chain(records: &[Record], query: &Query) -> Vec<Name> {
    let mut names = vec![query.name().clone()];
    if matches!(query.query_type(), RecordType::CNAME | RecordType::ANY) {
        return names;
    }
    while names.len() < CHAIN_MAX {
        let next = records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if names.last() == Some(&record.name) => Some(target.0.clone()),
            _ => None,
        });
        match next {
            Some(next) if !names.contains(&next) => names.push(next),
            _ => break,
        }
    }
    names
}

/// How long answers are remembered, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub min: u32,
    pub max: u32,
    pub negative_max: u32,
}

impl Bounds {
    /// Bounds the TTLs of `found`, which answers a question for `wanted`, and says for how many seconds it may be remembered; 0: not
    /// at all.
    pub fn apply(&self, found: &mut Found, wanted: RecordType) -> u32 {
        if !matches!(found.code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return FAILURE_TTL;
        }
        let mut least = self.max;
        for record in &mut found.answers {
            record.ttl = self.positive(record.ttl);
            least = least.min(record.ttl);
        }
        for record in &mut found.authorities {
            record.ttl = seconds(record.ttl).min(self.negative_max);
            if let RData::SOA(soa) = &record.data {
                record.ttl = record.ttl.min(seconds(soa.minimum)); // RFC 2308 section 3
            }
            least = least.min(record.ttl);
        }
        // One that ends in a name without records of the kind that was asked is negative too (RFC 2308 section 2.1).
        let is_wanted = |record: &Record| wanted == RecordType::ANY || record.record_type() == wanted;
        let is_positive = found.code == ResponseCode::NoError && found.answers.iter().any(is_wanted);
        let has_soa = found.authorities.iter().any(|record| record.record_type() == RecordType::SOA);
        // RFC 2308 section 5: what is not there is remembered by its SOA alone.
        if is_positive || has_soa { least } else { 0 }
    }

    fn positive(&self, ttl: u32) -> u32 {
        match seconds(ttl) {
            0 => 0, // it is for this question alone
            ttl => ttl.clamp(self.min.min(self.max), self.max),
        }
    }
}

/// RFC 2181 section 8: what has the first bit set is 0.
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// What somebody who asked `query` is told: in the letters that they used.
pub(super) fn sections(found: Found, query: &Query) -> Sections {
    let Found { code, mut answers, authorities } = found;
    for record in &mut answers {
        if record.name == *query.name() {
            record.name = query.name().clone();
        }
    }
    Sections { code, answers, authorities, ..Sections::default() }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
pub(super) mod tests;

//! The edge's DNS: the bytes of a question in, and out the bytes of its answer, or what must be known first.
//!
//! A [`Responder`] is sans-IO. It is the authority of the configured zones: what it knows by itself it answers at once. A question
//! for the address of a host that is reached by the circular pool becomes a [`Deferral`], whose [`Decision`] then becomes the
//! answer; a question from inside for somebody else's name becomes a [`Forward`]; a signed DNS UPDATE becomes changes of the host
//! register and, when they are done, a signed answer. What others have found for a [`Forward`] may lead back to a name of ours: an
//! [`Alias`], whose answer is completed here.
//!
//! | file | what it is |
//! |---|---|
//! | [`zone`] | the zones, and the records that come from the configuration |
//! | `lookup` | what a question of a zone comes to |
//! | `pointer` | the names behind a proxy address |
//! | [`reserve`] | what the pool is asked and what its decision becomes |
//! | [`pending`] | what of a question its answer needs; EDNS; sizes |
//! | [`cookie`] | DNS cookies, and the random label |
//! | [`tsig`], [`update`] | signatures, and DNS UPDATE |
//! | [`thread`] | the thread `ces-dns`: rings and channels, naps |
//! | [`server`] | what it does with a question: answer, reserve, change, forward |
//! | [`datagram`] | from a frame to a question, and back |
//! | [`circular`] | from a deferral to the pool and back |
//! | [`updates`] | updates on their way into the register |
//! | [`discovery`] | other edges: what questions of hosts become calls, and what naming checks ask |
//! | [`forwarder`] | the seam to whoever asks other servers |
//! | [`stream`], [`connection`] | the thread `ces-dns-tcp`: DNS over TCP |
//! | [`counters`] | what they count |
//! | [`forward`] | the thread that finds answers about others' names |
//!
//! The files down to `update` are sans-IO, as is [`server`]; the two threads bring the clock and carry the bytes.
//!
//! Guarantees: no bytes make it panic; a message is read only if its counts are within bounds, so the work and the memory of each
//! are bounded; an answer is never longer than asker and edge allow, and none is given to what is no question. A question from
//! outside about others' names costs no answer unless the configuration says so.
//! Never: changes the register itself. `hickory_proto` warns of options that are cut short: `cesd` keeps that out of its log.

pub mod circular;
pub mod connection;
pub mod cookie;
pub mod counters;
pub mod datagram;
pub mod discovery;
pub mod forward;
pub mod forwarder;
mod lookup;
mod name;
pub mod pending;
mod pointer;
pub mod reserve;
pub mod server;
pub mod stream;
pub mod thread;
pub mod tsig;
pub mod update;
pub mod updates;
pub mod zone;

#[cfg(test)]
mod alias_tests;
#[cfg(test)]
mod dhcid_tests;
#[cfg(test)]
mod lookup_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod update_tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};

use crate::config::{Dns, Foreign, Realms, ServiceTarget};
use crate::edge::hosts::{HostId, Register};
use crate::edge::proxies::Proxies;
use cookie::{Cookies, Secret};
use lookup::Finding;
use pending::{Pending, Sections};
pub use reserve::{Decision, Deferral, Family, Proof, Reserve};
pub use update::Update;
use zone::Zone;

/// Bytes of a header: RFC 1035 section 4.1.1.
const HEADER: usize = 12;
/// Additional records of a question: OPT, TSIG or SIG, and room for what nobody sends.
const ADDITIONALS_MAX: usize = 4;
/// Records of an update, all sections together.
const UPDATE_RECORDS_MAX: usize = 64;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub address: IpAddr,
    pub transport: Transport,
    /// The inside realm that it is in; `None` outside.
    pub realm: Option<u16>,
}

/// What becomes of a message.
#[derive(Debug)]
pub enum Outcome {
    /// It is answered.
    Answer(Vec<u8>),
    /// The pool must decide first: [`Responder::decide`].
    Reserve(Box<Deferral>),
    /// Somebody else's name, asked from inside.
    Forward(Box<Forward>),
    /// That host of ours is to be called, for a single service where the name is of one.
    Call(Box<Alias>, HostId, Option<ServiceTarget>),
    /// The register must be changed first: [`Responder::updated`].
    Update(Box<Update>),
    /// It is not answered.
    Silence(Silence),
}

/// Why a message is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It is shorter than a header.
    Short,
    /// It is an answer itself.
    Response,
    /// It is from outside and about names that are not ours.
    Foreign,
    /// The pool is exhausted: the resolver asks again.
    Exhausted,
    /// There is no way to say it in what the asker allows.
    TooLong,
}

/// A question of a host of ours for somebody else's name.
#[derive(Clone, Debug)]
pub struct Forward {
    pub query: Query,
    pub asker: Asker,
    /// What its answer needs.
    pub pending: Pending,
}

/// A question of a host of ours, and the name that it has led to: one of ours, or of somebody who is called.
#[derive(Clone, Debug)]
pub struct Alias {
    pub forward: Forward,
    /// The records that lead there, from the name that was asked on; none where it is that name.
    pub chain: Vec<Record>,
    pub target: Name,
}

/// See the module.
pub struct Responder {
    config: Dns,
    zones: Vec<Zone>,
    cookies: Cookies,
    realms: Realms,
    proxies: Option<Arc<Proxies>>,
    /// Whether questions of hosts become calls.
    makes_calls: bool,
}

impl Responder {
    /// For the zones of `config`; `realms` judges what hosts an update makes, and knows which addresses are reached from outside. `random`
    /// is a secret of this process.
    pub fn new(config: &Dns, realms: &Realms, random: Secret) -> Responder {
        Responder {
            zones: config.zones.iter().map(Zone::new).collect(),
            cookies: Cookies::new(&config.cookie_secrets, random),
            config: config.clone(),
            realms: realms.clone(),
            proxies: None,
            makes_calls: false,
        }
    }

    /// The same, where hosts see proxy addresses.
    pub fn with_proxies(self, proxies: Option<Arc<Proxies>>) -> Responder {
        Responder { proxies, ..self }
    }

    /// Lets the time of proxy addresses pass.
    pub fn turn(&self, now: Instant) {
        if let Some(proxies) = &self.proxies {
            proxies.turn(now);
        }
    }

    /// To change the secret of the cookies.
    pub fn cookies(&mut self) -> &mut Cookies {
        &mut self.cookies
    }

    /// What becomes of `bytes`; `now` is in seconds since 1970.
    pub fn ask(&self, bytes: &[u8], asker: &Asker, hosts: &Register, now: u64) -> Outcome {
        let Some(head) = Head::read(bytes) else { return Outcome::Silence(Silence::Short) };
        if head.is_response {
            return Outcome::Silence(Silence::Response);
        }
        if !matches!(head.op_code, OpCode::Query | OpCode::Update) {
            return head.answer(ResponseCode::NotImp);
        }
        let message = head.is_bounded().then(|| Message::from_vec(bytes).ok()).flatten();
        let Some(message) = message else { return head.answer(ResponseCode::FormErr) };
        let (pending, result) =
            Pending::new(&message, asker, &self.cookies, self.config.udp_payload, now as u32);
        if let Err(code) = result {
            return answer(&pending, Sections::code(code));
        }
        match head.op_code {
            OpCode::Update => self.update(bytes, &message, pending, hosts, now),
            _ => self.question(&message, pending, asker, hosts, now as u32),
        }
    }

    fn question(
        &self,
        message: &Message,
        pending: Pending,
        asker: &Asker,
        hosts: &Register,
        now: u32,
    ) -> Outcome {
        let Some(query) = message.queries.first() else {
            // RFC 7873 section 5.4: who asks nothing wants a cookie.
            let code = if pending.cookie().is_some() { ResponseCode::NoError } else { ResponseCode::FormErr };
            return answer(&pending, Sections::code(code));
        };
        let text = name::text(query.name());
        let proxies = self.proxies.as_deref().zip(text.as_deref());
        if let Some(sections) = proxies.and_then(|(proxies, text)| pointer::find(query, text, asker, proxies))
        {
            return answer(&pending, sections);
        }
        let zone = text.as_ref().and_then(|text| zone::find(&self.zones, text));
        let zone = zone.filter(|zone| asker.realm.is_some() || !zone.config.inside_only);
        let (Some(text), Some(zone)) = (text, zone) else {
            return self.foreign(query, pending, asker);
        };
        if query.query_class() != DNSClass::IN
            || matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR)
        {
            return answer(&pending, Sections::code(ResponseCode::Refused));
        }
        let own = Own { zone, query, text: &text, chain: Vec::new(), makes_calls: self.calls_for(asker) };
        self.own(own, pending, asker, hosts, now)
    }

    /// The answer about a name of others that leads to one of ours: what led there, and what that one comes to.
    pub fn complete(&self, alias: Alias, hosts: &Register, now: u64) -> Outcome {
        let makes_calls = self.calls_for(&alias.forward.asker);
        self.aliased(alias, hosts, now, makes_calls)
    }

    fn aliased(&self, alias: Alias, hosts: &Register, now: u64, makes_calls: bool) -> Outcome {
        let Alias { forward: Forward { query, asker, pending }, chain, target } = alias;
        let text = name::text(&target);
        let zone = text.as_ref().and_then(|text| zone::find(&self.zones, text));
        let (Some(text), Some(zone)) = (text, zone) else {
            return answer(&pending, Sections { answers: chain, ..Sections::default() });
        };
        let query = Query::query(target, query.query_type());
        let own = Own { zone, query: &query, text: &text, chain, makes_calls };
        self.own(own, pending, &asker, hosts, now as u32)
    }

    /// What a name of ours comes to.
    fn own(&self, own: Own<'_>, pending: Pending, asker: &Asker, hosts: &Register, now: u32) -> Outcome {
        let Own { zone, query, text, chain, makes_calls } = own;
        let lookup = self.lookup(zone, query, text, asker, hosts, now);
        let finding = lookup::Lookup { makes_calls, ..lookup }.find();
        // AA is about the name that was asked (RFC 1035 section 4.1.1).
        let known = Sections { is_authoritative: chain.is_empty(), answers: chain, ..Sections::default() };
        let negative =
            |known, code| Sections { code, authorities: vec![zone.negative_soa(query.name())], ..known };
        match finding {
            Finding::Records { answers, additionals } => {
                let answers = known.answers.into_iter().chain(answers).collect();
                answer(
                    &pending,
                    Sections {
                        is_authoritative: known.is_authoritative,
                        answers,
                        additionals,
                        ..Sections::default()
                    },
                )
            }
            Finding::NoData => answer(&pending, negative(known, ResponseCode::NoError)),
            Finding::NoName => answer(&pending, negative(known, ResponseCode::NXDomain)),
            Finding::Reserve(mut reserve) => {
                reserve.proof.cookie = pending.cookie().is_some_and(|shown| shown.is_proof);
                // A hairpin comes from the NAT's address, whatever the host's own is.
                reserve.subnet = pending.subnet().filter(|_| asker.realm.is_none());
                let zone = self.zones.iter().position(|known| known.apex() == zone.apex()).unwrap_or(0);
                let name = query.name().clone();
                Outcome::Reserve(Box::new(Deferral { reserve, pending, zone, name, known }))
            }
            Finding::Call(host, service) => {
                let target = query.name().clone();
                let query = pending.query.clone().unwrap_or_else(|| query.clone());
                let forward = Forward { query, asker: *asker, pending };
                Outcome::Call(Box::new(Alias { forward, chain: known.answers, target }), host, service)
            }
        }
    }

    /// The search for a name of that zone, where nobody is called.
    fn lookup<'a>(
        &'a self,
        zone: &'a Zone,
        query: &'a Query,
        text: &'a str,
        asker: &'a Asker,
        hosts: &'a Register,
        now: u32,
    ) -> lookup::Lookup<'a> {
        lookup::Lookup {
            zone,
            edge: self.config.edge.as_ref(),
            cookies: &self.cookies,
            views: &self.config.views,
            hosts,
            realms: &self.realms,
            asker,
            query,
            text,
            makes_calls: false,
            now,
        }
    }

    /// What becomes of a question for others' names.
    fn foreign(&self, query: &Query, pending: Pending, asker: &Asker) -> Outcome {
        match asker.realm {
            Some(_) if pending.is_recursive() && query.query_class() == DNSClass::IN => {
                Outcome::Forward(Box::new(Forward { query: query.clone(), asker: *asker, pending }))
            }
            None if self.config.foreign == Foreign::Drop => Outcome::Silence(Silence::Foreign),
            _ => answer(&pending, Sections::code(ResponseCode::Refused)),
        }
    }

    /// The answer to somebody else's name where nobody asks others.
    pub fn refuse(&self, forward: &Forward) -> Outcome {
        answer(&forward.pending, Sections::code(ResponseCode::Refused))
    }

    /// The answer that a decision of the pool is.
    pub fn decide(&self, deferral: &Deferral, decision: Decision, now: u64) -> Outcome {
        let Some(zone) = self.zones.get(deferral.zone) else { return Outcome::Silence(Silence::TooLong) };
        match deferral.sections(decision, zone, &self.cookies, now as u32) {
            Some(sections) => answer(&deferral.pending, sections),
            None => Outcome::Silence(Silence::Exhausted),
        }
    }
}

/// A name of ours that is asked for.
struct Own<'a> {
    zone: &'a Zone,
    query: &'a Query,
    /// The name of the question in lower case.
    text: &'a str,
    /// What of others' records led to it.
    chain: Vec<Record>,
    /// Whether hosts are called.
    makes_calls: bool,
}

fn answer(pending: &Pending, sections: Sections) -> Outcome {
    pending.bytes(sections).map_or(Outcome::Silence(Silence::TooLong), Outcome::Answer)
}

/// A header, read before anything else is.
struct Head {
    id: u16,
    is_response: bool,
    op_code: OpCode,
    recursion_desired: bool,
    /// Questions, answers, authorities, additionals.
    counts: [usize; 4],
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Head> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let count = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
        Some(Head {
            id: u16::from_be_bytes([header[0], header[1]]),
            is_response: header[2] & 0x80 != 0,
            op_code: OpCode::from_u8(header[2] >> 3 & 15),
            recursion_desired: header[2] & 1 != 0,
            counts: [count(4), count(6), count(8), count(10)],
        })
    }

    /// Whether so much may be read: one question (RFC 9619), or one zone (RFC 2136 section 2.3).
    fn is_bounded(&self) -> bool {
        let [questions, answers, authorities, additionals] = self.counts;
        match self.op_code {
            OpCode::Update => questions == 1 && answers + authorities + additionals <= UPDATE_RECORDS_MAX,
            _ => questions <= 1 && answers == 0 && authorities == 0 && additionals <= ADDITIONALS_MAX,
        }
    }

    /// Nothing but a header.
    fn answer(&self, code: ResponseCode) -> Outcome {
        let mut message = Message::error_msg(self.id, self.op_code, code);
        message.metadata.recursion_desired = self.recursion_desired;
        message.to_vec().map_or(Outcome::Silence(Silence::TooLong), Outcome::Answer)
    }
}

//! A server among others that the test plays: other servers, whoever makes calls, and hosts. Only for tests.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, NAPTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::Callers;
use super::lookups::Desk;
use crate::dns::counters::{CALL_ENDS, Count, Counters, DISCOVERY_ENDS};
use crate::dns::forwarder::{Forwarder, Found};
use crate::dns::server::{Now, Parts, Replies, ReplyTo, Server};
use crate::dns::tests::{CONFIG, NOW, fixture_of, question};
use crate::dns::zone::address_record;
use crate::dns::{Alias, Asker, Forward, Transport};
use crate::edge::calls::{Call, Calls, Outcome};
use crate::edge::hosts::Register;
use crate::edge::proxies::{Assigned, Proxies};
use crate::flow::{self, HashKey, Realm};

/// Other servers: what they were asked, and what they say next.
#[derive(Default)]
pub struct Others {
    pub asked: Vec<(u64, Forward)>,
    pub says: VecDeque<(u64, Found)>,
    pub is_full: bool,
}

struct OthersEnd(Arc<Mutex<Others>>);

impl Forwarder for OthersEnd {
    fn ask(&mut self, forward: Forward, token: u64) -> bool {
        let mut others = self.0.lock().expect("no panic");
        if !others.is_full {
            others.asked.push((token, forward));
        }
        !others.is_full
    }

    fn poll(&mut self) -> Option<(u64, Found)> {
        self.0.lock().expect("no panic").says.pop_front()
    }
}

/// Whoever makes calls: what it was given, and what comes of it next.
#[derive(Default)]
pub struct Caller {
    pub calls: Vec<(u64, Call)>,
    pub outcomes: VecDeque<(u64, Outcome)>,
    pub is_full: bool,
}

struct CallerEnd(Arc<Mutex<Caller>>);

impl Calls for CallerEnd {
    fn call(&mut self, call: Call, number: u64) -> bool {
        let mut caller = self.0.lock().expect("no panic");
        if !caller.is_full {
            caller.calls.push((number, call));
        }
        !caller.is_full
    }

    fn poll(&mut self) -> Option<(u64, Outcome)> {
        self.0.lock().expect("no panic").outcomes.pop_front()
    }
}

/// What went out, by the connection that asked.
#[derive(Default)]
pub struct Sent(pub Vec<(u64, Option<Message>)>);

impl Replies for Sent {
    fn send(&mut self, to: &ReplyTo, message: Option<Vec<u8>>) {
        let ReplyTo::Stream { connection } = to else { panic!("{to:?}") };
        let message = message.map(|bytes| Message::from_vec(&bytes).expect("sound"));
        self.0.push((*connection, message));
    }
}

pub struct Bed {
    pub server: Server,
    pub register: Register,
    pub others: Arc<Mutex<Others>>,
    pub caller: Arc<Mutex<Caller>>,
    pub counters: Arc<Counters>,
    pub sent: Sent,
    pub ms: u64,
    /// Connections, each with a question.
    pub asked: u64,
}

/// A zone that is nobody's outside.
const INSIDE_ZONE: &str = r#"
[[dns.zones]]
apex = "lan.example"
inside_only = true
[[dns.zones.name_servers]]
name = "ns.lan.example"
addresses = ["10.0.0.1"]
"#;

/// The edge of `far.example`, of which `Naptr` tells.
pub const EDGE: &str = "!^(.*)$!cesid:1=ces.far.example.?ip=192.0.2.99!";

pub fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name");
    name.set_fqdn(true);
    name
}

/// A host of that realm.
pub fn host(realm: u16, last: u8) -> Asker {
    Asker { address: [10, 0, 0, last].into(), transport: Transport::Tcp, realm: Some(realm) }
}

pub fn naptr(owner: &str, regexp: &str) -> Record {
    let [flags, service, regexp] = ["U", "CETP+cesid", regexp].map(|text| text.as_bytes().into());
    let data = NAPTR::new(10, 6, flags, service, regexp, Name::root());
    Record::from_rdata(name(owner), 30, RData::NAPTR(data))
}

pub fn cname(owner: &str, target: &str) -> Record {
    Record::from_rdata(name(owner), 77, RData::CNAME(CNAME(name(target))))
}

pub fn address(owner: &str, address: impl Into<IpAddr>) -> Record {
    address_record(name(owner), 60, address.into())
}

/// What others say.
pub fn answer(code: ResponseCode, records: Vec<Record>) -> Found {
    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
    message.metadata.response_code = code;
    message.answers = records;
    Found::Answer(message.to_vec().expect("sound"))
}

pub fn assigned(last: u8, ttl: u32) -> Outcome {
    Outcome::Address(Assigned { address: Ipv4Addr::new(172, 16, 64, last), ttl })
}

pub fn now(ms: u64) -> Now {
    Now { seconds: NOW + ms / 1000, ms, at: Instant::now() }
}

impl Bed {
    /// Realms 1 to 3 have proxy addresses, realm 4 has none.
    pub fn new() -> Bed {
        Bed::with(true, None)
    }

    pub fn with(makes_calls: bool, lookups: Option<Desk>) -> Bed {
        Bed::among(None, makes_calls, lookups)
    }

    /// Others are those whom `forwarder` asks, where there is one.
    pub fn among(forwarder: Option<Box<dyn Forwarder>>, makes_calls: bool, lookups: Option<Desk>) -> Bed {
        let range = |realm: u8| {
            let first = Ipv4Addr::new(172, 16, 64 + realm, 0);
            (Realm(realm.into()), vec![(first, Ipv4Addr::from_bits(first.to_bits() + 15))])
        };
        let (_, bindings) = flow::Proxies::new([1, 2, 3].map(range).to_vec(), HashKey::new(|| 7));
        let proxies = Arc::new(Proxies::new(bindings, |_| 8, Instant::now()));
        let (responder, register) = fixture_of(&format!("{CONFIG}{INSIDE_ZONE}"));
        let (others, caller, counters) =
            (Arc::<Mutex<Others>>::default(), Arc::<Mutex<Caller>>::default(), Arc::<Counters>::default());
        let calls = makes_calls.then(|| Box::new(CallerEnd(caller.clone())) as Box<dyn Calls>);
        let server = Server::new(Parts {
            responder: responder.with_proxies(Some(proxies)),
            realms: vec![],
            changer: None,
            pool: None,
            forwarder: Some(forwarder.unwrap_or_else(|| Box::new(OthersEnd(others.clone())))),
            callers: Callers { calls, lookups },
            counters: counters.clone(),
        });
        Bed { server, register, others, caller, counters, sent: Sent::default(), ms: 0, asked: 0 }
    }

    /// A host asks; gives the number of the connection on which it does.
    pub fn ask(&mut self, asker: Asker, name: &str, kind: RecordType) -> u64 {
        self.asked += 1;
        let message = question(name, kind).to_vec().expect("sound");
        let Bed { server, register, sent, .. } = self;
        server.stream(&message, &asker, self.asked, register, now(self.ms), sent);
        self.asked
    }

    pub fn turn(&mut self) {
        while self.server.turn(&self.register, now(self.ms), &mut self.sent) {}
    }

    pub fn after(&mut self, ms: u64) {
        self.ms += ms;
        self.turn();
    }

    /// What others were asked last, as `NAME TYPE`.
    pub fn last_asked(&self) -> String {
        let others = self.others.lock().expect("no panic");
        let query = &others.asked.last().expect("they were asked").1.query;
        format!("{} {}", query.name().to_lowercase(), query.query_type())
    }

    pub fn asked_of_others(&self) -> usize {
        self.others.lock().expect("no panic").asked.len()
    }

    /// Others answer what they were asked last.
    pub fn others_say(&mut self, found: Found) {
        let token = self.others.lock().expect("no panic").asked.last().expect("they were asked").0;
        self.others_say_of(token, found);
    }

    pub fn others_say_of(&mut self, token: u64, found: Found) {
        self.others.lock().expect("no panic").says.push_back((token, found));
        self.turn();
    }

    /// Others find an alias of a name of ours.
    pub fn others_lead_to(&mut self, owner: &str, target: &str) {
        let forward = self.others.lock().expect("no panic").asked.last().expect("they were asked").1.clone();
        let alias = Alias { forward, chain: vec![cname(owner, target)], target: name(target) };
        self.others_say(Found::Alias(Box::new(alias)));
    }

    /// They say that the edge of `far.example` speaks for `owner`.
    pub fn others_say_edge(&mut self, owner: &str) {
        self.others_say(answer(ResponseCode::NoError, vec![naptr(owner, EDGE)]));
    }

    pub fn calls(&self) -> Vec<(u64, Call)> {
        self.caller.lock().expect("no panic").calls.clone()
    }

    /// That comes of the last call.
    pub fn comes_to(&mut self, outcome: Outcome) {
        let number = self.calls().last().expect("a call").0;
        self.caller.lock().expect("no panic").outcomes.push_back((number, outcome));
        self.turn();
    }

    /// The answer to that question, in a line: code, flags, answers, authorities; `silence`, or nothing yet.
    pub fn told(&self, connection: u64) -> Option<String> {
        let mut to_it = self.sent.0.iter().filter(|(to, _)| *to == connection);
        let (_, message) = to_it.next()?;
        assert!(to_it.next().is_none(), "once");
        let Some(message) = message else { return Some("silence".into()) };
        let mut text = format!("{:?}", message.response_code);
        text += if message.authoritative { " aa" } else { "" };
        message.answers.iter().for_each(|record| text += &format!(" | {record}"));
        message.authorities.iter().for_each(|record| text += &format!(" ? {record}"));
        Some(text)
    }

    pub fn is_told(&self, connection: u64, expected: &str) {
        assert_eq!(self.told(connection).as_deref(), Some(expected));
    }

    pub fn discovered(&self) -> Vec<(&'static str, u64)> {
        counted(&DISCOVERY_ENDS, &self.counters.discovery)
    }

    pub fn called(&self) -> Vec<(&'static str, u64)> {
        counted(&CALL_ENDS, &self.counters.calls)
    }
}

/// Those that aren't 0.
pub fn counted(names: &[&'static str], counts: &[Count]) -> Vec<(&'static str, u64)> {
    let counts = names.iter().zip(counts).map(|(name, count)| (*name, count.get()));
    counts.filter(|(_, count)| *count > 0).collect()
}

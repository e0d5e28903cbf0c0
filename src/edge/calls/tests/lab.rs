//! Edges with hosts, the network between them, and a DNS that knows all of them.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ED25519, date_time_ymd,
};
use webpki::anchor_from_trusted_cert;

use super::super::house::Lent;
use super::super::own::{Credentials, Own, OwnRloc};
use super::super::service::{Now, Service};
use super::super::{Answer, Call, Callee, Outcome};
use crate::config::{DomainName, Host, Kinds, UserRule};
use crate::edge::cetp::message::{Code, Kind, Limits, Rloc};
use crate::edge::cetp::negotiation::Size;
use crate::edge::cetp::wire;
use crate::edge::hosts::{HostId, Origin, Register};
use crate::edge::identity::load::Own as Keys;
use crate::edge::identity::naming::{self, Question, Speaker};
use crate::edge::identity::{Authorities, Authority, Identities, OwnKey, Revocation};
use crate::edge::policy::Engine;
use crate::edge::proxies::{Asker, Proxies};
use crate::flow::quiescence::Quiescence;
use crate::flow::tunnel::{Sizes, Tunnels};
use crate::flow::{self, HashKey, Realm};

/// 2030-02-28, in milliseconds.
const UNIX: u64 = 1_898_456_000_000;
pub const REALM: Realm = Realm(1);
const OUTSIDE: Realm = Realm(9);
pub const SESSIONS: usize = 16;

pub struct Ca {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "lab");
    (params.not_before, params.not_after) = (date_time_ymd(2030, 1, 1), date_time_ymd(2031, 1, 1));
    params
}

impl Ca {
    pub fn new() -> Ca {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("a certificate");
        Ca { certificate, issuer: Issuer::new(params, key) }
    }

    fn keys(&self, name: &str) -> Keys {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let certificate = params(&[name]).signed_by(&key, &self.issuer).expect("a certificate");
        let key = OwnKey::from_pkcs8(&key.serialize_der()).expect("a key");
        let ca_address = Some("ca.lab.example".to_owned());
        Keys { chain: vec![certificate.der().to_vec()], key, ca_address }
    }

    fn identities(&self) -> Identities {
        let mut authorities = Authorities::new(Revocation::Soft, 300);
        let authority = Authority {
            name: "lab".into(),
            addresses: vec!["ca.lab.example".into()],
            names: None,
            id: Kinds::one(4),
        };
        let anchor = anchor_from_trusted_cert(self.certificate.der()).expect("an anchor").to_owned();
        authorities.push(authority, vec![anchor], vec![]);
        Identities::new(authorities, NonZeroUsize::MIN)
    }
}

pub fn edge_name(edge: usize) -> String {
    format!("ces.e{edge}.example")
}

pub fn host_name(edge: usize, host: u8) -> String {
    format!("h{host}.e{edge}.example")
}

pub fn rloc(edge: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 1 + edge as u8)
}

/// Every edge has the same private prefix.
pub fn address(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, host)
}

/// What the register has of a host.
pub fn host(edge: usize, host: u8) -> Host {
    Host {
        name: DomainName::new(&host_name(edge, host)).expect("a name"),
        realm: REALM.0,
        addresses: vec![address(host).into()],
        group: (host <= 2).then(|| "family".to_owned()),
        services: vec![],
        pending_reservations: None,
        reservations_per_second: None,
        dhcid: None,
    }
}

pub fn asker(host: u8) -> Asker {
    Asker { realm: REALM, address: address(host).into() }
}

pub struct Edge {
    pub service: Service,
    pub register: Register,
    pub engine: Engine,
    pub proxies: Arc<Proxies>,
    quiescence: Arc<Quiescence>,
    text: &'static str,
    /// What has come of calls, by their numbers.
    pub outcomes: BTreeMap<u64, Outcome>,
}

pub struct Lab {
    pub edges: Vec<Edge>,
    pub now: u64,
    start: Instant,
    rng: StdRng,
    /// What arrives when: the edge that it is for, where it is from, and the message.
    wires: BTreeMap<(u64, u64), (usize, Rloc, Vec<u8>)>,
    sent: u64,
    /// Of a hundred messages so many are lost; others take up to so many milliseconds longer.
    pub loss: u32,
    pub jitter: u64,
    pub messages: u64,
    /// Where the DNS says a name is, other than where it is.
    pub elsewhere: HashMap<String, Ipv4Addr>,
    /// Behind which edge the DNS says a name is, other than that behind which it is.
    pub behind: HashMap<String, String>,
    next: u64,
    ca: Ca,
    /// Edges that hear nothing.
    pub deaf: Vec<usize>,
}

impl Lab {
    /// An edge for each text of policies; those of `signing` have certificates.
    pub fn new(texts: &[&'static str], signing: &[usize]) -> Lab {
        let mut lab = Lab {
            edges: vec![],
            now: 1_000,
            start: Instant::now(),
            rng: StdRng::seed_from_u64(7),
            wires: BTreeMap::new(),
            sent: 0,
            loss: 0,
            jitter: 0,
            messages: 0,
            elsewhere: HashMap::new(),
            behind: HashMap::new(),
            next: 0,
            ca: Ca::new(),
            deaf: vec![],
        };
        for (edge, text) in texts.iter().enumerate() {
            let keys = signing.contains(&edge).then(|| lab.ca.keys(&edge_name(edge)));
            let made = lab.edge(edge, text, keys);
            lab.edges.push(made);
        }
        lab
    }

    fn edge(&mut self, edge: usize, text: &'static str, keys: Option<Keys>) -> Edge {
        let text_whole = format!("{}{text}", include_str!("../../../../configs/null.toml"));
        let config = crate::config::parse("lab", &text_whole).unwrap_or_else(|errors| panic!("{errors}"));
        let mut register = Register::new(8);
        for number in 1..=4 {
            register.insert(&host(edge, number), Origin::Runtime, false).expect("room");
        }
        let mut random = StdRng::seed_from_u64(self.rng.random());
        let quiescence = Arc::new(Quiescence::new(0));
        let sizes = Sizes { sessions: SESSIONS, peers: 4, rlocs: 8 };
        let tunnels = Tunnels::new(sizes, quiescence.clone(), || random.random());
        let ranges = vec![(Ipv4Addr::new(172, 16, 0, 1), Ipv4Addr::new(172, 16, 0, 12))];
        let (_, bindings) = flow::Proxies::new(vec![(REALM, ranges)], HashKey::new(|| random.random()));
        let proxies = Arc::new(Proxies::new(bindings, |_| 10, self.start));
        let own = Own {
            name: DomainName::new(&edge_name(edge)).expect("a name"),
            port: 48_001,
            rlocs: vec![OwnRloc { rloc: Rloc::V4(rloc(edge)), realm: OUTSIDE, interface: 0, mtu: 1500 }],
            mtu: 1500,
            limits: Limits { sessions: 100, negotiations: 1000 },
            timeout: 60,
        };
        let credentials = Credentials::new(keys, self.ca.identities(), NonZeroUsize::new(4).expect("four"));
        let size = Size { sessions: SESSIONS, peers: 4, tokens: 4 };
        let service =
            Service::new(size, (own, credentials), tunnels, proxies.clone(), random.random(), self.now());
        let engine = Engine::new(Arc::new(config.policy), 8);
        let outcomes = BTreeMap::new();
        Edge { service, register, engine, proxies, quiescence, text, outcomes }
    }

    /// An edge begins anew, and knows nothing of what was.
    pub fn restart(&mut self, edge: usize) {
        let keys = self.edges[edge].service.credentials_mut().take_keys();
        self.edges[edge] = self.edge(edge, self.edges[edge].text, keys);
    }

    /// A host comes, or is changed to that.
    pub fn put(&mut self, edge: usize, host: &Host) {
        self.edges[edge].register.insert(host, Origin::Runtime, true).expect("room");
    }

    /// A host goes, if it is there.
    pub fn take_away(&mut self, edge: usize, number: u8) {
        let register = &mut self.edges[edge].register;
        let id = register.host(&host(edge, number).name).map(|host| host.id);
        id.into_iter().for_each(|id| _ = register.remove(id));
    }

    pub fn user_rules(&mut self, edge: usize, host: u8, rules: &[&str]) {
        let rules = rules.iter().map(|text| UserRule::parse(text).expect(text)).collect();
        let name = DomainName::new(&host_name(edge, host)).expect("a name");
        self.edges[edge].engine.set_user_rules(&name, rules).expect("room");
    }

    /// An edge's certificate is another authority's.
    pub fn forge(&mut self, edge: usize) {
        let keys = Ca::new().keys(&edge_name(edge));
        self.edges[edge].service.credentials_mut().set_keys(keys);
    }

    /// An edge's certificate is a good one of another name.
    pub fn misname(&mut self, edge: usize) {
        let keys = self.ca.keys("ces.other.example");
        self.edges[edge].service.credentials_mut().set_keys(keys);
    }

    pub fn now(&self) -> Now {
        Now {
            ms: self.now,
            unix: UNIX + self.now,
            worker: self.now as u32,
            at: self.start + Duration::from_millis(self.now),
        }
    }

    /// Something happens at an edge.
    pub fn at<R>(&mut self, edge: usize, act: impl FnOnce(&mut Service, Lent<'_>, Now) -> R) -> R {
        let now = self.now();
        let of = &mut self.edges[edge];
        let lent = Lent { register: &of.register, policy: &of.engine };
        let result = act(&mut of.service, lent, now);
        self.drain(edge);
        result
    }

    /// Takes over what an edge has put out.
    fn drain(&mut self, edge: usize) {
        while let Some((to, message)) = self.edges[edge].service.next_message() {
            self.messages += 1;
            let Rloc::V4(address) = to else { continue };
            let to = usize::from(address.octets()[3]) - 1;
            if to >= self.edges.len() || self.deaf.contains(&to) || self.rng.random_range(0..100) < self.loss
            {
                continue;
            }
            let at = self.now + 1 + self.rng.random_range(0..=self.jitter);
            self.sent += 1;
            self.wires.insert((at, self.sent), (to, Rloc::V4(rloc(edge)), message));
        }
        while let Some((number, outcome)) = self.edges[edge].service.next_outcome() {
            let before = self.edges[edge].outcomes.insert(number, outcome);
            assert_eq!(before, None, "answered twice");
        }
        while let Some((number, question)) = self.edges[edge].service.next_question() {
            let answer = self.answer(&question);
            self.at(edge, |service, lent, now| service.looked_up(number, &answer, lent, now));
        }
    }

    /// The edge of a name, and where the DNS says that it is.
    pub fn speakers(&self, name: &str) -> Vec<Speaker> {
        let edge =
            name.split_once(".e").and_then(|(_, rest)| rest.split_once('.')).expect("a name of the lab").0;
        let edge: usize = edge.parse().expect("a number");
        let address = self.elsewhere.get(name).copied().unwrap_or(rloc(edge));
        vec![Speaker {
            edge: DomainName::new(self.behind.get(name).unwrap_or(&edge_name(edge))),
            rlocs: vec![naming::Rloc::Ip(IpAddr::V4(address))],
        }]
    }

    fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Naptr(name) => Answer::Speakers(self.speakers(name.as_str())),
            Question::Addresses(name) => {
                let edge = (0..self.edges.len()).find(|edge| edge_name(*edge) == name.as_str());
                edge.map_or(Answer::Nothing, |edge| Answer::Addresses(vec![rloc(edge).into()]))
            }
        }
    }

    /// A host calls a host of another edge.
    pub fn call(&mut self, (edge, host): (usize, u8), to: (usize, u8)) -> u64 {
        let name = DomainName::new(&host_name(to.0, to.1)).expect("a name");
        let speakers = self.speakers(name.as_str());
        self.call_at((edge, host), name, Callee::Remote(speakers))
    }

    /// A host calls a host of its own edge.
    pub fn call_local(&mut self, edge: usize, host: u8, to: u8) -> u64 {
        let name = DomainName::new(&host_name(edge, to)).expect("a name");
        let callee = self.edges[edge].register.host(&name);
        let callee = callee.map_or(HostId::from_number(u32::MAX), |host| host.id);
        self.call_at((edge, host), name, Callee::Local(callee, None))
    }

    pub fn call_at(&mut self, (edge, host): (usize, u8), name: DomainName, callee: Callee) -> u64 {
        self.next += 1;
        let (number, asker) = (self.next, asker(host));
        let is_taken =
            self.at(edge, |service, lent, now| service.call(Call { asker, name, callee }, number, lent, now));
        if !is_taken {
            self.edges[edge].outcomes.insert(number, Outcome::Busy);
        }
        number
    }

    /// Whether a message of that kind and edge that tells this is on its way.
    pub fn is_under_way(&self, kind: Kind, edge: usize, code: Code) -> bool {
        let tells = |message: &[u8]| {
            wire::decode(message).is_ok_and(|decoded| {
                decoded.message.header.kind == kind && decoded.message.value(code).is_some()
            })
        };
        self.wires.values().any(|(_, from, message)| *from == Rloc::V4(rloc(edge)) && tells(message))
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            for edge in 0..self.edges.len() {
                while self.at(edge, |service, lent, now| service.review(lent, now)) {}
            }
            let arrival = self.wires.keys().next().map(|(at, _)| *at);
            let due = self.edges.iter().filter_map(|edge| edge.service.next_deadline()).min();
            let next = arrival.into_iter().chain(due).min().filter(|next| *next <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.wires.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, from, message) = entry.remove();
                self.at(to, |service, lent, now| service.received(from, &message, lent, now));
            }
            for edge in 0..self.edges.len() {
                if self.edges[edge].service.next_deadline().is_some_and(|due| due <= self.now) {
                    self.at(edge, |service, lent, now| service.tick(lent, now));
                    let due = self.edges[edge].service.next_deadline();
                    assert!(due.is_none_or(|due| due > self.now), "it is due at once, for ever");
                }
            }
        }
        self.now = end;
        for edge in &self.edges {
            edge.proxies.turn(self.start + Duration::from_millis(self.now));
        }
    }

    pub fn outcome(&self, edge: usize, number: u64) -> Option<Outcome> {
        self.edges[edge].outcomes.get(&number).copied()
    }

    /// The address that a call came to.
    pub fn reached(&self, edge: usize, number: u64) -> Ipv4Addr {
        match self.outcome(edge, number) {
            Some(Outcome::Address(assigned)) => assigned.address,
            other => panic!("{other:?}: {:#?}", self.edges[edge].service.refusals().iter().next()),
        }
    }

    /// Packets cross: the sender's record, and the receiver's, count them.
    pub fn packet(&self, edge: usize, host: u8, proxy: Ipv4Addr) -> bool {
        let table = &self.edges[edge].service.shared;
        let Some((_, session)) = table.find_pair(REALM, address(host), proxy) else { return false };
        session.count_out(100, self.now as u32);
        let (own, remote) = session.tags();
        let twin = self.edges.iter().filter_map(|edge| edge.service.shared.find(remote));
        twin.filter(|twin| twin.tags().1 == own).for_each(|twin| twin.count_in(100, self.now as u32));
        true
    }

    /// The last refusal at an edge: who and why, in words.
    pub fn last_refusal(&self, edge: usize) -> String {
        let refusals = self.edges[edge].service.refusals();
        let Some(last) = refusals.iter().next() else { return "none".into() };
        let by = if last.by_peer { "peer" } else { "own" };
        let rule = last.rule.as_ref().map_or_else(String::new, |rule| {
            format!(" {} {} {}", rule.level.name(), rule.name, rule.attribute.unwrap_or("-"))
        });
        let ended = if last.has_ended { "ended: " } else { "" };
        format!("{by} {} {}: {ended}{}{rule}", last.host, last.peer, last.backoff.reason)
    }

    /// After so long as anything lasts nothing is left of anybody: no session, no edge, no address.
    pub fn assert_empty(&mut self) {
        for _ in 0..60 {
            self.run(30_000);
        }
        for edge in &self.edges {
            assert!(edge.quiescence.reached(edge.quiescence.retire()), "no worker is behind");
            assert_eq!(edge.service.population(), [0; 8]);
            assert!(edge.service.protocol().is_empty() && edge.service.live().is_empty());
            let (used, _) = edge.proxies.figures();
            assert_eq!((used[0].assigned, used[0].resting), (0, 0));
        }
    }
}

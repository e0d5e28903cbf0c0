//! Edges on a network and a clock that exist only here: what is sent is lost, doubled and put out of order by a seeded chance.

use crate::edge::cetp::io::{Now, Out, Output, PeerId};
use crate::edge::cetp::message::*;
use crate::edge::cetp::negotiation::{Cetp, Opened, Question, Size};
use crate::edge::cetp::terms::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::rc::Rc;

/// Hosts behind each edge.
pub const HOSTS: u32 = 4;

/// Tags as the table of tunnels would give them out.
pub struct TestTags {
    rng: StdRng,
    pub given: Rc<RefCell<HashSet<Tag>>>,
}

impl Tags for TestTags {
    fn reserve(&mut self) -> Option<Tag> {
        let tag = Tag::new(self.rng.random::<u32>() | 1)?;
        assert!(self.given.borrow_mut().insert(tag));
        Some(tag)
    }

    fn release(&mut self, tag: Tag) {
        assert!(self.given.borrow_mut().remove(&tag), "released twice");
    }
}

pub type Rule = dyn Fn(&Ask<'_>) -> Result<Terms, Backoff>;

/// An edge's hosts and policy. Whoever has a name has the key that is made of it.
pub struct TestHouse {
    name: &'static str,
    hosts: Vec<(&'static str, [u8; 16])>,
    key: Ed25519KeyPair,
    certificate: &'static [&'static [u8]],
    /// Public keys by name, as they were worked out.
    known: RefCell<HashMap<Vec<u8>, Vec<u8>>>,
    pub rule: Box<Rule>,
    pub judge: fn(&Value<'_>) -> Result<(), Reason>,
    pub limits: Limits,
    pub seen: HashMap<Tag, LastSeen>,
    pub own: HashMap<Code, Value<'static>>,
    /// The host whose hash nobody knows here.
    pub by_name: Option<HostKey>,
}

fn key_of(name: &[u8]) -> Ed25519KeyPair {
    let seed = ring::digest::digest(&ring::digest::SHA256, name);
    Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).expect("32 bytes")
}

pub fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

pub fn edge_name(edge: usize) -> &'static str {
    leak(format!("ces{edge}.example"))
}

pub fn host_name(edge: usize, host: u32) -> &'static str {
    leak(format!("h{host}.e{edge}.example"))
}

pub fn rloc(edge: usize, which: u8) -> Rloc {
    let [_, a, b, c] = (edge as u32 + 1).to_be_bytes();
    Rloc::V4([10 + which, a, b, c].into())
}

/// Grants everything and requires nothing.
pub fn lax(ask: &Ask<'_>) -> Terms {
    Terms {
        required: CodeSet::EMPTY,
        optional: CodeSet::EMPTY,
        offered: CodeSet::EMPTY,
        available: CodeSet::of(&[Code::DOMAIN, Code::CA_ADDRESS, Code::SIGNATURE, Code::CERTIFICATE]),
        reliable: CodeSet::EMPTY,
        peer_ids: IdTypes::ANY,
        own_ids: IdTypes::of(&[IdType::FqdnHash, IdType::Fqdn]),
        services: ask.services.iter().copied().collect(),
        timeout: 60,
        naming_check: false,
        needs_association: false,
    }
}

impl TestHouse {
    fn new(edge: usize) -> TestHouse {
        let name = edge_name(edge);
        let certificate: &'static [u8] = name.as_bytes();
        let host = |host| {
            let name = host_name(edge, host);
            (name, Fqdn::new(name).expect("a name").hash())
        };
        TestHouse {
            name,
            hosts: (0..HOSTS).map(host).collect(),
            key: key_of(name.as_bytes()),
            certificate: Box::leak(vec![certificate].into_boxed_slice()),
            known: RefCell::default(),
            rule: Box::new(|ask| Ok(lax(ask))),
            judge: |_| Ok(()),
            limits: Limits { sessions: 1_000_000, negotiations: 1_000_000 },
            seen: HashMap::new(),
            own: HashMap::new(),
            by_name: None,
        }
    }

    /// From now on it signs with a key that isn't its own.
    pub fn mistake(&mut self) {
        self.key = key_of(b"another");
    }

    /// From now on it has so many certificates of that many bytes: its name, and nothing behind it.
    pub fn show(&mut self, bytes: usize, count: usize) {
        let certificate = [self.name.as_bytes(), &vec![0; bytes - self.name.len()]].concat();
        let leaked = (0..count).map(|_| &*certificate.clone().leak());
        self.certificate = leaked.collect::<Vec<&'static [u8]>>().leak();
    }

    fn host(&self, host: HostKey) -> &(&'static str, [u8; 16]) {
        &self.hosts[host.0 as usize]
    }
}

impl House for TestHouse {
    fn name(&self) -> Fqdn<'_> {
        Fqdn::new(self.name).expect("a name")
    }

    fn admit(&self, _: Fqdn<'_>, _: Rloc) -> Result<Limits, Backoff> {
        Ok(self.limits)
    }

    fn last_seen(&self, local: Tag) -> Option<LastSeen> {
        self.seen.get(&local).copied()
    }

    fn find(&self, id: &Id<'_>) -> Option<HostKey> {
        let is_its = |(name, hash): &(&str, [u8; 16])| id.value == hash || id.value == name.as_bytes();
        let found = self.hosts.iter().position(is_its).map(|at| HostKey(at as u64));
        found.filter(|host| id.id_type == IdType::Fqdn || self.by_name != Some(*host))
    }

    fn id(&self, host: HostKey, id_type: IdType) -> Option<Id<'_>> {
        let (name, hash) = self.host(host);
        match id_type {
            IdType::FqdnHash => Id::new(id_type, hash),
            IdType::Fqdn => Fqdn::new(name).map(Id::fqdn),
            IdType::OperatorAssured => Id::new(id_type, &name.as_bytes()[..2]),
            _ => None,
        }
    }

    fn terms(&self, ask: &Ask<'_>) -> Result<Terms, Backoff> {
        (self.rule)(ask)
    }

    fn judge(&self, _: &Ask<'_>, terms: &Terms, told: &Message<'_>) -> Result<Terms, Backoff> {
        for code in terms.required.without(Code::SIGNATURE).iter() {
            let judged = told.value(code).map_or(Err(Reason::MISSING), self.judge);
            judged.map_err(|reason| Backoff { reason, code: Some(code), retry_after: 0 })?;
        }
        Ok(terms.clone())
    }

    fn value(&self, host: Option<HostKey>, code: Code) -> Option<Value<'_>> {
        match (host, code) {
            (Some(host), Code::DOMAIN) => Fqdn::new(self.host(host).0).map(Value::Domain),
            (Some(_), Code::CA_ADDRESS) => Some(Value::CaAddress("https://ca.example")),
            _ => self.own.get(&code).cloned(),
        }
    }

    fn certificates(&self, _: Option<HostKey>) -> &[&[u8]] {
        self.certificate
    }

    fn sign<'a>(&self, _: Option<HostKey>, text: &[u8], room: &'a mut [u8; 64]) -> Option<Signature<'a>> {
        room.copy_from_slice(self.key.sign(text).as_ref());
        Some(Signature::Ed25519(room))
    }

    fn verify(
        &self,
        signer: &Signer<'_>,
        text: &[u8],
        by: &Signature<'_>,
        _: u64,
    ) -> Result<SignedBy, Reason> {
        let edge = signer.edge.map(|edge| edge.as_str().as_bytes());
        let first = signer.certificates.first().and_then(|first| first.split(|byte| *byte == 0).next());
        let name = edge.or(first).ok_or(Reason::BAD_CERTIFICATE)?;
        let Signature::Ed25519(signature) = by else { return Err(Reason::BAD_SIGNATURE) };
        let mut known = self.known.borrow_mut();
        let key = known.entry(name.to_vec()).or_insert_with(|| key_of(name).public_key().as_ref().to_vec());
        let verified = UnparsedPublicKey::new(&ED25519, key).verify(text, &signature[..]);
        // Here every certificate is whoever's it is to be.
        verified.map(|()| SignedBy::Host).map_err(|_| Reason::BAD_SIGNATURE)
    }
}

/// What came out of an edge but messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Established {
        local: Tag,
        remote: Tag,
        side: Side,
        timeout: u32,
        services: Services,
        name: Option<String>,
    },
    Refused {
        reason: Reason,
        code: Option<Code>,
        by_peer: bool,
    },
    Ended {
        local: Tag,
        reason: Reason,
    },
    Check {
        local: Tag,
        name: String,
        rloc: Rloc,
    },
    Told {
        domain: Option<String>,
    },
    Evidence {
        local: Option<Tag>,
        count: u32,
    },
    Filtering {
        local: Option<Tag>,
        seconds: u16,
    },
    Associated {
        peer: PeerId,
        clock: i64,
    },
    Parted {
        reason: Reason,
    },
}

fn event(output: &Output<'_>) -> Option<Event> {
    Some(match output {
        Output::Send { .. } | Output::Declined { .. } => return None,
        Output::Established(session) => Event::Established {
            local: session.local,
            remote: session.remote,
            side: session.side,
            timeout: session.timeout,
            services: session.services.iter().copied().collect(),
            name: session.peer_name.map(|name| name.to_string()),
        },
        Output::Refused { backoff, by_peer, .. } => {
            Event::Refused { reason: backoff.reason, code: backoff.code, by_peer: *by_peer }
        }
        Output::Ended { local, reason, .. } => Event::Ended { local: *local, reason: *reason },
        Output::Check { local, name, rloc, .. } => {
            Event::Check { local: *local, name: name.to_string(), rloc: *rloc }
        }
        Output::Told { value, .. } => Event::Told {
            domain: match value {
                Some(Value::Domain(name)) => Some(name.to_string()),
                _ => None,
            },
        },
        Output::Evidence { local, evidence, .. } => Event::Evidence { local: *local, count: evidence.count },
        Output::Filtering { local, filtering, .. } => {
            Event::Filtering { local: *local, seconds: filtering.seconds }
        }
        Output::Associated { peer, clock, .. } => Event::Associated { peer: *peer, clock: *clock },
        Output::Parted { reason, .. } => Event::Parted { reason: *reason },
    })
}

/// An edge, and what it has said.
pub struct Edge {
    pub cetp: Cetp,
    pub house: TestHouse,
    pub events: Vec<Event>,
    /// By the events, which sessions there are: local tag to remote tag.
    pub live: HashMap<Tag, Tag>,
    pub tags: Rc<RefCell<HashSet<Tag>>>,
    /// Nothing arrives, nothing leaves.
    pub is_cut: bool,
    /// Its wall clock is that far ahead.
    pub ahead: i64,
}

impl Edge {
    pub fn new(edge: usize, size: Size, seed: u64, now: Now) -> Edge {
        let mut rng = StdRng::seed_from_u64(seed ^ (edge as u64) << 32);
        let tags: Rc<RefCell<HashSet<Tag>>> = Rc::default();
        let test_tags = TestTags { rng: StdRng::seed_from_u64(rng.random()), given: tags.clone() };
        Edge {
            cetp: Cetp::new(size, Box::new(test_tags), rng.random(), now),
            house: TestHouse::new(edge),
            events: Vec::new(),
            live: HashMap::new(),
            tags,
            is_cut: false,
            ahead: 0,
        }
    }
}

/// When it arrives, in which order, at which edge, from where.
type Flying = (u64, u64, usize, Rloc, Vec<u8>);
type Tamper = dyn FnMut(usize, &mut Vec<u8>) -> bool;

/// See the module.
pub struct Lab {
    pub now: u64,
    pub edges: Vec<Edge>,
    /// In hundredths.
    pub loss: u32,
    pub doubled: u32,
    /// Up to one and a half seconds.
    pub late: u32,
    rng: StdRng,
    order: u64,
    flying: BinaryHeap<Reverse<Flying>>,
    due: BinaryHeap<Reverse<(u64, usize)>>,
    /// Messages and their bytes that were sent.
    pub sent: (u64, u64),
    /// May change what arrives at an edge; false takes it away.
    pub tamper: Option<Box<Tamper>>,
    /// RLOCs of that number are dead.
    pub dead: Option<u8>,
    pub size: Size,
    seed: u64,
}

/// Milliseconds from edge to edge.
pub const WAY: u64 = 10;

impl Lab {
    pub fn new(edges: usize, seed: u64) -> Lab {
        Lab::sized(edges, seed, Size { sessions: 64, peers: 64, tokens: 64 })
    }

    pub fn sized(edges: usize, seed: u64, size: Size) -> Lab {
        let mut lab = Lab {
            now: 1_000_000,
            edges: Vec::new(),
            loss: 0,
            doubled: 0,
            late: 0,
            rng: StdRng::seed_from_u64(seed),
            order: 0,
            flying: BinaryHeap::new(),
            due: BinaryHeap::new(),
            sent: (0, 0),
            tamper: None,
            dead: None,
            size,
            seed,
        };
        lab.edges = (0..edges).map(|edge| Edge::new(edge, size, seed, lab.clock(0))).collect();
        lab
    }

    fn clock(&self, ahead: i64) -> Now {
        Now { ms: self.now, unix: (1_700_000_000_000 + self.now).wrapping_add_signed(ahead) }
    }

    /// The edge loses all that it has, and its keys.
    pub fn restart(&mut self, edge: usize) {
        self.seed += 1;
        let new = Edge::new(edge, self.size, self.seed, self.clock(0));
        let old = &mut self.edges[edge];
        (old.cetp, old.tags) = (new.cetp, new.tags);
        old.live.clear();
    }

    pub fn with<R>(
        &mut self,
        at: usize,
        call: impl FnOnce(&mut Cetp, &TestHouse, Now, &mut Out<'_>) -> R,
    ) -> R {
        let now = self.clock(self.edges[at].ahead);
        let Edge { cetp, house, events, live, is_cut, .. } = &mut self.edges[at];
        let mut sent = Vec::new();
        let result = call(cetp, house, now, &mut |output| {
            match &output {
                Output::Send { to, message } => sent.push((*to, message.to_vec())),
                Output::Established(session) => {
                    live.insert(session.local, session.remote);
                }
                Output::Ended { local, .. } => {
                    assert!(live.remove(local).is_some(), "it ended twice");
                }
                _ => (),
            }
            events.extend(event(&output));
        });
        if let Some(at_ms) = cetp.next_deadline() {
            self.due.push(Reverse((at_ms, at)));
        }
        let is_cut = *is_cut;
        sent.retain(|_| !is_cut);
        for (to, bytes) in sent {
            self.send(at, to, bytes);
        }
        result
    }

    /// Which edge that is.
    pub fn edge_of(to: Rloc) -> Option<(usize, u8)> {
        let Rloc::V4(address) = to else { return None };
        let [which, a, b, c] = address.octets();
        Some((((a as usize) << 16 | (b as usize) << 8 | c as usize) - 1, which - 10))
    }

    pub fn send(&mut self, from: usize, to: Rloc, bytes: Vec<u8>) {
        self.sent = (self.sent.0 + 1, self.sent.1 + bytes.len() as u64);
        let Some((to, which)) = Lab::edge_of(to) else { return };
        if self.dead == Some(which) {
            return;
        }
        // An edge answers from where it was asked.
        let from = rloc(from, which);
        for _ in 0..1 + u32::from(self.rng.random_range(0..100) < self.doubled) {
            if self.rng.random_range(0..100) < self.loss {
                continue;
            }
            let late =
                if self.rng.random_range(0..100) < self.late { self.rng.random_range(0..1500) } else { 0 };
            self.order += 1;
            self.flying.push(Reverse((self.now + WAY + late, self.order, to, from, bytes.clone())));
        }
    }

    /// Until that time, in milliseconds from now on.
    pub fn run(&mut self, span: u64) {
        let end = self.now + span;
        loop {
            let arrival = self.flying.peek().map(|Reverse((at, ..))| *at);
            let deadline = self.due.peek().map(|Reverse((at, _))| *at);
            let Some(next) = arrival.into_iter().chain(deadline).min().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let Some(Reverse((_, _, to, from, mut bytes))) = self.flying.pop() else { return };
                let is_kept = self.tamper.as_mut().is_none_or(|tamper| tamper(to, &mut bytes));
                if is_kept && self.edges.get(to).is_some_and(|edge| !edge.is_cut) {
                    self.with(to, |cetp, house, now, out| cetp.receive(from, &bytes, house, now, out));
                }
            } else if let Some(Reverse((_, edge))) = self.due.pop()
                && self.edges[edge].cetp.next_deadline().is_some_and(|at| at <= self.now)
            {
                self.with(edge, |cetp, house, now, out| cetp.tick(house, now, out));
            }
        }
    }

    /// A host asks for all services of another.
    pub fn open(&mut self, from: (usize, u32), to: (usize, u32)) -> Opened {
        self.open_for(from, to, &[Service::ANY], &[rloc(to.0, 0)])
    }

    pub fn open_for(
        &mut self,
        from: (usize, u32),
        to: (usize, u32),
        services: &[Service],
        rlocs: &[Rloc],
    ) -> Opened {
        let name = Fqdn::new(host_name(to.0, to.1)).expect("a name");
        let edge = Fqdn::new(edge_name(to.0));
        let question = Question { host: HostKey(from.1.into()), name, services, edge, rlocs };
        self.with(from.0, |cetp, house, now, out| cetp.open(&question, house, now, out))
    }

    pub fn take(&mut self, edge: usize) -> Vec<Event> {
        std::mem::take(&mut self.edges[edge].events)
    }

    /// The tags of the one session of an edge.
    pub fn only(&self, edge: usize) -> (Tag, Tag) {
        let live = &self.edges[edge].live;
        assert_eq!(live.len(), 1, "edge {edge}");
        live.iter().map(|(local, remote)| (*local, *remote)).next().expect("one")
    }

    /// What was refused, of all that has happened at an edge since this was last asked.
    pub fn refusals(&mut self, edge: usize) -> Vec<(Reason, Option<Code>, bool)> {
        let refusal = |event: &Event| match event {
            Event::Refused { reason, code, by_peer } => Some((*reason, *code, *by_peer)),
            _ => None,
        };
        self.take(edge).iter().filter_map(refusal).collect()
    }

    /// Why sessions have ended, of all that has happened at an edge since this was last asked.
    pub fn ends(&mut self, edge: usize) -> Vec<Reason> {
        let end = |event: &Event| if let Event::Ended { reason, .. } = event { Some(*reason) } else { None };
        self.take(edge).iter().filter_map(end).collect()
    }

    /// A session from host 0 of edge 0 to host 1 of edge 1, acknowledged.
    pub fn established(&mut self) -> (Tag, Tag) {
        assert_eq!(self.open((0, 0), (1, 1)), Opened::Asked);
        self.run(12 * WAY);
        assert!(self.is_agreed(0, 1));
        self.take(0);
        self.take(1);
        self.only(0)
    }

    /// Both have the same one session.
    pub fn is_agreed(&self, one: usize, other: usize) -> bool {
        let (local, remote) = self.only(one);
        self.only(other) == (remote, local)
    }

    /// Nothing of anybody is kept, but what an edge must remember for a while.
    pub fn assert_empty(&self) {
        for (number, edge) in self.edges.iter().enumerate() {
            assert_eq!(edge.cetp.len(), (0, 0), "edge {number}");
            assert!(edge.cetp.is_empty() && edge.live.is_empty(), "edge {number}");
            assert!(edge.tags.borrow().is_empty(), "tags of edge {number}");
        }
    }
}

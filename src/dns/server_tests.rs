//! Any frames and messages: nothing panics, and everything comes to exactly one end. And what waits for the register, the pool and
//! other servers.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;

use super::super::Alias;
use super::super::tests::{CONFIG, NOW, fixture, inside, outside, question, with_edns};
use super::super::update_tests::signed_update;
use super::*;
use crate::config;
use crate::edge::prgw::{
    self, CircularPool, Counter, FirstPacket, Gateway, Options, Question, Secret, Verdict,
};
use crate::edge::thread::Edge;
use crate::packet::build::{self, Ip, Path};
use crate::packet::{MacAddr, Protocol, ipv4, udp};

/// What went out.
#[derive(Default)]
struct Sent(Vec<(ReplyTo, Option<Vec<u8>>)>);

impl Replies for Sent {
    fn send(&mut self, to: &ReplyTo, message: Option<Vec<u8>>) {
        self.0.push((*to, message));
    }
}

/// Exhausted the first time, in all its ways, and then not.
struct Moody(u32);

impl CircularPool for Moody {
    fn question(&mut self, q: &Question, _: u64) -> prgw::Decision {
        self.0 += 1;
        match (q.carrier, self.0 % 4) {
            (prgw::Carrier::Tcp, _) => prgw::Decision::TryAgain { after: 500 },
            (prgw::Carrier::TcpAgain, _) | (_, 0) => prgw::Decision::Reserved { address: 1, timeout: 9 },
            (_, 1) => prgw::Decision::Silence,
            (_, 2) => prgw::Decision::Demand(prgw::Proof::Label),
            _ => prgw::Decision::Empty,
        }
    }

    fn turn(&mut self, _: u64) -> usize {
        0
    }
}

/// Takes some, and answers them in their order.
#[derive(Default)]
struct Others(VecDeque<u64>);

impl Forwarder for Others {
    fn ask(&mut self, _: Forward, token: u64) -> bool {
        let has_room = self.0.len() < 3;
        if has_room {
            self.0.push_back(token);
        }
        has_room
    }

    fn poll(&mut self) -> Option<(u64, Found)> {
        let answer = Message::error_msg(1, OP, ResponseCode::ServFail).to_vec().ok()?;
        Some((self.0.pop_front()?, Found::Answer(answer)))
    }
}

/// A resolver whose word on subnets is believed.
const TRUSTED: [u8; 4] = [198, 51, 100, 77];
const OP: hickory_proto::op::OpCode = hickory_proto::op::OpCode::Query;
/// The interfaces' realms.
const REALMS: [Option<u16>; 3] = [Some(1), Some(2), None];

fn at(ms: u64) -> Now {
    Now { seconds: NOW + ms / 1000, ms, at: Instant::now() }
}

/// The gateway, which first packets are brought to beside it.
struct Real(Arc<Mutex<Gateway>>);

impl CircularPool for Real {
    fn question(&mut self, q: &Question, now: u64) -> prgw::Decision {
        self.0.lock().expect("no panic").question(q, now)
    }

    fn turn(&mut self, _: u64) -> usize {
        0
    }
}

fn server(changer: Option<Changer>) -> (Server, Register, Arc<Counters>) {
    server_with(changer, Box::new(Moody(0)), Box::new(Others::default()))
}

fn server_with(
    changer: Option<Changer>,
    gateway: Box<dyn CircularPool>,
    forwarder: Box<dyn Forwarder>,
) -> (Server, Register, Arc<Counters>) {
    let (responder, register) = fixture();
    let counters = Arc::new(Counters::default());
    let address = |number: u32| Some(IpAddr::from([203, 0, 113, number as u8]));
    let parts = Parts {
        responder,
        realms: REALMS.to_vec(),
        changer,
        callers: Callers::default(),
        pool: Some(Pool {
            gateway,
            address: Box::new(address),
            trusted: vec![IpAddr::from(TRUSTED).into()],
            hairpins: vec![2],
        }),
        forwarder: Some(forwarder),
        counters: counters.clone(),
    };
    (Server::new(parts), register, counters)
}

fn frame(message: &[u8]) -> Vec<u8> {
    let ip = ipv4::Header::new([198, 51, 100, 53].into(), [203, 0, 113, 1].into(), Protocol::UDP);
    let ports = udp::Header { source_port: 4000, destination_port: 53 };
    let path = Path::untagged(MacAddr([2, 0, 0, 0, 1, 1]), MacAddr([2, 0, 0, 0, 0, 1]));
    let mut frame = vec![0; 50 + message.len()];
    let length = build::frame(&mut frame, &path, &Ip::V4(ip), &build::Transport::Udp(ports, message));
    frame.truncate(length.expect("fits"));
    frame
}

fn messages() -> impl Strategy<Value = Vec<u8>> {
    const NAMES: &[&str] =
        &["a.ces.example", "nobody.ces.example", "ces.example", "www.example.org", "b.ces.example"];
    const TYPES: &[RecordType] = &[RecordType::A, RecordType::AAAA, RecordType::SOA];
    prop_oneof![
        4 => (prop::sample::select(NAMES), prop::sample::select(TYPES))
            .prop_map(|(name, record_type)| question(name, record_type).to_vec().expect("sound")),
        1 => Just(signed_update()),
        1 => prop::collection::vec(any::<u8>(), 0..100),
    ]
}

/// What comes by a ring or a connection.
#[derive(Clone, Debug)]
enum Input {
    Frame { interface: u16, bytes: Vec<u8> },
    Stream { interface: usize, message: Vec<u8> },
    Time(u64),
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let changed = (messages(), any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(
        |(message, at, byte, is_changed)| {
            let mut frame = frame(&message);
            if is_changed {
                *at.get_mut(&mut frame) = byte;
            }
            frame
        },
    );
    let bytes = prop_oneof![4 => changed, 1 => prop::collection::vec(any::<u8>(), 0..200)];
    let input = prop_oneof![
        (0..4u16, bytes).prop_map(|(interface, bytes)| Input::Frame { interface, bytes }),
        (0..3usize, messages()).prop_map(|(interface, message)| Input::Stream { interface, message }),
        (0..400u64).prop_map(Input::Time),
    ];
    prop::collection::vec(input, 0..40)
}

proptest! {
    #[test]
    fn whatever_comes_has_one_end(inputs in inputs()) {
        let (mut server, register, counters) = server(None);
        let (mut sent, mut ms, mut frames, mut streams) = (Sent::default(), 0, 0, 0);
        for input in inputs {
            match input {
                Input::Frame { interface, bytes } => {
                    frames += 1;
                    server.frame(&bytes, (0, interface), &register, at(ms), &mut sent);
                }
                Input::Stream { interface, message } => {
                    streams += 1;
                    let asker = match REALMS[interface] {
                        Some(realm) => Asker { transport: Transport::Tcp, ..inside(realm) },
                        None => outside(Transport::Tcp),
                    };
                    server.stream(&message, &asker, streams, &register, at(ms), &mut sent);
                }
                Input::Time(passed) => {
                    ms += passed;
                    server.turn(&register, at(ms), &mut sent);
                }
            }
        }
        while server.turn(&register, at(ms + 1000), &mut sent) {}
        prop_assert_eq!(counters.udp.get() + counters.malformed.get(), frames);
        prop_assert_eq!(counters.tcp.get(), streams);
        let sum = |counts: &[super::super::counters::Count]| counts.iter().map(|count| count.get()).sum::<u64>();
        let (answers, silences) = (sum(&counters.answers), sum(&counters.silences));
        prop_assert_eq!(answers + silences, counters.udp.get() + counters.tcp.get());
        prop_assert_eq!(sent.0.len() as u64, answers + silences);
        prop_assert_eq!(sent.0.iter().filter(|(_, message)| message.is_some()).count() as u64, answers);
    }
}

#[test]
fn by_tcp_the_pool_is_asked_once_more() {
    let (mut server, register, counters) = server(None);
    let mut sent = Sent::default();
    let message = question("a.ces.example", RecordType::A).to_vec().expect("sound");
    server.stream(&message, &outside(Transport::Tcp), 7, &register, at(10), &mut sent);
    server.turn(&register, at(509), &mut sent);
    assert_eq!(sent.0.len(), 0);
    assert!(server.turn(&register, at(510), &mut sent));
    let [(ReplyTo::Stream { connection: 7 }, Some(answer))] = &sent.0[..] else { panic!("{:?}", sent.0) };
    assert_eq!(Message::from_vec(answer).expect("sound").answers.len(), 1);
    assert_eq!(counters.pool.each_ref().map(|count| count.get()), [1, 0, 0, 1, 0, 0]);
}

fn first_packet(address: u32, source: [u8; 4]) -> FirstPacket {
    FirstPacket { address, port: 443, protocol: 6, source: source.into(), source_port: 4000, pure_syn: true }
}

/// Whoever tells a subnet, only that may claim; and who is believed is not blamed for its client.
#[test]
fn a_told_subnet_alone_may_claim() {
    let subnet = [EdnsOption::Subnet(ClientSubnet::new([192, 0, 2, 0].into(), 24, 0))];
    let message = with_edns(question("a.ces.example", RecordType::A), &subnet).to_vec().expect("sound");
    for (resolver, is_trusted) in [(TRUSTED, true), ([198, 51, 100, 78], false)] {
        let gateway = Arc::new(Mutex::new(Gateway::new(Options::new(4), Secret::new([1, 2]))));
        let (mut server, register, _) =
            server_with(None, Box::new(Real(gateway.clone())), Box::new(Others::default()));
        let mut reserve = |ms| {
            let mut sent = Sent::default();
            let asker = Asker { address: resolver.into(), ..outside(Transport::Tcp) };
            server.stream(&message, &asker, 1, &register, at(ms), &mut sent);
            let answer = Message::from_vec(sent.0[0].1.as_ref().expect("an answer")).expect("sound");
            let Some(RData::A(a)) = answer.answers.first().map(|record| &record.data) else {
                panic!("{answer}")
            };
            u32::from(a.0.octets()[3])
        };
        let number = reserve(0);
        let first = |packet| gateway.lock().expect("no panic").first_packet(&packet, 5);
        let stranger = first(first_packet(number, [192, 0, 3, 1]));
        assert!(matches!(stranger, Verdict::Rejected { why: Counter::RejectedSubnet, .. }), "{stranger:?}");
        let told = first(first_packet(number, [192, 0, 2, 9]));
        assert!(matches!(told, Verdict::Claimed { .. }), "{told:?}");
        // Another one, which nobody claims.
        reserve(10);
        let mut gateway = gateway.lock().expect("no panic");
        gateway.advance(10_000);
        let blamed = [Counter::ExpiredBlamedClient, Counter::ExpiredBlamedResolver]
            .map(|of| gateway.counters().get(of));
        assert_eq!(blamed, [u64::from(is_trusted), u64::from(!is_trusted)]);
    }
}

/// It has the NAT's address on its way, whatever subnet it says that it is of.
#[test]
fn a_host_asks_for_one_of_another_realm_and_comes_by_the_pool() {
    let subnet = [EdnsOption::Subnet(ClientSubnet::new([10, 0, 0, 0].into(), 24, 0))];
    let message = with_edns(question("a.ces.example", RecordType::A), &subnet).to_vec().expect("sound");
    let gateway = Arc::new(Mutex::new(Gateway::new(Options::new(4), Secret::new([1, 2]))));
    let (mut server, register, _) =
        server_with(None, Box::new(Real(gateway.clone())), Box::new(Others::default()));
    let mut sent = Sent::default();
    server.frame(&frame(&message), (0, 1), &register, at(0), &mut sent);
    let answer = Message::from_vec(sent.0[0].1.as_ref().expect("an answer")).expect("sound");
    let Some(RData::A(a)) = answer.answers.first().map(|record| &record.data) else { panic!("{answer}") };
    assert_eq!((answer.answers[0].ttl, answer.recursion_available), (0, true));
    let options = answer.edns.as_ref().expect("asked with one").options();
    let Some(EdnsOption::Subnet(told)) = options.get(EdnsCode::Subnet) else { panic!("{answer}") };
    assert_eq!((told.source_prefix(), told.scope_prefix()), (24, 0));
    let packet = first_packet(u32::from(a.0.octets()[3]), [203, 0, 113, 250]);
    let verdict = gateway.lock().expect("no panic").first_packet(&packet, 5);
    let host = register.by_name("a.ces.example").expect("of the fixture").host.id.get();
    assert!(matches!(verdict, Verdict::Claimed { host: found, .. } if found == host), "{verdict:?}");
}

#[test]
fn the_time_of_proxy_addresses_passes() {
    let (responder, register, proxies, address) = super::super::pointer::tests::bed();
    let (mut server, _, _) = server(None);
    server.responder = responder;
    let realm = crate::flow::Realm(1);
    server.turn(&register, at(0), &mut Sent::default());
    assert!(matches!(proxies.known(realm, address), crate::edge::proxies::Known::Named(_)));
    let later = Now { at: Instant::now() + Duration::from_secs(100), ..at(0) };
    server.turn(&register, later, &mut Sent::default());
    assert_eq!(proxies.known(realm, address), crate::edge::proxies::Known::Nobody);
}

/// Finds that whatever is asked is an alias of a name of ours.
#[derive(Default)]
struct Leads(VecDeque<(u64, Alias)>);

impl Forwarder for Leads {
    fn ask(&mut self, forward: Forward, token: u64) -> bool {
        let target = Name::from_ascii("a.ces.example.").expect("a name");
        let data = RData::CNAME(CNAME(target.clone()));
        let chain = vec![Record::from_rdata(forward.query.name().clone(), 60, data)];
        self.0.push_back((token, Alias { forward, chain, target }));
        true
    }

    fn poll(&mut self) -> Option<(u64, Found)> {
        let (token, alias) = self.0.pop_front()?;
        Some((token, Found::Alias(Box::new(alias))))
    }
}

/// To a host of its own realm at once, of another one when the pool has decided.
#[test]
fn an_alias_of_ours_is_completed_where_it_is_asked() {
    for (interface, address, ttl) in [(0, [10, 0, 0, 2], 300), (1, [203, 0, 113, 0], 0)] {
        let gateway = Arc::new(Mutex::new(Gateway::new(Options::new(4), Secret::new([1, 2]))));
        let (mut server, register, counters) =
            server_with(None, Box::new(Real(gateway)), Box::new(Leads::default()));
        let mut sent = Sent::default();
        let message = question("www.example.org", RecordType::A).to_vec().expect("sound");
        server.frame(&frame(&message), (0, interface), &register, at(0), &mut sent);
        assert_eq!((sent.0.len(), counters.forwarded.get()), (0, 1));
        assert!(server.turn(&register, at(1), &mut sent));
        let answer = Message::from_vec(sent.0[0].1.as_ref().expect("an answer")).expect("sound");
        let [cname, RData::A(a)] = [0, 1].map(|n| &answer.answers[n].data) else { panic!("{answer}") };
        assert!(cname.record_type() == RecordType::CNAME && answer.answers[1].ttl == ttl, "{answer}");
        let octets = a.0.octets();
        assert_eq!(&octets[..3], &address[..3]);
        assert!(ttl == 0 || octets == address);
    }
}

/// The second waits for the first, and finds what that has made.
#[test]
fn updates_are_made_one_after_another() {
    let hosts = config::parse("dns.toml", CONFIG).expect("right").hosts.expect("hosts");
    let edge = Edge::start(hosts, Default::default(), None).expect("it starts");
    let (mut server, _, counters) = server(Some(edge.changer()));
    let mut sent = Sent::default();
    let asker = inside(1);
    for _ in 0..3 {
        let register = edge.reader().register();
        server.stream(&signed_update(), &asker, 1, &register, at(0), &mut sent);
    }
    assert_eq!((sent.0.len(), counters.updates_waiting.get()), (0, 3), "nobody waits for them");
    let start = Instant::now();
    while sent.0.len() < 3 {
        let register = edge.reader().register();
        server.turn(&register, at(0), &mut sent);
        drop(register);
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", sent.0);
        std::thread::sleep(Duration::from_millis(1));
    }
    for (_, message) in &sent.0 {
        let answer = Message::from_vec(message.as_ref().expect("an answer")).expect("sound");
        assert_eq!(answer.response_code, ResponseCode::NoError);
    }
    // The others found it there already.
    assert_eq!((counters.updates_done.get(), counters.updates_waiting.get()), (1, 0));
    assert!(edge.reader().register().by_name("new.ces.example").is_some());
}

/// The register's owner is gone; as it is where its disk fails.
#[test]
fn an_update_that_cannot_be_made_is_answered_by_a_failure() {
    let hosts = config::parse("dns.toml", CONFIG).expect("right").hosts.expect("hosts");
    let edge = Edge::start(hosts, Default::default(), None).expect("it starts");
    let (mut server, register, counters) = server(Some(edge.changer()));
    drop(edge);
    let mut sent = Sent::default();
    server.stream(&signed_update(), &inside(1), 1, &register, at(0), &mut sent);
    let answer = Message::from_vec(sent.0[0].1.as_ref().expect("an answer")).expect("sound");
    assert_eq!(answer.response_code, ResponseCode::ServFail);
    let counts = [&counters.updates_done, &counters.updates_refused, &counters.updates_failed];
    assert_eq!(counts.map(|count| count.get()), [0, 0, 1]);
}

#[test]
fn too_many_updates_are_not_answered() {
    let hosts = config::parse("dns.toml", CONFIG).expect("right").hosts.expect("hosts");
    let edge = Edge::start(hosts, Default::default(), None).expect("it starts");
    let (mut server, _, counters) = server(Some(edge.changer()));
    let mut sent = Sent::default();
    let register = edge.reader().register();
    for _ in 0..super::super::updates::WAITING_MAX + 3 {
        server.stream(&signed_update(), &inside(1), 1, &register, at(0), &mut sent);
    }
    assert_eq!(sent.0, vec![(ReplyTo::Stream { connection: 1 }, None); 2]);
    assert_eq!(counters.silences[5].get(), 2);
}

/// Takes whatever it is asked, and never answers.
struct Silent;

impl Forwarder for Silent {
    fn ask(&mut self, _: Forward, _: u64) -> bool {
        true
    }

    fn poll(&mut self) -> Option<(u64, Found)> {
        None
    }
}

#[test]
fn questions_for_others_are_not_answered_when_too_many_wait() {
    let (mut server, register, counters) = server_with(None, Box::new(Moody(0)), Box::new(Silent));
    let mut sent = Sent::default();
    let message = question("www.example.org", RecordType::A).to_vec().expect("sound");
    for _ in 0..FORWARDED_MAX + 3 {
        server.stream(&message, &inside(1), 1, &register, at(0), &mut sent);
    }
    assert_eq!((server.forwarded.len(), counters.forwarded.get()), (FORWARDED_MAX, FORWARDED_MAX as u64));
    assert_eq!(sent.0, vec![(ReplyTo::Stream { connection: 1 }, None); 3]);
    assert_eq!(counters.silences[5].get(), 3);
}

/// Of those beyond it is said at once that there is nothing; the others have their turn when it is time.
#[test]
fn questions_that_wait_for_the_pool_are_so_many() {
    let (mut server, register, _) = server(None);
    let mut sent = Sent::default();
    let message = question("a.ces.example", RecordType::A).to_vec().expect("sound");
    for _ in 0..RETRIES_MAX + 3 {
        server.stream(&message, &outside(Transport::Tcp), 7, &register, at(10), &mut sent);
    }
    assert_eq!((server.retries.len(), sent.0.len()), (RETRIES_MAX, 3));
    let answers = |(_, answer): &(ReplyTo, Option<Vec<u8>>)| {
        Message::from_vec(answer.as_ref().expect("an answer")).expect("sound").answers.len()
    };
    assert!(sent.0.iter().all(|one| answers(one) == 0));
    while server.turn(&register, at(510), &mut sent) {}
    assert_eq!((server.retries.len(), sent.0.len()), (0, RETRIES_MAX + 3));
    assert!(sent.0[3..].iter().all(|one| answers(one) == 1));
}

//! A host that asks: questions as the edge's DNS hands them on, and a resolver of a test's own.
//!
//! Guarantees: what is asked went through `Responder::ask`. Never: waits for an answer longer than ten seconds.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ces::config::{self, HostText, UpstreamProtocol};
use ces::dns::forward::{Counters, Options, Resolver, Server};
use ces::dns::forwarder::Found;
use ces::dns::{Asker, Forward, Outcome, Responder, Transport};
use ces::edge::hosts::{Origin, Register};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::RecordType;

use super::script::{Script, name};

pub const CONFIG: &str = r#"
[instance]
name = "forward"
[workers]
cores = [0]
[[port]]
name = "in"
device = "net_null0"
[[port]]
name = "out"
device = "net_null1"
[[realm]]
name = "home"
side = "inside"
[[realm]]
name = "internet"
side = "outside"
[[interface]]
port = "in"
realm = "home"
addresses = ["10.0.0.1/24", "198.18.7.1/24"]
[[interface]]
port = "out"
realm = "internet"
addresses = ["203.0.113.1/24"]
[[route]]
realm = "home"
prefix = "198.19.0.0/16"
via = "10.0.0.254"
[hosts]
capacity = 16
[dns]
upstreams = [{ address = "203.0.113.53" }]
timeout_ms = 300
rebind_protection = true
[[dns.zones]]
apex = "ces.example"
[[dns.zones.name_servers]]
name = "ns1.ces.example"
addresses = ["203.0.113.1"]
"#;

/// What the configuration above says, but for the upstreams.
pub fn options(upstreams: &[(SocketAddr, UpstreamProtocol)]) -> Options {
    let config = config::parse("forward.toml", CONFIG).expect("a right configuration");
    let mut options = Options::new(&config).expect("it has an upstream");
    let server = |(address, protocol): &(SocketAddr, UpstreamProtocol)| Server {
        address: *address,
        protocol: protocol.clone(),
    };
    options.upstreams = upstreams.iter().map(server).collect();
    options
}

pub fn udp(scripts: &[&Script]) -> Options {
    let of = |script: &&Script| (script.address, UpstreamProtocol::Udp);
    options(&scripts.iter().map(of).collect::<Vec<_>>())
}

pub fn start(options: Options) -> Resolver {
    Resolver::start(options, core(), || Ok(())).expect("a resolver")
}

/// One that this process may use.
pub fn core() -> usize {
    core_affinity::get_core_ids().expect("cores")[0].id
}

pub fn responder() -> Responder {
    let config = config::parse("forward.toml", CONFIG).expect("a right configuration");
    Responder::new(&config.dns.expect("zones"), &config.hosts.expect("hosts").realms, [7; 16])
}

pub fn host(last: u8) -> Asker {
    Asker { address: [10, 0, 0, last].into(), transport: Transport::Udp, realm: Some(1) }
}

pub fn question(text: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), kind));
    message
}

pub fn with_edns(mut message: Message, payload: u16, dnssec: bool) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload).set_dnssec_ok(dnssec);
    message.set_edns(edns);
    message
}

pub fn forward(message: &Message, asker: &Asker) -> Box<Forward> {
    let bytes = message.to_vec().expect("it can be written");
    match responder().ask(&bytes, asker, &Register::new(16), 1_800_000_000) {
        Outcome::Forward(forward) => forward,
        other => panic!("not handed on: {other:?}"),
    }
}

/// Asks and waits.
pub fn ask(resolver: &Resolver, message: &Message) -> Message {
    ask_as(resolver, message, &host(77))
}

pub fn ask_as(resolver: &Resolver, message: &Message, asker: &Asker) -> Message {
    assert!(resolver.ask(forward(message, asker), 42), "it is taken");
    let (token, bytes) = fetch(resolver);
    assert_eq!(token, 42);
    Message::from_vec(&bytes).expect("a well-formed answer")
}

/// What leads to a name of the edge's own is completed, as its DNS does.
pub fn fetch(resolver: &Resolver) -> (u64, Vec<u8>) {
    let (token, found) = resolver.answers().recv_timeout(Duration::from_secs(10)).expect("an answer comes");
    let alias = match found {
        Found::Answer(bytes) => return (token, bytes),
        Found::Alias(alias) => alias,
    };
    match responder().complete(*alias, &hosts(), 1_800_000_000) {
        Outcome::Answer(bytes) => (token, bytes),
        other => panic!("no answer: {other:?}"),
    }
}

/// With one of the zone's.
fn hosts() -> Register {
    let realms =
        config::parse("forward.toml", CONFIG).expect("a right configuration").hosts.expect("hosts").realms;
    let text = HostText {
        name: "a.ces.example".into(),
        realm: "home".into(),
        addresses: vec!["10.0.0.2".into()],
        ..HostText::default()
    };
    let mut hosts = Register::new(16);
    hosts.insert(&realms.judge(&text).expect("a host"), Origin::Runtime, false).expect("there is room");
    hosts
}

pub fn value(resolver: &Resolver, which: impl Fn(&Counters) -> &AtomicU64) -> u64 {
    which(resolver.counters()).load(Ordering::Relaxed)
}

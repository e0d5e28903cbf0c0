//! The same with the resolver itself, and an upstream on this machine.

use super::bed::*;
use super::lookups::pair;
use crate::config::{self, DomainName, UpstreamProtocol};
use crate::dns::forward::{Counters, Options, Resolver, Server};
use crate::edge::calls::{Answer, Lookups};
use crate::edge::identity::naming::Question;
use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::RecordType;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// Of two questions, each of which it answers when `is_awaited` says so: that `www.example` is an alias of `pc.far.example`, for which
/// an edge speaks.
fn upstream(is_awaited: impl Fn() -> bool + Send + 'static) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let at = socket.local_addr().expect("bound");
    let answering = thread::spawn(move || {
        let (mut asked, mut buffer) = (vec![], [0; 512]);
        for _ in 0..2 {
            let (length, from) = socket.recv_from(&mut buffer).expect("a question");
            while !is_awaited() {
                thread::sleep(Duration::from_millis(1));
            }
            let mut message = Message::from_vec(&buffer[..length]).expect("sound");
            let query = message.queries[0].clone();
            asked.push(format!("{} {}", query.name().to_lowercase(), query.query_type()));
            message.metadata.message_type = MessageType::Response;
            let is_alias = query.name().to_lowercase() == name("www.example");
            let owner = query.name().to_string();
            message.answers = match query.query_type() {
                RecordType::NAPTR if is_alias => {
                    vec![cname(&owner, "pc.far.example"), naptr("pc.far.example", EDGE)]
                }
                RecordType::NAPTR => vec![naptr(&owner, EDGE)],
                _ => vec![address(&owner, [192, 0, 2, 99])],
            };
            socket.send_to(&message.to_vec().expect("sound"), from).expect("sent");
        }
        asked
    });
    (at, answering)
}

fn resolver(upstream: SocketAddr) -> Resolver {
    let text = format!(
        "{}[[dns.upstreams]]\naddress = \"192.0.2.53\"\n",
        crate::dns::tests::CONFIG.replace("[dns]\n", "[dns]\ntimeout_ms = 10000\n")
    );
    let config = config::parse("resolver.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let mut options = Options::new(&config).expect("an upstream");
    options.upstreams = vec![Server { address: upstream, protocol: UpstreamProtocol::Udp }];
    let core = core_affinity::get_core_ids().expect("cores")[0].id;
    Resolver::start(options, core, || Ok(())).expect("a resolver")
}

fn until(bed: &mut Bed, mut is_so: impl FnMut(&mut Bed) -> bool) {
    let start = Instant::now();
    while !is_so(bed) {
        bed.turn();
        assert!(start.elapsed() < Duration::from_secs(20), "nothing comes");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A host's question and a naming check's are one to the upstream; and what it has said is remembered.
#[test]
fn equal_questions_are_asked_once_and_their_answers_remembered() {
    let counters: Arc<std::sync::OnceLock<Arc<Counters>>> = Arc::default();
    let awaited = counters.clone();
    let is_awaited = move || awaited.get().is_some_and(|all| all.joined.load(Ordering::Relaxed) >= 1);
    let (address, answering) = upstream(is_awaited);
    let resolver = resolver(address);
    counters.set(resolver.counters().clone()).expect("once");
    let (mut handle, desk) = pair(4);
    let mut bed = Bed::among(Some(Box::new(resolver)), true, Some(desk));
    let naptr = Question::Naptr(DomainName::new("www.example").expect("a name"));
    let connection = bed.ask(host(1, 9), "WWW.example", RecordType::A);
    assert!(handle.ask(naptr.clone(), 1));
    let mut answers = vec![];
    until(&mut bed, |bed| {
        answers.extend(handle.poll());
        answers.len() == 1 && !bed.calls().is_empty()
    });
    assert_eq!(bed.calls()[0].1.name.as_str(), "pc.far.example");
    bed.comes_to(assigned(7, 30));
    let told = "NoError | WWW.example. 77 IN CNAME pc.far.example. | pc.far.example. 30 IN A 172.16.64.7";
    bed.is_told(connection, told);
    // Again: the next that others hear is something else.
    assert!(handle.ask(naptr, 2));
    until(&mut bed, |_| {
        answers.extend(handle.poll());
        answers.len() == 2
    });
    let [(1, Answer::Speakers(first)), (2, Answer::Speakers(second))] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!((first, first[0].edge.as_ref().map(DomainName::as_str)), (second, Some("ces.far.example")));
    let hits = &counters.get().expect("set").hits;
    assert_eq!(hits.load(Ordering::Relaxed), 1);
    bed.ask(host(1, 9), "plain.example", RecordType::MX);
    assert_eq!(answering.join().expect("no panic"), ["www.example. NAPTR", "plain.example. MX"]);
}

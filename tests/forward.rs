//! Others' names, asked from inside: what upstreams see, what they may say, and what hosts are told. Upstreams are scripted, on
//! loopback, and one is real, in a namespace of its own.

#[path = "forward/asking.rs"]
mod asking;
#[path = "forward/namespace.rs"]
mod namespace;
#[path = "forward/script.rs"]
mod script;
#[path = "forward/trust.rs"]
mod trust;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use asking::{ask, ask_as, core, fetch, forward, host, options, question, start, udp, value, with_edns};
use ces::config::UpstreamProtocol;
use ces::dns::forward::{Error, Resolver};
use ces::dns::{Asker, Transport};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, Record, RecordType};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use proptest::prelude::*;
use script::{Reply, Script, Seen, Via, a, cname, name, soa};

/// Answers with an address and a long TTL.
fn well(seen: &Seen) -> Vec<Reply> {
    vec![seen.address(300, 1)]
}

fn silent(_: &Seen) -> Vec<Reply> {
    Vec::new()
}

#[test]
fn each_question_has_a_port_an_id_and_letters_of_its_own() {
    let upstream = Script::new(well);
    let resolver = start(udp(&[&upstream]));
    for number in 0..24 {
        let answer = ask(&resolver, &question(&format!("Www{number}.Some-Long-Name.Example"), RecordType::A));
        // As it was asked, in its own letters, though the upstream had others.
        assert!(answer.queries[0].name().eq_case(&name(&format!("Www{number}.Some-Long-Name.Example"))));
        assert!(answer.answers[0].name.eq_case(answer.queries[0].name()), "{}", answer.answers[0].name);
        assert_eq!((answer.id, answer.metadata.response_code), (0x1234, ResponseCode::NoError));
        assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);
        assert!(answer.edns.is_none(), "none was asked for");
    }
    let seen = upstream.seen();
    assert!(seen.len() == 24 && seen.iter().all(|seen| seen.via == Via::Udp));
    let ports: HashSet<u16> = seen.iter().map(|seen| seen.from.port()).collect();
    let ids: HashSet<u16> = seen.iter().map(|seen| seen.message.id).collect();
    assert!(ports.len() > 20 && ids.len() > 20, "{ports:?} {ids:?}");
    let spread = ports.iter().max().unwrap() - ports.iter().min().unwrap();
    assert!(spread > 10_000, "ports are taken from all of them: {ports:?}");
    let mixed = seen.iter().filter(|seen| seen.name() != seen.name().to_lowercase()).count();
    let as_asked = seen.iter().filter(|seen| seen.name().contains("Some-Long-Name.Example")).count();
    assert!(mixed > 20 && as_asked < 4, "{mixed} in mixed case, {as_asked} as asked");
    let written: HashSet<String> = seen.iter().map(|seen| seen.name()[5..].to_owned()).collect();
    assert!(written.len() > 20, "the letters are others each time");
    assert_eq!(value(&resolver, |counters| &counters.sent_udp), 24);
}

#[test]
fn an_answer_in_other_letters_is_asked_for_again_by_tcp() {
    let upstream = Script::new(|seen| {
        let mut reply = seen.reply();
        match seen.via {
            Via::Udp => {
                let lower = seen.message.queries[0].name().to_lowercase();
                reply.queries[0].set_name(lower.clone());
                reply.add_answer(a(&lower, 300, [192, 0, 2, 66]));
                vec![Reply::message(&reply)]
            }
            _ => vec![seen.address(300, 1)],
        }
    });
    let resolver = start(udp(&[&upstream]));
    let answer = ask(&resolver, &question("a-name-with-enough-letters.example", RecordType::A));
    assert_eq!(answer.answers[0].data, a(&name("x."), 0, [192, 0, 2, 1]).data, "not the forged one");
    assert_eq!(upstream.seen().iter().map(|seen| seen.via).collect::<Vec<_>>(), [Via::Udp, Via::Tcp]);
    assert_eq!(value(&resolver, |counters| &counters.wrong_case), 1);
}

#[test]
fn what_others_send_is_not_looked_at() {
    let upstream = Script::new(|seen| {
        let forged = |change: fn(&mut Message)| {
            let mut reply = seen.reply();
            reply.add_answer(a(seen.message.queries[0].name(), 300, [192, 0, 2, 66]));
            change(&mut reply);
            reply.to_vec().expect("it can be written")
        };
        vec![
            Reply::Bytes(forged(|reply| reply.metadata.id ^= 1)),
            Reply::FromElsewhere(forged(|_| {})),
            Reply::Bytes(forged(|reply| _ = reply.queries[0].set_name(name("other.example")))),
            Reply::Bytes(forged(|reply| _ = reply.queries[0].set_query_type(RecordType::AAAA))),
            Reply::Bytes(forged(|reply| reply.queries.clear())),
            Reply::Bytes(vec![0]),
            seen.address(300, 1),
        ]
    });
    let resolver = start(udp(&[&upstream]));
    for number in 0..8 {
        let answer = ask(&resolver, &question(&format!("host{number}.example"), RecordType::A));
        assert_eq!(answer.answers[0].data, a(&name("x."), 0, [192, 0, 2, 1]).data);
    }
    assert_eq!(upstream.seen().len(), 8, "at the first try");
}

#[test]
fn a_truncated_answer_is_asked_for_by_tcp_and_fits_the_asker() {
    let upstream = Script::new(|seen| {
        let mut reply = seen.reply();
        if seen.via == Via::Udp {
            reply.metadata.truncation = true;
            return vec![Reply::message(&reply)];
        }
        for number in 0..60 {
            let text = TXT::new(vec![format!("{number:0>40}")]);
            reply.add_answer(Record::from_rdata(name("Long.Example"), 300, RData::TXT(text)));
        }
        vec![Reply::message(&reply)]
    });
    let resolver = start(udp(&[&upstream]));
    let asked = with_edns(question("long.example", RecordType::TXT), 4096, false);
    let by_udp = ask(&resolver, &asked);
    assert!(by_udp.metadata.truncation && by_udp.answers.is_empty() && by_udp.edns.is_some());
    let by_tcp = ask_as(&resolver, &asked, &Asker { transport: Transport::Tcp, ..host(1) });
    assert!(!by_tcp.metadata.truncation && by_tcp.answers.len() == 60);
    let kinds: Vec<Via> = upstream.seen().iter().map(|seen| seen.via).collect();
    assert_eq!(kinds, [Via::Udp, Via::Tcp], "the second is remembered");
    assert_eq!(value(&resolver, |counters| &counters.truncated), 1);
}

#[test]
fn what_is_remembered_is_asked_once_and_counts_down() {
    let upstream = Script::new(|seen| {
        let mut reply = seen.reply();
        match &seen.name().to_lowercase()[..] {
            "there.example." => return vec![seen.address(300, 1)],
            "brief.example." => return vec![seen.address(1, 1)],
            "never.example." => return vec![seen.address(0, 1)],
            "none.example." => {
                reply.metadata.response_code = ResponseCode::NXDomain;
                reply.add_authority(soa("example.", 900, 60));
            }
            "empty.example." => drop(reply.add_authority(soa("example.", 40, 600))),
            _ => {} // without an SOA
        }
        vec![Reply::message(&reply)]
    });
    let resolver = start(udp(&[&upstream]));
    let ttl = |text: &str, kind| {
        let answer = ask(&resolver, &question(text, kind));
        let code = answer.metadata.response_code;
        (code, answer.answers.iter().chain(&answer.authorities).next().map(|record| record.ttl))
    };
    let no_error = ResponseCode::NoError;
    assert_eq!(ttl("there.example", RecordType::A), (no_error, Some(300)));
    assert_eq!(ttl("none.example", RecordType::A), (ResponseCode::NXDomain, Some(60)), "RFC 2308 section 3");
    assert_eq!(ttl("empty.example", RecordType::A), (no_error, Some(40)));
    assert_eq!(ttl("brief.example", RecordType::A), (no_error, Some(1)));
    assert_eq!(ttl("never.example", RecordType::A), (no_error, Some(0)));
    assert_eq!(ttl("odd.example", RecordType::A), (no_error, None));
    assert_eq!(upstream.seen().len(), 6);
    std::thread::sleep(Duration::from_millis(2100));
    let (_, there) = ttl("THERE.example", RecordType::A);
    assert!((297..=298).contains(&there.unwrap()), "{there:?}");
    // For any type: the name doesn't exist.
    let (code, none) = ttl("None.example", RecordType::AAAA);
    assert!(code == ResponseCode::NXDomain && (57..=58).contains(&none.unwrap()), "{none:?}");
    assert!((37..=38).contains(&ttl("empty.example", RecordType::A).1.unwrap()));
    assert_eq!(upstream.seen().len(), 6, "all three are remembered");
    assert_eq!(value(&resolver, |counters| &counters.hits), 3);
    for again in ["brief.example", "never.example", "odd.example"] {
        ttl(again, RecordType::A);
    }
    ttl("empty.example", RecordType::AAAA);
    assert_eq!(upstream.seen().len(), 10, "those are not");
}

#[test]
fn what_is_remembered_is_answered_by_who_asks() {
    let upstream = Script::new(|seen| vec![seen.address(300, 1)]);
    let resolver = start(udp(&[&upstream]));
    let asked = question("there.example", RecordType::A);
    ask(&resolver, &asked);
    // Not once does the thread that resolves have to be waited for.
    for token in 1..=100 {
        assert!(resolver.ask(forward(&asked, &host(1)), token));
        assert_eq!(resolver.answers().try_recv().expect("at once").0, token);
    }
    assert_eq!(upstream.seen().len(), 1);
}

/// From an upstream, by the other thread.
#[test]
fn an_answer_ends_the_nap_of_who_fetches_it() {
    const NAP: Duration = Duration::from_secs(60);
    let upstream = Script::new(|seen| {
        std::thread::sleep(Duration::from_millis(100)); // long enough for it to nap
        vec![seen.address(300, 1)]
    });
    let resolver = start(udp(&[&upstream]));
    resolver.waker().wakes_me();
    let start = std::time::Instant::now();
    assert!(resolver.ask(forward(&question("there.example", RecordType::A), &host(1)), 1));
    while resolver.answers().try_recv().is_err() {
        assert!(start.elapsed() < NAP / 6, "it sleeps");
        ces::ring::wake::nap(NAP / 6);
    }
}

#[test]
fn equal_questions_under_way_are_asked_once() {
    let upstream = Script::new(|seen| {
        std::thread::sleep(Duration::from_millis(100));
        vec![seen.address(0, 1)]
    });
    let resolver = start(udp(&[&upstream]));
    for (number, text) in ["one.example", "One.Example", "ONE.example", "one.example"].iter().enumerate() {
        assert!(resolver.ask(forward(&question(text, RecordType::A), &host(number as u8)), number as u64));
    }
    let mut tokens: Vec<u64> = (0..4).map(|_| fetch(&resolver).0).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, [0, 1, 2, 3]);
    assert_eq!((upstream.seen().len(), value(&resolver, |counters| &counters.joined)), (1, 3));
}

#[test]
fn the_second_upstream_is_asked_when_the_first_is_silent_or_cannot_answer() {
    for first in [Script::new(silent), Script::new(|seen| vec![seen.code(ResponseCode::ServFail)])] {
        let second = Script::new(well);
        let resolver = start(udp(&[&first, &second]));
        let answer = ask(&resolver, &question("www.example", RecordType::A));
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 1));
        assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
        assert_eq!(value(&resolver, |counters| &counters.failovers), 1);
        // One that was silent is not waited for again at once; one that can't answer this may answer that.
        let is_silent = value(&resolver, |counters| &counters.timeouts) == 1;
        let begun = Instant::now();
        ask(&resolver, &question("www2.example", RecordType::A));
        assert_eq!(first.seen().len(), if is_silent { 1 } else { 2 });
        assert!(begun.elapsed() < Duration::from_millis(250));
    }
}

#[test]
fn what_all_upstreams_say_is_passed_on() {
    for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp] {
        let upstreams =
            [Script::new(move |seen| vec![seen.code(code)]), Script::new(move |seen| vec![seen.code(code)])];
        let resolver = start(udp(&[&upstreams[0], &upstreams[1]]));
        assert_eq!(ask(&resolver, &question("www.example", RecordType::A)).metadata.response_code, code);
        assert_eq!(upstreams.each_ref().map(|upstream| upstream.seen().len()), [1, 1], "none twice");
        // RFC 9520: it is remembered, briefly.
        assert_eq!(ask(&resolver, &question("www.example", RecordType::A)).metadata.response_code, code);
        assert_eq!(upstreams.each_ref().map(|upstream| upstream.seen().len()), [1, 1]);
    }
}

#[test]
fn nobody_waits_longer_than_the_total_time() {
    let upstreams = [Script::new(silent), Script::new(silent)];
    let mut options = udp(&[&upstreams[0], &upstreams[1]]);
    (options.timeout, options.attempts) = (Duration::from_millis(150), 3);
    let total = options.total_time();
    let resolver = start(options);
    let begun = Instant::now();
    let answer = ask(&resolver, &question("www.example", RecordType::A));
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(begun.elapsed() >= total - Duration::from_millis(50), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < total + Duration::from_millis(200), "{:?}", begun.elapsed());
    assert_eq!(upstreams.each_ref().map(|upstream| upstream.seen().len()), [2, 1], "in turns");
    assert!(resolver.answers().recv_timeout(Duration::from_millis(300)).is_err(), "one answer only");
    assert_eq!(value(&resolver, |counters| &counters.servfail), 1);
}

#[test]
fn too_many_are_refused_and_no_host_takes_all() {
    let upstream = Script::new(silent);
    let mut options = udp(&[&upstream]);
    (options.under_way, options.under_way_of_one) = (12, 5);
    let resolver = start(options);
    let ask = |last: u8, number: u64| {
        resolver.ask(forward(&question(&format!("n{number}.example"), RecordType::A), &host(last)), number)
    };
    let taken = (0..8).filter(|&number| ask(1, number)).count();
    assert_eq!(taken, 5, "of one host");
    let taken = (8..28).filter(|&number| ask(number as u8, number)).count();
    assert_eq!(taken, 7, "12 in all");
    assert_eq!(value(&resolver, |counters| &counters.too_many_of_one), 3);
    assert_eq!(value(&resolver, |counters| &counters.too_many), 13);
    // What is answered and not fetched takes its place still.
    let begun = Instant::now();
    while resolver.answers().len() < 12 && begun.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(resolver.answers().len() == 12 && !ask(2, 100));
    let tokens: HashSet<u64> = (0..12).map(|_| fetch(&resolver).0).collect();
    assert_eq!(tokens.len(), 12, "one answer each");
    assert!(ask(1, 200) && fetch(&resolver).0 == 200);
}

#[test]
fn a_connection_is_kept_and_made_anew_when_it_was_closed() {
    let upstream = Script::new(|seen| match &seen.name()[..] {
        "last.example." => vec![seen.address(300, 1), Reply::Close],
        _ => vec![seen.address(300, 1)],
    });
    let resolver = start(options(&[(upstream.address, UpstreamProtocol::Tcp)]));
    for text in ["a.example", "b.example", "last.example", "c.example", "d.example"] {
        assert_eq!(ask(&resolver, &question(text, RecordType::A)).answers.len(), 1, "{text}");
        std::thread::sleep(Duration::from_millis(60));
    }
    let seen = upstream.seen();
    assert!(seen.iter().all(|seen| seen.via == Via::Tcp));
    let ports: Vec<u16> = seen.iter().map(|seen| seen.from.port()).collect();
    assert!(ports[0] == ports[1] && ports[1] == ports[2] && ports[2] != ports[3] && ports[3] == ports[4]);
    assert_eq!(value(&resolver, |counters| &counters.connected), 2);
    assert_eq!(value(&resolver, |counters| &counters.timeouts), 0, "a closed one is seen to be");
}

#[test]
fn a_connection_that_is_dead_is_given_up() {
    let upstream = Script::new(|seen| if seen.nth == 0 { vec![] } else { vec![seen.address(300, 1)] });
    let resolver = start(options(&[(upstream.address, UpstreamProtocol::Tcp)]));
    assert_eq!(ask(&resolver, &question("a.example", RecordType::A)).answers.len(), 1);
    let seen = upstream.seen();
    assert!(seen.len() == 2 && seen[0].from != seen[1].from, "{seen:?}");
}

#[test]
fn signatures_are_for_those_who_want_them() {
    let upstream = Script::new(|seen| {
        let mut reply = seen.reply();
        reply.metadata.authentic_data = true;
        reply.add_answer(a(seen.message.queries[0].name(), 300, [192, 0, 2, 1]));
        vec![Reply::message(&reply)]
    });
    let resolver = start(udp(&[&upstream]));
    let mut signed = with_edns(question("www.example", RecordType::A), 1232, true);
    signed.metadata.checking_disabled = true;
    let answer = ask(&resolver, &signed);
    assert!(!answer.metadata.authentic_data, "nobody here has validated it");
    assert!(answer.metadata.checking_disabled && answer.edns.unwrap().flags().dnssec_ok);
    let answer = ask(&resolver, &question("www.example", RecordType::A));
    assert!(!answer.metadata.authentic_data && !answer.metadata.checking_disabled);
    let of = |seen: &Seen| {
        let flags = seen.message.edns.as_ref().expect("always with EDNS").flags();
        (flags.dnssec_ok, seen.message.metadata.checking_disabled)
    };
    assert_eq!(upstream.seen().iter().map(of).collect::<Vec<_>>(), [(true, true), (false, false)]);
    assert_eq!(upstream.seen()[0].message.edns.as_ref().unwrap().max_payload(), 1232);
}

#[test]
fn nothing_is_believed_about_our_own_zones_nor_private_addresses() {
    let upstream = Script::new(|seen| {
        let mut reply = seen.reply();
        let asked = seen.message.queries[0].name().clone();
        match &seen.name().to_lowercase()[..] {
            "alias.example." => {
                reply.add_answer(cname(&asked, "a.ces.example"));
                reply.add_answer(a(&name("A.ces.example"), 300, [192, 0, 2, 66]));
                reply.add_authority(soa("ces.example.", 300, 300));
            }
            "deep.example." => {
                reply.add_answer(cname(&asked, "middle.example"));
                reply.add_answer(cname(&name("middle.example"), "nobody.ces.example"));
                reply.add_authority(soa("ces.example.", 300, 300));
                reply.metadata.response_code = ResponseCode::NoError;
            }
            "rebind.example." => {
                for address in
                    [[10, 0, 0, 9], [198, 18, 7, 9], [198, 19, 1, 1], [127, 0, 0, 1], [192, 0, 2, 1]]
                {
                    reply.add_answer(a(&asked, 300, address));
                }
            }
            _ => {
                reply.add_answer(cname(&asked, "target.example"));
                reply.add_answer(a(&name("target.example"), 300, [192, 0, 2, 1]));
                reply.add_answer(a(&name("stranger.example"), 300, [192, 0, 2, 66]));
                reply.add_additional(a(&name("stranger.example"), 300, [192, 0, 2, 66]));
            }
        }
        vec![Reply::message(&reply)]
    });
    let resolver = start(udp(&[&upstream]));
    // Where it leads to is said by ourselves.
    let answer = ask(&resolver, &question("Alias.example", RecordType::A));
    let data: Vec<String> = answer.answers.iter().map(ToString::to_string).collect();
    let expected = ["Alias.example. 300 IN CNAME a.ces.example.", "a.ces.example. 300 IN A 10.0.0.2"];
    assert_eq!(data, expected);
    assert!(answer.authorities.is_empty() && !answer.authoritative && answer.recursion_available);
    assert_eq!(value(&resolver, |counters| &counters.own_records), 2);
    let answer = ask(&resolver, &question("deep.example", RecordType::A));
    assert_eq!((answer.response_code, answer.answers.len()), (ResponseCode::NXDomain, 2), "{answer}");
    assert!(
        answer.authorities[0].record_type() == RecordType::SOA
            && answer.authorities[0].name == name("ces.example")
    );
    // Who asks for the alias itself is told no more.
    let answer = ask(&resolver, &question("alias.example", RecordType::CNAME));
    assert_eq!((answer.response_code, answer.answers.len()), (ResponseCode::NoError, 1), "{answer}");
    let answer = ask(&resolver, &question("rebind.example", RecordType::A));
    assert!(answer.answers.len() == 1 && answer.answers[0].data == a(&name("x."), 0, [192, 0, 2, 1]).data);
    assert_eq!(value(&resolver, |counters| &counters.rebind_records), 4);
    let answer = ask(&resolver, &question("chain.example", RecordType::A));
    assert_eq!((answer.answers.len(), answer.additionals.len()), (2, 0), "{answer}");
}

#[test]
fn it_starts_where_it_is_told_or_says_why_not() {
    let upstream = Script::new(well);
    let refused = Resolver::start(udp(&[&upstream]), core(), || Err(std::io::ErrorKind::NotFound.into()));
    assert!(matches!(refused, Err(Error::Network(_))));
    let refused = Resolver::start(udp(&[&upstream]), 100_000, || Ok(()));
    assert!(matches!(refused, Err(Error::Core { .. })));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    setrlimit(Resource::RLIMIT_NOFILE, 512.min(soft), hard).expect("it can be lowered");
    // On its own thread, and on no other: that one would change the namespace of whoever starts it.
    let caller = std::thread::current().id();
    let resolver = Resolver::start(udp(&[&upstream]), core(), move || {
        assert_ne!(std::thread::current().id(), caller);
        assert_eq!(std::thread::current().name(), Some("ces-resolver"));
        Ok(())
    });
    assert!(resolver.is_ok());
    let (raised, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    assert!(raised >= hard.min(5120), "{raised}: a file for each question under way");
    // It ends at once, though an upstream is silent.
    let silent = Script::new(silent);
    let mut options = udp(&[&silent]);
    options.timeout = Duration::from_secs(10);
    let resolver = start(options);
    assert!(resolver.ask(forward(&question("www.example", RecordType::A), &host(1)), 1));
    while silent.seen().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let begun = Instant::now();
    drop(resolver);
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn questions_leave_from_the_address_that_is_configured() {
    let upstream = Script::new(well);
    let mut options = udp(&[&upstream]);
    options.sources = vec!["::1".parse().unwrap(), "127.0.0.9".parse().unwrap()];
    let resolver = start(options);
    assert_eq!(ask(&resolver, &question("www.example", RecordType::A)).answers.len(), 1);
    assert_eq!(upstream.seen()[0].from.ip(), std::net::IpAddr::from([127, 0, 0, 9]));
}

/// What an upstream may send: anything, or an answer with a few bytes changed, cut or added.
fn any_reply() -> impl Strategy<Value = (Vec<u8>, Vec<(usize, u8)>, usize, bool)> {
    let edits = proptest::collection::vec((0..120_usize, any::<u8>()), 0..6);
    (proptest::collection::vec(any::<u8>(), 0..200), edits, 0..140_usize, any::<bool>())
}

#[test]
fn whatever_an_upstream_sends_each_question_has_one_answer() {
    type Next = (Vec<u8>, Vec<(usize, u8)>, usize, bool);
    let next: std::sync::Arc<std::sync::Mutex<Next>> = std::sync::Arc::default();
    let upstream = Script::new({
        let next = next.clone();
        move |seen| {
            let (noise, edits, length, is_noise) = next.lock().expect("not poisoned").clone();
            let mut reply = seen.reply();
            let asked = seen.message.queries[0].name();
            reply.add_answer(cname(asked, "target.example"));
            reply.add_answer(a(&name("target.example"), 300, [192, 0, 2, 1]));
            reply.add_authority(soa("example.", 300, 300));
            let mut bytes = reply.to_vec().expect("it can be written");
            if is_noise {
                // The ID is right, or nobody would look at it.
                bytes.truncate(2);
                bytes.extend(noise);
            } else {
                for (at, value) in edits {
                    let at = 2 + at % (bytes.len() - 2);
                    bytes[at] = value;
                }
                bytes.truncate(length.max(2));
            }
            vec![Reply::Bytes(bytes)]
        }
    });
    let mut options = udp(&[&upstream]);
    (options.timeout, options.attempts) = (Duration::from_millis(20), 1);
    let resolver = start(options);
    let number = std::cell::Cell::new(0);
    proptest!(ProptestConfig::with_cases(400), |(reply in any_reply(), is_tcp in any::<bool>())| {
        *next.lock().expect("not poisoned") = reply;
        let number = { number.set(number.get() + 1); number.get() };
        let asker = Asker { transport: if is_tcp { Transport::Tcp } else { Transport::Udp }, ..host(1) };
        let asked = question(&format!("n{number}.example"), RecordType::A);
        prop_assert!(resolver.ask(forward(&asked, &asker), number));
        let (token, bytes) = fetch(&resolver);
        prop_assert_eq!(token, number);
        let answer = Message::from_vec(&bytes).expect("a well-formed answer");
        prop_assert_eq!(&answer.queries, &asked.queries);
        prop_assert!(answer.answers.len() <= 2);
        prop_assert!(resolver.answers().is_empty());
    });
}

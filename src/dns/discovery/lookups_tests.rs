//! Naming checks ask.

use super::bed::*;
use super::lookups::{Handle, pair};
use crate::config::DomainName;
use crate::dns::Asker;
use crate::dns::counters::LOOKUP_ENDS;
use crate::dns::forwarder::Found;
use crate::edge::calls::{Answer, Lookups};
use crate::edge::identity::naming::{Question, Rloc, Speaker};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

fn naptr_of(text: &str) -> Question {
    Question::Naptr(DomainName::new(text).expect("a name"))
}

fn addresses_of(text: &str) -> Question {
    Question::Addresses(DomainName::new(text).expect("a name"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn speakers(edge: &str, rlocs: &[&str]) -> Answer {
    let rlocs = rlocs.iter().map(|text| Rloc::Ip(ip(text))).collect();
    Answer::Speakers(vec![Speaker { edge: DomainName::new(edge), rlocs }])
}

fn bed() -> (Bed, Handle) {
    let (handle, desk) = pair(4);
    (Bed::with(false, Some(desk)), handle)
}

fn asked(bed: &mut Bed, handle: &mut Handle, question: Question) -> Vec<(u64, RecordType)> {
    let before = bed.asked_of_others();
    assert!(handle.ask(question, 77));
    bed.turn();
    let others = bed.others.lock().expect("no panic");
    assert!(others.asked[before..].iter().all(|(_, forward)| forward.asker == Asker::EDGE));
    others.asked[before..].iter().map(|(token, forward)| (*token, forward.query.query_type())).collect()
}

#[test]
fn others_are_asked_for_naptr() {
    let with_alias = vec![cname("pc.example", "pc.far.example"), naptr("pc.far.example", EDGE)];
    for (found, expected) in [
        (
            answer(ResponseCode::NoError, vec![naptr("pc.example", EDGE)]),
            speakers("ces.far.example", &["192.0.2.99"]),
        ),
        (answer(ResponseCode::NoError, with_alias), speakers("ces.far.example", &["192.0.2.99"])),
        (answer(ResponseCode::NoError, vec![naptr("x.example", EDGE)]), Answer::Nothing),
        (answer(ResponseCode::NoError, vec![address("pc.example", [192, 0, 2, 1])]), Answer::Nothing),
        (answer(ResponseCode::NXDomain, vec![]), Answer::Nothing),
        (answer(ResponseCode::ServFail, vec![]), Answer::Failed),
        (Found::Answer(vec![]), Answer::Failed),
    ] {
        let (mut bed, mut handle) = bed();
        let tokens = asked(&mut bed, &mut handle, naptr_of("pc.example"));
        let [(token, RecordType::NAPTR)] = tokens[..] else { panic!("{tokens:?}") };
        assert_eq!(handle.poll(), None);
        bed.others_say_of(token, found);
        assert_eq!((handle.poll(), handle.poll()), (Some((77, expected)), None));
    }
}

#[test]
fn others_are_asked_for_addresses_of_both_families() {
    let v4 = || answer(ResponseCode::NoError, vec![address("ces.example.org", [192, 0, 2, 1])]);
    let v6 = || answer(ResponseCode::NoError, vec![address("ces.example.org", ip("2001:db8::1"))]);
    let none = || answer(ResponseCode::NoError, vec![]);
    let fails = || answer(ResponseCode::ServFail, vec![]);
    let (of_v4, of_v6) = (ip("192.0.2.1"), ip("2001:db8::1"));
    for (first, second, expected) in [
        (v4(), v6(), Answer::Addresses(vec![of_v4, of_v6])),
        (v4(), none(), Answer::Addresses(vec![of_v4])),
        (none(), v6(), Answer::Addresses(vec![of_v6])),
        (v4(), fails(), Answer::Addresses(vec![of_v4])),
        (fails(), none(), Answer::Failed),
        (none(), none(), Answer::Nothing),
    ] {
        let (mut bed, mut handle) = bed();
        let tokens = asked(&mut bed, &mut handle, addresses_of("ces.example.org"));
        let [(a, RecordType::A), (aaaa, RecordType::AAAA)] = tokens[..] else { panic!("{tokens:?}") };
        bed.others_say_of(a, first);
        assert_eq!(handle.poll(), None, "one is missing");
        bed.others_say_of(aaaa, second);
        assert_eq!((handle.poll(), handle.poll()), (Some((77, expected)), None));
    }
    let (mut bed, mut handle) = bed();
    let tokens = asked(&mut bed, &mut handle, addresses_of("ces.example.org"));
    let many = (0..100).map(|last| address("ces.example.org", [192, 0, 2, last])).collect();
    bed.others_say_of(tokens[1].0, none());
    bed.others_say_of(tokens[0].0, answer(ResponseCode::NoError, many));
    let Some((77, Answer::Addresses(addresses))) = handle.poll() else { panic!("addresses") };
    assert_eq!(addresses.len(), 32);
}

/// As it is told outside; and nothing is reserved for it.
#[test]
fn of_our_own_names_nobody_else_is_asked() {
    for (question, expected) in [
        (naptr_of("a.ces.example"), speakers("cesb.ces.example", &["192.0.2.10"])),
        (naptr_of("www.ces.example"), speakers("cesb.ces.example", &["192.0.2.10"])),
        (naptr_of("nobody.ces.example"), Answer::Nothing),
        (addresses_of("a.ces.example"), Answer::Nothing),
        (addresses_of("ns1.ces.example"), Answer::Addresses(vec![ip("203.0.113.1"), ip("2001:db8::1")])),
        (addresses_of("ns.lan.example"), Answer::Nothing),
    ] {
        let (mut bed, mut handle) = bed();
        assert_eq!(asked(&mut bed, &mut handle, question.clone()), []);
        assert_eq!((handle.poll(), handle.poll()), (Some((77, expected)), None), "{question:?}");
    }
    // By an alias of others.
    let (mut bed, mut handle) = bed();
    asked(&mut bed, &mut handle, naptr_of("web.example"));
    bed.others_lead_to("web.example", "a.ces.example");
    assert_eq!(handle.poll(), Some((77, speakers("cesb.ces.example", &["192.0.2.10"]))));
    assert_eq!(counted(&LOOKUP_ENDS, &bed.counters.lookups), [("speakers", 1)]);
}

#[test]
fn where_nobody_can_be_asked_it_is_a_failure() {
    let (mut bed, mut handle) = bed();
    bed.others.lock().expect("no panic").is_full = true;
    for question in [naptr_of("pc.example"), addresses_of("ces.example.org")] {
        assert!(handle.ask(question, 77));
        bed.turn();
        assert_eq!(handle.poll(), Some((77, Answer::Failed)));
    }
    assert_eq!(counted(&LOOKUP_ENDS, &bed.counters.lookups), [("failed", 2)]);
    // The thread is gone, with what was asked of it and what it had not taken yet.
    let (mut bed, mut handle) = self::bed();
    for number in [5, 6] {
        assert!(handle.ask(naptr_of("pc.example"), number));
        bed.turn();
    }
    assert!(handle.ask(naptr_of("pc.example"), 7));
    drop(bed);
    let failed: Vec<_> = std::iter::from_fn(|| handle.poll()).collect();
    assert_eq!(failed, [5, 6, 7].map(|number| (number, Answer::Failed)));
    assert!(!handle.ask(naptr_of("pc.example"), 8));
}

#[test]
fn so_many_are_under_way() {
    let (mut bed, mut handle) = bed();
    assert!((0..4).all(|number| handle.ask(naptr_of("pc.example"), number)));
    assert!(!handle.ask(naptr_of("pc.example"), 4));
    bed.turn();
    assert!(!handle.ask(naptr_of("pc.example"), 4), "taken, and not answered");
    bed.others_say_edge("pc.example");
    assert!(!handle.ask(naptr_of("pc.example"), 4), "answered, and not fetched");
    assert_eq!(handle.poll().expect("an answer").0, 3);
    assert!(!handle.ask(naptr_of("pc.example"), 2), "a number that is under way");
    assert!(handle.ask(naptr_of("pc.example"), 4));
}

/// A door of the test's to whoever asks and whoever answers.
#[derive(Clone, Debug)]
enum Event {
    Ask(u64, bool, usize),
    /// Others answer one of what they were asked, in one of these ways.
    Say(prop::sample::Index, u8),
    Poll,
    Turn,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..6u64, any::<bool>(), 0..3usize).prop_map(|(number, naptr, name)| Event::Ask(number, naptr, name)),
        3 => (any::<prop::sample::Index>(), 0..4u8).prop_map(|(which, how)| Event::Say(which, how)),
        1 => Just(Event::Poll),
        1 => Just(Event::Turn),
    ];
    prop::collection::vec(event, 0..60)
}

const NAMES: [&str; 3] = ["pc.far.example", "a.ces.example", "tv.far.example"];

proptest! {
    #[test]
    fn each_question_has_one_answer(events in events()) {
        let (mut bed, mut handle) = bed();
        let (mut open, mut unsaid) = (BTreeMap::new(), vec![]);
        let mut said = 0;
        let say = |bed: &mut Bed, (token, forward): (u64, crate::dns::Forward), how| {
            let owner = forward.query.name().to_string();
            let records = if how == 0 { vec![naptr(&owner, EDGE), address(&owner, [192, 0, 2, 1])] } else { vec![] };
            let code = if how == 2 { ResponseCode::ServFail } else { ResponseCode::NoError };
            let found = if how == 3 { Found::Answer(vec![]) } else { answer(code, records) };
            bed.others_say_of(token, found);
        };
        let fetch = |handle: &mut Handle, open: &mut BTreeMap<u64, ()>| {
            let Some((number, _)) = handle.poll() else { return Ok(false) };
            prop_assert!(open.remove(&number).is_some(), "{number} was not under way");
            Ok(true)
        };
        for event in events {
            match event {
                Event::Ask(number, is_naptr, name) => {
                    let question = if is_naptr { naptr_of(NAMES[name]) } else { addresses_of(NAMES[name]) };
                    let is_taken = handle.ask(question, number);
                    prop_assert_eq!(is_taken, open.len() < 4 && !open.contains_key(&number));
                    is_taken.then(|| open.insert(number, ()));
                }
                Event::Turn => bed.turn(),
                Event::Poll => drop(fetch(&mut handle, &mut open)?),
                Event::Say(which, how) => {
                    let asked: Vec<_> = bed.others.lock().expect("no panic").asked[said..].to_vec();
                    said += asked.len();
                    unsaid.extend(asked);
                    if !unsaid.is_empty() {
                        let one = unsaid.swap_remove(which.index(unsaid.len()));
                        say(&mut bed, one, how);
                    }
                }
            }
        }
        bed.turn();
        unsaid.extend(bed.others.lock().expect("no panic").asked[said..].to_vec());
        unsaid.into_iter().for_each(|one| say(&mut bed, one, 1));
        while fetch(&mut handle, &mut open)? {}
        prop_assert!(open.is_empty(), "{:?}", open);
    }
}

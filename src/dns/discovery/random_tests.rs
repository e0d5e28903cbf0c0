//! Whatever hosts ask, others say and calls come to, in whatever order: each question has one answer.

use super::bed::*;
use crate::dns::Forward;
use crate::dns::counters::Count;
use crate::dns::forwarder::Found;
use crate::edge::calls::Outcome;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType::{self, A, AAAA, ANY, MX};
use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Clone, Debug)]
enum Event {
    Ask(u16, u8, usize, RecordType),
    /// Others say something about one of what they were asked.
    Say(Index, u8),
    /// A call comes to something: one that was made, and has come to nothing yet, or one that nobody has made.
    End(Option<Index>, u8),
    Time(u64),
    Full(bool, bool),
    /// A host comes or goes.
    Remove,
}

const NAMES: [&str; 6] =
    ["pc.far.example", "PC.far.example", "www.example", "tv.far.example", "a.ces.example", "b.ces.example"];

fn events() -> impl Strategy<Value = Vec<Event>> {
    let kind = prop::sample::select(&[A, A, A, AAAA, ANY, MX][..]);
    let event = prop_oneof![
        6 => (1..3u16, 1..4u8, 0..NAMES.len(), kind).prop_map(|(realm, last, name, kind)| Event::Ask(realm, last, name, kind)),
        6 => (any::<Index>(), 0..6u8).prop_map(|(which, how)| Event::Say(which, how)),
        4 => (prop::option::weighted(0.9, any::<Index>()), 0..4u8).prop_map(|(which, how)| Event::End(which, how)),
        2 => (0..6000u64).prop_map(Event::Time),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(others, caller)| Event::Full(others, caller)),
        1 => Just(Event::Remove),
    ];
    prop::collection::vec(event, 0..80)
}

/// What the others and whoever calls still owe.
#[derive(Default)]
struct Owed {
    asked: Vec<(u64, Forward)>,
    calls: Vec<u64>,
    seen: (usize, usize),
}

impl Owed {
    fn look(&mut self, bed: &Bed) {
        let asked = bed.others.lock().expect("no panic").asked[self.seen.0..].to_vec();
        let calls = bed.calls()[self.seen.1..].to_vec();
        self.seen = (self.seen.0 + asked.len(), self.seen.1 + calls.len());
        self.asked.extend(asked);
        self.calls.extend(calls.into_iter().map(|(number, _)| number));
    }

    fn say(&mut self, bed: &mut Bed, which: usize, how: u8) {
        let (token, forward) = self.asked.swap_remove(which);
        let owner = forward.query.name().to_string();
        let target = "pc.far.example";
        let found = match how {
            0 => answer(ResponseCode::NoError, vec![naptr(&owner, EDGE), address(&owner, [198, 51, 100, 1])]),
            1 => answer(ResponseCode::NoError, vec![cname(&owner, target), naptr(target, EDGE)]),
            2 => answer(ResponseCode::NXDomain, vec![]),
            3 => answer(ResponseCode::ServFail, vec![]),
            4 => Found::Answer(vec![]),
            _ => {
                let (chain, target) = (vec![cname(&owner, "a.ces.example")], name("a.ces.example"));
                Found::Alias(Box::new(crate::dns::Alias { forward, chain, target }))
            }
        };
        bed.others_say_of(token, found);
    }

    fn end(&mut self, bed: &mut Bed, which: Option<usize>, how: u8) {
        let number = which.map_or(u64::MAX, |which| self.calls.swap_remove(which));
        let outcome = [assigned(3, 30), Outcome::Refused, Outcome::Legacy, Outcome::Busy][usize::from(how)];
        bed.caller.lock().expect("no panic").outcomes.push_back((number, outcome));
        bed.turn();
    }
}

proptest! {
    #[test]
    fn each_question_has_one_answer(events in events(), calls_end: bool) {
        let (mut bed, mut owed) = (Bed::new(), Owed::default());
        for event in events {
            owed.look(&bed);
            match event {
                Event::Ask(realm, last, name, kind) => drop(bed.ask(host(realm, last), NAMES[name], kind)),
                Event::Say(which, how) if !owed.asked.is_empty() => {
                    let which = which.index(owed.asked.len());
                    owed.say(&mut bed, which, how);
                }
                Event::End(Some(which), how) if !owed.calls.is_empty() => {
                    let which = which.index(owed.calls.len());
                    owed.end(&mut bed, Some(which), how);
                }
                Event::End(None, how) => owed.end(&mut bed, None, how),
                Event::Time(passed) => bed.after(passed),
                Event::Full(others, caller) => {
                    bed.others.lock().expect("no panic").is_full = others;
                    bed.caller.lock().expect("no panic").is_full = caller;
                }
                Event::Remove => {
                    let id = bed.register.by_name("a.ces.example").map(|found| found.host.id);
                    id.map(|id| bed.register.remove(id));
                }
                _ => {}
            }
        }
        // Calls may come to nothing at all; others answer in the end.
        for _ in 0..8 {
            owed.look(&bed);
            while calls_end && !owed.calls.is_empty() {
                owed.end(&mut bed, Some(0), 2);
            }
            while !owed.asked.is_empty() {
                owed.say(&mut bed, 0, 2);
            }
            bed.after(super::waiting::CALL_TIME);
        }
        let mut told: Vec<u64> = bed.sent.0.iter().map(|(connection, _)| *connection).collect();
        told.sort_unstable();
        prop_assert_eq!(told, (1..=bed.asked).collect::<Vec<_>>());
        // The figures say so, too.
        let sum = |counts: &[Count]| counts.iter().map(Count::get).sum::<u64>();
        let counters = &bed.counters;
        prop_assert_eq!(sum(&counters.answers) + sum(&counters.silences), bed.asked);
        prop_assert_eq!(sum(&counters.calls[..3]), sum(&counters.calls[3..8]));
        prop_assert_eq!(counters.calls_waiting.get(), 0);
    }
}

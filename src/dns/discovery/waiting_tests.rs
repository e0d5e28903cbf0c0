//! Who may wait when many do.

use super::*;
use crate::dns::Forward;
use crate::dns::discovery::bed::{host, name};
use hickory_proto::rr::RecordType;

/// Takes every call, and refuses those of even numbers.
#[derive(Default)]
struct Fickle(Vec<u64>);

impl Calls for Fickle {
    fn call(&mut self, _: Call, number: u64) -> bool {
        if number.is_multiple_of(2) {
            self.0.push(number);
        }
        true
    }

    fn poll(&mut self) -> Option<(u64, Outcome)> {
        Some((self.0.pop()?, Outcome::Refused))
    }
}

fn asker(number: u16) -> Asker {
    let [high, low] = number.to_be_bytes();
    Asker { address: [10, 1, high, low].into(), ..host(1, 0) }
}

fn waiter(asker: Asker) -> Waiter {
    let target = name("far.example");
    let forward = Forward::of_edge(target.clone(), RecordType::A, asker);
    Waiter { alias: Alias { forward, chain: vec![], target }, to: ReplyTo::Stream { connection: 0 } }
}

/// Those who ask for much give way to those who ask for one thing, until there is no place at all.
#[test]
fn the_fewer_places_are_left_the_fewer_has_one_asker() {
    let mut waiting = Waiting::new(Box::<Fickle>::default(), Arc::default());
    let mut token = 0;
    let mut fill = |waiting: &mut Waiting, asker: Asker, most: usize| {
        let mut count = 0;
        while count < most && waiting.has_room(&asker) {
            token += 1;
            waiting.ask(token, waiter(asker), token);
            count += 1;
        }
        count
    };
    let greedy: Vec<usize> = (0..400).map(|number| fill(&mut waiting, asker(number), usize::MAX)).collect();
    assert_eq!(&greedy[..64], [WAITING_OF_ONE; 64], "half of all places");
    assert!(greedy.is_sorted_by(|before, after| before >= after), "{greedy:?}");
    let taken: usize = greedy.iter().sum();
    assert!(greedy[399] >= 1 && taken < WAITING_MAX - 64, "400 greedy ones leave some: {taken}");
    let modest = (1000..).take_while(|number| fill(&mut waiting, asker(*number), 1) == 1).count();
    assert_eq!(taken + modest, WAITING_MAX);
    assert_eq!(waiting.counters.calls_waiting.get(), WAITING_MAX as u64);
    // All have waited for too long: nobody has a place any more.
    while waiting.late(u64::MAX).is_some() {}
    assert_eq!((waiting.count, waiting.of_asker.len(), waiting.counters.calls_waiting.get()), (0, 0, 0));
    assert_eq!(fill(&mut waiting, asker(7), usize::MAX), WAITING_OF_ONE);
}

/// Neither of what has ended nor of what has expired.
#[test]
fn nothing_is_kept_of_what_is_over() {
    let mut waiting = Waiting::new(Box::<Fickle>::default(), Arc::default());
    for number in 0..10 {
        let name = DomainName::new(&format!("h{number}.far.example")).expect("a name");
        waiting.call(waiter(asker(1)), name, Callee::Remote(vec![]), number, number).expect("room");
    }
    assert_eq!((waiting.by_pair.len(), waiting.called.len(), waiting.count), (10, 10, 10));
    while waiting.ended().1 {}
    assert_eq!((waiting.by_pair.len(), waiting.called.len(), waiting.count), (5, 5, 5));
    while waiting.expired(CALL_TIME + 10).is_some() {}
    assert_eq!((waiting.by_pair.len(), waiting.called.len(), waiting.of_asker.len()), (0, 0, 0));
}

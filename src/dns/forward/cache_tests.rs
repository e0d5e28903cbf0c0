//! What is remembered, beside a naive list of everything that was ever found.

use hickory_proto::op::Query;
use proptest::prelude::*;

use super::super::answer::tests::{a, cname, question, soa};
use super::*;

const BOUNDS: Bounds = Bounds { min: 0, max: 86_400, negative_max: 3600 };

fn address(text: &str, ttl: u32) -> Found {
    Found { answers: vec![a(text, ttl, 1)], ..Found::default() }
}

#[test]
fn it_has_room_for_so_many_and_the_oldest_goes_first() {
    let (mut cache, now) = (Cache::new(3, BOUNDS), Instant::now());
    let ask = |text: &str| question(text, RecordType::A);
    for text in ["a.example", "b.example", "c.example"] {
        cache.insert(&ask(text), &mut address(text, 300), now);
    }
    assert!(cache.get(&ask("a.example"), now).is_some());
    cache.insert(&ask("d.example"), &mut address("d.example", 300), now);
    assert_eq!(cache.len(), 3);
    assert!(cache.get(&ask("b.example"), now).is_none(), "it was longest not asked for");
    assert!(cache.get(&ask("a.example"), now).is_some() && cache.get(&ask("d.example"), now).is_some());
    let mut none = Cache::new(0, BOUNDS);
    none.insert(&ask("a.example"), &mut address("a.example", 300), now);
    assert!(none.get(&ask("a.example"), now).is_none());
}

#[test]
fn one_that_is_long_is_not_remembered() {
    let (mut cache, now) = (Cache::new(3, BOUNDS), Instant::now());
    let asked = question("a.example", RecordType::A);
    let mut found =
        Found { answers: (0..100).map(|last| a("a.example", 300, last)).collect(), ..Found::default() };
    cache.insert(&asked, &mut found, now);
    assert_eq!(cache.len(), 1, "some 1,600 bytes");
    found.answers.extend_from_within(..);
    found.answers.extend_from_within(..);
    cache.insert(&question("b.example", RecordType::A), &mut found, now);
    assert_eq!(cache.len(), 1);
}

#[test]
fn those_who_want_signatures_are_told_what_was_found_with_them() {
    let (mut cache, now) = (Cache::new(30, BOUNDS), Instant::now());
    let asked = question("a.example", RecordType::A);
    cache.insert(&asked, &mut address("a.example", 300), now);
    assert!(cache.get(&asked, now).is_some());
    assert!(cache.get(&Question { dnssec: true, ..asked.clone() }, now).is_none());
    assert!(cache.get(&Question { checking_disabled: true, ..asked.clone() }, now).is_none());
    assert!(cache.get(&question("a.example", RecordType::AAAA), now).is_none());
}

#[test]
fn an_alias_to_a_name_that_does_not_exist_is_one_for_its_type_alone() {
    let (mut cache, now) = (Cache::new(30, BOUNDS), Instant::now());
    let mut found = Found { code: ResponseCode::NXDomain, ..Found::default() };
    found.authorities.push(soa("example", 300, 300));
    found.answers.push(cname("a.example", 300, "b.example"));
    cache.insert(&question("a.example", RecordType::A), &mut found, now);
    assert!(cache.get(&question("a.example", RecordType::A), now).is_some());
    assert!(cache.get(&question("a.example", RecordType::CNAME), now).is_none());
}

proptest! {
    /// Whatever is found and asked for at whatever time: what is given is the last that was found for it, not older than its TTL,
    /// and its TTL is what is left of that.
    #[test]
    fn it_gives_what_a_list_of_everything_would(
        steps in proptest::collection::vec((0..5_u8, any::<bool>(), 0..20_u32, 0..8_u64), 1..80),
    ) {
        let (mut cache, begin) = (Cache::new(64, BOUNDS), Instant::now());
        let mut all: Vec<(u8, u64, u32)> = Vec::new();
        let mut seconds = 0;
        for (number, is_found, ttl, later) in steps {
            seconds += later;
            let now = begin + Duration::from_secs(seconds);
            let text = format!("n{number}.example");
            let asked = Question::new(&Query::query(question(&text, RecordType::A).query.name().clone(), RecordType::A), false, false);
            if is_found {
                cache.insert(&asked, &mut address(&text, ttl), now);
                // What may not be remembered leaves what is.
                if ttl > 0 {
                    all.push((number, seconds, ttl));
                }
            }
            let last = all.iter().rev().find(|(of, ..)| *of == number);
            let expected = last.and_then(|(_, since, ttl)| u64::from(*ttl).checked_sub(seconds - since)).filter(|left| *left > 0);
            let given = cache.get(&asked, now).map(|found| u64::from(found.answers[0].ttl));
            prop_assert_eq!(given, expected);
        }
    }
}

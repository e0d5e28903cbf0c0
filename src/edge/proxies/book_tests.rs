//! The book of proxy addresses by example, and any interleaving against a naive one.

use super::*;
use crate::flow::HashKey;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

const HOME: Realm = Realm(1);
const TWIN: Realm = Realm(2);

fn proxy(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 16, 64, last)
}

fn remote(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, last)
}

fn host(realm: Realm, last: u8) -> Asker {
    Asker { realm, address: [10, 0, 0, last].into() }
}

/// Both realms have the same so many addresses.
fn book(addresses: u8, per_host: u32) -> (Book, Arc<flow::Proxies>) {
    let ranges = vec![(proxy(0), proxy(addresses - 1))];
    let realms = vec![(TWIN, ranges.clone()), (HOME, ranges)];
    let (shared, bindings) = flow::Proxies::new(realms, HashKey::new(|| 0x9e37_79b9_7f4a_7c15));
    (Book::new(bindings, |_| per_host), shared)
}

impl Book {
    fn known_at(&self, realm: Realm, address: Ipv4Addr) -> Known {
        self.known(self.shared.number(realm, address).expect("one of them"))
    }
}

/// A session to that address begins.
fn enter(shared: &flow::Proxies, realm: Realm, address: Ipv4Addr) -> u32 {
    let number = shared.number(realm, address).expect("one of them");
    assert!(shared.enter(number, shared.remote(number).expect("somebody")));
    number
}

#[test]
fn a_remote_host_has_one_address_in_each_realm_and_all_its_names() {
    let (mut book, shared) = book(8, 8);
    let first = book.assign(&host(HOME, 2), remote(1), "www.example", 300, 0).expect("room");
    assert_eq!(first.ttl, TTL);
    let brief = book.assign(&host(HOME, 3), remote(1), "cdn.example", 5, 10).expect("room");
    assert_eq!(brief, Assigned { address: first.address, ttl: 5 });
    let other = book.assign(&host(HOME, 2), remote(2), "mail.example", 300, 10).expect("room");
    assert_ne!(other.address, first.address);
    let twin = book.assign(&host(TWIN, 2), remote(3), "www.example", 300, 10).expect("room");
    let number = |realm, assigned: Assigned| shared.number(realm, assigned.address).expect("one of them");
    assert_eq!(shared.remote(number(HOME, first)), Some(remote(1)));
    assert_eq!(shared.remote(number(TWIN, twin)), Some(remote(3)));
    let names = |names: &[&str]| Known::Named(names.iter().map(|name| (*name).into()).collect());
    assert_eq!(book.known_at(HOME, first.address), names(&["cdn.example", "www.example"]));
    for name in ["a.example", "b.example", "www.example", "c.example"] {
        book.assign(&host(HOME, 2), remote(1), name, 300, 20).expect("room");
    }
    let kept = ["c.example", "www.example", "b.example", "a.example"];
    assert_eq!(book.known_at(HOME, first.address), names(&kept), "those asked for last");
    assert_eq!(book.known_at(HOME, proxy(7)), Known::Nobody);
    let shown = book.shown(number(HOME, first), 1020).expect("assigned");
    assert_eq!((shown.realm, shown.address, shown.remote), (HOME, first.address, Remote::Address(remote(1))));
    assert_eq!((shown.names.len(), shown.sessions, shown.age), (NAMES, 0, 1020));
    assert_eq!(book.shown(number(HOME, Assigned { address: proxy(7), ttl: 0 }), 0), None);
}

#[test]
fn it_is_kept_for_the_answer_and_for_sessions_and_then_rests() {
    let (mut book, shared) = book(1, 8);
    let ask = |book: &mut Book, last, now| book.assign(&host(HOME, 2), remote(last), "a.example", 30, now);
    let assigned = ask(&mut book, 1, 500).expect("room");
    // To the second after the TTL and the grace.
    book.turn(90_500);
    assert_eq!(book.known_at(HOME, assigned.address), Known::Named(vec!["a.example".into()]));
    let number = enter(&shared, HOME, assigned.address);
    assert_eq!(ask(&mut book, 1, 90_500).map(|assigned| assigned.ttl), Ok(TTL_IN_USE));
    book.turn(1_000_000);
    assert_eq!(shared.remote(number), Some(remote(1)), "a session goes there");
    shared.leave(number);
    book.turn(1_060_000);
    assert_eq!((shared.remote(number), book.known_at(HOME, assigned.address)), (None, Known::Nobody));
    // It rests: another does not get it, the same one does.
    book.turn(1_179_999);
    assert_eq!(ask(&mut book, 2, 1_179_999), Err(Refused::Exhausted));
    assert_eq!(ask(&mut book, 1, 1_179_999).map(|assigned| assigned.ttl), Ok(30));
    assert_eq!(shared.remote(number), Some(remote(1)));
    book.turn(1_270_000);
    assert_eq!(shared.remote(number), None);
    book.turn(1_389_999);
    assert_eq!(ask(&mut book, 2, 1_389_999), Err(Refused::Exhausted));
    book.turn(1_390_000);
    // Even then it would have it back, as long as nobody else needs it.
    assert_eq!(ask(&mut book, 2, 1_390_000).map(|assigned| assigned.address), Ok(assigned.address));
    assert_eq!(ask(&mut book, 1, 1_390_000), Err(Refused::Exhausted), "it is another's");
    let counters =
        [Counter::Assigned, Counter::Renewed, Counter::Returned, Counter::Released, Counter::Exhausted];
    assert_eq!(counters.map(|counter| book.counters().get(counter)), [2, 1, 1, 2, 3]);
}

#[test]
fn one_that_comes_back_is_kept_no_longer_than_others() {
    let (mut book, _) = book(1, 8);
    let ask =
        |book: &mut Book, now| book.assign(&host(HOME, 2), remote(1), "a.example", 0, now).expect("room");
    ask(&mut book, 0);
    book.turn(60_000);
    ask(&mut book, 61_000);
    book.turn(120_000);
    assert!(matches!(book.known_at(HOME, proxy(0)), Known::Named(_)));
    book.turn(121_000);
    assert_eq!(book.known_at(HOME, proxy(0)), Known::Nobody);
}

#[test]
fn one_host_does_not_take_all() {
    let (mut book, _) = book(8, 3);
    let ask = |book: &mut Book, asker, last, now| {
        book.assign(&host(HOME, asker), remote(last), "x.example", 30, now)
    };
    for last in 1..=3 {
        ask(&mut book, 2, last, 0).expect("it may have three");
    }
    assert_eq!(ask(&mut book, 2, 4, 0), Err(Refused::Limited));
    ask(&mut book, 2, 1, 0).expect("it has that");
    ask(&mut book, 3, 4, 0).expect("another host");
    ask(&mut book, 2, 4, 0).expect("that has been paid for");
    // Whoever asks last pays: of what others want, too, it is rid.
    ask(&mut book, 3, 1, 0).expect("another host");
    ask(&mut book, 2, 5, 0).expect("it pays for two");
    assert_eq!(ask(&mut book, 2, 6, 0), Err(Refused::Limited));
    // What rests is paid for, or who cycles through names would have all.
    book.turn(91_000);
    assert_eq!(ask(&mut book, 2, 6, 91_000), Err(Refused::Limited));
    book.turn(91_000 + REST);
    for last in 6..=8 {
        ask(&mut book, 2, last, 91_000 + REST).expect("it pays for none");
    }
    assert_eq!(ask(&mut book, 2, 1, 91_000 + REST), Err(Refused::Limited), "what was its own, too");
    assert_eq!(book.payers.values().sum::<u32>(), 3);
    // A /64 is one host, and each realm counts by itself.
    let v6 =
        |last: u16| Asker { realm: HOME, address: Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last).into() };
    for last in 1..=3 {
        book.assign(&v6(last), remote(100 + last as u8), "x.example", 30, 211_000).expect("room");
    }
    assert_eq!(book.assign(&v6(9), remote(110), "x.example", 30, 211_000), Err(Refused::Limited));
    book.assign(&host(TWIN, 2), remote(4), "x.example", 30, 211_000).expect("another realm");
}

#[test]
fn nobody_stands_for_what_is_nobody() {
    let (mut book, _) = book(8, 8);
    for (realm, wrong) in [(HOME, Ipv4Addr::UNSPECIFIED), (HOME, proxy(3)), (Realm(3), remote(1))] {
        let refused = book.assign(&host(realm, 2), wrong, "x.example", 30, 0);
        assert_eq!(refused, Err(Refused::NoRemote), "{wrong}");
    }
    assert_eq!(book.in_use().map(|pool| pool.assigned).sum::<u32>(), 0);
}

#[test]
fn a_turn_has_a_bound_and_all_are_looked_at_in_the_end() {
    let ranges = vec![(Ipv4Addr::new(172, 16, 0, 0), Ipv4Addr::new(172, 16, 15, 255))];
    let (_, bindings) = flow::Proxies::new(vec![(HOME, ranges)], HashKey::new(|| 7));
    let mut book = Book::new(bindings, |_| u32::MAX);
    for n in 0..4096u32 {
        let remote = Ipv4Addr::from_bits(0xc633_6400 + n);
        book.assign(&host(HOME, 2), remote, "x.example", 30, 0).expect("room");
    }
    let in_use =
        |book: &Book| book.in_use().next().map(|pool| (pool.assigned, pool.resting)).expect("a pool");
    for (turn, left) in [3072, 2048, 1024, 0].into_iter().enumerate() {
        book.turn(95_000 + turn as u64);
        assert_eq!(in_use(&book), (left, 4096 - left));
    }
    // As long as it slept.
    for turn in 0..4 {
        book.turn(u64::from(u32::MAX) + turn);
    }
    assert_eq!((in_use(&book), book.payers.len()), ((0, 0), 0));
}

// ---- any interleaving ----

#[derive(Clone, Debug)]
enum Step {
    Ask { realm: u16, asker: u8, remote: u8, ttl: u32 },
    Begin { realm: u16, last: u8 },
    End { realm: u16, last: u8 },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (realm, last) = (1u16..3, 0u8..5);
    let ttl = prop_oneof![Just(0u32), Just(7), Just(30), Just(3600)];
    let time =
        prop_oneof![1u64..2000, Just(30_000), Just(60_000), Just(90_000), Just(120_000), Just(400_000)];
    prop_oneof![
        5 => (realm.clone(), 2u8..5, 1u8..8, ttl)
            .prop_map(|(realm, asker, remote, ttl)| Step::Ask { realm, asker, remote, ttl }),
        2 => (realm.clone(), last.clone()).prop_map(|(realm, last)| Step::Begin { realm, last }),
        2 => (realm, last).prop_map(|(realm, last)| Step::End { realm, last }),
        3 => time.prop_map(Step::Pass),
    ]
}

/// What is known of an address without any cleverness.
#[derive(Clone, Default)]
struct Naive {
    /// Whom it was last given to, and until when that holds at the least.
    given: Option<Ipv4Addr>,
    holds: u64,
    assigned: bool,
    /// When it was last seen to be nobody's any more.
    left: u64,
    payer: Option<u8>,
    sessions: u32,
    /// When the last of them ended.
    quiet: u64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// No address is two remote hosts' at a time, nor another's before the last answer is over and nobody may remember it; no
    /// remote host has two; nobody pays for more than it may; what is refused could not be had; nothing leaks.
    #[test]
    fn as_a_naive_one(steps in prop::collection::vec(step(), 1..120)) {
        const PER_HOST: usize = 4;
        let (mut book, shared) = book(5, PER_HOST as u32);
        let mut naive: HashMap<(u16, Ipv4Addr), Naive> = [1, 2]
            .iter()
            .flat_map(|realm| (0..5).map(|last| ((*realm, proxy(last)), Naive::default())))
            .collect();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Pass(ms) => {
                    now += ms;
                    book.turn(now);
                }
                Step::Begin { realm, last } | Step::End { realm, last } => {
                    let number = shared.number(Realm(realm), proxy(last)).expect("one of them");
                    let known = naive.get_mut(&(realm, proxy(last))).expect("one of them");
                    if let (Step::Begin { .. }, Some(to)) = (&step, shared.remote(number)) {
                        prop_assert!(shared.enter(number, to));
                        known.sessions += 1;
                    } else if matches!(step, Step::End { .. }) && known.sessions > 0 {
                        shared.leave(number);
                        known.sessions -= 1;
                        known.quiet = now;
                    }
                }
                Step::Ask { realm, asker, remote: to, ttl } => {
                    let to = remote(to);
                    let paid = naive.iter().filter(|((r, _), n)| *r == realm && n.payer == Some(asker)).count();
                    let had = naive.iter().find(|((r, _), n)| *r == realm && n.given == Some(to));
                    let had = had.map(|((_, address), n)| (*address, n.clone()));
                    let is_free = |n: &Naive| !n.assigned && (n.given.is_none() || now >= n.left + REST);
                    let any_free = naive.iter().any(|((r, _), n)| *r == realm && is_free(n));
                    match book.assign(&host(Realm(realm), asker), to, "x.example", ttl, now) {
                        Ok(Assigned { address, ttl: told }) => {
                            let known = naive.get_mut(&(realm, address)).expect("one of them");
                            if let Some((had, _)) = &had {
                                prop_assert_eq!(*had, address, "it had another");
                            } else {
                                prop_assert!(is_free(known) && known.sessions == 0 && known.holds + REST <= now
                                    || known.given.is_none(), "it is another's");
                                prop_assert!(paid < PER_HOST);
                            }
                            let expected = if known.sessions > 0 { TTL_IN_USE } else { ttl.min(TTL) };
                            prop_assert_eq!(told, expected);
                            known.given = Some(to);
                            known.assigned = true;
                            known.holds = known.holds.max(now + u64::from(told) * 1000 + GRACE);
                            if paid < PER_HOST {
                                known.payer = Some(asker);
                            }
                        }
                        Err(Refused::Exhausted) => prop_assert!(had.is_none() && !any_free),
                        Err(Refused::Limited) => {
                            prop_assert!(paid >= PER_HOST && had.is_none_or(|(_, n)| n.payer.is_none()));
                        }
                        Err(Refused::NoRemote) => prop_assert!(false),
                    }
                }
            }
            // What the book says now, against what was promised.
            let (mut assigned, mut resting) = (0, 0);
            for ((realm, address), known) in &mut naive {
                let number = shared.number(Realm(*realm), *address).expect("one of them");
                let stands = shared.remote(number);
                prop_assert_eq!(stands.is_some(), book.shown(number, now).is_some());
                prop_assert_eq!(shared.sessions(number), known.sessions);
                if known.assigned && stands.is_none() {
                    prop_assert!(known.holds <= now && known.sessions == 0, "too early");
                    (known.assigned, known.left) = (false, now);
                }
                prop_assert!(!known.assigned || stands == known.given);
                // It is looked at within a grace after all is over.
                let over = known.holds.max(known.quiet);
                prop_assert!(!known.assigned || known.sessions > 0 || now <= over + GRACE + 400_000 + 1000);
                if !known.assigned && (known.given.is_none() || now >= known.left + REST) {
                    known.payer = None;
                }
                assigned += u32::from(known.assigned);
                resting += u32::from(!known.assigned && known.given.is_some() && now < known.left + REST);
            }
            let in_use: Vec<Use> = book.in_use().collect();
            let sum = |of: fn(&Use) -> u32| in_use.iter().map(of).sum::<u32>();
            prop_assert_eq!((sum(|pool| pool.assigned), sum(|pool| pool.resting)), (assigned, resting));
            let paid = naive.values().filter(|known| known.payer.is_some()).count();
            prop_assert_eq!(book.payers.values().sum::<u32>() as usize, paid);
            prop_assert!(book.payers.values().all(|paid| (1..=PER_HOST as u32).contains(paid)));
            let given: Vec<_> = naive.iter().filter_map(|((realm, _), n)| Some((*realm, n.given?))).collect();
            prop_assert_eq!(given.iter().collect::<HashSet<_>>().len(), given.len(), "somebody has two");
            prop_assert_eq!(book.by_remote.len(), given.len());
        }
    }
}

/// A host behind an edge is held as long as somebody says so, then rests as any; nobody translates packets to it.
#[test]
fn what_is_held_stays_and_rests_when_it_is_let_go() {
    let (mut book, shared) = book(2, 9);
    let first = book.hold(&host(HOME, 1), [7; 16], "far.example", 0).unwrap();
    assert_eq!(
        book.hold(&host(HOME, 2), [7; 16], "far.example", 0),
        Ok(first),
        "the same for the whole realm"
    );
    let second = book.assign(&host(HOME, 1), remote(1), "near.example", TTL, 0).unwrap().address;
    assert_ne!(first, second);
    assert_eq!(book.hold(&host(HOME, 1), [8; 16], "", 0), Err(Refused::Exhausted));
    let number = shared.number(HOME, first).unwrap();
    assert_eq!(
        (shared.remote(number), book.known_at(HOME, first)),
        (None, Known::Named(vec!["far.example".into()]))
    );
    book.let_go(HOME, first, 1_000);
    book.turn(3_600_000);
    assert_eq!(book.shown(number, 0).map(|shown| shown.sessions), Some(1), "one holds it still");
    book.let_go(HOME, first, 3_600_000);
    book.told(HOME, first, "alias.example", TTL, 3_600_000);
    for now in (3_600_000..3_600_000 + u64::from(TTL) * 1000 + GRACE).step_by(1_000) {
        book.turn(now);
        assert_eq!(
            book.known_at(HOME, first),
            Known::Named(vec!["alias.example".into(), "far.example".into()])
        );
    }
    let end = 3_600_000 + u64::from(TTL) * 1000 + GRACE + 1_000;
    book.turn(end);
    assert_eq!(book.known_at(HOME, first), Known::Nobody);
    assert_eq!(
        book.hold(&host(HOME, 1), [9; 16], "", end + REST - 2_000),
        Err(Refused::Exhausted),
        "it rests"
    );
    assert_eq!(
        book.hold(&host(HOME, 1), [7; 16], "", end + REST - 2_000),
        Ok(first),
        "the same one gets it back"
    );
}

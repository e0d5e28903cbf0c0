//! Tests of the announcements, with a clock that wraps.

use super::super::announce::{Announcement, Announcer, DEFEND_INTERVAL};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

fn v4(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn v6(last: u16) -> IpAddr {
    IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])
}

fn tick(announcer: &mut Announcer, now: u32, mut budget: usize) -> Vec<Announcement> {
    let mut said = Vec::new();
    let allow = || {
        let allowed = budget > 0;
        budget = budget.saturating_sub(1);
        allowed
    };
    announcer.tick(now, allow, &mut |output| said.push(output));
    said
}

fn conflict(announcer: &mut Announcer, addr: IpAddr, now: u32) -> Vec<Announcement> {
    let mut said = Vec::new();
    announcer.conflict(0, addr, now, &mut |output| said.push(output));
    said
}

fn probe(addr: IpAddr) -> Announcement {
    Announcement::Probe { interface: 0, addr }
}

fn announce(addr: IpAddr) -> Announcement {
    Announcement::Announce { interface: 0, addr }
}

fn join(addr: IpAddr) -> Announcement {
    Announcement::Join { interface: 0, addr }
}

#[test]
fn every_address_is_probed_once_and_announced_twice() {
    let at = |ms: u32| (u32::MAX - 1500).wrapping_add(ms); // it wraps between the announcements
    let mut announcer = Announcer::new([(0, v6(1)), (0, v4(1)), (0, v4(1))]);
    assert!(!announcer.is_done());
    assert_eq!(tick(&mut announcer, at(0), 9), [probe(v4(1)), join(v6(1)), probe(v6(1))]);
    assert_eq!(tick(&mut announcer, at(999), 9), []);
    assert_eq!(tick(&mut announcer, at(1000), 9), [announce(v4(1)), join(v6(1)), announce(v6(1))]);
    assert_eq!(tick(&mut announcer, at(2999), 9), []);
    assert!(!announcer.is_done());
    assert_eq!(tick(&mut announcer, at(3000), 9), [announce(v4(1)), announce(v6(1))]);
    assert!(announcer.is_done());
    assert_eq!(tick(&mut announcer, at(1_000_000), 9), []);
    announcer.restart();
    assert_eq!(tick(&mut announcer, at(1_000_001), 9).len(), 3, "a link has come up");
}

#[test]
fn nothing_is_said_of_nothing() {
    let mut announcer = Announcer::new([]);
    assert!(announcer.is_done());
    announcer.queried(0);
    assert_eq!(tick(&mut announcer, 0, 9), []);
    assert!(announcer.is_done());
    assert!(!announcer.conflict(0, v4(1), 0, &mut |_| panic!("not ours")));
}

#[test]
fn a_claim_is_answered_once_in_ten_seconds() {
    for start in [0, 5, u32::MAX - 5, u32::MAX - DEFEND_INTERVAL] {
        let at = |ms: u32| start.wrapping_add(ms);
        let mut announcer = Announcer::new([(0, v4(1)), (0, v4(2)), (1, v4(3))]);
        assert_eq!(conflict(&mut announcer, v4(1), at(0)), [announce(v4(1))]);
        for ms in (1..DEFEND_INTERVAL).step_by(7) {
            assert_eq!(conflict(&mut announcer, v4(1), at(ms)), []);
        }
        assert_eq!(conflict(&mut announcer, v4(2), at(1)), [announce(v4(2))], "each on its own");
        assert_eq!(conflict(&mut announcer, v4(1), at(DEFEND_INTERVAL)), [announce(v4(1))]);
        assert_eq!(conflict(&mut announcer, v4(3), at(0)), [], "ours on another link");
    }
}

#[test]
fn a_query_is_answered_once_a_second() {
    let mut announcer = Announcer::new([(0, v4(1)), (0, v6(1)), (0, v6(2))]);
    for now in [0, 1000, 3000] {
        tick(&mut announcer, now, 99);
    }
    announcer.queried(5000);
    assert_eq!(tick(&mut announcer, 5000, 1), [join(v6(1))]);
    announcer.queried(5001);
    assert_eq!(tick(&mut announcer, 5001, 9), [join(v6(2))], "the round goes on, and does not begin again");
    announcer.queried(5999);
    assert_eq!(tick(&mut announcer, 5999, 9), []);
    announcer.queried(6000);
    assert_eq!(tick(&mut announcer, 6000, 9), [join(v6(1)), join(v6(2))]);
}

proptest! {
    /// Whatever the budget and the clock: every address is probed, then announced twice, each time no sooner than it may
    /// be, and in the end nothing is left over.
    #[test]
    fn every_address_takes_every_step_in_time(
        addresses in proptest::collection::btree_set((0..3u16, prop_oneof![
            (1..40u8).prop_map(v4), (1..40u16).prop_map(v6),
        ]), 0..30),
        start in prop_oneof![(0..4000u32).prop_map(|ms| u32::MAX - ms), any::<u32>()],
        gaps in proptest::collection::vec((0..400u32, 0..6usize), 1..60),
    ) {
        let mut announcer = Announcer::new(addresses.iter().copied());
        let mut said: BTreeMap<(u16, IpAddr), Vec<(u64, bool)>> = BTreeMap::new();
        let mut elapsed = 0u64;
        let end = std::iter::repeat_n((500, 200), 20);
        for (gap, budget) in gaps.into_iter().chain(end) {
            elapsed += u64::from(gap);
            let outputs = tick(&mut announcer, start.wrapping_add(elapsed as u32), budget);
            // A step of IPv6 is two messages, and is not cut in two.
            prop_assert!(outputs.len() <= budget + 1 && (budget > 0 || outputs.is_empty()));
            for output in outputs {
                match output {
                    Announcement::Probe { interface, addr } => {
                        said.entry((interface, addr)).or_default().push((elapsed, true));
                    }
                    Announcement::Announce { interface, addr } => {
                        said.entry((interface, addr)).or_default().push((elapsed, false));
                    }
                    Announcement::Join { addr, .. } => prop_assert!(addr.is_ipv6()),
                }
            }
        }
        prop_assert!(announcer.is_done());
        prop_assert!(said.keys().eq(addresses.iter()));
        for steps in said.values() {
            let [(first, true), (second, false), (third, false)] = steps[..] else {
                panic!("{steps:?}");
            };
            prop_assert!(second - first >= 1000 && third - second >= 2000);
        }
    }
}

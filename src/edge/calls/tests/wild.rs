//! Any interleaving of calls, packets, lost messages and restarts.

use super::lab::*;
use crate::config::Host;
use crate::edge::calls::Outcome;
use crate::edge::calls::called::Called;
use crate::edge::hosts::HostId;
use proptest::prelude::*;
use std::net::Ipv4Addr;

#[derive(Clone, Debug)]
enum Step {
    Call { from: (usize, u8), to: (usize, u8) },
    Local { edge: usize, host: u8, to: u8 },
    Packet { edge: usize },
    Trespass { edge: usize, ports: u16 },
    Keep { edge: usize, seconds: u16 },
    Host { edge: usize, host: u8, addresses: u8 },
    Rules { edge: usize, host: u8, rules: Vec<&'static str> },
    Deaf(Option<usize>),
    Restart(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let end = || (0..2usize, 1..4u8);
    prop_oneof![
        6 => (end(), end()).prop_map(|(from, to)| match from.0 == to.0 {
            true => Step::Call { from, to: (1 - to.0, to.1) },
            false => Step::Call { from, to },
        }),
        2 => (0..2usize, 1..4u8, 1..4u8).prop_map(|(edge, host, to)| Step::Local { edge, host, to }),
        2 => (0..2usize).prop_map(|edge| Step::Packet { edge }),
        2 => (0..2usize, 1..9u16).prop_map(|(edge, ports)| Step::Trespass { edge, ports }),
        1 => (0..2usize, prop::sample::select(vec![0, 1, 60])).prop_map(|(edge, seconds)| Step::Keep { edge, seconds }),
        2 => (0..2usize, 1..4u8, 0..4u8).prop_map(|(edge, host, addresses)| Step::Host { edge, host, addresses }),
        2 => (0..2usize, 1..4u8, prop::sample::subsequence(vec!["nobody", "anyone", "own-devices"], 0..2))
            .prop_map(|(edge, host, rules)| Step::Rules { edge, host, rules }),
        1 => prop_oneof![Just(None), (0..2usize).prop_map(Some)].prop_map(Step::Deaf),
        1 => (0..2usize).prop_map(Step::Restart),
        5 => prop::sample::select(vec![1u64, 3, 50, 400, 5_000, 40_000]).prop_map(Step::Wait),
    ]
}

/// Both tables say the same: what lives is in the workers' table, and nothing else but what is only negotiated.
fn assert_consistent(lab: &Lab) {
    for edge in &lab.edges {
        let service = &edge.service;
        let table = &service.shared;
        for (local, session) in service.live().iter() {
            let record = table.find(local.get()).expect("what lives is found");
            assert_eq!(record.tags().1, session.remote.get());
            assert_eq!(record.pair(), (session.host, session.proxy));
            assert!(table.peer(record).and_then(|peer| table.active(peer)).is_some(), "it leads somewhere");
        }
        let [_, live, .., used, peers, _] = service.population();
        let twins = service.locals().len();
        assert_eq!(table.sessions().count(), live + twins);
        assert!(used >= live + twins && peers >= service.edges.len());
        let (uses, _) = edge.proxies.figures();
        assert!(uses[0].assigned + uses[0].resting <= uses[0].addresses);
    }
}

/// No session outlives its host, or that host's address.
fn assert_hosts_are_there(lab: &Lab) {
    for edge in &lab.edges {
        let has = |host: HostId, address: Ipv4Addr| {
            let host = edge.register.get(host).expect("a host");
            assert!(host.parts().addresses().any(|known| known == address));
        };
        let service = &edge.service;
        service.live().iter().for_each(|(_, s)| has(Called::from(s.pair.host).host, s.host));
        service.locals().iter().flat_map(|twins| &twins.halves).for_each(|half| has(half.host, half.address));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn both_tables_agree_whatever_happens_and_nothing_is_left(
        steps in prop::collection::vec(step(), 1..40),
        loss in 0..30u32,
        jitter in 0..60u64,
        is_signing: bool,
    ) {
        let signing: &[usize] = if is_signing { &[0, 1] } else { &[] };
        let mut lab = Lab::new(&["", ""], signing);
        (lab.loss, lab.jitter) = (loss, jitter);
        let mut calls: Vec<(usize, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Call { from, to } => calls.push((from.0, lab.call(from, to))),
                Step::Local { edge, host, to } => calls.push((edge, lab.call_local(edge, host, to))),
                Step::Packet { edge } => {
                    let ends: Vec<_> =
                        lab.edges[edge].service.live().iter().map(|(_, s)| (s.host, s.proxy)).collect();
                    for (host, proxy) in ends {
                        prop_assert!(lab.packet(edge, host.octets()[3], proxy));
                    }
                }
                Step::Trespass { edge, ports } => {
                    let all: Vec<_> = lab.edges[edge].service.live().iter().map(|(l, s)| (l, s.remote)).collect();
                    for (tags, port) in all.into_iter().flat_map(|tags| (0..10).map(move |n| (tags, n % ports))) {
                        lab.at(edge, |service, lent, now| service.trespassed(tags, (17, port), lent, now));
                    }
                }
                Step::Keep { edge, seconds } => super::reports::keep_all(&mut lab, edge, seconds),
                Step::Deaf(edge) => lab.deaf = edge.into_iter().collect(),
                Step::Restart(edge) => {
                    lab.restart(edge);
                    calls.retain(|(of, _)| *of != edge);
                }
                Step::Host { edge, host: number, addresses } => match addresses {
                    0 => lab.take_away(edge, number),
                    1 => lab.put(edge, &host(edge, number)),
                    _ => {
                        let other = address(10 * number + addresses).into();
                        let addresses = [other, address(number).into()];
                        let count = if number == 1 { 1 } else { 2 };
                        lab.put(edge, &Host { addresses: addresses[..count].to_vec(), ..host(edge, number) });
                    }
                },
                Step::Rules { edge, host, rules } => lab.user_rules(edge, host, &rules),
                Step::Wait(ms) => {
                    lab.run(ms);
                    assert_hosts_are_there(&lab);
                }
            }
            assert_consistent(&lab);
        }
        (lab.deaf, lab.loss) = (vec![], 0);
        lab.run(120_000);
        for (edge, number) in calls {
            let outcome = lab.outcome(edge, number);
            prop_assert!(outcome.is_some(), "a call without an answer");
            prop_assert!(!matches!(outcome, Some(Outcome::Legacy)));
        }
        assert_consistent(&lab);
        lab.assert_empty();
    }
}

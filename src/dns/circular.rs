//! From what must be reserved to a question of the circular pool, and from its decision to an answer.
//!
//! A host of ours that asks for one of another realm is given an address as somebody outside is, where the NAT brings it there by a
//! hairpin (RFC 4787 section 6): the other sees it by its public address. Its own address is one that its realm's source check
//! vouches for, and no stub follows a CNAME: it need not show that it follows the random label.
//!
//! Guarantees: without a pool, of IPv6, and for hosts of a realm that no hairpin serves, there is no address, and that may be
//! remembered. Never: keeps anything.

use std::net::IpAddr;

use ipnet::IpNet;

use super::counters::{Counters, PoolEnd};
use super::reserve::{Decision, Family, Proof, Reserve};
use crate::edge::prgw::{self, Carrier, CircularPool, Question, Service};

/// The pool, and which address a number of it is.
pub struct Pool {
    pub gateway: Box<dyn CircularPool>,
    /// `None` where it has no such number.
    pub address: Box<dyn Fn(u32) -> Option<IpAddr> + Send>,
    /// Resolvers whose word on the subnets of their clients is believed (RFC 7871).
    pub trusted: Vec<IpNet>,
    /// Inside realms whose hosts come to the pool by a hairpin.
    pub hairpins: Vec<u16>,
}

/// What becomes of a question that is to reserve something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decided {
    Now(Decision),
    /// It is brought again after so many milliseconds.
    Later(u32),
}

/// What the pool says of `reserve`, which is asked for the second time where `is_again`.
pub(super) fn decide(
    pool: &mut Option<Pool>,
    reserve: &Reserve,
    is_again: bool,
    counters: &Counters,
    now_ms: u64,
) -> Decided {
    let is_reached = |pool: &&mut Pool| reserve.realm.is_none_or(|realm| pool.hairpins.contains(&realm));
    let Some(pool) = pool.as_mut().filter(|_| reserve.family == Family::V4).filter(is_reached) else {
        counters.pool_end(PoolEnd::NoAddress);
        return Decided::Now(Decision::NoAddress);
    };
    let proof = shown(reserve);
    let decision = pool.gateway.question(&question(reserve, is_again, &pool.trusted), now_ms);
    let (end, decided) = match decision {
        prgw::Decision::Reserved { address, .. } => match (pool.address)(address) {
            Some(address) => (PoolEnd::Reserved, Decided::Now(Decision::Address(address))),
            None => (PoolEnd::NoAddress, Decided::Now(Decision::Empty)),
        },
        prgw::Decision::Demand(wanted) => (PoolEnd::Demanded, Decided::Now(demand(wanted, proof))),
        prgw::Decision::Silence => (PoolEnd::Silence, Decided::Now(Decision::Silence)),
        // By UDP the resolver asks again by itself, and what was tried again is not tried for ever.
        prgw::Decision::TryAgain { .. } if !reserve.proof.tcp => {
            (PoolEnd::Silence, Decided::Now(Decision::Silence))
        }
        prgw::Decision::TryAgain { .. } if is_again => (PoolEnd::Empty, Decided::Now(Decision::Empty)),
        prgw::Decision::TryAgain { after } => (PoolEnd::TryAgain, Decided::Later(after)),
        prgw::Decision::Empty => (PoolEnd::Empty, Decided::Now(Decision::Empty)),
    };
    counters.pool_end(end);
    decided
}

fn question(reserve: &Reserve, is_again: bool, trusted: &[IpNet]) -> Question {
    let proof = &reserve.proof;
    Question {
        host: reserve.host.get(),
        limits: reserve.limits,
        service: reserve.service.map_or(Service::ALL, |service| {
            Service::new(service.port.unwrap_or(0), service.protocol.unwrap_or(0))
        }),
        // Who asks under a label that another was told is of that one's group.
        resolver: proof.label.unwrap_or(reserve.resolver),
        realm: reserve.realm,
        subnet: reserve.subnet,
        // Its own address, whomever a label names.
        subnet_is_trusted: trusted.iter().any(|prefix| prefix.contains(&reserve.resolver)),
        proof: shown(reserve),
        carrier: match (proof.tcp, is_again) {
            (false, _) => Carrier::Udp,
            (true, false) => Carrier::Tcp,
            (true, true) => Carrier::TcpAgain,
        },
    }
}

fn shown(reserve: &Reserve) -> prgw::Proof {
    let has_label = reserve.proof.label.is_some() || reserve.realm.is_some();
    match reserve.proof {
        Proof { tcp: true, .. } if has_label => prgw::Proof::LabelByTcp,
        Proof { .. } if has_label => prgw::Proof::Label,
        Proof { tcp: true, .. } | Proof { cookie: true, .. } => prgw::Proof::ReturnPath,
        Proof { .. } => prgw::Proof::Nothing,
    }
}

/// How the asker is told what is missing of `wanted`.
fn demand(wanted: prgw::Proof, shown: prgw::Proof) -> Decision {
    match wanted {
        prgw::Proof::Nothing => Decision::Empty,
        prgw::Proof::ReturnPath => Decision::DemandCookie,
        prgw::Proof::LabelByTcp if shown >= prgw::Proof::Label => Decision::DemandTcp,
        prgw::Proof::Label | prgw::Proof::LabelByTcp => Decision::DemandLabel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServiceTarget;
    use crate::edge::hosts::Register;
    use crate::edge::prgw::HostLimits;
    use std::sync::{Arc, Mutex};

    const LIMITS: HostLimits = HostLimits { waiting: Some(4), per_second: Some(9) };

    /// Says what it is told to, and remembers what it was asked.
    struct Scripted(prgw::Decision, Arc<Mutex<Vec<Question>>>);

    impl CircularPool for Scripted {
        fn question(&mut self, q: &Question, _: u64) -> prgw::Decision {
            self.1.lock().expect("no panic").push(*q);
            self.0
        }

        fn turn(&mut self, _: u64) -> usize {
            0
        }
    }

    fn trusted() -> Vec<IpNet> {
        ["192.0.2.0/24", "2001:db8::/48"].map(|prefix| prefix.parse().expect("a prefix")).into()
    }

    fn reserve() -> Reserve {
        let (_, register): (_, Register) = super::super::tests::fixture();
        Reserve {
            host: register.by_name("a.ces.example").expect("of the fixture").host.id,
            limits: LIMITS,
            service: None,
            family: Family::V4,
            resolver: [198, 51, 100, 53].into(),
            realm: None,
            subnet: None,
            proof: Proof::default(),
        }
    }

    fn ask(decision: prgw::Decision, reserve: &Reserve, is_again: bool) -> (Decided, Vec<Question>) {
        let asked = Arc::new(Mutex::new(vec![]));
        let address = |number| (number < 4).then(|| IpAddr::from([203, 0, 113, number as u8]));
        let pool = Pool {
            gateway: Box::new(Scripted(decision, asked.clone())),
            address: Box::new(address),
            trusted: trusted(),
            hairpins: vec![3],
        };
        let decided = decide(&mut Some(pool), reserve, is_again, &Counters::default(), 7);
        let asked = asked.lock().expect("no panic").clone();
        (decided, asked)
    }

    #[test]
    fn what_the_pool_says_becomes_an_answer() {
        let label = Some([198, 51, 100, 54].into());
        let proof = |tcp, label| Proof { tcp, cookie: false, label };
        let plain = Proof::default();
        use Decided::{Later, Now};
        use prgw::Decision as Said;
        for (said, proof, is_again, expected) in [
            (
                Said::Reserved { address: 3, timeout: 9 },
                plain,
                false,
                Now(Decision::Address([203, 0, 113, 3].into())),
            ),
            (Said::Reserved { address: 4, timeout: 9 }, plain, false, Now(Decision::Empty)),
            (Said::Demand(prgw::Proof::ReturnPath), plain, false, Now(Decision::DemandCookie)),
            (Said::Demand(prgw::Proof::Label), plain, false, Now(Decision::DemandLabel)),
            (Said::Demand(prgw::Proof::LabelByTcp), plain, false, Now(Decision::DemandLabel)),
            (Said::Demand(prgw::Proof::LabelByTcp), proof(false, label), false, Now(Decision::DemandTcp)),
            (Said::Silence, plain, false, Now(Decision::Silence)),
            (Said::TryAgain { after: 500 }, plain, false, Now(Decision::Silence)),
            (Said::TryAgain { after: 500 }, proof(true, None), false, Later(500)),
            (Said::TryAgain { after: 500 }, proof(true, None), true, Now(Decision::Empty)),
            (Said::Empty, plain, false, Now(Decision::Empty)),
        ] {
            assert_eq!(
                ask(said, &Reserve { proof, ..reserve() }, is_again).0,
                expected,
                "{said:?} {proof:?}"
            );
        }
    }

    #[test]
    fn the_pool_is_asked_as_the_asker_is() {
        let label = Some([198, 51, 100, 54].into());
        for (proof, is_again, shown, carrier) in [
            (Proof::default(), false, prgw::Proof::Nothing, Carrier::Udp),
            (Proof { cookie: true, ..Proof::default() }, false, prgw::Proof::ReturnPath, Carrier::Udp),
            (Proof { tcp: true, ..Proof::default() }, false, prgw::Proof::ReturnPath, Carrier::Tcp),
            (Proof { tcp: true, ..Proof::default() }, true, prgw::Proof::ReturnPath, Carrier::TcpAgain),
            (Proof { label, ..Proof::default() }, false, prgw::Proof::Label, Carrier::Udp),
            (Proof { label, tcp: true, cookie: true }, false, prgw::Proof::LabelByTcp, Carrier::Tcp),
        ] {
            let (_, asked) = ask(prgw::Decision::Silence, &Reserve { proof, ..reserve() }, is_again);
            assert_eq!((asked[0].proof, asked[0].carrier), (shown, carrier), "{proof:?}");
            assert_eq!(asked[0].resolver, proof.label.unwrap_or(reserve().resolver));
            assert_eq!((asked[0].host, asked[0].service), (reserve().host.get(), Service::ALL));
            assert_eq!(asked[0].limits, LIMITS);
        }
        let service = Some(ServiceTarget { protocol: Some(6), port: Some(443) });
        let (_, asked) = ask(prgw::Decision::Silence, &Reserve { service, ..reserve() }, false);
        assert_eq!(asked[0].service, Service::new(443, 6));
    }

    /// As is somebody outside, but for the label, which its stub would not follow.
    #[test]
    fn a_host_of_a_realm_with_a_hairpin_is_given_an_address() {
        let reserve = Reserve { realm: Some(3), resolver: [10, 0, 0, 7].into(), ..reserve() };
        let reserved = prgw::Decision::Reserved { address: 2, timeout: 9 };
        let (decided, asked) = ask(reserved, &reserve, false);
        assert_eq!(decided, Decided::Now(Decision::Address([203, 0, 113, 2].into())));
        assert_eq!((asked[0].realm, asked[0].resolver), (Some(3), reserve.resolver));
        assert_eq!((asked[0].proof, asked[0].carrier), (prgw::Proof::Label, Carrier::Udp));
        let demand = prgw::Decision::Demand(prgw::Proof::LabelByTcp);
        assert_eq!(ask(demand, &reserve, false).0, Decided::Now(Decision::DemandTcp));
        let tcp = Proof { tcp: true, ..Proof::default() };
        let (_, asked) = ask(prgw::Decision::Silence, &Reserve { proof: tcp, ..reserve }, false);
        assert_eq!(asked[0].proof, prgw::Proof::LabelByTcp);
    }

    #[test]
    fn whose_word_on_subnets_is_believed() {
        for (resolver, label, is_trusted) in [
            ("198.51.100.53", None, false),
            ("192.0.2.53", None, true),
            ("2001:db8::53", None, true),
            ("2001:db8:1::53", None, false),
            // Of the group of a trusted one, and yet another.
            ("198.51.100.53", Some([192, 0, 2, 53].into()), false),
        ] {
            let resolver = resolver.parse().expect("an address");
            let proof = Proof { label, ..Proof::default() };
            let (_, asked) = ask(prgw::Decision::Silence, &Reserve { resolver, proof, ..reserve() }, false);
            assert_eq!(asked[0].subnet_is_trusted, is_trusted, "{resolver}");
        }
    }

    #[test]
    fn what_no_pool_can_give_is_no_address() {
        for reserve in [Reserve { family: Family::V6, ..reserve() }, Reserve { realm: Some(2), ..reserve() }]
        {
            let (decided, asked) = ask(prgw::Decision::Silence, &reserve, false);
            assert_eq!((decided, asked.len()), (Decided::Now(Decision::NoAddress), 0));
        }
        let decided = decide(&mut None, &reserve(), false, &Counters::default(), 0);
        assert_eq!(decided, Decided::Now(Decision::NoAddress));
    }
}

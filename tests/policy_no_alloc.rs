//! Deciding and judging allocate nothing. In a file of its own: what other tests allocate would be counted.

use std::alloc::System;
use std::sync::Arc;

use ces::config::{
    Attribute, Attributes, Direction, DomainName, Kinds, NUMBERS, NamePattern, Policy, PolicyRule, Services,
    UserRule,
};
use ces::edge::policy::{Claims, Engine, Judgement, Name, Own, Query};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn engine() -> Engine {
    let pattern =
        |text: String| NamePattern { name: DomainName::new(&text).expect("a name"), is_domain: true };
    let refuse = |number: u32| PolicyRule {
        peers: vec![pattern(format!("spam{number}.example"))],
        ..PolicyRule::new("spam", ces::config::Action::Refuse)
    };
    let policy = Policy { operator: (0..1000).map(refuse).collect(), ..Policy::default() };
    let mut engine = Engine::new(Arc::new(policy), 10);
    let rules = ["block .bad.example", "identified service=tcp/22", "anyone service=tcp,udp", "nobody"];
    let rules = rules.map(|text| UserRule::parse(text).expect(text)).to_vec();
    engine.set_user_rules(&DomainName::new("tv.home.example").expect("a name"), rules).expect("room");
    engine
}

#[test]
fn deciding_and_judging_allocate_nothing() {
    let engine = engine();
    let given = [
        Attribute::Domain,
        Attribute::NamingCheck,
        Attribute::Rloc,
        Attribute::Encapsulation,
        Attribute::Timeout,
    ]
    .into_iter()
    .fold(Attributes::NONE, |set, attribute| set.with(Attributes::of(attribute)));
    let own = Own { rlocs: Kinds::ALL, encapsulations: Kinds::ALL };
    let (mut agreed, mut lacking, mut refused) = (0, 0, 0);
    let region = Region::new(GLOBAL);
    for peer in
        [None, Name::new("pc.far.example"), Name::new("x.spam999.example"), Name::new("y.bad.example")]
    {
        for services in [Services::one(6, 22), Services::one(17, 53), Services::ANY] {
            let query = Query {
                host: Name::new("tv.home.example"),
                group: Some("family"),
                direction: Direction::Inbound,
                peer,
                is_own_group: false,
                edge: Name::new("ces.far.example"),
                services,
                reputation: 45,
            };
            let decision = engine.decide(&query);
            let claims = Claims {
                given,
                domain: peer,
                rlocs: Kinds::ALL,
                encapsulations: Kinds::ALL,
                numbers: [60; NUMBERS.len()],
                ..Claims::NONE
            };
            match decision.judge(&claims, &own) {
                Judgement::Agreed(_) => agreed += 1,
                Judgement::Lacks { .. } => lacking += 1,
                Judgement::Refused(_) => refused += 1,
            }
            std::hint::black_box((decision.told(), decision.asks(), decision.states(Attribute::Timeout)));
        }
    }
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
    assert_eq!((agreed, lacking, refused), (3, 3, 6));
}

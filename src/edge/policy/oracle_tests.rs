//! The engine against a naive interpreter of the same rules, which knows of no index, no bits and no parts: it takes the rules as
//! they are written, one after another, for one service.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::config::{
    Attribute, Attributes, Direction, Kinds, NamePattern, Offer, Requirement, Services, Value, Who,
};
use crate::flow::filter::Opener;

const HOSTS: [&str; 3] = ["a.home.example", "b.home.example", "c.work.example"];
const PEERS: [&str; 4] = ["x.far.example", "y.far.example", "z.near.example", "far.example"];
const EDGES: [&str; 2] = ["ces1.far.example", "ces2.near.example"];
const GROUPS: [&str; 2] = ["red", "blue"];
const TOLD: [Attribute; 9] = [
    Attribute::Id,
    Attribute::Domain,
    Attribute::NamingCheck,
    Attribute::Signature,
    Attribute::Certificate,
    Attribute::Ca,
    Attribute::Rloc,
    Attribute::Encapsulation,
    Attribute::Timeout,
];

fn pattern(text: &str) -> NamePattern {
    let (is_domain, name) = text.strip_prefix('.').map_or((false, text), |name| (true, name));
    NamePattern { name: DomainName::new(name).expect(text), is_domain }
}

fn patterns(texts: &'static [&'static str]) -> impl Strategy<Value = Vec<NamePattern>> {
    let some =
        vec(proptest::sample::select(texts), 1..3).prop_map(|texts| texts.into_iter().map(pattern).collect());
    prop_oneof![2 => Just(Vec::new()), 1 => some]
}

fn services() -> impl Strategy<Value = Services> {
    let ports =
        prop_oneof![Just((0, u16::MAX)), (1..6u16, 0..4u16).prop_map(|(first, more)| (first, first + more))];
    (option::of(prop_oneof![Just(6u8), Just(17)]), ports).prop_map(|(protocol, (first, last))| Services {
        protocol,
        first,
        last,
    })
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let with = |attribute, value| (Just(attribute), Just(value));
    let item = prop_oneof![
        (1..8u8).prop_map(|bits| (Attribute::Id, Value::Kinds(Kinds(bits)))),
        (1..8u8).prop_map(|bits| (Attribute::Rloc, Value::Kinds(Kinds(bits)))),
        (1..8u8).prop_map(|bits| (Attribute::Encapsulation, Value::Kinds(Kinds(bits)))),
        vec(proptest::sample::select(&["x.far.example", ".far.example", "z.near.example"][..]), 1..3)
            .prop_map(|names| (Attribute::Domain, Value::Names(names.into_iter().map(pattern).collect()))),
        with(Attribute::Domain, Value::Any),
        with(Attribute::NamingCheck, Value::Any),
        with(Attribute::Signature, Value::Any),
        with(Attribute::Certificate, Value::Any),
        with(Attribute::Ca, Value::Names(vec![pattern("ca.example.org")])),
        (1..9u32, 0..9u32)
            .prop_map(|(least, more)| (Attribute::Timeout, Value::Range { least, most: least + more })),
    ];
    (item, any::<bool>(), prop::bool::weighted(0.3)).prop_map(
        |((attribute, value), is_reliable, is_optional)| Requirement {
            attribute,
            value,
            is_reliable,
            is_optional,
        },
    )
}

fn offer() -> impl Strategy<Value = Offer> {
    let attribute = proptest::sample::select(&[Attribute::Domain, Attribute::Signature, Attribute::Ca][..]);
    (attribute, any::<bool>(), any::<bool>()).prop_map(|(attribute, is_reliable, is_on_query)| Offer {
        attribute,
        value: Value::Any,
        is_reliable,
        is_on_query,
    })
}

/// Of lists in the configuration no attribute stands twice.
fn distinct<T>(items: Vec<T>, attribute: fn(&T) -> Attribute) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for item in items {
        if kept.iter().all(|known| attribute(known) != attribute(&item)) {
            kept.push(item);
        }
    }
    kept
}

fn action() -> impl Strategy<Value = Action> {
    let lists = (vec(requirement(), 0..4), vec(requirement(), 0..3), vec(offer(), 0..3)).prop_map(
        |(one, two, told)| {
            let told = distinct(told, |offer| offer.attribute);
            Lists {
                required: [one, two].map(|list| distinct(list, |requirement| requirement.attribute)),
                offered: [told.clone(), told],
                withheld: vec![],
            }
        },
    );
    prop_oneof![1 => Just(Action::Refuse), 3 => lists.prop_map(Action::Ask)]
}

fn rule(is_of_edges: bool) -> impl Strategy<Value = PolicyRule> {
    let names = (
        patterns(&["a.home.example", ".home.example", "c.work.example"]),
        patterns(&["x.far.example", ".far.example", ".near.example"]),
        patterns(&["ces1.far.example", ".near.example"]),
        vec(proptest::sample::select(&GROUPS[..]), 0..2),
    );
    let rest = (
        vec(services(), 0..3),
        option::of(proptest::sample::select(&Direction::BOTH[..])),
        prop_oneof![3 => Just(0..=100), 1 => (0..60u8, 0..60u8).prop_map(|(least, more)| least..=least + more)],
        prop::bool::weighted(0.1),
        action(),
    );
    (names, rest).prop_map(
        move |((hosts, peers, edges, groups), (services, direction, reputation, own, action))| {
            let mut rule = PolicyRule { reputation, edges, ..PolicyRule::new("", action) };
            if !is_of_edges {
                rule.groups = groups.into_iter().map(str::to_owned).collect();
                rule = PolicyRule { hosts, peers, services, direction, is_own_group: own, ..rule };
            }
            rule
        },
    )
}

fn named(mut rules: Vec<PolicyRule>, level: &str) -> Vec<PolicyRule> {
    (1..).zip(&mut rules).for_each(|(number, rule)| rule.name = format!("{level}-{number}"));
    rules
}

fn policy() -> impl Strategy<Value = Policy> {
    let who = prop_oneof![Just(Who::Anyone), Just(Who::Identified), Just(Who::Nobody)];
    (vec(rule(false), 0..7), vec(rule(true), 0..4), vec(rule(false), 0..7), who).prop_map(
        |(operator, edge, host, who)| {
            let mut policy = Policy {
                operator: named(operator, "operator"),
                edge: named(edge, "edge"),
                host: named(host, "host"),
                ..Policy::default()
            };
            policy.default.who = who;
            policy
        },
    )
}

/// Everything that a query and its claims are made of.
#[derive(Clone, Debug)]
struct Asked {
    host: &'static str,
    group: Option<&'static str>,
    direction: Direction,
    peer: Option<&'static str>,
    is_own_group: bool,
    edge: Option<&'static str>,
    reputation: u8,
    port: u16,
    protocol: u8,
    given: Attributes,
    unavailable: Attributes,
    kinds: [Kinds; 3],
    domain: &'static str,
    timeout: u32,
    own: [Kinds; 2],
}

fn asked() -> impl Strategy<Value = Asked> {
    let set = |weight| {
        vec(prop::bool::weighted(weight), TOLD.len()).prop_map(|bits| {
            TOLD.into_iter()
                .zip(bits)
                .filter(|(_, bit)| *bit)
                .fold(Attributes::NONE, |set, (attribute, _)| set.with(Attributes::of(attribute)))
        })
    };
    let who = (
        proptest::sample::select(&HOSTS[..]),
        option::of(proptest::sample::select(&GROUPS[..])),
        proptest::sample::select(&Direction::BOTH[..]),
        option::of(proptest::sample::select(&PEERS[..])),
        any::<bool>(),
        option::of(proptest::sample::select(&EDGES[..])),
        0..=100u8,
    );
    let what = (
        0..10u16,
        prop_oneof![Just(6u8), Just(17), Just(1)],
        set(0.8),
        set(0.3),
        [0..8u8, 0..8u8, 0..8u8],
        proptest::sample::select(&PEERS[..]),
        1..20u32,
        [1..8u8, 1..8u8],
    );
    (who, what).prop_map(|((host, group, direction, peer, is_own_group, edge, reputation), what)| {
        let (port, protocol, given, unavailable, kinds, domain, timeout, own) = what;
        let unavailable = unavailable.without(given.without(Attributes::of(Attribute::Id)));
        Asked {
            host,
            group,
            direction,
            peer,
            is_own_group,
            edge,
            reputation,
            port,
            protocol,
            given,
            unavailable,
            kinds: kinds.map(Kinds),
            domain,
            timeout,
            own: own.map(Kinds),
        }
    })
}

impl Asked {
    fn query(&self, services: Services) -> Query<'static> {
        let name = |text| Name::new(text).expect("a name");
        Query {
            host: Some(name(self.host)),
            group: self.group,
            direction: self.direction,
            peer: self.peer.map(name),
            is_own_group: self.is_own_group && self.peer.is_some(),
            edge: self.edge.map(name),
            services,
            reputation: self.reputation,
        }
    }

    fn claims(&self) -> Claims<'static> {
        Claims {
            given: self.given,
            unavailable: self.unavailable,
            id: self.kinds[0],
            domain: Name::new(self.domain),
            authority: Name::new("ca.example.org"),
            rlocs: self.kinds[1],
            encapsulations: self.kinds[2],
            numbers: [self.timeout, 0, 0],
        }
    }

    fn own(&self) -> Own {
        Own { rlocs: self.own[0], encapsulations: self.own[1] }
    }
}

/// A name by its labels.
fn labels(name: &str) -> Vec<&str> {
    name.split('.').collect()
}

fn is_of(name: &str, patterns: &[NamePattern]) -> bool {
    patterns.iter().any(|pattern| {
        let theirs = labels(pattern.name.as_str());
        if pattern.is_domain { labels(name).ends_with(&theirs) } else { labels(name) == theirs }
    })
}

/// What the naive interpreter finds of a rule: `None` where it does not know who the peer is.
fn naive_fits(rule: &PolicyRule, asked: &Asked) -> Option<bool> {
    let is_service = rule.services.is_empty()
        || rule.services.iter().any(|services| {
            services.protocol.is_none_or(|protocol| protocol == asked.protocol)
                && services.first <= asked.port
                && asked.port <= services.last
        });
    let is_known = is_service
        && (rule.hosts.is_empty() || is_of(asked.host, &rule.hosts))
        && (rule.groups.is_empty() || rule.groups.iter().any(|group| Some(&group[..]) == asked.group))
        && rule.direction.is_none_or(|direction| direction == asked.direction)
        && rule.reputation.contains(&asked.reputation);
    let edge =
        if rule.edges.is_empty() { Some(true) } else { asked.edge.map(|edge| is_of(edge, &rule.edges)) };
    let peer = match asked.peer {
        _ if !rule.is_of_peers() => Some(true),
        Some(peer) => Some(is_of(peer, &rule.peers) || rule.is_own_group && asked.is_own_group),
        None => None,
    };
    match (is_known, edge, peer) {
        (false, _, _) | (_, Some(false), _) | (_, _, Some(false)) => Some(false),
        (_, Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// The first rule of a list that fits, and whether it is settled.
fn naive_first<'a>(rules: &'a [PolicyRule], asked: &Asked) -> Option<(&'a PolicyRule, bool)> {
    rules.iter().find_map(|rule| match naive_fits(rule, asked) {
        Some(false) => None,
        fits => Some((rule, fits.is_some())),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Naive {
    Agreed { timeout: Option<u32>, rlocs: Kinds, encapsulations: Kinds },
    Lacks,
    Refused,
}

/// The three rules that decide, by name, and what they come to.
fn naive(policy: &Policy, users: &[PolicyRule], asked: &Asked) -> ([String; 3], Naive) {
    let nothing = PolicyRule::new("none", Action::Ask(Lists::default()));
    let anyone = UserRule { who: Who::Anyone, services: vec![], direction: None };
    let mut host: Vec<PolicyRule> = users.iter().chain(&policy.host).cloned().collect();
    for rule in [&policy.default, &anyone] {
        host.extend(rule.compile("default", &policy.identified, &policy.offered));
    }
    let decided = [&policy.operator, &policy.edge, &host]
        .map(|rules| naive_first(rules, asked).unwrap_or((&nothing, true)));
    let names = decided.map(|(rule, _)| rule.name.clone());
    (names, naive_judge(&decided, asked))
}

fn naive_judge(decided: &[(&PolicyRule, bool); 3], asked: &Asked) -> Naive {
    if decided.iter().any(|(rule, is_settled)| *is_settled && rule.action == Action::Refuse) {
        return Naive::Refused;
    }
    let told = |attribute| asked.given.has(attribute);
    let never = |attribute| asked.unavailable.has(attribute) && !told(attribute);
    let mut is_lacking = false;
    for (rule, is_settled) in decided {
        let mut needs = Vec::new();
        if !is_settled && rule.is_of_peers() && asked.peer.is_none() {
            needs.extend([Attribute::Domain, Attribute::NamingCheck]);
        }
        if !is_settled && !rule.edges.is_empty() && asked.edge.is_none() {
            needs.extend([Attribute::Certificate, Attribute::Signature]);
        }
        if needs.iter().any(|attribute| never(*attribute)) {
            return Naive::Refused;
        }
        is_lacking |= !needs.is_empty();
    }
    let both = [
        if told(Attribute::Rloc) { asked.kinds[1].and(asked.own[0]) } else { Kinds::NONE },
        if told(Attribute::Encapsulation) { asked.kinds[2].and(asked.own[1]) } else { Kinds::NONE },
    ];
    let mut common = both;
    let settled = || decided.iter().filter(|(_, is_settled)| *is_settled);
    let lists = || {
        settled()
            .filter_map(|(rule, _)| if let Action::Ask(lists) = &rule.action { Some(lists) } else { None })
    };
    let items = || lists().flat_map(|lists| &lists.required[asked.direction as usize]);
    let mut refusals = 0;
    for item in items().filter(|item| !item.is_optional) {
        let is_wrong = match (item.attribute, &item.value) {
            (Attribute::Id, Value::Kinds(kinds)) => {
                let fits = !asked.kinds[0].and(*kinds).is_empty();
                is_lacking |= told(Attribute::Id) && !fits && !asked.unavailable.has(Attribute::Id);
                told(Attribute::Id) && !fits && asked.unavailable.has(Attribute::Id)
            }
            (Attribute::Domain, Value::Names(names)) => {
                told(Attribute::Domain) && !is_of(asked.domain, names)
            }
            _ => false,
        };
        refusals += usize::from(is_wrong || never(item.attribute));
        is_lacking |= !told(item.attribute);
        if matches!(item.value, Value::Names(_)) && item.attribute == Attribute::Domain {
            refusals += usize::from(never(Attribute::NamingCheck));
            is_lacking |= !told(Attribute::NamingCheck);
        }
    }
    if refusals > 0 {
        return Naive::Refused;
    }
    is_lacking |=
        [Attribute::Rloc, Attribute::Encapsulation].into_iter().any(|need| !told(need) && !never(need));
    if is_lacking {
        return Naive::Lacks;
    }
    for (place, attribute) in [Attribute::Rloc, Attribute::Encapsulation].into_iter().enumerate() {
        for item in items().filter(|item| item.attribute == attribute) {
            let Value::Kinds(kinds) = item.value else { continue };
            let narrowed = common[place].and(kinds);
            match (narrowed.is_empty(), item.is_optional) {
                (true, false) => return Naive::Refused,
                (true, true) => {}
                (false, _) => common[place] = narrowed,
            }
        }
    }
    if common.iter().any(|kinds| kinds.is_empty()) {
        return Naive::Refused;
    }
    let mut timeout = told(Attribute::Timeout).then_some(asked.timeout);
    for item in items() {
        if let Value::Range { most, .. } = item.value {
            timeout = timeout.map(|seconds| seconds.min(most));
        }
    }
    for item in items().filter(|item| !item.is_optional) {
        if let Value::Range { least, .. } = item.value
            && timeout.is_some_and(|seconds| seconds < least)
        {
            return Naive::Refused;
        }
    }
    Naive::Agreed { timeout, rlocs: common[0], encapsulations: common[1] }
}

fn seen(judgement: &Judgement<'_>) -> Naive {
    match judgement {
        Judgement::Agreed(agreed) => Naive::Agreed {
            timeout: agreed.numbers[0],
            rlocs: agreed.rlocs,
            encapsulations: agreed.encapsulations,
        },
        Judgement::Lacks { .. } => Naive::Lacks,
        Judgement::Refused(_) => Naive::Refused,
    }
}

const USER_RULES: [&str; 8] = [
    "block .far.example service=tcp/1-3",
    "block y.far.example",
    "own-devices z.near.example",
    "allow x.far.example direction=both",
    "identified service=udp",
    "nobody service=tcp/5",
    "anyone service=tcp,udp/2 direction=both",
    "nobody direction=outbound",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_engine_decides_and_judges_as_the_naive_interpreter_does(
        policy in policy(),
        user in vec(proptest::sample::select(&USER_RULES[..]), 0..4),
        asked in vec(asked(), 1..8),
    ) {
        let user: Vec<UserRule> = user.iter().map(|text| UserRule::parse(text).expect(text)).collect();
        let compiled: Vec<PolicyRule> = (1..).zip(&user)
            .flat_map(|(number, rule)| rule.compile(&format!("user-{number}"), &policy.identified, &policy.offered))
            .collect();
        let mut engine = Engine::new(Arc::new(policy.clone()), 10);
        engine.set_user_rules(&DomainName::new(HOSTS[0]).expect("a name"), user).expect("room");
        for asked in asked {
            let users = if asked.host == HOSTS[0] { &compiled[..] } else { &[] };
            let (names, expected) = naive(&policy, users, &asked);
            let decision = engine.decide(&asked.query(Services::one(asked.protocol, asked.port)));
            prop_assert_eq!(decision.parts().len(), 1, "one service is one part");
            let found = decision.parts()[0].rulings.map(|ruling| ruling.rule.name().to_owned());
            prop_assert_eq!(found, names);
            let judgement = decision.judge(&asked.claims(), &asked.own());
            prop_assert_eq!(seen(&judgement), expected, "{:?}", judgement);

            // Whoever asks for everything gets what it would get one by one, and nothing else.
            let whole = engine.decide(&asked.query(Services::ANY));
            let opener = if asked.direction == Direction::Inbound { Opener::Remote } else { Opener::Local };
            if let Judgement::Agreed(agreed) = whole.judge(&asked.claims(), &asked.own()) {
                let is_open = agreed.filter.permits(opener, asked.protocol, asked.port);
                let fits = matches!(judgement, Judgement::Agreed(_));
                prop_assert!(!is_open || fits, "open, and refused by itself");
                let is_whole = whole.parts().len() < PARTS_MAX && !asked.given.has(Attribute::Timeout);
                prop_assert!(is_open || !fits || !is_whole, "fits by itself, and closed");
            } else if whole.parts().len() < PARTS_MAX {
                prop_assert!(!matches!(judgement, Judgement::Agreed(_)), "fits by itself, and nothing is agreed");
            }
        }
    }

    #[test]
    fn no_user_loosens_what_the_operator_says(
        policy in policy(),
        user in vec(proptest::sample::select(&USER_RULES[..]), 0..4),
        asked in asked(),
    ) {
        let user: Vec<UserRule> = user.iter().map(|text| UserRule::parse(text).expect(text)).collect();
        // The strictest that there is without any host's rules is what the operator and the edges' rules say.
        let floor = Policy { host: vec![], ..policy.clone() };
        let floor = Policy { default: UserRule { who: Who::Anyone, ..floor.default }, ..floor };
        let floor = Engine::new(Arc::new(floor), 10);
        let mut engine = Engine::new(Arc::new(policy), 10);
        engine.set_user_rules(&DomainName::new(asked.host).expect("a name"), user).expect("room");
        let query = asked.query(Services::one(asked.protocol, asked.port));
        let judge = |engine: &Engine| seen(&engine.decide(&query).judge(&asked.claims(), &asked.own()));
        if let Naive::Agreed { timeout, rlocs, encapsulations } = judge(&engine) {
            let Naive::Agreed { timeout: most, rlocs: all, encapsulations: ways } = judge(&floor) else {
                return Err(TestCaseError::fail("agreed on what the operator does not take"));
            };
            prop_assert!(timeout <= most && rlocs.and(all) == rlocs && encapsulations.and(ways) == encapsulations);
        }
    }

    #[test]
    fn both_sides_come_to_the_same_numbers(one in (1..50u32, 0..50u32), two in (1..50u32, 0..50u32), optional in any::<[bool; 2]>()) {
        let side = |(least, more): (u32, u32), direction: Direction, is_optional| {
            let value = Value::Range { least, most: least + more };
            let required = Requirement { attribute: Attribute::Timeout, value: value.clone(), is_reliable: false, is_optional };
            let offered = Offer { attribute: Attribute::Timeout, value, is_reliable: false, is_on_query: false };
            let mut lists = Lists::default();
            lists.required[direction as usize] = vec![required];
            lists.offered[direction as usize] = vec![offered];
            let host = vec![PolicyRule::new("all", Action::Ask(lists))];
            Engine::new(Arc::new(Policy { host, ..Policy::default() }), 1)
        };
        let engines = [side(one, Direction::Inbound, optional[0]), side(two, Direction::Outbound, optional[1])];
        let decide = |engine: &'static Engine, direction| engine.decide(&Query {
            host: Name::new(HOSTS[0]), group: None, direction, peer: Name::new(PEERS[0]), is_own_group: false, edge: None,
            services: Services::one(6, 443), reputation: 45,
        });
        let [inbound, outbound] = engines.map(|engine| &*Box::leak(Box::new(engine)));
        let decisions = [decide(inbound, Direction::Inbound), decide(outbound, Direction::Outbound)];
        let stated = decisions.clone().map(|decision| decision.states(Attribute::Timeout).expect("it is told"));
        let given = [Attribute::Timeout, Attribute::Rloc, Attribute::Encapsulation].into_iter()
            .fold(Attributes::NONE, |set, attribute| set.with(Attributes::of(attribute)));
        let judge = |place: usize| decisions[place].judge(
            &Claims { given, rlocs: Kinds::ALL, encapsulations: Kinds::ALL, numbers: [stated[1 - place], 0, 0], ..Claims::NONE },
            &Own { rlocs: Kinds::ALL, encapsulations: Kinds::ALL },
        );
        let least = [one.0, two.0];
        let agreed = stated[0].min(stated[1]);
        for place in 0..2 {
            match judge(place) {
                Judgement::Agreed(terms) => {
                    prop_assert_eq!(terms.numbers[0], Some(agreed));
                    prop_assert!(agreed >= least[place] || optional[place]);
                    prop_assert_eq!(terms.absorbed.has(Attribute::Timeout), agreed < least[place]);
                }
                Judgement::Refused(refusal) => {
                    prop_assert_eq!(refusal.attribute, Some(Attribute::Timeout));
                    prop_assert!(agreed < least[place] && !optional[place]);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

//! The engine's promises, one by one; the naive interpreter of `oracle_tests` holds them for whatever rules there are.

use std::sync::Arc;

use super::*;
use crate::config::{Attribute, Attributes, Direction, Kinds, NamePattern, Services};
use crate::flow::filter::Opener;

const HOST: &str = "tv.home.example";
const GIVEN: [Attribute; 2] = [Attribute::Rloc, Attribute::Encapsulation];
const OWN: Own = Own { rlocs: Kinds(1), encapsulations: Kinds(1) };

fn set(attributes: &[Attribute]) -> Attributes {
    attributes.iter().fold(Attributes::NONE, |set, attribute| set.with(Attributes::of(*attribute)))
}

fn engine(text: &str) -> Engine {
    let text = format!("{}{text}", include_str!("../../../configs/null.toml"));
    let config = crate::config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"));
    Engine::new(Arc::new(config.policy), 10)
}

fn with_user(mut engine: Engine, rules: &[&str]) -> Engine {
    let rules = rules.iter().map(|text| UserRule::parse(text).expect(text)).collect();
    engine.set_user_rules(&DomainName::new(HOST).expect("a name"), rules).expect("room");
    engine
}

fn inbound(peer: Option<&'static str>) -> Query<'static> {
    Query {
        host: Name::new(HOST),
        group: Some("family"),
        direction: Direction::Inbound,
        peer: peer.and_then(Name::new),
        is_own_group: false,
        edge: None,
        services: Services::one(6, 443),
        reputation: 45,
    }
}

/// A peer of whom so much is known, beside what any needs.
fn claims(given: &[Attribute]) -> Claims<'static> {
    let given = set(&GIVEN).with(set(given));
    Claims { given, id: Kinds::one(0), rlocs: Kinds(3), encapsulations: Kinds(1), ..Claims::NONE }
}

/// `agreed`, `lacks …` or `refused by LEVEL RULE ATTRIBUTE`.
fn told(judgement: &Judgement<'_>) -> String {
    match judgement {
        Judgement::Agreed(_) => "agreed".into(),
        Judgement::Lacks { asks, .. } => format!("lacks {asks}"),
        Judgement::Refused(refusal) => {
            let attribute =
                refusal.attribute.map_or(String::new(), |attribute| format!(" {}", attribute.name()));
            format!("refused by {} {}{attribute}", refusal.level.name(), refusal.rule.name())
        }
    }
}

fn judge(engine: &Engine, query: &Query<'_>, claims: &Claims<'_>) -> String {
    told(&engine.decide(query).judge(claims, &OWN))
}

#[test]
fn each_level_has_a_say_and_the_strictest_is_heard() {
    let strict = "[[policy.operator]]\nname = \"signed\"\ndirection = \"inbound\"\nrequired_as_ices = [\"signature\"]\n\
                  [[policy.edge]]\nname = \"own-ca\"\nrequired_as_ices = [\"certificate\", \"ca=ca.op.example\"]\n";
    let engine = with_user(engine(strict), &["anyone"]);
    let query = inbound(None);
    assert_eq!(judge(&engine, &query, &claims(&[])), "lacks signature, certificate, ca");
    let known = [Attribute::Signature, Attribute::Certificate, Attribute::Ca];
    let of = |authority| Claims { authority: Name::new(authority), ..claims(&known) };
    assert_eq!(judge(&engine, &query, &of("ca.op.example")), "agreed");
    assert_eq!(judge(&engine, &query, &of("ca.op.example.org")), "refused by edge own-ca ca");
    let nobody = with_user(engine, &["nobody"]);
    assert_eq!(judge(&nobody, &query, &of("ca.op.example")), "refused by host user-1");
}

#[test]
fn a_rule_about_names_asks_for_the_name_and_believes_only_a_proven_one() {
    let engine = with_user(engine(""), &["block .spam.example", "anyone"]);
    assert_eq!(judge(&engine, &inbound(None), &claims(&[])), "lacks domain, naming-check");
    let unproven = Claims { domain: Name::new("friend.example"), ..claims(&[Attribute::Domain]) };
    assert_eq!(judge(&engine, &inbound(None), &unproven), "lacks naming-check");
    let untold = Claims {
        domain: Name::new("x.spam.example"),
        ..claims(&[Attribute::Domain, Attribute::NamingCheck])
    };
    let open = judge(&engine, &inbound(None), &untold);
    assert_eq!(
        open, "lacks domain, naming-check",
        "nothing is agreed before the proven name was decided about"
    );
    let silent = Claims { unavailable: set(&[Attribute::Domain]), ..claims(&[]) };
    assert_eq!(judge(&engine, &inbound(None), &silent), "refused by host user-1 domain");
    let named = claims(&[Attribute::Domain, Attribute::NamingCheck]);
    for (peer, expected) in [
        ("friend.example", "agreed"),
        ("notspam.example", "agreed"),
        ("spam.example.org", "agreed"),
        ("spam.example", "refused by host user-1"),
        ("deep.in.spam.example", "refused by host user-1"),
    ] {
        assert_eq!(judge(&engine, &inbound(Some(peer)), &named), expected, "{peer}");
    }
}

#[test]
fn a_name_that_is_required_has_to_be_proven() {
    let engine =
        engine("[[policy.host]]\nname = \"friend\"\nrequired_as_ices = [\"domain=friend.example\"]\n");
    let of = |name, more: &[Attribute]| {
        let given = [&[Attribute::Domain][..], more].concat();
        judge(&engine, &inbound(None), &Claims { domain: Name::new(name), ..claims(&given) })
    };
    assert_eq!(of("friend.example", &[]), "lacks naming-check", "not on the sender's word");
    assert_eq!(of("friend.example", &[Attribute::NamingCheck]), "agreed");
    assert_eq!(of("x.friend.example", &[Attribute::NamingCheck]), "refused by host friend domain");
}

#[test]
fn own_devices_are_of_the_group_or_listed() {
    let engine = with_user(engine(""), &["own-devices phone.abroad.example"]);
    let named = claims(&[Attribute::Domain, Attribute::NamingCheck]);
    let own = Query { is_own_group: true, ..inbound(Some("pc.home.example")) };
    assert_eq!(judge(&engine, &own, &named), "agreed");
    assert_eq!(judge(&engine, &inbound(Some("phone.abroad.example")), &named), "agreed");
    assert_eq!(judge(&engine, &inbound(Some("pc.home.example")), &named), "refused by host user-1");
    let unnamed = Query { is_own_group: true, ..inbound(None) };
    assert_eq!(judge(&engine, &unnamed, &claims(&[])), "lacks domain, naming-check", "a group is a name's");
}

#[test]
fn reputation_selects_the_variant() {
    let text = "[[policy.operator]]\nname = \"bad\"\nreputation_below = 20\nrefuse = true\n\
                [[policy.operator]]\nname = \"doubtful\"\nreputation_below = 45\nrequired_as_ices = [\"signature\"]\n";
    let engine = engine(text);
    for (reputation, expected) in [
        (0, "refused by operator bad"),
        (19, "refused by operator bad"),
        (20, "lacks signature"),
        (44, "lacks signature"),
        (45, "agreed"),
        (100, "agreed"),
    ] {
        let query = Query { reputation, ..inbound(None) };
        assert_eq!(judge(&engine, &query, &claims(&[])), expected, "{reputation}");
    }
}

#[test]
fn what_is_optional_is_asked_for_and_absorbed() {
    let text = "[[policy.host]]\nname = \"wishes\"\nrequired_as_ices = [\"signature\", \"domain=a.example optional\", \
                \"ca=ca.op.example optional\", \"timeout=60..600 optional\"]\n";
    let engine = engine(text);
    let query = inbound(None);
    assert_eq!(judge(&engine, &query, &claims(&[])), "lacks domain, naming-check, signature, ca, timeout");
    let poor = Claims {
        unavailable: set(&[Attribute::Ca]),
        domain: Name::new("b.example"),
        numbers: [30, 0, 0],
        ..claims(&[Attribute::Signature, Attribute::Domain, Attribute::Timeout])
    };
    let Judgement::Agreed(agreed) = engine.decide(&query).judge(&poor, &OWN) else { panic!("agreed") };
    assert_eq!(agreed.absorbed, set(&[Attribute::Domain, Attribute::Ca, Attribute::Timeout]));
    assert_eq!(agreed.numbers, [Some(30), None, None], "the smaller one is both sides' nevertheless");
}

#[test]
fn a_service_decides_about_types_of_id() {
    let text = "[[policy.host]]\nname = \"shell\"\nservices = [\"tcp/22\"]\n\
                required_as_ices = [\"id=operator-assured,user-certificate RR\"]\n";
    let engine = engine(text);
    let shell = Query { services: Services::one(6, 22), ..inbound(None) };
    let known = claims(&[Attribute::Id]);
    let Judgement::Lacks { asks, reliable, ids } = engine.decide(&shell).judge(&known, &OWN) else {
        panic!("lacks")
    };
    let id = set(&[Attribute::Id]);
    assert_eq!((asks, reliable, ids), (id, id, Kinds(0b11_0000)), "another type is asked for");
    let refused = Claims { unavailable: id, ..known };
    assert_eq!(judge(&engine, &shell, &refused), "refused by host shell id");
    assert_eq!(judge(&engine, &shell, &Claims { id: Kinds::one(4), ..known }), "agreed");
    assert_eq!(judge(&engine, &inbound(None), &known), "agreed");
}

#[test]
fn both_need_an_rloc_and_an_encapsulation_in_common() {
    let engine = engine(
        "[[policy.edge]]\nname = \"six\"\nedges = [\".six.example\"]\nrequired_as_ices = [\"rloc=ipv6\"]\n",
    );
    let query = Query { edge: Name::new("ces.four.example"), ..inbound(None) };
    let known = claims(&[]);
    assert_eq!(judge(&engine, &query, &Claims { rlocs: Kinds(2), ..known }), "refused by edge none rloc");
    assert_eq!(
        judge(&engine, &query, &Claims { encapsulations: Kinds(4), ..known }),
        "refused by edge none encapsulation"
    );
    assert_eq!(
        judge(&engine, &query, &Claims { given: Attributes::NONE, ..known }),
        "lacks rloc, encapsulation"
    );
    let six = Query { edge: Name::new("ces.six.example"), ..query };
    assert_eq!(
        judge(&engine, &six, &known),
        "refused by edge six rloc",
        "it has IPv6, and this edge has not"
    );
    let Judgement::Agreed(agreed) = engine.decide(&query).judge(&known, &OWN) else { panic!("agreed") };
    assert_eq!((agreed.rlocs, agreed.encapsulations), (Kinds(1), Kinds(1)));
}

#[test]
fn whoever_asks_for_any_service_gets_those_that_its_claims_suffice_for() {
    let engine = with_user(
        engine("[[policy.operator]]\nname = \"no-mail\"\nservices = [\"tcp/25\"]\nrefuse = true\n"),
        &["anyone service=tcp/1-100,icmp", "identified service=tcp/22-200", "nobody"],
    );
    let query = Query { services: Services::ANY, ..inbound(None) };
    let decision = engine.decide(&query);
    let Judgement::Agreed(agreed) = decision.judge(&claims(&[]), &OWN) else { panic!("agreed") };
    let open =
        |filter: &crate::flow::filter::Filter, protocol, port| filter.permits(Opener::Remote, protocol, port);
    for (protocol, port, is_open) in
        [(6, 80, true), (6, 25, false), (6, 150, false), (6, 201, false), (1, 0, true), (17, 53, false)]
    {
        assert_eq!(open(&agreed.filter, protocol, port), is_open, "{protocol}/{port}");
    }
    assert!(!agreed.filter.permits(Opener::Local, 6, 80), "the way back is another negotiation");
    let named = claims(&[Attribute::Domain, Attribute::NamingCheck]);
    let Judgement::Agreed(agreed) = decision.judge(&named, &OWN) else { panic!("agreed") };
    assert!(open(&agreed.filter, 6, 150) && open(&agreed.filter, 6, 80) && !open(&agreed.filter, 6, 201));
    let one = engine.decide(&Query { services: Services::one(6, 150), ..query });
    assert_eq!(told(&one.judge(&claims(&[]), &OWN)), "lacks domain, naming-check");
}

#[test]
fn all_parts_are_on_the_terms_of_the_first() {
    let rule = |service: &str, most: u32| {
        format!(
            "[[policy.host]]\nname = \"{service}\"\nservices = [\"{service}\"]\nrequired_as_ices = [\"timeout=60..{most}\"]\n"
        )
    };
    let engine = engine(&[rule("tcp", 600), rule("udp", 120), rule("icmp", 3600)].concat());
    let known = Claims { numbers: [900, 0, 0], ..claims(&[Attribute::Timeout]) };
    let query = Query { services: Services::ANY, ..inbound(None) };
    let Judgement::Agreed(agreed) = engine.decide(&query).judge(&known, &OWN) else { panic!("agreed") };
    assert_eq!(agreed.numbers[0], Some(600));
    let open = [6, 17, 1, 132].map(|protocol| agreed.filter.permits(Opener::Remote, protocol, 9));
    assert_eq!(open, [true, false, true, true], "600 seconds are too many for UDP");
}

#[test]
fn more_parts_than_fit_are_refused_not_passed() {
    let services: Vec<String> = (1..=20).map(|port| format!("\"tcp/{port}\"")).collect();
    let text = format!(
        "[[policy.operator]]\nname = \"many\"\nservices = [{}]\n[[policy.operator]]\nname = \"rest\"\n",
        services.join(", ")
    );
    let engine = engine(&text);
    let decision = engine.decide(&Query { services: Services::ANY, ..inbound(None) });
    assert_eq!(decision.parts().len(), PARTS_MAX);
    let Judgement::Agreed(agreed) = decision.judge(&claims(&[]), &OWN) else { panic!("agreed") };
    let open: Vec<u16> = (1..=30).filter(|port| agreed.filter.permits(Opener::Remote, 6, *port)).collect();
    assert_eq!(open, (1..=15).collect::<Vec<u16>>());
    assert!(decision.to_string().contains("refused by rule too-many-services"));
    let one = engine.decide(&Query { services: Services::one(6, 30), ..inbound(None) });
    assert_eq!(told(&one.judge(&claims(&[]), &OWN)), "agreed", "by itself it is looked at");
}

#[test]
fn what_is_told_is_what_no_level_withholds() {
    let text = "[policy]\noffered_as_ices = [\"domain RR\", \"signature on-query\", \"ca\", \"id=fqdn,random\"]\n\
                [[policy.operator]]\nname = \"silent\"\nwithheld = [\"ca\"]\n\
                [[policy.edge]]\nname = \"open\"\noffered_as_ices = [\"signature\", \"ca\", \"id=random,thing\"]\n";
    let told = engine(text).decide(&inbound(None)).told();
    let all = set(&[Attribute::Domain, Attribute::Signature, Attribute::Id]);
    assert_eq!((told.volunteered, told.on_query), (all, all), "what one level tells unasked is told unasked");
    assert_eq!((told.reliable, told.ids), (set(&[Attribute::Domain]), Kinds(0b100)));
    let nobody = with_user(engine(text), &["nobody"]);
    assert_eq!(nobody.decide(&inbound(None)).told().on_query, Attributes::NONE);
}

#[test]
fn an_edge_that_rules_depend_on_has_to_prove_who_it_is() {
    let text = "[[policy.edge]]\nname = \"enemy\"\nedges = [\"ces.bad.example\"]\nrefuse = true\n\
                [[policy.host]]\nname = \"closed\"\nrefuse = true\n";
    let engine = engine(text);
    let between = |edge| Query { host: None, edge, ..inbound(None) };
    assert_eq!(judge(&engine, &between(None), &claims(&[])), "lacks signature, certificate");
    assert_eq!(judge(&engine, &between(Name::new("ces.bad.example")), &claims(&[])), "refused by edge enemy");
    let good = between(Name::new("ces.good.example"));
    assert_eq!(judge(&engine, &good, &claims(&[])), "agreed", "hosts' rules have no say between edges");
}

#[test]
fn the_operators_word_about_a_fall_back_goes_before_the_hosts() {
    let rule =
        |level, fallback| format!("[[policy.{level}]]\nname = \"all\"\nlegacy_fallback = {fallback}\n");
    let outbound = Query { direction: Direction::Outbound, ..inbound(Some("far.example")) };
    for (text, allows) in [
        (String::new(), false),
        ("[policy]\nlegacy_fallback = true\n".into(), true),
        (rule("host", true), true),
        (format!("{}{}", rule("operator", false), rule("host", true)), false),
        (format!("[policy]\nlegacy_fallback = true\n{}", rule("host", false)), false),
    ] {
        assert_eq!(engine(&text).decide(&outbound).allows_legacy_fallback(), allows, "{text}");
    }
}

#[test]
fn a_decision_is_explained_level_by_level() {
    let text = "[[policy.operator]]\nname = \"no-spoofing\"\ndirection = \"inbound\"\nrequired_as_ices = [\"cookie\"]\n\
                [[policy.edge]]\nname = \"partner\"\nedges = [\".far.example\"]\n\
                required_as_ices = [\"timeout=60..3600 optional\", \"id=fqdn,operator-assured\"]\n";
    let engine = with_user(engine(text), &["block .spam.example", "identified service=tcp"]);
    let query = Query { edge: Name::new("ces.far.example"), ..inbound(Some("pc.far.example")) };
    let expected = "\
tcp/443 inbound:
  operator  no-spoofing: asks cookie
  edge      partner: asks id, timeout
  host      user-2: asks domain, naming-check
  asked of the oCES: id, domain, naming-check, cookie, timeout
    optional: timeout
    reliably: domain
    id: fqdn, operator-assured
    timeout: 60 to 3600
  told      id, rloc, encapsulation, timeout, sessions, negotiations
  if asked  domain, signature, certificate, ca

a peer whose edge does not answer may not be called without one
";
    assert_eq!(engine.decide(&query).to_string(), expected);
    let unknown = engine.decide(&inbound(None)).to_string();
    assert!(
        unknown.contains("edge      partner: open until the peer has told signature, certificate\n"),
        "{unknown}"
    );
    assert!(
        unknown.contains("host      user-1: open until the peer has told domain, naming-check\n"),
        "{unknown}"
    );
    let spam = engine.decide(&Query { peer: Name::new("x.spam.example"), ..query }).to_string();
    assert!(spam.contains("  host      user-1: refuses\n  refused by rule user-1 of level host\n"), "{spam}");
}

#[test]
fn the_rules_of_users_are_bounded_and_none_is_hidden() {
    use super::hosts::{Change, Conflict, changed};
    let host = DomainName::new(HOST).expect("a name");
    let added = |host: &DomainName, rules: &[UserRule], rule, at| {
        changed(rules, &Change::Add { host: host.clone(), rule, at })
    };
    let removed = |host: &DomainName, rules: &[UserRule], at| {
        changed(rules, &Change::Remove { host: host.clone(), at })
    };
    let rule = |text: &str| UserRule::parse(text).expect(text);
    let rules = added(&host, &[], rule("identified"), None).expect("the first");
    assert!(matches!(
        added(&host, &rules, rule("block a.example"), None),
        Err(Conflict::Hidden { at: 1, .. })
    ));
    assert!(matches!(added(&host, &rules, rule("nobody"), Some(1)), Err(Conflict::Hides { at: 1, .. })));
    let rules = added(&host, &rules, rule("block a.example"), Some(1)).expect("before it");
    assert_eq!(rules.iter().map(UserRule::to_string).collect::<Vec<_>>(), ["block a.example", "identified"]);
    assert!(matches!(
        added(&host, &rules, rule("allow b.example"), Some(4)),
        Err(Conflict::NoSuchRule { at: 4, .. })
    ));
    assert!(matches!(
        added(&host, &rules, rule("allow b.example"), Some(0)),
        Err(Conflict::NoSuchRule { at: 0, .. })
    ));
    assert_eq!(removed(&host, &rules, 1).expect("there"), [rule("identified")]);
    assert!(removed(&host, &rules, 3).is_err() && removed(&host, &rules, 0).is_err());
    let many = vec![rule("block a.example"); UserRule::RULES_MAX];
    assert!(matches!(added(&host, &many, rule("identified"), None), Err(Conflict::ManyRules { .. })));

    let mut engine = Engine::new(Arc::new(Policy::default()), 1);
    engine.set_user_rules(&host, vec![rule("nobody")]).expect("room");
    let other = DomainName::new("pc.home.example").expect("a name");
    assert_eq!(engine.set_user_rules(&other, vec![rule("nobody")]), Err(hosts::Full(1)));
    engine.set_user_rules(&host, vec![rule("anyone")]).expect("another in its place");
    engine.set_user_rules(&host, vec![]).expect("none");
    assert!(engine.users().is_empty() && engine.users().of(&host).is_empty());
    engine.set_user_rules(&other, vec![rule("nobody")]).expect("room again");
}

#[test]
fn among_thousands_of_rules_the_first_that_fits_is_found_by_name() {
    let pattern =
        |text: String| NamePattern { name: DomainName::new(&text).expect("a name"), is_domain: true };
    let refuse = |name: String| PolicyRule {
        peers: vec![pattern(name.clone())],
        ..PolicyRule::new(name, Action::Refuse)
    };
    let operator: Vec<PolicyRule> = (0..4000).map(|number| refuse(format!("spam{number}.example"))).collect();
    let host = |name: String| PolicyRule {
        hosts: vec![pattern(name.clone())],
        ..PolicyRule::new(name, Action::Refuse)
    };
    let host = (0..4000).map(|number| host(format!("host{number}.example"))).collect();
    let engine = Engine::new(Arc::new(Policy { operator, host, ..Policy::default() }), 1);
    let count = |rules: &super::rules::Rules, query: &Query<'_>| {
        let mut count = 0;
        rules.walk(query, |_| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        });
        count
    };
    assert_eq!(count(&engine.operator, &inbound(Some("a.spam3999.example"))), 1);
    assert_eq!(count(&engine.operator, &inbound(Some("friend.example"))), 0);
    assert_eq!(count(&engine.operator, &inbound(None)), 1, "all of one kind are stood for by the first");
    assert_eq!(count(&engine.host, &inbound(None)), 0);
}

//! Users' rules and services: their words, and what they come to.

use super::*;
use proptest::prelude::*;

#[test]
fn a_users_rule_is_shown_as_it_is_written() {
    for text in [
        "anyone",
        "identified service=tcp/443,udp/5000-5100",
        "own-devices phone.home.example .lab.home.example",
        "own-devices",
        "nobody direction=outbound",
        "block .spam.example x.other.example direction=both",
        "allow friend.example service=tcp,icmp,any/53",
    ] {
        assert_eq!(UserRule::parse(text).expect(text).to_string(), text);
    }
    let spaced = UserRule::parse("  block   Spam.Example. direction=inbound ").expect("a rule");
    assert_eq!(spaced.to_string(), "block spam.example", "names in lower case, without the root's dot");
}

#[test]
fn a_bad_rule_is_refused_with_a_hint() {
    for (text, message, hint) in [
        ("", "is no rule", "\"anyone\", \"identified\""),
        ("anyon", "is no rule", "did you mean \"anyone\"?"),
        ("block", "of whom", "block NAME"),
        ("anyone spam.example", "has no names", "\"allow\" or \"block\""),
        ("block spam", "only one label", ".ces.example"),
        ("block *.spam.example", "other characters", ".ces.example"),
        ("nobody service=tpc/25", "no protocol", "did you mean \"tcp\"?"),
        ("nobody service=tcp/0", "no ports", "FIRST-LAST"),
        ("nobody service=tcp/+25", "no ports", "FIRST-LAST"),
        ("nobody service=tcp/25-24", "no ports", "FIRST-LAST"),
        ("nobody service=tcp service=udp", "twice", "once"),
        ("nobody direction=inwards", "no direction", "\"inbound\""),
        (&format!("block {}", "a.example ".repeat(17)), "more than 16 names", "more than one"),
        (&"x".repeat(1025), "longer than 1024", "more than one"),
    ] {
        let wrong = UserRule::parse(text).expect_err(text);
        assert!(wrong.message.contains(message), "{text}: {}", wrong.message);
        assert!(wrong.hint.contains(hint), "{text}: {}", wrong.hint);
    }
}

#[test]
fn a_rule_hides_what_it_leaves_nothing_of() {
    for (earlier, later, hides) in [
        ("anyone", "block spam.example", true),
        ("identified", "nobody", true),
        ("block .spam.example", "anyone", false),
        ("anyone service=tcp/443", "nobody", false),
        ("anyone service=tcp", "nobody service=tcp/25", true),
        ("anyone", "nobody direction=outbound", false),
        ("anyone", "nobody direction=both", false),
        ("anyone direction=both", "nobody direction=outbound", true),
        ("nobody service=tcp/25,udp", "block a.example service=udp/53,tcp/25", true),
        ("nobody service=tcp/25", "block a.example service=udp/53,tcp/25", false),
    ] {
        let [one, two] = [earlier, later].map(|text| UserRule::parse(text).expect(text));
        assert_eq!(one.hides(&two), hides, "{earlier} / {later}");
    }
}

#[test]
fn users_rules_come_to_the_low_level() {
    let policy = Policy::default();
    let compile = |text: &str| {
        UserRule::parse(text).expect(text).compile("user 1", &policy.identified, &policy.offered)
    };
    let [own, others] = &compile("own-devices phone.home.example service=tcp/22")[..] else {
        panic!("two rules")
    };
    assert!(own.is_own_group && own.is_of_peers() && own.peers.len() == 1 && own.name == "user 1");
    let Action::Ask(lists) = &own.action else { panic!("asks") };
    assert_eq!(
        lists.required,
        [policy.identified.clone(), vec![]],
        "who is called has been asked for by name"
    );
    assert_eq!(lists.offered, policy.offered);
    assert!(others.action == Action::Refuse && !others.is_of_peers());
    assert_eq!((&own.services, own.direction), (&others.services, others.direction));
    let [block] = &compile("block .spam.example direction=both")[..] else { panic!("one rule") };
    assert_eq!((&block.action, block.direction, block.peers.len()), (&Action::Refuse, None, 1));
    let [anyone] = &compile("anyone")[..] else { panic!("one rule") };
    let Action::Ask(lists) = &anyone.action else { panic!("asks") };
    assert_eq!(lists.required, [vec![], vec![]]);
}

fn any_services() -> impl Strategy<Value = Services> {
    let ports = prop_oneof![
        Just((0, u16::MAX)),
        (1..20u16, 0..10u16).prop_map(|(first, more)| (first, first + more))
    ];
    (proptest::option::of(prop_oneof![Just(6), Just(17), Just(1), 200..210u8]), ports)
        .prop_map(|(protocol, (first, last))| Services { protocol, first, last })
}

proptest! {
    #[test]
    fn no_text_panics_and_every_rule_is_read_as_it_is_shown(
        text in "(anyone|identified|own-devices|nobody|allow|block|x)( (a\\.example|\\.b\\.example|service=(tcp|any|7)(/[0-9]{1,5}(-[0-9]{1,5})?)?|direction=(both|inbound)|.{0,8})){0,4}"
    ) {
        if let Ok(rule) = UserRule::parse(&text) {
            prop_assert_eq!(UserRule::parse(&rule.to_string()), Ok(rule));
        }
    }

    #[test]
    fn services_meet_as_sets_do(one in any_services(), other in any_services(), protocol in prop_oneof![Just(6u8), Just(17), 199..211u8], port in 0..32u16) {
        let point = Services::one(protocol, port);
        let has = |set: &Services| set.covers(&point);
        prop_assert_eq!(one.and(&other).is_some_and(|both| has(&both)), has(&one) && has(&other));
        prop_assert!(!one.covers(&other) || !has(&other) || has(&one));
        prop_assert_eq!(Services::parse(&one.to_string()), Ok(one));
    }
}

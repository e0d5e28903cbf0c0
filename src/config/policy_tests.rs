//! What `[policy]` and `[cetp.identity]` are taken as, and what is wrong with them.

use super::super::{
    Action, Attribute, CetpIdentity, Config, ConfigErrors, Direction, Policy, Value, Who, parse,
};

/// The example of the laboratory, which has them as comments.
fn example() -> String {
    let text = include_str!("../../configs/lab.toml");
    let (live, commented) = text.split_once("# [policy]\n").expect("the example has it");
    let dns = "[dns]\n[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"203.0.113.1\"]\n\
               [[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns1.other.example\"\n";
    let lines = commented.lines().map(|line| line.strip_prefix("# ").unwrap_or(""));
    format!("{live}{dns}[policy]\n{}\n", lines.collect::<Vec<_>>().join("\n"))
}

fn config(text: &str) -> Result<Config, ConfigErrors> {
    parse("lab.toml", text)
}

#[test]
fn the_example_is_taken_as_written() {
    let config_of_it = config(&example()).expect("right");
    let policy = &config_of_it.policy;
    assert_eq!((&policy.default.who, policy.legacy_fallback), (&Who::Identified, false));
    assert_eq!(policy.identified.len(), 2);
    assert_eq!(policy.offered[Direction::Inbound as usize].len(), 5);
    let [cookie, doubtful, mail] = &policy.operator[..] else { panic!("{:?}", policy.operator) };
    assert_eq!((cookie.name.as_str(), cookie.direction), ("return-routable", Some(Direction::Inbound)));
    assert_eq!((doubtful.reputation.clone(), &mail.action), (0..=29, &Action::Refuse));
    let [partner] = &policy.edge[..] else { panic!("{:?}", policy.edge) };
    let Action::Ask(lists) = &partner.action else { panic!("it asks") };
    let timeout = &lists.required[Direction::Inbound as usize][1];
    let range = Value::Range { least: 60, most: 3600 };
    assert_eq!((timeout.attribute, &timeout.value, timeout.is_optional), (Attribute::Timeout, &range, true));
    assert_eq!(lists.withheld, [Attribute::Domain]);
    let [own, others, shell] = &policy.host[..] else { panic!("{:?}", policy.host) };
    assert!(own.is_own_group && own.groups == ["cameras"] && others.groups == ["cameras"]);
    assert_eq!(
        (&own.name, &others.name, &others.action),
        (&"cameras".into(), &"cameras".into(), &Action::Refuse)
    );
    let Action::Ask(lists) = &shell.action else { panic!("it asks") };
    assert_eq!(lists.offered, policy.offered, "where a host's rule says nothing");
    let CetpIdentity { own, is_revocation_hard, clock_tolerance, remembered, authorities } =
        config_of_it.cetp.identity.expect("it is there");
    assert_eq!((own.is_some(), is_revocation_hard, clock_tolerance, remembered), (true, true, 300, 4096));
    assert_eq!(
        (authorities[0].addresses.len(), authorities[0].names.len(), authorities[0].crls.len()),
        (1, 1, 1)
    );
    let bare = config(include_str!("../../configs/lab.toml")).expect("right");
    assert_eq!((bare.policy, bare.cetp.identity), (Policy::default(), None));
}

#[test]
fn what_is_wrong_is_refused_where_it_stands() {
    let twice = "required_as_ices = [\"cookie\", \"cookie RR\"]";
    for (old, new, key, message, hint) in [
        (
            "default = \"identified\"",
            "default = \"identifed\"",
            "policy.default",
            "not known",
            "\"identified\"?",
        ),
        ("default = \"id", "defualt = \"id", "policy.defualt", "no key", "did you mean `default`?"),
        ("\"domain RR\"", "\"domian RR\"", "policy.identified", "no attribute", "\"domain\"?"),
        ("\"domain on-query\"", "\"cookie\"", "policy.offered_as_ices", "found out", "remove"),
        ("required_as_ices = [\"cookie\"]", twice, "policy.operator.required_as_ices", "twice", "once"),
        (
            "required_as_ices = [\"cookie\"]",
            "required_as_oces = [\"cookie\"]",
            "policy.operator.required_as_oces",
            "inbound only",
            "direction",
        ),
        (
            "required_as_ices = [\"cookie\"]",
            "required_as_ices = [\"sessions=1..9\"]",
            "policy.operator.required_as_ices",
            "between edges",
            "policy.edge",
        ),
        ("name = \"doubtful\"", "name = \"return-routable\"", "policy.operator", "already", "another name"),
        ("name = \"doubtful\"", "", "policy.operator.name", "is missing", "name ="),
        (
            "reputation_below = 30",
            "reputation_below = 30\nreputation_at_least = 30",
            "policy.operator.reputation_below",
            "no reputation",
            "less than",
        ),
        (
            "refuse = true",
            "refuse = true\nwithheld = [\"domain\"]",
            "policy.operator.refuse",
            "withheld",
            "one of the two",
        ),
        (
            "services = [\"tcp/25\"]",
            "services = [\"tcp/250-25\"]",
            "policy.operator.services",
            "no ports",
            "FIRST-LAST",
        ),
        ("edges = [", "services = [\"tcp\"]\nedges = [", "policy.edge.services", "no key", "keys are"),
        ("edges = [\".", "edges = [\"*.", "policy.edge.edges", "other characters", ".ces.example"),
        (
            "\"certificate RR\"",
            "\"domain\"",
            "policy.edge.required_as_ices",
            "an edge has no domain",
            "policy.host",
        ),
        ("rule = \"own-devices\"", "rule = \"own\"", "policy.host.rule", "is no rule", "begin it with"),
        (
            "rule = \"own-devices\"",
            "rule = \"own-devices\"\nrefuse = true",
            "policy.host.rule",
            "refuse stands",
            "one way",
        ),
        (
            "rule = \"own-devices\"",
            "rule = \"own-devices\"\nservices = [\"tcp\"]",
            "policy.host.rule",
            "services",
            "service=",
        ),
        ("key = \"/etc/ces/edge.key\"", "", "cetp.identity.key", "is missing", "key ="),
        ("certificate = \"/etc", "certificate = \"etc", "cetp.identity.certificate", "absolute", "begin"),
        (
            "ca_address = \"ca.operator.example\"",
            "ca_address = \"no blanks\"",
            "cetp.identity.ca_address",
            "is no address",
            "write a name or URI",
        ),
        (
            "revocation = \"hard\"",
            "revocation = \"hrad\"",
            "cetp.identity.revocation",
            "not known",
            "\"hard\"?",
        ),
        ("crls = [", "# crls = [", "cetp.identity.authorities.crls", "missing", "\"soft\""),
        ("name = \"partner-ca\"", "", "cetp.identity.authorities.name", "is missing", "name ="),
        (
            "addresses = [\"ca.other",
            "addresses = [\"\\u00e4",
            "cetp.identity.authorities.addresses",
            "no address",
            "printable",
        ),
        ("id = \"operator-assured\"", "id = \"fqdn\"", "cetp.identity.authorities.id", "not known", "one of"),
    ] {
        let text = example().replacen(old, new, 1);
        assert!(text != example(), "{old} is in the example");
        let errors = config(&text).expect_err(new);
        let [refusal] = errors.refusals() else { panic!("{new}: {errors}") };
        assert_eq!(refusal.key, key, "{refusal}");
        assert!(refusal.message.contains(message) && refusal.hint.contains(hint), "{refusal}");
    }
    let hidden =
        format!("{}\n[[policy.edge]]\nname = \"all\"\n[[policy.edge]]\nname = \"more\"\n", example());
    let errors = config(&hidden).expect_err("one is hidden");
    assert!(errors.refusals()[0].message.contains("never decides: rule \"all\""), "{errors}");
    let unnamed =
        example().replace("[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"203.0.113.1\"]\n", "");
    let errors = config(&unnamed).expect_err("no name");
    assert!(errors.refusals().iter().any(|refusal| refusal.key == "cetp.identity.certificate"), "{errors}");
    let again = format!(
        "{}\n[[cetp.identity.authorities]]\nname = \"two\"\ncertificates = \"/a\"\ncrls = [\"/b\"]\naddresses = [\"CA.other.example\"]\n",
        example()
    );
    let errors = config(&again).expect_err("one address, two authorities");
    assert!(errors.refusals()[0].message.contains("another authority's"), "{errors}");
}

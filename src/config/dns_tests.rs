//! What `[dns]` is taken as, and what is wrong with it.

use super::super::{Config, ConfigErrors, Foreign, KeyAlgorithm, OtherRealms, parse};

/// The example of the laboratory, which has its `[dns]` as comments.
fn example() -> String {
    let text = include_str!("../../configs/lab.toml");
    let (live, commented) = text.split_once("# [dns]\n").expect("the example has it");
    let commented = commented.split_once("\n\n").map_or(commented, |(dns, _)| dns);
    let lines = commented.lines().map(|line| line.strip_prefix("# ").unwrap_or(""));
    format!("{live}[dns]\n{}\n", lines.collect::<Vec<_>>().join("\n"))
}

fn config(text: &str) -> Result<Config, ConfigErrors> {
    parse("lab.toml", text)
}

#[test]
fn the_example_is_taken_as_written() {
    let config_of_it = config(&example()).expect("right");
    // The laboratory has no exception path.
    let [warning] = &config_of_it.warnings[..] else { panic!("{:?}", config_of_it.warnings) };
    assert!(warning.contains("dns: answers by UDP only"), "{warning}");
    let with_tcp = config(
        &example()
            .replace("[dns]\n", "[exception]\nnetns = \"ces\"\ninterfaces = [\"in\", \"out\"]\n[dns]\n"),
    );
    assert_eq!(with_tcp.expect("right").warnings, Vec::<String>::new());
    let dns = config_of_it.dns.expect("zones");
    assert_eq!((dns.udp_payload, dns.foreign, dns.cookie_secrets.len()), (1232, Foreign::Drop, 1));
    assert_eq!(dns.cookie_secrets[0][1], 0x11);
    let upstreams = dns.upstreams.expect("two");
    assert_eq!((upstreams.servers.len(), upstreams.servers[1].port, upstreams.timeout_ms), (2, 853, 1000));
    let zone = &dns.zones[0];
    assert_eq!((zone.apex.as_str(), zone.contact.as_str()), ("ces.example", "hostmaster.ces.example"));
    assert_eq!((zone.serial, zone.negative_ttl, zone.ttl, zone.inside_only), (1, 60, 300, false));
    assert_eq!(zone.name_servers[0].addresses, ["203.0.113.1".parse::<std::net::IpAddr>().unwrap()]);
    assert!(dns.zones[1].inside_only);
    assert_eq!((dns.views[0].realm, dns.views[0].other_realms), (2, OtherRealms::Private));
    let key = &dns.keys[0];
    assert_eq!((key.name.as_str(), key.realm, key.zones.as_slice()), ("dhcp.ces.example", 1, &[0, 1][..]));
    assert_eq!((key.algorithm, key.secret.len()), (KeyAlgorithm::HmacSha256, 32));
    assert!(!format!("{key:?}").contains("secret"));
    assert_eq!(config(include_str!("../../configs/lab.toml")).expect("right").dns, None);
}

#[test]
fn what_is_wrong_is_refused_where_it_stands() {
    for (old, new, key, message, hint) in [
        ("udp_payload = 1232", "udp_payload = 100", "dns.udp_payload", "out of range", "512 to 4096"),
        ("foreign = \"drop\"", "foreign = \"dorp\"", "dns.foreign", "not known", "did you mean \"drop\"?"),
        ("[\"0011", "[\"11", "dns.cookie_secrets", "128 bits", "openssl"),
        ("rlocs = [\"203.0.113.1\"]", "", "dns.edge.rlocs", "is missing", "203.0.113.1"),
        ("alias = \"IXP\"", "alias = \"a b\"", "dns.edge.alias", "no alias", "letters"),
        (
            "apex = \"10.in-addr.arpa\"",
            "apex = \"ces.example\"",
            "dns.zones",
            "stands twice",
            "one of the two",
        ),
        ("apex = \"ces.example\"", "apex = \"example\"", "dns.zones.apex", "only one label", "full name"),
        (
            "addresses = [\"203.0.113.1\"]\n\n[[dns.zones]]",
            "[[dns.zones]]",
            "dns.zones.name_servers",
            "no address",
            "nobody else",
        ),
        (
            "name = \"ns1.ces.example\"\n\n[[dns.views]]",
            "name = \"a.ces.example\"\n\n[[dns.views]]",
            "dns.zones.name_servers.name",
            "name of a [[host]]",
            "another name",
        ),
        (
            "[[dns.zones.name_servers]]\nname = \"ns1.ces.example\"\n\n[[dns.views]]",
            "[[dns.views]]",
            "dns.zones",
            "no name server",
            "ns1.10.in-addr.arpa",
        ),
        (
            "realm = \"office\"\nother",
            "realm = \"offic\"\nother",
            "dns.views.realm",
            "no realm",
            "did you mean \"office\"?",
        ),
        ("secret = \"MDE", "secret = \"!DE", "dns.keys.secret", "not base 64", "tsig-keygen"),
        ("secret = \"MDEyMzQ1Njc4OWFiY2RlZjAx", "secret = \"", "dns.keys.secret", "of 14 bytes", "16 to 128"),
        (
            "algorithm = \"hmac-sha256\"",
            "algorithm = \"hmac-md5\"",
            "dns.keys.algorithm",
            "not known",
            "hmac-sha256",
        ),
        (
            "zones = [\"ces.example\",",
            "zones = [\"ces.exampel\",",
            "dns.keys.zones",
            "no zone",
            "did you mean \"ces.example\"?",
        ),
        ("inside_only = true", "inside = true", "dns.zones.inside", "no key", "inside_only"),
    ] {
        // Comments go first, so that what is replaced is what is read.
        let text: Vec<String> = example()
            .lines()
            .map(|line| line.split("  #").next().unwrap_or("").trim_end().to_owned())
            .collect();
        let text = text.join("\n");
        let at = text.find("[dns]").expect("it is there");
        let (live, dns) = text.split_at(at);
        assert!(dns.contains(old), "{old}");
        let errors = config(&format!("{live}{}", dns.replacen(old, new, 1))).expect_err(new);
        let refusal = &errors.refusals()[0];
        assert!(refusal.key == key && refusal.message.contains(message), "{new}: {errors}");
        assert!(refusal.hint.contains(hint) && refusal.line > live.lines().count(), "{new}: {errors}");
    }
    let errors = config("[dns]\n").expect_err("no zone").to_string();
    assert!(errors.contains("dns: no zone"), "{errors}");
}

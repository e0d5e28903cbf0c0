//! What upstreams are taken as, and what is wrong with them.

use super::super::{ConfigErrors, Dns, Upstream, UpstreamProtocol, Upstreams, parse};

/// A small configuration with `dns` in its `[dns]`.
fn config(dns: &str) -> Result<Dns, ConfigErrors> {
    let text = format!(
        "[instance]\nname = \"up\"\n[workers]\ncores = [0]\n[[port]]\nname = \"out\"\ndevice = \"net_null0\"\n\
         [[realm]]\nname = \"internet\"\nside = \"outside\"\n\
         [[interface]]\nport = \"out\"\nrealm = \"internet\"\naddresses = [\"203.0.113.1/24\"]\n\
         [dns]\n{dns}\n\
         [[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\nname = \"ns1.other.example\"\n"
    );
    parse("upstreams.toml", &text).map(|config| config.dns.expect("it is there"))
}

#[test]
fn what_is_not_written_has_its_default() {
    assert_eq!(config("").expect("right").upstreams, None);
    let upstreams = config("upstreams = [{ address = \"192.0.2.53\" }]").expect("right").upstreams;
    let server = Upstream { address: [192, 0, 2, 53].into(), port: 53, protocol: UpstreamProtocol::Udp };
    let expected = Upstreams {
        servers: vec![server],
        sources: Vec::new(),
        timeout_ms: 1000,
        attempts: 4,
        cache_entries: 65_536,
        cache_ttl_min: 0,
        cache_ttl_max: 86_400,
        cache_negative_ttl_max: 3600,
        authorities: "/etc/ssl/certs/ca-certificates.crt".into(),
        rebind_protection: false,
    };
    assert_eq!(upstreams, Some(expected));
}

#[test]
fn what_is_written_is_taken() {
    let text = "upstreams = [{ address = \"2001:db8::53\", protocol = \"tls\", tls_name = \"DNS.example\" }, \
                { address = \"192.0.2.53\", protocol = \"tcp\", port = 5353 }, { address = \"192.0.2.53\" }]\n\
                upstream_source = [\"203.0.113.1\", \"2001:db8::1\"]\nupstream_ca = \"/etc/ces/ca.pem\"\n\
                timeout_ms = 500\nattempts = 3\ncache_entries = 0\ncache_ttl_min = 5\ncache_ttl_max = 600\n\
                cache_negative_ttl_max = 0\nrebind_protection = true";
    let upstreams = config(text).expect("right").upstreams.expect("three");
    let kinds: Vec<(u16, bool)> = upstreams
        .servers
        .iter()
        .map(|server| {
            (
                server.port,
                matches!(&server.protocol, UpstreamProtocol::Tls(name) if name.as_str() == "dns.example"),
            )
        })
        .collect();
    assert_eq!(kinds, [(853, true), (5353, false), (53, false)]);
    assert_eq!((upstreams.sources.len(), upstreams.timeout_ms, upstreams.attempts), (2, 500, 3));
    assert_eq!((upstreams.cache_entries, upstreams.cache_ttl_min, upstreams.cache_ttl_max), (0, 5, 600));
    assert!(upstreams.rebind_protection && upstreams.cache_negative_ttl_max == 0);
    assert_eq!(upstreams.authorities.to_str(), Some("/etc/ces/ca.pem"));
}

#[test]
fn what_is_wrong_is_refused_where_it_stands() {
    const ONE: &str = "upstreams = [{ address = \"192.0.2.53\" }]";
    let one = |rest: &str| format!("{ONE}\n{rest}");
    let of = |keys: &str| format!("upstreams = [{{ address = \"192.0.2.53\", {keys} }}]");
    for (text, key, message, hint) in [
        (of("protocol = \"tsl\""), "dns.upstreams.protocol", "not known", "did you mean \"tls\"?"),
        (of("protocol = \"tls\""), "dns.upstreams.tls_name", "is missing", "certificate"),
        (of("tls_name = \"dns.example\""), "dns.upstreams.tls_name", "only TLS", "protocol = \"tls\""),
        (
            of("protocol = \"tcp\", tls_name = \"dns.example\""),
            "dns.upstreams.tls_name",
            "only TLS",
            "remove it",
        ),
        (
            of("protocol = \"tls\", tls_name = \"1.1.1.1\""),
            "dns.upstreams.tls_name",
            "ends with a number",
            "full name",
        ),
        (of("port = 0"), "dns.upstreams.port", "out of range", "1 to 65535"),
        (of("name = \"x\""), "dns.upstreams.name", "no key", "tls_name"),
        ("upstreams = [{ port = 53 }]".into(), "dns.upstreams.address", "is missing", "192.0.2.53"),
        ("upstreams = [\"192.0.2.53\"]".into(), "dns.upstreams", "expected a table", "[[dns.upstreams]]"),
        ("upstreams = []".into(), "dns.upstreams", "is empty", "remove this"),
        (
            "upstreams = [{ address = \"203.0.113.1\" }]".into(),
            "dns.upstreams.address",
            "own address",
            "another machine",
        ),
        (
            "upstreams = [{ address = \"192.0.2.53\" }, { address = \"192.0.2.53\", port = 53 }]".into(),
            "dns.upstreams",
            "stands twice",
            "one of the two",
        ),
        (one("timeout_ms = 50"), "dns.timeout_ms", "out of range", "100 to 10000"),
        (one("attempts = 0"), "dns.attempts", "out of range", "1 to 8"),
        (one("cache_entries = -1"), "dns.cache_entries", "out of range", "0 to 4194304"),
        (one("cache_ttl_max = 0"), "dns.cache_ttl_max", "out of range", "1 to 604800"),
        (one("cache_ttl_min = 60\ncache_ttl_max = 30"), "dns.cache_ttl_min", "more than", "cache_ttl_max"),
        (one("cache_negative_ttl_max = 90000"), "dns.cache_negative_ttl_max", "out of range", "86400"),
        (
            one("upstream_source = [\"192.0.2.1\", \"192.0.2.2\"]"),
            "dns.upstream_source",
            "one family",
            "one IPv6",
        ),
        (one("upstream_ca = \"ca.pem\""), "dns.upstream_ca", "absolute", "begin it with /"),
        (one("rebind_protection = \"yes\""), "dns.rebind_protection", "expected a boolean", "without quotes"),
        ("timeout_ms = 500".into(), "dns.timeout_ms", "no upstreams", "upstreams = ["),
        ("rebind_protection = true".into(), "dns.rebind_protection", "no upstreams", "remove this"),
    ] {
        let errors = config(&text).expect_err(&text);
        let refusal = &errors.refusals()[0];
        assert_eq!(errors.refusals().len(), 1, "{text}: {errors}");
        assert!(refusal.key == key && refusal.message.contains(message), "{text}: {errors}");
        assert!(refusal.hint.contains(hint) && refusal.line > 12, "{text}: {errors}");
    }
}

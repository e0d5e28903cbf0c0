//! What names come to that are seldom asked for: types that they have not, names beside what there is, an apex that is a host.

use hickory_proto::rr::RecordType::{A, ANY, MX, NAPTR, PTR, SRV, TXT};

use super::tests::{CONFIG, NOW, SOA, fixture, fixture_of, inside, outcome, outside, question};
use super::*;

fn nodata() -> String {
    format!("NoError aa ? {SOA}")
}

fn nxdomain() -> String {
    format!("NXDomain aa ? {SOA}")
}

/// RFC 8482: whatever there is of a name, ANY is answered in one way.
#[test]
fn any_is_answered_where_there_is_something() {
    let (responder, hosts) = fixture();
    let (out, home) = (outside(Transport::Udp), inside(1));
    for (asker, name) in [
        (out, "ces.example"),
        (out, "ns1.ces.example"),
        (out, "a.ces.example"),
        (out, "www.ces.example"),
        (out, "_sip._udp.a.ces.example"),
        (home, "2.0.0.10.in-addr.arpa"),
    ] {
        let found = outcome(&responder, &hosts, &asker, &question(name, ANY));
        let ra = if asker.realm.is_some() { " ra" } else { "" };
        assert_eq!(found, format!("NoError aa{ra} | {name}. 300 IN HINFO RFC8482 "), "{name}");
    }
    assert_eq!(outcome(&responder, &hosts, &out, &question("nobody.ces.example", ANY)), nxdomain());
}

#[test]
fn what_there_is_not_is_nodata_or_nxdomain() {
    let (responder, hosts) = fixture();
    let (out, home, office) = (outside(Transport::Udp), inside(1), inside(2));
    let reverse = |code: &str| {
        let soa = "1 3600 600 604800 60";
        format!(
            "{code} aa ra ? 10.in-addr.arpa. 60 IN SOA ns1.ces.example. hostmaster.10.in-addr.arpa. {soa}"
        )
    };
    let ra = |text: String| text.replacen(" aa", " aa ra", 1);
    for (asker, name, record_type, expected) in [
        // Names of addresses.
        (home, "2.0.0.10.in-addr.arpa", A, reverse("NoError")),
        (home, "300.0.0.10.in-addr.arpa", PTR, reverse("NXDomain")),
        (home, "1.2.0.0.10.in-addr.arpa", PTR, reverse("NXDomain")),
        (home, "10.in-addr.arpa", PTR, reverse("NoError")),
        // SRV: by the protocol, by the label, of hosts that the asker sees, and not below a service's name.
        (out, "_sip._http.a.ces.example", SRV, nxdomain()),
        (out, "_http.a.ces.example", SRV, nxdomain()),
        (
            out,
            "_www._tcp.a.ces.example",
            SRV,
            "NoError aa | _www._tcp.a.ces.example. 300 IN SRV 0 0 443 www.ces.example.".into(),
        ),
        (out, "_www._udp.a.ces.example", SRV, nxdomain()),
        (out, "_web._tcp.a.ces.example", SRV, nxdomain()),
        (out, "_tcp.a.ces.example", SRV, nodata()),
        (out, "_sctp.a.ces.example", SRV, nxdomain()),
        (out, "_www._tcp.www.ces.example", SRV, nxdomain()),
        (out, "_tcp", SRV, "silence Foreign".into()),
        (out, "_tcp.ces.example", SRV, nxdomain()),
        (inside(4), "_www._tcp.a.ces.example", SRV, ra(nxdomain())),
        (office, "_www._tcp.a.ces.example", MX, ra(nodata())),
        (
            out,
            "udp53.b.ces.example",
            SRV,
            "NoError aa | udp53.b.ces.example. 300 IN SRV 0 0 53 udp53.b.ces.example.".into(),
        ),
        (out, "udp0.b.ces.example", SRV, nxdomain()),
        // TXT is the apex's alone.
        (out, "a.ces.example", TXT, nodata()),
        (out, "ns1.ces.example", TXT, nodata()),
        (out, "ns1.ces.example", NAPTR, nodata()),
    ] {
        let found = outcome(&responder, &hosts, &asker, &question(name, record_type));
        assert_eq!(found, expected, "{name} {record_type} for {asker:?}");
    }
    // Without an identity of the edge's there is no NAPTR.
    let text = CONFIG.replacen(
        "[dns.edge]\ncesid = \"cesb.ces.example\"\nrlocs = [\"192.0.2.10\"]\nalias = \"IXP\"\n",
        "",
        1,
    );
    assert_ne!(text, CONFIG);
    let (responder, hosts) = fixture_of(&text);
    assert_eq!(outcome(&responder, &hosts, &out, &question("a.ces.example", NAPTR)), nodata());
}

/// Who does not see it still sees the zone.
#[test]
fn the_apex_may_be_a_host() {
    let text = CONFIG.replacen("name = \"b.ces.example\"", "name = \"ces.example\"", 1);
    let (responder, hosts) = fixture_of(&text);
    let ra = |text: String| text.replacen(" aa", " aa ra", 1);
    for (asker, record_type, expected) in [
        (outside(Transport::Udp), A, "reserve ces.example V4 None false".into()),
        (outside(Transport::Udp), MX, nodata()),
        (outside(Transport::Udp), TXT, "NoError aa | ces.example. 300 IN TXT a carrier's zone".into()),
        (inside(2), A, "NoError aa ra | ces.example. 300 IN A 10.0.0.2".into()),
        (inside(1), A, ra(nodata())),
    ] {
        let found = outcome(&responder, &hosts, &asker, &question("ces.example", record_type));
        assert_eq!(found, expected, "{record_type} for {asker:?}");
    }
}

/// RFC 2308 section 3: as long as the SOA says, and no longer than its own TTL.
#[test]
fn a_negative_answer_lives_as_long_as_the_zone_says() {
    for (ttl, negative_ttl, expected) in [(300, 60, 60), (30, 60, 30), (300, 0, 0)] {
        let numbers = format!("serial = 7\nttl = {ttl}\nnegative_ttl = {negative_ttl}\n");
        let (responder, hosts) = fixture_of(&CONFIG.replacen("serial = 7\n", &numbers, 1));
        for name in ["nobody.ces.example", "ns1.ces.example"] {
            let found = outcome(&responder, &hosts, &outside(Transport::Udp), &question(name, MX));
            assert!(found.contains(&format!("ces.example. {expected} IN SOA ")), "{found}");
            assert!(found.ends_with(&format!(" 604800 {negative_ttl}")), "{found}");
        }
    }
}

/// By UDP, what both allow, and 512 bytes in any case; first additional records go, then all, and the asker is told by TC.
#[test]
fn answers_are_as_long_as_they_may_be() {
    let servers: String = (0..8)
        .map(|n| {
            let addresses: Vec<String> = (1..9).map(|m| format!("\"2001:db8::{n}:{m}\"")).collect();
            format!(
                "[[dns.zones.name_servers]]\nname = \"ns{n}.s.ces.example\"\naddresses = [{}]\n",
                addresses.join(",")
            )
        })
        .collect();
    const OF_FIXTURE: &str = "[[dns.zones.name_servers]]\nname = \"ns1.ces.example\"\n\
        addresses = [\"203.0.113.1\", \"2001:db8::1\"]\n\
        [[dns.zones.name_servers]]\nname = \"ns2.other.example\"\n";
    let (responder, hosts) = fixture_of(&CONFIG.replacen(OF_FIXTURE, &servers, 1));
    let ask = |payload: Option<u16>, transport| {
        let mut message = question("ces.example", RecordType::NS);
        if let Some(payload) = payload {
            let mut edns = hickory_proto::op::Edns::new();
            edns.set_max_payload(payload);
            message.set_edns(edns);
        }
        let outcome = responder.ask(&message.to_vec().expect("sound"), &outside(transport), &hosts, NOW);
        let Outcome::Answer(bytes) = outcome else { panic!("{outcome:?}") };
        let answer = hickory_proto::op::Message::from_vec(&bytes).expect("sound");
        (bytes.len(), answer.answers.len(), answer.additionals.len(), answer.truncation)
    };
    let (length, answers, additionals, is_truncated) = ask(None, Transport::Tcp);
    assert!(length > 1232 && (answers, additionals, is_truncated) == (8, 64, false), "{length}");
    for payload in [None, Some(0), Some(100), Some(512), Some(1232), Some(4096)] {
        let (length, answers, additionals, is_truncated) = ask(payload, Transport::Udp);
        assert!(
            length <= 512 && (answers, additionals, is_truncated) == (8, 0, false),
            "{payload:?}: {length}"
        );
    }
}

//! Questions and what they come to, as somebody who asks sees it.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};

use super::*;
use crate::config::{self, ServiceTarget};
use crate::edge::hosts::Origin;

pub(super) const CONFIG: &str = r#"
[instance]
name = "dns"
[workers]
cores = [0]
[[port]]
name = "in"
device = "net_null0"
[[realm]]
name = "home"
side = "inside"
[[realm]]
name = "office"
side = "inside"
[[realm]]
name = "guests"
side = "inside"
[[realm]]
name = "servers"
side = "inside"
public = ["203.0.113.128/25", "2001:db8:5::/48"]
[[realm]]
name = "internet"
side = "outside"
[[interface]]
port = "in"
realm = "home"
addresses = ["10.0.0.1/24"]
[[host]]
name = "a.ces.example"
realm = "home"
addresses = ["10.0.0.2", "fd00::2"]
pending_reservations = 3
reservations_per_second = 8
services = [{ name = "www.ces.example", protocol = "tcp", port = 443 }, { name = "sip.a.ces.example", protocol = "udp", port = 5060 }]
[[host]]
name = "b.ces.example"
realm = "office"
addresses = ["10.0.0.2"]
[[host]]
name = "mail.ces.example"
realm = "servers"
addresses = ["192.168.0.9", "203.0.113.200", "2001:db8:5::200"]
services = [{ name = "imap.ces.example", protocol = "tcp", port = 993 }]
[[host]]
name = "half.ces.example"
realm = "servers"
addresses = ["192.168.0.10", "2001:db8:5::201"]
[[host]]
name = "strange.ces.example"
realm = "home"
addresses = ["203.0.113.201"]
[dns]
cookie_secrets = ["e5e973e5a6b2a43f48e7dc849e37bfcf"]
[dns.edge]
cesid = "cesb.ces.example"
rlocs = ["192.0.2.10"]
alias = "IXP"
[[dns.zones]]
apex = "ces.example"
serial = 7
text = ["a carrier's zone"]
[[dns.zones.name_servers]]
name = "ns1.ces.example"
addresses = ["203.0.113.1", "2001:db8::1"]
[[dns.zones.name_servers]]
name = "ns2.other.example"
[[dns.zones]]
apex = "113.0.203.in-addr.arpa"
[[dns.zones.name_servers]]
name = "ns1.ces.example"
[[dns.zones]]
apex = "10.in-addr.arpa"
inside_only = true
[[dns.zones.name_servers]]
name = "ns1.ces.example"
[[dns.views]]
realm = "office"
other_realms = "reserve"
[[dns.views]]
realm = "guests"
other_realms = "private"
[[dns.keys]]
name = "dhcp.ces.example"
secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
realm = "home"
zones = ["ces.example", "10.in-addr.arpa"]
[[dns.keys]]
name = "reverse"
algorithm = "hmac-sha512"
secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
realm = "home"
zones = ["10.in-addr.arpa"]
"#;

pub(super) const NOW: u64 = 1_800_000_000;
const RESOLVER: [u8; 4] = [198, 51, 100, 53];

pub(super) fn fixture() -> (Responder, Register) {
    fixture_of(CONFIG)
}

pub(super) fn fixture_of(text: &str) -> (Responder, Register) {
    let config = config::parse("dns.toml", text).expect("a right configuration");
    let hosts = config.hosts.expect("hosts");
    let mut register = Register::new(100);
    for host in &hosts.hosts {
        register.insert(host, Origin::Config, false).expect("there is room");
    }
    (Responder::new(&config.dns.expect("zones"), &hosts.realms, [5; 16]), register)
}

pub(super) fn outside(transport: Transport) -> Asker {
    Asker { address: RESOLVER.into(), transport, realm: None }
}

/// Realms are numbered from 1 in the order of the configuration.
pub(super) fn inside(realm: u16) -> Asker {
    Asker { address: [10, 0, 0, 77].into(), transport: Transport::Udp, realm: Some(realm) }
}

pub(super) fn question(name: &str, record_type: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let mut name = Name::from_ascii(name).expect("a name");
    name.set_fqdn(true);
    message.add_query(Query::query(name, record_type));
    message
}

pub(super) fn with_edns(mut message: Message, options: &[EdnsOption]) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    options.iter().for_each(|option| edns.options_mut().insert(option.clone()));
    message.set_edns(edns);
    message
}

fn cookie(bytes: &[u8]) -> EdnsOption {
    EdnsOption::Unknown(EdnsCode::Cookie.into(), bytes.to_vec())
}

pub(super) fn read(outcome: Outcome) -> Message {
    match outcome {
        Outcome::Answer(bytes) => Message::from_vec(&bytes).expect("a well-formed answer"),
        other => panic!("no answer: {other:?}"),
    }
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("it can be written")
}

/// An answer in a line: code, flags, sections.
fn shown(message: &Message) -> String {
    let mut text = format!("{:?}", message.response_code);
    for (is_set, flag) in [
        (message.authoritative, " aa"),
        (message.truncation, " tc"),
        (message.recursion_available, " ra"),
        (message.edns.is_some(), " edns"),
    ] {
        text += if is_set { flag } else { "" };
    }
    for (section, records) in
        [(" |", &message.answers), (" ?", &message.authorities), (" +", &message.additionals)]
    {
        for record in records {
            text += &format!("{section} {record}");
        }
    }
    text
}

pub(super) fn outcome(responder: &Responder, hosts: &Register, asker: &Asker, message: &Message) -> String {
    match responder.ask(&bytes(message), asker, hosts, NOW) {
        Outcome::Answer(answer) => {
            let read = Message::from_vec(&answer).expect("a well-formed answer");
            assert_eq!((read.id, read.message_type), (message.id, MessageType::Response));
            assert_eq!(read.recursion_desired, message.recursion_desired);
            if let (Some(asked), Some(repeated)) = (message.queries.first(), read.queries.first()) {
                assert!(asked.name().eq_case(repeated.name()), "0x20");
            }
            shown(&read)
        }
        Outcome::Reserve(deferral) => {
            let Reserve { host, service, family, proof, .. } = deferral.reserve;
            let name = hosts.get(host).expect("it is there").parts().name.to_owned();
            let service = service.map(|ServiceTarget { protocol, port }| (protocol, port));
            format!("reserve {name} {family:?} {service:?} {}", proof.tcp)
        }
        Outcome::Forward(forward) => format!("forward {}", forward.query.name()),
        Outcome::Call(alias, host, service) => match service {
            None => format!("call {} {}", alias.target, host.get()),
            Some(service) => format!("call {} {} {service:?}", alias.target, host.get()),
        },
        Outcome::Update(_) => "update".into(),
        Outcome::Silence(why) => format!("silence {why:?}"),
    }
}

pub(super) const SOA: &str =
    "ces.example. 60 IN SOA ns1.ces.example. hostmaster.ces.example. 7 3600 600 604800 60";

#[test]
fn questions_of_the_zones_come_to_what_they_should() {
    let (responder, hosts) = fixture();
    let (out, home, office, guests) = (outside(Transport::Udp), inside(1), inside(2), inside(3));
    let nodata = format!("NoError aa ? {SOA}");
    let nxdomain = format!("NXDomain aa ? {SOA}");
    let ra = |text: &str| text.replacen(" aa", " aa ra", 1);
    let reverse_soa =
        "10.in-addr.arpa. 60 IN SOA ns1.ces.example. hostmaster.10.in-addr.arpa. 1 3600 600 604800 60";
    use RecordType::{A, AAAA, ANY, AXFR, MX, NAPTR, NS, PTR, SOA as SOA_TYPE, SRV, TXT};
    let naptr = "NoError aa | a.ces.example. 30 IN NAPTR 10 6 \"U\" \"CETP+cesid\" \"!^(.*)$!cesid:1=cesb.ces.example.?ip=192.0.2.10?alias=IXP!\" .";
    let cases: Vec<(Asker, &str, RecordType, String)> = vec![
        // The apex and its servers.
        (out, "ces.example", SOA_TYPE, format!("NoError aa | {}", SOA.replacen(" 60 ", " 300 ", 1))),
        (
            out,
            "ces.example",
            NS,
            "NoError aa | ces.example. 300 IN NS ns1.ces.example. | ces.example. 300 IN NS ns2.other.example. \
             + ns1.ces.example. 300 IN A 203.0.113.1 + ns1.ces.example. 300 IN AAAA 2001:db8::1"
                .into(),
        ),
        (out, "ces.example", TXT, "NoError aa | ces.example. 300 IN TXT a carrier's zone".into()),
        (out, "ces.example", A, nodata.clone()),
        (out, "ns1.ces.example", A, "NoError aa | ns1.ces.example. 300 IN A 203.0.113.1".into()),
        (out, "NS1.ces.example", AAAA, "NoError aa | NS1.ces.example. 300 IN AAAA 2001:db8::1".into()),
        (out, "ns1.ces.example", MX, nodata.clone()),
        (out, "ces.example", AXFR, "Refused".into()),
        // Hosts, from outside.
        (out, "a.ces.example", A, "reserve a.ces.example V4 None false".into()),
        (out, "A.CES.example", AAAA, "reserve a.ces.example V6 None false".into()),
        (out, "www.ces.example", A, "reserve a.ces.example V4 Some((Some(6), Some(443))) false".into()),
        (out, "udp53.b.ces.example", A, "reserve b.ces.example V4 Some((Some(17), Some(53))) false".into()),
        (outside(Transport::Tcp), "b.ces.example", A, "reserve b.ces.example V4 None true".into()),
        (out, "a.ces.example", MX, nodata.clone()),
        (out, "a.ces.example", ANY, "NoError aa | a.ces.example. 300 IN HINFO RFC8482 ".into()),
        (out, "a.ces.example", NAPTR, naptr.into()),
        (out, "www.ces.example", NAPTR, naptr.replacen("a.ces", "www.ces", 1)),
        (out, "udp53.b.ces.example", NAPTR, nodata.clone()),
        (out, "nobody.ces.example", A, nxdomain.clone()),
        (out, "nobody.a.ces.example", A, nxdomain.clone()),
        (out, "a\\.ces.example", A, "silence Foreign".into()),
        // Services.
        (out, "www.ces.example", SRV, "NoError aa | www.ces.example. 300 IN SRV 0 0 443 www.ces.example.".into()),
        (
            out,
            "_sip._udp.a.ces.example",
            SRV,
            "NoError aa | _sip._udp.a.ces.example. 300 IN SRV 0 0 5060 sip.a.ces.example.".into(),
        ),
        (out, "_sip._udp.a.ces.example", A, nodata.clone()),
        (out, "_udp.a.ces.example", A, nodata.clone()),
        (out, "_sip._tcp.a.ces.example", SRV, nxdomain.clone()),
        (out, "_sip._udp.b.ces.example", SRV, nxdomain.clone()),
        (out, "a.ces.example", SRV, nodata.clone()),
        // Whom the world reaches as it is, and by that family.
        (out, "mail.ces.example", A, "NoError aa | mail.ces.example. 300 IN A 203.0.113.200".into()),
        (out, "mail.ces.example", AAAA, "NoError aa | mail.ces.example. 300 IN AAAA 2001:db8:5::200".into()),
        (out, "imap.ces.example", A, "NoError aa | imap.ces.example. 300 IN A 203.0.113.200".into()),
        (out, "half.ces.example", AAAA, "NoError aa | half.ces.example. 300 IN AAAA 2001:db8:5::201".into()),
        (out, "half.ces.example", A, "reserve half.ces.example V4 None false".into()),
        (out, "strange.ces.example", A, "reserve strange.ces.example V4 None false".into()),
        (office, "mail.ces.example", A, "NoError aa ra | mail.ces.example. 300 IN A 203.0.113.200".into()),
        (home, "mail.ces.example", A, ra(&nxdomain)),
        (
            out,
            "200.113.0.203.in-addr.arpa",
            PTR,
            "NoError aa | 200.113.0.203.in-addr.arpa. 300 IN PTR mail.ces.example.".into(),
        ),
        (out, "201.113.0.203.in-addr.arpa", PTR, format!("NXDomain aa ? {}", reverse_soa.replace("10.in", "113.0.203.in"))),
        // From inside.
        (home, "a.ces.example", A, "NoError aa ra | a.ces.example. 300 IN A 10.0.0.2".into()),
        (home, "www.ces.example", AAAA, "NoError aa ra | www.ces.example. 300 IN AAAA fd00::2".into()),
        (home, "b.ces.example", A, ra(&nxdomain)),
        (home, "b.ces.example", NAPTR, ra(&nxdomain)),
        (office, "b.ces.example", AAAA, ra(&nodata)),
        (office, "a.ces.example", A, "reserve a.ces.example V4 None false".into()),
        (guests, "b.ces.example", A, "NoError aa ra | b.ces.example. 300 IN A 10.0.0.2".into()),
        (home, "2.0.0.10.in-addr.arpa", PTR, "NoError aa ra | 2.0.0.10.in-addr.arpa. 300 IN PTR a.ces.example.".into()),
        (office, "2.0.0.10.in-addr.arpa", PTR, "NoError aa ra | 2.0.0.10.in-addr.arpa. 300 IN PTR b.ces.example.".into()),
        (home, "3.0.0.10.in-addr.arpa", PTR, format!("NXDomain aa ra ? {reverse_soa}")),
        (home, "0.10.in-addr.arpa", NS, format!("NoError aa ra ? {reverse_soa}")),
        (out, "2.0.0.10.in-addr.arpa", PTR, "silence Foreign".into()),
        // Others' names.
        (out, "www.example.org", A, "silence Foreign".into()),
        (out, "xces.example", A, "silence Foreign".into()),
        (home, "www.example.org", A, "forward www.example.org.".into()),
        (home, ".", NS, "forward .".into()),
    ];
    for (asker, name, record_type, expected) in cases {
        let found = outcome(&responder, &hosts, &asker, &question(name, record_type));
        assert_eq!(found, expected, "{name} {record_type} for {asker:?}");
    }
    let mut plain = question("www.example.org", A);
    plain.metadata.recursion_desired = false;
    assert_eq!(outcome(&responder, &hosts, &home, &plain), "Refused ra");
    let mut chaos = question("a.ces.example", TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(outcome(&responder, &hosts, &out, &chaos), "Refused");
    let refusing = CONFIG.replacen("[dns]\n", "[dns]\nforeign = \"refuse\"\n", 1);
    let (refusing, hosts) = fixture_of(&refusing);
    assert_eq!(outcome(&refusing, &hosts, &out, &question("www.example.org", A)), "Refused");
}

#[test]
fn the_pool_hears_what_a_host_is_allowed() {
    let (responder, hosts) = fixture();
    for (name, waiting, per_second) in [
        ("a.ces.example", Some(3), Some(8)),
        ("www.ces.example", Some(3), Some(8)),
        ("b.ces.example", None, None),
    ] {
        let asked =
            responder.ask(&bytes(&question(name, RecordType::A)), &outside(Transport::Udp), &hosts, NOW);
        let Outcome::Reserve(deferral) = asked else { panic!("{asked:?}") };
        let limits = deferral.reserve.limits;
        assert_eq!((limits.waiting, limits.per_second), (waiting, per_second), "{name}");
    }
}

/// RFC 8020: where names are below, it is no NXDOMAIN.
#[test]
fn a_name_between_others_is_there() {
    let text = CONFIG
        .replacen("name = \"b.ces.example\"", "name = \"b.floor.tower.ces.example\"", 1)
        .replacen("\"ns1.ces.example\"\naddresses", "\"ns1.servers.ces.example\"\naddresses", 1);
    let (responder, mut hosts) = fixture_of(&text);
    let code = |hosts: &Register, asker: &Asker, name: &str| {
        let answer = read(responder.ask(&bytes(&question(name, RecordType::A)), asker, hosts, NOW));
        assert_eq!((answer.answers.len(), answer.authorities.len()), (0, 1), "{name}");
        answer.response_code
    };
    let (out, home, office) = (outside(Transport::Udp), inside(1), inside(2));
    for name in ["tower.ces.example", "FLOOR.tower.ces.example"] {
        assert_eq!(code(&hosts, &out, name), ResponseCode::NoError, "{name}");
        assert_eq!(code(&hosts, &office, name), ResponseCode::NoError, "{name}");
        // There is no such host for this realm, and so nothing above it.
        assert_eq!(code(&hosts, &home, name), ResponseCode::NXDomain, "{name}");
    }
    assert_eq!(code(&hosts, &home, "servers.ces.example"), ResponseCode::NoError);
    for name in ["loor.tower.ces.example", "x.tower.ces.example", "ervers.ces.example"] {
        assert_eq!(code(&hosts, &out, name), ResponseCode::NXDomain, "{name}");
    }
    let id = hosts.by_name("b.floor.tower.ces.example").expect("it is there").host.id;
    hosts.remove(id).expect("it was there");
    assert_eq!(code(&hosts, &out, "tower.ces.example"), ResponseCode::NXDomain);
}

#[test]
fn what_is_no_question_is_told_so_or_nothing() {
    let (responder, hosts) = fixture();
    let asker = outside(Transport::Udp);
    let good = bytes(&question("a.ces.example", RecordType::A));
    let ask = |bytes: &[u8]| responder.ask(bytes, &asker, &hosts, NOW);
    assert!(matches!(ask(&good[..11]), Outcome::Silence(Silence::Short)));
    let edited = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    assert!(matches!(ask(&edited(2, 0x81)), Outcome::Silence(Silence::Response)));
    for (wrong, code) in [
        (good[..12].to_vec(), ResponseCode::FormErr),
        (good[..20].to_vec(), ResponseCode::FormErr),
        (edited(5, 2), ResponseCode::FormErr),
        (edited(5, 0), ResponseCode::FormErr),
        (edited(4, 0xff), ResponseCode::FormErr),
        (edited(7, 1), ResponseCode::FormErr),
        (edited(9, 1), ResponseCode::FormErr),
        (edited(11, 1), ResponseCode::FormErr),
        (edited(11, 5), ResponseCode::FormErr),
        (edited(2, 0x11), ResponseCode::NotImp), // STATUS
        (edited(2, 0x21), ResponseCode::NotImp), // NOTIFY
        (edited(2, 0x79), ResponseCode::NotImp),
    ] {
        let answer = read(ask(&wrong));
        assert_eq!((answer.id, answer.response_code), (0x1234, code), "{wrong:02x?}");
        assert!(bytes(&answer).len() <= wrong.len().max(12), "no more than was asked");
    }
}

#[test]
fn edns_is_answered_by_its_version_and_sizes() {
    let (responder, hosts) = fixture();
    let asker = outside(Transport::Udp);
    let ask = |message: &Message| read(responder.ask(&bytes(message), &asker, &hosts, NOW));
    assert_eq!(ask(&question("ces.example", RecordType::NS)).edns, None);
    let edns = ask(&with_edns(question("ces.example", RecordType::NS), &[])).edns.expect("asked with one");
    assert_eq!((edns.version(), edns.max_payload(), edns.flags().dnssec_ok), (0, 1232, false));
    let mut newer = with_edns(question("ces.example", RecordType::NS), &[]);
    newer.edns.as_mut().unwrap().set_version(1).set_dnssec_ok(true);
    let answer = ask(&newer);
    // 16 is BADVERS and BADSIG (RFC 6895 section 2.3).
    assert_eq!((u16::from(answer.response_code), answer.answers.len()), (16, 0));
    let edns = answer.edns.expect("asked with one");
    assert_eq!((edns.version(), edns.flags().dnssec_ok), (0, true));
}

#[test]
fn answers_are_cut_to_what_the_asker_takes() {
    let long: Vec<String> = (0..4).map(|n| format!("\"{}\"", n.to_string().repeat(250))).collect();
    let text = CONFIG.replacen("\"a carrier's zone\"", &long.join(","), 1);
    let (responder, hosts) = fixture_of(&text);
    let plain = question("ces.example", RecordType::TXT);
    let mut small = with_edns(plain.clone(), &[]);
    small.edns.as_mut().unwrap().set_max_payload(600);
    let large = with_edns(plain.clone(), &[]);
    for (message, transport, limit, is_whole) in [
        (&plain, Transport::Udp, 512, false),
        (&small, Transport::Udp, 600, false),
        (&large, Transport::Udp, 1232, true),
        (&plain, Transport::Tcp, 65_535, true),
    ] {
        let Outcome::Answer(answer) = responder.ask(&bytes(message), &outside(transport), &hosts, NOW) else {
            panic!("no answer");
        };
        assert!(answer.len() <= limit, "{} of {limit}", answer.len());
        let read = Message::from_vec(&answer).expect("well-formed");
        assert_eq!((read.truncation, read.answers.len()), (!is_whole, if is_whole { 4 } else { 0 }));
    }
    // Names are compressed: the owner of each record is a pointer.
    let Outcome::Answer(answer) = responder.ask(&bytes(&plain), &outside(Transport::Tcp), &hosts, NOW) else {
        panic!("no answer");
    };
    assert_eq!(answer.len(), 12 + 17 + 4 * (2 + 10 + 251));
}

fn deferral(responder: &Responder, hosts: &Register, asker: Asker, message: &Message) -> Deferral {
    match responder.ask(&bytes(message), &asker, hosts, NOW) {
        Outcome::Reserve(deferral) => *deferral,
        other => panic!("no deferral: {other:?}"),
    }
}

#[test]
fn each_decision_of_the_pool_becomes_an_answer() {
    let (responder, hosts) = fixture();
    let (udp, tcp) = (outside(Transport::Udp), outside(Transport::Tcp));
    let nodata = format!("NoError aa ? {SOA}").replacen("ces.example.", "ceS.Example.", 1);
    let pool = IpAddr::from([203, 0, 113, 16]);
    for (asker, decision, expected) in [
        (udp, Decision::Address(pool), "NoError aa | a.ceS.Example. 0 IN A 203.0.113.16"),
        (udp, Decision::Address("2001:db8::9".parse().unwrap()), "ServFail"),
        (udp, Decision::DemandTcp, "NoError aa tc"),
        (tcp, Decision::DemandTcp, "NoError aa"),
        (udp, Decision::DemandCookie, "NoError aa tc"),
        (tcp, Decision::DemandCookie, "NoError aa"),
        (udp, Decision::Empty, "NoError aa"),
        (udp, Decision::NoAddress, &nodata),
        (udp, Decision::Refuse, "Refused"),
    ] {
        let deferral = deferral(&responder, &hosts, asker, &question("a.ceS.Example", RecordType::A));
        let answer = read(responder.decide(&deferral, decision, NOW));
        assert_eq!(shown(&answer), expected, "{decision:?}");
        assert!(answer.queries[0].name().eq_case(&Name::from_ascii("a.ceS.Example.").unwrap()));
    }
    let silent = deferral(&responder, &hosts, udp, &question("a.ces.example", RecordType::A));
    let outcome = responder.decide(&silent, Decision::Silence, NOW);
    assert!(matches!(outcome, Outcome::Silence(Silence::Exhausted)));
}

#[test]
fn a_random_label_proves_that_the_resolver_resolves() {
    let (responder, hosts) = fixture();
    let asker = outside(Transport::Udp);
    for name in ["a.ces.example", "tcp22.b.ces.example"] {
        let first = deferral(&responder, &hosts, asker, &question(name, RecordType::A));
        assert_eq!(first.reserve.proof.label, None);
        let answer = read(responder.decide(&first, Decision::DemandLabel, NOW));
        let [record] = &answer.answers[..] else { panic!("{answer}") };
        let RData::CNAME(target) = &record.data else { panic!("{answer}") };
        assert_eq!(record.ttl, 0);
        // Another resolver of its group asks on, in letters of its own.
        let other = Asker { address: [198, 51, 100, 54].into(), ..asker };
        let asked = question(&target.0.to_ascii().to_ascii_uppercase(), RecordType::A);
        let second = deferral(&responder, &hosts, other, &asked);
        assert_eq!(
            second.reserve,
            Reserve {
                resolver: other.address,
                proof: Proof { label: Some(asker.address), ..Proof::default() },
                ..first.reserve
            }
        );
        let answer = read(responder.decide(&second, Decision::Address([203, 0, 113, 16].into()), NOW));
        assert!(answer.answers[0].name.eq_case(asked.queries[0].name()));
        // Asked for the same again there would be no end.
        let answer = read(responder.decide(&second, Decision::DemandLabel, NOW));
        assert_eq!(shown(&answer), "NoError aa");
        // Six seconds later there is no such name.
        let late = responder.ask(&bytes(&asked), &other, &hosts, NOW + 6);
        assert_eq!(read(late).response_code, ResponseCode::NXDomain);
    }
    let long = format!("{0}.{0}.{0}.{1}.ces.example", "x".repeat(63), "y".repeat(30));
    let text = CONFIG.replacen("b.ces.example", &long, 1);
    let (responder, hosts) = fixture_of(&text);
    let first = deferral(&responder, &hosts, asker, &question(&long, RecordType::A));
    assert_eq!(shown(&read(responder.decide(&first, Decision::DemandLabel, NOW))), "NoError aa tc");
}

#[test]
fn cookies_are_given_shown_and_demanded() {
    let (responder, hosts) = fixture();
    let asker = outside(Transport::Udp);
    let client = [1, 2, 3, 4, 5, 6, 7, 8];
    let asked = question("a.ces.example", RecordType::A);
    let fresh = with_edns(asked.clone(), &[cookie(&client)]);
    let first = deferral(&responder, &hosts, asker, &fresh);
    assert!(!first.reserve.proof.cookie);
    let answer = read(responder.decide(&first, Decision::DemandCookie, NOW));
    assert_eq!((answer.response_code, answer.answers.len()), (ResponseCode::BADCOOKIE, 0));
    let given = |answer: &Message| match answer.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Cookie)) {
        Some(EdnsOption::Unknown(_, bytes)) => bytes.clone(),
        other => panic!("no cookie: {other:?}"),
    };
    let cookies = given(&answer);
    assert_eq!((cookies.len(), &cookies[..8]), (24, &client[..]));
    let shown_again = with_edns(asked.clone(), &[cookie(&cookies)]);
    let second = deferral(&responder, &hosts, asker, &shown_again);
    assert!(second.reserve.proof.cookie);
    let answer = read(responder.decide(&second, Decision::Address([203, 0, 113, 16].into()), NOW));
    assert_eq!(given(&answer), cookies);
    assert_eq!(shown(&read(responder.decide(&second, Decision::DemandCookie, NOW))), "NoError aa edns");
    // From another address it is worth nothing.
    let thief = Asker { address: [198, 51, 100, 99].into(), ..asker };
    assert!(!deferral(&responder, &hosts, thief, &shown_again).reserve.proof.cookie);
    // Of a wrong length, and with no question.
    let ask = |message: &Message| read(responder.ask(&bytes(message), &asker, &hosts, NOW));
    assert_eq!(ask(&with_edns(asked, &[cookie(&client[..7])])).response_code, ResponseCode::FormErr);
    let mut nothing = fresh.clone();
    nothing.queries.clear();
    let answer = ask(&nothing);
    assert_eq!((answer.response_code, given(&answer).len()), (ResponseCode::NoError, 24));
}

#[test]
fn a_client_subnet_is_handed_on_and_scoped() {
    let (responder, hosts) = fixture();
    let asker = outside(Transport::Udp);
    let subnet = |text: &str, source, scope| {
        EdnsOption::Subnet(ClientSubnet::new(text.parse().expect("an address"), source, scope))
    };
    let asked = question("a.ces.example", RecordType::A);
    let scope = |answer: &Message| match answer.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Subnet)) {
        Some(EdnsOption::Subnet(subnet)) => (subnet.addr(), subnet.source_prefix(), subnet.scope_prefix()),
        other => panic!("no subnet: {other:?}"),
    };
    let told = with_edns(asked.clone(), &[subnet("192.0.2.0", 24, 0)]);
    let first = deferral(&responder, &hosts, asker, &told);
    assert_eq!(first.reserve.subnet, Some("192.0.2.0/24".parse().unwrap()));
    let answer = read(responder.decide(&first, Decision::Address([203, 0, 113, 16].into()), NOW));
    assert_eq!(scope(&answer), ([192, 0, 2, 0].into(), 24, 24));
    // What is for everybody says so, and so does an answer to who tells nothing.
    let soa = with_edns(question("ces.example", RecordType::SOA), &[subnet("192.0.2.0", 24, 0)]);
    assert_eq!(scope(&read(responder.ask(&bytes(&soa), &asker, &hosts, NOW))).2, 0);
    let untold = with_edns(asked.clone(), &[subnet("0.0.0.0", 0, 0)]);
    let first = deferral(&responder, &hosts, asker, &untold);
    assert_eq!(first.reserve.subnet, None);
    let answer = read(responder.decide(&first, Decision::Address([203, 0, 113, 16].into()), NOW));
    assert_eq!(scope(&answer).2, 0);
    for wrong in [subnet("192.0.2.0", 20, 0), subnet("192.0.2.0", 24, 24), subnet("2001:db8:0:1::", 60, 0)] {
        let answer = read(responder.ask(&bytes(&with_edns(asked.clone(), &[wrong])), &asker, &hosts, NOW));
        assert_eq!(answer.response_code, ResponseCode::FormErr);
    }
}

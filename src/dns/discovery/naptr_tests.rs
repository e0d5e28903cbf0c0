//! Records of each dialect, of none, and any.

use super::*;
use crate::config::EdgeIdentity;
use crate::dns::zone::naptr_records;
use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::A;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn domain(text: &str) -> DomainName {
    DomainName::new(text).expect("a name")
}

fn naptr(order: u16, preference: u16, service: &str, regexp: &str) -> Record {
    let [flags, service, regexp] = ["U", service, regexp].map(|text| text.as_bytes().into());
    let data = NAPTR::new(order, preference, flags, service, regexp, Name::root());
    Record::from_rdata(name("b.ces."), 30, RData::NAPTR(data))
}

/// What one record comes to.
fn one(service: &str, regexp: &str) -> Vec<Speaker> {
    speakers(&name("b.ces."), &[naptr(10, 6, service, regexp)])
}

fn v4(address: [u8; 4]) -> Rloc {
    Rloc::Ip(address.into())
}

fn v6(text: &str) -> Rloc {
    Rloc::Ip(text.parse().expect("an address"))
}

const STATION: Rloc = Rloc::Ethernet([0x12, 0x34, 0x56, 0x78, 0x90, 0xab]);

#[test]
fn each_dialect_is_read() {
    let at = |edge: Option<&str>, rlocs: Vec<Rloc>| vec![Speaker { edge: edge.map(domain), rlocs }];
    let ces = Some("cesb.ces");
    let (first, second, third) = ("ID+idprotocol", "CETP+cesid", "CES+cesid");
    for (service, regexp, expected) in [
        // As the sources write them.
        (
            first,
            "!^(.*)$!dest:1234?eth=12:34:56:78:90:AB&ip=123.45.67.89&ipv6=1234:56::7890:ABCD!",
            at(None, vec![STATION, v4([123, 45, 67, 89]), v6("1234:56::7890:abcd")]),
        ),
        (first, "!^(.*)$!dest:1234?eth=12:34:56:78:90:AB!", at(None, vec![STATION])),
        (second, "!^(.*)$!cesid:1=cesb.ces.?ip=192.0.2.10?alias=IXP!", at(ces, vec![v4([192, 0, 2, 10])])),
        (
            third,
            "!^.*$!cesid=1:cesb.ces.?cetp_ipv4=192.0.2.10?proto=tls?port=48001!",
            at(ces, vec![v4([192, 0, 2, 10])]),
        ),
        // In other letters, without a dot, with other RLOCs, with none.
        ("cetp+CESID", "!^.*$!cesid:1=CesB.CES?ipv6=2001:db8::1!", at(ces, vec![v6("2001:db8::1")])),
        (second, "!^(.*)$!cesid:1=cesb.ces.?eth=12:34:56:78:90:ab!", at(ces, vec![STATION])),
        (second, "!^(.*)$!cesid:1=cesb.ces.!", at(ces, vec![])),
        (third, "!^.*$!cesid=1:cesb.ces.?cetp_ipv6=2001:db8::1!", at(ces, vec![v6("2001:db8::1")])),
        // What another dialect calls an RLOC is none here.
        (third, "!^.*$!cesid=1:cesb.ces.?ip=192.0.2.10!", at(ces, vec![])),
    ] {
        assert_eq!(one(service, regexp), expected, "{service} {regexp}");
    }
}

#[test]
fn what_is_not_written_as_a_dialect_is_counts_for_nothing() {
    let second = "CETP+cesid";
    for (service, regexp) in [
        ("E2U+sip", "!^(.*)$!cesid:1=cesb.ces.?ip=192.0.2.10!"),
        ("CETP", "!^(.*)$!cesid:1=cesb.ces.?ip=192.0.2.10!"),
        ("CES+cesid", "!^(.*)$!cesid:1=cesb.ces.?ip=192.0.2.10!"),
        (second, "!^.*$!cesid=1:cesb.ces.?cetp_ipv4=192.0.2.10!"),
        (second, ""),
        (second, "!"),
        (second, "cesid:1=cesb.ces."),
        (second, "!^(.*)$!cesid:1=cesb.ces."),
        (second, "!^(.*)$!cesid:1=cesb.ces.!i"),
        (second, "!^(.*)$!cesid:1=cesb.ces.!!"),
        (second, "!^(a.*)$!cesid:1=cesb.ces.!"),
        (second, "/^(.*)$/cesid:1=cesb.ces./"),
        (second, "!^(.*)$!cesid:=cesb.ces.!"),
        (second, "!^(.*)$!cesid:x=cesb.ces.!"),
        (second, "!^(.*)$!cesid:1=!"),
        (second, "!^(.*)$!cesid:1=ces b.ces!"),
        (second, "!^(.*)$!cesid:1=\\1!"),
        (second, "!^(.*)$!cesid:1=192.0.2.10!"),
        // One wrong parameter, and none of it counts.
        (second, "!^(.*)$!cesid:1=cesb.ces.?ip=192.0.2.10?ip=192.0.2!"),
        (second, "!^(.*)$!cesid:1=cesb.ces.?ip=2001:db8::1!"),
        (second, "!^(.*)$!cesid:1=cesb.ces.?ipv6=192.0.2.10!"),
        (second, "!^(.*)$!cesid:1=cesb.ces.?alias!"),
        (second, "!^(.*)$!cesid:1=cesb.ces.?eth=12:34:56:78:90!"),
        (second, "!^(.*)$!cesid:1=cesb.ces.?eth=12:34:56:78:90:ab:cd!"),
        (second, "!^(.*)$!cesid:1=cesb.ces.?eth=12:34:56:78:90:+b!"),
        ("ID+idprotocol", "!^(.*)$!dest:1234!"),
        ("ID+idprotocol", "!^(.*)$!dest:1234?alias=IXP!"),
        ("ID+idprotocol", "!^(.*)$!dest:?ip=192.0.2.10!"),
        ("ID+idprotocol", "!^(.*)$!dest:a.b?ip=192.0.2.10!"),
    ] {
        assert_eq!(one(service, regexp), [], "{service} {regexp}");
    }
    // No host has such an address, or many have.
    for parameter in [
        "ip=0.1.2.3",
        "ip=127.0.0.1",
        "ip=169.254.0.1",
        "ip=224.0.0.1",
        "ip=255.255.255.255",
        "ipv6=::",
        "ipv6=::1",
        "ipv6=::ffff:127.0.0.1",
        "ipv6=fe80::1",
        "ipv6=ff02::1",
        "eth=00:00:00:00:00:00",
        "eth=ff:ff:ff:ff:ff:ff",
        "eth=01:00:5e:00:00:01",
    ] {
        assert_eq!(one(second, &format!("!^(.*)$!cesid:1=cesb.ces.?{parameter}!")), [], "{parameter}");
    }
    // Other flags, another rule to follow, bytes that are no text.
    let right = naptr(10, 6, second, "!^(.*)$!cesid:1=cesb.ces.!");
    let but = |change: &dyn Fn(&mut NAPTR)| {
        let mut record = right.clone();
        if let RData::NAPTR(naptr) = &mut record.data {
            change(naptr);
        }
        speakers(&name("b.ces."), &[record]).len()
    };
    assert_eq!(but(&|_| ()), 1);
    assert_eq!(but(&|naptr| naptr.flags = b"u"[..].into()), 1);
    for flags in [&b""[..], b"S", b"UU"] {
        assert_eq!(but(&|naptr| naptr.flags = flags.into()), 0, "{flags:?}");
    }
    assert_eq!(but(&|naptr| naptr.replacement = name("next.example.")), 0);
    assert_eq!(but(&|naptr| naptr.regexp = b"!^(.*)$!cesid:1=cesb.ces.?a=\xff!"[..].into()), 0);
}

#[test]
fn the_preferred_ones_are_first_and_those_of_one_edge_are_one() {
    let of = |order, preference, edge: &str, last: u8| {
        naptr(order, preference, "CETP+cesid", &format!("!^(.*)$!cesid:1={edge}.ces.?ip=192.0.2.{last}!"))
    };
    let records =
        [of(20, 1, "c", 1), of(10, 7, "b", 2), of(10, 6, "a", 3), of(30, 0, "a", 4), of(30, 0, "a", 3)];
    let found = speakers(&name("B.ces."), &records);
    let at = |edge: &str, lasts: &[u8]| Speaker {
        edge: Some(domain(edge)),
        rlocs: lasts.iter().map(|last| v4([192, 0, 2, *last])).collect(),
    };
    assert_eq!(found, [at("a.ces", &[3, 4]), at("b.ces", &[2]), at("c.ces", &[1])]);
    // Those that have no name are each their own.
    let nameless = |last| naptr(10, 6, "ID+idprotocol", &format!("!^(.*)$!dest:1?ip=192.0.2.{last}!"));
    assert_eq!(speakers(&name("b.ces."), &[nameless(1), nameless(2)]).len(), 2);
}

#[test]
fn no_other_record_counts() {
    let right = naptr(10, 6, "CETP+cesid", "!^(.*)$!cesid:1=cesb.ces.!");
    let (mut elsewhere, mut chaos) = (right.clone(), right.clone());
    (elsewhere.name, chaos.dns_class) = (name("x.ces."), DNSClass::CH);
    let address = Record::from_rdata(name("b.ces."), 30, RData::A(A::new(192, 0, 2, 10)));
    assert_eq!(speakers(&name("b.ces."), &[elsewhere.clone(), chaos, address]), []);
    assert_eq!(speakers(&name("b.ces."), &[elsewhere, right]).len(), 1);
}

/// Of a message as it comes, so that what is written is what is read.
fn through_the_wire(records: Vec<Record>) -> Vec<Record> {
    let mut message = Message::new(1, MessageType::Response, OpCode::Query);
    message.answers = records;
    Message::from_vec(&message.to_vec().expect("sound")).expect("sound").answers
}

fn pieces() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "!",
        "^(.*)$",
        "^.*$",
        "cesid:1=",
        "cesid=1:",
        "dest:1",
        "?",
        "&",
        "ip=192.0.2.1",
        "ip=",
        "ipv6=2001:db8::1",
        "cetp_ipv4=192.0.2.2",
        "eth=02:00:00:00:00:01",
        "a.ces.",
        "b.example",
        "alias=IXP",
        "=",
        ":",
        "é",
        "\\1",
    ];
    prop::collection::vec(prop::sample::select(PIECES), 0..12).prop_map(|pieces| pieces.concat())
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let service = prop::sample::select(&["ID+idprotocol", "CETP+cesid", "CES+cesid", "E2U+sip"][..]);
    let sound = (0..12u8, prop::collection::vec(0..12u8, 0..12)).prop_map(|(edge, lasts)| {
        let rlocs: String = lasts.iter().map(|last| format!("?ip=192.0.2.{last}")).collect();
        format!("!^(.*)$!cesid:1=ces{edge}.example{rlocs}!")
    });
    let regexp = prop_oneof![sound, pieces(), ".{0,40}"];
    let record = (any::<u16>(), 0..3u16, service, regexp).prop_map(|(order, preference, service, regexp)| {
        let short: String = regexp.chars().take(60).collect();
        let service = if short.contains("cesid:1=ces") { "CETP+cesid" } else { service };
        naptr(order, preference, service, if regexp.len() <= 255 { &regexp } else { &short })
    });
    prop::collection::vec(record, 0..40)
}

proptest! {
    #[test]
    fn whatever_the_records_there_are_few(records in records()) {
        let found = speakers(&name("b.ces."), &through_the_wire(records));
        prop_assert!(found.len() <= SPEAKERS_MAX);
        let mut edges: Vec<_> = found.iter().filter_map(|speaker| speaker.edge.as_ref()).collect();
        let count = edges.len();
        edges.sort_unstable();
        edges.dedup();
        prop_assert_eq!(edges.len(), count, "each once");
        for speaker in &found {
            prop_assert!(speaker.rlocs.len() <= RLOCS_MAX && (speaker.edge.is_some() || !speaker.rlocs.is_empty()));
            let is_twice = |at: usize| speaker.rlocs[..at].contains(&speaker.rlocs[at]);
            prop_assert!(!(0..speaker.rlocs.len()).any(is_twice));
        }
    }

    #[test]
    fn any_bytes_of_a_record_do_no_harm(flags: Vec<u8>, service: Vec<u8>, regexp: Vec<u8>) {
        let [flags, service, regexp] = [flags, service, regexp].map(|bytes| bytes[..bytes.len().min(255)].into());
        let data = NAPTR::new(1, 1, flags, service, regexp, Name::root());
        let _ = speakers(&Name::root(), &[Record::from_rdata(Name::root(), 1, RData::NAPTR(data))]);
    }

    /// What this edge says of itself is what another reads.
    #[test]
    fn our_own_are_read_as_our_edge(
        rlocs in prop::collection::hash_set((any::<bool>(), 1..250u8), 1..=4),
        alias in prop::option::of("[A-Za-z0-9-]{1,16}"),
        label in "[a-z0-9]{1,60}",
    ) {
        let address = |(is_v4, last): (bool, u8)| match is_v4 {
            true => IpAddr::from([192, 0, 2, last]),
            false => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()]),
        };
        let rlocs: Vec<IpAddr> = rlocs.into_iter().map(address).collect();
        let edge = EdgeIdentity { cesid: domain(&format!("{label}.ces.example")), rlocs: rlocs.clone(), alias };
        let records = through_the_wire(naptr_records(&name("b.ces."), &edge));
        let ours = Speaker { edge: Some(edge.cesid), rlocs: rlocs.into_iter().map(Rloc::Ip).collect() };
        prop_assert_eq!(speakers(&name("b.ces."), &records), [ours]);
    }
}

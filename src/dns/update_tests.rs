//! DNS UPDATE as a DHCP server sends it, its signature, and what the register becomes.

use data_encoding::HEXLOWER;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::rdata::{NULL, PTR, TSIG};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::tests::{CONFIG, NOW, fixture, outside, read};
use super::tsig;
use super::update::End;
use super::*;
use crate::config::{self, DomainName, Host, UpdateKey};
use crate::edge::hosts::Origin;
use crate::edge::hosts::change::Change;

/// An update that adds new.ces.example at 10.0.0.50, made and signed by another implementation of RFC 8945, and the MAC that the
/// answer must have by it.
const VECTOR: &str = "\
    12342800000100000001000103636573076578616d706c650000060001036e657703636573076578616d706c6500000100010000012c0004\
    0a000032046468637003636573076578616d706c650000fa00ff00000000003d0b686d61632d7368613235360000006b49d200012c002010\
    2977e446fa5cbf3a18c1b0d9825e8f7f92a27616507a13ccb7d751c4a91dac123400000000";
const ANSWER_MAC: &str = "d36d9188c8be78da28a3d76cf144a04ba6f2f09a0c3e80a641f24765bf13b9a7";

pub(super) fn signed_update() -> Vec<u8> {
    HEXLOWER.decode(VECTOR.as_bytes()).expect("hexadecimal")
}

fn keys() -> Vec<UpdateKey> {
    config::parse("dns.toml", CONFIG).expect("right").dns.expect("zones").keys
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name");
    name.set_fqdn(true);
    name
}

pub(super) fn update(zone: &str) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Update);
    message.add_query(Query::query(name(zone), RecordType::SOA));
    message
}

/// The message signed, by the key of that place, at that time; `edit` changes the signature afterwards.
pub(super) fn signed(message: &Message, key: usize, time: u64, edit: fn(&mut TSIG)) -> Vec<u8> {
    let key = &keys()[key];
    let algorithm = match key.name.as_str() {
        "reverse" => TsigAlgorithm::HmacSha512,
        _ => TsigAlgorithm::HmacSha256,
    };
    let mut record = TSIG::new(algorithm, time, 300, Vec::new(), message.id, None, Vec::new());
    let mut bytes = message.to_vec().expect("it can be written");
    bytes.extend(tsig::variables(&record, &name(&key.name)).expect("it can be written"));
    record.mac = tsig::mac(key, &bytes);
    edit(&mut record);
    let mut message = message.clone();
    let mut record = Record::from_rdata(name(&key.name), 0, record);
    record.dns_class = DNSClass::ANY;
    message.signature = Some(Box::new(record));
    message.to_vec().expect("it can be written")
}

/// A record of a section: class, name, type, TTL and data.
pub(super) fn record(class: DNSClass, owner: &str, ttl: u32, data: RData) -> Record {
    let mut record = Record::from_rdata(name(owner), ttl, data);
    record.dns_class = class;
    record
}

pub(super) fn a(address: &str) -> RData {
    match address.parse().expect("an address") {
        std::net::IpAddr::V4(v4) => RData::A(v4.into()),
        std::net::IpAddr::V6(v6) => RData::AAAA(v6.into()),
    }
}

pub(super) fn none(record_type: RecordType) -> RData {
    RData::Update0(record_type)
}

pub(super) fn ptr(target: &str) -> RData {
    RData::PTR(PTR(name(target)))
}

/// The fixture with a host of the DHCP server's and one of the operator's.
fn with_hosts() -> (Responder, Register) {
    let (responder, mut hosts) = fixture();
    let mut lease = Host {
        name: DomainName::new("lease.ces.example").expect("a name"),
        realm: 1,
        addresses: vec![[10, 0, 0, 60].into(), "fd00::60".parse().expect("an address")],
        group: None,
        services: Vec::new(),
        pending_reservations: None,
        reservations_per_second: None,
        dhcid: None,
    };
    hosts.insert(&lease, Origin::Runtime, false).expect("there is room");
    lease.name = DomainName::new("kept.ces.example").expect("a name");
    lease.addresses = vec![[10, 0, 0, 61].into()];
    lease.group = Some("staff".into());
    hosts.insert(&lease, Origin::Runtime, false).expect("there is room");
    lease.name = DomainName::new("far.ces.example").expect("a name");
    lease.realm = 2;
    hosts.insert(&lease, Origin::Runtime, false).expect("there is room");
    (responder, hosts)
}

/// What an update comes to: a code, or the changes in words.
fn comes_to(message: &Message, key: usize) -> Result<Vec<String>, ResponseCode> {
    let (responder, hosts) = with_hosts();
    match responder.ask(&signed(message, key, NOW, |_| {}), &outside(Transport::Udp), &hosts, NOW) {
        Outcome::Update(update) => Ok(update.changes.iter().map(words).collect()),
        other => match read(other).response_code {
            ResponseCode::NoError => Ok(Vec::new()),
            code => Err(code),
        },
    }
}

fn words(change: &Change) -> String {
    match change {
        Change::Add { host, replace } => {
            format!("add {} {} {:?} {replace}", host.name, host.realm, host.addresses)
        }
        Change::Remove { name } => format!("remove {name}"),
        Change::ReplaceLease { name, addresses, .. } => format!("{name} {addresses:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_update_signed_elsewhere_is_taken_and_its_answer_is_signed() {
    let (responder, mut hosts) = fixture();
    let asked = responder.ask(&signed_update(), &outside(Transport::Udp), &hosts, NOW);
    let Outcome::Update(update) = asked else { panic!("{asked:?}") };
    assert_eq!(
        update.changes.iter().map(words).collect::<Vec<_>>(),
        ["add new.ces.example 1 [10.0.0.50] false"]
    );
    for change in &update.changes {
        let edit = hosts.judge(change).expect("nothing is in its way").expect("a change");
        hosts.apply(&edit);
    }
    assert_eq!(hosts.by_address(1, [10, 0, 0, 50].into()).expect("it came").parts().name, "new.ces.example");
    let answer = read(responder.updated(&update, End::Done, NOW));
    assert_eq!(answer.response_code, ResponseCode::NoError);
    assert_eq!(HEXLOWER.encode(&signature(&answer).mac), ANSWER_MAC);
    for (end, code) in [(End::Refused, ResponseCode::Refused), (End::Failed, ResponseCode::ServFail)] {
        assert_eq!(read(responder.updated(&update, end, NOW)).response_code, code);
    }
}

fn signature(answer: &Message) -> TSIG {
    match answer.additionals.last().map(|record| &record.data) {
        Some(RData::TSIG(tsig)) => tsig.clone(),
        other => panic!("no signature: {other:?}"),
    }
}

#[test]
fn what_is_not_rightly_signed_changes_nothing() {
    let (responder, hosts) = fixture();
    let mut message = update("ces.example");
    message.add_authority(record(DNSClass::IN, "new.ces.example", 300, a("10.0.0.50")));
    let ask = |bytes: &[u8]| responder.ask(bytes, &outside(Transport::Udp), &hosts, NOW);
    assert!(matches!(ask(&signed(&message, 0, NOW, |_| {})), Outcome::Update(_)));
    assert!(matches!(ask(&signed(&message, 0, NOW - 300, |_| {})), Outcome::Update(_)));
    let unsigned = read(ask(&message.to_vec().expect("it can be written")));
    assert_eq!((unsigned.response_code, unsigned.additionals.len()), (ResponseCode::Refused, 0));
    let refused = |bytes: &[u8], error: TsigError, is_signed: bool| {
        let answer = read(ask(bytes));
        let tsig = signature(&answer);
        assert_eq!(answer.response_code, ResponseCode::NotAuth);
        assert_eq!((tsig.error, tsig.mac.is_empty()), (Some(error), !is_signed), "{error:?}");
        tsig
    };
    // Any bit of it.
    let good = signed_update();
    for at in [13, 50, 60, good.len() - 10] {
        let mut wrong = good.clone();
        wrong[at] ^= 0x01;
        assert!(!matches!(ask(&wrong), Outcome::Update(_)), "byte {at}");
    }
    refused(&signed(&message, 0, NOW, |tsig| tsig.mac[0] ^= 1), TsigError::BadSig, false);
    refused(
        &signed(&message, 0, NOW, |tsig| tsig.algorithm = TsigAlgorithm::HmacSha512),
        TsigError::BadKey,
        false,
    );
    let mut stranger = good.clone();
    stranger[good.len() - 100..]
        .iter_mut()
        .find(|byte| **byte == b'd')
        .map(|byte| *byte = b'x')
        .expect("dhcp");
    refused(&stranger, TsigError::BadKey, false);
    let late = refused(&signed(&message, 0, NOW - 301, |_| {}), TsigError::BadTime, true);
    assert_eq!((late.time, late.other), (NOW - 301, NOW.to_be_bytes()[2..].to_vec()));
    refused(&signed(&message, 0, NOW, |tsig| tsig.mac.truncate(16)), TsigError::BadTrunc, true);
    for malformed in [
        signed(&message, 0, NOW, |tsig| tsig.mac.truncate(15)),
        signed(&message, 0, NOW, |tsig| tsig.mac.push(0)),
    ] {
        assert_eq!(read(ask(&malformed)).response_code, ResponseCode::FormErr);
    }
}

/// What is asked for, its records, and what comes of it.
type Case = (&'static str, Vec<Record>, Result<Vec<&'static str>, ResponseCode>);

#[test]
fn records_become_changes_of_hosts() {
    use DNSClass::{ANY, IN, NONE};
    let lease = "lease.ces.example";
    let dhcid = || RData::Unknown { code: RecordType::Unknown(49), rdata: NULL::with(vec![0; 35]) };
    let cases: Vec<Case> = vec![
        ("ces.example", vec![], Ok(vec![])),
        // As a DHCP server does for a new lease, for one that moves, and for one that ends.
        (
            "ces.example",
            vec![
                record(IN, "New.ces.example", 300, a("10.0.0.50")),
                record(IN, "new.ces.example", 300, dhcid()),
            ],
            Ok(vec!["add new.ces.example 1 [10.0.0.50] false"]),
        ),
        (
            "ces.example",
            vec![record(ANY, lease, 0, none(RecordType::A)), record(IN, lease, 300, a("10.0.0.70"))],
            Ok(vec!["lease.ces.example [fd00::60, 10.0.0.70]"]),
        ),
        (
            "ces.example",
            vec![record(NONE, lease, 0, a("10.0.0.60"))],
            Ok(vec!["lease.ces.example [fd00::60]"]),
        ),
        (
            "ces.example",
            vec![record(ANY, lease, 0, none(RecordType::ANY))],
            Ok(vec!["remove lease.ces.example"]),
        ),
        (
            "ces.example",
            vec![record(ANY, "kept.ces.example", 0, none(RecordType::A))],
            Ok(vec!["kept.ces.example []"]),
        ),
        // What is so already, or is not there.
        ("ces.example", vec![record(IN, lease, 300, a("fd00::60"))], Ok(vec![])),
        ("ces.example", vec![record(ANY, "nobody.ces.example", 0, none(RecordType::A))], Ok(vec![])),
        ("ces.example", vec![record(NONE, lease, 0, a("10.0.0.99"))], Ok(vec![])),
        // An address moves: given up first.
        (
            "ces.example",
            vec![record(IN, "new.ces.example", 300, a("10.0.0.60")), record(NONE, lease, 0, a("10.0.0.60"))],
            Ok(vec!["lease.ces.example [fd00::60]", "add new.ces.example 1 [10.0.0.60] false"]),
        ),
        // The other end.
        (
            "10.in-addr.arpa",
            vec![record(IN, "50.0.0.10.in-addr.arpa", 300, ptr("new.ces.example"))],
            Ok(vec!["add new.ces.example 1 [10.0.0.50] false"]),
        ),
        (
            "10.in-addr.arpa",
            vec![
                record(ANY, "60.0.0.10.in-addr.arpa", 0, none(RecordType::PTR)),
                record(IN, "60.0.0.10.in-addr.arpa", 300, ptr(lease)),
            ],
            Ok(vec!["lease.ces.example [fd00::60, 10.0.0.60]"]),
        ),
        (
            "10.in-addr.arpa",
            vec![record(ANY, "60.0.0.10.in-addr.arpa", 0, none(RecordType::PTR))],
            Ok(vec!["lease.ces.example [fd00::60]"]),
        ),
        (
            "10.in-addr.arpa",
            vec![record(NONE, "60.0.0.10.in-addr.arpa", 0, ptr("kept.ces.example"))],
            Ok(vec![]),
        ),
        // What nobody may.
        ("ces.example", vec![record(IN, "a.ces.example", 300, a("10.0.0.50"))], Err(ResponseCode::Refused)),
        ("ces.example", vec![record(IN, "far.ces.example", 300, a("10.0.0.50"))], Err(ResponseCode::Refused)),
        ("ces.example", vec![record(IN, "www.ces.example", 300, a("10.0.0.50"))], Err(ResponseCode::Refused)),
        ("ces.example", vec![record(IN, "ns1.ces.example", 300, a("10.0.0.50"))], Err(ResponseCode::Refused)),
        ("ces.example", vec![record(IN, "ces.example", 300, a("10.0.0.50"))], Err(ResponseCode::Refused)),
        ("ces.example", vec![record(IN, "new.ces.example", 300, a("10.0.0.1"))], Err(ResponseCode::Refused)),
        ("ces.example", vec![record(IN, "new.ces.example", 300, ptr(lease))], Err(ResponseCode::Refused)),
        // What is none by its form, the good beside it included.
        (
            "ces.example",
            vec![record(IN, "new.other.example", 300, a("10.0.0.50"))],
            Err(ResponseCode::NotZone),
        ),
        (
            "ces.example",
            vec![record(IN, "50.0.0.10.in-addr.arpa", 300, ptr(lease))],
            Err(ResponseCode::NotZone),
        ),
        ("ces.example", vec![record(ANY, lease, 1, none(RecordType::A))], Err(ResponseCode::FormErr)),
        ("ces.example", vec![record(NONE, lease, 1, a("10.0.0.60"))], Err(ResponseCode::FormErr)),
        ("ces.example", vec![record(DNSClass::CH, lease, 0, a("10.0.0.60"))], Err(ResponseCode::FormErr)),
        (
            "ces.example",
            vec![
                record(IN, "new.ces.example", 300, a("10.0.0.50")),
                record(IN, "new.ces.example", 300, none(RecordType::A)),
            ],
            Err(ResponseCode::FormErr),
        ),
        ("other.example", vec![], Err(ResponseCode::NotAuth)),
        ("a.ces.example", vec![], Err(ResponseCode::NotAuth)),
    ];
    for (zone, records, expected) in cases {
        let mut message = update(zone);
        message.authorities = records;
        let expected = expected.map(|changes| changes.into_iter().map(str::to_owned).collect::<Vec<_>>());
        let found = comes_to(&message, 0);
        // The order of addresses that stayed is not said.
        assert_eq!(found, expected, "{:?}", message.authorities);
    }
    let mut typed = update("ces.example");
    typed.queries[0].set_query_type(RecordType::A);
    assert_eq!(comes_to(&typed, 0), Err(ResponseCode::FormErr));
    // A key that may change the reverse zone alone makes no names of the other one.
    let mut message = update("10.in-addr.arpa");
    message.add_authority(record(IN, "50.0.0.10.in-addr.arpa", 300, ptr("new.ces.example")));
    assert_eq!(comes_to(&message, 1), Err(ResponseCode::Refused));
    let mut message = update("ces.example");
    message.add_authority(record(IN, "new.ces.example", 300, a("10.0.0.50")));
    assert_eq!(comes_to(&message, 1), Err(ResponseCode::Refused));
}

#[test]
fn prerequisites_are_checked_before_anything_is_done() {
    use DNSClass::{ANY, IN, NONE};
    let (lease, new) = ("lease.ces.example", "new.ces.example");
    let met = Ok(());
    let (used, unused) = (Err(ResponseCode::YXDomain), Err(ResponseCode::NXDomain));
    let (there, absent) = (Err(ResponseCode::YXRRSet), Err(ResponseCode::NXRRSet));
    let form = Err(ResponseCode::FormErr);
    for (records, expected) in [
        (vec![record(ANY, lease, 0, none(RecordType::ANY))], met),
        (vec![record(ANY, "ces.example", 0, none(RecordType::ANY))], met),
        (vec![record(ANY, "far.ces.example", 0, none(RecordType::ANY))], met),
        (vec![record(ANY, new, 0, none(RecordType::ANY))], unused),
        (vec![record(NONE, new, 0, none(RecordType::ANY))], met),
        (vec![record(NONE, lease, 0, none(RecordType::ANY))], used),
        (vec![record(NONE, "ns1.ces.example", 0, none(RecordType::ANY))], used),
        (vec![record(ANY, lease, 0, none(RecordType::A))], met),
        (vec![record(ANY, lease, 0, none(RecordType::MX))], absent),
        (vec![record(ANY, lease, 0, none(RecordType::Unknown(49)))], absent),
        (vec![record(NONE, lease, 0, none(RecordType::MX))], met),
        (vec![record(NONE, lease, 0, none(RecordType::AAAA))], there),
        (vec![record(IN, lease, 0, a("10.0.0.60"))], met),
        (vec![record(IN, lease, 0, a("10.0.0.60")), record(IN, lease, 0, a("fd00::60"))], met),
        (vec![record(IN, lease, 0, a("10.0.0.61"))], absent),
        (vec![record(IN, lease, 0, a("10.0.0.60")), record(IN, lease, 0, a("10.0.0.61"))], absent),
        (vec![record(ANY, lease, 0, a("10.0.0.60"))], form),
        (vec![record(NONE, lease, 0, a("10.0.0.60"))], form),
        (vec![record(IN, lease, 1, a("10.0.0.60"))], form),
        (vec![record(DNSClass::CH, lease, 0, a("10.0.0.60"))], form),
        (vec![record(ANY, "x.other.example", 0, none(RecordType::A))], Err(ResponseCode::NotZone)),
    ] {
        let mut message = update("ces.example");
        message.answers = records;
        message.add_authority(record(IN, new, 300, a("10.0.0.50")));
        let found = comes_to(&message, 0);
        assert_eq!(found.map(|changes| assert_eq!(changes.len(), 1)), expected, "{:?}", message.answers);
    }
}

//! Names of others that lead to ours.

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::tests::{NOW, fixture, inside, question, read};
use super::*;

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name");
    name.set_fqdn(true);
    name
}

/// As the resolver gives it: `Web.Example` is an alias of `target`.
fn alias(
    responder: &Responder,
    hosts: &Register,
    asker: &Asker,
    target: &str,
    record_type: RecordType,
) -> Alias {
    let bytes = question("Web.Example", record_type).to_vec().expect("sound");
    let asked = responder.ask(&bytes, asker, hosts, NOW);
    let Outcome::Forward(forward) = asked else { panic!("{asked:?}") };
    let chain = vec![Record::from_rdata(name("Web.Example"), 77, RData::CNAME(CNAME(name(target))))];
    Alias { forward: *forward, chain, target: name(target) }
}

/// In words: its code, its records, and those of its authority.
fn shown(outcome: Outcome) -> (ResponseCode, Vec<String>, Vec<String>) {
    let answer = read(outcome);
    assert!(!answer.authoritative && answer.recursion_available && answer.id == 0x1234);
    assert_eq!(answer.queries, [Query::query(name("Web.Example"), answer.queries[0].query_type())]);
    let words = |records: &[Record]| records.iter().map(ToString::to_string).collect();
    (answer.response_code, words(&answer.answers), words(&answer.authorities))
}

#[test]
fn what_leads_to_a_name_of_ours_is_completed() {
    let (responder, hosts) = fixture();
    const SOA: &str = "ces.example. 60 IN SOA ns1.ces.example. hostmaster.ces.example. 7 3600 600 604800 60";
    use RecordType::{A, AAAA, MX};
    for (realm, target, record_type, code, record, has_soa) in [
        (1, "a.ces.example", A, ResponseCode::NoError, Some("a.ces.example. 300 IN A 10.0.0.2"), false),
        (1, "A.ces.example", AAAA, ResponseCode::NoError, Some("A.ces.example. 300 IN AAAA fd00::2"), false),
        (1, "a.ces.example", MX, ResponseCode::NoError, None, true),
        (1, "nobody.ces.example", A, ResponseCode::NXDomain, None, true),
        (1, "b.ces.example", A, ResponseCode::NXDomain, None, true), // of a realm that is hidden
        (3, "b.ces.example", A, ResponseCode::NoError, Some("b.ces.example. 300 IN A 10.0.0.2"), false),
        (
            1,
            "ns1.ces.example",
            A,
            ResponseCode::NoError,
            Some("ns1.ces.example. 300 IN A 203.0.113.1"),
            false,
        ),
        // No name of ours by its letters, or no longer one.
        (1, "a\\.b.ces.example", A, ResponseCode::NoError, None, false),
        (1, "other.example", A, ResponseCode::NoError, None, false),
    ] {
        let alias = alias(&responder, &hosts, &inside(realm), target, record_type);
        let mut expected = vec![format!("Web.Example. 77 IN CNAME {}", name(target))];
        expected.extend(record.map(str::to_owned));
        let soa = if has_soa { vec![SOA.to_owned()] } else { vec![] };
        let found = shown(responder.complete(alias, &hosts, NOW));
        assert_eq!(found, (code, expected, soa), "{target} {record_type} in realm {realm}");
    }
}

#[test]
fn what_leads_to_a_host_of_another_realm_waits_for_the_pool() {
    let (responder, hosts) = fixture();
    let alias = alias(&responder, &hosts, &inside(2), "a.ces.example", RecordType::A);
    let asked = responder.complete(alias, &hosts, NOW);
    let Outcome::Reserve(deferral) = asked else { panic!("{asked:?}") };
    let host = hosts.by_name("a.ces.example").expect("of the fixture").host.id;
    assert_eq!((deferral.reserve.host, deferral.reserve.realm), (host, Some(2)));
    let cname = "Web.Example. 77 IN CNAME a.ces.example.".to_owned();
    for (decision, record, authorities) in [
        (Decision::Address([203, 0, 113, 9].into()), Some("a.ces.example. 0 IN A 203.0.113.9"), 0),
        (Decision::NoAddress, None, 1),
        (Decision::Empty, None, 0),
    ] {
        let (code, answers, others) = shown(responder.decide(&deferral, decision, NOW));
        let expected: Vec<String> = std::iter::once(cname.clone()).chain(record.map(str::to_owned)).collect();
        assert_eq!(
            (code, answers, others.len()),
            (ResponseCode::NoError, expected, authorities),
            "{decision:?}"
        );
    }
}

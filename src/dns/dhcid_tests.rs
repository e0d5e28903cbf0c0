//! How DHCP servers tell whose a name is, message by message as Kea's and ISC's send them (RFC 4703 section 5).

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

use super::tests::{NOW, fixture, inside, outside, question, read};
use super::update::{DHCID, End};
use super::update_tests::{a, none, ptr, record, signed, update};
use super::*;
use crate::edge::hosts::{HostRef, Origin};
use DNSClass::{ANY, IN, NONE};
use ResponseCode::{NXRRSet, NoError, Refused, YXDomain};

const NAME: &str = "pc.ces.example";
const REVERSE: &str = "50.0.0.10.in-addr.arpa";

/// RFC 4701 section 3.6.1's first, and another client's.
fn client(n: u8) -> RData {
    let mut data = vec![0, 1, 1];
    data.extend([n; 32]);
    dhcid(&data)
}

fn dhcid(data: &[u8]) -> RData {
    RData::Unknown { code: DHCID, rdata: NULL::with(data.to_vec()) }
}

struct World {
    responder: Responder,
    hosts: Register,
}

impl World {
    fn new() -> World {
        let (responder, hosts) = fixture();
        World { responder, hosts }
    }

    /// What an update is answered; what it changes is done.
    fn send(&mut self, zone: &str, prerequisites: &[Record], changes: &[Record]) -> ResponseCode {
        let mut message = update(zone);
        message.answers = prerequisites.to_vec();
        message.authorities = changes.to_vec();
        let bytes = signed(&message, 0, NOW, |_| {});
        match self.responder.ask(&bytes, &outside(Transport::Udp), &self.hosts, NOW) {
            Outcome::Update(update) => {
                let edits = self.hosts.judge_all(&update.changes).expect("nothing is in its way");
                assert!(!edits.is_empty());
                for edit in &edits {
                    self.hosts.apply(edit);
                }
                read(self.responder.updated(&update, End::Done, NOW)).response_code
            }
            other => read(other).response_code,
        }
    }

    /// Section 5.3.1: the name is not in use.
    fn add(&mut self, who: &RData, address: &str) -> ResponseCode {
        let unused = record(NONE, NAME, 0, none(RecordType::ANY));
        let new = [record(IN, NAME, 600, a(address)), record(IN, NAME, 600, who.clone())];
        self.send("ces.example", &[unused], &new)
    }

    /// Section 5.3.2: it is in use, by this client.
    fn replace(&mut self, who: &RData, address: &str) -> ResponseCode {
        let own = [record(ANY, NAME, 0, none(RecordType::ANY)), record(IN, NAME, 0, who.clone())];
        let data = a(address);
        let new = [record(ANY, NAME, 0, none(data.record_type())), record(IN, NAME, 600, data)];
        self.send("ces.example", &own, &new)
    }

    /// Section 5.4.
    fn point(&mut self, who: &RData) -> ResponseCode {
        let new = [
            record(ANY, REVERSE, 0, none(RecordType::PTR)),
            record(ANY, REVERSE, 0, none(DHCID)),
            record(IN, REVERSE, 600, ptr(NAME)),
            record(IN, REVERSE, 600, who.clone()),
        ];
        self.send("10.in-addr.arpa", &[], &new)
    }

    /// Section 5.5, its first update.
    fn remove_address(&mut self, who: &RData, address: &str) -> ResponseCode {
        let own = record(IN, NAME, 0, who.clone());
        self.send("ces.example", &[own], &[record(NONE, NAME, 0, a(address))])
    }

    /// And its second.
    fn remove_name(&mut self, who: &RData) -> ResponseCode {
        let prerequisites = [
            record(IN, NAME, 0, who.clone()),
            record(NONE, NAME, 0, none(RecordType::A)),
            record(NONE, NAME, 0, none(RecordType::AAAA)),
        ];
        self.send("ces.example", &prerequisites, &[record(ANY, NAME, 0, none(RecordType::ANY))])
    }

    fn remove_pointer(&mut self) -> ResponseCode {
        let own = record(IN, REVERSE, 0, ptr(NAME));
        self.send("10.in-addr.arpa", &[own], &[record(ANY, REVERSE, 0, none(RecordType::ANY))])
    }

    fn host(&self) -> Option<HostRef<'_>> {
        self.hosts.by_name(NAME).map(|found| found.host)
    }

    /// Its addresses, and whether it has a DHCID.
    fn has(&self) -> Option<(Vec<String>, bool)> {
        let host = self.host()?.host();
        Some((host.addresses.iter().map(ToString::to_string).collect(), host.dhcid.is_some()))
    }

    fn asked(&self, name: &str, asker: &Asker) -> Message {
        let bytes = question(name, DHCID).to_vec().expect("sound");
        read(self.responder.ask(&bytes, asker, &self.hosts, NOW))
    }
}

#[test]
fn a_name_is_its_clients_until_its_lease_ends() {
    let (mut world, own, other) = (World::new(), client(1), client(2));
    // Nobody has it; then it is this client's, and by no second add another's.
    assert_eq!(world.add(&own, "10.0.0.50"), NoError);
    assert_eq!(world.point(&own), NoError);
    assert_eq!(world.has(), Some((vec!["10.0.0.50".into()], true)));
    assert_eq!(world.add(&other, "10.0.0.51"), YXDomain);
    assert_eq!(world.replace(&other, "10.0.0.51"), NXRRSet);
    // It comes again, at another address and by another family.
    assert_eq!(world.add(&own, "10.0.0.52"), YXDomain);
    assert_eq!(world.replace(&own, "10.0.0.52"), NoError);
    assert_eq!(world.replace(&own, "fd00::52"), NoError);
    assert_eq!(world.has(), Some((vec!["10.0.0.52".into(), "fd00::52".into()], true)));
    // Its leases end, in any order; another's do not end them.
    assert_eq!(world.remove_address(&other, "10.0.0.52"), NXRRSet);
    assert_eq!(world.remove_address(&own, "10.0.0.52"), NoError);
    assert_eq!(world.remove_name(&own), ResponseCode::YXRRSet, "it has the other still");
    assert_eq!(world.remove_address(&own, "fd00::52"), NoError);
    assert_eq!(world.has(), Some((vec![], true)), "and the name is still its own");
    assert_eq!(world.add(&other, "10.0.0.53"), YXDomain);
    assert_eq!(world.remove_name(&other), NXRRSet);
    assert_eq!(world.remove_name(&own), NoError);
    assert_eq!(world.has(), None);
    // What is gone is removed as it is by Kea, which takes this for done; and the name is free.
    assert_eq!(world.remove_pointer(), NXRRSet);
    assert_eq!(world.remove_name(&own), NXRRSet);
    assert_eq!(world.add(&other, "10.0.0.53"), NoError);
}

/// The operator's hosts are nobody's to take, and stay when their addresses go.
#[test]
fn what_no_dhcp_server_has_made_has_no_dhcid() {
    let mut world = World::new();
    let mut host = World::new().made_by_operator();
    host.group = Some("staff".into());
    world.hosts.insert(&host, Origin::Runtime, false).expect("there is room");
    let own = client(1);
    assert_eq!(world.add(&own, "10.0.0.50"), YXDomain);
    assert_eq!(world.replace(&own, "10.0.0.50"), NXRRSet);
    assert_eq!(world.remove_address(&own, "10.0.0.60"), NXRRSet);
    assert_eq!(world.has(), Some((vec!["10.0.0.60".into()], false)));
    // Without its checks a server may; then all but the host itself is its own again.
    let unchecked = [record(ANY, NAME, 0, none(DHCID)), record(IN, NAME, 600, own.clone())];
    assert_eq!(world.send("ces.example", &[], &unchecked), NoError);
    assert_eq!(world.replace(&own, "10.0.0.50"), NoError);
    assert_eq!(world.remove_address(&own, "10.0.0.50"), NoError);
    assert_eq!(world.remove_name(&own), NoError);
    assert_eq!(world.has(), Some((vec![], false)));
}

impl World {
    fn made_by_operator(mut self) -> crate::config::Host {
        assert_eq!(self.add(&client(1), "10.0.0.60"), NoError);
        let mut host = self.host().expect("it came").host();
        host.dhcid = None;
        host
    }
}

#[test]
fn a_host_has_one_dhcid_of_a_bounded_length() {
    let mut world = World::new();
    assert_eq!(world.add(&client(1), "10.0.0.50"), NoError);
    let add = |data: RData| [record(IN, NAME, 600, data)];
    assert_eq!(world.send("ces.example", &[], &add(client(1))), NoError, "it has that already");
    assert_eq!(world.send("ces.example", &[], &add(client(2))), Refused);
    for (length, code) in
        [(1, Refused), (3, Refused), (4, NoError), (64, NoError), (65, Refused), (255, Refused)]
    {
        let changes = [record(ANY, NAME, 0, none(DHCID)), record(IN, NAME, 600, dhcid(&vec![7; length]))];
        assert_eq!(world.send("ces.example", &[], &changes), code, "{length}");
    }
    // That very one goes, or all.
    for (class, data, is_left) in
        [(NONE, client(2), true), (NONE, client(3), false), (ANY, none(DHCID), false)]
    {
        let is = client(3);
        let set = [record(ANY, NAME, 0, none(DHCID)), record(IN, NAME, 600, is)];
        assert_eq!(world.send("ces.example", &[], &set), NoError);
        assert_eq!(world.send("ces.example", &[], &[record(class, NAME, 0, data)]), NoError);
        assert_eq!(world.has(), Some((vec!["10.0.0.50".into()], is_left)));
    }
}

/// To whom the addresses are told.
#[test]
fn who_asks_inside_is_told_the_dhcid() {
    let mut world = World::new();
    assert_eq!(world.add(&client(1), "10.0.0.50"), NoError);
    for (asker, code, is_told) in [
        (inside(1), NoError, true),
        (inside(3), NoError, true), // it sees private addresses of other realms
        (inside(2), NoError, false),
        (inside(4), ResponseCode::NXDomain, false),
        (outside(Transport::Udp), NoError, false),
    ] {
        let answer = world.asked(NAME, &asker);
        let data: Vec<&RData> = answer.answers.iter().map(|record| &record.data).collect();
        assert_eq!((answer.response_code, !data.is_empty()), (code, is_told), "{asker:?}");
        assert!(data.iter().all(|data| **data == client(1)));
        assert_eq!(answer.authorities.len(), usize::from(!is_told));
    }
    assert_eq!(world.asked("tcp80.pc.ces.example", &inside(1)).answers, []);
    assert_eq!(world.asked("a.ces.example", &inside(1)).answers, []);
}

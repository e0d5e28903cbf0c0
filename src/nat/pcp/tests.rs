//! What a subscriber asks for, by the bytes of PCP (RFC 6887) and NAT-PMP (RFC 6886), and what it has then.

use super::tests::*;
use super::*;
use crate::nat::{PcpOptions, PoolOptions, Sharing};

pub(super) const UDP: u8 = 17;
pub(super) const TCP: u8 = 6;
const NONCE: [u8; 12] = *b"nonce-nonce!";
const OTHER_NONCE: [u8; 12] = *b"another-one!";
/// RFC 6887 section 7.4.
const SUCCESS: u8 = 0;
const UNSUPP_VERSION: u8 = 1;
const NOT_AUTHORIZED: u8 = 2;
const MALFORMED_REQUEST: u8 = 3;
const UNSUPP_OPCODE: u8 = 4;
const UNSUPP_OPTION: u8 = 5;
const MALFORMED_OPTION: u8 = 6;
const NO_RESOURCES: u8 = 8;
const UNSUPP_PROTOCOL: u8 = 9;
const USER_EX_QUOTA: u8 = 10;
const CANNOT_PROVIDE_EXTERNAL: u8 = 11;
const ADDRESS_MISMATCH: u8 = 12;
const EXCESSIVE_REMOTE_PEERS: u8 = 13;

const PREFER_FAILURE: &[u8] = &[2, 0, 0, 0];

pub(super) fn pcp_options() -> NatOptions {
    let pcp = PcpOptions { mappings: 40, per_subscriber: 4, ..PcpOptions::default() };
    NatOptions { pcp: Some(pcp), inbound_sessions_per_mapping: 10, ..options() }
}

fn pcp_bed(pools: Vec<PoolOptions>) -> Bed {
    let mut b = bed_of(1, pcp_options(), pools);
    b.pass(1);
    b
}

fn plain() -> Bed {
    pcp_bed(vec![pool("only", 16, 17)])
}

fn mapped(address: [u8; 4]) -> [u8; 16] {
    Ipv4Addr::from(address).to_ipv6_mapped().octets()
}

/// A request of 10.0.0.`host`.
pub(super) fn request(host: u8, operation: u8, lifetime: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, operation, 0, 0];
    bytes.extend(lifetime.to_be_bytes());
    bytes.extend(mapped([10, 0, 0, host]));
    bytes.extend(body);
    bytes
}

/// What a MAP asks for: its protocol, internal port, and suggested external end.
pub(super) struct Map {
    pub nonce: [u8; 12],
    pub protocol: u8,
    pub port: u16,
    pub external: ([u8; 4], u16),
}

impl Map {
    pub fn of(protocol: u8, port: u16) -> Self {
        Self { nonce: NONCE, protocol, port, external: ([0; 4], 0) }
    }

    fn body(&self) -> Vec<u8> {
        let mut body = self.nonce.to_vec();
        body.extend([self.protocol, 0, 0, 0]);
        body.extend(self.port.to_be_bytes());
        body.extend(self.external.1.to_be_bytes());
        body.extend(mapped(self.external.0));
        body
    }

    pub fn bytes(&self, host: u8, lifetime: u32, options: &[u8]) -> Vec<u8> {
        request(host, 1, lifetime, &[&self.body()[..], options].concat())
    }

    pub fn peer(&self, host: u8, lifetime: u32, remote: ([u8; 4], u16)) -> Vec<u8> {
        let mut body = self.body();
        body.extend(remote.1.to_be_bytes());
        body.extend([0, 0]);
        body.extend(mapped(remote.0));
        request(host, 2, lifetime, &body)
    }
}

/// An answer: its code, lifetime, and external end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub code: u8,
    pub lifetime: u32,
    pub end: (Ipv4Addr, u16),
}

pub(super) fn ask(b: &mut Bed, host: u8, bytes: &[u8]) -> Said {
    let answer = b.ask(1, host, bytes).expect("an answer");
    assert_eq!(answer[..2], [2, bytes[1] | 0x80]);
    let word = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
    let address = Ipv4Addr::new(answer[56], answer[57], answer[58], answer[59]);
    let lifetime = u32::from_be_bytes([answer[4], answer[5], answer[6], answer[7]]);
    Said { code: answer[3], lifetime, end: (address, word(42)) }
}

fn code(b: &mut Bed, host: u8, bytes: &[u8]) -> u8 {
    b.ask(1, host, bytes).expect("an answer")[3]
}

/// Maps a port for two minutes.
fn map(b: &mut Bed, host: u8, protocol: u8, port: u16) -> (Ipv4Addr, u16) {
    let said = ask(b, host, &Map::of(protocol, port).bytes(host, 120, &[]));
    assert_eq!((said.code, said.lifetime), (SUCCESS, 120));
    said.end
}

/// A stranger's packet to a public end: where it gets.
pub(super) fn knock(
    b: &mut Bed,
    protocol: u8,
    end: (Ipv4Addr, u16),
    remote: (u8, u16),
) -> Result<(Ipv4Addr, u16), DropReason> {
    let ends = (Ipv4Addr::new(198, 51, 100, remote.0), end.0);
    let key = Key4::of_any_protocol(OUTSIDE, protocol, ends, key::ports(remote.1, end.1));
    b.send(&key, if protocol == TCP { SYN } else { 0 }).map(|k| (k.destination(), k.destination_port()))
}

fn inside(host: u8, port: u16) -> Result<(Ipv4Addr, u16), DropReason> {
    Ok((Ipv4Addr::new(10, 0, 0, host), port))
}

fn filter(prefix: u8, address: [u8; 4], port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    [&[3, 0, 0, 20, 0, if prefix == 255 { 0 } else { 96 + prefix }, high, low][..], &mapped(address)].concat()
}

#[test]
fn an_answer_is_what_the_rfc_draws() {
    let mut b = plain();
    b.pass(5000);
    let map = Map { external: ([203, 0, 113, 9], 99), ..Map::of(TCP, 0x1234) };
    let optional = [200, 0, 0, 3, 1, 2, 3, 0];
    let asked = map.bytes(2, 300, &[&optional[..], &filter(24, [198, 51, 100, 7], 80)].concat());
    let answer = b.ask(1, 2, &asked).unwrap();
    let port = u16::from_be_bytes([answer[42], answer[43]]);
    let mut expected = vec![2, 0x81, 0, 0, 0, 0, 1, 44, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    expected.extend(NONCE);
    expected.extend([TCP, 0, 0, 0, 0x12, 0x34, answer[42], answer[43]]);
    expected.extend(&answer[44..60]);
    // What it has not understood and need not is left out.
    expected.extend(filter(24, [198, 51, 100, 7], 80));
    assert_eq!(answer, expected);
    assert!(
        port >= 1024
            && [mapped([203, 0, 113, 16]), mapped([203, 0, 113, 17])]
                .contains(&answer[44..60].try_into().unwrap())
    );
    let announce = b.ask(1, 2, &request(2, 0, 77, &[])).unwrap();
    assert_eq!(announce, [&[2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5][..], &[0; 12]].concat());
}

#[test]
fn a_mapped_port_is_open_until_its_time_is_over() {
    let mut b = plain();
    let end = map(&mut b, 2, TCP, 80);
    assert_eq!(knock(&mut b, TCP, end, (7, 4000)), inside(2, 80));
    assert_eq!(knock(&mut b, UDP, end, (7, 4000)), Err(DropReason::NatNoMapping), "another protocol");
    // Packets from there have its public end.
    let out = b.send(&with_protocol(udp(1, 2, 80, 1, 9), Protocol::Tcp), SYN).unwrap();
    assert_eq!((out.source(), out.source_port()), end);
    let other = map(&mut b, 2, UDP, 80);
    b.pass(119_000);
    assert_eq!(knock(&mut b, UDP, other, (8, 1)), inside(2, 80), "not over yet");
    b.pass(2500);
    assert_eq!(b.asked_for(), 0);
    assert_eq!(knock(&mut b, UDP, other, (9, 1)), Err(DropReason::NatNoMapping));
    assert!(b.population().0 > 0, "who came in goes on");
    b.pass(400_000);
    assert_eq!(b.population().0, 0);
}

#[test]
fn renewed_and_deleted_by_who_knows_the_nonce() {
    let mut b = plain();
    let end = map(&mut b, 2, UDP, 5000);
    b.pass(100_000);
    assert_eq!(map(&mut b, 2, UDP, 5000), end, "renewed");
    b.pass(100_000);
    assert_eq!(knock(&mut b, UDP, end, (7, 1)), inside(2, 5000));
    for lifetime in [0, 120] {
        let foreign = Map { nonce: OTHER_NONCE, ..Map::of(UDP, 5000) }.bytes(2, lifetime, &[]);
        let said = ask(&mut b, 2, &foreign);
        assert_eq!((said.code, said.lifetime), (NOT_AUTHORIZED, 1800));
    }
    assert_eq!(b.asked_for(), 1);
    let said = ask(&mut b, 2, &Map::of(UDP, 5000).bytes(2, 0, &[]));
    assert_eq!((said.code, said.lifetime, b.asked_for()), (SUCCESS, 0, 0));
    // The stranger's session lives; it lets nobody else in, though the inside may have answered.
    b.send(&udp(1, 2, 5000, 7, 1), 0).unwrap();
    b.pass(1);
    assert_eq!(knock(&mut b, UDP, end, (7, 1)), inside(2, 5000));
    assert_eq!(knock(&mut b, UDP, end, (8, 1)), Err(DropReason::NatNoMapping));
    assert_eq!(code(&mut b, 2, &Map::of(UDP, 5000).bytes(2, 0, &[])), SUCCESS, "what is gone is gone");
    // A session of its own makes it a mapping as all others.
    b.send(&udp(1, 2, 5000, 9, 9), 0).unwrap();
    assert_eq!(knock(&mut b, UDP, end, (8, 1)), inside(2, 5000));
}

#[test]
fn lifetimes_are_within_what_the_operator_allows() {
    let mut b = plain();
    for (wanted, granted) in [(1, 120), (121, 121), (u32::MAX, 86_400)] {
        assert_eq!(ask(&mut b, 2, &Map::of(UDP, 1).bytes(2, wanted, &[])).lifetime, granted);
    }
    let done = b.ask(1, 2, &Map::of(UDP, 1).bytes(2, 1, &[])).unwrap();
    assert_eq!(done.len(), 60);
    b.pass(119_000);
    assert_eq!(b.asked_for(), 1, "a renewal may shorten it");
    b.pass(2500);
    assert_eq!(b.asked_for(), 0);
}

#[test]
fn what_is_malformed_is_refused_by_name_and_changes_nothing() {
    let mut b = plain();
    let good = Map::of(UDP, 80).bytes(2, 120, &[]);
    let with = |options: &[u8]| Map::of(UDP, 80).bytes(2, 120, options);
    let third_party = [&[1, 0, 0, 16][..], &mapped([10, 0, 0, 3])].concat();
    let nine: Vec<u8> = (0..9).flat_map(|n| filter(32, [198, 51, 100, n], 0)).collect();
    let long = [&good[..], &[200, 0, 4, 20], &[0; 1044]].concat();
    assert_eq!(long.len(), 1108);
    let cases: [(&str, Vec<u8>, u8); 20] = [
        ("cut short", good[..56].to_vec(), MALFORMED_REQUEST),
        ("less than a header", good[..20].to_vec(), MALFORMED_REQUEST),
        ("no whole words", good[..59].to_vec(), MALFORMED_REQUEST),
        ("too long", long, MALFORMED_REQUEST),
        ("another client's", Map::of(UDP, 80).bytes(3, 120, &[]), ADDRESS_MISMATCH),
        ("no operation", request(2, 3, 120, &[0; 36]), UNSUPP_OPCODE),
        ("for somebody else", with(&third_party), UNSUPP_OPTION),
        ("an option that must be understood", with(&[77, 0, 0, 0]), UNSUPP_OPTION),
        ("an option beyond the end", with(&[3, 0, 0, 24, 0, 0, 0, 0]), MALFORMED_OPTION),
        ("a preference with data", with(&[2, 0, 0, 4, 0, 0, 0, 0]), MALFORMED_OPTION),
        ("a preference twice", with(&[PREFER_FAILURE, PREFER_FAILURE].concat()), MALFORMED_OPTION),
        ("a filter without its data", with(&[3, 0, 0, 0]), MALFORMED_OPTION),
        ("a filter of too long a prefix", with(&filter(33, [1, 2, 3, 4], 0)), MALFORMED_OPTION),
        ("more filters than there may be", with(&nine), EXCESSIVE_REMOTE_PEERS),
        ("a port of all protocols", Map::of(0, 80).bytes(2, 120, &[]), MALFORMED_REQUEST),
        ("all protocols", Map::of(0, 0).bytes(2, 120, &[]), UNSUPP_PROTOCOL),
        ("all ports", Map::of(TCP, 0).bytes(2, 120, &[]), UNSUPP_PROTOCOL),
        ("GRE", Map::of(47, 0).bytes(2, 120, &[]), UNSUPP_PROTOCOL),
        ("a peer without a port", Map::of(UDP, 80).peer(2, 120, ([198, 51, 100, 1], 0)), MALFORMED_REQUEST),
        ("a peer by GRE", Map::of(47, 80).peer(2, 120, ([198, 51, 100, 1], 9)), UNSUPP_PROTOCOL),
    ];
    for (what, bytes, expected) in cases {
        let answer = b.ask(1, 2, &bytes).unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(answer[3], expected, "{what}");
        assert_eq!(answer[4..8], 1800u32.to_be_bytes(), "{what}");
        // But for its header it is the request (section 8.2).
        let whole = bytes.len().min(1100);
        assert_eq!(answer[24.min(whole)..whole], bytes[24.min(whole)..whole], "{what}");
        assert_eq!(answer.len(), whole.next_multiple_of(4).max(24), "{what}");
    }
    assert_eq!((b.population(), b.asked_for(), b.counted(0)), ((0, 0), 0, (0, 0)), "nothing of it is left");
    let version = b.ask(1, 2, &[3, 1, 0, 0, 9]).unwrap();
    assert_eq!((version.len(), &version[..4]), (24, &[2, 0x81, 0, UNSUPP_VERSION][..]));
    for silent in [&[][..], &[2], &[2, 0x81], &[0, 1, 0, 0]] {
        assert_eq!(b.ask(1, 2, silent), None, "{silent:?}");
    }
}

#[test]
fn what_is_suggested_is_given_where_it_is_the_subscribers() {
    let mut b = pcp_bed(vec![PoolOptions {
        subscribers: vec!["10.0.0.0/29".parse().unwrap()],
        realms: vec![Realm(1)],
        sharing: Sharing::Deterministic,
        ..pool("f", 16, 16)
    }]);
    let first = map(&mut b, 2, UDP, 1);
    let like = |port: u16, external: ([u8; 4], u16)| Map { external, ..Map::of(UDP, port) };
    let free = if first.1 % 64 == 63 { first.1 - 1 } else { first.1 + 1 };
    let own = first.0.octets();
    assert_eq!(ask(&mut b, 2, &like(2, (own, free)).bytes(2, 120, PREFER_FAILURE)).end, (first.0, free));
    // Taken, of somebody else's block, on another address: something else, or nothing where that was preferred.
    for external in [(own, first.1), (own, first.1 ^ 128), ([203, 0, 113, 99], 0)] {
        let refused = ask(&mut b, 2, &like(3, external).bytes(2, 120, PREFER_FAILURE));
        assert_eq!((refused.code, refused.lifetime), (CANNOT_PROVIDE_EXTERNAL, 30), "{external:?}");
        let given = ask(&mut b, 2, &like(3, external).bytes(2, 120, &[]));
        assert!(
            given.code == SUCCESS && given.end.0 == first.0 && given.end != (external.0.into(), external.1)
        );
        assert_eq!(code(&mut b, 2, &Map::of(UDP, 3).bytes(2, 0, &[])), SUCCESS);
    }
    // What is there already has the port that it has.
    assert_eq!(code(&mut b, 2, &like(1, (own, free)).bytes(2, 120, PREFER_FAILURE)), CANNOT_PROVIDE_EXTERNAL);
    assert_eq!(ask(&mut b, 2, &like(1, (own, free)).bytes(2, 120, &[])).end, first);
    let (_, range) = b.nat.pools()[0].determined(Realm(1), Ipv4Addr::new(10, 0, 0, 2)).unwrap();
    assert!(range.contains(&first.1) && range.contains(&free), "the formula holds");
}

#[test]
fn a_filter_lets_in_whom_it_names_whatever_the_pools_is() {
    for filtering in [Dependence::Endpoint, Dependence::Address, Dependence::AddressAndPort] {
        let mut b = pcp_bed(vec![PoolOptions { filtering, ..pool("p", 16, 17) }]);
        let end = map(&mut b, 2, UDP, 80);
        assert_eq!(knock(&mut b, UDP, end, (7, 4000)), inside(2, 80), "nobody was named: {filtering:?}");
        let more = |options: &[u8]| Map::of(UDP, 80).bytes(2, 120, options);
        let network = filter(31, [198, 51, 100, 9], 53);
        assert_eq!(code(&mut b, 2, &more(&network)), SUCCESS);
        assert_eq!(knock(&mut b, UDP, end, (8, 53)), inside(2, 80));
        assert_eq!(knock(&mut b, UDP, end, (9, 54)), Err(DropReason::NatFiltered), "its port");
        assert_eq!(knock(&mut b, UDP, end, (10, 53)), Err(DropReason::NatFiltered), "its address");
        // One more, and the first stays; then none but the last.
        assert_eq!(code(&mut b, 2, &more(&filter(32, [198, 51, 100, 10], 0))), SUCCESS);
        assert_eq!(knock(&mut b, UDP, end, (10, 54)), inside(2, 80));
        assert_eq!(knock(&mut b, UDP, end, (9, 53)), inside(2, 80));
        let anew = [filter(255, [0; 4], 0), filter(32, [198, 51, 100, 20], 0)].concat();
        b.pass(119_999);
        assert_eq!(code(&mut b, 2, &more(&anew)), SUCCESS);
        assert_eq!(knock(&mut b, UDP, end, (20, 1)), inside(2, 80));
        assert_eq!(knock(&mut b, UDP, end, (8, 54)), Err(DropReason::NatFiltered));
        assert_eq!(code(&mut b, 2, &more(&filter(255, [0; 4], 0))), SUCCESS);
        let strangers = [30, 31].map(|n| knock(&mut b, UDP, end, (n, 1)));
        assert!(strangers.contains(&inside(2, 80)), "{strangers:?}");
    }
}

#[test]
fn a_mapping_is_for_all_whatever_the_class() {
    for mapping in [Dependence::Address, Dependence::AddressAndPort] {
        let mut b = pcp_bed(vec![PoolOptions { mapping, ..pool("p", 16, 17) }]);
        let end = map(&mut b, 2, UDP, 4000);
        assert_eq!(knock(&mut b, UDP, end, (7, 4000)), inside(2, 4000));
        for remote in [1, 2] {
            let out = b.send(&udp(1, 2, 4000, remote, 53), 0).unwrap();
            assert_eq!((out.source(), out.source_port()), end, "{mapping:?}");
        }
        assert_eq!(
            super::behaviour_tests::mapping_seen(&mut b, Protocol::Udp, 5000),
            mapping,
            "others are as ever"
        );
    }
}

#[test]
fn quotas() {
    let mut b = plain();
    for port in 1..=4 {
        map(&mut b, 2, UDP, port);
    }
    let said = ask(&mut b, 2, &Map::of(UDP, 5).bytes(2, 120, &[]));
    assert_eq!((said.code, said.lifetime), (USER_EX_QUOTA, 30));
    map(&mut b, 2, UDP, 4);
    let remote = ([198, 51, 100, 1], 9);
    assert_eq!(code(&mut b, 2, &Map::of(UDP, 9).peer(2, 120, remote)), USER_EX_QUOTA);
    // A session that is there is no way round it.
    b.send(&udp(1, 2, 5, 1, 9), 0).unwrap();
    assert_eq!(code(&mut b, 2, &Map::of(UDP, 5).bytes(2, 120, &[])), USER_EX_QUOTA);
    assert_eq!(code(&mut b, 2, &Map::of(UDP, 5).peer(2, 120, remote)), USER_EX_QUOTA);
    assert_eq!(code(&mut b, 2, &Map::of(UDP, 1).bytes(2, 0, &[])), SUCCESS);
    map(&mut b, 2, UDP, 5);
    map(&mut b, 3, UDP, 5);
    for host in 4..14 {
        (1..=4)
            .take_while(|port| code(&mut b, host, &Map::of(UDP, *port).bytes(host, 120, &[])) == SUCCESS)
            .count();
    }
    let said = ask(&mut b, 20, &Map::of(UDP, 1).bytes(20, 120, &[]));
    assert_eq!((said.code, said.lifetime, b.asked_for()), (NO_RESOURCES, 30, 40));
    // What sessions from outside may take is what it is for all mappings.
    let mut b = plain();
    let end = map(&mut b, 2, UDP, 80);
    let came = (1..=30).filter(|n| knock(&mut b, UDP, end, (*n, 1)).is_ok()).count();
    assert_eq!(came, usize::from(pcp_options().inbound_sessions_per_mapping));
    // Ports are the subscriber's own: where its blocks are full there is none.
    let mut b = plain();
    for port in 0..128 {
        b.send(&udp(1, 2, 1000 + port, 1, 9), 0).unwrap();
    }
    assert_eq!(code(&mut b, 2, &Map::of(UDP, 1).bytes(2, 120, &[])), USER_EX_QUOTA);
    assert_eq!(code(&mut b, 3, &Map::of(UDP, 1).bytes(3, 120, &[])), SUCCESS);
}

#[test]
fn a_peer_keeps_its_session_and_nobody_elses() {
    let mut b = plain();
    let out = b.send(&udp(1, 2, 4000, 1, 53), 0).unwrap();
    b.send(&udp(1, 2, 4000, 2, 53), 0).unwrap();
    let remote = ([198, 51, 100, 1], 53);
    let said = ask(&mut b, 2, &Map::of(UDP, 4000).peer(2, 1000, remote));
    assert_eq!((said.code, said.lifetime, said.end), (SUCCESS, 1000, (out.source(), out.source_port())));
    b.pass(900_000);
    assert!(b.table.lookup::<Record4>(&udp(1, 2, 4000, 1, 53)).is_some(), "idle for 15 minutes");
    assert!(b.table.lookup::<Record4>(&udp(1, 2, 4000, 2, 53)).is_none());
    assert_eq!(b.send(&out.reversed(OUTSIDE), 0).unwrap(), udp(1, 2, 4000, 1, 53).reversed(Realm(1)));
    b.pass(102_000);
    assert_eq!((b.population().0, b.asked_for()), (0, 0));
}

#[test]
fn a_peer_makes_the_session_that_is_not_there() {
    let mut b = plain();
    let remote = ([198, 51, 100, 1], 443);
    let key = with_protocol(udp(1, 2, 4000, 1, 443), Protocol::Tcp);
    let free = map(&mut b, 2, TCP, 1);
    let wanted = if free.1 % 64 == 63 { free.1 - 1 } else { free.1 + 1 };
    let peer = |external| Map { external, ..Map::of(TCP, 4000) }.peer(2, 600, remote);
    assert_eq!(code(&mut b, 2, &peer((free.0.octets(), free.1))), CANNOT_PROVIDE_EXTERNAL);
    assert!(b.table.lookup::<Record4>(&key).is_none());
    let said = ask(&mut b, 2, &peer((free.0.octets(), wanted)));
    assert_eq!((said.code, said.end), (SUCCESS, (free.0, wanted)));
    // In the midst of a connection whose state was lost.
    let answers = Key4::new(OUTSIDE, Protocol::Tcp, (Ipv4Addr::from(remote.0), 443), said.end);
    assert_eq!(b.send(&answers, ACK).unwrap(), key.reversed(Realm(1)));
    assert_eq!(b.send(&key, ACK).unwrap(), answers.reversed(OUTSIDE));
    b.pass(500_000);
    assert!(b.table.lookup::<Record4>(&key).is_some());
    let other = Map { nonce: OTHER_NONCE, ..Map::of(TCP, 4000) };
    assert_eq!(code(&mut b, 2, &other.peer(2, 0, remote)), NOT_AUTHORIZED);
    assert_eq!(code(&mut b, 2, &Map::of(TCP, 4000).peer(2, 0, remote)), SUCCESS);
    b.pass(8_000_000);
    assert_eq!(b.population().0, 0);
}

#[test]
fn who_holds_an_address_opens_all_of_it() {
    let whole = || PoolOptions { sharing: Sharing::WholeAddress, ..pool("w", 16, 16) };
    for (protocol, opened) in
        [(0, [true, true, true, true]), (TCP, [true, false, false, false]), (47, [false, false, true, false])]
    {
        let mut b = pcp_bed(vec![whole()]);
        let end = map(&mut b, 2, protocol, 0);
        assert_eq!(end, (public(16), 0));
        for ((protocol, port), opened) in [(TCP, 22), (UDP, 53), (47, 0), (1, 9)].into_iter().zip(opened) {
            let remote = if protocol == 1 { port } else { port.min(1) * 4000 };
            let came = knock(&mut b, protocol, (end.0, port), (7, remote));
            assert_eq!(
                came,
                if opened { inside(2, port) } else { Err(DropReason::NatNoMapping) },
                "{protocol}"
            );
        }
        assert_eq!(code(&mut b, 2, &Map::of(protocol, 0).bytes(2, 0, &[])), SUCCESS);
        assert_eq!(knock(&mut b, TCP, (end.0, 23), (7, 4000)), Err(DropReason::NatNoMapping), "closed again");
    }
    let mut b = pcp_bed(vec![whole()]);
    let narrow = filter(32, [198, 51, 100, 7], 0);
    assert_eq!(code(&mut b, 2, &Map::of(0, 0).bytes(2, 120, &narrow)), SUCCESS);
    assert_eq!(knock(&mut b, TCP, (public(16), 22), (7, 1)), inside(2, 22));
    assert_eq!(knock(&mut b, TCP, (public(16), 22), (8, 1)), Err(DropReason::NatFiltered));
    for n in 2..=10 {
        assert!(knock(&mut b, TCP, (public(16), 22 + n), (7, n)).is_ok());
    }
    assert_eq!(
        knock(&mut b, TCP, (public(16), 99), (7, 9)),
        Err(DropReason::NatInboundQuota),
        "one quota for all ports"
    );
    // Ports are its own: no other.
    let elsewhere = Map { external: ([0; 4], 81), ..Map::of(TCP, 80) };
    assert_eq!(code(&mut b, 2, &elsewhere.bytes(2, 120, PREFER_FAILURE)), CANNOT_PROVIDE_EXTERNAL);
    assert_eq!(ask(&mut b, 2, &elsewhere.bytes(2, 120, &[])).end, (public(16), 80));
}

#[test]
fn in_a_drained_pool_what_is_there_ends_in_its_time_and_in_a_removed_one_at_once() {
    let mut b = pcp_bed(vec![pool("old", 16, 16), pool("new", 17, 17)]);
    let end = map(&mut b, 2, UDP, 80);
    assert!(b.nat.pools()[0].set_state(PoolState::Draining));
    let renewal = ask(&mut b, 2, &Map::of(UDP, 80).bytes(2, 120, &[]));
    assert_eq!((renewal.code, renewal.lifetime), (NO_RESOURCES, 30));
    assert_eq!(knock(&mut b, UDP, end, (7, 1)), inside(2, 80));
    let newer = map(&mut b, 2, UDP, 81);
    assert_eq!(newer.0, public(17));
    b.pass(119_000);
    assert_eq!(knock(&mut b, UDP, end, (8, 1)), inside(2, 80));
    map(&mut b, 2, UDP, 81);
    b.pass(2500);
    assert_eq!(knock(&mut b, UDP, end, (9, 1)), Err(DropReason::NatNoMapping));
    assert!(b.nat.pools()[1].set_state(PoolState::Removed));
    b.pass(1100);
    assert_eq!((b.asked_for(), knock(&mut b, UDP, newer, (7, 1))), (0, Err(DropReason::NatNoMapping)));
}

#[test]
fn the_epoch_counts_on_where_the_clock_begins_anew() {
    let mut b = plain();
    let epoch = |b: &mut Bed| {
        let answer = b.ask(1, 2, &request(2, 0, 0, &[])).unwrap();
        u32::from_be_bytes([answer[8], answer[9], answer[10], answer[11]])
    };
    assert_eq!(epoch(&mut b), 0);
    for _ in 0..5 {
        b.pass(1_000_000_000);
    }
    assert_eq!(epoch(&mut b), 5_000_000);
    let end = map(&mut b, 2, UDP, 80);
    b.pass(119_000);
    assert_eq!(knock(&mut b, UDP, end, (7, 1)), inside(2, 80));
}

#[test]
fn off_there_is_silence() {
    let mut b = bed_of(1, options(), vec![pool("only", 16, 17)]);
    assert_eq!(b.ask(1, 2, &Map::of(UDP, 80).bytes(2, 120, &[])), None);
    assert_eq!(b.ask(1, 2, &[0, 0]), None);
}

/// RFC 6886, an octet at a time.
#[test]
fn natpmp_over_the_same_mappings() {
    let mut b = plain();
    b.pass(3000);
    let address = b.ask(1, 2, &[0, 0]).unwrap();
    assert_eq!(address[..11], [0, 128, 0, 0, 0, 0, 0, 3, 203, 0, 113]);
    let map = |port: u16, lifetime: u8| [0, 2, 0, 0, 0, port as u8, 0, 0, 0, 0, 0, lifetime];
    let made = b.ask(1, 2, &map(80, 200)).unwrap();
    assert_eq!(
        (made.len(), &made[..10], &made[12..]),
        (16, &[0, 130, 0, 0, 0, 0, 0, 3, 0, 80][..], &[0, 0, 0, 200][..])
    );
    let end = (Ipv4Addr::new(203, 0, 113, address[11]), u16::from_be_bytes([made[10], made[11]]));
    assert_eq!(knock(&mut b, TCP, end, (7, 4000)), inside(2, 80), "on the address that it was told");
    let foreign = Map::of(TCP, 80).bytes(2, 120, &[]);
    assert_eq!(code(&mut b, 2, &foreign), NOT_AUTHORIZED);
    assert_eq!(b.ask(1, 2, &map(80, 0)).unwrap(), [0, 130, 0, 0, 0, 0, 0, 3, 0, 80, 0, 0, 0, 0, 0, 0]);
    assert_eq!(knock(&mut b, TCP, end, (8, 4000)), Err(DropReason::NatNoMapping));
    assert_eq!(b.ask(1, 2, &map(0, 0)).unwrap()[..4], [0, 130, 0, 2], "all at once");
    assert_eq!(b.ask(1, 2, &[0, 9]).unwrap(), [0, 137, 0, 5, 0, 0, 0, 3]);
    for port in 1..=4 {
        b.ask(1, 2, &map(port, 200)).unwrap();
    }
    assert_eq!(b.ask(1, 2, &map(5, 200)).unwrap()[..4], [0, 130, 0, 4]);
    assert_eq!(b.ask(1, 2, &[0, 2, 0, 0]), None, "cut short");
}

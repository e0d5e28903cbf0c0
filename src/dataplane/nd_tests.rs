//! Tests of [`judge`]: each rule of RFC 4861 sections 7.1 and 7.2 that it holds, and anything else that may come.

use super::*;
use crate::flow::Realm;
use crate::packet::build::{self, Ip, Transport};
use crate::packet::{icmpv6, ipv6};
use proptest::prelude::*;

const US: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEM: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);

fn a(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn own() -> Interface {
    Interface {
        name: "wan".into(),
        port: 0,
        realm: Realm(1),
        mac: US,
        addresses: vec!["192.0.2.1/24".parse().unwrap(), "2001:db8::1/64".parse().unwrap()],
        mtu: 1500,
        vlan: crate::dataplane::vlan::Vlan::NONE,
        tcp_mss: crate::dataplane::world::TcpMss::Auto,
        mirrored: false,
    }
}

fn found(frame: &[u8]) -> Result<Finding, DropReason> {
    let link = Link::parse(frame)?;
    judge(&own(), &link, &Ipv6::parse(link.payload)?)
}

/// A frame with this ICMPv6 message.
struct Said {
    from: MacAddr,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    kind: u8,
    code: u8,
    parameter: [u8; 4],
    body: Vec<u8>,
}

impl Said {
    fn solicitation(source: &str, destination: &str, target: &str, options: &[u8]) -> Self {
        Self {
            from: THEM,
            source: a(source),
            destination: a(destination),
            hop_limit: 255,
            kind: 135,
            code: 0,
            parameter: [0; 4],
            body: [&a(target).octets()[..], options].concat(),
        }
    }

    /// `flags`: router 0x80, solicited 0x40, override 0x20.
    fn advertisement(source: &str, destination: &str, target: &str, flags: u8, options: &[u8]) -> Self {
        let parameter = [flags, 0, 0, 0];
        Self { kind: 136, parameter, ..Self::solicitation(source, destination, target, options) }
    }

    fn frame(&self) -> Vec<u8> {
        let mut buffer = [0; 300];
        let header = ipv6::Header {
            hop_limit: self.hop_limit,
            ..ipv6::Header::new(self.source, self.destination, Protocol::ICMPV6)
        };
        let message =
            icmpv6::Header { kind: Icmpv6Type(self.kind), code: self.code, parameter: self.parameter };
        let path = Path::untagged(self.from, US);
        let transport = Transport::Icmpv6(message, &self.body);
        let length = build::frame(&mut buffer, &path, &Ip::V6(header), &transport).unwrap();
        buffer[..length].to_vec()
    }

    fn found(&self) -> Result<Finding, DropReason> {
        found(&self.frame())
    }
}

fn option(kind: u8, mac: MacAddr) -> Vec<u8> {
    [&[kind, 1][..], &mac.0].concat()
}

const INVALID: Result<Finding, DropReason> = Err(DropReason::NdInvalid);
const GROUP: &str = "ff02::1:ff00:1";
const HOST: &str = "2001:db8::2";
const OURS: &str = "2001:db8::1";

#[test]
fn a_solicitation_for_our_address_is_answered_and_learnt_from() {
    let source = option(1, THEM);
    let link_local = own().link_local().to_string();
    for target in [OURS, &link_local] {
        for (destination, asker) in [(GROUP, HOST), (OURS, HOST), (GROUP, "fe80::2")] {
            let asked = Said::solicitation(asker, destination, target, &source).found();
            let advertisement =
                NeighborAdvertisement { target: a(target), router: true, solicited: true, override_: true };
            let answer = Answer { to: THEM, source: a(target), destination: a(asker), advertisement };
            let heard = Heard::Request { for_us: true };
            let lesson = Lesson { address: a(asker), mac: Some(THEM), heard };
            assert_eq!(asked, Ok(Finding::Asked(answer, Some(lesson))), "{target} at {destination}");
        }
    }
    // RFC 4861 section 7.2.4: without the option the answer goes back to where the frame came from; nothing is learnt.
    let asked = Said::solicitation(HOST, OURS, OURS, &[]).found();
    assert!(matches!(asked, Ok(Finding::Asked(Answer { to: THEM, .. }, None))), "{asked:?}");
    // A sender off the link is answered, and makes no new neighbour.
    let asked = Said::solicitation("2001:db8:9::2", OURS, OURS, &source).found();
    let Ok(Finding::Asked(_, Some(Lesson { heard, .. }))) = asked else { panic!("{asked:?}") };
    assert_eq!(heard, Heard::Request { for_us: false });
}

#[test]
fn a_probe_for_our_address_is_answered_to_all() {
    let Ok(Finding::Asked(answer, None)) = Said::solicitation("::", GROUP, OURS, &[]).found() else {
        panic!()
    };
    assert_eq!(answer.to.to_string(), "33:33:00:00:00:01");
    assert_eq!((answer.source, answer.destination), (a(OURS), ALL_NODES));
    assert!(!answer.advertisement.solicited && answer.advertisement.override_);
    assert_eq!(Said::solicitation("::", "ff02::1:ff00:7", "2001:db8::7", &[]).found(), Ok(Finding::Noted));
}

#[test]
fn a_solicitation_for_others_is_nothing_to_us() {
    let source = option(1, THEM);
    assert_eq!(
        Said::solicitation(HOST, "ff02::1:ff00:9", "2001:db8::9", &source).found(),
        Ok(Finding::Noted)
    );
}

/// RFC 4861 section 7.1: every single fault makes it invalid.
#[test]
fn what_the_rfc_discards_is_discarded() {
    let source = option(1, THEM);
    let right = || Said::solicitation(HOST, GROUP, OURS, &source);
    assert!(right().found().is_ok());
    assert_eq!(Said { hop_limit: 254, ..right() }.found(), INVALID, "forwarded");
    assert_eq!(Said { code: 1, ..right() }.found(), INVALID, "code");
    assert_eq!(Said { body: right().body[..15].to_vec(), ..right() }.found(), INVALID, "short");
    assert_eq!(
        Said { body: [&right().body[..], &[1, 0]].concat(), ..right() }.found(),
        INVALID,
        "option of none"
    );
    assert_eq!(
        Said { body: [&right().body[..], &[9, 2, 0, 0]].concat(), ..right() }.found(),
        INVALID,
        "cut option"
    );
    let mut frame = right().frame();
    frame[14 + 42] ^= 1;
    assert_eq!(found(&frame), INVALID, "checksum");
    assert_eq!(Said::solicitation(HOST, GROUP, "ff02::5", &source).found(), INVALID, "group as target");
    assert_eq!(Said::solicitation("::", "ff02::1", OURS, &[]).found(), INVALID, "probe to all nodes");
    assert_eq!(Said::solicitation("::", GROUP, OURS, &source).found(), INVALID, "probe with an address");
    let advertisement = |destination, target, flags| {
        Said::advertisement(HOST, destination, target, flags, &option(2, THEM)).found()
    };
    assert!(advertisement(OURS, HOST, 0x60).is_ok());
    assert_eq!(advertisement("ff02::1", HOST, 0x60), INVALID, "solicited, to many");
    assert_eq!(advertisement(OURS, "ff02::1", 0x20), INVALID, "group as target");
    // RFC 6980: never in fragments.
    let mut buffer = [0; 300];
    let message = right().frame()[54..].to_vec();
    let payload = [&[58, 0, 0, 0, 0, 0, 0, 1][..], &message].concat();
    let header = ipv6::Header { hop_limit: 255, ..ipv6::Header::new(a(HOST), a(GROUP), Protocol::FRAGMENT) };
    let path = Path::untagged(THEM, US);
    let length = build::frame(&mut buffer, &path, &Ip::V6(header), &Transport::Raw(&payload)).unwrap();
    assert_eq!(found(&buffer[..length]), INVALID, "in a fragment");
}

#[test]
fn what_no_honest_neighbour_sends_is_discarded() {
    let group = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    for mac in [group, MacAddr::ZERO, MacAddr::BROADCAST, US] {
        assert_eq!(Said::solicitation(HOST, GROUP, OURS, &option(1, mac)).found(), INVALID, "{mac}");
        assert_eq!(Said::advertisement(HOST, OURS, HOST, 0x60, &option(2, mac)).found(), INVALID, "{mac}");
        let from = Said { from: mac, ..Said::solicitation(HOST, GROUP, OURS, &[]) };
        assert_eq!(from.found().is_err(), mac != US, "from {mac}");
    }
    // A tap's kernel end has its port's MAC address: it is believed of itself, but not of what is ours.
    let twin = |said| Said { from: US, ..said };
    assert!(twin(Said::advertisement(HOST, OURS, HOST, 0x60, &option(2, US))).found().is_ok());
    assert_eq!(twin(Said::solicitation("::", GROUP, OURS, &[])).found(), INVALID, "our own probe");
    assert_eq!(twin(Said::solicitation(OURS, GROUP, OURS, &[])).found(), INVALID, "our own question");
    for source in ["ff02::1", "::1"] {
        assert_eq!(Said::solicitation(source, GROUP, OURS, &[]).found(), INVALID, "{source}");
    }
    let elsewhere = Said::solicitation(HOST, "2001:db8::77", OURS, &[]);
    assert_eq!(elsewhere.found(), INVALID, "to another host's address");
}

#[test]
fn advertisements_are_learnt_with_their_flags() {
    for flags in 0..8u8 {
        let (solicited, overrides) = (flags & 2 != 0, flags & 1 != 0);
        let told = |options: &[u8]| Said::advertisement(HOST, OURS, HOST, flags << 5, options).found();
        let lesson = |mac| {
            Ok(Finding::Told(Lesson { address: a(HOST), mac, heard: Heard::Reply { solicited, overrides } }))
        };
        assert_eq!(told(&option(2, OTHER)), lesson(Some(OTHER)));
        assert_eq!(told(&[]), lesson(None));
        assert_eq!(told(&option(1, OTHER)), lesson(None), "a source's is not the target's");
    }
}

#[test]
fn who_claims_our_address_is_told_apart() {
    let claimed = |address, mac| Ok(Finding::Conflict { address: a(address), mac });
    let told = Said::advertisement("fe80::2", "ff02::1", OURS, 0x20, &option(2, OTHER));
    assert_eq!(told.found(), claimed(OURS, OTHER));
    let bare = Said::advertisement("fe80::2", "ff02::1", OURS, 0x20, &[]);
    assert_eq!(bare.found(), claimed(OURS, THEM));
    let asks = Said::solicitation(OURS, "ff02::1:ff00:9", "2001:db8::9", &option(1, THEM));
    assert_eq!(asks.found(), claimed(OURS, THEM));
    // Our own words, come back by a loop, are no conflict.
    assert_eq!(Said { from: US, ..told }.found(), INVALID);
}

#[test]
fn routers_are_noted_and_not_believed() {
    let to = |kind, source: &str, body: usize| Said {
        kind,
        source: a(source),
        destination: ALL_NODES,
        body: vec![0; body],
        ..Said::solicitation(HOST, GROUP, OURS, &[])
    };
    assert_eq!(to(133, HOST, 0).found(), Ok(Finding::Noted));
    assert_eq!(to(134, "fe80::2", 8).found(), Ok(Finding::Noted));
    assert_eq!(to(134, HOST, 8).found(), INVALID, "RFC 4861 section 6.1.2");
    assert_eq!(to(137, "fe80::2", 32).found(), Ok(Finding::Noted));
    assert_eq!(Said { hop_limit: 64, ..to(137, "fe80::2", 32) }.found(), INVALID);
    assert_eq!(to(130, "fe80::2", 20).found(), INVALID, "a query without its router alert");
}

#[test]
fn the_owner_takes_neighbour_discovery_and_queries() {
    let is = |kind| {
        let frame = Said { kind, ..Said::solicitation(HOST, GROUP, OURS, &[]) }.frame();
        for_owner(&Link::parse(&frame).unwrap()).is_some()
    };
    let taken: Vec<u8> = (0..=255).filter(|kind| is(*kind)).collect();
    assert_eq!(taken, [130, 133, 134, 135, 136, 137]);
}

fn address() -> impl Strategy<Value = Ipv6Addr> {
    let known = [OURS, HOST, GROUP, "::", "fe80::2", "ff02::1", "fe80::ff:fe00:1", "2001:db9::5", "::1"];
    prop_oneof![4 => proptest::sample::select(known.map(a).to_vec()), 1 => any::<u128>().prop_map(Ipv6Addr::from)]
}

fn mac() -> impl Strategy<Value = MacAddr> {
    let known = vec![US, THEM, OTHER, MacAddr::ZERO, MacAddr::BROADCAST, MacAddr([0x33, 0x33, 0, 0, 0, 1])];
    prop_oneof![4 => proptest::sample::select(known), 1 => any::<[u8; 6]>().prop_map(MacAddr)]
}

/// What may never be found, whatever was in the frame.
fn check(frame: &[u8], found: &Finding) -> Result<(), TestCaseError> {
    let link = Link::parse(frame).unwrap();
    let ip = Ipv6::parse(link.payload).unwrap();
    if *found != Finding::Queried {
        prop_assert_eq!(ip.hop_limit(), 255);
    }
    let (lesson, answer) = match *found {
        Finding::Told(lesson) => (Some(lesson), None),
        Finding::Asked(answer, lesson) => (lesson, Some(answer)),
        Finding::Conflict { address, mac } => {
            prop_assert!(own().has6(address) && mac.is_unicast() && mac != US);
            (None, None)
        }
        Finding::Noted | Finding::Queried => (None, None),
    };
    if let Some(Lesson { address, mac, .. }) = lesson {
        prop_assert!(!own().has6(address) && !address.is_multicast());
        let from_us = link.ethernet.source() == US;
        prop_assert!(mac.is_none_or(|mac| mac.is_unicast() && (mac != US || from_us)));
    }
    if let Some(answer) = answer {
        prop_assert!(own().has6(answer.source) && answer.source == answer.advertisement.target);
        let to_all = answer.destination == ALL_NODES;
        prop_assert_eq!(answer.advertisement.solicited, !to_all);
        prop_assert!(to_all || (answer.destination == ip.source() && answer.to.is_unicast()));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Right checksums and likely addresses, everything else at random.
    #[test]
    fn no_message_teaches_a_falsehood(
        from in mac(), source in address(), destination in address(), target in address(),
        hop_limit in prop_oneof![9 => Just(255u8), 1 => any::<u8>()],
        kind in prop_oneof![9 => 133..=137u8, 1 => any::<u8>()],
        code in prop_oneof![9 => Just(0u8), 1 => any::<u8>()],
        parameter: [u8; 4],
        given in proptest::option::of((1..=2u8, mac())),
        tail in proptest::collection::vec(any::<u8>(), 0..9),
    ) {
        let mut body = target.octets().to_vec();
        body.extend(given.into_iter().flat_map(|(kind, mac)| option(kind, mac)));
        body.extend(if tail.len() > 6 { tail } else { vec![] });
        let frame = Said { from, source, destination, hop_limit, kind, code, parameter, body }.frame();
        if let Ok(found) = found(&frame) {
            check(&frame, &found)?;
        }
    }

    /// Bytes at random, and right frames with bytes changed.
    #[test]
    fn any_bytes_are_judged_without_a_panic(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        changes in proptest::collection::vec((0..94usize, any::<u8>()), 0..6),
        length in 0..=94usize,
    ) {
        let _ = found(&noise);
        let mut frame = Said::solicitation(HOST, GROUP, OURS, &[option(1, THEM), option(2, OTHER)].concat()).frame();
        changes.into_iter().for_each(|(at, byte)| frame[at] = byte);
        frame.truncate(length);
        if let Ok(found) = found(&frame) {
            check(&frame, &found)?;
        }
    }
}

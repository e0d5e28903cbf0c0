//! Who may reserve and claim what, rule by rule; and any interleaving at all.

use super::*;
use crate::edge::prgw::Service;
use crate::edge::prgw::counters::COUNTERS;
use Counter::*;
use ipnet::IpNet;
use proptest::prelude::*;

const HTTPS: Service = Service::new(443, TCP);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Asks by TCP, from a resolver of its own for each question unless one is said.
fn ask(host: u32) -> Question {
    let resolver = IpAddr::from([10, 0, (host >> 8) as u8, host as u8]);
    let (proof, carrier) = (Proof::ReturnPath, Carrier::Tcp);
    let (limits, service) = (HostLimits::default(), Service::ALL);
    let (realm, subnet, subnet_is_trusted) = (None, None, false);
    Question { host, limits, service, resolver, realm, subnet, subnet_is_trusted, proof, carrier }
}

fn unproven(host: u32) -> Question {
    Question { proof: Proof::Nothing, carrier: Carrier::Udp, ..ask(host) }
}

fn syn(address: u32, source: &str) -> FirstPacket {
    FirstPacket { address, port: 443, protocol: TCP, source: ip(source), source_port: 4000, pure_syn: true }
}

fn gateway(addresses: u32) -> Gateway {
    Gateway::new(Options::new(addresses), Secret::new([3, 4]))
}

/// Asks only for what is under test.
fn open(addresses: u32) -> Gateway {
    Gateway::new(Options { adaptive: true, ..Options::without_defences(addresses) }, Secret::new([3, 4]))
}

fn address(decision: Decision) -> u32 {
    let Decision::Reserved { address, .. } = decision else { panic!("{decision:?} is no address") };
    address
}

fn why(verdict: Verdict) -> Counter {
    let Verdict::Rejected { why, .. } = verdict else { panic!("{verdict:?} is no reject") };
    why
}

fn host(verdict: Verdict) -> u32 {
    let Verdict::Claimed { host, .. } = verdict else { panic!("{verdict:?} is no claim") };
    host
}

/// Makes a resolver known as good: so many of its reservations are claimed, each after `delay`.
fn make_known(gateway: &mut Gateway, question: &Question, times: u32, delay: u64, now: &mut u64) {
    for _ in 0..times {
        let reserved = address(gateway.question(question, *now));
        *now += delay;
        assert_eq!(host(gateway.first_packet(&syn(reserved, "192.0.2.1"), *now)), question.host);
    }
}

/// And as bad: none is claimed, until it gets no more.
fn make_bad(gateway: &mut Gateway, question: &Question, now: &mut u64) {
    for _ in 0..100 {
        if !matches!(gateway.question(question, *now), Decision::Reserved { .. }) {
            return;
        }
        *now += 2000;
    }
    panic!("it gets them for ever");
}

#[test]
fn an_exhausted_pool_is_silent_or_tried_again_or_empty() {
    let mut g = open(1);
    assert_eq!(address(g.question(&ask(1), 0)), 0);
    let by = |carrier| Question { carrier, ..ask(2) };
    assert_eq!(g.question(&by(Carrier::Udp), 1), Decision::Silence);
    assert_eq!(g.question(&by(Carrier::Tcp), 1), Decision::TryAgain { after: 500 });
    assert_eq!(g.question(&by(Carrier::TcpAgain), 501), Decision::Empty);
    for counter in [Reserved, ExhaustedUdp, ExhaustedTcp, ExhaustedTcpAgain] {
        assert_eq!(g.counters().get(counter), 1, "{counter:?}");
    }
    assert_eq!(host(g.first_packet(&syn(0, "192.0.2.1"), 502)), 1);
    assert_eq!(address(g.question(&by(Carrier::TcpAgain), 503)), 0);
}

#[test]
fn each_tier_asks_for_its_proof() {
    let mut g = gateway(100);
    let (good, mut now) = (Question { resolver: ip("203.0.113.1"), ..ask(9999) }, 0);
    make_known(&mut g, &good, 60, 50, &mut now);
    assert!(g.resolver_reputation(good.resolver, now) > 0.7);
    for held in 0..100 {
        let (of_unknown, of_good) = match held {
            0..33 => (None, None),
            33..66 => (Some(Proof::ReturnPath), Some(Proof::ReturnPath)),
            66..99 => (Some(Proof::Label), Some(Proof::ReturnPath)),
            _ => (Some(Proof::LabelByTcp), Some(Proof::Label)),
        };
        // What is demanded keeps nothing; what isn't is not asked here, as it would.
        let mut check = |question: Question, demanded: Option<Proof>| {
            if let Some(proof) = demanded {
                assert_eq!(g.question(&question, now), Decision::Demand(proof), "with {held} held");
            }
        };
        check(unproven(1), of_unknown);
        check(Question { proof: Proof::Nothing, ..good }, of_good);
        assert_eq!(g.load().0, held);
        let question = Question { host: held, proof: Proof::LabelByTcp, ..good };
        let limits = Options { per_resolver: u32::MAX, ..g.options.clone() };
        g.options = limits;
        address(g.question(&question, now));
    }
    assert_eq!(g.counters().get(DemandedReturnPath), 33 + 33 + 33);
    assert_eq!(g.counters().get(DemandedLabel), 33 + 1);
    assert_eq!(g.counters().get(DemandedLabelByTcp), 1);
}

#[test]
fn the_unknown_have_two_tiers_and_the_unproven_one() {
    let fill = |question: fn(u32) -> Question| {
        let mut g = gateway(100);
        for host in 0..200 {
            g.question(&question(host), 0);
        }
        (g.load().0, g)
    };
    let (load, g) = fill(unproven);
    assert_eq!((load, g.counters().get(DemandedReturnPath)), (33, 167));
    let (load, g) = fill(|host| Question { proof: Proof::LabelByTcp, ..ask(host) });
    assert_eq!((load, g.counters().get(RefusedReputation)), (66, 134));
    // Nor does the address of somebody good help who can't show that it is his own.
    let (mut g, mut now) = (gateway(100), 0);
    let good = Question { resolver: ip("203.0.113.1"), ..ask(9999) };
    make_known(&mut g, &good, 60, 50, &mut now);
    g.options.per_resolver = u32::MAX;
    for host in 0..200 {
        g.question(&Question { resolver: good.resolver, ..unproven(host) }, now);
    }
    assert_eq!(g.load().0, 33);
}

#[test]
fn what_shares_an_address_is_judged_one_tier_lower() {
    let mut g = gateway(5);
    let strong = |host| Question { proof: Proof::Label, ..ask(host) };
    (0..4).for_each(|host| {
        address(g.question(&strong(host), 0));
    });
    let service = |host, port| Question { service: Service::new(port, TCP), ..strong(host) };
    // Four of five are taken: the third tier, in which nobody unknown gets an address, or a fifth one for a service.
    assert_eq!(g.question(&strong(5), 0), Decision::Empty);
    assert_eq!(g.question(&service(5, 443), 0), Decision::Empty);
    let mut g = gateway(5);
    address(g.question(&service(0, 443), 0));
    (1..4).for_each(|host| {
        address(g.question(&strong(host), 0));
    });
    assert_eq!(address(g.question(&service(5, 22), 0)), 0);
    assert_eq!(g.counters().get(ReservedShared), 1);
    // Without proof there is no such favour.
    let unproven = Question { proof: Proof::Nothing, ..service(6, 25) };
    assert_eq!(g.question(&unproven, 0), Decision::Demand(Proof::Label));
}

#[test]
fn the_bad_are_refused_and_cannot_hide() {
    let mut g = gateway(5);
    let (bad, mut now) = (Question { resolver: ip("203.0.113.66"), ..ask(1) }, 0);
    make_bad(&mut g, &bad, &mut now);
    assert!(g.resolver_reputation(bad.resolver, now) < 0.1);
    assert!((5..30).contains(&g.counters().get(ExpiredBlamedResolver)));
    let asked = [
        (bad, Decision::Empty),
        (Question { proof: Proof::Nothing, carrier: Carrier::Udp, ..bad }, Decision::Silence),
    ];
    for (question, expected) in asked {
        assert_eq!(g.question(&question, now), expected);
    }
    assert_eq!(g.counters().get(RefusedReputation), 3);
    // Forgotten by a third each 20 s.
    now += 200_000;
    address(g.question(&bad, now));
}

#[test]
fn blame_goes_to_whom_it_is_due() {
    let subnet: IpNet = "198.51.100.0/24".parse().unwrap();
    let wide: IpNet = "198.51.0.0/16".parse().unwrap();
    let base = ask(1);
    let trusted = Question { subnet: Some(subnet), subnet_is_trusted: true, ..base };
    for (question, counter) in [
        (base, ExpiredBlamedResolver),
        (trusted, ExpiredBlamedClient),
        (Question { subnet_is_trusted: false, ..trusted }, ExpiredBlamedResolver),
        (Question { subnet: Some(wide), ..trusted }, ExpiredBlamedResolver),
        (Question { subnet: Some("0.0.0.0/0".parse().unwrap()), ..trusted }, ExpiredBlamedResolver),
        (Question { proof: Proof::Nothing, ..trusted }, ExpiredUnproven),
        (Question { proof: Proof::Nothing, ..base }, ExpiredUnproven),
    ] {
        let mut g = gateway(5);
        address(g.question(&question, 0));
        g.advance(1999);
        assert_eq!(g.counters().get(counter), 0);
        g.advance(2000);
        assert_eq!(g.counters().get(counter), 1, "{question:?}");
        let client = g.client_reputation(ip("198.51.100.77"), 2000);
        let resolver = g.resolver_reputation(question.resolver, 2000);
        assert_eq!(client < MIDDLE, counter == ExpiredBlamedClient);
        assert_eq!(resolver < MIDDLE, counter == ExpiredBlamedResolver);
    }
}

#[test]
fn the_same_address_in_two_realms_is_two_resolvers() {
    let mut parties = std::collections::HashSet::new();
    for address in ["10.0.0.2", "2001:db8::2", "::ffff:0:0", "fe80::1"].map(ip) {
        let mut is_new = |realm| parties.insert(resolver(address, realm));
        assert!([None, Some(1), Some(2), Some(4095)].into_iter().all(&mut is_new), "{address}");
    }
    let mut g = gateway(5);
    g.options.per_resolver = 1;
    let of = |host, realm| Question { resolver: ip("10.0.0.2"), realm, ..ask(host) };
    address(g.question(&of(1, Some(1)), 0));
    assert_eq!(g.question(&of(2, Some(1)), 0), Decision::TryAgain { after: 500 });
    address(g.question(&of(2, Some(2)), 0));
}

#[test]
fn only_the_subnet_that_was_told_may_claim() {
    let mut g = open(1);
    let subnet = Some("198.51.100.0/24".parse().unwrap());
    let asked = Question { subnet, ..ask(7) };
    address(g.question(&asked, 0));
    assert_eq!(why(g.first_packet(&syn(0, "192.0.2.1"), 1)), RejectedSubnet);
    assert_eq!(host(g.first_packet(&syn(0, "198.51.100.9"), 2)), 7);
    // A subnet of the other family says nothing.
    let subnet = Some("2001:db8::/56".parse().unwrap());
    address(g.question(&Question { subnet, ..ask(8) }, 3));
    assert_eq!(host(g.first_packet(&syn(0, "192.0.2.2"), 4)), 8);
}

#[test]
fn a_syn_that_is_sent_again_takes_nobody_elses_reservation() {
    let mut g = open(1);
    let early = syn(0, "192.0.2.1");
    assert_eq!(why(g.first_packet(&early, 0)), RejectedNothingWaits);
    address(g.question(&ask(1), 900));
    assert_eq!(why(g.first_packet(&early, 1000)), RejectedRemembered);
    // Another socket of the same host is another matter.
    let fresh = FirstPacket { source_port: 4001, ..early };
    assert_eq!(host(g.first_packet(&fresh, 1001)), 1);
    address(g.question(&ask(2), 19_000));
    // Twenty seconds from the first time, however often it comes.
    assert_eq!(why(g.first_packet(&early, 19_999)), RejectedRemembered);
    assert_eq!(host(g.first_packet(&early, 20_000)), 2);
}

#[test]
fn only_a_pure_syn_opens_tcp() {
    let mut g = open(1);
    address(g.question(&ask(1), 0));
    let ack = FirstPacket { pure_syn: false, ..syn(0, "192.0.2.1") };
    let refused = Verdict::Rejected { why: RejectedNotSyn, answer: Answer::Reset };
    assert_eq!(g.first_packet(&ack, 1), refused);
    // It is not remembered: the same socket may open a connection.
    assert_eq!(host(g.first_packet(&syn(0, "192.0.2.1"), 2)), 1);
}

#[test]
fn each_protocol_has_its_reject() {
    let mut g = open(1);
    let packet = |protocol, port| FirstPacket { protocol, port, pure_syn: false, ..syn(0, "192.0.2.1") };
    for (protocol, answer) in
        [(17, Answer::PortUnreachable), (1, Answer::Prohibited), (47, Answer::Prohibited)]
    {
        let rejected = Verdict::Rejected { why: RejectedNothingWaits, answer };
        assert_eq!(g.first_packet(&packet(protocol, 0), 0), rejected);
    }
    // An address that the pool does not have is no reason to stumble.
    assert_eq!(why(g.first_packet(&FirstPacket { address: 77, ..packet(17, 53) }, 0)), RejectedNothingWaits);
    address(g.question(&ask(5), 0));
    assert_eq!(host(g.first_packet(&FirstPacket { source_port: 9, ..packet(1, 0) }, 1)), 5);
}

#[test]
fn a_source_of_ill_repute_claims_nothing() {
    let mut g = gateway(5);
    let reserved = address(g.question(&ask(1), 0));
    (0..50).for_each(|_| g.report_client(ip("192.0.2.200"), false, 0));
    assert!(g.client_reputation(ip("192.0.2.1"), 0) < 0.15, "a network is known as one");
    (0..50).for_each(|_| g.report_client(ip("192.0.2.200"), false, 20_000));
    let reserved_then = address(g.question(&ask(2), 20_000));
    assert_eq!(why(g.first_packet(&syn(reserved_then, "192.0.2.1"), 20_001)), RejectedReputation);
    assert_eq!(host(g.first_packet(&syn(reserved_then, "198.51.100.1"), 20_002)), 2);
    assert_eq!(why(g.first_packet(&syn(reserved, "198.51.100.1"), 20_003)), RejectedNothingWaits);
}

/// And only if it had shown that it is that resolver.
#[test]
fn only_a_trusted_resolvers_word_spares_the_look_at_reputation() {
    let subnet = Some("192.0.2.0/24".parse().unwrap());
    let told = Question { subnet, ..ask(3) };
    let trusted = Question { subnet_is_trusted: true, ..told };
    let unproven = Question { proof: Proof::Nothing, carrier: Carrier::Udp, ..trusted };
    for (question, is_believed) in [(told, false), (unproven, false), (trusted, true)] {
        let mut g = gateway(5);
        for now in [0, 20_000] {
            (0..50).for_each(|_| g.report_client(ip("192.0.2.200"), false, now));
        }
        let reserved = address(g.question(&question, 20_001));
        match g.first_packet(&syn(reserved, "192.0.2.1"), 20_002) {
            Verdict::Claimed { host, .. } => assert!(is_believed && host == 3),
            rejected => assert!(!is_believed && why(rejected) == RejectedReputation, "{question:?}"),
        }
    }
}

#[test]
fn limits_of_host_and_resolver() {
    let mut g = gateway(100);
    g.options.per_host = 6;
    g.options.per_resolver = 4;
    let from = |n: u32, host| Question { resolver: IpAddr::from([203, 0, 113, n as u8]), host, ..ask(host) };
    let spoofed = |n, host| Question { proof: Proof::Nothing, carrier: Carrier::Udp, ..from(n, host) };
    // Unproven ones have half of a host.
    let outcomes = (0..5).map(|n| g.question(&spoofed(n, 1), 0) == Decision::Silence);
    assert_eq!(outcomes.collect::<Vec<_>>(), [false, false, false, true, true]);
    (0..3).for_each(|n| {
        address(g.question(&from(n, 1), 0));
    });
    assert_eq!(g.question(&from(9, 1), 0), Decision::TryAgain { after: 500 });
    assert_eq!(g.counters().get(LimitedHost), 3);
    // Unproven ones count for the address that they pretend to be, and not against it.
    (10..14).for_each(|host| {
        address(g.question(&spoofed(50, host), 0));
    });
    assert_eq!(g.question(&spoofed(50, 15), 0), Decision::Silence);
    (20..24).for_each(|host| {
        address(g.question(&from(50, host), 0));
    });
    assert_eq!(g.question(&from(50, 25), 0), Decision::TryAgain { after: 500 });
    assert_eq!(g.counters().get(LimitedResolver), 2);
    // What is over counts no longer.
    address(g.question(&from(50, 25), 2000));
    address(g.question(&from(9, 1), 2000));
}

#[test]
fn a_hosts_own_limits_go_before_those_of_all() {
    let mut g = gateway(100);
    let own = HostLimits { waiting: Some(2), per_second: Some(5) };
    let of = |n: u8, limits| Question { resolver: IpAddr::from([203, 0, 113, n]), limits, ..ask(1) };
    (0..2).for_each(|n| {
        address(g.question(&of(n, own), 0));
    });
    assert_eq!(g.question(&of(9, own), 0), Decision::TryAgain { after: 500 });
    assert_eq!((g.counters().get(LimitedHost), g.counters().get(LimitedHostRate)), (1, 0));
    // With another limit there is another answer.
    let more = HostLimits { waiting: Some(20), ..own };
    (2..5).for_each(|n| {
        address(g.question(&of(n, more), 0));
    });
    assert_eq!(g.question(&of(9, more), 0), Decision::TryAgain { after: 500 });
    let unproven = Question { proof: Proof::Nothing, carrier: Carrier::Udp, ..of(9, more) };
    assert_eq!(g.question(&unproven, 199), Decision::Silence);
    assert_eq!((g.counters().get(LimitedHost), g.counters().get(LimitedHostRate)), (1, 2));
    // Whoever asks a fifth of a second later has one.
    address(g.question(&of(9, more), 200));
    // Of others, and of those without limits of their own, they are not.
    assert_eq!(HostLimits::default(), ask(2).limits);
    g.options.per_host = 200;
    (g.options.per_host_per_second, g.options.per_resolver) = (7, 100);
    let reserved = (0..10).filter(|&n| {
        let question = Question { resolver: IpAddr::from([203, 0, 113, n]), ..ask(2) };
        matches!(g.question(&question, 200), Decision::Reserved { .. })
    });
    assert_eq!(reserved.count(), 7);
}

#[test]
fn time_follows_the_measured_delay_and_late_ones_still_find_their_host() {
    let mut g = open(2);
    let timeout_of =
        |g: &Gateway, resolver: &str| g.timeout(g.book.resolvers.get(&super::resolver(ip(resolver), None)));
    let slow = Question { resolver: ip("203.0.113.1"), ..ask(1) };
    let quick = Question { resolver: ip("203.0.113.2"), ..ask(2) };
    assert_eq!(timeout_of(&g, "203.0.113.1"), 2000, "nothing is known");
    let mut now = 0;
    make_known(&mut g, &quick, 200, 20, &mut now);
    assert_eq!(timeout_of(&g, "203.0.113.2"), 200, "the floor");
    assert_eq!(timeout_of(&g, "203.0.113.1"), 200, "by all that is known");
    make_known(&mut g, &slow, 100, 390, &mut now);
    assert!((1..64).contains(&g.counters().get(ClaimedLate)), "until it is known that there are such");
    assert!((780..1100).contains(&timeout_of(&g, "203.0.113.1")));
    assert_eq!(timeout_of(&g, "203.0.113.2"), 200);
    // Overdue, and its place is taken.
    let reserved = address(g.question(&quick, now));
    g.advance(now + 200);
    assert_eq!(g.load().0, 0);
    let others = [address(g.question(&ask(8), now + 200)), address(g.question(&ask(9), now + 200))];
    assert!(others.contains(&reserved));
    assert_ne!(host(g.first_packet(&syn(reserved, "192.0.2.3"), now + 210)), quick.host);
}

#[test]
fn an_asker_gets_no_address_to_which_its_network_has_sessions() {
    let mut g = open(5);
    let mut used = vec![];
    let asked = Question { subnet: Some("192.0.2.0/24".parse().unwrap()), ..ask(1) };
    for n in 0..5 {
        let reserved = address(g.question(&asked, n));
        assert!(!used.contains(&reserved), "{reserved} has a session, and others have none");
        assert_eq!(host(g.first_packet(&syn(reserved, "192.0.2.1"), n)), 1);
        used.push(reserved);
    }
    // All have: better one of them than none.
    let reserved = address(g.question(&asked, 5));
    g.first_packet(&syn(reserved, "192.0.2.1"), 5);
    // The fourth is free again, wherever the circle is.
    g.session_ended(ip("192.0.2.9"), used[3]);
    g.session_ended(ip("192.0.2.9"), used[3]);
    let again = [6, 7].map(|now| address(g.question(&asked, now)));
    assert_eq!(again[0], used[3]);
    assert_ne!(again[1], used[3]);
}

#[test]
fn spoofed_questions_make_nothing_forgotten() {
    let options = Options { remembered: 64, ..Options::new(64) };
    let mut g = Gateway::new(options, Secret::new([3, 4]));
    let mut now = 0;
    let [good, bad] = ["203.0.113.1", "203.0.113.2"].map(|a| Question { resolver: ip(a), ..ask(1) });
    make_bad(&mut g, &bad, &mut now);
    make_known(&mut g, &good, 60, 20, &mut now);
    let before = [good, bad].map(|q| g.resolver_reputation(q.resolver, now));
    assert!(before[0] > 0.6 && before[1] < 0.3);
    // From everywhere, those two included, many times what can be remembered.
    for n in 0..100_000 {
        let resolver = match n % 3 {
            0 => IpAddr::from(u32::to_be_bytes(n * 7919)),
            1 => good.resolver,
            _ => bad.resolver,
        };
        g.question(&Question { resolver, ..unproven(n) }, now + u64::from(n) / 200);
    }
    let known = [good, bad].map(|q| g.book.resolvers.get(&super::resolver(q.resolver, None)).copied());
    assert_eq!(known.map(|k| k.map(|k| k.reputation.value(now))), before.map(Some));
    // And real addresses, whose questions are blamed on them, drive out nobody of whom more is known.
    for n in 0..20_000 {
        g.question(&Question { resolver: IpAddr::from(u32::to_be_bytes(n * 7919)), ..ask(n) }, now);
        now += 1;
    }
    assert!(g.book.resolvers.get(&super::resolver(good.resolver, None)).is_some());
}

#[derive(Clone, Debug)]
enum Event {
    Ask { host: u32, resolver: u8, service: u16, proof: u8, subnet: bool, carrier: u8 },
    Packet { address: u32, port: u16, protocol: u8, source: u8, source_port: u16, pure_syn: bool },
    Advance(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let ask = (0u32..6, 0u8..4, 0u16..4, 0u8..4, any::<bool>(), 0u8..3);
    let protocol = prop_oneof![Just(TCP), Just(17), Just(1)];
    let packet = (0u32..9, 0u16..4, protocol, 0u8..4, 0u16..50, any::<bool>());
    prop_oneof![
        4 => ask.prop_map(|(host, resolver, service, proof, subnet, carrier)| Event::Ask {
            host, resolver, service, proof, subnet, carrier
        }),
        3 => packet.prop_map(|(address, port, protocol, source, source_port, pure_syn)| Event::Packet {
            address, port, protocol, source, source_port, pure_syn
        }),
        1 => (0u64..900).prop_map(Event::Advance),
    ]
}

fn question_of(event: &Event) -> Option<Question> {
    let Event::Ask { host, resolver, service, proof, subnet, carrier } = *event else { return None };
    Some(Question {
        host,
        limits: HostLimits { waiting: (host == 1).then_some(2), per_second: (host == 2).then_some(3) },
        service: if service == 0 { Service::ALL } else { Service::new(service, TCP) },
        resolver: IpAddr::from([203, 0, 113, resolver]),
        realm: (resolver == 3).then_some(2),
        subnet: subnet.then(|| "192.0.2.0/24".parse().unwrap()),
        subnet_is_trusted: host % 2 == 0,
        proof: [Proof::Nothing, Proof::ReturnPath, Proof::Label, Proof::LabelByTcp][usize::from(proof)],
        carrier: [Carrier::Udp, Carrier::Tcp, Carrier::TcpAgain][usize::from(carrier)],
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever happens: each question and each packet ends in one counter, each reservation is claimed or expires or still
    /// waits, a claim is by a packet that it waited for, and at last nothing is left.
    #[test]
    fn everything_is_accounted_for(addresses in 1u32..9, events in prop::collection::vec(event(), 1..300)) {
        let mut g = gateway(addresses);
        let (mut now, mut questions, mut packets) = (0, 0, 0);
        let mut promised = std::collections::HashMap::<(u32, Service), u32>::new();
        for event in &events {
            if let Some(question) = question_of(event) {
                questions += 1;
                if let Decision::Reserved { address, .. } = g.question(&question, now) {
                    prop_assert!(address < addresses && g.expects(address));
                    promised.insert((address, question.service), question.host);
                }
            } else if let Event::Packet { address, port, protocol, source, source_port, pure_syn } = *event {
                packets += 1;
                let source = IpAddr::from([192, 0, 1 + source, 9]);
                let packet = FirstPacket { address, port, protocol, source, source_port, pure_syn };
                if let Verdict::Claimed { host, service, waited } = g.first_packet(&packet, now) {
                    prop_assert!(protocol != TCP || pure_syn);
                    prop_assert!(waited < 2000 && Service::look_up_order(port, protocol).contains(&service));
                    prop_assert_eq!(promised.get(&(address, service)), Some(&host));
                }
            } else if let Event::Advance(by) = *event {
                now += by;
                g.advance(now);
            }
            let sum = |g: &Gateway, of: std::ops::RangeInclusive<Counter>| -> u64 {
                let of = *of.start() as usize..=*of.end() as usize;
                COUNTERS[of].iter().map(|&counter| g.counters().get(counter)).sum()
            };
            prop_assert_eq!(sum(&g, Reserved..=RefusedReputation), questions);
            prop_assert_eq!(sum(&g, Claimed..=RejectedReputation), packets);
            let gone = sum(&g, Claimed..=ClaimedLate) + sum(&g, ExpiredUnproven..=ExpiredBlamedResolver);
            prop_assert_eq!(sum(&g, Reserved..=ReservedShared) - gone, g.pool.len() as u64);
        }
        g.advance(now + 2000);
        prop_assert!(g.pool.is_empty() && g.load().0 == 0);
        prop_assert!(g.book.by_host.is_empty() && g.book.by_resolver.is_empty());
    }
}

#[test]
fn nothing_grows() {
    let options = Options { reservations: 64, remembered: 64, rejects: 64, sessions: 64, ..Options::new(64) };
    let mut g =
        Gateway::new(Options { tiers: Options::without_defences(64).tiers, ..options }, Secret::new([3, 4]));
    for n in 0..50_000 {
        let service = if n % 2 == 0 { HTTPS } else { Service::ALL };
        g.question(&Question { service, ..ask(n) }, u64::from(n));
    }
    assert!(g.counters().get(ExpiredBlamedResolver) > 100);
    assert!(g.reservations() <= 64);
}

//! Sessions at addresses of the circular pool: what the halves become, who must not be overwritten, and that all is told.

use super::*;
use crate::flow::{HashKey, Reporter};
use crate::nat::session::Timeouts;
use crate::nat::{NatOptions, Pool, PoolOptions};

const OUTSIDE: Realm = Realm(9);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const FIN: u8 = 1;

struct Bed {
    table: Arc<FlowTable>,
    homes: Vec<(FlowHome, NatHome)>,
    reporters: Vec<Reporter>,
    now: u32,
}

fn public(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, last)
}

fn bed(workers: usize) -> Bed {
    bed_with(workers, |nat| nat)
}

fn bed_with(workers: usize, with: impl FnOnce(Nat44) -> Nat44) -> Bed {
    let mut n = 7u64;
    let mut random = move || {
        n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        n >> 31
    };
    let options = NatOptions {
        inside: vec![Realm(1), Realm(2)],
        outside: OUTSIDE,
        untranslated: vec![],
        hairpin: true,
        inbound_sessions_per_mapping: 3,
        sessions_per_subscriber: 1000,
        new_sessions_per_second: 0,
        timeouts: Timeouts::default(),
        pcp: None,
        mappings: 4000,
        subscribers: 1000,
    };
    let pool = Pool::new(
        PoolOptions::new("p", vec![(public(16), public(17))], vec![Realm(1), Realm(2)]),
        &mut random,
    );
    let table = Arc::new(FlowTable::new(20_000, 0, workers, HashKey::new(&mut random)));
    let (circular, _) = Circular::new(&[(public(64), public(71))]);
    let nat = Nat44::new(options, vec![pool], HashKey::new(&mut random), workers).with_circular(circular);
    let nat = Arc::new(with(nat));
    let home = |w| (FlowHome::new(table.clone()), NatHome::new(nat.clone(), w, [w as u8; 32]));
    let reporters = (0..workers).map(|w| Reporter::new(table.quiescence().clone(), w)).collect();
    Bed { homes: (0..workers).map(home).collect(), table, reporters, now: u32::MAX - 1000 }
}

impl Bed {
    fn home_of(&self, host: (Realm, Ipv4Addr)) -> usize {
        self.homes[0].1.shared().home_of_inside(host.0, host.1)
    }

    fn claim(&mut self, key: &Key4, host: (Realm, Ipv4Addr)) -> Result<Claimed, DropReason> {
        let home = self.home_of(host);
        let (flows, nat) = &mut self.homes[home];
        nat.claim(flows, key, host, self.now)
    }

    /// What a packet of that key becomes.
    fn translated(&self, key: &Key4) -> Option<Key4> {
        let (_, record) = self.table.lookup::<Record4>(key)?;
        let (w, realm) = (record.rewrite(), self.table.twin(record)?.key().realm());
        Some(Key4::from_wire(w.addresses.to_le_bytes(), w.ports.to_le_bytes(), realm, key.protocol()))
    }

    /// That there and back are each other's.
    fn goes_round(&self, key: &Key4, host: (Realm, Ipv4Addr)) -> Key4 {
        let inside = self.translated(key).expect("a session");
        assert_eq!((inside.realm(), inside.destination()), host);
        assert_eq!(self.translated(&inside.reversed(host.0)), Some(key.reversed(OUTSIDE)));
        inside
    }

    fn told(&mut self, home: usize) -> Vec<SessionEvent> {
        let mut told = vec![];
        self.homes[home].1.tell_of_claims(|event| {
            told.push(event);
            true
        });
        told
    }

    fn sweep(&mut self) -> usize {
        let now = self.now;
        self.reporters.iter().for_each(Reporter::quiescent);
        self.homes.iter_mut().map(|(flows, nat)| nat.sweep(flows, 1 << 16, now)).sum()
    }

    /// Both sides have sent FIN.
    fn close(&self, key: &Key4) {
        let (_, back) = self.table.lookup::<Record4>(key).expect("a session");
        [back, self.table.twin(back).expect("both")].iter().for_each(|half| half.common().saw_tcp(FIN));
    }
}

fn key(protocol: Protocol, client_port: u16, public_last: u8, port: u16) -> Key4 {
    Key4::new(OUTSIDE, protocol, (CLIENT, client_port), (public(public_last), port))
}

#[test]
fn there_and_back_with_the_same_ports_and_told_of_twice() {
    let mut b = bed(1);
    for (protocol, ports) in
        [(Protocol::Tcp, (5000, 443)), (Protocol::Udp, (5000, 53)), (Protocol::Icmp, (7, 7))]
    {
        let k = key(protocol, ports.0, 64, ports.1);
        assert!(b.claim(&k, (Realm(1), HOST)).expect("room").is_new);
        let inside = b.goes_round(&k, (Realm(1), HOST));
        assert_eq!(
            (inside.source(), inside.source_port(), inside.destination_port()),
            (CLIENT, ports.0, ports.1)
        );
        assert_eq!(b.told(0), [SessionEvent::Began(k)]);
        let again = b.claim(&k, (Realm(1), HOST)).expect("it is there");
        assert!(!again.is_new && b.told(0).is_empty(), "once");
    }
    assert_eq!(b.homes[0].1.population(), (0, 0), "no mapping, no subscriber");
    b.now = b.now.wrapping_add(300_001);
    assert_eq!(b.sweep(), 3);
    let ended = b.told(0);
    assert!(
        ended.len() == 3 && ended.iter().all(|event| matches!(event, SessionEvent::Ended(_))),
        "{ended:?}"
    );
    assert_eq!(b.homes[0].1.untranslated_sessions(), 0);
}

/// Inside, packets to that address go to somebody else.
#[test]
fn nobody_comes_as_a_proxy_address() {
    let (proxies, _) =
        crate::flow::Proxies::new(vec![(Realm(1), vec![(CLIENT, CLIENT)])], HashKey::new(|| 7));
    let mut b = bed_with(1, |nat| nat.with_proxies(proxies));
    let k = key(Protocol::Tcp, 5000, 64, 443);
    assert_eq!(b.claim(&k, (Realm(1), HOST)).err(), Some(DropReason::Ipv4SourceInvalid));
    b.claim(&k, (Realm(2), HOST)).expect("of another realm it is none");
}

#[test]
fn hosts_of_the_same_address_in_two_realms_are_two() {
    let mut b = bed(2);
    let keys = [key(Protocol::Tcp, 5000, 64, 443), key(Protocol::Tcp, 5000, 65, 443)];
    for (k, realm) in keys.iter().zip([Realm(1), Realm(2)]) {
        b.claim(k, (realm, HOST)).expect("room");
        assert_eq!(b.goes_round(k, (realm, HOST)).source(), CLIENT, "no collision");
    }
}

#[test]
fn one_client_socket_by_many_addresses_to_one_port_of_a_host() {
    let mut b = bed(1);
    let mut seen = std::collections::HashSet::new();
    let keys: Vec<Key4> = (64..72).map(|last| key(Protocol::Tcp, 5000, last, 443)).collect();
    for k in &keys {
        b.claim(k, (Realm(1), HOST)).expect("a client of its own");
        assert!(seen.insert(b.goes_round(k, (Realm(1), HOST))), "a live session was overwritten");
    }
    // The same address by its own name, whose port is taken by another's client: any that is free.
    let own = Key4::new(OUTSIDE, Protocol::Tcp, (public(64), 5001), (public(64), 443));
    let others = Key4::new(OUTSIDE, Protocol::Tcp, (CLIENT, 5001), (public(65), 443));
    let third = Key4::new(OUTSIDE, Protocol::Tcp, (CLIENT, 5001), (public(64), 443));
    for k in [own, others, third] {
        b.claim(&k, (Realm(1), HOST)).expect("a client of its own");
        assert!(seen.insert(b.goes_round(&k, (Realm(1), HOST))));
    }
    assert!(keys.iter().all(|k| seen.contains(&b.goes_round(k, (Realm(1), HOST)))), "all live on");

    // An echo has its identifier, and no other.
    let echo = |client, last| Key4::new(OUTSIDE, Protocol::Icmp, (client, 7), (public(last), 7));
    for k in [echo(CLIENT, 64), echo(public(65), 64)] {
        b.claim(&k, (Realm(1), HOST)).expect("free");
    }
    assert_eq!(b.claim(&echo(CLIENT, 65), (Realm(1), HOST)).err(), Some(DropReason::PrgwCollision));
}

#[test]
fn a_live_session_is_not_overwritten_by_another_hosts_claim() {
    let mut b = bed(2);
    let k = key(Protocol::Tcp, 5000, 64, 443);
    let first = b.claim(&k, (Realm(1), HOST)).expect("room");
    for host in (3..40).map(|last| (Realm(2), Ipv4Addr::new(10, 0, 0, last))) {
        let claimed = b.claim(&k, host).expect("that one's");
        assert!(!claimed.is_new && claimed.session == first.session);
        b.goes_round(&k, (Realm(1), HOST));
    }
}

#[test]
fn a_closing_session_gives_way_where_it_is_known() {
    let mut b = bed(2);
    let old = (Realm(1), HOST);
    let hosts: Vec<_> = (3..40).map(|last| (Realm(2), Ipv4Addr::new(10, 0, 0, last))).collect();
    let (here, there): (Vec<_>, Vec<_>) =
        hosts.into_iter().partition(|host| b.home_of(*host) == b.home_of(old));
    let home = b.home_of(old);
    let k = key(Protocol::Tcp, 5000, 64, 443);
    b.claim(&k, old).expect("room");
    b.close(&k);
    b.told(home);

    // Elsewhere it is known, and not to be touched, until its own home has let it go.
    assert_eq!(b.claim(&k, there[0]).err(), Some(DropReason::PrgwClosing));
    let now = b.now;
    let elsewhere = 1 - home;
    let (flows, nat) = &mut b.homes[elsewhere];
    assert!(!nat.release(flows, &k, now), "it is none of its own");
    let (flows, nat) = &mut b.homes[home];
    assert!(nat.release(flows, &k, now) && !nat.release(flows, &k, now), "once");
    assert_eq!(b.told(home), [SessionEvent::Ended(k)]);
    assert!(b.claim(&k, there[0]).expect("room").is_new);
    b.goes_round(&k, there[0]);

    // What lives is not let go.
    let (flows, nat) = &mut b.homes[elsewhere];
    assert!(!nat.release(flows, &k, now));
    b.close(&k);
    b.told(elsewhere);
    let (flows, nat) = &mut b.homes[elsewhere];
    assert!(nat.release(flows, &k, now));

    // At one home it is one step.
    b.claim(&k, old).expect("room");
    b.close(&k);
    let claimed = b.claim(&k, here[0]).expect("its place");
    assert!(claimed.is_new && claimed.replaced);
    b.goes_round(&k, here[0]);
    assert_eq!(b.told(home), [SessionEvent::Began(k), SessionEvent::Ended(k), SessionEvent::Began(k)]);
}

#[test]
fn what_cannot_be_told_does_not_happen() {
    let mut b = bed(1);
    let mut made = 0;
    let refused = loop {
        match b.claim(&key(Protocol::Udp, 1024 + made, 64, 53), (Realm(1), HOST)) {
            Ok(_) => made += 1,
            Err(why) => break why,
        }
        assert!(usize::from(made) <= EVENTS);
    };
    assert_eq!(refused, DropReason::PrgwEventsFull);
    b.now = b.now.wrapping_add(300_001);
    assert_eq!(b.sweep(), 0, "they stay until their ends can be told");
    let mut balance = i32::from(made);
    for _ in 0..200 {
        for event in b.told(0) {
            balance -= i32::from(matches!(event, SessionEvent::Ended(_)));
        }
        b.sweep();
    }
    assert_eq!((balance, b.table.sessions::<Record4>().count()), (0, 0));
}

#[test]
fn a_host_may_not_pretend_to_be_the_pool_where_nobody_is_translated() {
    let b = bed(1);
    let nat = b.homes[0].1.shared();
    assert!(nat.contains(public(64)) && nat.pool_of(public(64)).is_none() && !nat.contains(public(72)));
    assert_eq!((nat.circular_number(public(71)), nat.waits(public(71))), (Some(7), false));
}

//! Each life time, at its edge; and whose packets count.

use super::*;
use crate::flow::{Action, FlowHome, FlowTable, Half, HashKey, Key4, Realm, Rewrite4};
use std::net::Ipv4Addr;

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
const FIN: u8 = 1;

/// A session, made at 0: its half from the inside and its half from the outside.
struct Session {
    table: Arc<FlowTable>,
    inside: Key4,
    from_outside: bool,
}

impl Session {
    fn new(protocol: Protocol, remote_port: u16, from_outside: bool) -> Self {
        let table = Arc::new(FlowTable::new(64, 0, 1, HashKey::new(|| 7)));
        let ends = ((Ipv4Addr::new(10, 0, 0, 2), 1), (Ipv4Addr::new(192, 0, 2, 1), remote_port));
        let inside = Key4::new(Realm(1), protocol, ends.0, ends.1);
        let public = Key4::new(Realm(2), protocol, ends.1, (Ipv4Addr::new(203, 0, 113, 1), 2000));
        let half = |key, action| Half { key, rewrite: Rewrite4::default(), action };
        let out = half(inside, Action::FORWARD.with(Action::OUTBOUND));
        let back = half(public, Action::FORWARD);
        let (a, b) = if from_outside { (back, out) } else { (out, back) };
        FlowHome::new(table.clone()).create::<Record4>(&a, &b, 0).expect("there is room");
        Session { table, inside, from_outside }
    }

    fn halves(&self) -> (&Record4, &Record4) {
        let (_, out) = self.table.lookup::<Record4>(&self.inside).expect("it lives");
        (out, self.table.twin(out).expect("it has two halves"))
    }

    fn outbound(&self, flags: u8, now: u32) -> &Self {
        self.halves().0.common().count(64, now);
        self.halves().0.common().saw_tcp(flags);
        self
    }

    fn inbound(&self, flags: u8, now: u32) -> &Self {
        self.halves().1.common().count(64, now);
        self.halves().1.common().saw_tcp(flags);
        self
    }

    /// It lives until this moment, and no longer.
    fn ends_at(&self, timeouts: &Timeouts, end: u32) {
        let (out, back) = self.halves();
        let (a, b) = if self.from_outside { (back, out) } else { (out, back) };
        assert!(!timeouts.is_over(a, b, end), "it is over before {end}");
        assert!(timeouts.is_over(a, b, end + 1), "it outlives {end}");
    }
}

fn timeouts() -> Timeouts {
    Timeouts { tcp_opening: 30_000, tcp_transitory: 250_000, ..Timeouts::default() }
}

#[test]
fn tcp_has_a_time_for_each_state() {
    let s = Session::new(Protocol::Tcp, 80, false);
    s.outbound(SYN, 1000).ends_at(&timeouts(), 31_000);
    s.inbound(SYN | ACK, 2000).ends_at(&timeouts(), 32_000);
    s.outbound(ACK, 3000).ends_at(&timeouts(), 3000 + 7_440_000);
    s.inbound(FIN, 4000).ends_at(&timeouts(), 4000 + 7_440_000);
    s.outbound(FIN, 5000).ends_at(&timeouts(), 5000 + 250_000);
    s.inbound(ACK, 6000).ends_at(&timeouts(), 6000 + 250_000);
}

#[test]
fn the_defaults_are_those_of_the_rfcs() {
    let default = Timeouts::default();
    Session::new(Protocol::Tcp, 80, false).outbound(SYN, 0).ends_at(&default, 240_000);
    Session::new(Protocol::Udp, 53, false).outbound(0, 0).ends_at(&default, 300_000);
    Session::new(Protocol::Icmp, 80, false).outbound(0, 0).ends_at(&default, 60_000);
    assert_eq!((default.tcp_established, default.tcp_transitory), (7_440_000, 240_000));
}

#[test]
fn udp_inbound_refreshes_only_where_it_may() {
    let may = Timeouts { udp_inbound_refresh: true, ..timeouts() };
    let s = Session::new(Protocol::Udp, 9999, false);
    s.outbound(0, 1000).inbound(0, 200_000);
    s.ends_at(&timeouts(), 301_000);
    s.ends_at(&may, 500_000);
    // ICMP is no UDP.
    Session::new(Protocol::Icmp, 9999, false).outbound(0, 1000).inbound(0, 50_000).ends_at(&may, 61_000);
}

#[test]
fn a_stranger_whom_nobody_answers_refreshes_nothing() {
    let may = Timeouts { udp_inbound_refresh: true, ..timeouts() };
    let s = Session::new(Protocol::Udp, 9999, true);
    s.inbound(0, 200_000).ends_at(&may, 300_000);
    s.outbound(0, 210_000).inbound(0, 220_000).ends_at(&may, 520_000);

    let s = Session::new(Protocol::Tcp, 9999, true);
    s.inbound(SYN, 20_000).ends_at(&timeouts(), 30_000);
    s.outbound(SYN | ACK, 25_000).ends_at(&timeouts(), 55_000);
    // A reset is no answer: it is counted by whoever believes it, and here was none.
    let s = Session::new(Protocol::Tcp, 9999, true);
    s.inbound(SYN, 20_000);
    s.halves().0.common().count_quietly(64);
    s.halves().0.common().saw_tcp(RST);
    s.ends_at(&timeouts(), 250_000);
}

#[test]
fn udp_ports_have_their_own_time() {
    let own = Timeouts { udp_ports: Arc::new([(53, 20_000), (123, 30_000), (4500, 900_000)]), ..timeouts() };
    for (port, end) in [(53, 20_000), (123, 30_000), (4500, 900_000), (52, 300_000), (54, 300_000)] {
        Session::new(Protocol::Udp, port, false).outbound(0, 0).ends_at(&own, end);
    }
    // It is the port that was asked for: not the stranger's own, and TCP has none.
    Session::new(Protocol::Udp, 53, true).inbound(0, 0).ends_at(&own, 300_000);
    Session::new(Protocol::Tcp, 53, false).outbound(SYN, 0).ends_at(&own, 30_000);
}

//! The rules of [`super`], one by one, and all together against a model with sequence numbers of 64 bits.

use super::*;
use crate::flow::record::Record;
use crate::flow::{Action, FlowHome, FlowTable, Half, HashKey, Key4, Protocol, Realm, Record4, Rewrite4};
use TcpState::{Closing, Established, Opening};
use proptest::prelude::*;
use std::net::Ipv4Addr;
use std::sync::Arc;

const FIN_ACK: u8 = FIN | ACK;
const SYN_ACK: u8 = SYN | ACK;
const RST_ACK: u8 = RST | ACK;

/// A session of the real table, opened by the inside.
struct Bed {
    table: Arc<FlowTable>,
    home: FlowHome,
    inside: Key4,
}

/// Who sends.
const INSIDE: usize = 0;
const OUTSIDE: usize = 1;

impl Bed {
    fn new(from_outside: bool) -> Self {
        let mut seed = 1u64;
        let hash = HashKey::new(|| {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            seed
        });
        let table = Arc::new(FlowTable::new(64, 0, 1, hash));
        let ends = ((Ipv4Addr::new(10, 0, 0, 2), 1), (Ipv4Addr::new(192, 0, 2, 1), 80));
        let inside = Key4::new(Realm(1), Protocol::Tcp, ends.0, ends.1);
        let mut bed = Bed { home: FlowHome::new(table.clone()), table, inside };
        bed.create(from_outside);
        bed
    }

    fn create(&mut self, from_outside: bool) {
        let half = |key, action| Half { key, rewrite: Rewrite4::default(), action };
        let out = half(self.inside, Action::FORWARD.with(Action::OUTBOUND));
        let back = half(self.inside.reversed(Realm(2)), Action::FORWARD);
        let (a, b) = if from_outside { (back, out) } else { (out, back) };
        self.home.create::<Record4>(&a, &b, 0).expect("there is room");
    }

    fn record(&self, who: usize) -> &Record4 {
        let key = if who == INSIDE { self.inside } else { self.inside.reversed(Realm(2)) };
        self.table.lookup::<Record4>(&key).expect("the session lives").1
    }

    fn state(&self) -> TcpState {
        let flags = |who| self.record(who).common().tcp_flags();
        TcpState::of(flags(INSIDE), flags(OUTSIDE))
    }

    /// Whether the segment refreshes the session, and the state afterwards.
    fn send(&self, who: usize, segment: Segment) -> (bool, TcpState) {
        (self.table.pass_segment(self.record(who), &segment), self.state())
    }
}

fn segment(flags: u8, sequence: u32, acknowledgement: u32) -> Segment {
    Segment { flags, sequence, acknowledgement, window: 1000, window_scale: None, payload: 0 }
}

/// The inside has sent up to 100, the outside up to 5,000; each takes 1,000 bytes from there on.
fn established() -> Bed {
    let bed = Bed::new(false);
    assert_eq!(bed.send(INSIDE, segment(SYN, 99, 0)), (true, Opening));
    assert_eq!(bed.send(OUTSIDE, segment(SYN_ACK, 4999, 100)), (true, Opening));
    assert_eq!(bed.send(INSIDE, segment(ACK, 100, 5000)), (true, Established));
    bed
}

#[test]
fn a_reset_is_believed_in_the_window_and_nowhere_else() {
    for (who, first) in [(OUTSIDE, 5000), (INSIDE, 100)] {
        for (offset, believed) in [(0, true), (1, true), (999, true), (1000, false), (-1, false)] {
            let bed = established();
            let reset = segment(RST, (first + offset) as u32, 0);
            let state = if believed { Closing } else { Established };
            assert_eq!(bed.send(who, reset), (believed, state), "{who} {offset}");
        }
    }
}

#[test]
fn a_closed_window_takes_the_very_next_byte() {
    let bed = established();
    bed.send(INSIDE, Segment { window: 0, ..segment(ACK, 100, 6000) });
    assert_eq!(bed.send(OUTSIDE, segment(RST, 6001, 0)), (false, Established));
    assert_eq!(bed.send(OUTSIDE, segment(RST, 5999, 0)), (false, Established));
    assert_eq!(bed.send(OUTSIDE, segment(RST, 6000, 0)), (true, Closing));
}

/// (scale of the inside, of the outside, factor of the inside's window)
#[test]
fn windows_are_scaled_if_both_agree() {
    for (inside, outside, factor) in [
        (None, None, 1),
        (Some(3), None, 1),
        (None, Some(3), 1),
        (Some(3), Some(0), 8),
        (Some(200), Some(1), 1 << 14),
    ] {
        for (beyond, believed) in [(-1, true), (0, false)] {
            let bed = Bed::new(false);
            bed.send(INSIDE, Segment { window_scale: inside, ..segment(SYN, 99, 0) });
            bed.send(OUTSIDE, Segment { window_scale: outside, ..segment(SYN_ACK, 4999, 100) });
            bed.send(INSIDE, segment(ACK, 100, 5000));
            let (believed_now, _) =
                bed.send(OUTSIDE, segment(RST, (5000 + 1000 * factor + beyond) as u32, 0));
            assert_eq!(believed_now, believed, "{inside:?} {outside:?} {beyond}");
        }
    }
}

#[test]
fn the_window_of_a_syn_is_never_scaled() {
    let bed = Bed::new(false);
    bed.send(INSIDE, Segment { window_scale: Some(7), ..segment(SYN, 99, 0) });
    bed.send(OUTSIDE, Segment { window_scale: Some(7), ..segment(SYN_ACK, 4999, 100) });
    assert_eq!(bed.send(INSIDE, segment(RST, 1100, 0)), (false, Opening));
    assert_eq!(bed.send(INSIDE, segment(RST, 1099, 0)).1, Closing);
}

#[test]
fn what_the_fast_path_stores_is_what_the_slow_path_does() {
    let (fast, slow) = (Window::silent(), Window::silent());
    for window in [&fast, &slow] {
        window.synchronize(&Segment { window_scale: Some(9), ..segment(SYN, 1, 0) });
    }
    // From a header: acknowledgement, data offset and flags (all of them), window.
    fast.acknowledge([0x12, 0x34, 0x56, 0x78, 0xff, 0xff, 0xab, 0xcd]);
    slow.acknowledge([0x12, 0x34, 0x56, 0x78, 0, 0, 0xab, 0xcd]);
    let said = fast.said();
    assert_eq!(said.word(), slow.said().word());
    assert_eq!((said.acknowledgement, said.window, said.scale), (0x1234_5678, 0xabcd, 10));
    assert_eq!(said.phase, Phase::Acknowledging);
}

#[test]
fn a_refused_syn_is_believed_by_what_it_acknowledges() {
    for (flags, acknowledgement, believed) in
        [(RST_ACK, 100, true), (RST_ACK, 99, false), (RST_ACK, 101, false), (RST, 100, false)]
    {
        let bed = Bed::new(false);
        bed.send(INSIDE, segment(SYN, 99, 0));
        let state = if believed { Closing } else { Opening };
        assert_eq!(bed.send(OUTSIDE, segment(flags, 0, acknowledgement)), (believed, state));
    }
    // RFC 7413: data in the SYN, acknowledged or not.
    for (acknowledgement, believed) in [(99, false), (100, true), (110, true), (111, false)] {
        let bed = Bed::new(false);
        bed.send(INSIDE, Segment { payload: 10, ..segment(SYN, 99, 0) });
        assert_eq!(bed.send(OUTSIDE, segment(RST_ACK, 0, acknowledgement)).0, believed);
    }
}

#[test]
fn who_opened_may_take_it_back() {
    for (sequence, state) in [(100, Closing), (101, Opening), (99, Opening)] {
        let bed = Bed::new(false);
        bed.send(INSIDE, segment(SYN, 99, 0));
        // It goes out of a session that was only being opened: no reason to keep that.
        assert_eq!(bed.send(INSIDE, segment(RST, sequence, 0)), (false, state));
    }
}

#[test]
fn a_reset_before_anything_else_leaves_no_mark() {
    let bed = Bed::new(false);
    assert_eq!(bed.send(OUTSIDE, segment(RST_ACK, 0, 0)), (false, Opening));
    assert_eq!(bed.send(INSIDE, segment(RST, 0, 0)), (false, Opening));
    assert_eq!(bed.record(INSIDE).common().tcp_flags() | bed.record(OUTSIDE).common().tcp_flags(), 0);
}

#[test]
fn a_simultaneous_open_is_an_open() {
    let bed = Bed::new(false);
    assert_eq!(bed.send(INSIDE, segment(SYN, 99, 0)), (true, Opening));
    assert_eq!(bed.send(OUTSIDE, segment(SYN, 4999, 0)), (true, Opening));
    assert_eq!(bed.send(OUTSIDE, segment(SYN_ACK, 4999, 100)), (true, Opening));
    assert_eq!(bed.send(INSIDE, segment(SYN_ACK, 99, 5000)), (true, Established));
    // And its resets are judged by both windows.
    assert_eq!(bed.send(OUTSIDE, segment(RST, 6000, 0)), (false, Established));
    assert_eq!(bed.send(OUTSIDE, segment(RST, 5999, 0)), (true, Closing));
    // In its midst they are known by either SYN.
    for reset in [segment(RST, 5000, 0), segment(RST_ACK, 0, 100)] {
        let bed = Bed::new(false);
        bed.send(INSIDE, segment(SYN, 99, 0));
        bed.send(OUTSIDE, segment(SYN, 4999, 0));
        assert_eq!(bed.send(OUTSIDE, Segment { sequence: 7, ..reset }).1 == Closing, reset.flags == RST_ACK);
        assert_eq!(bed.send(OUTSIDE, reset).1, Closing);
    }
}

#[test]
fn a_syn_on_an_established_session_changes_nothing() {
    for (who, flags) in [(INSIDE, SYN), (OUTSIDE, SYN), (INSIDE, SYN_ACK), (OUTSIDE, SYN_ACK)] {
        let bed = established();
        assert_eq!(bed.send(who, segment(flags, 777_777, 888_888)), (false, Established));
        // Nor the windows.
        assert_eq!(bed.send(INSIDE, segment(RST, 888_888, 0)), (false, Established));
        assert_eq!(bed.send(OUTSIDE, segment(RST, 888_888, 0)), (false, Established));
        assert_eq!(bed.send(OUTSIDE, segment(RST, 5000, 0)), (true, Closing));
    }
}

fn closed_by_fin() -> Bed {
    let bed = established();
    assert_eq!(bed.send(INSIDE, segment(FIN_ACK, 100, 5000)), (true, Established), "half closed");
    assert_eq!(bed.send(OUTSIDE, segment(FIN_ACK, 5000, 101)), (true, Closing));
    bed
}

fn closed_by_reset() -> Bed {
    let bed = established();
    assert_eq!(bed.send(OUTSIDE, segment(RST_ACK, 5000, 100)), (true, Closing));
    bed
}

#[test]
fn a_syn_on_a_closing_session_opens_it_anew_from_either_side() {
    for closed in [closed_by_fin, closed_by_reset] {
        for (opener, other) in [(INSIDE, OUTSIDE), (OUTSIDE, INSIDE)] {
            let bed = closed();
            assert_eq!(bed.send(other, segment(SYN_ACK, 1, 1)), (false, Closing), "it answers nothing");
            assert_eq!(bed.send(opener, segment(SYN, 1_000_000, 0)), (true, Opening));
            // What was said before is forgotten.
            assert_eq!(bed.send(opener, segment(RST, 100, 0)), (false, Opening));
            assert_eq!(bed.send(other, segment(RST, 5000, 0)), (false, Opening));
            assert_eq!(bed.send(other, segment(SYN_ACK, 2_000_000, 1_000_001)), (true, Opening));
            assert_eq!(bed.send(opener, segment(ACK, 1_000_001, 2_000_001)), (true, Established));
            assert_eq!(bed.send(other, segment(RST, 2_000_001, 0)), (true, Closing));
        }
    }
}

#[test]
fn a_repeated_reset_refreshes_nothing() {
    let bed = closed_by_reset();
    assert_eq!(bed.send(OUTSIDE, segment(RST, 5000, 0)), (false, Closing));
    assert_eq!(bed.send(INSIDE, segment(RST, 100, 0)), (false, Closing));
    let bed = closed_by_fin();
    assert_eq!(bed.send(INSIDE, segment(RST, 101, 0)), (false, Closing));
}

#[test]
fn a_connection_that_survives_its_reset_is_established_again() {
    let bed = closed_by_reset();
    assert_eq!(bed.send(INSIDE, segment(ACK, 100, 5000)), (true, Closing), "one side alone proves nothing");
    assert_eq!(bed.send(INSIDE, segment(ACK, 101, 5000)), (true, Closing));
    assert_eq!(bed.send(OUTSIDE, segment(RST_ACK, 5000, 100)), (false, Closing), "nor an answer that resets");
    assert_eq!(bed.send(OUTSIDE, segment(ACK, 5000, 102)), (true, Closing), "after that both must go on");
    assert_eq!(bed.send(INSIDE, segment(ACK, 102, 5001)), (true, Established));
    assert_eq!(bed.send(OUTSIDE, segment(RST, 5001, 0)), (true, Closing));
}

#[test]
fn an_outbound_reset_refuses_a_stranger_without_a_refresh() {
    let bed = Bed::new(true);
    bed.send(OUTSIDE, segment(SYN, 4999, 0));
    assert_eq!(bed.send(INSIDE, segment(RST_ACK, 0, 5000)), (false, Closing));
    let bed = Bed::new(false);
    bed.send(INSIDE, segment(SYN, 99, 0));
    assert_eq!(bed.send(OUTSIDE, segment(RST_ACK, 0, 100)), (true, Closing), "four minutes from here");
}

#[test]
fn a_record_that_is_used_again_has_forgotten_its_window() {
    let mut bed = established();
    let reporter = crate::flow::Reporter::new(bed.table.quiescence().clone(), 0);
    let before = bed.record(INSIDE) as *const Record4;
    struct Over;
    impl crate::flow::Judge<Record4> for Over {
        fn is_over(&mut self, _: &Record4, _: &Record4, _: u32) -> bool {
            true
        }
        fn removed(&mut self, _: &Record4, _: &Record4) {}
    }
    assert_eq!(bed.home.sweep(1000, 0, &mut Over), 1);
    reporter.quiescent();
    bed.home.reclaim();
    bed.create(false);
    let halves = [INSIDE, OUTSIDE].map(|who| bed.record(who) as *const Record4);
    assert!(halves.contains(&before), "the record is used again");
    assert_eq!(bed.send(OUTSIDE, segment(RST, 5000, 0)), (false, Opening));
    assert_eq!(bed.send(INSIDE, segment(RST, 100, 0)), (false, Opening));
}

/// One end of the model: what it has told its peer.
#[derive(Clone, Default, Debug)]
struct End {
    has_sent_syn: bool,
    /// Of the last SYN: its number, its data, and the scale that it offers.
    syn: (u64, u64, Option<u8>),
    /// Acknowledgement, window as it stands there, and whether that may be scaled.
    said: Option<(u64, u64, bool)>,
    fin: bool,
    /// Has sent ACK since the last believed reset.
    goes_on: bool,
}

#[derive(Clone, Default, Debug)]
struct Model {
    ends: [End; 2],
    was_reset: bool,
}

const ROUND: u64 = 1 << 32;

/// How far `number` is ahead of `from`, going round.
fn ahead(number: u64, from: u64) -> u64 {
    (number + ROUND - from % ROUND) % ROUND
}

impl Model {
    fn state(&self) -> TcpState {
        let all = |of: fn(&End) -> bool| self.ends.iter().all(of);
        if all(|e| e.fin) || (self.was_reset && !all(|e| e.goes_on)) {
            Closing
        } else if all(|e| e.has_sent_syn && e.goes_on) {
            Established
        } else {
            Opening
        }
    }

    fn window(&self, who: usize) -> Option<(u64, u64)> {
        let (start, window, may_scale) = self.ends[who].said?;
        let scales = self.ends[who].syn.2.zip(self.ends[1 - who].syn.2).filter(|_| may_scale);
        let factor = scales.map_or(1, |(own, _)| 1u64 << own.min(14));
        Some((start, (window * factor).max(1)))
    }

    fn believes(&self, who: usize, s: &Segment) -> bool {
        if let Some((start, length)) = self.window(1 - who) {
            return ahead(s.sequence.into(), start) < length;
        }
        let opened_up_to = |end: &End, number: u32| {
            end.has_sent_syn && end.said.is_none() && ahead(number.into(), end.syn.0 + 1) <= end.syn.1
        };
        (s.flags & ACK != 0 && opened_up_to(&self.ends[1 - who], s.acknowledgement))
            || opened_up_to(&self.ends[who], s.sequence)
    }

    fn send(&mut self, who: usize, s: &Segment) -> bool {
        let before = self.state();
        let (syn, ack) = (s.flags & SYN != 0, s.flags & ACK != 0);
        if s.flags & RST != 0 {
            let believed = self.believes(who, s);
            if believed {
                self.was_reset = true;
                self.ends.iter_mut().for_each(|e| e.goes_on = false);
            }
            return believed && (before == Established || (before == Opening && who == OUTSIDE));
        }
        if syn && (before == Established || (before == Closing && ack)) {
            return false;
        }
        if syn && before == Closing {
            *self = Model::default();
        }
        let end = &mut self.ends[who];
        if syn {
            end.has_sent_syn = true;
            end.syn = (s.sequence.into(), s.payload.into(), s.window_scale);
            end.said = None;
        }
        if ack {
            end.said = Some((s.acknowledgement.into(), s.window.into(), !syn));
            end.goes_on = true;
        }
        end.fin |= s.flags & FIN != 0;
        true
    }
}

/// A number near one that matters, or any.
#[derive(Clone, Debug)]
enum Near {
    WindowStart(i8),
    WindowEnd(i8),
    OwnSyn(i8),
    OtherSyn(i8),
    Any(u32),
}

impl Near {
    fn number(&self, model: &Model, who: usize) -> u32 {
        let (start, length) = model.window(1 - who).unwrap_or((0, 1));
        let (base, offset) = match *self {
            Near::WindowStart(o) => (start, o),
            Near::WindowEnd(o) => (start + length, o),
            Near::OwnSyn(o) => (model.ends[who].syn.0, o),
            Near::OtherSyn(o) => (model.ends[1 - who].syn.0, o),
            Near::Any(n) => (u64::from(n), 0),
        };
        (base as u32).wrapping_add_signed(offset.into())
    }
}

fn near() -> impl Strategy<Value = Near> {
    prop_oneof![
        3 => (-2i8..3).prop_map(Near::WindowStart),
        3 => (-2i8..3).prop_map(Near::WindowEnd),
        2 => (-1i8..4).prop_map(Near::OwnSyn),
        2 => (-1i8..4).prop_map(Near::OtherSyn),
        1 => prop_oneof![any::<u32>(), (u32::MAX - 3)..=u32::MAX].prop_map(Near::Any),
    ]
}

fn flags() -> impl Strategy<Value = u8> {
    prop_oneof![
        3 => Just(SYN), 3 => Just(SYN_ACK), 6 => Just(ACK), 2 => Just(FIN_ACK), 4 => Just(RST), 3 => Just(RST_ACK),
        1 => Just(8u8), // PSH alone
    ]
}

fn window() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0), Just(1), Just(1000), Just(u16::MAX), any::<u16>()]
}

type Op = (usize, u8, Near, Near, u16, Option<u8>, u16);

fn op() -> impl Strategy<Value = Op> {
    let scale = prop::option::of(0u8..17);
    (0usize..2, flags(), near(), near(), window(), scale, 0u16..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Any segments from both sides, their numbers near the edges that matter: state and refresh are the model's after each.
    /// So a reset out of the window never changes the verdict, and one inside it does.
    #[test]
    fn it_is_what_the_model_says(from_outside: bool, ops in prop::collection::vec(op(), 1..60)) {
        let (bed, mut model) = (Bed::new(from_outside), Model::default());
        for (who, flags, sequence, acknowledgement, window, window_scale, payload) in ops {
            let segment = Segment {
                flags,
                sequence: sequence.number(&model, who),
                acknowledgement: acknowledgement.number(&model, who),
                window,
                window_scale: window_scale.filter(|_| flags & SYN != 0),
                payload,
            };
            let before = model.state();
            let believed = flags & RST != 0 && model.believes(who, &segment);
            let refreshes = model.send(who, &segment);
            prop_assert_eq!(bed.send(who, segment), (refreshes, model.state()), "{:?} {:?}", &segment, &model);
            if flags & RST != 0 {
                prop_assert_eq!(model.state(), if believed { Closing } else { before });
            }
        }
    }
}

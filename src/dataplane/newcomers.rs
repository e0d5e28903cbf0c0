//! What of a burst is no common packet of a session goes the slow way, one packet at a time. But those that open sessions do so
//! together: what they will touch in memory is asked for ahead, for all of them, so that a burst of newcomers waits once.
//!
//! ```text
//! odd packets ─► foresee ─► judge, in order ─┬─► open their sessions, in order ─► act
//!                (three steps over all)      └─► anything else: done at once
//! ```
//!
//! Packets of one flow stay in order among themselves.

use super::classify::{self, Ingress};
use super::core::Core;
use super::depart;
use super::errors;
use super::slow::{self, Arrival, Verdict};
use super::world::World;
use crate::dpdk::{BURST, Burst, Mbuf};
use crate::flow::record::Record;
use crate::flow::{Key4, Record4};
use crate::nat::{NatHome, Opening};
use crate::packet::build::IcmpError;
use crate::packet::{DropReason, Ipv4};
use arrayvec::ArrayVec;

/// Takes the odd packets of a burst the slow way. `ingress` says how each came in.
pub fn receive<'l>(core: &mut Core, world: &World, odd: &mut Burst, ingress: impl Fn(&Mbuf) -> &'l Ingress) {
    if odd.len() > 1 {
        foresee(core, world, odd, &ingress);
    }
    let mut newcomers = ArrayVec::<(Mbuf, Arrival, Verdict<'_>), BURST>::new();
    for mut mbuf in odd.drain(..) {
        let arrival = Arrival::on(ingress(&mbuf));
        match slow::judge(core, world, &mut mbuf, arrival).into() {
            verdict @ Verdict::Open { .. } => newcomers.push((mbuf, arrival, verdict)),
            verdict => slow::carry_out(core, world, mbuf, arrival, verdict),
        }
    }
    for (mbuf, arrival, verdict) in newcomers {
        slow::carry_out(core, world, mbuf, arrival, verdict);
    }
}

/// Not inlined: two loops over the keys, in registers of their own.
#[inline(never)]
fn foresee<'l>(core: &Core, world: &World, odd: &Burst, ingress: impl Fn(&Mbuf) -> &'l Ingress) {
    let Some(nat) = &core.nat else { return };
    let keys: ArrayVec<Key4, BURST> =
        odd.iter().filter_map(|mbuf| classify::key4(mbuf.data(), ingress(mbuf))).collect();
    keys.iter().for_each(|key| world.flows.foresee::<Record4>(key));
    for step in 0..NatHome::FORESIGHT {
        keys.iter().for_each(|key| nat.foresee(step, key));
    }
}

/// Opens a session that was chosen; what a subscriber may not have is answered.
pub(super) fn open<'w>(
    core: &mut Core,
    world: &'w World,
    opening: Opening,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<&'w Record4, DropReason> {
    let home = core.nat.as_mut().ok_or(DropReason::RealmNotServed)?;
    let opened = home.open(&mut core.flows, opening);
    if let Err(why) = opened
        && slow::is_refusal(why)
        && let Some(Ok(ip)) = mbuf.data().get(slow::IP..).map(Ipv4::parse_quoted)
    {
        errors::answer4(core, world, mbuf, &ip, arrival, IcmpError::AdministrativelyProhibited);
    }
    let opened = opened?;
    core.out.counters.sessions_created.add(u64::from(opened.is_new));
    let record = world.flows.get::<Record4>(opened.session).filter(|record| record.matches(opening.key()));
    let record = record.ok_or(DropReason::NoSession)?;
    if opened.is_new {
        depart::settle(core, world, record);
    }
    Ok(record)
}

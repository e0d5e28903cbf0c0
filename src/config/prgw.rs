//! The section about the circular pool of the Realm Gateway: `[prgw]`.
//!
//! Guarantees: its addresses belong to nobody else, there are translation and a host register for it to lead to, and its numbers
//! contradict neither one another nor its size. Never: reserves anything.

use std::fmt;

use ipnet::IpNet;

use super::error::{Place, Report};
use super::nat_model::{Nat44, PoolRange};
use super::nat44::{self, Surroundings};
use super::section::{Located, Section, or};
use super::values;

/// `[prgw]`: the Private Realm Gateway's pool of public addresses, which names of hosts are answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prgw {
    /// `pool`: 1 to [`Prgw::ADDRESSES_MAX`] addresses in the realm `nat44.outside`, in disjoint ranges, none of which is of a pool
    /// of `[nat44]`, of the edge, of a gateway or of a static neighbour. Required.
    pub pool: Vec<PoolRange>,
    /// `reservations`: that wait, or are overdue, at once: 64 to 4,194,304. Default 4,096, and two for each address.
    pub reservations: u32,
    /// `timeout_ms`: no reservation waits longer: 100 to 10,000 milliseconds. Default 2,000.
    pub timeout_ms: u32,
    /// `timeout_least_ms`: none waits less: 1 to `timeout_ms`. Default 200, or `timeout_ms` where that is less.
    pub timeout_least_ms: u32,
    /// `adaptive`: the time follows the measured delay from answer to first packet. Default true.
    pub adaptive: bool,
    /// `per_resolver`: reservations that may wait for one resolver: 1 to 65,536. Default half as many as there are
    /// addresses, 4 at the least. Those of one host: [`Hosts::pending_reservations`](super::Hosts).
    pub per_resolver: u32,
    /// `trusted_resolvers`: prefixes of resolvers whose word on their client's subnet (RFC 7871) is believed: it says who is to be
    /// blamed, and spares the client the look at its reputation. 0 to [`Prgw::RESOLVERS_MAX`], each once. Default: none. Whoever
    /// tells a subnet, only that subnet may claim.
    pub trusted_resolvers: Vec<IpNet>,
    /// `[[prgw.tiers]]`: what is asked for up to 33, 66 and 99 % of the addresses, and above; all four or none.
    pub tiers: [PrgwTier; 4],
    /// `good`: from this reputation on an asker is known as good: 0 to 100. Default 70.
    pub good: u8,
    /// `remembered`: resolvers, and client networks, of which a reputation is remembered: 1,024 to 16,777,216. Default 65,536.
    pub remembered: u32,
    /// `rejects`: rejected first packets that are remembered, for 20 seconds: 1,024 to 16,777,216. Default 65,536.
    pub rejects: u32,
    /// `session_pairs`: pairs of client network and pool address with sessions between them that are remembered, so that a
    /// reservation avoids them: 1,024 to 16,777,216. Default 65,536.
    pub session_pairs: u32,
    /// `first_packets_per_second`: that are looked at, of all: 1 to 10,000,000. Default 200,000.
    pub first_packets_per_second: u32,
    /// `first_packets_per_source_per_second`: of one source address: 1 to 10,000,000. Default 2,000.
    pub first_packets_per_source_per_second: u32,
}

impl Prgw {
    pub const ADDRESSES_MAX: u64 = 65_536;
    pub const RESOLVERS_MAX: usize = 64;

    /// Addresses in the pool.
    pub fn addresses(&self) -> u32 {
        self.pool.iter().map(PoolRange::count).sum::<u64>() as u32
    }
}

impl fmt::Display for Prgw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a circular pool of {} address(es)", self.addresses())
    }
}

/// What is asked for while so much of the pool is taken. Reputations are in hundredths: 45 is somebody unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrgwTier {
    /// What an asker must have shown.
    pub proof: PrgwProof,
    /// The least reputation of an asker: 0 to 100.
    pub asker: u8,
    /// The least reputation of the source of a first packet: 0 to 100.
    pub source: u8,
}

/// What an asker has to show. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrgwProof {
    /// `"nothing"`.
    Nothing,
    /// `"return-path"`: it gets what is sent to its address, by TCP or a cookie (RFC 7873).
    ReturnPath,
    /// `"label"`: it follows a CNAME to a random label.
    Label,
    /// `"label-by-tcp"`.
    LabelByTcp,
}

const PROOFS: [(&str, PrgwProof); 4] = [
    ("nothing", PrgwProof::Nothing),
    ("return-path", PrgwProof::ReturnPath),
    ("label", PrgwProof::Label),
    ("label-by-tcp", PrgwProof::LabelByTcp),
];
const TIERS: [PrgwTier; 4] = [
    PrgwTier { proof: PrgwProof::Nothing, asker: 10, source: 10 },
    PrgwTier { proof: PrgwProof::ReturnPath, asker: 30, source: 20 },
    PrgwTier { proof: PrgwProof::Label, asker: 50, source: 30 },
    PrgwTier { proof: PrgwProof::LabelByTcp, asker: 70, source: 40 },
];
const RANGES_MAX: usize = 1024;
const TABLE: std::ops::RangeInclusive<u32> = 1024..=1 << 24;

/// The section, if it is there and is right.
pub(super) fn read(
    report: &Report<'_>,
    mut section: Section<'_>,
    around: &Surroundings<'_>,
    nat44: (bool, Option<&Nat44>),
    has_hosts: bool,
) -> Option<Prgw> {
    if !section.is_written() {
        return None;
    }
    let place = section.place();
    let ranges = section.strings("pool", 1..=RANGES_MAX, values::pool_range);
    section.missing("pool", "write pool = [\"203.0.113.64/28\"]: the addresses that names are answered with");
    let reservations = section.integer("reservations", 64..=1 << 22);
    let timeout_ms = or(section.integer("timeout_ms", 100..=10_000), 2000);
    let least = section.integer("timeout_least_ms", 1..=10_000);
    let adaptive = or(section.boolean("adaptive"), true);
    let per_resolver = section.integer("per_resolver", 1..=65_536);
    let trusted_resolvers = read_trusted(report, &mut section);
    let tiers = read_tiers(report, &mut section);
    let good = or(section.integer("good", 0..=100), 70);
    let remembered = or(section.integer("remembered", TABLE), 65_536);
    let rejects = or(section.integer("rejects", TABLE), 65_536);
    let session_pairs = or(section.integer("session_pairs", TABLE), 65_536);
    let rate = 1..=10_000_000;
    let first_packets_per_second = or(section.integer("first_packets_per_second", rate.clone()), 200_000);
    let of_source = or(section.integer("first_packets_per_source_per_second", rate), 2000);
    section.finish();

    if let Some(long) = least.filter(|least| least.value > timeout_ms) {
        let message = format!("{} ms are more than timeout_ms, {timeout_ms} ms", long.value);
        report.refuse(long.place, message, format!("write {timeout_ms} or less, or a larger timeout_ms"));
    }
    needs(report, place, nat44.0, "no [nat44]", "write [nat44]: its outside realm is that of the pool");
    needs(report, place, has_hosts, "no [hosts]", "write [hosts]: the hosts that names lead to");
    let ranges = ranges?;
    if let Some(nat44) = nat44.1 {
        nat44::check_pool(report, &ranges, Some(nat44.outside), around);
        check_apart(report, &ranges, nat44);
    }
    let pool: Vec<PoolRange> = ranges.iter().map(|range| range.value).collect();
    let addresses = pool.iter().map(PoolRange::count).sum::<u64>().min(Prgw::ADDRESSES_MAX) as u32;
    Some(Prgw {
        pool,
        reservations: or(reservations, 4096 + 2 * addresses),
        timeout_ms,
        timeout_least_ms: or(least, timeout_ms.min(200)),
        adaptive,
        per_resolver: or(per_resolver, (addresses / 2).max(4)),
        trusted_resolvers,
        tiers: tiers?,
        good,
        remembered,
        rejects,
        session_pairs,
        first_packets_per_second,
        first_packets_per_source_per_second: of_source,
    })
}

fn needs(report: &Report<'_>, place: Place, is_there: bool, message: &str, hint: &str) {
    if !is_there {
        report.refuse(place, message, hint);
    }
}

/// Prefixes of resolvers that are believed.
fn read_trusted(report: &Report<'_>, section: &mut Section<'_>) -> Vec<IpNet> {
    let written = section.strings("trusted_resolvers", 0..=Prgw::RESOLVERS_MAX, values::resolvers);
    let mut trusted: Vec<IpNet> = Vec::new();
    for Located { value, place } in written.unwrap_or_default() {
        if trusted.contains(&value) {
            report.refuse(place, format!("{value} stands twice"), "remove one of the two");
        }
        trusted.push(value);
    }
    trusted
}

/// The tiers; `None` when they are wrong and that was said.
fn read_tiers(report: &Report<'_>, section: &mut Section<'_>) -> Option<[PrgwTier; 4]> {
    let place = section.place();
    let written = section.contains("tiers");
    let sections = section.tables_at("tiers", "prgw.tiers", TIERS.len())?;
    if !written {
        return Some(TIERS);
    }
    if sections.len() != TIERS.len() {
        let message = format!("{} of {} tiers", sections.len(), TIERS.len());
        let hint = "write [[prgw.tiers]] four times: up to 33, 66 and 99 % of the addresses, and above";
        report.refuse(Place { key: "tiers", ..place }, message, hint);
        return None;
    }
    let mut tiers = TIERS;
    for (mut section, tier) in sections.into_iter().zip(&mut tiers) {
        let percent = 0..=100;
        tier.proof = or(section.choice("proof", &PROOFS), tier.proof);
        tier.asker = or(section.integer("asker", percent.clone()), tier.asker);
        tier.source = or(section.integer("source", percent), tier.source);
        section.finish();
    }
    Some(tiers)
}

/// Refuses addresses that a pool of `[nat44]` has, too.
fn check_apart(report: &Report<'_>, ranges: &[Located<PoolRange>], nat44: &Nat44) {
    let translated =
        nat44.pools.iter().flat_map(|pool| pool.addresses.iter().map(move |range| (range, pool)));
    for (other, pool) in translated {
        for range in ranges.iter().filter(|r| r.value.first <= other.last && other.first <= r.value.last) {
            let message = format!("{} overlaps {other}, of pool \"{}\" of nat44", range.value, pool.name);
            report.refuse(range.place, message, "write addresses that nothing is translated to");
        }
    }
}

//! The keys that `[nat44]` and `[ipv6]` share: `inside`, `outside` and the times of `timeouts`.
//!
//! Guarantees: realms are on their sides, and stand once. Never: judge what a section does with them.

use super::error::Report;
use super::model::Side;
use super::network::{Network, REALMS_MAX};
use super::section::{Section, or};
use super::values;

/// The inside realms' ids; `hint` says what to write when they are missing.
pub(super) fn inside(
    report: &Report<'_>,
    section: &mut Section<'_>,
    network: &Network,
    hint: &str,
) -> Option<Vec<u16>> {
    let realms = section.strings("inside", 1..=REALMS_MAX, values::reference);
    section.missing("inside", hint);
    let mut ids: Vec<u16> = Vec::new();
    for realm in realms? {
        let Some(id) = network.realm_names.resolve(report, &realm).map(|index| index + 1) else { continue };
        if network.side(id) == Some(Side::Outside) {
            let hint = "write a realm of side inside, or side = \"inside\" there";
            report.refuse(realm.place, format!("realm \"{}\" is of side outside", realm.value), hint);
        }
        if ids.contains(&id) {
            report.refuse(
                realm.place,
                format!("realm \"{}\" stands twice", realm.value),
                "remove one of the two",
            );
        }
        ids.push(id);
    }
    Some(ids)
}

/// The outside realm's id; `hint` says what to write when it is missing.
pub(super) fn outside(
    report: &Report<'_>,
    section: &mut Section<'_>,
    network: &Network,
    hint: &str,
) -> Option<u16> {
    let realm = section.require("outside", values::reference, hint)?;
    let id = network.realm_names.resolve(report, &realm)? + 1;
    if network.side(id) == Some(Side::Inside) {
        let hint = "write a realm of side outside, or side = \"outside\" there";
        report.refuse(realm.place, format!("realm \"{}\" is of side inside", realm.value), hint);
    }
    Some(id)
}

/// The seconds of `key`; fewer than `least`, which `source` asks for, are warned about.
pub(super) fn timeout(
    report: &Report<'_>,
    section: &mut Section<'_>,
    key: &'static str,
    default: u32,
    (least, source): (u32, &str),
) -> u32 {
    let seconds = section.integer(key, 1..=86_400u32);
    if let Some(short) = seconds.filter(|seconds| seconds.value < least) {
        report.warn(short.place, format_args!("{} s is less than the {least} s of {source}", short.value));
    }
    or(seconds, default)
}

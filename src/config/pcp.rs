//! The section about mappings that hosts ask for themselves: `[nat44.pcp]`.
//!
//! Guarantees: the shortest life time is not above the longest. Never: serves anybody where the section is not written.

use super::error::Report;
use super::nat_model::Pcp;
use super::section::{Section, or};
use super::sides;

/// RFC 6887 section 15.
const LIFETIME_MAX: u32 = 86_400;
/// Ten days: milliseconds of twice that are less than half of what a clock of 32 bits counts.
const LIFETIME_MOST: u32 = 864_000;

/// What the section says, `None` where it is not written or says `enabled = false`. There are no more of them than `mappings`.
pub(super) fn read(report: &Report<'_>, mut section: Section<'_>, mappings: u32) -> Option<Pcp> {
    let is_written = section.is_written();
    let enabled = or(section.boolean("enabled"), true);
    let lifetime_min =
        sides::timeout(report, &mut section, "lifetime_min", 120, (120, "RFC 6887 section 15"));
    let lifetime_max = section.integer("lifetime_max", 1..=LIFETIME_MOST);
    let most = section.integer("mappings", 1..=mappings);
    let mappings_per_subscriber = or(section.integer("mappings_per_subscriber", 1..=u16::MAX), 32);
    let requests_per_second = or(section.integer("requests_per_second", 1..=1_000_000u32), 1000);
    section.finish();
    if let Some(short) = lifetime_max.filter(|longest| longest.value < lifetime_min) {
        let message = format!("{} s is less than lifetime_min, {lifetime_min} s", short.value);
        report.refuse(
            short.place,
            message,
            format!("write {lifetime_min} or more, or a smaller lifetime_min"),
        );
    }
    (is_written && enabled).then(|| Pcp {
        lifetime_min,
        lifetime_max: or(lifetime_max, LIFETIME_MAX),
        mappings: or(most, mappings.min(65_536)),
        mappings_per_subscriber,
        requests_per_second,
    })
}

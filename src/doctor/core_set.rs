//! Sets of processor cores, as the kernel writes them.
//!
//! Guarantees: no text makes it panic or take more than [`CORE_MAX`] cores. Never: asks which cores there are.

use std::collections::BTreeSet;
use std::fmt;

/// Highest core number that is believed (Linux: `CONFIG_NR_CPUS` is at most 8,192).
const CORE_MAX: u16 = 8191;

/// Cores by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreSet(BTreeSet<u16>);

impl CoreSet {
    /// From the kernel's list format: `0-3,8,10-20:2/4`. Words that are no range, such as the flags of `isolcpus=`, are
    /// passed over; `all` is every core.
    pub fn parse(text: &str) -> Self {
        let mut cores = BTreeSet::new();
        for item in text.trim().split(',') {
            let (range, stride) = item.split_once(':').unwrap_or((item, "1/1"));
            let Some((first, last)) = bounds(range) else { continue };
            let (used, group) = stride.split_once('/').unwrap_or(("1", "1"));
            let (Ok(used), Ok(group)) = (used.parse::<u16>(), group.parse::<u16>()) else { continue };
            if group > 0 {
                cores.extend((first..=last.min(CORE_MAX)).filter(|core| (core - first) % group < used));
            }
        }
        Self(cores)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, core: u16) -> bool {
        self.0.contains(&core)
    }

    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().copied()
    }

    /// Those that `other` has not.
    pub fn without(&self, other: &CoreSet) -> CoreSet {
        Self(self.0.difference(&other.0).copied().collect())
    }

    /// Those that `other` has, too.
    pub fn shared_with(&self, other: &CoreSet) -> CoreSet {
        Self(self.0.intersection(&other.0).copied().collect())
    }
}

impl FromIterator<u16> for CoreSet {
    fn from_iter<I: IntoIterator<Item = u16>>(cores: I) -> Self {
        Self(cores.into_iter().collect())
    }
}

/// `2`, `2-5` or `all`.
fn bounds(range: &str) -> Option<(u16, u16)> {
    if range == "all" {
        return Some((0, CORE_MAX));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some((first.parse().ok()?, last.parse().ok()?))
}

impl fmt::Display for CoreSet {
    /// In the kernel's list format.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|next| *next == last + 1) {
                last = next;
            }
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        for (text, expected) in [
            ("", ""),
            ("\n", ""),
            ("0\n", "0"),
            ("0-3,8", "0-3,8"),
            ("managed_irq,domain,2-5", "2-5"),
            ("0-7:1/2", "0,2,4,6"),
            ("0-7:2/4", "0-1,4-5"),
            ("0-7:1/0", ""),
            ("5-2", ""),
            ("99999", ""),
        ] {
            assert_eq!(CoreSet::parse(text).to_string(), expected, "{text:?}");
        }
        assert!(CoreSet::parse("all").contains(CORE_MAX));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(cores in proptest::collection::btree_set(0..=CORE_MAX, 0..50)) {
            let set = CoreSet(cores);
            prop_assert_eq!(CoreSet::parse(&set.to_string()), set);
        }

        #[test]
        fn no_text_is_too_strange(text in "[0-9a-z,:/-]{0,40}") {
            prop_assert!(CoreSet::parse(&text).iter().all(|core| core <= CORE_MAX));
        }
    }
}

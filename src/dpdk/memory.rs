//! Where packet memory comes from: huge pages, or ordinary pages when there are none.
//!
//! Huge pages are taken with `--in-memory`, which needs no hugetlbfs mount and leaves no file behind. `--no-huge` is a legacy
//! memory mode, which EAL refuses together with `--in-memory`; `--no-shconf` makes it leave no file either. In both modes the
//! telemetry socket exists.

use std::fs;
use std::path::Path;

use super::error::Error;

/// Megabytes without huge pages when the options name none. Address space only: pages are taken when first touched.
const DEFAULT_ORDINARY_MB: u32 = 512;

/// Whether packet memory uses huge pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HugePages {
    /// When enough of them are free; otherwise ordinary pages, with a warning in the log.
    #[default]
    Auto,
    /// Refuse to start without.
    Required,
    /// Leave them to others.
    None,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryMode {
    Huge { megabytes: Option<u32> },
    Ordinary { megabytes: u32 },
}

impl MemoryMode {
    /// Decides from what is wanted and how many megabytes of huge pages are free.
    pub(super) fn decide(wanted: HugePages, megabytes: Option<u32>, free_mb: u64) -> Result<Self, Error> {
        let needed_mb = megabytes.map_or(1, u64::from).max(1);
        match wanted {
            HugePages::Auto | HugePages::Required if free_mb >= needed_mb => {
                Ok(MemoryMode::Huge { megabytes })
            }
            HugePages::Required => Err(Error::NoHugePages { needed_mb, free_mb }),
            HugePages::Auto | HugePages::None => {
                Ok(MemoryMode::Ordinary { megabytes: megabytes.unwrap_or(DEFAULT_ORDINARY_MB) })
            }
        }
    }

    pub(super) fn arguments(self) -> Vec<String> {
        let (mode, megabytes): (&[&str], _) = match self {
            MemoryMode::Huge { megabytes } => (&["--in-memory"], megabytes),
            MemoryMode::Ordinary { megabytes } => (&["--no-huge", "--no-shconf"], Some(megabytes)),
        };
        let amount = megabytes.into_iter().flat_map(|megabytes| ["-m".to_owned(), megabytes.to_string()]);
        mode.iter().map(|&flag| flag.to_owned()).chain(amount).collect()
    }
}

/// Free huge pages of every size, in megabytes; 0 where the kernel has none or does not say.
pub(super) fn free_huge_mb() -> u64 {
    free_huge_mb_in(Path::new("/sys/kernel/mm/hugepages"))
}

fn free_huge_mb_in(root: &Path) -> u64 {
    let Ok(sizes) = fs::read_dir(root) else { return 0 };
    let free_kb = |size: fs::DirEntry| -> Option<u64> {
        let name = size.file_name();
        let page_kb: u64 = name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let pages: u64 = fs::read_to_string(size.path().join("free_hugepages")).ok()?.trim().parse().ok()?;
        page_kb.checked_mul(pages)
    };
    sizes.flatten().filter_map(free_kb).fold(0u64, u64::saturating_add) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_used_when_enough_are_free() {
        let decide = |wanted, megabytes, free| MemoryMode::decide(wanted, megabytes, free).ok();
        let huge = |megabytes| Some(MemoryMode::Huge { megabytes });
        let ordinary = |megabytes| Some(MemoryMode::Ordinary { megabytes });
        assert_eq!(decide(HugePages::Auto, Some(64), 64), huge(Some(64)));
        assert_eq!(decide(HugePages::Auto, Some(64), 63), ordinary(64));
        assert_eq!(decide(HugePages::Auto, None, 2), huge(None));
        assert_eq!(decide(HugePages::Auto, None, 0), ordinary(DEFAULT_ORDINARY_MB));
        assert_eq!(decide(HugePages::None, Some(64), 1 << 20), ordinary(64));
        assert_eq!(decide(HugePages::Required, Some(64), 64), huge(Some(64)));
        assert_eq!(decide(HugePages::Required, Some(64), 63), None);
        assert_eq!(decide(HugePages::Required, None, 0), None);
    }

    #[test]
    fn the_two_modes_are_never_mixed() {
        assert_eq!(MemoryMode::Huge { megabytes: None }.arguments(), ["--in-memory"]);
        assert_eq!(MemoryMode::Huge { megabytes: Some(8) }.arguments(), ["--in-memory", "-m", "8"]);
        assert_eq!(
            MemoryMode::Ordinary { megabytes: 8 }.arguments(),
            ["--no-huge", "--no-shconf", "-m", "8"]
        );
    }

    #[test]
    fn a_machine_that_does_not_say_has_none() {
        assert_eq!(free_huge_mb_in(Path::new("/nonexistent")), 0);
    }
}

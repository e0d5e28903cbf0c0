//! Huge pages for the time of the bench: reserved if this user may, given back at the end.

use std::sync::Mutex;

const COUNT: &str = "/proc/sys/vm/nr_hugepages";

/// How many there were before, if more were reserved.
static BEFORE: Mutex<Option<u32>> = Mutex::new(None);

/// Gives the pages back when dropped.
pub struct Reserved;

/// Sees to it that there are enough free 2 MB pages for both processes of the largest case; says so where there are not.
/// `flows` are replayed from captures, `fresh` are of a generator.
pub fn reserve(flows: u32, fresh: u32) -> Reserved {
    // Two processes with a 512-byte buffer for each frame of two captures, and 200 bytes of state a session.
    let replayed = u64::from(flows) * (4 * 512 + 200);
    let needed = 512 + (replayed.max(u64::from(fresh) * 210) >> 21) as u32;
    let (total, free) = (field("HugePages_Total:"), field("HugePages_Free:"));
    if free >= needed {
        return Reserved;
    }
    // Not the total: that has in it what others still use of what was reserved for them, and would be left behind.
    *before() = std::fs::read_to_string(COUNT).ok().and_then(|count| count.trim().parse().ok());
    let _ = std::fs::write(COUNT, (total + needed - free).to_string());
    let free = field("HugePages_Free:");
    if free < needed {
        eprintln!(
            "only {free} of {needed} huge pages could be reserved: the figures mean little; run as root"
        );
    }
    Reserved
}

fn before() -> std::sync::MutexGuard<'static, Option<u32>> {
    BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// As many as there were, once.
pub fn give_back() {
    if let Some(count) = before().take() {
        let _ = std::fs::write(COUNT, count.to_string());
    }
}

fn field(name: &str) -> u32 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with(name));
    line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse().ok()).unwrap_or(0)
}

impl Drop for Reserved {
    fn drop(&mut self) {
        give_back();
    }
}

//! Huge pages for the time of the bench: reserved if this user may, given back at the end.

const COUNT: &str = "/proc/sys/vm/nr_hugepages";

/// Gives the pages back when dropped.
pub struct Reserved(Option<u32>);

/// Sees to it that there are enough free 2 MB pages for both processes of the largest case; says so where there are not.
/// `flows` are replayed from captures, `fresh` are of a generator.
pub fn reserve(flows: u32, fresh: u32) -> Reserved {
    // Two processes with a 512-byte buffer for each frame of two captures, and 200 bytes of state a session.
    let replayed = u64::from(flows) * (4 * 512 + 200);
    let needed = 512 + (replayed.max(u64::from(fresh) * 210) >> 21) as u32;
    let (total, free) = (field("HugePages_Total:"), field("HugePages_Free:"));
    if free >= needed {
        return Reserved(None);
    }
    // Not the total: that has in it what others still use of what was reserved for them, and would be left behind.
    let reserved = std::fs::read_to_string(COUNT).ok().and_then(|count| count.trim().parse().ok());
    let _ = std::fs::write(COUNT, (total + needed - free).to_string());
    let free = field("HugePages_Free:");
    if free < needed {
        eprintln!(
            "only {free} of {needed} huge pages could be reserved: the figures mean little; run as root"
        );
    }
    Reserved(reserved)
}

fn field(name: &str) -> u32 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with(name));
    line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse().ok()).unwrap_or(0)
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            let _ = std::fs::write(COUNT, before.to_string());
        }
    }
}

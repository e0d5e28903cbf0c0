//! What `cesd` says at the end of its input, read back.

use std::collections::BTreeMap;
use std::process::Output;

/// See the module.
#[derive(Debug)]
pub struct Summary {
    pub received: u64,
    pub sent: u64,
    pub forwarded: u64,
    pub local: u64,
    pub originated: u64,
    /// By the reason's name.
    pub drops: BTreeMap<String, u64>,
}

impl Summary {
    /// Of a run that must have ended well.
    pub fn of(output: &Output) -> Summary {
        let (text, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}\n{text}\n{log}", output.status);
        assert!(!log.contains("panicked"), "{log}");
        let mut lines = text.lines().map(|line| {
            let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
            words.filter(|w| !w.is_empty()).collect::<Vec<_>>()
        });
        let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("\"{word}\" in\n{text}"));
        let packets = lines.next().expect("a line of packets");
        lines.next().expect("a line of sessions");
        let dropped = |words: Vec<&str>| (words[2].to_owned(), number(words[1]));
        Summary {
            received: number(packets[0]),
            sent: number(packets[3]),
            forwarded: number(packets[5]),
            local: number(packets[7]),
            originated: number(packets[12]),
            drops: lines.map(dropped).collect(),
        }
    }

    /// That every packet which came in, or was made here, is accounted for.
    pub fn balance(&self) {
        let dropped: u64 = self.drops.values().sum();
        assert_eq!(self.received + self.originated, self.sent + self.local + dropped, "{self:#?}");
    }
}

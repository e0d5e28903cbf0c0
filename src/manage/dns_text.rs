//! `show dns` laid out for people. Part of [`super::text`].

use super::dns_model::DnsStatus;
use super::text::{LEFT, RIGHT, Table, count};

/// `show dns`.
pub fn dns(dns: &DnsStatus) -> String {
    let mut table = Table::new(&[LEFT, LEFT, RIGHT]);
    let mut rows = |title: &str, counts: &[(&str, u64)]| {
        for (at, (name, value)) in counts.iter().enumerate() {
            let title = if at == 0 { title } else { "" };
            table.row([title.to_owned(), (*name).to_owned(), count(*value)]);
        }
    };
    let (questions, updates, connections) = (&dns.questions, &dns.updates, &dns.connections);
    rows("questions", &[("udp", questions.udp), ("tcp", questions.tcp), ("malformed", questions.malformed)]);
    for (title, counts) in [("answers", &dns.answers), ("silences", &dns.silences), ("pool", &dns.pool)] {
        let counts: Vec<(&str, u64)> = counts.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        rows(title, &counts);
        if title == "answers" {
            rows("of them", &[("truncated", dns.truncated), ("lost", dns.lost)]);
        }
    }
    rows("forwarded", &[("", dns.forwarded)]);
    rows("updates", &[("done", updates.done), ("refused", updates.refused), ("waiting", updates.waiting)]);
    rows(
        "connections",
        &[
            ("open", connections.open),
            ("accepted", connections.accepted),
            ("refused", connections.refused),
            ("idle", connections.idle),
            ("bad", connections.bad),
        ],
    );
    table.to_string()
}

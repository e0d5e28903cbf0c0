//! `show dns` laid out for people. Part of [`super::text`].

use std::collections::BTreeMap;

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
    rows("answers", &named(&dns.answers));
    rows("of them", &[("truncated", dns.truncated), ("lost", dns.lost)]);
    rows("silences", &named(&dns.silences));
    rows("pool", &named(&dns.pool));
    rows("forwarded", &[("", dns.forwarded)]);
    rows("resolver", &named(&dns.resolver));
    rows("discovery", &named(&dns.discovery));
    rows("calls", &named(&dns.calls));
    rows("lookups", &named(&dns.lookups));
    rows(
        "updates",
        &[
            ("done", updates.done),
            ("refused", updates.refused),
            ("failed", updates.failed),
            ("waiting", updates.waiting),
        ],
    );
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

fn named(counts: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    counts.iter().map(|(name, value)| (name.as_str(), *value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_told() {
        let counts = |name: &str, n| BTreeMap::from([(name.to_owned(), n), (format!("{name}_too"), n + 1)]);
        let mut status = DnsStatus {
            answers: counts("NOERROR", 5100),
            silences: counts("foreign", 5200),
            pool: counts("reserved", 5300),
            resolver: counts("timeouts", 5400),
            discovery: counts("no_edge", 5410),
            calls: counts("refused", 5420),
            lookups: counts("speakers", 5430),
            truncated: 5500,
            lost: 5501,
            forwarded: 5502,
            ..DnsStatus::default()
        };
        (status.questions.udp, status.updates.failed, status.connections.idle) = (5600, 5601, 5602);
        let text = dns(&status);
        let named = [&status.answers, &status.silences, &status.pool, &status.resolver];
        let seen = [&status.discovery, &status.calls, &status.lookups];
        let others = ["truncated", "lost", "forwarded", "udp", "failed", "idle"].map(str::to_owned);
        let others = others.iter().zip([&5500, &5501, &5502, &5600, &5601, &5602]);
        let named = named.into_iter().chain(seen).flatten();
        for (name, n) in named.chain(others) {
            let line = text.lines().find(|line| line.contains(&count(*n)));
            assert!(line.is_some_and(|line| line.contains(name.as_str())), "{name}: {text}");
        }
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<DnsStatus>(&json).unwrap(), status);
    }
}

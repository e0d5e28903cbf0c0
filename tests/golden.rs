//! The whole appliance over captures: what goes in by four ports, and what comes out, byte for byte.
//!
//! The captures in `tests/golden` are a fixed point: this program's packets, translated by `cesd`, and found right by an
//! oracle that builds each packet in full ([`scenario`]). They are made anew, which takes a reason, by
//!
//! ```text
//! CES_GOLDEN=write cargo test --test golden
//! ```

#[path = "support/bed.rs"]
mod bed;
#[path = "support/capture.rs"]
mod capture;
#[path = "support/captured.rs"]
mod captured;
#[path = "support/cesd.rs"]
mod cesd;
#[path = "golden/nat44.rs"]
mod nat44;
#[path = "support/packets.rs"]
mod packets;
#[path = "golden/refusals.rs"]
mod refusals;
#[path = "golden/scenario.rs"]
mod scenario;
#[path = "support/summary.rs"]
mod summary;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use scenario::{Chosen, Frames, HOME, LATER, OUTSIDE, PORTS, Scenario, TWIN, edge, host};

/// How the work is shared.
pub const ONE: &str = "cores = [0]\n";
pub const TWO_RSS: &str = "cores = [0, 1]\ndistribute = \"rss\"\n";
pub const TWO_SOFTWARE: &str = "cores = [0, 1]\ndistribute = \"software\"\n";

/// The configuration, but for the workers, the NAT's options and the limits.
pub fn config(workers: &str, nat44: &str, others: &str) -> String {
    let mut text = format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\nidle = \"sleep\"\nstop = \"end-of-input\"\n{workers}"
    );
    let addresses = ["10.0.0.1/24", "10.0.0.1/24", "10.9.0.1/24", "10.0.1.1/24", "203.0.113.1/24"];
    for (number, (port, address)) in PORTS.iter().zip(addresses).enumerate() {
        let (side, mtu) = if number == OUTSIDE { ("outside", 1400) } else { ("inside", 1500) };
        let realm = if number == LATER { PORTS[HOME] } else { port };
        if number != LATER {
            // HOME's subscribers come in by two ports, and are routed to one.
            let check = if number == HOME { "source_check = \"loose\"\n" } else { "" };
            text += &format!("[[realm]]\nname = \"{realm}\"\nside = \"{side}\"\n{check}");
        }
        text += &format!(
            "[[port]]\nname = \"{port}\"\nmtu = {mtu}\nmac = \"{}\"\n\
             device = \"net_pcap{number},rx_pcap={port}-in.pcap,tx_pcap={port}-out.pcap\"\n\
             [[interface]]\nport = \"{port}\"\nrealm = \"{realm}\"\naddresses = [\"{address}\"]\n",
            edge(number)
        );
    }
    for (port, address) in
        [(HOME, "10.0.0.2"), (HOME, "10.0.0.3"), (TWIN, "10.0.0.2"), (OUTSIDE, "203.0.113.254")]
    {
        let last = address.rsplit('.').next().and_then(|l| l.parse().ok()).expect("an address");
        let (name, mac) = (PORTS[port], host(port, last));
        text += &format!("[[neighbor]]\ninterface = \"{name}\"\naddress = \"{address}\"\nmac = \"{mac}\"\n");
    }
    text += "[[route]]\nrealm = \"outside\"\nprefix = \"198.51.100.0/24\"\nvia = \"203.0.113.254\"\n\
             [[route]]\nrealm = \"outside\"\nprefix = \"192.0.2.0/25\"\nblackhole = true\n\
             [[route]]\nrealm = \"outside\"\nprefix = \"192.0.2.128/26\"\nunreachable = true\n\
             [[route]]\nrealm = \"outside\"\nprefix = \"192.0.2.192/26\"\nprohibit = true\n\
             [nat44]\ninside = [\"home\", \"twin\"]\noutside = \"outside\"\nrandom_seed = 3\n";
    text + nat44 + others
}

/// Of many addresses, so that no two homes lease blocks of the same one: then two workers choose as the seed says, too.
const POOL: &str =
    "pool = [\"203.0.113.64-203.0.113.191\"]\nports = \"1024-2047\"\ninbound_sessions_per_mapping = 3\n";

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Makes the captures of `name` anew if it is asked for.
fn write_if_asked(name: &str, scenario: &Scenario, config: &str) {
    if std::env::var_os("CES_GOLDEN").is_some_and(|v| v == "write") {
        let (inputs, outputs, summary) = scenario::settle(scenario, config);
        scenario.judge(&outputs, &summary);
        std::fs::create_dir_all(directory(name)).expect("a directory");
        inputs.write(&directory(name), "in");
        outputs.write(&directory(name), "out");
    }
}

/// Runs the captures of `name`, and compares what comes out with the oracle and with the captures.
fn check(name: &str, workers: &str, alike: fn(&Frames, &Frames)) {
    let scenario = nat44::scenario();
    let config = config(workers, POOL, "");
    write_if_asked(name, &scenario, &config);
    let (inputs, golden) = (Frames::read(&directory(name), "in"), Frames::read(&directory(name), "out"));
    let chosen: Chosen = scenario.learn(&golden);
    assert!(inputs == scenario.inputs(&chosen), "the captures are not this scenario's: make them anew");
    let (outputs, summary) = scenario::run(&config, &inputs);
    scenario.judge(&outputs, &summary);
    alike(&outputs, &golden);
}

fn same_bytes(outputs: &Frames, golden: &Frames) {
    for (port, (seen, golden)) in PORTS.iter().zip(outputs.0.iter().zip(&golden.0)) {
        assert!(
            seen == golden,
            "the oracle agrees, and yet other bytes, or in another order, leave by {port}"
        );
    }
}

/// Whatever worker a packet meets may send it on, if it has a session already; the session's first packets go by its home.
fn same_frames(outputs: &Frames, golden: &Frames) {
    assert!(outputs.sorted() == golden.sorted(), "the oracle agrees, and yet the frames are others");
}

/// What is ordinary goes by its home, from the first packet on, and stays in order. What is not, does not wait for that.
fn same_flows(outputs: &Frames, golden: &Frames) {
    same_frames(outputs, golden);
    assert!(outputs.by_flow() == golden.by_flow(), "the packets of a flow are out of order");
}

#[test]
fn one_worker() {
    check("one-worker", ONE, same_bytes);
}

#[test]
fn two_workers_by_software() {
    check("two-workers-software", TWO_SOFTWARE, same_flows);
}

#[test]
fn two_workers_by_rss() {
    check("two-workers-rss", TWO_RSS, same_frames);
}

/// Runs a scenario of which no captures are kept.
fn refuses(scenario: &Scenario, workers: &str, (nat44, others): (&str, &str)) {
    let (_, outputs, summary) = scenario::settle(scenario, &config(workers, nat44, others));
    scenario.judge(&outputs, &summary);
}

#[test]
fn strict_options_refuse() {
    for workers in [ONE, TWO_RSS, TWO_SOFTWARE] {
        refuses(&refusals::strict(), workers, refusals::STRICT);
    }
}

/// With one worker: how many of several workers' subscribers there are is a matter of chance.
#[test]
fn full_tables_refuse() {
    refuses(&refusals::full(), ONE, refusals::FULL);
    refuses(&refusals::sessions(), ONE, refusals::SESSIONS);
    refuses(&refusals::mappings(), ONE, refusals::MAPPINGS);
}

/// Sixteen subscribers send five times what they may, to the worker that receives: whichever is their home, each gets its rate.
#[test]
fn a_subscriber_has_its_rate_whoever_forwards_for_it() {
    const HOSTS: u8 = 16;
    const EACH: usize = 100;
    let limit = "[limits]\nsubscriber_packets_per_second = 200\n";
    for workers in [ONE, TWO_RSS, TWO_SOFTWARE] {
        let mut inputs = Frames::default();
        for n in 0..HOSTS {
            let from = (Ipv4Addr::new(10, 0, 0, 20 + n), 4000);
            let packet = packets::Packet::new(from, (nat44::SERVER, 53), nat44::UDP, &[n; 30]);
            inputs.0[HOME].extend(vec![packet.frame(host(HOME, 20 + n), edge(HOME)); EACH]);
        }
        let (outputs, summary) = scenario::run(&config(workers, POOL, limit), &inputs);
        summary.balance();
        // Who it was is what it carries: behind Ethernet, IPv4 and UDP.
        let of = |n: u8| outputs.0[OUTSIDE].iter().filter(|f| f.get(42) == Some(&n)).count();
        for n in 0..HOSTS {
            // A burst of 20, and what is due in the time that the run takes.
            assert!((20..80).contains(&of(n)), "{workers}: {} of subscriber {n}, {summary:#?}", of(n));
        }
        let sent: usize = (0..HOSTS).map(of).sum();
        assert_eq!(summary.drops["subscriber_rate"] as usize, usize::from(HOSTS) * EACH - sent);
    }
}

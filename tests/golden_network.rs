//! VLANs, IPv6 and the errors of both families over captures, byte for byte: one port with an untagged interface, one with a C-tag
//! and one with an S-tag and a C-tag inside, and a tagged port outside.
//!
//! IPv6 is not translated, so the oracle needs to learn nothing from the run: each case says which frame goes in, and which come
//! out, built in full. The captures in `tests/golden/network` are made anew by
//!
//! ```text
//! CES_GOLDEN=write cargo test --test golden_network
//! ```

#[path = "support/bed.rs"]
mod bed;
#[path = "support/capture.rs"]
mod capture;
#[path = "support/captured.rs"]
mod captured;
#[path = "support/cesd.rs"]
mod cesd;
#[path = "golden/links.rs"]
mod links;
#[path = "golden/network.rs"]
mod network;
#[path = "golden/quiet.rs"]
mod quiet;
#[path = "support/summary.rs"]
mod summary;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ces::packet::DropReason;

use bed::Bed;
use links::{CONFIG, PORTS};
use summary::Summary;

/// A frame that goes in, and what becomes of it.
pub struct Case {
    name: &'static str,
    port: usize,
    frame: Vec<u8>,
    out: Vec<(usize, Vec<u8>)>,
    drop: Option<DropReason>,
}

/// Frames by port, in order.
type Frames = [Vec<Vec<u8>>; PORTS.len()];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/network")
}

fn inputs(cases: &[Case]) -> Frames {
    std::array::from_fn(|port| cases.iter().filter(|c| c.port == port).map(|c| c.frame.clone()).collect())
}

fn wanted(cases: &[Case]) -> Frames {
    let of = |port: usize| cases.iter().flat_map(|c| &c.out).filter(move |o| o.0 == port);
    std::array::from_fn(|port| of(port).map(|o| o.1.clone()).collect())
}

fn run(config: &str, cases: &[Case]) -> (Frames, Summary) {
    let bed = Bed::new();
    for (port, frames) in PORTS.iter().zip(inputs(cases)) {
        capture::write(&bed.directory.join(format!("{port}-in.pcap")), &frames);
    }
    bed.configure(config);
    let summary = Summary::of(&cesd::cesd(&bed).output().expect("cesd runs"));
    let outputs = PORTS.map(|port| captured::read(&bed.directory.join(format!("{port}-out.pcap"))));
    (outputs, summary)
}

fn hex(frame: &[u8]) -> String {
    frame.iter().map(|b| format!("{b:02x}")).collect()
}

/// Which case goes wrong, if one does: it alone, and what came out instead.
fn explain(cases: &[Case], seen: &Frames) -> String {
    let mut left = seen.clone();
    let mut text = String::new();
    for case in cases {
        for (port, frame) in &case.out {
            match left[*port].iter().position(|f| f == frame) {
                Some(at) => drop(left[*port].remove(at)),
                None => text += &format!("{}: {} lacks {}\n", case.name, PORTS[*port], hex(frame)),
            }
        }
    }
    for (port, frames) in PORTS.iter().zip(&left) {
        frames.iter().for_each(|f| text += &format!("nobody expects from {port}: {}\n", hex(f)));
    }
    text
}

/// Each port's frames, in no order: within a burst IPv4 goes first.
fn sorted(mut frames: Frames) -> Frames {
    frames.iter_mut().for_each(|f| f.sort());
    frames
}

fn check(workers: &str) {
    let cases = network::cases();
    let (outputs, summary) = run(&format!("{workers}{CONFIG}"), &cases);
    let wrong = explain(&cases, &outputs);
    assert!(wrong.is_empty(), "{wrong}{summary:#?}");
    let mut drops: BTreeMap<String, u64> = BTreeMap::new();
    cases.iter().filter_map(|c| c.drop).for_each(|d| *drops.entry(d.name().to_owned()).or_default() += 1);
    assert_eq!(summary.drops, drops);
    summary.balance();
    assert_eq!(summary.received, cases.len() as u64);
    let passed = cases.iter().filter(|c| c.drop.is_none()).count();
    assert_eq!(summary.forwarded + summary.local, passed as u64, "sent on, or answered");
    if std::env::var_os("CES_GOLDEN").is_some_and(|v| v == "write") {
        std::fs::create_dir_all(directory()).expect("a directory");
        for (number, port) in PORTS.iter().enumerate() {
            capture::write(&directory().join(format!("{port}-in.pcap")), &inputs(&cases)[number]);
            capture::write(&directory().join(format!("{port}-out.pcap")), &wanted(&cases)[number]);
        }
    }
    let captures =
        |direction| PORTS.map(|p| captured::read(&directory().join(format!("{p}-{direction}.pcap"))));
    assert_eq!(captures("in"), inputs(&cases), "the captures are not this scenario's: make them anew");
    let agree = sorted(outputs) == sorted(captures("out"));
    assert!(agree, "the oracle agrees, and yet other frames than in the captures");
}

#[test]
fn one_worker() {
    check("[workers]\ncores = [0]\n");
}

#[test]
fn two_workers_by_rss() {
    check("[workers]\ncores = [0, 1]\ndistribute = \"rss\"\n");
}

#[test]
fn two_workers_by_software() {
    check("[workers]\ncores = [0, 1]\ndistribute = \"software\"\n");
}

/// One subscriber sends ten times what it may; the other loses nothing by it.
#[test]
fn a_subscriber_has_a_rate_of_its_own() {
    let limit = "[limits]\nsubscriber_packets_per_second = 200\n";
    let cases = network::two_subscribers(200, 10);
    let (outputs, summary) = run(&format!("[workers]\ncores = [0]\n{CONFIG}{limit}"), &cases);
    let of = |host: &str| {
        let address: std::net::Ipv6Addr = host.parse().expect("an address");
        outputs[links::OUT].iter().filter(|f| f[26..42] == address.octets()).count()
    };
    assert_eq!(of("2001:db8:2::2"), 10, "{summary:#?}");
    // A burst of 20, and what is due in the time that the run takes.
    assert!((20..100).contains(&of("2001:db8:1::2")), "{summary:#?}");
    assert_eq!(summary.drops["subscriber_rate"] as usize, 200 - of("2001:db8:1::2"));
    summary.balance();
}

/// Frames to all, and sources that are all: no answer, and no error.
#[test]
fn nobody_and_everybody_get_no_answer() {
    let cases = quiet::unanswered();
    let (outputs, summary) = run(&format!("[workers]\ncores = [0]\n{CONFIG}"), &cases);
    assert!(outputs.iter().all(Vec::is_empty), "{}", explain(&cases, &outputs));
    let of = |why: DropReason| cases.iter().filter(|c| c.drop == Some(why)).count() as u64;
    for why in [DropReason::Ipv4DestinationInvalid, DropReason::Ipv4SourceInvalid] {
        assert_eq!(summary.drops[why.name()], of(why), "{summary:#?}");
    }
    summary.balance();
}

/// A C-tag of priority only is none, so that the S-tag before it stands alone: no C-tag of that identifier.
#[test]
fn a_priority_tag_behind_an_s_tag_makes_no_c_tag_of_it() {
    let cases = quiet::half_tagged();
    let (outputs, summary) = run(&format!("[workers]\ncores = [0]\n{CONFIG}"), &cases);
    assert!(outputs.iter().all(Vec::is_empty), "{}", explain(&cases, &outputs));
    assert_eq!(summary.drops["vlan_unknown"], cases.len() as u64, "{summary:#?}");
}

/// Whatever others ask, what the edge answers is limited, each kind by itself (RFC 1812 section 4.3.2.8).
#[test]
fn what_is_asked_of_the_edge_has_a_limit() {
    const MANY: usize = 200;
    let limits =
        "[limits]\nicmp_errors_per_second = 300\necho_per_second = 200\nneighbor_messages_per_second = 100\n";
    let add = |frame| Case { name: "a question", port: links::IN, frame, out: vec![], drop: None };
    let cases: Vec<Case> = quiet::flood(MANY).into_iter().map(add).collect();
    let (outputs, summary) = run(&format!("[workers]\ncores = [0]\n{CONFIG}{limits}"), &cases);
    summary.balance();
    // By the type of what goes out: untagged, Ethernet's type at 12, the message's behind an IP header.
    let answers = |is: fn(&[u8]) -> bool| outputs[links::IN].iter().filter(|f| is(f)).count();
    let pongs = answers(|f| f[12..14] == [8, 0] && f[34] == 0 || f[12..14] == [0x86, 0xdd] && f[54] == 129);
    let neighbors = answers(|f| f[12..14] == [8, 6] || f[12..14] == [0x86, 0xdd] && f[54] == 136);
    let errors = answers(|f| f[12..14] == [8, 0] && f[34] == 11 || f[12..14] == [0x86, 0xdd] && f[54] == 3);
    assert_eq!(pongs + neighbors + errors, outputs[links::IN].len());
    // A tenth of a second's at once, and what is due in the time that the run takes: for each of the six questions 200 came.
    assert!((20..100).contains(&pongs), "{pongs} {summary:#?}");
    // One link alone has half of it.
    assert!((5..30).contains(&neighbors), "{neighbors} {summary:#?}");
    assert!((30..150).contains(&errors), "{errors} {summary:#?}");
    assert_eq!(summary.drops["punt_rate"] as usize, 4 * MANY - pongs - neighbors);
    assert_eq!(summary.drops["ttl_exceeded"] as usize, errors);
    assert_eq!(summary.drops["ttl_exceeded_quiet"] as usize, 2 * MANY - errors);
}

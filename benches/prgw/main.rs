//! `cargo bench --bench prgw [-- --json] [--case gateway,dns,setup]`: what the Realm Gateway can do.
//!
//! | case | what is measured |
//! |---|---|
//! | `gateway` | reservations, claims, expiries a second, at three sizes of the pool ([`gateway`]) |
//! | `dns` | questions answered a second, by a real `cesd`: worker, ring, DNS thread, ring, worker ([`load`]) |
//! | `setup` | connections set up a second: question, answer, first packet, claim, session, first packet out ([`load`]) |
//!
//! The last two are per second of CPU time of all threads of `cesd` but its workers, which poll.

#[path = "../../tests/support/bed.rs"]
mod bed;
#[path = "../../tests/support/cesd.rs"]
mod cesd;
mod edge;
mod gateway;
mod load;
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../tests/support/running.rs"]
mod running;

const CASES: [&str; 3] = ["gateway", "dns", "setup"];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let asked =
        arguments.iter().position(|argument| argument == "--case").and_then(|at| arguments.get(at + 1));
    let asked: Vec<&str> = asked.map_or(CASES.to_vec(), |list| list.split(',').collect());
    if let Some(unknown) = asked.iter().find(|case| !CASES.contains(case)) {
        eprintln!("prgw: no case is called {unknown}; there are {}", CASES.join(", "));
        std::process::exit(2);
    }
    if asked.contains(&"gateway") {
        gateway::run(json);
    }
    if asked.iter().any(|case| *case != "gateway") {
        let mut edge = edge::Edge::start();
        if asked.contains(&"dns") {
            load::dns(&mut edge, json);
        }
        if asked.contains(&"setup") {
            load::setup(&mut edge, json);
        }
    }
}

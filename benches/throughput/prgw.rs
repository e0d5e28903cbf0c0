//! `prgw_established`: packets of connections that came in by the Realm Gateway, once they are there: somebody outside was told an address
//! of the circular pool, and the first packet to it was given its host. Here the host's home is given all of them before any packet
//! comes, by the very call that a claim ends in; the pool is of 256 addresses, which many hosts share, as clients differ.
//!
//! What would be of the host's mappings instead shows: its source would be of another pool ([`address`]), and a session more.

use crate::bed::Outcome;
use crate::capture::{self, Load, PORTS_PER_HOST};
use ces::appliance::assemble::Parts;
use ces::flow::{Key4, Protocol, Realm};
use std::net::Ipv4Addr;

/// What a configuration has beside the others.
pub const SECTIONS: &str = "[hosts]\n[prgw]\npool = [\"198.19.0.0/24\"]\n";

/// Where the client of the `n`th host finds it.
pub fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::new(198, 19, 0, n as u8)
}

/// Before the worker runs: in the order in which hosts would open theirs.
pub fn install(parts: &mut Parts, hosts: u32) -> Outcome<()> {
    let worker = &mut parts.workers[0];
    let nat = worker.nat.as_mut().ok_or("nothing is translated")?;
    for flow in Load::SMALL.opening_order(hosts * PORTS_PER_HOST) {
        let ((host, port), client) = capture::sockets(flow);
        let to = (address(flow / PORTS_PER_HOST), port);
        let key = Key4::new(Realm(2), Protocol::Udp, client, to);
        let claimed = nat
            .claim(&mut worker.flows, &key, (Realm(1), host), 0)
            .map_err(|why| format!("{key:?}: {why:?}"))?;
        if !claimed.is_new {
            return Err(format!("{key:?} is there already").into());
        }
        // Nobody counts them here.
        nat.tell_of_claims(|_| true);
        parts.counters[0].sessions_created.add(1);
    }
    Ok(())
}

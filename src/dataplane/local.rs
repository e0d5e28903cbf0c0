//! To an address of the edge's own: echo is answered here; for anything else nobody listens yet.

use super::core::Core;
use super::message;
use super::slow::Arrival;
use super::world::World;
use crate::dpdk::Mbuf;
use crate::packet::build::Path;
use crate::packet::{DropReason, Ipv4, Link, build};

/// See the module.
pub fn ipv4(
    core: &mut Core,
    world: &World,
    ip: &Ipv4<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<(), DropReason> {
    let interface = &world.interfaces[usize::from(arrival.interface)];
    let path = Path::back(&Link::parse(mbuf.data())?, interface.mac);
    let room = 14 + usize::from(ip.total_length());
    let mut answered = false;
    let reply = message::compose(&core.pool, room, |buffer| {
        let length = build::echo_reply(buffer, &path, ip)?;
        answered = length.is_some();
        Ok(length.unwrap_or(0))
    });
    match reply {
        Some(reply) if answered => {
            core.originate(interface, reply);
            Ok(())
        }
        Some(_) => Err(DropReason::LocalNoListener),
        None => Err(DropReason::NoBuffer),
    }
}

//! What two hosts may use of each other: from what policies say, part by part in their order, to lists of what is open, as messages
//! and tunnels have them.
//!
//! Guarantees: nothing is open in a list that is closed in what it was made of. What a list can't say exactly it says more strictly: a
//! hole in "any protocol" leaves TCP, UDP, ICMP, ESP and SCTP of it. Of other protocols than TCP and UDP nobody looks at ports: they
//! are at port 0. Never: grants more services than fit; there is none of them then.

use arrayvec::ArrayVec;

use crate::config::Services;
use crate::edge::cetp::message::value::SERVICES;
use crate::edge::cetp::message::{Direction, Service};
use crate::flow::filter::{ENTRIES_MAX, Filter};
use crate::flow::tunnel::{self, Opens};
use crate::packet::Protocol;

/// What is open, whatever the order.
pub type List = ArrayVec<Services, SERVICES>;

/// There are more services than a session may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ESP: u8 = 50;
const SCTP: u8 = 132;

/// What is open of entries of which the first that a flow is in decides.
///
/// # Errors
/// It is more than fits.
pub fn opened(entries: impl IntoIterator<Item = (Services, bool)>) -> Result<List, TooMany> {
    let mut list = List::new();
    let mut closed: ArrayVec<Services, { ENTRIES_MAX + 1 }> = ArrayVec::new();
    for (services, is_open) in entries {
        if is_open {
            without(services, &closed, &mut list)?;
        } else if closed.try_push(services).is_err() {
            return Err(TooMany);
        }
    }
    Ok(list)
}

/// What an agreement lets through.
///
/// # Errors
/// It is more than fits.
pub fn agreed(filter: &Filter) -> Result<List, TooMany> {
    let entry = |entry: &crate::flow::filter::Entry| {
        (Services { protocol: entry.protocol, first: entry.first, last: entry.last }, entry.is_open)
    };
    opened(filter.entries().iter().map(entry))
}

/// Adds to `list` what of `services` lies in none that is closed.
fn without(services: Services, closed: &[Services], list: &mut List) -> Result<(), TooMany> {
    let is_touched = |closed: &&Services| closed.and(&services).is_some();
    let Some(protocol) = services.protocol else {
        if !closed.iter().any(|closed| is_touched(&closed)) {
            return add(list, services);
        }
        let one = |protocol| Services { protocol: Some(protocol), ..services };
        return [TCP, UDP, ICMP, ESP, SCTP].into_iter().try_for_each(|p| without(one(p), closed, list));
    };
    if !matches!(protocol, TCP | UDP) {
        // Nobody looks at its ports, if it has any: it is at port 0.
        let is_hidden =
            services.first > 0 || closed.iter().filter(is_touched).any(|closed| closed.first == 0);
        return if is_hidden { Ok(()) } else { add(list, services) };
    }
    let mut first = u32::from(services.first);
    let mut holes: ArrayVec<Services, { ENTRIES_MAX + 1 }> =
        closed.iter().filter_map(|closed| closed.and(&services)).collect();
    holes.sort_unstable_by_key(|hole| hole.first);
    for hole in holes {
        if first < u32::from(hole.first) {
            add(list, Services { first: first as u16, last: hole.first - 1, ..services })?;
        }
        first = first.max(u32::from(hole.last) + 1);
    }
    if first <= u32::from(services.last) {
        add(list, Services { first: first as u16, ..services })?;
    }
    Ok(())
}

/// Adds what isn't there.
pub fn add(list: &mut List, services: Services) -> Result<(), TooMany> {
    if list.iter().any(|known| known.covers(&services)) {
        return Ok(());
    }
    list.retain(|known| !services.covers(known));
    list.try_push(services).map_err(|_| TooMany)
}

/// Whether all of `services` is open in `list`, be it in pieces.
pub fn is_within(services: Services, list: &[Services]) -> bool {
    let mut rest = List::new();
    let is_cut = matches!(services.protocol, Some(TCP | UDP)) && without(services, list, &mut rest).is_ok();
    list.iter().any(|open| open.covers(&services)) || is_cut && rest.is_empty()
}

/// What is open in both.
///
/// # Errors
/// It is more than fits.
pub fn common(one: &[Services], other: &[Services]) -> Result<List, TooMany> {
    let mut list = List::new();
    let pairs = one.iter().flat_map(|one| other.iter().filter_map(|other| one.and(other)));
    pairs.into_iter().try_for_each(|services| add(&mut list, services))?;
    Ok(list)
}

/// As a message has it.
pub fn on_the_wire(services: &Services, direction: Direction) -> Service {
    let Services { protocol, first, last } = *services;
    Service { protocol: protocol.map(Protocol), direction, ports: (first, last) }
}

/// A service of a message, whoever may open it.
pub fn from_the_wire(service: &Service) -> Services {
    let (first, last) = service.ports;
    Services { protocol: service.protocol.map(|protocol| protocol.0), first, last }
}

/// As a tunnel has it, whose host behind this edge is the one that asked for `ToInbound`.
pub fn in_a_tunnel(service: &Service) -> tunnel::Service {
    let opens = match service.direction {
        Direction::ToInbound => Opens::Host,
        Direction::ToOutbound => Opens::Remote,
        Direction::Both => Opens::Either,
    };
    let protocol = service.protocol.map(|protocol| protocol.0);
    tunnel::Service { protocol, ports: service.ports, opens }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::filter::{Entry, Opener};
    use proptest::prelude::*;

    fn parse(text: &str) -> Services {
        Services::parse(text).expect(text)
    }

    #[test]
    fn a_hole_is_cut_out_and_what_cannot_be_said_is_left_out() {
        let open = |entries: &[(&str, bool)]| {
            let list = opened(entries.iter().map(|(text, is_open)| (parse(text), *is_open)));
            list.map(|list| list.iter().map(Services::to_string).collect::<Vec<_>>())
        };
        assert_eq!(open(&[("any", true)]).unwrap(), ["any"]);
        assert_eq!(open(&[("tcp/25", false), ("tcp", true)]).unwrap(), ["tcp/0-24", "tcp/26-65535"]);
        let list = open(&[("tcp/25", false), ("any", true)]).unwrap();
        assert_eq!(list, ["tcp/0-24", "tcp/26-65535", "udp", "icmp", "50", "sctp"]);
        assert_eq!(open(&[("tcp/443", true), ("any", false)]).unwrap(), ["tcp/443"]);
        assert_eq!(open(&[("any", false), ("tcp", true)]).unwrap(), [""; 0]);
        let holes: Vec<String> = (1..=8).map(|port| format!("tcp/{}", port * 100)).collect();
        let entries: Vec<_> = holes.iter().map(|hole| (&**hole, false)).chain([("tcp", true)]).collect();
        assert_eq!(open(&entries), Err(TooMany), "nine ranges");
    }

    #[test]
    fn what_is_open_in_pieces_is_open() {
        let list = ["tcp/1-80", "tcp/81-65535", "icmp"].map(parse);
        let within = ["tcp/1-65535", "tcp/80-90", "icmp"].map(|text| is_within(parse(text), &list));
        assert_eq!(within, [true; 3]);
        assert!(!is_within(parse("any"), &list) && !is_within(parse("udp/53"), &list));
        assert!(!is_within(parse("tcp"), &list[..1]));
    }

    fn services() -> impl Strategy<Value = Services> {
        let protocol =
            prop::sample::select(vec![None, Some(TCP), Some(UDP), Some(ICMP), Some(SCTP), Some(99)]);
        let port = || prop::sample::select(vec![0u16, 1, 2, 3, 9, 10, u16::MAX - 1, u16::MAX]);
        (protocol, port(), port()).prop_map(|(protocol, one, other)| match protocol {
            None | Some(TCP | UDP) => Services { protocol, first: one.min(other), last: one.max(other) },
            _ => Services { protocol, ..Services::ANY },
        })
    }

    proptest! {
        /// Never more open than agreed, by the table of tunnels; and for TCP and UDP as open.
        #[test]
        fn what_is_open_was_agreed(entries in prop::collection::vec((services(), any::<bool>()), 0..6)) {
            let mut filter = Filter::new(Opener::Local);
            for (Services { protocol, first, last }, is_open) in &entries {
                filter.push(Entry { protocol: *protocol, first: *first, last: *last, is_open: *is_open });
            }
            let Ok(list) = agreed(&filter) else { return Ok(()) };
            for protocol in [TCP, UDP, ICMP, SCTP, ESP, 99, 33] {
                for port in [0u16, 1, 2, 3, 4, 9, 10, 11, 500, u16::MAX - 1, u16::MAX] {
                    let looked_at = if matches!(protocol, TCP | UDP) { port } else { 0 };
                    let is_listed = list.iter().any(|services| {
                        let is_protocol = services.protocol.is_none_or(|known| known == protocol);
                        is_protocol && (services.first..=services.last).contains(&looked_at)
                    });
                    let permits = filter.permits(Opener::Local, protocol, looked_at);
                    prop_assert!(!is_listed || permits, "{protocol}/{port} {list:?}");
                    if matches!(protocol, TCP | UDP) {
                        prop_assert_eq!(is_listed, permits, "{}/{} {:?}", protocol, port, list);
                    }
                }
            }
        }

        #[test]
        fn what_is_common_is_in_both(
            one in prop::collection::vec(services(), 0..3),
            other in prop::collection::vec(services(), 0..2),
            what in services(),
        ) {
            let Ok(both) = common(&one, &other) else { return Ok(()) };
            let is_in = |list: &[Services]| list.iter().any(|known| known.covers(&what));
            prop_assert_eq!(is_in(&both), is_in(&one) && is_in(&other));
        }
    }
}

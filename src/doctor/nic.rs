//! What a NIC can have at most, as its kernel driver tells `ethtool -g` and `ethtool -l`: rings and channels, asked by the
//! kernel's generic netlink (Documentation/networking/ethtool-netlink.rst), which needs no privileges.
//!
//! Guarantees: a question is one message, its answer another; what the kernel does not know, or refuses, is `None`. Never:
//! changes anything.

use netlink_sys::constants::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};

/// The limits of a device; `None` where nobody says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NicLimits {
    /// Descriptors of a receive queue.
    pub rx_descriptors: Option<u32>,
    /// Descriptors of a transmit queue.
    pub tx_descriptors: Option<u32>,
    pub rx_queues: Option<u32>,
    pub tx_queues: Option<u32>,
}

impl NicLimits {
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// `nlmsghdr` and `genlmsghdr`.
const HEADER: usize = 16 + 4;
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const NESTED: u16 = 1 << 15;
/// Both flags of an attribute's type.
const TYPE: u16 = 0x3fff;

/// The controller of generic netlink, which knows the numbers of the families.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

const RINGS_GET: u8 = 15;
const CHANNELS_GET: u8 = 17;
/// `ETHTOOL_A_RINGS_HEADER`, `ETHTOOL_A_CHANNELS_HEADER`, and the device's name inside.
const ABOUT: u16 = 1;
const DEVICE_NAME: u16 = 2;
const RINGS_RX_MAX: u16 = 2;
const RINGS_TX_MAX: u16 = 5;
const CHANNELS_RX_MAX: u16 = 2;
const CHANNELS_TX_MAX: u16 = 3;
const CHANNELS_COMBINED_MAX: u16 = 5;

/// The limits of the network device of that name, in the network namespace of the calling thread.
pub fn ask_kernel(device: &str) -> NicLimits {
    ask(device).unwrap_or_default()
}

fn ask(device: &str) -> Option<NicLimits> {
    let mut socket = Socket::new(NETLINK_GENERIC).ok()?;
    socket.bind_auto().ok()?;
    socket.connect(&SocketAddr::new(0, 0)).ok()?;
    let name = attribute(FAMILY_NAME, b"ethtool\0");
    let family = exchange(&socket, CONTROL, GET_FAMILY, &name)?;
    let family = value(&family, FAMILY_ID).and_then(|id| Some(u16::from_ne_bytes(*id.first_chunk()?)))?;
    let about = attribute(ABOUT | NESTED, &attribute(DEVICE_NAME, &[device.as_bytes(), b"\0"].concat()));
    let get = |command| exchange(&socket, family, command, &about).unwrap_or_default();
    Some(limits(&get(RINGS_GET), &get(CHANNELS_GET)))
}

/// From the attributes of both answers. A combined channel is a queue each way.
fn limits(rings: &[u8], channels: &[u8]) -> NicLimits {
    let number = |of: &[u8], kind| value(of, kind).and_then(|v| Some(u32::from_ne_bytes(*v.first_chunk()?)));
    let combined = number(channels, CHANNELS_COMBINED_MAX);
    let queues = |kind| match (number(channels, kind), combined) {
        (None, None) => None,
        (own, combined) => Some(own.unwrap_or(0).saturating_add(combined.unwrap_or(0))),
    };
    NicLimits {
        rx_descriptors: number(rings, RINGS_RX_MAX),
        tx_descriptors: number(rings, RINGS_TX_MAX),
        rx_queues: queues(CHANNELS_RX_MAX),
        tx_queues: queues(CHANNELS_TX_MAX),
    }
}

/// Asks, and gives the attributes of the answer; `None` where it is an error.
fn exchange(socket: &Socket, family: u16, command: u8, attributes: &[u8]) -> Option<Vec<u8>> {
    let length = (HEADER + attributes.len()) as u32;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend([family, REQUEST].map(u16::to_ne_bytes).concat());
    // Sequence and port of the sender: one question at a time, on a socket of its own.
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend(attributes);
    socket.send(&message, 0).ok()?;
    let (answer, _) = socket.recv_from_full().ok()?;
    let is_error = u16::from_ne_bytes(*answer.get(4..)?.first_chunk()?) == ERROR;
    if is_error { None } else { Some(answer.get(HEADER..)?.to_vec()) }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [(4 + value.len()) as u16, kind].map(u16::to_ne_bytes).concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The first attribute of that kind.
fn value(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let [a, b, c, d] = *attributes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([c, d]) & TYPE == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(all: &[(u16, u32)]) -> Vec<u8> {
        let head = attribute(ABOUT | NESTED, &attribute(DEVICE_NAME, b"eth0\0"));
        let numbers = all.iter().map(|(kind, n)| attribute(*kind, &n.to_ne_bytes()));
        [head].into_iter().chain(numbers).flatten().collect()
    }

    #[test]
    fn what_both_answers_say() {
        let rings = numbers(&[(2, 4096), (3, 1), (4, 1), (5, 8160), (6, 512), (9, 512)]);
        let combined = numbers(&[(2, 0), (4, 1), (5, 63), (9, 4)]);
        let separate = numbers(&[(2, 8), (3, 16)]);
        let (rx, tx) = (Some(4096), Some(8160));
        let expected =
            |rx_queues, tx_queues| NicLimits { rx_descriptors: rx, tx_descriptors: tx, rx_queues, tx_queues };
        assert_eq!(limits(&rings, &combined), expected(Some(63), Some(63)));
        assert_eq!(limits(&rings, &separate), expected(Some(8), Some(16)));
        assert_eq!(limits(&rings, &[]), expected(None, None));
        assert!(limits(&[], &[]).is_unknown());
    }

    #[test]
    fn nobody_has_no_limits() {
        assert!(ask_kernel("no-such-device").is_unknown());
        assert!(ask_kernel("a name that is longer than any device's").is_unknown());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(rings: Vec<u8>, channels: Vec<u8>) {
            limits(&rings, &channels);
        }
    }
}

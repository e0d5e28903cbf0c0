//! What is asked of a device: the wishes of the caller, cut down to what the device says it has.
//!
//! Pure functions, so that the choice for a NIC can be tested without one. Never asks for an offload that the device did not
//! announce. `MBUF_FAST_FREE` is never asked for: it promises that all packets of a queue come from one pool, which the
//! owners in this room cannot prove.

use super::ffi::{self, ces_port_info};
use super::pool::HEADROOM;

/// Ethernet header, two VLAN tags and the checksum: what a frame has besides its MTU.
const FRAME_OVERHEAD: u32 = 14 + 8 + 4;

/// The symmetric Toeplitz key of Woo and Park ("Scalable TCP Session Monitoring with Symmetric Receive-side Scaling", 2012):
/// both directions of a flow have the same hash. As long as the longest key of a device.
pub(super) static RSS_KEY: [u8; 64] = {
    let mut key = [0x6d; 64];
    let mut i = 1;
    while i < key.len() {
        key[i] = 0x5a;
        i += 2;
    }
    key
};

/// A key's length where the device does not say: the Toeplitz key of 40 bytes that most have.
const DEFAULT_RSS_KEY_LENGTH: u8 = 40;

/// Drivers that accept an RSS configuration, and do not hash by it: one gives every queue the same packets, the other
/// leaves the choice to the kernel.
const NO_REAL_RSS: [&str; 2] = ["net_null", "net_tap"];

/// Drivers that verify checksums in software, the payload included, at a cost that the caller can avoid.
const SOFTWARE_CHECKSUM: [&str; 1] = ["net_tap"];

/// Drivers that want as many transmit queues as receive queues.
const PAIRED_QUEUES: [&str; 1] = ["net_tap"];

/// What the caller wants of a port.
#[derive(Clone, Debug)]
pub struct PortOptions {
    /// As configured: a virtual device string or a PCI address; what follows a comma doesn't matter.
    pub name: String,
    /// Receive queues wanted, 1 or more; the device may have fewer.
    pub rx_queues: u16,
    /// Transmit queues wanted, 1 or more; the device may have fewer.
    pub tx_queues: u16,
    /// Descriptors of a receive queue; adjusted to the device's limits.
    pub rx_desc: u16,
    /// Descriptors of a transmit queue; adjusted to the device's limits.
    pub tx_desc: u16,
    /// Bytes of the largest IP packet; `None` for the device's default.
    pub mtu: Option<u16>,
    /// Whether to receive frames for other stations; all multicast is received in any case where the device can.
    pub promiscuous: bool,
    /// Whether frames carry VLAN tags that the device may take off and put on.
    pub vlan: bool,
    /// Whether who polls may sleep until a packet comes ([`Interrupts`](super::Interrupts)), where the device can.
    pub rx_interrupts: bool,
}

impl PortOptions {
    /// One queue each way with 1024 descriptors, the device's MTU, not promiscuous.
    pub fn new(name: impl Into<String>) -> Self {
        PortOptions {
            name: name.into(),
            rx_queues: 1,
            tx_queues: 1,
            rx_desc: 1024,
            tx_desc: 1024,
            mtu: None,
            promiscuous: false,
            vlan: false,
            rx_interrupts: false,
        }
    }
}

/// What was obtained; the data plane does the rest in software.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The name of the driver.
    pub driver: String,
    pub rx_queues: u16,
    pub tx_queues: u16,
    pub rx_desc: u16,
    pub tx_desc: u16,
    /// The device spreads flows over its receive queues by a hash that is the same in both directions.
    pub rss: bool,
    /// [`rx_ip_checksum`](super::Mbuf::rx_ip_checksum) knows.
    pub rx_ipv4_checksum: bool,
    /// [`rx_l4_checksum`](super::Mbuf::rx_l4_checksum) knows.
    pub rx_l4_checksum: bool,
    /// [`set_tx_ipv4_checksum`](super::Mbuf::set_tx_ipv4_checksum) works.
    pub tx_ipv4_checksum: bool,
    /// [`rx_vlan_stripped`](super::Mbuf::rx_vlan_stripped) has the outermost tag.
    pub rx_vlan_strip: bool,
    /// [`set_tx_vlan`](super::Mbuf::set_tx_vlan) works.
    pub tx_vlan_insert: bool,
    /// Packets of several segments may be sent; otherwise linearize them first.
    pub tx_multi_segments: bool,
    /// The NUMA node of the device, where it has one.
    pub socket: Option<u8>,
}

/// One attempt at configuring a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) rx_queues: u16,
    pub(super) tx_queues: u16,
    pub(super) mtu: u16,
    pub(super) rx_offloads: u64,
    pub(super) tx_offloads: u64,
    pub(super) rss_types: u64,
    pub(super) rss_key_length: u8,
    /// No device announces them: one that has none may refuse to start.
    pub(super) rx_interrupts: bool,
}

impl Plan {
    /// The attempts, best first: everything that the device announces; without RSS and offloads; and the device's own MTU.
    pub(super) fn attempts(
        info: &ces_port_info,
        driver: &str,
        options: &PortOptions,
        data_room: u16,
        rss_wanted: u64,
    ) -> [Plan; 3] {
        let best = Plan::best(info, driver, options, data_room, rss_wanted);
        let plain = Plan { rx_offloads: 0, tx_offloads: 0, rss_types: 0, rx_interrupts: false, ..best };
        [best, plain, Plan { mtu: 0, ..plain }]
    }

    fn best(
        info: &ces_port_info,
        driver: &str,
        options: &PortOptions,
        data_room: u16,
        rss_wanted: u64,
    ) -> Plan {
        let rx_queues = options.rx_queues.clamp(1, info.max_rx_queues.max(1));
        let spreads = rx_queues > 1 && !NO_REAL_RSS.contains(&driver);
        let rss_types = if spreads { info.rss_types & rss_wanted } else { 0 };
        let mtu = options.mtu.map_or(0, |mtu| clamp_mtu(mtu, info));

        let mut rx_offloads = 0;
        if !SOFTWARE_CHECKSUM.contains(&driver) {
            rx_offloads |= ffi::CES_RX_OFFLOAD_IPV4_CKSUM
                | ffi::CES_RX_OFFLOAD_UDP_CKSUM
                | ffi::CES_RX_OFFLOAD_TCP_CKSUM;
        }
        let mut tx_offloads = ffi::CES_TX_OFFLOAD_IPV4_CKSUM | ffi::CES_TX_OFFLOAD_MULTI_SEGS;
        if options.vlan {
            rx_offloads |= ffi::CES_RX_OFFLOAD_VLAN_STRIP;
            tx_offloads |= ffi::CES_TX_OFFLOAD_VLAN_INSERT;
        }
        if rss_types != 0 {
            rx_offloads |= ffi::CES_RX_OFFLOAD_RSS_HASH;
        }
        if u32::from(mtu) + FRAME_OVERHEAD > u32::from(data_room.saturating_sub(HEADROOM)) {
            rx_offloads |= ffi::CES_RX_OFFLOAD_SCATTER;
        }
        let tx_queues = if PAIRED_QUEUES.contains(&driver) { rx_queues } else { options.tx_queues };
        Plan {
            rx_queues,
            tx_queues: tx_queues.clamp(1, info.max_tx_queues.max(1)),
            mtu,
            rx_offloads: u64::from(rx_offloads) & info.rx_offloads,
            tx_offloads: u64::from(tx_offloads) & info.tx_offloads,
            rss_types,
            rss_key_length: match info.rss_key_length {
                0 => DEFAULT_RSS_KEY_LENGTH,
                length => length,
            },
            rx_interrupts: options.rx_interrupts,
        }
    }

    /// What this plan gives the data plane once the device has accepted it.
    pub(super) fn capabilities(
        &self,
        info: &ces_port_info,
        driver: &str,
        (rx_desc, tx_desc): (u16, u16),
    ) -> Capabilities {
        let rx = |offloads: u32| self.rx_offloads & u64::from(offloads) == u64::from(offloads);
        let tx = |offloads: u32| self.tx_offloads & u64::from(offloads) == u64::from(offloads);
        Capabilities {
            driver: driver.into(),
            rx_queues: self.rx_queues,
            tx_queues: self.tx_queues,
            rx_desc,
            tx_desc,
            rss: self.rss_types != 0,
            rx_ipv4_checksum: rx(ffi::CES_RX_OFFLOAD_IPV4_CKSUM),
            rx_l4_checksum: rx(ffi::CES_RX_OFFLOAD_UDP_CKSUM | ffi::CES_RX_OFFLOAD_TCP_CKSUM),
            tx_ipv4_checksum: tx(ffi::CES_TX_OFFLOAD_IPV4_CKSUM),
            rx_vlan_strip: rx(ffi::CES_RX_OFFLOAD_VLAN_STRIP),
            tx_vlan_insert: tx(ffi::CES_TX_OFFLOAD_VLAN_INSERT),
            tx_multi_segments: tx(ffi::CES_TX_OFFLOAD_MULTI_SEGS),
            socket: u8::try_from(info.socket).ok(),
        }
    }
}

/// Within the device's limits, where it names any.
fn clamp_mtu(mtu: u16, info: &ces_port_info) -> u16 {
    let most = if info.max_mtu == 0 { u16::MAX } else { info.max_mtu };
    mtu.min(most).max(info.min_mtu)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSS_WANTED: u64 = 0b111;

    fn nic() -> ces_port_info {
        ces_port_info {
            max_rx_queues: 16,
            max_tx_queues: 8,
            min_mtu: 68,
            max_mtu: 9702,
            rss_key_length: 52,
            rx_offloads: u64::MAX,
            tx_offloads: u64::MAX,
            rss_types: 0b1011,
            ..Default::default()
        }
    }

    fn options(queues: u16) -> PortOptions {
        PortOptions { rx_queues: queues, tx_queues: queues, ..PortOptions::new("0000:03:00.0") }
    }

    fn best(info: &ces_port_info, driver: &str, options: &PortOptions) -> Plan {
        Plan::attempts(info, driver, options, 2176, RSS_WANTED)[0]
    }

    #[test]
    fn a_nic_gives_all_that_is_wanted_and_nothing_more() {
        let plan = best(&nic(), "net_ice", &options(12));
        assert_eq!((plan.rx_queues, plan.tx_queues), (12, 8));
        assert_eq!((plan.rss_types, plan.rss_key_length), (0b011, 52));
        assert_eq!(plan.tx_offloads, 0x8002);
        assert_eq!(plan.rx_offloads, 0x8_000e, "checksums and the hash, but no scatter at this MTU");
        let got = plan.capabilities(&nic(), "net_ice", (512, 256));
        assert!(got.rss && got.rx_ipv4_checksum && got.rx_l4_checksum);
        assert!(got.tx_ipv4_checksum && got.tx_multi_segments);
        assert_eq!((got.driver.as_str(), got.rx_desc, got.tx_desc), ("net_ice", 512, 256));
    }

    #[test]
    fn tags_are_left_to_the_device_where_there_are_any() {
        let plan = |vlan| best(&nic(), "net_ice", &PortOptions { vlan, ..options(1) });
        let got = |vlan| plan(vlan).capabilities(&nic(), "net_ice", (1, 1));
        assert!(got(true).rx_vlan_strip && got(true).tx_vlan_insert);
        assert!(!got(false).rx_vlan_strip && !got(false).tx_vlan_insert);
        let plain = Plan::attempts(&nic(), "net_ice", &PortOptions { vlan: true, ..options(1) }, 2176, 0)[1];
        assert!(!plain.capabilities(&nic(), "net_ice", (1, 1)).rx_vlan_strip);
    }

    #[test]
    fn one_queue_needs_no_rss() {
        let plan = best(&nic(), "net_ice", &options(1));
        assert_eq!(plan.rss_types, 0);
        assert!(!plan.capabilities(&nic(), "net_ice", (1, 1)).rss);
    }

    #[test]
    fn drivers_that_only_say_they_hash_are_not_believed() {
        for driver in NO_REAL_RSS {
            assert_eq!(best(&nic(), driver, &options(2)).rss_types, 0);
        }
        assert_eq!(best(&nic(), "net_tap", &options(2)).rx_offloads, 0);
    }

    #[test]
    fn a_tap_has_as_many_ways_out_as_in() {
        let queues = |rx_queues, tx_queues| {
            let plan = best(&nic(), "net_tap", &PortOptions { rx_queues, tx_queues, ..options(1) });
            (plan.rx_queues, plan.tx_queues)
        };
        assert_eq!(queues(1, 2), (1, 1));
        assert_eq!(queues(2, 1), (2, 2));
    }

    #[test]
    fn a_device_without_anything_still_has_a_plan() {
        let bare = ces_port_info { max_rx_queues: 1, max_tx_queues: 1, ..Default::default() };
        let plan = best(&bare, "net_ring", &options(4));
        assert_eq!((plan.rx_queues, plan.tx_queues), (1, 1));
        assert_eq!((plan.rx_offloads, plan.tx_offloads, plan.rss_types, plan.mtu), (0, 0, 0, 0));
        assert_eq!(plan.rss_key_length, 40);
        assert_eq!(best(&bare, "net_ring", &options(0)).rx_queues, 1);
    }

    #[test]
    fn the_mtu_is_kept_within_limits_and_large_frames_are_scattered() {
        let wanted = |mtu| best(&nic(), "net_ice", &PortOptions { mtu: Some(mtu), ..options(1) });
        assert_eq!(wanted(1500).mtu, 1500);
        assert_eq!(wanted(40).mtu, 68);
        assert_eq!(wanted(u16::MAX).mtu, 9702);
        let scatter = u64::from(ffi::CES_RX_OFFLOAD_SCATTER);
        assert_eq!(wanted(1500).rx_offloads & scatter, 0);
        assert_eq!(wanted(9000).rx_offloads & scatter, scatter);
    }

    #[test]
    fn later_attempts_ask_for_less() {
        let options = PortOptions { mtu: Some(1400), ..options(2) };
        let [best, plain, bare] = Plan::attempts(&nic(), "net_ice", &options, 2176, RSS_WANTED);
        assert_ne!(best.rx_offloads, 0);
        assert_eq!((plain.rx_offloads, plain.tx_offloads, plain.rss_types, plain.mtu), (0, 0, 0, 1400));
        assert_eq!(bare, Plan { mtu: 0, ..plain });
    }

    #[test]
    fn the_key_hashes_both_directions_alike() {
        let forward = [10, 0, 0, 1, 192, 0, 2, 7, 0x30, 0x39, 0x00, 0x50];
        let backward = [192, 0, 2, 7, 10, 0, 0, 1, 0x00, 0x50, 0x30, 0x39];
        let other = [10, 0, 0, 2, 192, 0, 2, 7, 0x30, 0x39, 0x00, 0x50];
        assert_eq!(toeplitz(&RSS_KEY, &forward), toeplitz(&RSS_KEY, &backward));
        assert_ne!(toeplitz(&RSS_KEY, &forward), toeplitz(&RSS_KEY, &other));
    }

    /// The Toeplitz hash as receive-side scaling defines it: for every set bit of the input, the key from there on.
    fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
        let bit = |bytes: &[u8], i: usize| u32::from(bytes[i / 8] >> (7 - i % 8) & 1);
        let window = |i: usize| (i..i + 32).fold(0, |word, j| word << 1 | bit(key, j));
        (0..input.len() * 8).filter(|&i| bit(input, i) == 1).fold(0, |hash, i| hash ^ window(i))
    }
}

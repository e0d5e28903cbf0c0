//! Ports: a device from its configuration to its end.
//!
//! Guarantees: a device that lacks an offload, refuses one, or cannot set its MTU still starts; [`Capabilities`] tells what
//! was obtained. It is stopped and closed when its port and all of its queues are dropped, never while one is polled.
//! Control calls of one port exclude each other, as DPDK asks.

use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::burst::{Burst, RxQueue, TxQueue, free_bulk};
use super::error::{Errno, Error, check};
use super::ffi::{self, ces_port_conf, ces_port_info};
use super::options::device_name;
use super::plan::{Capabilities, Plan, PortOptions, RSS_KEY};
use super::pool::Pool;
use super::{Eal, log};

/// A started port: its controls and its figures. Packets go through its queues.
pub struct Port {
    device: Arc<Device>,
    capabilities: Capabilities,
}

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub up: bool,
    /// Megabits a second, where the device knows.
    pub speed_mbps: Option<u32>,
    pub full_duplex: bool,
}

/// The device's own counters since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    /// Dropped by the device because its queue was full.
    pub rx_missed: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    /// Dropped because the pool was empty.
    pub rx_no_mbuf: u64,
}

impl Port {
    /// Configures and starts the device that `options` names, receiving into `pool`; gives its queues, in order.
    ///
    /// # Errors
    /// [`Error::NoSuchPort`], [`Error::PortInUse`], or [`Error::Port`] with the step that failed and what the driver said.
    pub fn start(
        eal: &Eal,
        options: &PortOptions,
        pool: &Pool,
    ) -> Result<(Port, Vec<RxQueue>, Vec<TxQueue>), Error> {
        let name = device_name(&options.name);
        let id = id_by_name(&name).ok_or_else(|| Error::NoSuchPort { name: name.clone(), known: names() })?;
        if !eal.claim_port(id) {
            return Err(Error::PortInUse { name });
        }
        let mut device = Device {
            id,
            name,
            control: Mutex::new(()),
            has_interrupts: false,
            ring_queues: 0,
            _pool: pool.clone(),
            eal: eal.clone(),
        };
        let capabilities = device.bring_up(options, pool)?;
        let device = Arc::new(device);
        // SAFETY: set up and started just now; these are the only handles, as a port is claimed once.
        let rx = (0..capabilities.rx_queues).map(|queue| unsafe { RxQueue::new(&device, queue) }).collect();
        // SAFETY: as above.
        let tx = (0..capabilities.tx_queues).map(|queue| unsafe { TxQueue::new(&device, queue) }).collect();
        Ok((Port { device, capabilities }, rx, tx))
    }

    /// The number by which [`Mbuf::port`](super::Mbuf::port) names it.
    pub fn id(&self) -> u16 {
        self.device.id
    }

    /// The name of the device, without its arguments.
    pub fn name(&self) -> &str {
        &self.device.name
    }

    /// What was obtained from the device.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The state of the link, without waiting for it.
    pub fn link(&self) -> Result<Link, Error> {
        let mut link = ffi::ces_link::default();
        // SAFETY: a started port, and a place for the result.
        self.device.control("link", || unsafe { ffi::ces_port_link(self.device.id, &mut link) })?;
        let known = !matches!(link.speed_mbps, 0 | u32::MAX);
        Ok(Link { up: link.up, speed_mbps: known.then_some(link.speed_mbps), full_duplex: link.full_duplex })
    }

    /// The counters of the device.
    pub fn stats(&self) -> Result<PortStats, Error> {
        let mut stats = ffi::ces_port_stats::default();
        // SAFETY: a started port, and a place for the result.
        self.device.control("statistics", || unsafe { ffi::ces_port_stats(self.device.id, &mut stats) })?;
        Ok(PortStats {
            rx_packets: stats.rx_packets,
            tx_packets: stats.tx_packets,
            rx_bytes: stats.rx_bytes,
            tx_bytes: stats.tx_bytes,
            rx_missed: stats.rx_missed,
            rx_errors: stats.rx_errors,
            tx_errors: stats.tx_errors,
            rx_no_mbuf: stats.rx_no_mbuf,
        })
    }

    /// The Ethernet address.
    pub fn mac(&self) -> Result<[u8; 6], Error> {
        let mut mac = [0; 6];
        // SAFETY: a started port, and a place for six bytes.
        self.device.control("address", || unsafe { ffi::ces_port_mac(self.device.id, mac.as_mut_ptr()) })?;
        Ok(mac)
    }

    /// Changes the Ethernet address, where the driver can.
    pub fn set_mac(&self, mac: [u8; 6]) -> Result<(), Error> {
        // SAFETY: a started port, and six bytes.
        self.device.control("set address", || unsafe { ffi::ces_port_set_mac(self.device.id, mac.as_ptr()) })
    }

    /// Bytes of the largest IP packet.
    pub fn mtu(&self) -> Result<u16, Error> {
        let mut mtu = 0;
        // SAFETY: a started port, and a place for the result.
        self.device.control("MTU", || unsafe { ffi::ces_port_mtu(self.device.id, &mut mtu) })?;
        Ok(mtu)
    }

    /// Changes the MTU of the running device, where the driver can.
    pub fn set_mtu(&self, mtu: u16) -> Result<(), Error> {
        // SAFETY: a started port.
        self.device.control("set MTU", || unsafe { ffi::ces_port_set_mtu(self.device.id, mtu) })
    }
}

/// What a port and its queues hold together; closes the device when the last of them goes.
pub(super) struct Device {
    id: u16,
    name: String,
    control: Mutex<()>,
    /// Its receive queues were asked for interrupts, and it started.
    has_interrupts: bool,
    /// Receive queues that keep their packets when the device is closed.
    ring_queues: u16,
    _pool: Pool,
    eal: Eal,
}

impl Device {
    pub(super) fn id(&self) -> u16 {
        self.id
    }

    /// Whether its receive queues may have interrupts.
    pub(super) fn has_interrupts(&self) -> bool {
        self.has_interrupts
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn control(&self, action: &'static str, call: impl FnOnce() -> c_int) -> Result<(), Error> {
        let _guard = self.lock();
        log::forget_errors();
        check(call()).map_err(|reason| self.failed(action, reason))
    }

    fn failed(&self, action: &'static str, reason: Errno) -> Error {
        Error::Port { name: self.name.clone(), action, reason, log: log::take_errors() }
    }

    fn bring_up(&mut self, options: &PortOptions, pool: &Pool) -> Result<Capabilities, Error> {
        let mut info = ces_port_info::default();
        // SAFETY: a port that exists, and a place for the result.
        self.control("query", || unsafe { ffi::ces_port_info(self.id, &mut info) })?;
        let driver = driver_name(&info);
        let (plan, descriptors) = match self.begin(&info, &driver, options, pool) {
            // Some find out only now that they have none.
            Err(error) if options.rx_interrupts => {
                tracing::warn!("{error}; trying without interrupts");
                self.begin(&info, &driver, &PortOptions { rx_interrupts: false, ..options.clone() }, pool)?
            }
            result => result?,
        };
        self.has_interrupts = plan.rx_interrupts;
        match driver.as_str() {
            "net_ring" => self.ring_queues = plan.rx_queues,
            // This driver never gives back what the kernel has for reception.
            "net_af_xdp" => _ = self.eal.keep_memory(),
            _ => {}
        }
        self.apply_wishes(options);
        Ok(plan.capabilities(&info, &driver, descriptors))
    }

    /// Configured, with its queues, and started; and how many descriptors they have.
    fn begin(
        &self,
        info: &ces_port_info,
        driver: &str,
        options: &PortOptions,
        pool: &Pool,
    ) -> Result<(Plan, (u16, u16)), Error> {
        let plan = self.configure(info, driver, options, pool)?;
        let descriptors = self.set_up_queues(&plan, info.socket, options, pool)?;
        // SAFETY: configured, with all its queues.
        self.control("start", || unsafe { ffi::ces_port_start(self.id) })?;
        Ok((plan, descriptors))
    }

    /// The first attempt that the device accepts.
    fn configure(
        &self,
        info: &ces_port_info,
        driver: &str,
        options: &PortOptions,
        pool: &Pool,
    ) -> Result<Plan, Error> {
        // SAFETY: gives a constant.
        let rss_wanted = unsafe { ffi::ces_rss_types_ip_l4() };
        let [best, plain, bare] = Plan::attempts(info, driver, options, pool.data_room(), rss_wanted);
        for plan in [best, plain] {
            match self.try_configure(&plan) {
                Ok(()) => return Ok(plan),
                Err(error) => tracing::warn!("{error}; trying with less"),
            }
        }
        self.try_configure(&bare).map(|()| bare)
    }

    fn try_configure(&self, plan: &Plan) -> Result<(), Error> {
        let conf = ces_port_conf {
            rx_queues: plan.rx_queues,
            tx_queues: plan.tx_queues,
            rx_interrupts: plan.rx_interrupts,
            mtu: plan.mtu,
            rx_offloads: plan.rx_offloads,
            tx_offloads: plan.tx_offloads,
            rss_types: plan.rss_types,
            rss_key: RSS_KEY.as_ptr(),
            rss_key_length: plan.rss_key_length.min(RSS_KEY.len() as u8),
        };
        // SAFETY: a port that exists and is not started; the key is as long as it says, and static.
        self.control("configure", || unsafe { ffi::ces_port_configure(self.id, &conf) })
    }

    fn set_up_queues(
        &self,
        plan: &Plan,
        socket: c_int,
        options: &PortOptions,
        pool: &Pool,
    ) -> Result<(u16, u16), Error> {
        let (mut rx_desc, mut tx_desc) = (options.rx_desc.max(1), options.tx_desc.max(1));
        // SAFETY: a configured port, and two numbers to adjust.
        self.control("descriptors", || unsafe {
            ffi::ces_port_adjust_descriptors(self.id, &mut rx_desc, &mut tx_desc)
        })?;
        for queue in 0..plan.rx_queues {
            // SAFETY: a queue of a configured port; the pool lives as long as the device.
            self.control("receive queue", || unsafe {
                ffi::ces_rx_queue_setup(self.id, queue, rx_desc, socket, pool.as_ptr())
            })?;
        }
        for queue in 0..plan.tx_queues {
            // SAFETY: a queue of a configured port.
            self.control("transmit queue", || unsafe {
                ffi::ces_tx_queue_setup(self.id, queue, tx_desc, socket)
            })?;
        }
        Ok((rx_desc, tx_desc))
    }

    /// What is good to have: a device that cannot is used as it is.
    fn apply_wishes(&self, options: &PortOptions) {
        let wish = |action, result: Result<(), Error>| {
            if let Err(error) = result {
                tracing::debug!("{action} is not to be had: {error}");
            }
        };
        if options.promiscuous {
            // SAFETY: a started port.
            wish(
                "promiscuous mode",
                self.control("promiscuous", || unsafe { ffi::ces_port_promiscuous(self.id) }),
            );
        }
        // SAFETY: a started port.
        wish("all multicast", self.control("multicast", || unsafe { ffi::ces_port_all_multicast(self.id) }));
        if let Some(mtu) = options.mtu {
            // SAFETY: a started port.
            wish("the MTU", self.control("set MTU", || unsafe { ffi::ces_port_set_mtu(self.id, mtu) }));
        }
    }

    /// The ring driver forgets the packets that are still in its rings: they are taken out first.
    fn drain_rings(&self) {
        let mut burst = Burst::new();
        for queue in 0..self.ring_queues {
            loop {
                // SAFETY: started, and its handles are gone; room for as many as the burst holds, each ours when received.
                unsafe {
                    let room = burst.capacity() as u16;
                    let got = ffi::ces_rx_burst(self.id, queue, burst.as_mut_ptr().cast(), room);
                    burst.set_len(usize::from(got));
                }
                if burst.is_empty() {
                    break;
                }
                free_bulk(&mut burst);
            }
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.drain_rings();
        let id = self.id;
        // SAFETY: no queue has a handle any more; stopping a port that did not start does nothing.
        let stopped = self.control("stop", || unsafe { ffi::ces_port_stop(id) });
        // SAFETY: as above, and nobody names the port after this: it stays claimed.
        let closed = self.control("close", || unsafe { ffi::ces_port_close(id) });
        for error in [stopped, closed].into_iter().filter_map(Result::err) {
            tracing::warn!("{error}");
        }
    }
}

fn driver_name(info: &ces_port_info) -> String {
    if info.driver.is_null() {
        return String::new();
    }
    // SAFETY: not null, so the static, NUL-terminated name of a loaded driver.
    unsafe { CStr::from_ptr(info.driver) }.to_string_lossy().into_owned()
}

pub(super) fn id_by_name(name: &str) -> Option<u16> {
    let name = CString::new(name).ok()?;
    let mut id = 0;
    // SAFETY: a NUL-terminated name, and a place for the result.
    check(unsafe { ffi::ces_port_by_name(name.as_ptr(), &mut id) }).ok().map(|()| id)
}

pub(super) fn names() -> Vec<String> {
    let mut names = Vec::new();
    let mut from = 0;
    let mut id = 0;
    // SAFETY: walks a table, with a place for the result.
    while unsafe { ffi::ces_port_next(from, &mut id) } {
        let mut buffer = [0 as c_char; ffi::CES_PORT_NAME_SIZE as usize];
        // SAFETY: the buffer has the size that the header declares.
        if check(unsafe { ffi::ces_port_name(id, buffer.as_mut_ptr()) }).is_ok() {
            // SAFETY: written just now, with a NUL within the buffer.
            names.push(unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned());
        }
        from = id + 1;
    }
    names
}

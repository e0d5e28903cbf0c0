//! Bursts of packets and the queues they come from and go to.
//!
//! Guarantees: one call into C a burst; a queue is polled by one thread at a time; what a device does not take stays in the
//! burst, in order. Never allocates, locks, logs or drops a packet by itself.

use std::sync::Arc;

use arrayvec::ArrayVec;

use super::ffi::{self, ces_mbuf};
use super::mbuf::Mbuf;
use super::port::Device;

/// Packets handled together.
pub const BURST: usize = 64;

/// Up to [`BURST`] packets, in place.
pub type Burst = ArrayVec<Mbuf, BURST>;

/// The one handle to a receive queue of a started port.
pub struct RxQueue {
    port: u16,
    queue: u16,
    device: Arc<Device>,
}

/// The one handle to a transmit queue of a started port.
pub struct TxQueue {
    port: u16,
    queue: u16,
    _device: Arc<Device>,
}

impl RxQueue {
    /// # Safety
    /// The queue is set up, its port started, and this its only handle.
    pub(super) unsafe fn new(device: &Arc<Device>, queue: u16) -> Self {
        RxQueue { port: device.id(), queue, device: Arc::clone(device) }
    }

    /// The number of the port.
    #[inline]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of the queue within its port.
    #[inline]
    pub fn queue(&self) -> u16 {
        self.queue
    }

    pub(super) fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Appends what has arrived, up to the capacity of `burst`; gives how many. Some drivers receive in fours or more: poll
    /// with an empty burst.
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst) -> usize {
        let length = burst.len();
        let spare = burst.remaining_capacity();
        // SAFETY: room for `spare` pointers behind the first `length`; `Mbuf` is transparent, and the device gives each of
        // what it receives to us alone. No other thread polls the queue, as this is its one handle, held exclusively.
        unsafe {
            let end = burst.as_mut_ptr().add(length).cast::<*mut ces_mbuf>();
            let received = usize::from(ffi::ces_rx_burst(self.port, self.queue, end, spare as u16));
            burst.set_len(length + received);
            received
        }
    }
}

impl TxQueue {
    /// # Safety
    /// The queue is set up, its port started, and this its only handle.
    pub(super) unsafe fn new(device: &Arc<Device>, queue: u16) -> Self {
        TxQueue { port: device.id(), queue, _device: Arc::clone(device) }
    }

    /// The number of the port.
    #[inline]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of the queue within its port.
    #[inline]
    pub fn queue(&self) -> u16 {
        self.queue
    }

    /// Sends from the front; gives how many the device took. The others stay, in order.
    #[inline]
    pub fn send(&mut self, burst: &mut Burst) -> usize {
        let length = burst.len();
        // SAFETY: `length` packets of ours; those that the device takes are its own from then on, and leave the burst by the
        // copy and the new length, without a drop. No other thread sends here, as this is the one handle, held exclusively.
        unsafe {
            let first = burst.as_mut_ptr();
            let sent = usize::from(ffi::ces_tx_burst(self.port, self.queue, first.cast(), length as u16))
                .min(length);
            std::ptr::copy(first.add(sent), first, length - sent);
            burst.set_len(length - sent);
            sent
        }
    }
}

/// Gives all packets of a burst back to their pools, in one call.
#[inline]
pub fn free_bulk(burst: &mut Burst) {
    let length = burst.len();
    // SAFETY: `length` packets of ours, forgotten by the new length before they are freed.
    unsafe {
        burst.set_len(0);
        ffi::ces_mbuf_free_bulk(burst.as_mut_ptr().cast(), length as u32);
    }
}

//! Interrupts of receive queues: what lets the thread that polls them sleep until a packet comes.
//!
//! Guarantees: after [`Interrupts::arm`] a packet that comes to any of the queues makes the descriptor readable. One that was there
//! before may not: who is about to sleep arms, looks once more, and sleeps then. Spurious ones come, and harm nobody.
//! Never: on the way of a packet.

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use nix::sys::epoll::{Epoll, EpollCreateFlags};

use super::burst::RxQueue;
use super::error::check;
use super::ffi;
use super::port::Device;

/// Of all queues of one thread.
pub struct Interrupts {
    epoll: Epoll,
    queues: Vec<(Arc<Device>, u16)>,
}

impl Interrupts {
    /// Of these queues; `None` unless every one has them.
    pub fn of<'a>(queues: impl IntoIterator<Item = &'a RxQueue>) -> Option<Interrupts> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).ok()?;
        let mut interrupts = Interrupts { epoll, queues: Vec::new() };
        for queue in queues {
            let (device, number) = (queue.device(), queue.queue());
            if !device.has_interrupts() {
                return None;
            }
            let epoll = interrupts.descriptor();
            // SAFETY: a queue of a started port, and an epoll instance that is there until the queue is taken out of it.
            let add = || unsafe { ffi::ces_rx_interrupt_add(device.id(), number, epoll) };
            device.control("interrupt", add).ok()?;
            interrupts.queues.push((device.clone(), number));
        }
        Some(interrupts)
    }

    fn descriptor(&self) -> c_int {
        self.epoll.0.as_raw_fd()
    }

    /// From now on packets make [`Interrupts::readable`] readable. False where a device refuses: then there is nothing to wait for.
    #[must_use = "without interrupts nothing ends a sleep"]
    pub fn arm(&self) -> bool {
        let are_armed = self.queues.iter().all(|(device, queue)| {
            // SAFETY: a queue of a started port.
            match check(unsafe { ffi::ces_rx_interrupt_arm(device.id(), *queue) }) {
                Ok(()) => true,
                // Those that are on always.
                Err(reason) => reason.code() == libc::ENOTSUP,
            }
        });
        // Some drivers leave it to the caller that the look that follows is not taken before (a store, then a load).
        fence(Ordering::SeqCst);
        are_armed
    }

    /// After a sleep: what has come is seen, and nothing more is told of.
    pub fn disarm(&self) {
        // SAFETY: an epoll instance that has queues alone.
        unsafe { ffi::ces_rx_interrupts_seen(self.descriptor()) };
        for (device, queue) in &self.queues {
            // SAFETY: a queue of a started port. What fails stays armed, which costs an interrupt.
            unsafe { ffi::ces_rx_interrupt_disarm(device.id(), *queue) };
        }
    }

    /// Readable once a packet has come. To wait for only: it is read by [`Interrupts::disarm`].
    pub fn readable(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        for (device, queue) in &self.queues {
            // SAFETY: a queue that was added.
            unsafe { ffi::ces_rx_interrupt_remove(device.id(), *queue, self.descriptor()) };
        }
    }
}

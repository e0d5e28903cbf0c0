//! Packet memory: a mempool of mbufs, allocated once.
//!
//! Guarantees: the memory lives as long as any handle, and as any mbuf taken from it: a pool whose mbufs are not all back
//! when its last handle goes is never given back (and says so). Bounded: an empty pool gives `None`, it never grows.

use std::ffi::{CString, c_int};
use std::ptr::NonNull;
use std::sync::Arc;

use super::error::{Error, check};
use super::mbuf::Mbuf;
use super::{Eal, ffi};

/// Bytes in front of a packet's data, for headers to be prepended.
pub const HEADROOM: u16 = ffi::CES_HEADROOM as u16;

/// A data room for whole frames of an MTU of 1500: 2048 bytes and the headroom.
pub const DEFAULT_DATA_ROOM: u16 = ffi::CES_DEFAULT_DATA_ROOM as u16;

/// What a pool is made of.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Unique in the process, at most 25 bytes.
    pub name: String,
    /// How many mbufs; a power of two less one fills the ring of the pool best.
    pub mbufs: u32,
    /// Mbufs that each lcore keeps for itself: 0 to 512, and at most two thirds of `mbufs`.
    pub cache: u32,
    /// Bytes of a segment, [`HEADROOM`] included.
    pub data_room: u16,
    /// The NUMA node of the memory; `None` for any.
    pub socket: Option<u8>,
}

impl PoolOptions {
    /// `mbufs` segments of [`DEFAULT_DATA_ROOM`] bytes, with a cache of 256 (less in a small pool).
    pub fn new(name: impl Into<String>, mbufs: u32) -> Self {
        PoolOptions {
            name: name.into(),
            mbufs,
            cache: 256.min(mbufs / 2),
            data_room: DEFAULT_DATA_ROOM,
            socket: None,
        }
    }
}

/// A shared handle to a pool of mbufs.
#[derive(Clone)]
pub struct Pool(Arc<Mempool>);

struct Mempool {
    pointer: NonNull<ffi::ces_pool>,
    data_room: u16,
    eal: Eal,
}

// SAFETY: a mempool with the default ring is for any number of producers and consumers, and its caches are per lcore.
unsafe impl Send for Mempool {}
// SAFETY: as above; nothing here has unsynchronised state of its own.
unsafe impl Sync for Mempool {}

impl Pool {
    /// Takes the memory for the whole pool.
    ///
    /// # Errors
    /// [`Error::Pool`] when memory is short, the name is taken or too long, or the cache too large.
    pub fn new(eal: &Eal, options: &PoolOptions) -> Result<Self, Error> {
        let option = |value: String, problem| Error::Option { option: "pool", value, problem };
        if options.data_room <= HEADROOM {
            let problem = "the data room must be larger than the headroom of 128 bytes";
            return Err(option(options.data_room.to_string(), problem));
        }
        let name = CString::new(options.name.as_str())
            .map_err(|_| option(options.name.clone(), "a pool's name has no NUL character in it"))?;
        let socket = options.socket.map_or(-1, c_int::from);
        let mut pointer = std::ptr::null_mut();
        // SAFETY: a NUL-terminated name and a place for the result; EAL runs, as `eal` says.
        let code = unsafe {
            ffi::ces_pool_create(
                name.as_ptr(),
                options.mbufs,
                options.cache,
                options.data_room,
                socket,
                &mut pointer,
            )
        };
        let failed = |reason| Error::Pool { name: options.name.clone(), mbufs: options.mbufs, reason };
        check(code).map_err(failed)?;
        let pointer = NonNull::new(pointer).expect("a pool that was made is not null");
        Ok(Pool(Arc::new(Mempool { pointer, data_room: options.data_room, eal: eal.clone() })))
    }

    /// An empty mbuf with [`HEADROOM`], or `None` when the pool is empty.
    #[inline]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives; an mbuf that comes out of it is ours alone.
        unsafe { Mbuf::from_raw(ffi::ces_mbuf_alloc(self.0.pointer.as_ptr())) }
    }

    /// An mbuf holding a copy of `bytes`; `None` when the pool is empty or the bytes do not fit into one segment.
    #[inline]
    pub fn alloc_copy(&self, bytes: &[u8]) -> Option<Mbuf> {
        let mut mbuf = self.alloc()?;
        mbuf.append(bytes.len())?.copy_from_slice(bytes);
        Some(mbuf)
    }

    /// How many mbufs the pool has in all.
    pub fn capacity(&self) -> u32 {
        // SAFETY: the pool lives.
        unsafe { ffi::ces_pool_size(self.0.pointer.as_ptr()) }
    }

    /// How many mbufs are free now, those in the lcores' caches included. Slow: for reports.
    pub fn avail(&self) -> u32 {
        self.0.avail()
    }

    /// How many mbufs are taken now, those that devices hold for reception included. Slow: for reports.
    pub fn in_use(&self) -> u32 {
        self.capacity().saturating_sub(self.avail())
    }

    /// Bytes of a segment, [`HEADROOM`] included.
    pub fn data_room(&self) -> u16 {
        self.0.data_room
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::ces_pool {
        self.0.pointer.as_ptr()
    }
}

impl Mempool {
    fn avail(&self) -> u32 {
        // SAFETY: the pool lives.
        unsafe { ffi::ces_pool_available(self.pointer.as_ptr()) }
    }
}

impl Drop for Mempool {
    fn drop(&mut self) {
        // SAFETY: the pool lives.
        let size = unsafe { ffi::ces_pool_size(self.pointer.as_ptr()) };
        let missing = size.saturating_sub(self.avail());
        if missing != 0 {
            if !self.eal.keep_memory() {
                tracing::warn!("{missing} mbufs outlive their pool: its memory stays until the process ends");
            }
            return;
        }
        // SAFETY: the last handle, and every mbuf is back.
        unsafe { ffi::ces_pool_free(self.pointer.as_ptr()) };
    }
}

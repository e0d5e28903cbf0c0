//! A packet in device memory, owned.
//!
//! Guarantees: one owner; dropping it returns all its segments to their pool. Fields are read and written directly, without
//! a call. Never shares a segment: the reference count of what this room makes or receives is 1.

use std::ptr::NonNull;
use std::slice;

use super::error::{Error, check};
use super::ffi::{self, ces_mbuf};

/// An owned chain of one or more segments; as small as a pointer.
#[repr(transparent)]
pub struct Mbuf(NonNull<ces_mbuf>);

// SAFETY: an mbuf belongs to no thread: pools take it back from any.
unsafe impl Send for Mbuf {}

/// What the device says about a checksum of a received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    Good,
    Bad,
    /// Not looked at: verify it in software.
    Unknown,
}

impl Mbuf {
    /// Takes ownership; `None` for null.
    ///
    /// # Safety
    /// `pointer` is null or the head of a chain that nobody else uses.
    #[inline]
    pub(super) unsafe fn from_raw(pointer: *mut ces_mbuf) -> Option<Self> {
        NonNull::new(pointer).map(Mbuf)
    }

    #[inline(always)]
    fn header(&self) -> &ces_mbuf {
        // SAFETY: ours alone, so nobody writes it while we lend it; the layout is asserted in shim.c.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    fn header_mut(&mut self) -> &mut ces_mbuf {
        // SAFETY: ours alone, lent as exclusively as `self` is; the layout is asserted in shim.c.
        unsafe { self.0.as_mut() }
    }

    /// The bytes of the first segment: the whole packet when [`is_contiguous`](Self::is_contiguous).
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        segment_data(self.header())
    }

    /// The bytes of the first segment, to be written.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let header = self.header_mut();
        // SAFETY: an mbuf's data lies within its buffer, initialised, and is as exclusively ours as the mbuf.
        unsafe {
            slice::from_raw_parts_mut(
                header.buf_addr.add(usize::from(header.data_off)),
                usize::from(header.data_len),
            )
        }
    }

    /// Bytes of the packet, all segments together.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.header().pkt_len as usize
    }

    /// Whether the packet has no byte.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether one segment holds the whole packet.
    #[inline(always)]
    pub fn is_contiguous(&self) -> bool {
        self.header().nb_segs == 1
    }

    /// The bytes of each segment, in order.
    #[inline]
    pub fn segments(&self) -> Segments<'_> {
        Segments(Some(self.header()))
    }

    /// The number of the port that received it.
    #[inline(always)]
    pub fn port(&self) -> u16 {
        self.header().port
    }

    /// The hash by which the device chose the queue, if it computes one.
    #[inline(always)]
    pub fn rss_hash(&self) -> Option<u32> {
        let header = self.header();
        (header.ol_flags & u64::from(ffi::CES_RX_RSS_HASH) != 0).then_some(header.rss)
    }

    /// The IPv4 header checksum of a received packet.
    #[inline(always)]
    pub fn rx_ip_checksum(&self) -> Checksum {
        match self.header().ol_flags & u64::from(ffi::CES_RX_IP_CKSUM_MASK) {
            flags if flags == u64::from(ffi::CES_RX_IP_CKSUM_GOOD) => Checksum::Good,
            flags if flags == u64::from(ffi::CES_RX_IP_CKSUM_BAD) => Checksum::Bad,
            _ => Checksum::Unknown,
        }
    }

    /// The UDP or TCP checksum of a received packet.
    #[inline(always)]
    pub fn rx_l4_checksum(&self) -> Checksum {
        match self.header().ol_flags & u64::from(ffi::CES_RX_L4_CKSUM_MASK) {
            flags if flags == u64::from(ffi::CES_RX_L4_CKSUM_GOOD) => Checksum::Good,
            flags if flags == u64::from(ffi::CES_RX_L4_CKSUM_BAD) => Checksum::Bad,
            _ => Checksum::Unknown,
        }
    }

    /// The control information (IEEE 802.1Q clause 9.6) of the outermost tag, where the device has taken it off.
    #[inline(always)]
    pub fn rx_vlan_stripped(&self) -> Option<u16> {
        let header = self.header();
        (header.ol_flags & u64::from(ffi::CES_RX_VLAN_STRIPPED) != 0).then_some(header.vlan_tci)
    }

    /// Lets the device insert a C-tag with this control information: for ports whose capabilities say that they can.
    #[inline(always)]
    pub fn set_tx_vlan(&mut self, control: u16) {
        let header = self.header_mut();
        header.ol_flags |= ffi::CES_TX_VLAN;
        header.vlan_tci = control;
    }

    /// A word of the caller's own, in the first cache line. Undefined in a received packet until it is set.
    #[inline(always)]
    pub fn tag(&self) -> u32 {
        self.header().tag
    }

    /// Sets the caller's word.
    #[inline(always)]
    pub fn set_tag(&mut self, tag: u32) {
        self.header_mut().tag = tag;
    }

    /// Lets the device fill in the IPv4 header checksum: for ports whose capabilities say that they can. The field in the
    /// packet must be 0. `l2_len` is at most 127 bytes, `l3_len` at most 60, as an IPv4 header is.
    #[inline(always)]
    pub fn set_tx_ipv4_checksum(&mut self, l2_len: u8, l3_len: u8) {
        let l2 = u64::from(l2_len) & ((1 << ffi::CES_TX_L2_LEN_BITS) - 1);
        let l3 = u64::from(l3_len) & ((1 << ffi::CES_TX_L3_LEN_BITS) - 1);
        let header = self.header_mut();
        header.ol_flags |= ffi::CES_TX_IP_CKSUM | ffi::CES_TX_IPV4;
        header.tx_offload = l2 | l3 << ffi::CES_TX_L2_LEN_BITS;
    }

    /// Adds `count` bytes at the end of the last segment, whatever they were before; `None`, and no change, without room.
    #[inline]
    pub fn append(&mut self, count: usize) -> Option<&mut [u8]> {
        let mut last = self.0;
        // SAFETY: a chain of live segments, all ours, walked to its end; each borrow ends within its line.
        while let Some(next) = NonNull::new(unsafe { last.as_ref() }.next) {
            last = next;
        }
        let short = u16::try_from(count).ok()?;
        // SAFETY: the last segment is ours alone.
        let segment = unsafe { last.as_mut() };
        let end = usize::from(segment.data_off) + usize::from(segment.data_len);
        if end + count > usize::from(segment.buf_len) {
            return None;
        }
        segment.data_len += short;
        // SAFETY: `count` bytes from `end` lie within the buffer of `buf_len` bytes.
        let added = unsafe { slice::from_raw_parts_mut(segment.buf_addr.add(end), count) };
        self.header_mut().pkt_len += u32::from(short);
        Some(added)
    }

    /// Adds `count` bytes in front, whatever they were before; `None`, and no change, without headroom.
    #[inline]
    pub fn prepend(&mut self, count: usize) -> Option<&mut [u8]> {
        let short = u16::try_from(count).ok()?;
        let header = self.header_mut();
        let data_len = header.data_len.checked_add(short)?;
        header.data_off = header.data_off.checked_sub(short)?;
        header.data_len = data_len;
        header.pkt_len += u32::from(short);
        Some(&mut self.data_mut()[..count])
    }

    /// Removes `count` bytes in front; `false`, and no change, when the first segment is shorter.
    #[inline]
    #[must_use]
    pub fn adj(&mut self, count: usize) -> bool {
        let header = self.header_mut();
        if count > usize::from(header.data_len) {
            return false;
        }
        header.data_off += count as u16;
        header.data_len -= count as u16;
        header.pkt_len -= count as u32;
        true
    }

    /// Shortens the packet to `length` bytes, giving back segments that become empty; does nothing when it is not longer.
    pub fn truncate(&mut self, length: usize) {
        if length >= self.len() {
            return;
        }
        let mut left = length;
        let mut segments: u16 = 1;
        let mut segment = self.0;
        // SAFETY: a chain of live segments, all ours; each borrow ends within its line.
        while left > usize::from(unsafe { segment.as_ref() }.data_len) {
            // SAFETY: as above; segments of a packet longer than `length` do not end before `length` bytes.
            let current = unsafe { segment.as_ref() };
            left -= usize::from(current.data_len);
            let Some(next) = NonNull::new(current.next) else { return };
            segment = next;
            segments += 1;
        }
        // SAFETY: the segment in which the packet now ends, ours alone.
        let last = unsafe { segment.as_mut() };
        last.data_len = left as u16;
        let rest = std::mem::replace(&mut last.next, std::ptr::null_mut());
        let header = self.header_mut();
        header.pkt_len = length as u32;
        header.nb_segs = segments;
        // SAFETY: cut off the chain just now, so nobody else has the rest.
        drop(unsafe { Mbuf::from_raw(rest) });
    }

    /// Appends the segments of `tail`; gives it back when the chain would have more than 65,535.
    pub fn chain(&mut self, tail: Mbuf) -> Result<(), Mbuf> {
        // SAFETY: both are ours alone.
        match check(unsafe { ffi::ces_mbuf_chain(self.0.as_ptr(), tail.0.as_ptr()) }) {
            Ok(()) => {
                std::mem::forget(tail);
                Ok(())
            }
            Err(_) => Err(tail),
        }
    }

    /// Moves the whole packet into its first segment.
    ///
    /// # Errors
    /// [`Error::NoTailroom`], and no change, when it does not fit.
    #[inline]
    pub fn linearize(&mut self) -> Result<(), Error> {
        if self.is_contiguous() {
            return Ok(());
        }
        // SAFETY: the chain is ours alone.
        check(unsafe { ffi::ces_mbuf_linearize(self.0.as_ptr()) }).map_err(|_| Error::NoTailroom)
    }

    /// Starts loading the header of the mbuf into the cache.
    #[inline(always)]
    pub fn prefetch_header(&self) {
        prefetch(self.0.as_ptr().cast());
    }

    /// Starts loading the beginning of the packet; reads the header of the mbuf.
    #[inline(always)]
    pub fn prefetch_data(&self) {
        let header = self.header();
        prefetch(header.buf_addr.wrapping_add(usize::from(header.data_off)));
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: ours alone, and gone after this.
        unsafe { ffi::ces_mbuf_free(self.0.as_ptr()) }
    }
}

#[inline(always)]
fn segment_data(segment: &ces_mbuf) -> &[u8] {
    // SAFETY: an mbuf's data lies within its buffer, initialised, and nobody writes it while the mbuf is lent.
    unsafe {
        slice::from_raw_parts(
            segment.buf_addr.add(usize::from(segment.data_off)),
            usize::from(segment.data_len),
        )
    }
}

#[inline(always)]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program can see, and never faults.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// The segments of a packet; see [`Mbuf::segments`].
pub struct Segments<'a>(Option<&'a ces_mbuf>);

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let segment = self.0?;
        // SAFETY: null or the next live segment of a chain that is lent for `'a`.
        self.0 = unsafe { segment.next.as_ref() };
        Some(segment_data(segment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owned_packet_is_one_pointer() {
        assert_eq!(size_of::<Option<Mbuf>>(), size_of::<*mut ces_mbuf>());
        assert_eq!(std::mem::offset_of!(ces_mbuf, pool) + 8, 64, "the first cache line ends after the pool");
    }
}

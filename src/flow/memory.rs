//! Preallocated arrays on huge pages when there are any.
//!
//! A [`Region`] is made once at start, every element written, so that no page fault happens later; it never grows.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The size of the pages that a region asks for.
const HUGE_PAGE: usize = 2 << 20;

/// A fixed array of `T`, zero-copy shared or owned, on 2 MB pages when the system has free ones, on transparent huge
/// pages otherwise, on ordinary pages at the least.
pub struct Region<T> {
    start: NonNull<T>,
    len: usize,
    /// Bytes mapped; 0 for an empty region, which maps nothing.
    mapped: usize,
    huge: bool,
}

// SAFETY: a region owns its elements like a `Box<[T]>` does; it hands out `&T` and `&mut T` by the same rules.
unsafe impl<T: Send> Send for Region<T> {}
// SAFETY: as above: `&Region<T>` gives `&T` only.
unsafe impl<T: Sync> Sync for Region<T> {}

impl<T> Region<T> {
    /// Maps room for `len` elements and fills each with `make(i)`.
    ///
    /// # Panics
    /// When the system has no such memory, like `Vec::with_capacity` does. Only called at start.
    pub fn new(len: usize, mut make: impl FnMut(usize) -> T) -> Self {
        const { assert!(!std::mem::needs_drop::<T>(), "a region's elements are never dropped") };
        const { assert!(std::mem::size_of::<T>() > 0 && std::mem::align_of::<T>() <= 4096) };
        let bytes =
            len.checked_mul(std::mem::size_of::<T>()).expect("a region larger than the address space");
        if bytes == 0 {
            return Self { start: NonNull::dangling(), len: 0, mapped: 0, huge: false };
        }
        let (address, mapped, huge) = map(bytes);
        let start = address.cast::<T>();
        for i in 0..len {
            // SAFETY: the mapping is writable, page-aligned (4096 >= align_of::<T>()) and holds `len` elements.
            unsafe { start.add(i).write(make(i)) };
        }
        Self { start, len, mapped, huge }
    }

    /// Whether it lies on reserved huge pages.
    pub fn is_huge(&self) -> bool {
        self.huge
    }
}

/// Maps `bytes` of anonymous memory: (address, bytes mapped, on reserved huge pages). No more than asked for, to a page: what
/// does not fill a huge page lies on ordinary ones.
fn map(bytes: usize) -> (NonNull<libc::c_void>, usize, bool) {
    let mapped = bytes.next_multiple_of(4096);
    if cfg!(not(loom))
        && bytes >= HUGE_PAGE
        && let Some(p) = map_huge(mapped)
    {
        return (p, mapped, true);
    }
    // SAFETY: not at a fixed address.
    let p = unsafe { anonymous(std::ptr::null_mut(), mapped, libc::PROT_READ | libc::PROT_WRITE, 0) };
    let p = p.unwrap_or_else(|| panic!("no memory for {bytes} bytes of flow state: lower `flow.sessions`"));
    // SAFETY: advice on the mapping just made; a refusal changes nothing.
    unsafe { libc::madvise(p.as_ptr(), mapped, libc::MADV_HUGEPAGE) };
    (p, mapped, false)
}

/// The whole huge pages of `bytes` on reserved ones, the rest behind them on ordinary ones.
fn map_huge(bytes: usize) -> Option<NonNull<libc::c_void>> {
    // Address space with room to begin at a huge page's boundary.
    let room = bytes + HUGE_PAGE;
    // SAFETY: not at a fixed address.
    let reserved = unsafe { anonymous(std::ptr::null_mut(), room, libc::PROT_NONE, libc::MAP_NORESERVE) }?;
    let before = reserved.as_ptr().align_offset(HUGE_PAGE);
    let start = reserved.as_ptr().wrapping_byte_add(before);
    let (whole, rest) = (bytes / HUGE_PAGE * HUGE_PAGE, bytes % HUGE_PAGE);
    let behind = start.wrapping_byte_add(whole);
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // Without MAP_NORESERVE the pages are reserved now, so that a later touch can't raise SIGBUS.
    // SAFETY: both lie in the reservation made above, which nobody else knows of.
    let made = unsafe {
        anonymous(start, whole, access, libc::MAP_FIXED | libc::MAP_HUGETLB).is_some()
            && (rest == 0 || anonymous(behind, rest, access, libc::MAP_FIXED).is_some())
    };
    if !made {
        // SAFETY: the reservation made above, whatever lies in it by now; nobody else knows of it.
        unsafe { libc::munmap(reserved.as_ptr(), room) };
        return None;
    }
    let end = start.wrapping_byte_add(bytes);
    // SAFETY: what is left of the reservation on both sides of the mapping; nobody else knows of it.
    unsafe {
        libc::munmap(reserved.as_ptr(), before);
        libc::munmap(end, room - before - bytes);
    }
    NonNull::new(start)
}

/// A private anonymous mapping.
///
/// # Safety
/// With `MAP_FIXED` the range lies in a mapping of the caller's own, in which nothing is.
unsafe fn anonymous(
    at: *mut libc::c_void,
    bytes: usize,
    access: i32,
    flags: i32,
) -> Option<NonNull<libc::c_void>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
    // SAFETY: the caller's for a fixed address; one of the kernel's choice touches no memory of ours.
    let p = unsafe { libc::mmap(at, bytes, access, flags, -1, 0) };
    if p == libc::MAP_FAILED { None } else { NonNull::new(p) }
}

impl<T> Drop for Region<T> {
    fn drop(&mut self) {
        if self.mapped > 0 {
            // SAFETY: exactly the mapping made in `new`; no element needs dropping, and no borrow outlives `self`.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped) };
        }
    }
}

impl<T> Deref for Region<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements were written in `new` and live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Region<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` makes it exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// Asks the processor to fetch the cache line of `t`; a hint that is always safe to give.
#[inline(always)]
pub fn prefetch<T>(t: &T) {
    prefetch_at(std::ptr::from_ref(t));
}

/// The same for wherever `p` points, which may be nowhere.
#[inline(always)]
pub fn prefetch_at<T>(p: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching never faults, whatever the address, and changes nothing that a program can observe.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = p;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_written() {
        for len in [0, 1, 1000, 1 << 20] {
            let mut r = Region::new(len, |i| i as u64);
            assert_eq!(r.len(), len);
            assert!(r.iter().enumerate().all(|(i, &v)| v == i as u64));
            if let Some(last) = r.last_mut() {
                *last = 7;
                assert_eq!(r[len - 1], 7);
            }
        }
    }
}

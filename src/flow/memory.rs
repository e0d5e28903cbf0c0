//! Preallocated arrays on huge pages when there are any.
//!
//! A [`Region`] is made once at start, every element written, so that no page fault happens later; it never grows.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The size of the pages that a region asks for.
const HUGE_PAGE: usize = 2 << 20;
const ACCESS: i32 = libc::PROT_READ | libc::PROT_WRITE;

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
    if cfg!(not(ces_loom))
        && bytes >= HUGE_PAGE
        && let Some(p) = map_huge(mapped)
    {
        return (p, mapped, true);
    }
    let p = anonymous(mapped, ACCESS, 0)
        .unwrap_or_else(|| panic!("no memory for {bytes} bytes of flow state: lower `flow.sessions`"));
    // SAFETY: advice on the mapping just made; a refusal changes nothing.
    unsafe { libc::madvise(p.as_ptr(), mapped, libc::MADV_HUGEPAGE) };
    (p, mapped, false)
}

/// The whole huge pages of `bytes` on reserved ones, the rest behind them on ordinary ones.
///
/// The huge pages are taken first, wherever the kernel likes, and then moved in front of the rest. Never placed by
/// `MAP_FIXED`: a refusal of that may come after the range was unmapped, and by then another thread may live in it.
fn map_huge(bytes: usize) -> Option<NonNull<libc::c_void>> {
    let (whole, rest) = (bytes / HUGE_PAGE * HUGE_PAGE, bytes % HUGE_PAGE);
    // Without MAP_NORESERVE the pages are reserved now, so that a later touch can't raise SIGBUS.
    let huge = anonymous(whole, ACCESS, libc::MAP_HUGETLB)?;
    if rest == 0 {
        return Some(huge);
    }
    let placed = move_in_front(huge, whole, rest);
    if placed.is_none() {
        // SAFETY: the mapping made above, which a failed move leaves where it was; nobody else knows of it.
        unsafe { libc::munmap(huge.as_ptr(), whole) };
    }
    placed
}

/// Moves the `whole` bytes of huge pages at `huge` to where `rest` bytes of ordinary pages follow them: the new start.
fn move_in_front(huge: NonNull<libc::c_void>, whole: usize, rest: usize) -> Option<NonNull<libc::c_void>> {
    // Room to begin at a huge page's boundary.
    let room = whole + rest + HUGE_PAGE;
    let base = anonymous(room, ACCESS, libc::MAP_NORESERVE)?.as_ptr();
    let before = base.align_offset(HUGE_PAGE);
    let start = base.wrapping_byte_add(before);
    let end = start.wrapping_byte_add(whole + rest);
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: both ranges are mappings of our own, and nothing is in either.
    let moved = unsafe { libc::mremap(huge.as_ptr(), whole, whole, flags, start) };
    // SAFETY: what is left of the mapping on both sides; nobody else knows of it.
    unsafe {
        libc::munmap(base, before);
        libc::munmap(end, room - before - whole - rest);
    }
    if moved == libc::MAP_FAILED {
        // The place of the huge pages may be somebody else's by now: it is not ours to unmap.
        // SAFETY: the ordinary pages behind it are.
        unsafe { libc::munmap(start.wrapping_byte_add(whole), rest) };
        return None;
    }
    NonNull::new(start)
}

/// A private anonymous mapping where the kernel likes, never at a fixed address, so that it replaces nobody's.
fn anonymous(bytes: usize, access: i32, flags: i32) -> Option<NonNull<libc::c_void>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
    // SAFETY: at an address of the kernel's choice, which touches no memory of ours.
    let p = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0) };
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

    /// A refused huge page must not take another thread's mapping with it: small regions live where the large ones of
    /// other threads are tried, and each still holds what was written.
    #[test]
    fn regions_of_many_threads_keep_apart() {
        std::thread::scope(|threads| {
            for thread in 0..4u64 {
                threads.spawn(move || {
                    for round in 0..200 {
                        let large = (HUGE_PAGE + 4096 * (1 + round % 3)) / 8;
                        let regions =
                            [64, large, 5000].map(|len| Region::new(len, |i| (i as u64) << 8 | thread));
                        for region in &regions {
                            assert!(region.iter().enumerate().all(|(i, &v)| v == (i as u64) << 8 | thread));
                        }
                    }
                });
            }
        });
    }
}

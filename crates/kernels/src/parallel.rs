//! How a kernel spreads its work over the cores. Results never depend on the split: each item is computed whole by one thread.

use std::ops::Range;

use crate::pool::pool;

/// Multiply-adds below which waking other threads costs more than it saves.
const SERIAL_WORK: usize = 32 * 1024;

/// Multiply-adds beside which taking a range costs nothing: about two microseconds of them.
const RANGE_WORK: usize = 128 * 1024;

/// Threads that share the work.
pub(crate) fn threads() -> usize {
    pool().count()
}

/// Calls `compute` with ranges that together cover `0..items` once, on several threads when `work` (about the number of
/// multiply-adds in all) is worth it.
pub(crate) fn for_ranges(items: usize, work: usize, compute: impl Fn(Range<usize>) + Sync) {
    if items == 0 {
        return;
    }
    if items == 1 || work < SERIAL_WORK {
        compute(0..items);
    } else {
        let pool = pool();
        let least = RANGE_WORK / (work / items).max(1);
        pool.run(items, least.min(items.div_ceil(pool.count())), compute);
    }
}

/// A mutable slice that several threads write at places that do not meet.
pub(crate) struct DisjointSlice<'a, T> {
    start: *mut T,
    length: usize,
    owner: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: the only access is `range_mut`, whose caller promises that no two live ranges meet; so sharing the struct between
// threads shares no element, and `T: Send` lets elements be written from another thread.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for DisjointSlice<'_, T> {}

impl<'a, T> DisjointSlice<'a, T> {
    /// Borrows the slice for as long as the writers work.
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), owner: std::marker::PhantomData }
    }

    /// The elements `start..start + length`, to be written.
    ///
    /// # Panics
    /// When the range leaves the slice.
    ///
    /// # Safety
    /// No two ranges that are alive at the same time may meet, on whatever threads.
    #[allow(unsafe_code)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn range_mut(&self, start: usize, length: usize) -> &mut [T] {
        assert!(start.checked_add(length).is_some_and(|end| end <= self.length), "range outside of the slice");
        // SAFETY: the range was checked to lie inside the borrowed slice, and the caller promises that it is not aliased.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), length) }
    }
}

//! How a kernel spreads its work over the cores. Results never depend on the split: each item is computed whole by one thread.

use std::mem::MaybeUninit;
use std::ops::Range;

use crate::pool::{Grain, pool};

/// Multiply-adds below which waking other threads costs more than it saves.
const SERIAL_WORK: usize = 32 * 1024;

/// Multiply-adds beside which taking a range costs nothing: about two microseconds of them.
const RANGE_WORK: usize = 128 * 1024;

/// Threads that share the work.
pub(crate) fn threads() -> usize {
    pool().count()
}

/// Calls `compute` with ranges that together cover `0..items` once, on several threads when `work` (about the number of
/// multiply-adds in all) is worth it. Items are of about equal work.
pub(crate) fn for_ranges(items: usize, work: usize, compute: impl Fn(Range<usize>) + Sync) {
    let least = RANGE_WORK / (work / items.max(1)).max(1);
    spread(items, work, |threads| Grain::Shrinking(least.min(items.div_ceil(threads))), compute);
}

/// [`for_ranges`], for items of unequal work, of which the longest come first.
pub(crate) fn for_each(items: usize, work: usize, compute: impl Fn(usize) + Sync) {
    spread(items, work, |_| Grain::One, |range| range.for_each(&compute));
}

fn spread(items: usize, work: usize, grain: impl FnOnce(usize) -> Grain, compute: impl Fn(Range<usize>) + Sync) {
    if items <= 1 || work < SERIAL_WORK {
        if items > 0 {
            compute(0..items);
        }
        return;
    }
    let pool = pool();
    pool.run(items, grain(pool.count()), compute);
}

/// A vector that several threads write whole before anybody reads it: zeros that are never read would cost a step some percent.
pub(crate) struct Unwritten<T> {
    values: Vec<T>,
    count: usize,
}

impl<T: Copy> Unwritten<T> {
    /// Room for so many elements.
    pub(crate) fn new(count: usize) -> Self {
        Self { values: Vec::with_capacity(count), count }
    }

    /// Where they are to be written.
    pub(crate) fn places(&mut self) -> DisjointSlice<'_, MaybeUninit<T>> {
        DisjointSlice::new(&mut self.values.spare_capacity_mut()[..self.count])
    }

    /// The vector.
    ///
    /// # Safety
    /// Every element was written.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn written(mut self) -> Vec<T> {
        // SAFETY: there is room for them, and the caller promises that they were written.
        unsafe { self.values.set_len(self.count) };
        self.values
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

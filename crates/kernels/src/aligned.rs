//! Bytes and floats that begin at a cache line, so that no vector crosses one where the layout does not make it.

#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Bytes that are held for long are asked for in huge pages from this size on, which is that of one on most systems.
const HUGE_PAGE: usize = 2 << 20;

/// Zeros at first.
pub(crate) struct AlignedBytes {
    storage: Storage,
    length: usize,
}

enum Storage {
    Lines(Vec<Line>),
    /// Begin at a page, so at a line, too.
    Pages(MmapMut),
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl AlignedBytes {
    /// From the allocator: for what is small, or soon given back.
    pub(crate) fn short_lived(length: usize) -> Self {
        Self { storage: Storage::Lines(vec![Line([0; 64]); length.div_ceil(64)]), length }
    }

    /// From the system, in huge pages if it has them: reading weights once in each step, the processor would look up as many small
    /// ones as its tables cannot hold.
    pub(crate) fn long_lived(length: usize) -> Self {
        if length < HUGE_PAGE {
            return Self::short_lived(length);
        }
        let Ok(pages) = MmapMut::map_anon(length) else { return Self::short_lived(length) };
        // Pages of the usual size do as well.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        Self { storage: Storage::Pages(pages), length }
    }

    fn start(&self) -> *const u8 {
        match &self.storage {
            Storage::Lines(lines) => lines.as_ptr().cast(),
            Storage::Pages(pages) => pages.as_ptr(),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: there are `length` initialized bytes: lines have no padding, and pages are zeros at first.
        unsafe { std::slice::from_raw_parts(self.start(), self.length) }
    }

    pub(crate) fn as_signed(&self) -> &[i8] {
        // SAFETY: as above; every byte is a signed one, too.
        unsafe { std::slice::from_raw_parts(self.start().cast::<i8>(), self.length) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        let start = match &mut self.storage {
            Storage::Lines(lines) => lines.as_mut_ptr().cast(),
            Storage::Pages(pages) => pages.as_mut_ptr(),
        };
        // SAFETY: as above, and the borrow of `self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(start, self.length) }
    }
}

/// Floats, zeros at first, from the allocator.
pub(crate) struct AlignedFloats(AlignedBytes);

impl AlignedFloats {
    pub(crate) fn new(count: usize) -> Self {
        Self(AlignedBytes::short_lived(count * size_of::<f32>()))
    }
}

impl Deref for AlignedFloats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: as many initialized floats as there are bytes for, at the beginning of a line; all bits are a float's.
        unsafe { std::slice::from_raw_parts(self.0.start().cast(), self.0.length / size_of::<f32>()) }
    }
}

impl DerefMut for AlignedFloats {
    fn deref_mut(&mut self) -> &mut [f32] {
        let floats = self.0.length / size_of::<f32>();
        // SAFETY: as above, and the borrow of `self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_slice().as_mut_ptr().cast(), floats) }
    }
}

impl std::fmt::Debug for AlignedBytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_either_kind_begin_at_a_line_and_are_zero_until_written() {
        for mut bytes in
            [AlignedBytes::short_lived(100), AlignedBytes::long_lived(100), AlignedBytes::long_lived(HUGE_PAGE + 1)]
        {
            let length = bytes.length;
            assert!(bytes.as_slice().as_ptr().addr().is_multiple_of(64));
            assert!(bytes.as_slice().len() == length && bytes.as_slice().iter().all(|byte| *byte == 0));
            bytes.as_mut_slice().fill(0xff);
            assert!(bytes.as_signed().iter().all(|byte| *byte == -1));
        }
        let mut floats = AlignedFloats::new(17);
        assert!(floats.as_ptr().addr().is_multiple_of(64) && *floats == [0.0; 17]);
        floats[16] = 1.5;
        assert_eq!((floats.len(), floats[15], floats[16]), (17, 0.0, 1.5));
    }
}

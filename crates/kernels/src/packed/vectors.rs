//! Dot products of a block by vectors, while the weights behind it are asked for.

#![allow(unsafe_code)]

use std::marker::PhantomData;

use super::activations::BlockRows;
use super::format::Format;
use super::lanes::Lanes;
use super::{BLOCK, STRIP, TILE};

/// How far behind the block that is computed weights are asked for, in bytes.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 4096;

/// The weights of this tile and the next behind the block that is computed, some of which are asked for from memory meanwhile: it is
/// further away than the processor looks ahead by itself. Best a little at a time: the lines of a block are more than the core keeps
/// track of. They come to the second-level cache: there is room for more of them on their way than to the first.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    pub(super) behind: &'a [u8],
}

impl Ahead<'_> {
    /// Asks for what belongs to one strip, about.
    #[inline(always)]
    pub(super) fn ask<F: Format>(&self, strip: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use super::STRIPS;
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            let lines = F::LAYOUT.block_bytes(STRIPS).div_ceil(64 * STRIPS);
            let first = self.behind.as_ptr().wrapping_add(AHEAD + 64 * lines * strip);
            for line in 0..lines {
                // SAFETY: a prefetch of an address that is not mapped does nothing.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(first.wrapping_add(64 * line).cast()) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (self.behind, strip);
    }
}

/// A block of a tile and of some rows.
pub(super) struct Vectors<'a, F: Format> {
    pub(super) codes: &'a [u8],
    pub(super) ahead: Ahead<'a>,
    pub(super) rows: &'a BlockRows<'a>,
    pub(super) format: PhantomData<F>,
}

impl<F: Format> Vectors<'_, F> {
    /// Of the rows from `first` on: `starts` plus the dot products of their activations with a chain's codes, for each output.
    ///
    /// # Safety
    /// There are these rows and this chain; the processor has the instructions of `L`.
    #[inline(always)]
    pub(super) unsafe fn add<L: Lanes, const COUNT: usize>(
        &self,
        first: usize,
        chain: usize,
        starts: [L::Ints; COUNT],
    ) -> [L::Ints; COUNT] {
        let layout = F::LAYOUT;
        let chains = STRIP / layout.chain();
        if first == 0 && chain.is_multiple_of(chains) {
            self.ahead.ask::<F>(chain / chains);
        }
        // SAFETY: the caller promises that the chain's codes and the rows' activations are there, and the instructions.
        unsafe {
            let codes = self.codes.as_ptr().add(chain * layout.chain() * TILE);
            let values = self.rows.values.as_ptr().add(first * BLOCK + chain * layout.chain());
            // On AVX2 the bits say how many products add up within 16: of five no more than of six.
            match (layout.chain(), layout.bits) {
                (8, _) => L::dots::<2, 6, COUNT>(codes, values, starts),
                (16, _) => L::dots::<4, 4, COUNT>(codes, values, starts),
                (_, 4) => L::dots::<8, 4, COUNT>(codes, values, starts),
                (_, 5) => L::dots::<8, 5, COUNT>(codes, values, starts),
                _ => L::dots::<8, 8, COUNT>(codes, values, starts),
            }
        }
    }
}

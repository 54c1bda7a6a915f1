//! Activations rounded to eight bits, with one scale per block of a row, and what takes the zeros and minimums of the weights away
//! again.

#![allow(unsafe_code)]

use super::aligned::AlignedBytes;
use super::format::{Format, Layout};
use super::instructions::Instructions;
use super::{BLOCK, STRIP};
use crate::math::largest_magnitude;
use crate::parallel::{DisjointSlice, for_ranges};

/// Rows that a product may read behind the last one of the last block, of whatever is there.
pub(super) const SPARE_ROWS: usize = 16;

/// Rows of activations, rounded, for weights of one layout. Block by block, and in each row by row, so that a product, which goes
/// through all rows of one block, reads them one behind the other. A row has as much of the last block as of the others.
pub(super) struct Activations {
    pub(super) rows: usize,
    inputs: usize,
    layout: Layout,
    /// -127 to 127, and [`SPARE_ROWS`] behind them.
    values: AlignedBytes,
    scales: Vec<f32>,
    /// As [`BlockRows::offsets`].
    offsets: Vec<i32>,
    /// As [`BlockRows::sums`].
    sums: Vec<i16>,
}

/// One block of some rows: each slice is row after row.
#[derive(Clone, Copy)]
pub(super) struct BlockRows<'a> {
    pub(super) strips: usize,
    /// Those of later rows, or of the next block, stand behind them.
    pub(super) values: &'a [i8],
    pub(super) scales: &'a [f32],
    /// Of each chain the sum, times [`Layout::offset_factor`].
    pub(super) offsets: &'a [i32],
    /// Of each strip the sum, negated, for the minimums of K types.
    pub(super) sums: &'a [i16],
}

impl Activations {
    /// Rounds `values [rows, inputs]`.
    pub(super) fn round(instructions: Instructions, values: &[f32], inputs: usize, layout: Layout) -> Self {
        let (rows, blocks) = (values.len() / inputs, inputs.div_ceil(BLOCK));
        let each = |count: usize| blocks * rows * count;
        let mut made = Self {
            rows,
            inputs,
            layout,
            values: AlignedBytes::short_lived((blocks * rows + SPARE_ROWS) * BLOCK),
            scales: vec![0.0; each(1)],
            offsets: vec![0; each(layout.offsets())],
            sums: vec![0; each(layout.sums())],
        };
        let rounded = DisjointSlice::new(made.values.as_mut_slice());
        let scales = DisjointSlice::new(&mut made.scales);
        let (offsets, sums) = (DisjointSlice::new(&mut made.offsets), DisjointSlice::new(&mut made.sums));
        let round_block = compiled_for(instructions);
        for_ranges(rows, values.len(), |range| {
            for row in range {
                for (block, whole) in values[row * inputs..(row + 1) * inputs].chunks(BLOCK).enumerate() {
                    let at = block * rows + row;
                    // SAFETY: each pair of block and row has places of its own; a row belongs to one item, and an item to one
                    // thread.
                    unsafe {
                        let sums = Sums {
                            offsets: offsets.range_mut(at * layout.offsets(), layout.offsets()),
                            of_strips: sums.range_mut(at * layout.sums(), layout.sums()),
                        };
                        let rounded = rounded.range_mut(at * BLOCK, whole.len());
                        scales.range_mut(at, 1)[0] = round_block(whole, layout, rounded, sums);
                    }
                }
            }
        });
        made
    }

    /// Blocks of a row.
    #[inline]
    pub(super) fn blocks(&self) -> usize {
        self.inputs.div_ceil(BLOCK)
    }

    /// Strips of a block.
    #[inline]
    pub(super) fn strips(&self, block: usize) -> usize {
        (self.inputs - block * BLOCK).min(BLOCK) / STRIP
    }

    /// A block of the rows `first..first + count`.
    #[inline]
    pub(super) fn block(&self, block: usize, first: usize, count: usize) -> BlockRows<'_> {
        let start = block * self.rows + first;
        let part = |each: usize| start * each..(start + count) * each;
        BlockRows {
            strips: self.strips(block),
            values: &self.values.as_signed()[start * BLOCK..],
            scales: &self.scales[part(1)],
            offsets: &self.offsets[part(self.layout.offsets())],
            sums: &self.sums[part(self.layout.sums())],
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl<'a> BlockRows<'a> {
    /// Those from row `first` on; none behind the last.
    #[inline(always)]
    pub(super) fn from<F: Format>(&self, first: usize) -> BlockRows<'a> {
        BlockRows {
            strips: self.strips,
            values: self.values.get(first * BLOCK..).unwrap_or_default(),
            scales: self.scales.get(first..).unwrap_or_default(),
            offsets: self.offsets.get(first * F::LAYOUT.offsets()..).unwrap_or_default(),
            sums: self.sums.get(first * F::LAYOUT.sums()..).unwrap_or_default(),
        }
    }
}

/// Where a block's sums belong; empty where a layout has none.
struct Sums<'a> {
    offsets: &'a mut [i32],
    of_strips: &'a mut [i16],
}

/// Rounds a block, and gives its scale.
type RoundBlock = fn(&[f32], Layout, &mut [u8], Sums<'_>) -> f32;

/// The same loops, compiled for the processor's vectors.
fn compiled_for(instructions: Instructions) -> RoundBlock {
    match instructions {
        Instructions::Portable => round_block,
        // SAFETY: `Instructions` are only those that the processor was found to have.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => |block, layout, place, sums| unsafe { x86::avx2(block, layout, place, sums) },
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 | Instructions::Amx => {
            // SAFETY: as above.
            |block, layout, place, sums| unsafe { x86::avx512(block, layout, place, sums) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Layout, Sums, round_block};

    /// # Safety
    /// The processor has these instructions; so below.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn avx2(block: &[f32], layout: Layout, place: &mut [u8], sums: Sums<'_>) -> f32 {
        round_block(block, layout, place, sums)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(super) unsafe fn avx512(block: &[f32], layout: Layout, place: &mut [u8], sums: Sums<'_>) -> f32 {
        round_block(block, layout, place, sums)
    }
}

/// Rounds a block, and sums what it was rounded to.
#[inline(always)]
fn round_block(block: &[f32], layout: Layout, place: &mut [u8], sums: Sums<'_>) -> f32 {
    let Sums { offsets, of_strips } = sums;
    let scale = round(block, place);
    match layout.chain() {
        8 => add_offsets::<8>(place, layout, offsets),
        16 => add_offsets::<16>(place, layout, offsets),
        _ => add_offsets::<STRIP>(place, layout, offsets),
    }
    for (sum, strip) in of_strips.iter_mut().zip(place.as_chunks().0) {
        *sum = -sum_of::<STRIP>(strip);
    }
    scale
}

#[inline(always)]
fn add_offsets<const CHAIN: usize>(rounded: &[u8], layout: Layout, offsets: &mut [i32]) {
    for (offset, chain) in offsets.iter_mut().zip(rounded.as_chunks().0) {
        *offset = layout.offset_factor() * i32::from(sum_of::<CHAIN>(chain));
    }
}

/// Of at most a strip, whose sum stays within 16 bits.
#[inline(always)]
fn sum_of<const COUNT: usize>(rounded: &[u8; COUNT]) -> i16 {
    rounded.iter().map(|value| i16::from(*value as i8)).sum()
}

/// Rounds to multiples of the largest magnitude's 127th part, halves to even; the scale is 0 where all are 0. What is no number
/// or infinite makes the scale no number, so that it shows in the product.
#[inline(always)]
fn round(block: &[f32], place: &mut [u8]) -> f32 {
    /// 1.5 * 2^23: adding it rounds a small float to an integer held in the low bits.
    const ROUNDER: f32 = 12_582_912.0;
    let largest = largest_magnitude(block);
    if !largest.is_finite() {
        return f32::NAN;
    }
    if largest == 0.0 {
        return 0.0;
    }
    let inverse = 127.0 / largest;
    for (value, place) in block.iter().zip(place) {
        *place = (value * inverse + ROUNDER).to_bits() as u8;
    }
    largest / 127.0
}

//! Activations rounded to eight bits, with one scale per block of a row, and what takes the zeros and minimums of the weights away
//! again.

#![allow(unsafe_code)]

use super::format::{Format, Layout};
use super::instructions::Instructions;
use super::{BLOCK, STRIP};
use crate::aligned::AlignedBytes;
use crate::math::{ROUNDER, largest_magnitude};
use crate::parallel::{DisjointSlice, for_ranges};

/// What rounding a number costs, in multiply-adds.
const ROUNDING_WORK: usize = 4;

/// Rows that a product may read behind the last one of the last block, of whatever is there.
pub(super) const SPARE_ROWS: usize = 16;

/// Rows of activations, rounded, for weights of some layouts. Block by block, and in each row by row, so that a product, which goes
/// through all rows of one block, reads them one behind the other. A row has as much of the last block as of the others.
pub(super) struct Activations {
    pub(super) rows: usize,
    inputs: usize,
    /// -127 to 127, and [`SPARE_ROWS`] behind them.
    values: AlignedBytes,
    scales: Vec<f32>,
    sums: Vec<LayoutSums>,
}

/// What weights of a layout need beside.
struct LayoutSums {
    layout: Layout,
    /// As [`BlockRows::offsets`].
    offsets: Vec<i32>,
    /// As [`BlockRows::sums`].
    sums: Vec<i16>,
}

impl LayoutSums {
    fn places(&mut self) -> (Layout, DisjointSlice<'_, i32>, DisjointSlice<'_, i16>) {
        (self.layout, DisjointSlice::new(&mut self.offsets), DisjointSlice::new(&mut self.sums))
    }
}

/// [`Activations`] for weights of one layout.
#[derive(Clone, Copy)]
pub(super) struct LayoutActivations<'a> {
    pub(super) rows: usize,
    inputs: usize,
    layout: Layout,
    values: &'a [i8],
    scales: &'a [f32],
    offsets: &'a [i32],
    sums: &'a [i16],
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
    pub(super) fn round(instructions: Instructions, values: &[f32], inputs: usize, layouts: &[Layout]) -> Self {
        let (rows, blocks) = (values.len() / inputs, inputs.div_ceil(BLOCK));
        let mut made = Self {
            rows,
            inputs,
            values: AlignedBytes::short_lived((blocks * rows + SPARE_ROWS) * BLOCK),
            scales: vec![0.0; blocks * rows],
            sums: Vec::with_capacity(layouts.len()),
        };
        for &layout in layouts {
            if made.sums.iter().all(|sums| sums.layout != layout) {
                let zeros = |count: usize| blocks * rows * count;
                let (offsets, sums) = (vec![0; zeros(layout.offsets())], vec![0; zeros(layout.sums())]);
                made.sums.push(LayoutSums { layout, offsets, sums });
            }
        }
        let rounded = DisjointSlice::new(made.values.as_mut_slice());
        let scales = DisjointSlice::new(&mut made.scales);
        let sums: Vec<_> = made.sums.iter_mut().map(LayoutSums::places).collect();
        let compiled = Compiled::of(instructions);
        for_ranges(rows * blocks, ROUNDING_WORK * values.len(), |range| {
            for at in range {
                let (block, row) = (at / rows, at % rows);
                let whole = &values[row * inputs..(row + 1) * inputs];
                let whole = &whole[block * BLOCK..whole.len().min((block + 1) * BLOCK)];
                // SAFETY: each pair of block and row has places of its own, and belongs to one item, an item to one thread.
                unsafe {
                    let rounded = rounded.range_mut(at * BLOCK, whole.len());
                    scales.range_mut(at, 1)[0] = (compiled.round)(whole, rounded);
                    for (layout, offsets, sums) in &sums {
                        let offsets = offsets.range_mut(at * layout.offsets(), layout.offsets());
                        let sums = sums.range_mut(at * layout.sums(), layout.sums());
                        (compiled.sum)(rounded, *layout, offsets, sums);
                    }
                }
            }
        });
        made
    }

    /// For weights of one of the layouts that they were rounded for.
    pub(super) fn for_layout(&self, layout: Layout) -> LayoutActivations<'_> {
        let sums =
            self.sums.iter().find(|sums| sums.layout == layout).expect("activations were rounded for the layout");
        LayoutActivations {
            rows: self.rows,
            inputs: self.inputs,
            layout,
            values: self.values.as_signed(),
            scales: &self.scales,
            offsets: &sums.offsets,
            sums: &sums.sums,
        }
    }
}

impl<'a> LayoutActivations<'a> {
    /// Blocks of a row.
    #[inline(always)]
    pub(super) fn blocks(&self) -> usize {
        self.inputs.div_ceil(BLOCK)
    }

    /// Strips of a block.
    #[inline(always)]
    pub(super) fn strips(&self, block: usize) -> usize {
        (self.inputs - block * BLOCK).min(BLOCK) / STRIP
    }

    /// A block of the rows `first..first + count`.
    #[inline(always)]
    pub(super) fn block(&self, block: usize, first: usize, count: usize) -> BlockRows<'a> {
        let start = block * self.rows + first;
        let part = |each: usize| start * each..(start + count) * each;
        BlockRows {
            strips: self.strips(block),
            values: &self.values[start * BLOCK..],
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

/// The loops over a block, compiled for the processor's vectors.
#[derive(Clone, Copy)]
struct Compiled {
    /// Rounds a block, and gives its scale.
    round: fn(&[f32], &mut [u8]) -> f32,
    /// Sums what it was rounded to, as a layout needs it; places are empty where it needs none.
    sum: fn(&[u8], Layout, &mut [i32], &mut [i16]),
}

impl Compiled {
    fn of(instructions: Instructions) -> Self {
        match instructions {
            Instructions::Portable => Self { round, sum },
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => Self {
                // SAFETY: `Instructions` are only those that the processor was found to have; so below.
                round: |block, place| unsafe { x86::round_avx2(block, place) },
                // SAFETY: as above.
                sum: |rounded, layout, offsets, sums| unsafe { x86::sum_avx2(rounded, layout, offsets, sums) },
            },
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 | Instructions::Amx => Self {
                // SAFETY: as above.
                round: |block, place| unsafe { x86::round_avx512(block, place) },
                // SAFETY: as above.
                sum: |rounded, layout, offsets, sums| unsafe { x86::sum_avx512(rounded, layout, offsets, sums) },
            },
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Layout, round, sum};

    /// # Safety
    /// The processor has these instructions; so below.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn round_avx2(block: &[f32], place: &mut [u8]) -> f32 {
        round(block, place)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(super) unsafe fn round_avx512(block: &[f32], place: &mut [u8]) -> f32 {
        round(block, place)
    }

    /// # Safety
    /// As above.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn sum_avx2(rounded: &[u8], layout: Layout, offsets: &mut [i32], sums: &mut [i16]) {
        sum(rounded, layout, offsets, sums);
    }

    /// # Safety
    /// As above.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(super) unsafe fn sum_avx512(rounded: &[u8], layout: Layout, offsets: &mut [i32], sums: &mut [i16]) {
        sum(rounded, layout, offsets, sums);
    }
}

/// Sums a rounded block.
#[inline(always)]
fn sum(rounded: &[u8], layout: Layout, offsets: &mut [i32], sums: &mut [i16]) {
    match layout.chain() {
        8 => add_offsets::<8>(rounded, layout, offsets),
        16 => add_offsets::<16>(rounded, layout, offsets),
        _ => add_offsets::<STRIP>(rounded, layout, offsets),
    }
    for (sum, strip) in sums.iter_mut().zip(rounded.as_chunks().0) {
        *sum = -sum_of::<STRIP>(strip);
    }
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

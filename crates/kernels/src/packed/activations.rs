//! Activations rounded to eight bits, with one scale per block of a row, and the sums that take zeros and minimums away again.
//! They are the same for every type of weights.

#![allow(unsafe_code)]

use super::{AlignedBytes, BLOCK, STRIP};
use crate::parallel::{DisjointSlice, for_ranges};

/// Rows that a product may read behind the last one of the last block, of whatever is there.
pub(super) const SPARE_ROWS: usize = 16;
/// Inputs of the smallest group.
const HALF_GROUP: usize = 16;

/// Rows of activations, rounded. Block by block, and in each row by row, so that a product, which goes through all rows of one
/// block, reads them one behind the other.
pub(super) struct Activations {
    pub(super) rows: usize,
    inputs: usize,
    /// -127 to 127, and [`SPARE_ROWS`] behind them.
    values: AlignedBytes,
    scales: Vec<f32>,
    /// Of each 16 inputs: two for each strip.
    half_sums: Vec<i16>,
    /// Of each 32 inputs: one for each strip.
    sums: Vec<i16>,
}

/// One block of some rows: each slice is row after row.
#[derive(Clone, Copy)]
pub(super) struct BlockRows<'a> {
    pub(super) strips: usize,
    /// Those of later rows, or of the next block, stand behind them.
    pub(super) values: &'a [i8],
    pub(super) scales: &'a [f32],
    pub(super) half_sums: &'a [i16],
    pub(super) sums: &'a [i16],
}

impl Activations {
    /// Rounds `values [rows, inputs]`.
    pub(super) fn round(values: &[f32], inputs: usize) -> Self {
        let rows = values.len() / inputs;
        let mut made = Self {
            rows,
            inputs,
            values: AlignedBytes::zeroed(values.len() + SPARE_ROWS * BLOCK),
            scales: vec![0.0; rows * inputs.div_ceil(BLOCK)],
            half_sums: vec![0; values.len() / HALF_GROUP],
            sums: vec![0; values.len() / STRIP],
        };
        let rounded = DisjointSlice::new(made.values.as_mut_slice());
        let scales = DisjointSlice::new(&mut made.scales);
        let (half_sums, sums) = (DisjointSlice::new(&mut made.half_sums), DisjointSlice::new(&mut made.sums));
        for_ranges(rows, values.len(), |range| {
            for row in range {
                let whole = values[row * inputs..(row + 1) * inputs].chunks(BLOCK);
                for (block, whole) in whole.enumerate() {
                    let (first, length) = (block * BLOCK * rows + row * whole.len(), whole.len());
                    // SAFETY: each pair of block and row has places of its own; a row belongs to one item, and an item to one
                    // thread.
                    unsafe {
                        let rounded = rounded.range_mut(first, length);
                        scales.range_mut(block * rows + row, 1)[0] = round_block(whole, rounded);
                        let half_sums = half_sums.range_mut(first / HALF_GROUP, length / HALF_GROUP);
                        for (place, half) in half_sums.iter_mut().zip(rounded.chunks_exact(HALF_GROUP)) {
                            *place = half.iter().map(|value| i16::from(*value as i8)).sum();
                        }
                        let sums = sums.range_mut(first / STRIP, length / STRIP);
                        for (place, halves) in sums.iter_mut().zip(half_sums.chunks_exact(2)) {
                            *place = halves[0] + halves[1];
                        }
                    }
                }
            }
        });
        made
    }

    /// Blocks of a row.
    pub(super) fn blocks(&self) -> usize {
        self.inputs.div_ceil(BLOCK)
    }

    /// Strips of a block.
    pub(super) fn strips(&self, block: usize) -> usize {
        (self.inputs - block * BLOCK).min(BLOCK) / STRIP
    }

    /// A block of the rows `first..first + count`.
    pub(super) fn block(&self, block: usize, first: usize, count: usize) -> BlockRows<'_> {
        let strips = self.strips(block);
        let start = block * BLOCK * self.rows + first * strips * STRIP;
        let end = start + count * strips * STRIP;
        BlockRows {
            strips,
            values: &self.values.as_signed()[start..],
            scales: &self.scales[block * self.rows + first..][..count],
            half_sums: &self.half_sums[start / HALF_GROUP..end / HALF_GROUP],
            sums: &self.sums[start / STRIP..end / STRIP],
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl<'a> BlockRows<'a> {
    /// Those from row `first` on; none behind the last.
    #[inline(always)]
    pub(super) fn from(&self, first: usize) -> BlockRows<'a> {
        let start = first * self.strips * STRIP;
        BlockRows {
            strips: self.strips,
            values: self.values.get(start..).unwrap_or_default(),
            scales: self.scales.get(first..).unwrap_or_default(),
            half_sums: self.half_sums.get(start / HALF_GROUP..).unwrap_or_default(),
            sums: self.sums.get(start / STRIP..).unwrap_or_default(),
        }
    }
}

/// Rounds to multiples of the largest magnitude's 127th part, halves to even; the scale is 0 where all are 0. What is no number
/// or infinite makes the scale no number, so that it shows in the product.
fn round_block(block: &[f32], place: &mut [u8]) -> f32 {
    /// 1.5 * 2^23: adding it rounds a small float to an integer held in the low bits.
    const ROUNDER: f32 = 12_582_912.0;
    // Sixteen at a time, so that it becomes vectors: a chain of floats is not reordered.
    let (mut lanes, mut faults) = ([0f32; 16], [0f32; 16]);
    for values in block.chunks_exact(16) {
        for ((lane, fault), value) in lanes.iter_mut().zip(&mut faults).zip(values) {
            let magnitude = value.abs();
            *lane = if magnitude > *lane { magnitude } else { *lane };
            *fault += value * 0.0;
        }
    }
    let largest = lanes.iter().fold(0f32, |largest, lane| largest.max(*lane));
    let fault: f32 = faults.iter().sum();
    if largest == 0.0 {
        return fault;
    }
    let inverse = 127.0 / largest;
    for (value, place) in block.iter().zip(place) {
        *place = (value * inverse + ROUNDER).to_bits() as u8;
    }
    largest / 127.0 + fault
}

//! Activations rounded to eight bits, with one scale per block of a row, and what the products need of their sums.

#![allow(unsafe_code)]

use super::format::Layout;
use super::{BLOCK, STRIP};
use crate::parallel::{DisjointSlice, for_ranges};

/// Rows of activations, rounded. Block by block, and in each row by row, so that a product, which goes through all rows of one
/// block, reads them one behind the other.
pub(super) struct Activations {
    pub(super) rows: usize,
    inputs: usize,
    group: usize,
    /// -127 to 127.
    values: Vec<i8>,
    scales: Vec<f32>,
    /// Per group `-zero * sum`, with which a dot product begins. Empty where zero is 0.
    starts: Vec<i32>,
    /// Per group `-sum`, by which a minimum is multiplied. Empty where there are no minimums.
    sums: Vec<f32>,
}

/// One block of some rows: each slice is row after row.
pub(super) struct BlockRows<'a> {
    pub(super) strips: usize,
    pub(super) values: &'a [i8],
    pub(super) scales: &'a [f32],
    pub(super) starts: &'a [i32],
    pub(super) sums: &'a [f32],
}

impl Activations {
    /// Rounds `values [rows, inputs]` for a matrix of this layout.
    pub(super) fn round(values: &[f32], inputs: usize, layout: Layout) -> Self {
        let rows = values.len() / inputs;
        let (blocks, groups) = (inputs.div_ceil(BLOCK), inputs / layout.group);
        let mut made = Self {
            rows,
            inputs,
            group: layout.group,
            values: vec![0; values.len()],
            scales: vec![0.0; rows * blocks],
            starts: vec![0; if layout.has_minimums { 0 } else { rows * groups }],
            sums: vec![0.0; if layout.has_minimums { rows * groups } else { 0 }],
        };
        let rounded = DisjointSlice::new(&mut made.values);
        let scales = DisjointSlice::new(&mut made.scales);
        let (starts, sums) = (DisjointSlice::new(&mut made.starts), DisjointSlice::new(&mut made.sums));
        for_ranges(rows, values.len(), |range| {
            for row in range {
                let whole = values[row * inputs..(row + 1) * inputs].chunks(BLOCK);
                for (block, whole) in whole.enumerate() {
                    let first = block * BLOCK * rows + row * whole.len();
                    let (first_group, groups) = (first / layout.group, whole.len() / layout.group);
                    // SAFETY: each pair of block and row has places of its own; a row belongs to one item, and an item to one
                    // thread.
                    unsafe {
                        let rounded = rounded.range_mut(first, whole.len());
                        scales.range_mut(block * rows + row, 1)[0] = round_block(whole, rounded);
                        let group_sums = rounded.chunks_exact(layout.group).map(sum);
                        if layout.has_minimums {
                            let places = sums.range_mut(first_group, groups);
                            places.iter_mut().zip(group_sums).for_each(|(place, sum)| *place = -sum as f32);
                        } else {
                            let places = starts.range_mut(first_group, groups);
                            places.iter_mut().zip(group_sums).for_each(|(place, sum)| *place = -layout.zero * sum);
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
        let at = |each: usize| {
            let start = block * BLOCK * self.rows + first * each;
            start..start + count * each
        };
        let values = at(strips * STRIP);
        let groups = values.start / self.group..values.end / self.group;
        BlockRows {
            strips,
            scales: &self.scales[block * self.rows + first..][..count],
            starts: if self.starts.is_empty() { &[] } else { &self.starts[groups.clone()] },
            sums: if self.sums.is_empty() { &[] } else { &self.sums[groups] },
            values: &self.values[values],
        }
    }
}

fn sum(group: &[i8]) -> i32 {
    group.iter().map(|value| i32::from(*value)).sum()
}

/// Rounds to multiples of the largest magnitude's 127th part, halves to even; the scale is 0 where all are 0. What is no number
/// or infinite makes the scale no number, so that it shows in the product.
fn round_block(block: &[f32], place: &mut [i8]) -> f32 {
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
        *place = (value * inverse + ROUNDER).to_bits() as i8;
    }
    largest / 127.0 + fault
}

//! Quantized weights on the CPU in an order of our own, which takes the place of the file's.
//!
//! A matrix `[outputs, inputs]` is cut into *tiles* of 16 outputs; outputs behind the last one are zero. A tile is a sequence of
//! *blocks* of 256 inputs (the last may have fewer), each contiguous:
//!
//! | part | bytes | for |
//! | --- | --- | --- |
//! | super-scales, super-minimums | 16 f16, 16 f16 | K types; minimums where the type has them |
//! | scales, minimums | per group 16 bytes or 16 f16, each | bytes in K types, f16 in the others |
//! | codes | per *strip* of 32 inputs 256, 320, 384 or 512 bytes | 4, 5, 6 or 8 bits |
//!
//! A *group* is the 16 or 32 inputs that share a scale. Codes are unsigned, and in the order of the dot-product instructions: a
//! vector of 64 bytes holds four neighbouring inputs (a *quad*) of each of the 16 outputs. Of the eight quads of a strip the low
//! nibbles of the four vectors hold the first four, the high nibbles the others; bits above the fourth stand in planes behind
//! them (`unpack.rs`). So one load of weights serves 16 outputs and as many rows as there are, and memory is within 3 % of the
//! file's.
//!
//! A product rounds activations to eight bits per block (`activations.rs`). For each row and output it is a sum over blocks in
//! order, with one rounding per multiply-add. In K types, whose groups have whole numbers as scales, a block's codes and its
//! minimums give an exact integer each, which is rounded to a float and weighed; in the others it is a sum over groups in order, of
//! exact dot products times the group's scale (`share.rs`). So bits are the same on every machine, in every batch, and whichever
//! instructions computed them.

mod activations;
mod format;
mod instructions;
mod lanes;
mod pack;
mod product;
mod share;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tile_unit;
mod unpack;
mod vectors;

use crate::aligned::AlignedBytes;
use crate::weight::WeightType;
use format::{Layout, layout_of};

pub(crate) use product::{multiply_each, multiply_gated};

/// Outputs of a tile.
const TILE: usize = 16;
/// Inputs of a block, over which activations have one scale.
const BLOCK: usize = 256;
/// Inputs of a strip.
const STRIP: usize = 32;
/// Strips of a whole block.
const STRIPS: usize = BLOCK / STRIP;

/// A packed matrix `[outputs, inputs]`.
#[derive(Debug)]
pub(crate) struct Packed {
    weight_type: WeightType,
    layout: Layout,
    outputs: usize,
    inputs: usize,
    bytes: AlignedBytes,
}

impl Packed {
    /// Bytes that a matrix takes, or `None` for a type that is not packed.
    pub(crate) fn bytes_of(weight_type: WeightType, outputs: usize, inputs: usize) -> Option<usize> {
        let layout = layout_of(weight_type)?;
        Some(outputs.div_ceil(TILE) * layout.tile_bytes(inputs))
    }

    /// Rows of the matrix.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Whether another has its type and shape.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let kind = |matrix: &Self| (matrix.weight_type, matrix.outputs, matrix.inputs);
        kind(self) == kind(other)
    }

    /// Tiles of the matrix.
    fn tiles(&self) -> usize {
        self.outputs.div_ceil(TILE)
    }

    /// Pairs of tiles, which are computed together.
    fn pairs(&self) -> usize {
        self.tiles().div_ceil(2)
    }

    /// The tiles of a pair: of each half of the matrix one. Behind a tile stands that of the next pair, which is right to be asked for
    /// meanwhile; behind the tile of a neighbour would stand what was just read.
    fn pair(&self, index: usize) -> (usize, Option<usize>) {
        let second = index + self.pairs();
        (index, (second < self.tiles()).then_some(second))
    }

    /// One tile: its blocks, one behind the other.
    fn tile(&self, index: usize) -> &[u8] {
        let length = self.layout.tile_bytes(self.inputs);
        &self.bytes.as_slice()[index * length..(index + 1) * length]
    }
}

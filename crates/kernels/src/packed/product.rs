//! The product of rounded activations with a packed matrix.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::marker::PhantomData;

use super::activations::{Activations, BlockRows, LayoutActivations};
use super::format::{Format, Layout, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Scales};
use super::instructions::Instructions;
use super::lanes::Lanes;
use super::lanes::portable::Portable;
use super::share;
use super::unpack::{Factors, Unpacked};
use super::vectors::{Ahead, Vectors};
use super::{Packed, STRIPS, TILE};
use crate::parallel::{Unwritten, for_ranges};
use crate::silu::gate_all;
use crate::weight::WeightType;

/// Rows for which a block is unpacked once; their sums stay in the second-level cache.
pub(super) const ROW_BLOCK: usize = 512;
/// Tiles of one item of work.
pub(super) const TILES: usize = 2;
/// Rows that share a load of the weights: their sums are in registers.
const ROWS: usize = 8;

/// `values [rows, inputs]` times the transposes of matrices with so many inputs, each `[rows, outputs]`. The rows are rounded once, and
/// threads go from one matrix to the next without waiting for each other.
pub(crate) fn multiply_each(values: &[f32], matrices: &[&Packed]) -> Vec<Vec<f32>> {
    multiply_each_with(Instructions::best(), values, matrices)
}

pub(super) fn multiply_each_with(instructions: Instructions, values: &[f32], matrices: &[&Packed]) -> Vec<Vec<f32>> {
    let Some(inputs) = matrices.first().map(|matrix| matrix.inputs) else { return Vec::new() };
    let layouts: Vec<Layout> = matrices.iter().map(|matrix| matrix.layout).collect();
    let rounded = Activations::round(instructions, values, inputs, &layouts);
    let new = |matrix: &&Packed| Unwritten::new(rounded.rows * matrix.outputs);
    let mut products: Vec<Unwritten<f32>> = matrices.iter().map(new).collect();
    let (mut items, mut cost) = (0, 0);
    let mut parts = Vec::with_capacity(matrices.len());
    for (&matrix, product) in matrices.iter().zip(&mut products) {
        assert_eq!(matrix.inputs, inputs, "matrices multiply the same rows");
        parts.push((items, matrix, Rows::new(instructions, &rounded, matrix), product.places()));
        items += matrix.pairs();
        cost += values.len() * matrix.outputs;
    }
    for_ranges(items, cost, |range| {
        WORK.with_borrow_mut(|work| {
            for item in range {
                let part = parts.iter().rfind(|(first_item, ..)| *first_item <= item);
                let (first_item, matrix, rows, places) = part.expect("the first begins at 0");
                let (first, second) = matrix.pair(item - first_item);
                let bytes = [matrix.tile(first), matrix.tile(second.unwrap_or(first))];
                rows.multiply(bytes, 1 + usize::from(second.is_some()), work, |row, sums| {
                    for (sums, tile) in sums.iter().zip([Some(first), second].into_iter().flatten()) {
                        let (output, width) = (tile * TILE, TILE.min(matrix.outputs - tile * TILE));
                        // SAFETY: each pair of row and tile belongs to one item only, and an item to one thread.
                        let place = unsafe { places.range_mut(row * matrix.outputs + output, width) };
                        place.write_copy_of_slice(&sums[..width]);
                    }
                });
            }
        });
    });
    // SAFETY: the items are all pairs of tiles of all matrices, and each writes its outputs of every row.
    products.into_iter().map(|product| unsafe { product.written() }).collect()
}

/// `silu(gate) * up` of the products with two matrices of one type and shape, `[rows, outputs]`: the tiles of both that belong together
/// are computed one after the other, and what they give goes no further than the first-level cache.
pub(crate) fn multiply_gated(values: &[f32], gate: &Packed, up: &Packed) -> Vec<f32> {
    multiply_gated_with(Instructions::best(), values, gate, up)
}

pub(super) fn multiply_gated_with(instructions: Instructions, values: &[f32], gate: &Packed, up: &Packed) -> Vec<f32> {
    assert!(gate.is_like(up), "matrices of one type and shape");
    let rounded = Activations::round(instructions, values, gate.inputs, &[gate.layout]);
    let rows = Rows::new(instructions, &rounded, gate);
    let outputs = gate.outputs;
    let mut product = Unwritten::new(rounded.rows * outputs);
    let places = product.places();
    for_ranges(gate.tiles(), 2 * values.len() * outputs, |range| {
        WORK.with_borrow_mut(|work| {
            for tile in range {
                rows.multiply([gate.tile(tile), up.tile(tile)], TILES, work, |row, [gate, up]| {
                    let width = TILE.min(outputs - tile * TILE);
                    // SAFETY: each pair of row and tile belongs to one item only, and an item to one thread.
                    let place = unsafe { places.range_mut(row * outputs + tile * TILE, width) };
                    let mut gated = [0f32; TILE];
                    gate_all(gate, up, &mut gated);
                    place.write_copy_of_slice(&gated[..width]);
                });
            }
        });
    });
    // SAFETY: the items are all tiles, and each writes its outputs of every row.
    unsafe { product.written() }
}

/// Rounded rows, and how they are multiplied with tiles of one type.
struct Rows<'a> {
    activations: LayoutActivations<'a>,
    function: SumTiles,
}

impl<'a> Rows<'a> {
    fn new(instructions: Instructions, rounded: &'a Activations, matrix: &Packed) -> Self {
        let function = compiled_for(instructions, matrix.weight_type);
        Self { activations: rounded.for_layout(matrix.layout), function }
    }

    /// Multiplies all rows with some tiles; `store` gets each row and its sums.
    fn multiply(
        &self,
        tiles: [&[u8]; TILES],
        tile_count: usize,
        work: &mut Work,
        mut store: impl FnMut(usize, [&[f32; TILE]; TILES]),
    ) {
        let activations = self.activations;
        for start in (0..activations.rows).step_by(ROW_BLOCK) {
            let count = ROW_BLOCK.min(activations.rows - start);
            (self.function)(&Part { tiles, tile_count, activations, start, count }, work);
            (0..count).for_each(|row| store(start + row, work.sums.each_ref().map(|sums| &sums[row])));
        }
    }
}

/// Some tiles and some of the rows.
pub(super) struct Part<'a> {
    /// Where the matrix ends before the second, the first again.
    tiles: [&'a [u8]; TILES],
    pub(super) tile_count: usize,
    activations: LayoutActivations<'a>,
    start: usize,
    pub(super) count: usize,
}

impl<'a> Part<'a> {
    /// Blocks of a tile.
    #[inline(always)]
    pub(super) fn blocks(&self) -> usize {
        self.activations.blocks()
    }

    /// A block of a tile, and what is to be asked for meanwhile.
    #[inline(always)]
    pub(super) fn block<F: Format>(&self, tile: usize, block: usize) -> (&'a [u8], Ahead<'a>) {
        let rest = &self.tiles[tile][block * F::LAYOUT.block_bytes(STRIPS)..];
        let (bytes, behind) = rest.split_at(F::LAYOUT.block_bytes(self.activations.strips(block)));
        (bytes, Ahead { behind })
    }

    /// The activations of a block.
    #[inline(always)]
    pub(super) fn rows(&self, block: usize) -> BlockRows<'a> {
        self.activations.block(block, self.start, self.count)
    }
}

thread_local! {
    /// Kept from product to product: what a step needs is neither allocated nor zeroed again.
    static WORK: RefCell<Box<Work>> = RefCell::new(Box::new(Work::new()));
}

/// What a thread works on.
pub(super) struct Work {
    unpacked: Unpacked,
    /// Of each tile and row, for the outputs of the tile.
    pub(super) sums: [[[f32; TILE]; ROW_BLOCK]; TILES],
    /// Made when the tile unit is first used.
    #[cfg(target_arch = "x86_64")]
    pub(super) room: Option<Box<super::tile_unit::Room>>,
}

impl Work {
    fn new() -> Self {
        Self {
            unpacked: Unpacked::new(),
            sums: [[[0.0; TILE]; ROW_BLOCK]; TILES],
            #[cfg(target_arch = "x86_64")]
            room: None,
        }
    }
}

/// Computes the sums of some tiles and some rows.
type SumTiles = fn(&Part<'_>, &mut Work);

fn compiled_for(instructions: Instructions, weight_type: WeightType) -> SumTiles {
    match weight_type {
        WeightType::Q4_0 => compiled::<Q4_0>(instructions),
        WeightType::Q4_1 => compiled::<Q4_1>(instructions),
        WeightType::Q5_0 => compiled::<Q5_0>(instructions),
        WeightType::Q5_1 => compiled::<Q5_1>(instructions),
        WeightType::Q8_0 => compiled::<Q8_0>(instructions),
        WeightType::Q4K => compiled::<Q4K>(instructions),
        WeightType::Q5K => compiled::<Q5K>(instructions),
        _ => compiled::<Q6K>(instructions),
    }
}

fn compiled<F: Format>(instructions: Instructions) -> SumTiles {
    match instructions {
        // SAFETY: plain loops need no instructions.
        Instructions::Portable => |part, work| unsafe { sum_tiles::<Portable, F>(part, work) },
        // SAFETY: `Instructions` are only those that the processor was found to have.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => |part, work| unsafe { x86::avx2::<F>(part, work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => |part, work| unsafe { x86::avx512::<F>(part, work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Amx => |part, work| unsafe { x86::amx::<F>(part, work) },
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::lanes::avx2::Avx2;
    use super::super::lanes::avx512::Avx512;
    use super::super::tile_unit;
    use super::{Format, Part, Work, sum_tiles};

    /// # Safety
    /// The processor has these instructions; so below.
    #[target_feature(enable = "avx2,f16c,fma")]
    pub(super) unsafe fn avx2<F: Format>(part: &Part<'_>, work: &mut Work) {
        // SAFETY: the caller promises the instructions.
        unsafe { sum_tiles::<Avx2, F>(part, work) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    pub(super) unsafe fn avx512<F: Format>(part: &Part<'_>, work: &mut Work) {
        // SAFETY: the caller promises the instructions.
        unsafe { sum_tiles::<Avx512, F>(part, work) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    pub(super) unsafe fn amx<F: Format>(part: &Part<'_>, work: &mut Work) {
        // SAFETY: the caller promises the instructions, those of the tile unit, too.
        unsafe { tile_unit::sum_tiles::<F>(part, work) }
    }
}

/// Block by block and tile by tile, so that a block's activations are near for the second tile: unpack, then add to all rows, eight at
/// a time, the rest in fours, twos and alone.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn sum_tiles<L: Lanes, F: Format>(part: &Part<'_>, work: &mut Work) {
    let Work { unpacked, sums, .. } = work;
    let sums = &mut sums[..part.tile_count];
    sums.iter_mut().for_each(|sums| sums[..part.count].fill([0.0; TILE]));
    for block in 0..part.blocks() {
        let rows = part.rows(block);
        for (tile, sums) in sums.iter_mut().enumerate() {
            let (bytes, ahead) = part.block::<F>(tile, block);
            let next = &mut 0;
            // SAFETY: the caller promises the instructions; `rows` and `sums` are of as many rows.
            unsafe {
                // K types have whole blocks, which the compiler may know.
                let strips = if F::LAYOUT.scales == Scales::Super { STRIPS } else { rows.strips };
                let (codes, factors) = unpacked.fill::<L, F>(bytes, strips);
                let dots = Vectors::<F> { codes, ahead, rows: &rows, format: PhantomData };
                let (eights, rest) = sums[..part.count].as_chunks_mut::<ROWS>();
                add_each::<L, F, ROWS>(&dots, factors, next, eights);
                let (fours, rest) = rest.as_chunks_mut::<4>();
                add_each::<L, F, 4>(&dots, factors, next, fours);
                let (twos, ones) = rest.as_chunks_mut::<2>();
                add_each::<L, F, 2>(&dots, factors, next, twos);
                add_each::<L, F, 1>(&dots, factors, next, ones.as_chunks_mut::<1>().0);
            }
        }
    }
}

/// Adds to so many rows at a time, from `next` on.
///
/// # Safety
/// There are these rows; the processor has the instructions.
#[inline(always)]
unsafe fn add_each<L: Lanes, F: Format, const COUNT: usize>(
    dots: &Vectors<'_, F>,
    factors: &Factors,
    next: &mut usize,
    sums: &mut [[[f32; TILE]; COUNT]],
) {
    for sums in sums {
        // SAFETY: the caller promises the rows and the instructions.
        unsafe { share::add::<L, F, COUNT>(dots, factors, *next, sums) };
        *next += COUNT;
    }
}

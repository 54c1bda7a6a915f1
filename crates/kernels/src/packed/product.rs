//! The product of rounded activations with a packed matrix.

#![allow(unsafe_code)]

use super::activations::{Activations, BlockRows};
use super::format::{Format, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Scales};
use super::instructions::Instructions;
use super::lanes::Lanes;
use super::lanes::portable::Portable;
use super::unpack::{Factors, Unpacked};
use super::{BLOCK, Packed, STRIP, TILE};
use crate::parallel::{DisjointSlice, for_ranges};
use crate::weight::WeightType;

/// Rows whose activations stay in the second-level cache while the tiles pass by.
pub(super) const ROW_BLOCK: usize = 128;
/// Bytes behind the block that is computed from which the next ones are asked for.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 2048;
/// Tiles of one item of work.
pub(super) const TILES: usize = 2;
/// Rows that share a load of the weights: their sums are in registers.
const ROWS: usize = 8;

/// `values [rows, inputs]` times the transpose of the matrix, `[rows, outputs]`.
pub(crate) fn multiply(values: &[f32], matrix: &Packed) -> Vec<f32> {
    multiply_with(Instructions::best(), values, matrix)
}

pub(super) fn multiply_with(instructions: Instructions, values: &[f32], matrix: &Packed) -> Vec<f32> {
    let activations = Activations::round(values, matrix.inputs);
    let rows = activations.rows;
    let mut product = vec![0f32; rows * matrix.outputs];
    let shared = DisjointSlice::new(&mut product);
    let function = compiled_for(instructions, matrix.weight_type);
    let cost = rows * matrix.inputs * matrix.outputs;
    for_ranges(matrix.tiles().div_ceil(TILES), cost, |range| {
        let mut work = Work::new();
        for item in range {
            let first = item * TILES;
            let tile_count = TILES.min(matrix.tiles() - first);
            let tiles = std::array::from_fn(|at| matrix.tile(first + at.min(tile_count - 1)));
            for start in (0..rows).step_by(ROW_BLOCK) {
                let count = ROW_BLOCK.min(rows - start);
                function(&Part { tiles, tile_count, activations: &activations, start, count }, &mut work);
                for (at, sums) in work.sums.iter().enumerate().take(tile_count) {
                    let (output, width) = ((first + at) * TILE, TILE.min(matrix.outputs - (first + at) * TILE));
                    for (row, sums) in sums[..count].iter().enumerate() {
                        // SAFETY: each pair of row and tile belongs to one item only, and an item to one thread.
                        let place = unsafe { shared.range_mut((start + row) * matrix.outputs + output, width) };
                        place.copy_from_slice(&sums[..width]);
                    }
                }
            }
        }
    });
    product
}

/// Some tiles and some of the rows.
pub(super) struct Part<'a> {
    /// Where the matrix ends before the second, the first again.
    tiles: [&'a [u8]; TILES],
    tile_count: usize,
    activations: &'a Activations,
    start: usize,
    pub(super) count: usize,
}

impl<'a> Part<'a> {
    /// The blocks of a tile, in order; the next one is asked for from memory meanwhile.
    pub(super) fn blocks<F: Format>(&self, tile: usize) -> impl Iterator<Item = &'a [u8]> + use<'a, F> {
        let (activations, mut rest) = (self.activations, self.tiles[tile]);
        (0..activations.blocks()).map(move |block| {
            let (bytes, behind) = rest.split_at(F::LAYOUT.block_bytes(activations.strips(block)));
            rest = behind;
            prefetch(rest, bytes.len());
            bytes
        })
    }

    /// The activations of each block.
    pub(super) fn rows(&self) -> impl Iterator<Item = BlockRows<'a>> + use<'a> {
        let Part { activations, start, count, .. } = *self;
        (0..activations.blocks()).map(move |block| activations.block(block, start, count))
    }
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

/// Tile by tile and block by block: unpack, then add to all rows, eight at a time, the rest in fours, twos and alone.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn sum_tiles<L: Lanes, F: Format>(part: &Part<'_>, work: &mut Work) {
    let Work { unpacked, sums, .. } = work;
    for (tile, sums) in sums.iter_mut().enumerate().take(part.tile_count) {
        let sums = &mut sums[..part.count];
        sums.fill([0.0; TILE]);
        for (bytes, rows) in part.blocks::<F>(tile).zip(part.rows()) {
            let next = &mut 0;
            // SAFETY: the caller promises the instructions; `rows` and `sums` are of as many rows.
            unsafe {
                unpacked.fill::<L, F>(bytes, rows.strips);
                let (eights, rest) = sums.as_chunks_mut::<ROWS>();
                add_each::<L, F, ROWS>(unpacked, &rows, next, eights);
                let (fours, rest) = rest.as_chunks_mut::<4>();
                add_each::<L, F, 4>(unpacked, &rows, next, fours);
                let (twos, ones) = rest.as_chunks_mut::<2>();
                add_each::<L, F, 2>(unpacked, &rows, next, twos);
                add_each::<L, F, 1>(unpacked, &rows, next, ones.as_chunks_mut::<1>().0);
            }
        }
    }
}

/// Asks for the next block, or the next tile's first, while this one is computed: memory is further away than the processor
/// looks ahead by itself.
#[inline(always)]
fn prefetch(rest: &[u8], length: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..length).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of an address that is not mapped does nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(rest.as_ptr().wrapping_add(AHEAD + line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (rest, length);
}

/// Adds to so many rows at a time, from `next` on.
///
/// # Safety
/// There are these rows; the processor has the instructions.
#[inline(always)]
unsafe fn add_each<L: Lanes, F: Format, const COUNT: usize>(
    unpacked: &Unpacked,
    rows: &BlockRows<'_>,
    next: &mut usize,
    sums: &mut [[[f32; TILE]; COUNT]],
) {
    for sums in sums {
        // SAFETY: the caller promises the rows and the instructions.
        unsafe {
            let local = match F::LAYOUT.scales {
                Scales::Plain => plain_share::<L, F, COUNT>(unpacked, rows, *next),
                Scales::Super => super_share::<L, F, COUNT>(unpacked, rows, *next),
            };
            for ((local, sums), scale) in local.into_iter().zip(sums).zip(&rows.scales[*next..*next + COUNT]) {
                add_share::<L>(local, *scale, sums);
            }
        }
        *next += COUNT;
    }
}

/// A plain type's block times the rows `first..first + COUNT`, which share each load of the weights.
///
/// # Safety
/// There are these rows; the processor has the instructions.
#[inline(always)]
unsafe fn plain_share<L: Lanes, F: Format, const COUNT: usize>(
    unpacked: &Unpacked,
    rows: &BlockRows<'_>,
    first: usize,
) -> [L::Floats; COUNT] {
    let (layout, groups) = (F::LAYOUT, rows.strips);
    let half_sums = &rows.half_sums[first * 2 * groups..(first + COUNT) * 2 * groups];
    // SAFETY: a block's groups lie within `unpacked`, and each row has two sums for each of them; the caller promises the rest.
    unsafe {
        let mut local = [L::splat(0.0); COUNT];
        let negated = L::splat_ints(both(if layout.has_minimums { -1 } else { -layout.zero }));
        for group in 0..groups {
            let scale = L::load(unpacked.factors.scales[group].as_ptr());
            for (row, local) in local.iter_mut().enumerate() {
                let pair = half_sums.as_ptr().add(2 * (row * groups + group));
                let sum = L::dot_pair(L::splat_ints(0), negated, pair);
                let start = if layout.has_minimums { L::splat_ints(0) } else { sum };
                let dot = dot::<L, F, COUNT>(unpacked, rows, first + row, group, start);
                *local = L::mul_add(L::to_floats(dot), scale, *local);
                if layout.has_minimums {
                    let minimum = L::load(unpacked.factors.minimums[group].as_ptr());
                    *local = L::mul_add(L::to_floats(sum), minimum, *local);
                }
            }
        }
        local
    }
}

/// A K type's block times the rows `first..first + COUNT`, which share each load of the weights.
///
/// # Safety
/// There are these rows; the processor has the instructions.
#[inline(always)]
unsafe fn super_share<L: Lanes, F: Format, const COUNT: usize>(
    unpacked: &Unpacked,
    rows: &BlockRows<'_>,
    first: usize,
) -> [L::Floats; COUNT] {
    let (layout, factors) = (F::LAYOUT, &unpacked.factors);
    let pairs = BLOCK / layout.group / 2;
    let sums = &if layout.group == STRIP { rows.sums } else { rows.half_sums }[first * 2 * pairs..];
    // SAFETY: K types have whole blocks, whose groups lie within `unpacked`; each row has a sum for each of them; the caller
    // promises the rest.
    unsafe {
        let mut corrections = [L::splat_ints(0); COUNT];
        for (pair, factors) in factors.pairs[..pairs].iter().enumerate() {
            let factors = L::load_ints(factors.as_ptr());
            for (row, correction) in corrections.iter_mut().enumerate() {
                let sums = sums.as_ptr().add(2 * (row * pairs + pair));
                *correction = L::dot_pair(*correction, factors, sums);
            }
        }
        // What a zero takes away has the scale of the codes; minimums have one of their own.
        let mut totals = if layout.has_minimums { [L::splat_ints(0); COUNT] } else { corrections };
        for (group, scale) in factors.group_scales[..2 * pairs].iter().enumerate() {
            let scale = L::load_ints(scale.as_ptr());
            for (row, total) in totals.iter_mut().enumerate() {
                let dot = dot::<L, F, COUNT>(unpacked, rows, first + row, group, L::splat_ints(0));
                *total = L::mul_add_ints(dot, scale, *total);
            }
        }
        std::array::from_fn(|row| weigh::<L, F>(totals[row], corrections[row], factors))
    }
}

/// A row's share of a K type's block: the integer of its codes times the block's scale and, where there are minimums, the integer of
/// those times theirs.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn weigh<L: Lanes, F: Format>(total: L::Ints, minimums: L::Ints, factors: &Factors) -> L::Floats {
    // SAFETY: sixteen floats each; the caller promises the instructions.
    unsafe {
        let share = L::mul(L::to_floats(total), L::load(factors.super_scale.as_ptr()));
        if F::LAYOUT.has_minimums {
            L::mul_add(L::to_floats(minimums), L::load(factors.super_minimum.as_ptr()), share)
        } else {
            share
        }
    }
}

/// Adds a block's share, times the scale of the row's activations, to the row's sums.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn add_share<L: Lanes>(share: L::Floats, scale: f32, sums: &mut [f32; TILE]) {
    // SAFETY: sixteen floats; the caller promises the instructions.
    unsafe { L::store(L::mul_add(L::splat(scale), share, L::load(sums.as_ptr())), sums.as_mut_ptr()) }
}

/// The same 16 bits twice.
const fn both(factor: i32) -> i32 {
    factor & 0xffff | factor << 16
}

/// `start` plus the dot products of one group of one row. Where few rows leave a product waiting for the sum before it, two sums
/// are made.
///
/// # Safety
/// There are this row and group; the processor has the instructions.
#[inline(always)]
unsafe fn dot<L: Lanes, F: Format, const COUNT: usize>(
    unpacked: &Unpacked,
    rows: &BlockRows<'_>,
    row: usize,
    group: usize,
    start: L::Ints,
) -> L::Ints {
    let input = group * F::LAYOUT.group;
    let chains = if COUNT < 4 { 2 } else { 1 };
    // SAFETY: the caller promises that the group's codes and the row's activations are there, and the instructions.
    unsafe {
        let codes = unpacked.codes.as_ptr().add(input * TILE);
        let values = rows.values.as_ptr().add(row * rows.strips * STRIP + input);
        match (F::LAYOUT.group, F::LAYOUT.bits) {
            (16, _) => L::dot::<4, 6>(codes, values, start, chains),
            (_, 4) => L::dot::<8, 4>(codes, values, start, chains),
            (_, 5) => L::dot::<8, 5>(codes, values, start, chains),
            _ => L::dot::<8, 8>(codes, values, start, chains),
        }
    }
}

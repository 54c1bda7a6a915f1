//! The product of rounded activations with a packed matrix.

#![allow(unsafe_code)]

use super::activations::{Activations, BlockRows};
use super::format::{Format, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
use super::lanes::portable::Portable;
use super::lanes::{Instructions, Lanes};
use super::unpack::Unpacked;
use super::{Packed, STRIP, TILE};
use crate::parallel::{DisjointSlice, for_ranges};
use crate::weight::WeightType;

/// Rows whose activations stay in the second-level cache while the tiles pass by.
const ROW_BLOCK: usize = 128;
/// Bytes behind the block that is computed from which the next ones are asked for.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 2048;
/// Rows that share a load of the weights: their sums are in registers.
const ROWS: usize = 8;

/// `values [rows, inputs]` times the transpose of the matrix, `[rows, outputs]`.
pub(crate) fn multiply(values: &[f32], matrix: &Packed) -> Vec<f32> {
    multiply_with(Instructions::best(), values, matrix)
}

pub(super) fn multiply_with(instructions: Instructions, values: &[f32], matrix: &Packed) -> Vec<f32> {
    let activations = Activations::round(values, matrix.inputs, matrix.layout);
    let rows = activations.rows;
    let mut product = vec![0f32; rows * matrix.outputs];
    let shared = DisjointSlice::new(&mut product);
    for_ranges(matrix.tiles(), rows * matrix.inputs * matrix.outputs, |range| {
        let mut work = Work { unpacked: Unpacked::new(), sums: [[0.0; TILE]; ROW_BLOCK] };
        for tile in range {
            let (first, width) = (tile * TILE, TILE.min(matrix.outputs - tile * TILE));
            for start in (0..rows).step_by(ROW_BLOCK) {
                let count = ROW_BLOCK.min(rows - start);
                tile_rows(
                    instructions,
                    matrix,
                    &Part { tile: matrix.tile(tile), activations: &activations, start, count },
                    &mut work,
                );
                for (row, sums) in work.sums[..count].iter().enumerate() {
                    // SAFETY: each pair of row and tile belongs to one item only, and an item to one thread.
                    let place = unsafe { shared.range_mut((start + row) * matrix.outputs + first, width) };
                    place.copy_from_slice(&sums[..width]);
                }
            }
        }
    });
    product
}

/// One tile and some of the rows.
struct Part<'a> {
    tile: &'a [u8],
    activations: &'a Activations,
    start: usize,
    count: usize,
}

/// What a thread works on.
struct Work {
    unpacked: Unpacked,
    /// Of each row, for the outputs of the tile.
    sums: [[f32; TILE]; ROW_BLOCK],
}

type TileRows = fn(&Part<'_>, &mut Work);

/// Computes the sums of one tile and some rows.
fn tile_rows(instructions: Instructions, matrix: &Packed, part: &Part<'_>, work: &mut Work) {
    let function: TileRows = match matrix.weight_type {
        WeightType::Q4_0 => compiled::<Q4_0>(instructions),
        WeightType::Q4_1 => compiled::<Q4_1>(instructions),
        WeightType::Q5_0 => compiled::<Q5_0>(instructions),
        WeightType::Q5_1 => compiled::<Q5_1>(instructions),
        WeightType::Q8_0 => compiled::<Q8_0>(instructions),
        WeightType::Q4K => compiled::<Q4K>(instructions),
        WeightType::Q5K => compiled::<Q5K>(instructions),
        _ => compiled::<Q6K>(instructions),
    };
    function(part, work);
}

fn compiled<F: Format>(instructions: Instructions) -> TileRows {
    match instructions {
        // SAFETY: plain loops need no instructions.
        Instructions::Portable => |part, work| unsafe { sum_tile::<Portable, F>(part, work) },
        // SAFETY: `Instructions` are only those that the processor was found to have.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => |part, work| unsafe { x86::avx2::<F>(part, work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => |part, work| unsafe { x86::avx512::<F>(part, work) },
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::lanes::avx2::Avx2;
    use super::super::lanes::avx512::Avx512;
    use super::{Format, Part, Work, sum_tile};

    /// # Safety
    /// The processor has these instructions; so below.
    #[target_feature(enable = "avx2,f16c,fma")]
    pub(super) unsafe fn avx2<F: Format>(part: &Part<'_>, work: &mut Work) {
        // SAFETY: the caller promises the instructions.
        unsafe { sum_tile::<Avx2, F>(part, work) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    pub(super) unsafe fn avx512<F: Format>(part: &Part<'_>, work: &mut Work) {
        // SAFETY: the caller promises the instructions.
        unsafe { sum_tile::<Avx512, F>(part, work) }
    }
}

/// Block by block: unpack, then add to all rows, eight at a time.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn sum_tile<L: Lanes, F: Format>(part: &Part<'_>, work: &mut Work) {
    let Part { tile, activations, start, count } = *part;
    let Work { unpacked, sums } = work;
    let sums = &mut sums[..count];
    sums.fill([0.0; TILE]);
    let mut rest = tile;
    for block in 0..activations.blocks() {
        let rows = activations.block(block, start, count);
        let (bytes, behind) = rest.split_at(F::LAYOUT.block_bytes(rows.strips));
        rest = behind;
        prefetch(rest, bytes.len());
        // SAFETY: the caller promises the instructions; `rows` and `sums` are of as many rows.
        unsafe {
            unpacked.fill::<L, F>(bytes, rows.strips);
            let next = &mut 0;
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
        unsafe { add_rows::<L, F, COUNT>(unpacked, rows, *next, sums) };
        *next += COUNT;
    }
}

/// Adds one block to the sums of `COUNT` rows, which share each load of the weights.
///
/// # Safety
/// There are the rows `first..first + COUNT`; the processor has the instructions.
#[inline(always)]
unsafe fn add_rows<L: Lanes, F: Format, const COUNT: usize>(
    unpacked: &Unpacked,
    rows: &BlockRows<'_>,
    first: usize,
    sums: &mut [[f32; TILE]; COUNT],
) {
    let layout = F::LAYOUT;
    let (inputs, groups) = (rows.strips * STRIP, rows.strips * layout.strip_groups());
    let values = &rows.values[first * inputs..(first + COUNT) * inputs];
    let scales = &rows.scales[first..first + COUNT];
    let factors = first * groups..(first + COUNT) * groups;
    let starts = if layout.has_minimums { &[] } else { &rows.starts[factors.clone()] };
    let minimum_sums = if layout.has_minimums { &rows.sums[factors] } else { &[] };
    // Where few rows leave a product waiting for the sum before it, two sums are made.
    let chains = if COUNT < 4 { 2 } else { 1 };
    // SAFETY: a block's groups lie within `unpacked` and within each row of the slices above; the caller promises the
    // instructions.
    unsafe {
        let mut local = [L::splat(0.0); COUNT];
        for group in 0..groups {
            let input = group * layout.group;
            let codes = unpacked.codes.as_ptr().add(input * TILE);
            let scale = L::load(unpacked.scales[group].as_ptr());
            for (row, local) in local.iter_mut().enumerate() {
                let values = values.as_ptr().add(row * inputs + input);
                let at = row * groups + group;
                let start = if layout.has_minimums { 0 } else { *starts.get_unchecked(at) };
                *local = L::mul_add(L::to_floats(dot::<L, F>(codes, values, start, chains)), scale, *local);
                if layout.has_minimums {
                    let minimum = L::load(unpacked.minimums[group].as_ptr());
                    *local = L::mul_add(L::splat(*minimum_sums.get_unchecked(at)), minimum, *local);
                }
            }
        }
        for ((local, sums), scale) in local.into_iter().zip(sums).zip(scales) {
            let sum = L::mul_add(L::splat(*scale), local, L::load(sums.as_ptr()));
            L::store(sum, sums.as_mut_ptr());
        }
    }
}

/// The dot products of one group.
///
/// # Safety
/// As [`Lanes::dot`] says, for the quads of a group.
#[inline(always)]
unsafe fn dot<L: Lanes, F: Format>(codes: *const u8, activations: *const i8, start: i32, chains: usize) -> L::Ints {
    // SAFETY: as the caller promises.
    unsafe {
        match (F::LAYOUT.group, F::LAYOUT.bits) {
            (16, _) => L::dot::<4, 6>(codes, activations, start, chains),
            (_, 4) => L::dot::<8, 4>(codes, activations, start, chains),
            (_, 5) => L::dot::<8, 5>(codes, activations, start, chains),
            _ => L::dot::<8, 8>(codes, activations, start, chains),
        }
    }
}

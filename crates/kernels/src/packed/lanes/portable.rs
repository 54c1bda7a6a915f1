//! Plain loops, for processors without the instructions below, and what those are compared with.

#![allow(unsafe_code)]

use super::Lanes;
use crate::math::widened;
use crate::packed::{BLOCK, TILE};

pub(in crate::packed) struct Portable;

impl Lanes for Portable {
    type Ints = [i32; TILE];
    type Floats = [f32; TILE];

    // What each function asks of its caller stands at `Lanes`, under # Safety.

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; TILE] {
        // SAFETY: the caller promises sixteen floats.
        unsafe { from.cast::<[f32; TILE]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn to_floats(ints: [i32; TILE]) -> [f32; TILE] {
        // SAFETY of this and the next: nothing is asked for.
        ints.map(|value| value as f32)
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> [f32; TILE] {
        [value; TILE]
    }

    #[inline(always)]
    unsafe fn load_halves(from: *const u8) -> [f32; TILE] {
        // SAFETY: the caller promises 32 bytes.
        let bytes = unsafe { from.cast::<[[u8; 2]; TILE]>().read_unaligned() };
        bytes.map(|half| widened(u16::from_le_bytes(half)))
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8, are_signed: bool) -> [i32; TILE] {
        // SAFETY: the caller promises sixteen bytes.
        let bytes = unsafe { from.cast::<[u8; TILE]>().read_unaligned() };
        bytes.map(|byte| if are_signed { i32::from(byte as i8) } else { i32::from(byte) })
    }

    #[inline(always)]
    unsafe fn load_ints(from: *const i32) -> [i32; TILE] {
        // SAFETY: the caller promises sixteen integers.
        unsafe { from.cast::<[i32; TILE]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_ints(ints: [i32; TILE], to: *mut i32) {
        // SAFETY: the caller promises sixteen integers.
        unsafe { to.cast::<[i32; TILE]>().write_unaligned(ints) }
    }

    #[inline(always)]
    unsafe fn splat_ints(value: i32) -> [i32; TILE] {
        [value; TILE]
    }

    #[inline(always)]
    unsafe fn pair(low: [i32; TILE], high: [i32; TILE]) -> [i32; TILE] {
        std::array::from_fn(|lane| low[lane] & 0xffff | high[lane] << 16)
    }

    // SAFETY of this and the next: nothing is asked for.
    #[inline(always)]
    unsafe fn dot_pairs(start: [i32; TILE], factors: [i32; TILE], others: [i32; TILE]) -> [i32; TILE] {
        let product = |factor: i32, other: i32| i32::from(factor as i16) * i32::from(other as i16);
        std::array::from_fn(|lane| {
            let (factors, others) = (factors[lane], others[lane]);
            start[lane] + product(factors, others) + product(factors >> 16, others >> 16)
        })
    }

    #[inline(always)]
    unsafe fn mul(factor: [f32; TILE], other: [f32; TILE]) -> [f32; TILE] {
        std::array::from_fn(|lane| factor[lane] * other[lane])
    }

    // SAFETY: the caller promises room for sixteen floats.
    #[inline(always)]
    unsafe fn store(floats: [f32; TILE], to: *mut f32) {
        // SAFETY: the caller promises sixteen floats.
        unsafe { to.cast::<[f32; TILE]>().write_unaligned(floats) }
    }

    #[inline(always)]
    unsafe fn mul_add(factor: [f32; TILE], other: [f32; TILE], addend: [f32; TILE]) -> [f32; TILE] {
        std::array::from_fn(|lane| factor[lane].mul_add(other[lane], addend[lane]))
    }

    #[inline(always)]
    unsafe fn dots<const QUADS: usize, const BITS: usize, const COUNT: usize>(
        codes: *const u8,
        activations: *const i8,
        starts: [[i32; TILE]; COUNT],
    ) -> [[i32; TILE]; COUNT] {
        // SAFETY: the caller promises the lengths in each row, and the instructions.
        std::array::from_fn(|row| unsafe { dot::<QUADS>(codes, activations.add(row * BLOCK), starts[row]) })
    }
}

/// `start` plus the dot products of one row.
///
/// # Safety
/// As the trait's `dots` of one row.
#[inline(always)]
unsafe fn dot<const QUADS: usize>(codes: *const u8, activations: *const i8, start: [i32; TILE]) -> [i32; TILE] {
    // SAFETY: the caller promises these lengths.
    let (codes, activations) =
        unsafe { (std::slice::from_raw_parts(codes, 64 * QUADS), std::slice::from_raw_parts(activations, 4 * QUADS)) };
    let mut sums = start;
    for (codes, activations) in codes.chunks_exact(64).zip(activations.chunks_exact(4)) {
        for (sum, codes) in sums.iter_mut().zip(codes.chunks_exact(4)) {
            for (code, activation) in codes.iter().zip(activations) {
                *sum += i32::from(*code) * i32::from(*activation);
            }
        }
    }
    sums
}

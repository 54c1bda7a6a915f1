//! Sixteen outputs at a time: what the products need of a processor.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(super) mod codes;
pub(super) mod portable;

use super::format::Format;
use super::unpack::fill_strip;
use super::{STRIP, TILE};

/// Sixteen integers and sixteen floats, one for each output of a tile. Every operation gives the same bits everywhere.
pub(super) trait Lanes {
    type Ints: Copy;
    type Floats: Copy;

    /// # Safety
    /// The processor has the instructions; so for the others.
    unsafe fn to_floats(ints: Self::Ints) -> Self::Floats;

    unsafe fn splat_ints(value: i32) -> Self::Ints;

    /// The low 16 bits of two integers side by side, the second one's above.
    unsafe fn pair(low: Self::Ints, high: Self::Ints) -> Self::Ints;

    /// # Safety
    /// As above, and `from` points to sixteen integers.
    unsafe fn load_ints(from: *const i32) -> Self::Ints;

    /// # Safety
    /// As above, and `to` points to sixteen integers.
    unsafe fn store_ints(ints: Self::Ints, to: *mut i32);

    unsafe fn splat(value: f32) -> Self::Floats;

    /// # Safety
    /// As above, and `from` points to sixteen floats.
    unsafe fn load(from: *const f32) -> Self::Floats;

    /// Sixteen f16.
    ///
    /// # Safety
    /// As above, and `from` points to 32 bytes.
    unsafe fn load_halves(from: *const u8) -> Self::Floats;

    /// Sixteen bytes as integers.
    ///
    /// # Safety
    /// As above, and `from` points to sixteen bytes.
    unsafe fn load_bytes(from: *const u8, are_signed: bool) -> Self::Ints;

    /// # Safety
    /// As above, and `to` points to sixteen floats.
    unsafe fn store(floats: Self::Floats, to: *mut f32);

    /// `factor * other`.
    unsafe fn mul(factor: Self::Floats, other: Self::Floats) -> Self::Floats;

    /// `factor * other + addend`, rounded once.
    unsafe fn mul_add(factor: Self::Floats, other: Self::Floats, addend: Self::Floats) -> Self::Floats;

    /// Unpacks a strip of codes of fewer than eight bits, as `unpack.rs` tells.
    ///
    /// # Safety
    /// As above; the strip is as long as its layout says, and `place` begins at a line.
    #[inline(always)]
    unsafe fn unpack<F: Format>(strip: &[u8], place: &mut [u8; STRIP * TILE]) {
        fill_strip(strip, F::LAYOUT.bits, place);
    }

    /// Of `COUNT` rows, [`super::BLOCK`] bytes apart: their start plus, for each output, the dot product of `QUADS` quads of its codes with
    /// the row's activations. Codes have `BITS` bits.
    ///
    /// # Safety
    /// `codes` points to `64 * QUADS` bytes, `activations` to `4 * QUADS` in each row; the processor has the instructions.
    unsafe fn dots<const QUADS: usize, const BITS: usize, const COUNT: usize>(
        codes: *const u8,
        activations: *const i8,
        starts: [Self::Ints; COUNT],
    ) -> [Self::Ints; COUNT];

    /// `start` plus, for each output, its two factors of 16 bits times the two others of 16 bits.
    unsafe fn dot_pairs(start: Self::Ints, factors: Self::Ints, others: Self::Ints) -> Self::Ints;
}

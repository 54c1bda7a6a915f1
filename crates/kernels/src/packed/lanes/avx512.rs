//! AVX-512 with its dot products of bytes (VNNI): one register holds the tile.

#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{
    __m512, __m512i, _mm_loadu_si128, _mm256_loadu_si256, _mm512_add_epi32, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps,
    _mm512_cvtepu8_epi32, _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_mask_blend_epi16, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_slli_epi32,
    _mm512_store_si512, _mm512_storeu_ps, _mm512_storeu_si512,
};

use super::Lanes;
use super::codes::code;
use crate::packed::format::Format;
use crate::packed::{BLOCK, STRIP, TILE};

pub(in crate::packed) struct Avx512;

impl Lanes for Avx512 {
    type Ints = __m512i;
    type Floats = __m512;

    // What each function asks of its caller stands at `Lanes`, under # Safety.

    #[inline(always)]
    unsafe fn to_floats(ints: __m512i) -> __m512 {
        // SAFETY: the caller promises the instructions; so below.
        unsafe { _mm512_cvtepi32_ps(ints) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: as above, and the caller promises sixteen floats.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_halves(from: *const u8) -> __m512 {
        // SAFETY: as above, and the caller promises 32 bytes.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8, are_signed: bool) -> __m512i {
        // SAFETY: as above, and the caller promises sixteen bytes.
        unsafe {
            let bytes = _mm_loadu_si128(from.cast());
            if are_signed { _mm512_cvtepi8_epi32(bytes) } else { _mm512_cvtepu8_epi32(bytes) }
        }
    }

    #[inline(always)]
    unsafe fn load_ints(from: *const i32) -> __m512i {
        // SAFETY: as above, and the caller promises sixteen integers.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_ints(ints: __m512i, to: *mut i32) {
        // SAFETY: as above, and the caller promises sixteen integers.
        unsafe { _mm512_storeu_si512(to.cast(), ints) }
    }

    #[inline(always)]
    unsafe fn splat_ints(value: i32) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    unsafe fn pair(low: __m512i, high: __m512i) -> __m512i {
        /// Every second 16 bits from the second.
        const ODD: u32 = 0xaaaa_aaaa;
        // SAFETY: as above.
        unsafe { _mm512_mask_blend_epi16(ODD, low, _mm512_slli_epi32::<16>(high)) }
    }

    #[inline(always)]
    unsafe fn dot_pairs(start: __m512i, factors: __m512i, others: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { dot_pairs(start, factors, others) }
    }

    #[inline(always)]
    unsafe fn mul(factor: __m512, other: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_mul_ps(factor, other) }
    }

    #[inline(always)]
    unsafe fn store(floats: __m512, to: *mut f32) {
        // SAFETY: as above, and the caller promises sixteen floats.
        unsafe { _mm512_storeu_ps(to, floats) }
    }

    #[inline(always)]
    unsafe fn mul_add(factor: __m512, other: __m512, addend: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(factor, other, addend) }
    }

    #[inline(always)]
    unsafe fn unpack<F: Format>(strip: &[u8], place: &mut [u8; STRIP * TILE]) {
        for (quad, place) in place.as_chunks_mut::<64>().0.iter_mut().enumerate() {
            // SAFETY: the caller promises the strip, and that places begin at lines.
            unsafe { _mm512_store_si512(place.as_mut_ptr().cast(), code::<F>(strip, quad)) };
        }
    }

    /// Quad by quad, so that products that need not wait for each other are neighbours. Long
    /// ones of fewer than four rows have a second sum each.
    #[inline(always)]
    unsafe fn dots<const QUADS: usize, const BITS: usize, const COUNT: usize>(
        codes: *const u8,
        activations: *const i8,
        starts: [__m512i; COUNT],
    ) -> [__m512i; COUNT] {
        // SAFETY: the caller promises the lengths and the instructions.
        unsafe {
            let (codes, activations) = (based(codes), based(activations));
            let mut sums = [starts, [_mm512_setzero_si512(); COUNT]];
            let chains = if COUNT < 4 && QUADS == 8 { 2 } else { 1 };
            for quad in 0..QUADS {
                let codes = _mm512_loadu_si512(codes.add(64 * quad).cast());
                for (row, sum) in sums[quad % chains].iter_mut().enumerate() {
                    let four = activations.add(row * BLOCK + 4 * quad).cast::<i32>().read_unaligned();
                    *sum = _mm512_dpbusd_epi32(*sum, codes, _mm512_set1_epi32(four));
                }
            }
            if chains == 1 {
                return sums[0];
            }
            std::array::from_fn(|row| _mm512_add_epi32(sums[0][row], sums[1][row]))
        }
    }
}

/// One instruction, of which the compiler by itself makes two, for processors on which the one is slow.
///
/// # Safety
/// The processor has the instructions.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn dot_pairs(start: __m512i, factors: __m512i, others: __m512i) -> __m512i {
    let mut sum = start;
    // SAFETY: the caller promises the instruction, which reads and writes these registers only.
    unsafe {
        asm!(
            "vpdpwssd {sum}, {factors}, {others}",
            sum = inout(zmm_reg) sum, factors = in(zmm_reg) factors, others = in(zmm_reg) others,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// The same pointer, in a register of its own. From an address without an index a product reads its activations as one operation
/// of the core instead of two; by itself the compiler saves the register.
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block)] // Nothing is read through it.
fn based<T>(pointer: *const T) -> *const T {
    let mut pointer = pointer;
    // SAFETY: nothing is done.
    unsafe { asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags)) };
    pointer
}

//! AVX2 with FMA: two registers hold the tile. Products of bytes are summed in pairs of 16 bits, which must not overflow.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256, __m256i, _mm_loadl_epi64, _mm_loadu_si128, _mm256_add_epi16, _mm256_add_epi32, _mm256_blend_epi16,
    _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_sign_epi8, _mm256_slli_epi32, _mm256_storeu_ps, _mm256_storeu_si256,
    _mm256_xor_si256,
};

use super::Lanes;
use crate::packed::BLOCK;

pub(in crate::packed) struct Avx2;

impl Lanes for Avx2 {
    type Ints = [__m256i; 2];
    type Floats = [__m256; 2];

    // What each function asks of its caller stands at `Lanes`, under # Safety.

    #[inline(always)]
    unsafe fn to_floats(ints: [__m256i; 2]) -> [__m256; 2] {
        // SAFETY: the caller promises the instructions; so below.
        ints.map(|half| unsafe { _mm256_cvtepi32_ps(half) })
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> [__m256; 2] {
        // SAFETY: as above.
        [unsafe { _mm256_set1_ps(value) }; 2]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [__m256; 2] {
        // SAFETY: as above, and the caller promises sixteen floats.
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }

    #[inline(always)]
    unsafe fn load_halves(from: *const u8) -> [__m256; 2] {
        // SAFETY: as above, and the caller promises 32 bytes.
        [from, from.wrapping_add(16)].map(|from| unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) })
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8, are_signed: bool) -> [__m256i; 2] {
        // SAFETY: as above, and the caller promises sixteen bytes.
        [from, from.wrapping_add(8)].map(|from| unsafe {
            let bytes = _mm_loadl_epi64(from.cast());
            if are_signed { _mm256_cvtepi8_epi32(bytes) } else { _mm256_cvtepu8_epi32(bytes) }
        })
    }

    #[inline(always)]
    unsafe fn load_ints(from: *const i32) -> [__m256i; 2] {
        // SAFETY: as above, and the caller promises sixteen integers.
        unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(8).cast())] }
    }

    #[inline(always)]
    unsafe fn store_ints(ints: [__m256i; 2], to: *mut i32) {
        // SAFETY: as above, and the caller promises sixteen integers.
        unsafe {
            _mm256_storeu_si256(to.cast(), ints[0]);
            _mm256_storeu_si256(to.add(8).cast(), ints[1]);
        }
    }

    #[inline(always)]
    unsafe fn splat_ints(value: i32) -> [__m256i; 2] {
        // SAFETY: as above.
        [unsafe { _mm256_set1_epi32(value) }; 2]
    }

    #[inline(always)]
    unsafe fn pair(low: [__m256i; 2], high: [__m256i; 2]) -> [__m256i; 2] {
        /// Every second 16 bits from the second.
        const ODD: i32 = 0b1010_1010;
        // SAFETY: as above.
        [0, 1].map(|half| unsafe { _mm256_blend_epi16::<ODD>(low[half], _mm256_slli_epi32::<16>(high[half])) })
    }

    #[inline(always)]
    unsafe fn dot_pairs(start: [__m256i; 2], factors: [__m256i; 2], others: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: as above.
        [0, 1].map(|half| unsafe { _mm256_add_epi32(start[half], _mm256_madd_epi16(factors[half], others[half])) })
    }

    #[inline(always)]
    unsafe fn mul(factor: [__m256; 2], other: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_mul_ps(factor[0], other[0]), _mm256_mul_ps(factor[1], other[1])] }
    }

    #[inline(always)]
    unsafe fn store(floats: [__m256; 2], to: *mut f32) {
        // SAFETY: as above, and the caller promises sixteen floats.
        unsafe {
            _mm256_storeu_ps(to, floats[0]);
            _mm256_storeu_ps(to.add(8), floats[1]);
        }
    }

    #[inline(always)]
    unsafe fn mul_add(factor: [__m256; 2], other: [__m256; 2], addend: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_fmadd_ps(factor[0], other[0], addend[0]), _mm256_fmadd_ps(factor[1], other[1], addend[1])] }
    }

    #[inline(always)]
    unsafe fn dots<const QUADS: usize, const BITS: usize, const COUNT: usize>(
        codes: *const u8,
        activations: *const i8,
        starts: [[__m256i; 2]; COUNT],
    ) -> [[__m256i; 2]; COUNT] {
        // SAFETY: the caller promises the lengths in each row, and the instructions.
        std::array::from_fn(|row| unsafe { dot::<QUADS, BITS>(codes, activations.add(row * BLOCK), starts[row]) })
    }
}

/// `start` plus the dot products of one row.
///
/// # Safety
/// As the trait's `dots` of one row.
#[inline(always)]
unsafe fn dot<const QUADS: usize, const BITS: usize>(
    codes: *const u8,
    activations: *const i8,
    start: [__m256i; 2],
) -> [__m256i; 2] {
    // SAFETY: the caller promises the lengths and the instructions.
    unsafe {
        let mut sums = start;
        let mut quad = 0;
        while quad < QUADS {
            let mut pairs = products::<BITS>(codes.add(64 * quad), activations.add(4 * quad));
            let mut more = 1;
            while more < quads_without_overflow(BITS) && quad + more < QUADS {
                let next = products::<BITS>(codes.add(64 * (quad + more)), activations.add(4 * (quad + more)));
                for (pair, next) in pairs.iter_mut().zip(next) {
                    *pair = _mm256_add_epi16(*pair, next);
                }
                more += 1;
            }
            for (sum, pair) in sums.iter_mut().zip(pairs) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pair, _mm256_set1_epi16(1)));
            }
            quad += more;
        }
        if BITS == 8 {
            // The codes were taken as signed, 128 less than they are.
            let total: i32 = (0..4 * QUADS).map(|at| i32::from(*activations.add(at))).sum();
            sums = sums.map(|sum| _mm256_add_epi32(sum, _mm256_set1_epi32(128 * total)));
        }
        sums
    }
}

/// Quads whose pairs of products, at most `2 * 127 * (2^bits - 1)` each, add up within 16 bits.
const fn quads_without_overflow(bits: usize) -> usize {
    match bits {
        4 => 8,
        5 => 4,
        6 => 2,
        _ => 1,
    }
}

/// One quad's products, summed in pairs of 16 bits, of the first and the last eight outputs. Codes of eight bits would overflow:
/// they are taken as signed, and their sign is given to the activation.
///
/// # Safety
/// There are 64 codes and four activations; the processor has the instructions.
#[inline(always)]
unsafe fn products<const BITS: usize>(codes: *const u8, activations: *const i8) -> [__m256i; 2] {
    // SAFETY: the caller promises 64 codes, four activations and the instructions.
    unsafe {
        let four = _mm256_set1_epi32(activations.cast::<i32>().read_unaligned());
        [codes, codes.add(32)].map(|codes| {
            let codes = _mm256_loadu_si256(codes.cast());
            if BITS < 8 {
                return _mm256_maddubs_epi16(codes, four);
            }
            let signed = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
            _mm256_maddubs_epi16(_mm256_sign_epi8(signed, signed), _mm256_sign_epi8(four, signed))
        })
    }
}

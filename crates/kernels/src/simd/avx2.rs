//! Eight floats in an AVX2 register. Compiled only for targets that have AVX2, FMA and F16C.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, __m256, _mm_loadu_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_castps_si256, _mm256_castsi256_ps,
    _mm256_cvtph_ps, _mm256_div_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps,
    _mm256_permute2f128_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_shuffle_ps, _mm256_slli_epi32, _mm256_storeu_ps,
    _mm256_sub_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

use half::f16;

use super::WIDTH;

/// Eight floats.
#[derive(Clone, Copy)]
pub(crate) struct F32x8(__m256);

/// Calls an intrinsic.
macro_rules! avx {
    ($call:expr) => {
        // SAFETY: the file is compiled only for targets that have these instructions, and every pointer comes from a
        // reference to an array of the length that is read or written.
        unsafe { $call }
    };
}

impl F32x8 {
    #[inline(always)]
    pub(crate) fn splat(value: f32) -> Self {
        Self(avx!(_mm256_set1_ps(value)))
    }

    #[inline(always)]
    pub(crate) fn load(from: &[f32; WIDTH]) -> Self {
        Self(avx!(_mm256_loadu_ps(from.as_ptr())))
    }

    #[inline(always)]
    pub(crate) fn load_f16(from: &[f16; WIDTH]) -> Self {
        Self(avx!(_mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast::<__m128i>()))))
    }

    #[inline(always)]
    pub(crate) fn store(self, place: &mut [f32; WIDTH]) {
        avx!(_mm256_storeu_ps(place.as_mut_ptr(), self.0));
    }

    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        Self(avx!(_mm256_add_ps(self.0, other.0)))
    }

    #[inline(always)]
    pub(crate) fn sub(self, other: Self) -> Self {
        Self(avx!(_mm256_sub_ps(self.0, other.0)))
    }

    #[inline(always)]
    pub(crate) fn mul(self, other: Self) -> Self {
        Self(avx!(_mm256_mul_ps(self.0, other.0)))
    }

    #[inline(always)]
    pub(crate) fn div(self, other: Self) -> Self {
        Self(avx!(_mm256_div_ps(self.0, other.0)))
    }

    /// `self * factor + addend`, fused.
    #[inline(always)]
    pub(crate) fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(avx!(_mm256_fmadd_ps(self.0, factor.0, addend.0)))
    }

    /// The larger one; `other` where either is no number.
    #[inline(always)]
    pub(crate) fn max(self, other: Self) -> Self {
        Self(avx!(_mm256_max_ps(self.0, other.0)))
    }

    /// Within `low` and `high`; what is no number stays so.
    #[inline(always)]
    pub(crate) fn clamp(self, low: f32, high: f32) -> Self {
        Self(avx!(_mm256_min_ps(_mm256_set1_ps(high), _mm256_max_ps(_mm256_set1_ps(low), self.0))))
    }

    /// `2^n`, where `n` stands as an integer in the low bits of each float.
    #[inline(always)]
    pub(super) fn two_to_the_low_bits(self) -> Self {
        let exponent = avx!(_mm256_slli_epi32::<23>(_mm256_castps_si256(self.0)));
        Self(avx!(_mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32(127 << 23)))))
    }

    /// The largest float, of which none may be no number.
    #[inline(always)]
    pub(crate) fn max_element(self) -> f32 {
        self.folded(Self::max)
    }

    /// The sum as a balanced tree: halves, quarters, pairs.
    #[inline(always)]
    pub(crate) fn sum(self) -> f32 {
        self.folded(Self::add)
    }

    /// Combines the upper half with the lower, then the quarters, then the pair.
    #[inline(always)]
    fn folded(self, combine: impl Fn(Self, Self) -> Self) -> f32 {
        let halves = combine(self, Self(avx!(_mm256_permute2f128_ps::<0x01>(self.0, self.0))));
        let quarters = combine(halves, Self(avx!(_mm256_shuffle_ps::<0b01_00_11_10>(halves.0, halves.0))));
        let pair = combine(quarters, Self(avx!(_mm256_shuffle_ps::<0b10_11_00_01>(quarters.0, quarters.0))));
        let mut values = [0f32; WIDTH];
        pair.store(&mut values);
        values[0]
    }

    /// Rows become columns.
    #[inline(always)]
    pub(crate) fn transpose(rows: [Self; WIDTH]) -> [Self; WIDTH] {
        let low = |a: Self, b: Self| Self(avx!(_mm256_unpacklo_ps(a.0, b.0)));
        let high = |a: Self, b: Self| Self(avx!(_mm256_unpackhi_ps(a.0, b.0)));
        let even = |a: Self, b: Self| Self(avx!(_mm256_shuffle_ps::<0b01_00_01_00>(a.0, b.0)));
        let odd = |a: Self, b: Self| Self(avx!(_mm256_shuffle_ps::<0b11_10_11_10>(a.0, b.0)));
        let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
        // Pairs of rows, then fours of rows, each in both halves of the register.
        let (p0, p1, p2, p3) = (low(r0, r1), high(r0, r1), low(r2, r3), high(r2, r3));
        let (p4, p5, p6, p7) = (low(r4, r5), high(r4, r5), low(r6, r7), high(r6, r7));
        let fours = [even(p0, p2), odd(p0, p2), even(p1, p3), odd(p1, p3)];
        let others = [even(p4, p6), odd(p4, p6), even(p5, p7), odd(p5, p7)];
        let lower = |index: usize| Self(avx!(_mm256_permute2f128_ps::<0x20>(fours[index].0, others[index].0)));
        let upper = |index: usize| Self(avx!(_mm256_permute2f128_ps::<0x31>(fours[index].0, others[index].0)));
        [lower(0), lower(1), lower(2), lower(3), upper(0), upper(1), upper(2), upper(3)]
    }
}

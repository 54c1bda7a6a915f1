//! Sixteen floats: one register of AVX-512 where the target has it, else two vectors of eight. An operation is the same on each of
//! them as on [`F32x8`].

#![allow(unsafe_code)]

#[cfg(all(target_arch = "x86_64", target_feature = "avx512f"))]
use std::arch::x86_64::{
    __m512, _mm256_loadu_si256, _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_ps,
    _mm512_storeu_ps,
};

use super::{F32x8, WIDTH};

/// Floats of a wide vector.
pub(crate) const WIDE: usize = 2 * WIDTH;

/// Sixteen floats.
#[derive(Clone, Copy)]
#[cfg(all(target_arch = "x86_64", target_feature = "avx512f"))]
pub(crate) struct F32x16(__m512);

#[cfg(all(target_arch = "x86_64", target_feature = "avx512f"))]
impl F32x16 {
    #[inline(always)]
    pub(crate) fn splat(value: f32) -> Self {
        // SAFETY: the target has the instructions; so below.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    pub(crate) fn load(from: &[f32; WIDE]) -> Self {
        // SAFETY: as above, and there are sixteen floats.
        Self(unsafe { _mm512_loadu_ps(from.as_ptr()) })
    }

    #[inline(always)]
    pub(crate) fn load_f16(from: &[half::f16; WIDE]) -> Self {
        // SAFETY: as above, and there are sixteen halves.
        Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())) })
    }

    #[inline(always)]
    pub(crate) fn store(self, place: &mut [f32; WIDE]) {
        // SAFETY: as above, and there is room for sixteen floats.
        unsafe { _mm512_storeu_ps(place.as_mut_ptr(), self.0) };
    }

    #[inline(always)]
    pub(crate) fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    /// `self * factor + addend`, fused where [`F32x8::mul_add`] is.
    #[inline(always)]
    pub(crate) fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
    }
}

/// Sixteen floats.
#[derive(Clone, Copy)]
#[cfg(not(all(target_arch = "x86_64", target_feature = "avx512f")))]
pub(crate) struct F32x16([F32x8; 2]);

#[cfg(not(all(target_arch = "x86_64", target_feature = "avx512f")))]
impl F32x16 {
    #[inline(always)]
    pub(crate) fn splat(value: f32) -> Self {
        Self([F32x8::splat(value); 2])
    }

    #[inline(always)]
    pub(crate) fn load(from: &[f32; WIDE]) -> Self {
        let (halves, _) = from.as_chunks::<WIDTH>();
        Self([F32x8::load(&halves[0]), F32x8::load(&halves[1])])
    }

    #[inline(always)]
    pub(crate) fn store(self, place: &mut [f32; WIDE]) {
        let (halves, _) = place.as_chunks_mut::<WIDTH>();
        halves.iter_mut().zip(self.0).for_each(|(place, half)| half.store(place));
    }

    #[inline(always)]
    pub(crate) fn mul(self, other: Self) -> Self {
        Self([self.0[0].mul(other.0[0]), self.0[1].mul(other.0[1])])
    }

    /// `self * factor + addend`, as [`F32x8::mul_add`].
    #[inline(always)]
    pub(crate) fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self([0, 1].map(|half: usize| self.0[half].mul_add(factor.0[half], addend.0[half])))
    }
}

impl F32x16 {
    /// The first eight, then the last eight.
    #[inline(always)]
    pub(crate) fn join(halves: [F32x8; 2]) -> Self {
        let mut values = [0f32; WIDE];
        for (place, half) in values.as_chunks_mut().0.iter_mut().zip(halves) {
            half.store(place);
        }
        Self::load(&values)
    }

    /// The first eight and the last eight.
    #[inline(always)]
    pub(crate) fn halves(self) -> [F32x8; 2] {
        let mut values = [0f32; WIDE];
        self.store(&mut values);
        let (halves, _) = values.as_chunks::<WIDTH>();
        [F32x8::load(&halves[0]), F32x8::load(&halves[1])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_gives_the_bits_of_two_vectors_of_eight() {
        let numbers = |seed: u32| -> [f32; WIDE] {
            std::array::from_fn(|index| {
                ((index as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 1e5 - 70.0
            })
        };
        let (a, b, c) = (F32x16::load(&numbers(1)), F32x16::load(&numbers(77)), F32x16::load(&numbers(3_000_000)));
        let bits = |vector: F32x8| {
            let mut values = [0f32; WIDTH];
            vector.store(&mut values);
            values.map(f32::to_bits)
        };
        for half in 0..2 {
            let [x, y, z] = [a, b, c].map(|vector| vector.halves()[half]);
            assert_eq!(bits(a.mul_add(b, c).halves()[half]), bits(x.mul_add(y, z)));
            assert_eq!(bits(a.mul(b).halves()[half]), bits(x.mul(y)));
            assert_eq!(bits(F32x16::splat(0.7).halves()[half]), bits(F32x8::splat(0.7)));
        }
    }
}

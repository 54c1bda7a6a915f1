//! Eight floats in an array, for targets without a file of their own.

use half::f16;

use super::WIDTH;
use crate::math::multiply_add;

/// Eight floats.
#[derive(Clone, Copy)]
pub(crate) struct F32x8([f32; WIDTH]);

impl F32x8 {
    #[inline(always)]
    pub(crate) fn splat(value: f32) -> Self {
        Self([value; WIDTH])
    }

    #[inline(always)]
    pub(crate) fn load(from: &[f32; WIDTH]) -> Self {
        Self(*from)
    }

    #[inline(always)]
    pub(crate) fn load_f16(from: &[f16; WIDTH]) -> Self {
        Self(from.map(f16::to_f32))
    }

    #[inline(always)]
    pub(crate) fn store(self, place: &mut [f32; WIDTH]) {
        *place = self.0;
    }

    #[inline(always)]
    fn each(self, other: Self, combine: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|index| combine(self.0[index], other.0[index])))
    }

    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        self.each(other, |a, b| a + b)
    }

    #[inline(always)]
    pub(crate) fn sub(self, other: Self) -> Self {
        self.each(other, |a, b| a - b)
    }

    #[inline(always)]
    pub(crate) fn mul(self, other: Self) -> Self {
        self.each(other, |a, b| a * b)
    }

    #[inline(always)]
    pub(crate) fn div(self, other: Self) -> Self {
        self.each(other, |a, b| a / b)
    }

    /// `self * factor + addend`, fused where the target can.
    #[inline(always)]
    pub(crate) fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|index| multiply_add(self.0[index], factor.0[index], addend.0[index])))
    }

    /// The larger one; `other` where either is no number.
    #[inline(always)]
    pub(crate) fn max(self, other: Self) -> Self {
        self.each(other, |a, b| if a > b { a } else { b })
    }

    /// Within `low` and `high`; what is no number stays so.
    #[inline(always)]
    pub(crate) fn clamp(self, low: f32, high: f32) -> Self {
        Self(self.0.map(|value| value.clamp(low, high)))
    }

    /// `2^n`, where `n` stands as an integer in the low bits of each float.
    #[inline(always)]
    pub(super) fn two_to_the_low_bits(self) -> Self {
        Self(self.0.map(|value| f32::from_bits((value.to_bits() << 23).wrapping_add(127 << 23))))
    }

    /// The largest float, of which none may be no number.
    #[inline(always)]
    pub(crate) fn max_element(self) -> f32 {
        self.folded(|a, b| if a > b { a } else { b })
    }

    /// The sum as a balanced tree: halves, quarters, pairs.
    #[inline(always)]
    pub(crate) fn sum(self) -> f32 {
        self.folded(|a, b| a + b)
    }

    #[inline(always)]
    fn folded(mut self, combine: impl Fn(f32, f32) -> f32) -> f32 {
        let mut width = WIDTH / 2;
        while width > 0 {
            for lane in 0..width {
                self.0[lane] = combine(self.0[lane], self.0[lane + width]);
            }
            width /= 2;
        }
        self.0[0]
    }

    /// Rows become columns.
    #[inline(always)]
    pub(crate) fn transpose(rows: [Self; WIDTH]) -> [Self; WIDTH] {
        std::array::from_fn(|column| Self(std::array::from_fn(|row| rows[row].0[column])))
    }
}

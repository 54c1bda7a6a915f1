//! Eight floats at a time, or sixteen (`wide.rs`). Loops over plain arrays are left to the compiler, which gives up on the ones that matter most;
//! these types say what is meant. Every operation is the same per element on every machine, so that results are too,
//! except that targets without fused multiply-add round twice.

#[cfg(all(target_arch = "x86_64", target_feature = "avx2", target_feature = "fma", target_feature = "f16c"))]
mod avx2;
#[cfg(all(target_arch = "x86_64", target_feature = "avx2", target_feature = "fma", target_feature = "f16c"))]
pub(crate) use avx2::F32x8;

#[cfg(any(
    test,
    not(all(target_arch = "x86_64", target_feature = "avx2", target_feature = "fma", target_feature = "f16c"))
))]
mod portable;
#[cfg(not(all(
    target_arch = "x86_64",
    target_feature = "avx2",
    target_feature = "fma",
    target_feature = "f16c"
)))]
pub(crate) use portable::F32x8;

mod columns;
mod wide;

use half::{bf16, f16};

use crate::math::ROUNDER;

pub(crate) use columns::{COLUMN, columns};
pub(crate) use wide::{F32x16, WIDE};

/// Floats in a vector.
pub(crate) const WIDTH: usize = 8;

impl F32x8 {
    /// `e^x` for finite `x`, within 2 units in the last place; inputs are clamped to the range where the result is a normal
    /// number. `exp(0)` is exactly 1, and of what is no number it is none.
    ///
    /// Range reduction to `[-ln 2 / 2, ln 2 / 2]` and a polynomial of degree 6 (its Taylor terms).
    #[inline(always)]
    pub(crate) fn exp(self) -> Self {
        // ln 2 in two parts, the first short enough that its product with an exponent is exact.
        const LN2_HIGH: f32 = 0.693_359_4;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        const TERMS: [f32; 6] = [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
        let x = self.clamp(-87.3, 88.0);
        let rounded = x.mul_add(Self::splat(std::f32::consts::LOG2_E), Self::splat(ROUNDER));
        let exponent = rounded.sub(Self::splat(ROUNDER));
        let rest = exponent.mul_add(Self::splat(-LN2_LOW), exponent.mul_add(Self::splat(-LN2_HIGH), x));
        let mut series = Self::splat(1.0 / 720.0);
        for term in TERMS {
            series = series.mul_add(rest, Self::splat(term));
        }
        series.mul(rounded.two_to_the_low_bits())
    }

    /// Up to eight floats; the places behind them are 0.
    #[inline(always)]
    pub(crate) fn load_part(from: &[f32]) -> Self {
        let mut whole = [0f32; WIDTH];
        whole[..from.len()].copy_from_slice(from);
        Self::load(&whole)
    }

    /// Writes as many floats as there is room for, up to eight.
    #[inline(always)]
    pub(crate) fn store_part(self, place: &mut [f32]) {
        let mut whole = [0f32; WIDTH];
        self.store(&mut whole);
        place.copy_from_slice(&whole[..place.len()]);
    }

    /// Eight of bf16's: the upper halves of floats.
    #[inline(always)]
    pub(crate) fn load_bf16(from: &[bf16; WIDTH]) -> Self {
        Self::load(&from.map(bf16::to_f32))
    }
}

/// An element type that is read as floats.
pub(crate) trait Element: Copy + Sync {
    /// Eight elements, exactly.
    fn load(from: &[Self; WIDTH]) -> F32x8;

    /// Sixteen elements, exactly.
    #[inline(always)]
    fn load_wide(from: &[Self; WIDE]) -> F32x16 {
        let (halves, _) = from.as_chunks::<WIDTH>();
        F32x16::join([Self::load(&halves[0]), Self::load(&halves[1])])
    }

    /// One element, exactly.
    fn widen(self) -> f32;

    /// Eight elements of each of [`COLUMN`] rows as columns of floats, exactly.
    #[inline(always)]
    fn columns<'a>(row: impl Fn(usize) -> &'a [Self; WIDTH], places: &mut [[f32; COLUMN]; WIDTH])
    where
        Self: 'a,
    {
        columns(|index| Self::load(row(index)), places);
    }
}

impl Element for f32 {
    #[inline(always)]
    fn load(from: &[Self; WIDTH]) -> F32x8 {
        F32x8::load(from)
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Element for f16 {
    #[cfg(all(target_arch = "x86_64", target_feature = "avx512f"))]
    #[inline(always)]
    fn load_wide(from: &[Self; WIDE]) -> F32x16 {
        F32x16::load_f16(from)
    }

    #[cfg(all(target_arch = "x86_64", target_feature = "avx512f", target_feature = "avx512bw"))]
    #[inline(always)]
    fn columns<'a>(row: impl Fn(usize) -> &'a [Self; WIDTH], places: &mut [[f32; COLUMN]; WIDTH]) {
        columns::halves::columns(row, places);
    }

    #[inline(always)]
    fn load(from: &[Self; WIDTH]) -> F32x8 {
        F32x8::load_f16(from)
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

impl Element for bf16 {
    #[cfg(all(target_arch = "x86_64", target_feature = "avx512f", target_feature = "avx512bw"))]
    #[inline(always)]
    fn columns<'a>(row: impl Fn(usize) -> &'a [Self; WIDTH], places: &mut [[f32; COLUMN]; WIDTH]) {
        columns::halves::columns(row, places);
    }

    #[inline(always)]
    fn load(from: &[Self; WIDTH]) -> F32x8 {
        F32x8::load_bf16(from)
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(vector: F32x8) -> [f32; WIDTH] {
        let mut values = [0f32; WIDTH];
        vector.store(&mut values);
        values
    }

    fn bits(values: [f32; WIDTH]) -> [u32; WIDTH] {
        values.map(f32::to_bits)
    }

    #[test]
    fn the_exponential_is_within_two_units_in_the_last_place() {
        for step in -87_000..88_000 {
            let x = step as f32 / 1000.0;
            let exact = f64::from(x).exp();
            let found = array(F32x8::splat(x).exp())[3];
            let error = (f64::from(found) - exact).abs() / exact;
            assert!(error < 2.5e-7, "exp({x}) is {found} instead of {exact}");
        }
        assert_eq!(array(F32x8::splat(0.0).exp()), [1.0; WIDTH]);
        assert!(array(F32x8::splat(f32::NEG_INFINITY).exp())[0] < 1e-37);
        assert!(array(F32x8::splat(1000.0).exp())[0].is_finite());
        assert!(array(F32x8::splat(f32::NAN).exp())[0].is_nan(), "a fault in the weights must show");
    }

    #[test]
    fn every_operation_gives_the_portable_bits() {
        let values: [f32; WIDTH] = [1.5, -2.25, 0.0, -0.0, 3.4e38, 1e-40, -7.0, 0.1];
        let others: [f32; WIDTH] = [-1.0, 0.3, 5.0, 0.0, 2.0, -3.0, -7.5, f32::NAN];
        let (a, b) = (F32x8::load(&values), F32x8::load(&others));
        let (c, d) = (portable::F32x8::load(&values), portable::F32x8::load(&others));
        let portable_array = |vector: portable::F32x8| {
            let mut values = [0f32; WIDTH];
            vector.store(&mut values);
            bits(values)
        };
        let same = |name: &str, found: F32x8, expected: portable::F32x8| {
            let (found, expected) = (bits(array(found)), portable_array(expected));
            for (found, expected) in found.into_iter().zip(expected) {
                let both_nan = f32::from_bits(found).is_nan() && f32::from_bits(expected).is_nan();
                assert!(found == expected || both_nan, "{name}: {found:x} instead of {expected:x}");
            }
        };
        same("splat", F32x8::splat(0.7), portable::F32x8::splat(0.7));
        same("two_to_the_low_bits", a.two_to_the_low_bits(), c.two_to_the_low_bits());
        same("add", a.add(b), c.add(d));
        same("sub", a.sub(b), c.sub(d));
        same("mul", a.mul(b), c.mul(d));
        same("div", a.div(b), c.div(d));
        same("mul_add", a.mul_add(b, a), c.mul_add(d, c));
        same("max", a.max(b), c.max(d));
        same("max, no number first", b.max(a), d.max(c));
        same("clamp", b.clamp(-1.0, 2.0), d.clamp(-1.0, 2.0));
        assert_eq!(a.max_element().to_bits(), c.max_element().to_bits());
        assert_eq!(a.sum().to_bits(), c.sum().to_bits());
        let halves: [f16; WIDTH] = [1.0, -0.5, 65504.0, 6e-8, 0.0, -0.0, 0.333, f32::INFINITY].map(f16::from_f32);
        same("load_f16", F32x8::load_f16(&halves), portable::F32x8::load_f16(&halves));
        let rows: [[f32; WIDTH]; WIDTH] =
            std::array::from_fn(|row| std::array::from_fn(|at| (row * WIDTH + at) as f32));
        let columns = F32x8::transpose(rows.map(|row| F32x8::load(&row)));
        let expected = portable::F32x8::transpose(rows.map(|row| portable::F32x8::load(&row)));
        for (at, (column, expected)) in columns.into_iter().zip(expected).enumerate() {
            same("transpose", column, expected);
            assert_eq!(array(column), std::array::from_fn(|row| rows[row][at]));
        }
    }
}

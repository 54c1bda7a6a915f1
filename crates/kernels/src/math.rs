//! Sums with a fixed order of operations. Nothing here may depend on the number of rows, threads or blocks: bitwise
//! invariance starts in this file.

use crate::simd::{F32x8, WIDTH};

/// Lanes of every long sum. The order of a sum is: element `i` goes to lane `i % LANES`, then the lanes are added as a
/// balanced tree. It is the same on every machine, whatever its vector width.
pub(crate) const LANES: usize = 2 * WIDTH;

/// 1.5 * 2^23: adding it rounds a small float to an integer held in the low bits, halves to even.
pub(crate) const ROUNDER: f32 = 12_582_912.0;

/// `a * b + c`, fused where the target has it in hardware.
///
/// Without the hardware instruction a fused product would be a call into the C library, hundreds of times slower.
#[inline(always)]
pub(crate) fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { a.mul_add(b, c) } else { a * b + c }
}

/// The largest magnitude, 0 of none; not finite where any number is not. Without their sign floats are ordered as their bits are, and
/// what is infinite or no number comes last.
#[inline(always)]
pub(crate) fn largest_magnitude(numbers: &[f32]) -> f32 {
    f32::from_bits(numbers.iter().fold(0, |largest, number| largest.max(number.abs().to_bits())))
}

/// An f16 as an f32: the exponent's bias is mended by a multiplication, which is exact, for subnormal ones, too. The `half` crate
/// asks the processor each time, which stops loops from becoming vectors.
#[inline(always)]
pub(crate) fn widened(half: u16) -> f32 {
    const BIAS: f32 = f32::from_bits((127 + 127 - 15) << 23);
    /// The exponent of what is infinite or no number, in either type.
    const BEYOND: (u16, u32) = (0x7c00, 0x7f80_0000);
    let (sign, rest) = (u32::from(half & 0x8000) << 16, u32::from(half & 0x7fff) << 13);
    let finite = (f32::from_bits(rest) * BIAS).to_bits();
    f32::from_bits(sign | if half & BEYOND.0 == BEYOND.0 { rest | BEYOND.1 } else { finite })
}

/// The dot product of two vectors of the same length, in the fixed order of [`LANES`].
#[inline]
pub(crate) fn dot(left: &[f32], right: &[f32]) -> f32 {
    dot_rows([left], right)[0]
}

/// The dot products of `ROWS` vectors with one: the shared operand is loaded once. Each result is bitwise that of [`dot`].
#[inline]
pub(crate) fn dot_rows<const ROWS: usize>(rows: [&[f32]; ROWS], shared: &[f32]) -> [f32; ROWS] {
    let length = rows.iter().fold(shared.len(), |length, row| length.min(row.len()));
    let (shared, shared_rest) = shared[..length].as_chunks::<LANES>();
    let rows = rows.map(|row| row[..length].as_chunks::<LANES>());
    let mut sums = [[F32x8::splat(0.0); 2]; ROWS];
    for (index, shared) in shared.iter().enumerate() {
        let shared = halves(shared);
        for (sum, (row, _)) in sums.iter_mut().zip(&rows) {
            let row = halves(&row[index]);
            *sum = [row[0].mul_add(shared[0], sum[0]), row[1].mul_add(shared[1], sum[1])];
        }
    }
    if !shared_rest.is_empty() {
        // Every product of this length gets the same zeros behind its rest.
        let shared = halves(&padded(shared_rest));
        for (sum, (_, rest)) in sums.iter_mut().zip(&rows) {
            let row = halves(&padded(rest));
            *sum = [row[0].mul_add(shared[0], sum[0]), row[1].mul_add(shared[1], sum[1])];
        }
    }
    sums.map(|[low, high]| low.add(high).sum())
}

#[inline(always)]
fn halves(lanes: &[f32; LANES]) -> [F32x8; 2] {
    let (halves, _) = lanes.as_chunks::<WIDTH>();
    [F32x8::load(&halves[0]), F32x8::load(&halves[1])]
}

#[inline(always)]
fn padded(rest: &[f32]) -> [f32; LANES] {
    let mut lanes = [0f32; LANES];
    lanes[..rest.len()].copy_from_slice(rest);
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_product_is_the_same_alone_and_among_four() {
        for length in [0, 1, 7, 8, 15, 16, 17, 31, 33, 64, 100, 172, 257] {
            let vector =
                |seed: usize| (0..length).map(|i| ((i * 7 + seed * 13) % 29) as f32 / 7.0 - 2.0).collect::<Vec<_>>();
            let (a, b, c, d, shared) = (vector(1), vector(2), vector(3), vector(4), vector(5));
            let together = dot_rows([&a[..], &b, &c, &d], &shared);
            for (row, result) in [&a, &b, &c, &d].into_iter().zip(together) {
                assert_eq!(dot(row, &shared).to_bits(), result.to_bits());
                let exact: f64 = row.iter().zip(&shared).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
                assert!((f64::from(result) - exact).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn every_half_is_widened_as_what_it_is() {
        for bits in 0..=u16::MAX {
            let (found, wanted) = (widened(bits), half::f16::from_bits(bits).to_f32());
            assert!(
                found.to_bits() == wanted.to_bits() || (found.is_nan() && wanted.is_nan()),
                "{bits:04x}: {found} {wanted}"
            );
        }
    }
}

//! Scalar building blocks with a fixed order of operations, written so that the compiler turns them into SIMD.
//! Nothing here may depend on the number of rows, threads or blocks: bitwise invariance starts in this file.

/// Lanes of every long sum. The order of a sum is: element `i` goes to lane `i % LANES`, then the lanes are added as a
/// balanced tree. It is the same on every machine, whatever its vector width.
pub(crate) const LANES: usize = 16;

/// `a * b + c`, fused where the target has it in hardware.
///
/// Without the hardware instruction a fused product would be a call into the C library, hundreds of times slower.
#[inline(always)]
pub(crate) fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { a.mul_add(b, c) } else { a * b + c }
}

/// Adds the lanes of a sum as a balanced tree.
#[inline(always)]
pub(crate) fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
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
    let whole = length / LANES * LANES;
    let mut sums = [[0f32; LANES]; ROWS];
    let mut start = 0;
    while start < whole {
        let shared_lanes = &shared[start..start + LANES];
        for (lanes, row) in sums.iter_mut().zip(rows) {
            let row_lanes = &row[start..start + LANES];
            for lane in 0..LANES {
                lanes[lane] = multiply_add(row_lanes[lane], shared_lanes[lane], lanes[lane]);
            }
        }
        start += LANES;
    }
    for (lanes, row) in sums.iter_mut().zip(rows) {
        for (lane, index) in (whole..length).enumerate() {
            lanes[lane] = multiply_add(row[index], shared[index], lanes[lane]);
        }
    }
    sums.map(sum_lanes)
}

/// `e^x` for finite `x`, within 2 units in the last place; inputs are clamped to the range where the result is a normal number.
///
/// Range reduction to `[-ln 2 / 2, ln 2 / 2]` and a polynomial of degree 6 (its Taylor terms); branch-free, so that loops
/// over it become SIMD. `exp(0)` is exactly 1.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // 1.5 * 2^23: adding it rounds a small float to an integer held in the low bits.
    const ROUNDER: f32 = 12_582_912.0;
    // ln 2 in two parts, the first short enough that its product with an exponent is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.3, 88.0);
    let rounded = multiply_add(x, std::f32::consts::LOG2_E, ROUNDER);
    let exponent = rounded - ROUNDER;
    let rest = multiply_add(exponent, -LN2_LOW, multiply_add(exponent, -LN2_HIGH, x));
    let mut series = 1.0 / 720.0;
    series = multiply_add(series, rest, 1.0 / 120.0);
    series = multiply_add(series, rest, 1.0 / 24.0);
    series = multiply_add(series, rest, 1.0 / 6.0);
    series = multiply_add(series, rest, 0.5);
    series = multiply_add(series, rest, 1.0);
    series = multiply_add(series, rest, 1.0);
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    series * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_within_two_units_in_the_last_place() {
        for step in -87_000..88_000 {
            let x = step as f32 / 1000.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.5e-7, "exp({x}) is {} instead of {exact}", exp(x));
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
        assert!(exp(1000.0).is_finite());
    }

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
}

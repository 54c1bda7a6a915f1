//! Scalar references: each kernel again, in double precision, in the order of the textbook, without blocks or threads.
//! Slow on purpose. Tests of every device compare with these; the forward never calls them.

use crate::rope::RopePairs;

/// `activations [rows, inputs]` times the transpose of `weights [outputs, inputs]`.
#[must_use]
pub fn matmul(activations: &[f32], weights: &[f32], inputs: usize) -> Vec<f64> {
    let mut product = Vec::new();
    for row in activations.chunks_exact(inputs) {
        for weight in weights.chunks_exact(inputs) {
            product.push(row.iter().zip(weight).map(|(a, w)| f64::from(*a) * f64::from(*w)).sum());
        }
    }
    product
}

/// `x / sqrt(mean(x²) + epsilon) * weight` for each row.
#[must_use]
pub fn rms_norm(rows: &[f32], weight: &[f32], epsilon: f32) -> Vec<f64> {
    let exact = |row: &[f32]| row.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    rows.chunks_exact(weight.len()).flat_map(|row| head_norm(&exact(row), weight, epsilon)).collect()
}

/// [`rms_norm`] of one head, which may be a sum that no float holds.
#[must_use]
pub fn head_norm(head: &[f64], weight: &[f32], epsilon: f32) -> Vec<f64> {
    let mean = head.iter().map(|x| x * x).sum::<f64>() / head.len() as f64;
    let scale = 1.0 / (mean + f64::from(epsilon)).sqrt();
    head.iter().zip(weight).map(|(x, w)| x * scale * f64::from(*w)).collect()
}

/// `gate / (1 + e^-gate) * up`.
#[must_use]
pub fn silu_mul(gate: &[f32], up: &[f32]) -> Vec<f64> {
    gate.iter().zip(up).map(|(g, u)| f64::from(*g) / (1.0 + (-f64::from(*g)).exp()) * f64::from(*u)).collect()
}

/// Turns the pairs of one head at a position by the angles `position * frequencies[i]`, and multiplies them by `magnitude`.
#[must_use]
pub fn rope(head: &[f64], position: u32, frequencies: &[f64], pairs: RopePairs, magnitude: f32) -> Vec<f64> {
    let mut rotated = head.to_vec();
    let magnitude = f64::from(magnitude);
    for (pair, frequency) in frequencies.iter().enumerate() {
        let [first, second] = match pairs {
            RopePairs::Neighbours => [2 * pair, 2 * pair + 1],
            RopePairs::Halves => [pair, pair + frequencies.len()],
        };
        let (sine, cosine) = (f64::from(position) * frequency).sin_cos();
        rotated[first] = (head[first] * cosine - head[second] * sine) * magnitude;
        rotated[second] = (head[first] * sine + head[second] * cosine) * magnitude;
    }
    rotated
}

/// The angle per position of each pair: `base^(-2i / dimensions) / factor / linear_scale`.
#[must_use]
pub fn rope_frequencies(dimensions: usize, base: f32, linear_scale: f32, factors: Option<&[f32]>) -> Vec<f64> {
    (0..dimensions / 2)
        .map(|pair| {
            let factor = factors.map_or(1.0, |factors| f64::from(factors[pair]));
            f64::from(base).powf(-2.0 * pair as f64 / dimensions as f64) / factor / f64::from(linear_scale)
        })
        .collect()
}

/// Attention of one query head over contiguous keys and values `[positions, head_dim]`, all of them visible.
#[must_use]
pub fn attention(query: &[f64], keys: &[f64], values: &[f64]) -> Vec<f64> {
    let head_dim = query.len();
    let scale = 1.0 / (head_dim as f64).sqrt();
    let scores: Vec<f64> =
        keys.chunks_exact(head_dim).map(|key| query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>() * scale).collect();
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut output = vec![0.0; head_dim];
    for (weight, value) in weights.iter().zip(values.chunks_exact(head_dim)) {
        for (place, value) in output.iter_mut().zip(value) {
            *place += weight / total * value;
        }
    }
    output
}

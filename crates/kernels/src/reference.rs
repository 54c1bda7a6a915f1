//! Scalar references: each kernel again, in double precision, in the order of the textbook, without blocks or threads.
//! Slow on purpose. Tests of every device compare with these; the forward never calls them.

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
    let mut normed = Vec::new();
    for row in rows.chunks_exact(weight.len()) {
        let mean = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean + f64::from(epsilon)).sqrt();
        normed.extend(row.iter().zip(weight).map(|(x, w)| f64::from(*x) * scale * f64::from(*w)));
    }
    normed
}

/// `gate / (1 + e^-gate) * up`.
#[must_use]
pub fn silu_mul(gate: &[f32], up: &[f32]) -> Vec<f64> {
    gate.iter().zip(up).map(|(g, u)| f64::from(*g) / (1.0 + (-f64::from(*g)).exp()) * f64::from(*u)).collect()
}

/// Turns the pairs `(2i, 2i + 1)` of one head at a position by the angles `position * frequencies[i]`.
#[must_use]
pub fn rope(head: &[f64], position: u32, frequencies: &[f64]) -> Vec<f64> {
    let mut rotated = head.to_vec();
    for (pair, frequency) in rotated.chunks_exact_mut(2).zip(frequencies) {
        let (sine, cosine) = (f64::from(position) * frequency).sin_cos();
        let (even, odd) = (pair[0], pair[1]);
        pair[0] = even * cosine - odd * sine;
        pair[1] = even * sine + odd * cosine;
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

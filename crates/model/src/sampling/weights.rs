//! Logits to weights, the nucleus, and the draw. Sums have a fixed order and the exponential is our own, so that the
//! same bits come out on every machine.

use super::select::{self, Cutoff, Scored};

/// Weights that are summed together before the walk.
const BLOCK: usize = 256;
/// Independent sums inside a block; their order is part of the result.
const LANES: usize = 8;

/// `e^x` for `x <= 0`, within two units in the last place; 0 below -87. Only operations that every machine rounds alike.
#[inline]
pub(super) fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.max(-87.0);
    let power = (clamped * LOG2_E).round_ties_even();
    let rest = clamped - power * LN_2_HIGH - power * LN_2_LOW;
    // Taylor's series to the seventh power: the rest is at most ln(2) / 2, where the next term is 5e-9.
    let mut series = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = series * rest + coefficient;
    }
    let scale = f32::from_bits(((power as i32 + 127) as u32) << 23);
    if x < -87.0 { 0.0 } else { series * scale }
}

fn sum(weights: &[f32]) -> f64 {
    let mut lanes = [0.0f64; LANES];
    for chunk in weights.chunks(LANES) {
        for (lane, &weight) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(weight);
        }
    }
    lanes.iter().sum()
}

/// Writes the weight of each token relative to the greatest, 0 for those cut off, and gives their sum.
fn weigh(logits: &[f32], greatest: f32, temperature: f32, cutoff: Cutoff, weights: &mut Vec<f32>) -> f64 {
    weights.clear();
    weights.extend(logits.iter().map(|&logit| exp((logit - greatest) / temperature)));
    if cutoff != Cutoff::NONE {
        for (id, (weight, &logit)) in weights.iter_mut().zip(logits).enumerate() {
            if !cutoff.passes(logit, id as u32) {
                *weight = 0.0;
            }
        }
    }
    weights.chunks(BLOCK).map(sum).sum()
}

/// The natural logarithm of the sum of the exponentials of a row.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let greatest = logits.iter().copied().fold(f32::MIN, f32::max);
    let mut total = 0.0;
    let mut weights = [0.0; BLOCK];
    for chunk in logits.chunks(BLOCK) {
        for (weight, &logit) in weights.iter_mut().zip(chunk) {
            *weight = exp(logit - greatest);
        }
        total += sum(&weights[..chunk.len()]);
    }
    f64::from(greatest) + total.ln()
}

/// The cutoff after the fewest best tokens whose probabilities, among those that pass `cutoff`, reach `top_p`. The
/// best are taken a few at a time, since a nucleus is usually small.
pub(super) fn nucleus(
    logits: &[f32],
    greatest: f32,
    temperature: f32,
    top_p: f32,
    cutoff: Cutoff,
    weights: &mut Vec<f32>,
    best: &mut Vec<Scored>,
) -> Cutoff {
    let wanted = weigh(logits, greatest, temperature, cutoff, weights) * f64::from(top_p);
    let mut count = 128;
    loop {
        select::best(logits, cutoff, count, best);
        let mut reached = 0.0;
        for scored in best.iter() {
            reached += f64::from(exp((scored.logit - greatest) / temperature));
            if reached >= wanted {
                return Cutoff::through(*scored);
            }
        }
        if best.len() < count {
            return cutoff;
        }
        count *= 8;
    }
}

/// The token at which the running sum of the weights first passes `fraction` of their total.
pub(super) fn draw(
    logits: &[f32],
    greatest: f32,
    temperature: f32,
    cutoff: Cutoff,
    fraction: f64,
    weights: &mut Vec<f32>,
) -> Option<u32> {
    let mut rest = weigh(logits, greatest, temperature, cutoff, weights) * fraction;
    let mut last = None;
    for (block, chunk) in weights.chunks(BLOCK).enumerate() {
        let block_weight = sum(chunk);
        if block_weight > 0.0 {
            last = Some((block, chunk));
        }
        if rest < block_weight {
            break;
        }
        rest -= block_weight;
    }
    // Rounding may leave a little more to walk than there is; then the last token that has a weight is the one.
    let (block, chunk) = last?;
    let mut drawn = None;
    for (offset, &weight) in chunk.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        drawn = Some((block * BLOCK + offset) as u32);
        if rest < f64::from(weight) {
            break;
        }
        rest -= f64::from(weight);
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn the_exponential_is_close_to_the_exact_one() {
        let mut x = 0.0f32;
        while x > -87.0 {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.5e-7, "exp({x}) is off by {error}");
            x -= 0.0137;
        }
        assert_eq!((exp(0.0), exp(-88.0), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
    }
}

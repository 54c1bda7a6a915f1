//! Logits to weights, the nucleus, and the draw. A weight is an integer, so that sums have no order: a CPU and a card that
//! add them up in their own ways come to the same bits. The exponential is our own for the same reason.

use super::select::{self, Cutoff, Scored};

/// Weights that are summed together before the walk.
const BLOCK: usize = 256;
/// Bits of a weight behind the point: the greatest is 2^39, so that 2^24 tokens fit in a sum of 64 bits.
const WEIGHT_BITS: u32 = 39;

/// `e^x` for `x <= 0`, within two units in the last place; 0 below -87. Only operations that every machine rounds alike.
#[inline]
fn exp(x: f32) -> f32 {
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

/// A number from 0 to 1 times 2^39, rounded down. By its bits, because that is done for several numbers at once where a
/// conversion to 64 bits is not.
#[inline]
fn fixed(number: f32) -> u64 {
    let bits = number.to_bits();
    let significand = u64::from(bits & 0x7F_FFFF | 0x80_0000);
    (significand << (WEIGHT_BITS - 23)) >> (127 - (bits >> 23)).min(63)
}

/// The upper half of a product: a part of `whole`, for a fraction in units of 2^-64.
pub(super) fn part(whole: u64, fraction: u64) -> u64 {
    ((u128::from(whole) * u128::from(fraction)) >> 64) as u64
}

/// How logits become weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighing {
    /// The greatest logit of the row: its weight is 1.
    pub(super) greatest: f32,
    /// Above 0.
    pub(super) temperature: f32,
}

impl Weighing {
    /// The weight of a token, in units of 2^-39.
    #[inline]
    fn weight(self, logit: f32) -> u64 {
        fixed(exp((logit - self.greatest) / self.temperature))
    }

    /// Weighs block number `block` of a row; tokens that are cut off weigh nothing.
    fn block(self, block: usize, logits: &[f32], cutoff: Cutoff, weights: &mut [u64; BLOCK]) -> u64 {
        for (weight, &logit) in weights.iter_mut().zip(logits) {
            *weight = self.weight(logit);
        }
        if cutoff != Cutoff::NONE {
            for ((weight, &logit), id) in weights.iter_mut().zip(logits).zip(block * BLOCK..) {
                *weight = if cutoff.passes(logit, id as u32) { *weight } else { 0 };
            }
        }
        weights[..logits.len()].iter().sum()
    }

    /// The weight of all tokens that pass.
    pub(super) fn total(self, logits: &[f32], cutoff: Cutoff) -> u64 {
        let mut weights = [0; BLOCK];
        logits.chunks(BLOCK).enumerate().map(|(block, chunk)| self.block(block, chunk, cutoff, &mut weights)).sum()
    }

    /// The cutoff after the fewest best tokens that together have `fraction` (in units of 2^-64) of the weight of all
    /// that pass `cutoff`; at least one. The best are taken a few at a time, since a nucleus is usually small.
    pub(super) fn nucleus(self, logits: &[f32], fraction: u64, cutoff: Cutoff, best: &mut Vec<Scored>) -> Cutoff {
        let wanted = part(self.total(logits, cutoff), fraction);
        let mut count = 128;
        loop {
            select::best(logits, cutoff, count, best);
            let mut reached = 0;
            for scored in best.iter() {
                reached += self.weight(scored.logit);
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

    /// The first token, by id, at which the running sum of the weights is above a part of their total: the part that a
    /// random word takes in 2^64.
    pub(super) fn draw(self, logits: &[f32], cutoff: Cutoff, word: u64, sums: &mut Vec<u64>) -> Option<u32> {
        let mut weights = [0; BLOCK];
        let blocks = logits.chunks(BLOCK).enumerate();
        sums.clear();
        sums.extend(blocks.map(|(block, chunk)| self.block(block, chunk, cutoff, &mut weights)));
        let mut rest = part(sums.iter().sum(), word);
        let block = passing(sums, &mut rest)?;
        let start = block * BLOCK;
        let chunk = &logits[start..logits.len().min(start + BLOCK)];
        self.block(block, chunk, cutoff, &mut weights);
        passing(&weights[..chunk.len()], &mut rest).map(|offset| (start + offset) as u32)
    }
}

/// The first place where the running sum is above `rest`, from which the sum before that place is taken.
fn passing(weights: &[u64], rest: &mut u64) -> Option<usize> {
    weights.iter().position(|&weight| {
        let found = *rest < weight;
        *rest -= if found { 0 } else { weight };
        found
    })
}

/// The natural logarithm of the sum of a row's exponentials, from its greatest logit and the total of its weights at
/// temperature 1.
pub(super) fn log_sum_exp(greatest: f32, total: u64) -> f64 {
    f64::from(greatest) + (total as f64 / (1u64 << WEIGHT_BITS) as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::{Cutoff, Weighing, exp, fixed};

    #[test]
    fn the_token_is_that_in_whose_part_of_the_words_the_random_word_is() {
        let logits = [0.5; 1 << 10];
        let draw =
            |word| Weighing { greatest: 0.5, temperature: 1.0 }.draw(&logits, Cutoff::NONE, word, &mut Vec::new());
        for id in [0u32, 1, 255, 256, 257, 1_023] {
            let first = u64::from(id) << 54;
            assert_eq!((draw(first), draw(first + ((1 << 54) - 1))), (Some(id), Some(id)));
        }
    }

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

    #[test]
    fn a_weight_is_the_exponential_rounded_down() {
        let mut x = -1e-9f32;
        while x > -100.0 {
            let weight = exp(x);
            assert!(weight <= 1.0, "exp({x}) is {weight}");
            assert_eq!(fixed(weight), (f64::from(weight) * 549_755_813_888.0).floor() as u64, "at {x}");
            x = x * 1.001 - 1e-10;
        }
        assert_eq!((fixed(1.0), fixed(0.0), fixed(f32::MIN_POSITIVE)), (1 << 39, 0, 0));
    }
}

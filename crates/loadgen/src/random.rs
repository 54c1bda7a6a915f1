//! Seeded randomness: a generator, shuffles, and Poisson arrivals. No entropy of the system comes in.

/// SplitMix64 (Steele, Lea, Flood 2014): 64 bits of state, the same sequence on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator of its own for each combination of parts, so that drawing from one never shifts another.
    pub(crate) fn keyed(parts: &[u64]) -> Self {
        let mut state = 0;
        for &part in parts {
            state = Self::new(state ^ part).next_u64();
        }
        Self::new(state)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in [0, 1), with 53 bits.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in 0..bound by the high half of a product; the bias for small bounds is under 2⁻⁵⁰. `bound` is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Fisher and Yates' shuffle.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// The time to the next arrival of a Poisson process, in seconds: the inverse of the exponential distribution function at
/// `unit` in [0, 1).
pub(crate) fn exponential(unit: f64, rate_per_s: f64) -> f64 {
    -(-unit).ln_1p() / rate_per_s
}

/// The times of `count` Poisson arrivals in seconds from the start, ascending; the first is at 0, since an empty lead tells
/// nothing.
pub(crate) fn poisson_arrivals(seed: u64, rate_per_s: f64, count: u32) -> Vec<f64> {
    let mut random = Random::keyed(&[seed, 0x0061_7272_6976_616c]);
    let mut at = 0.0;
    (0..count)
        .map(|index| {
            if index > 0 {
                at += exponential(random.unit(), rate_per_s);
            }
            at
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_sequence() {
        // The first outputs of the reference implementation (Vigna, splitmix64.c) for the seed 1234567.
        let mut random = Random::new(1_234_567);
        let drawn: Vec<u64> = (0..5).map(|_| random.next_u64()).collect();
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821
            ]
        );
    }

    #[test]
    fn the_exponential_inverse_is_exact_at_known_points() {
        assert_eq!(exponential(0.0, 3.0), 0.0);
        assert!((exponential(0.5, 1.0) - std::f64::consts::LN_2).abs() < 1e-15);
        assert!((exponential(0.5, 4.0) - std::f64::consts::LN_2 / 4.0).abs() < 1e-15);
        let one_over_e = (-1.0_f64).exp();
        assert!((exponential(1.0 - one_over_e, 1.0) - 1.0).abs() < 1e-12);
        assert!(exponential(1.0 - f64::EPSILON / 2.0, 1.0).is_finite());
    }

    #[test]
    fn arrivals_are_ascending_and_the_same_for_a_seed() {
        let arrivals = poisson_arrivals(9, 40.0, 1_000);
        assert_eq!(arrivals, poisson_arrivals(9, 40.0, 1_000));
        assert_ne!(arrivals, poisson_arrivals(10, 40.0, 1_000));
        assert_eq!(arrivals[0], 0.0);
        assert!(arrivals.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(poisson_arrivals(9, 40.0, 0).is_empty());
    }

    #[test]
    fn gaps_have_the_mean_the_spread_and_the_tail_of_a_poisson_process() {
        let rate = 40.0;
        let arrivals = poisson_arrivals(1, rate, 200_001);
        let gaps: Vec<f64> = arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let count = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        assert!((mean * rate - 1.0).abs() < 0.01, "mean {mean}");
        assert!((variance.sqrt() * rate - 1.0).abs() < 0.02, "standard deviation {}", variance.sqrt());
        // An exponential gap is longer than three means with probability e⁻³.
        let tail = gaps.iter().filter(|gap| **gap > 3.0 / rate).count() as f64 / count;
        assert!((tail - (-3.0_f64).exp()).abs() < 0.003, "tail {tail}");
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let mut random = Random::new(3);
        let mut seen = [0_u32; 7];
        for _ in 0..7_000 {
            seen[random.below(7)] += 1;
        }
        assert!(seen.iter().all(|&count| (800..1_200).contains(&count)), "{seen:?}");
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::new(5).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}

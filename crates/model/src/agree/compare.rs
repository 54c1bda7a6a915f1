//! How far two rows of logits are apart, and how far they may be.

/// What two computations of the same logits may differ by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// The largest difference of two logits, relative to the largest logit of the row.
    pub relative: f64,
    /// The Kullback-Leibler divergence of what is expected from what was found, in nats.
    pub divergence: f64,
}

impl Tolerance {
    /// Not a bit.
    pub const EXACT: Self = Self { relative: 0.0, divergence: 0.0 };
    /// The same products summed in another order, in single precision from end to end.
    pub const REORDERED: Self = Self { relative: 1e-3, divergence: 1e-5 };
    /// Activations rounded to eight bits, in other blocks or another order: 0.5 to 1 % for each product, which add up over the
    /// layers like independent errors.
    pub const ROUNDED: Self = Self { relative: 0.1, divergence: 0.02 };
    /// The same kernels for rows of another number: rounding that flips here and there.
    pub const REROUNDED: Self = Self { relative: 0.05, divergence: 0.01 };
}

/// What a comparison of several rows found.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// What was compared.
    pub case: String,
    /// Rows of logits.
    pub rows: usize,
    /// The largest relative difference; see [`Tolerance`].
    pub relative: f64,
    /// The largest divergence.
    pub divergence: f64,
    /// Rows whose likeliest token stands so clear of the next that noise does not change it.
    pub clear_tops: usize,
    /// Those of them that found the same token.
    pub same_tops: usize,
    /// What is allowed.
    pub allowed: Tolerance,
}

/// A likeliest token is clear when it stands above the next by so many root mean squares of the row's differences.
const CLEAR: f64 = 6.0;

impl Agreement {
    /// Nothing compared yet.
    #[must_use]
    pub fn new(case: String, allowed: Tolerance) -> Self {
        Self { case, rows: 0, relative: 0.0, divergence: 0.0, clear_tops: 0, same_tops: 0, allowed }
    }

    /// Compares one more row.
    pub fn compare(&mut self, expected: &[f32], found: &[f32]) {
        let pairs = || expected.iter().zip(found).map(|(&expected, &found)| (f64::from(expected), f64::from(found)));
        let scale = pairs().fold(f64::MIN_POSITIVE, |most, (expected, _)| most.max(expected.abs()));
        let largest = pairs().fold(0.0, |most, (expected, found)| greater(most, (expected - found).abs()));
        let squares: f64 = pairs().map(|(expected, found)| (expected - found).powi(2)).sum();
        let noise = (squares / expected.len().max(1) as f64).sqrt();
        self.rows += 1;
        self.relative = greater(self.relative, largest / scale);
        self.divergence = greater(self.divergence, divergence(expected, found));
        let (top, margin) = top(expected);
        if margin > CLEAR * noise {
            self.clear_tops += 1;
            self.same_tops += usize::from(self::top(found).0 == top);
        }
    }

    /// Whether everything is within what is allowed. Nothing compared is nothing shown.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.rows > 0
            && self.relative <= self.allowed.relative
            && self.divergence <= self.allowed.divergence
            && self.same_tops == self.clear_tops
    }
}

/// The greater of two, with NaN above everything.
fn greater(left: f64, right: f64) -> f64 {
    if left.is_nan() || right <= left { left } else { right }
}

/// The likeliest token and its distance to the next.
fn top(logits: &[f32]) -> (usize, f64) {
    let (mut best, mut next) = ((0, f32::NEG_INFINITY), f32::NEG_INFINITY);
    for (token, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            (best, next) = ((token, logit), best.1);
        } else if logit > next {
            next = logit;
        }
    }
    (best.0, f64::from(best.1) - f64::from(next))
}

/// The divergence of the distributions that two rows of logits stand for; never below zero.
fn divergence(expected: &[f32], found: &[f32]) -> f64 {
    if expected == found {
        return 0.0;
    }
    let normalizer = |logits: &[f32]| {
        let greatest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        greatest + logits.iter().map(|logit| (f64::from(*logit) - greatest).exp()).sum::<f64>().ln()
    };
    let (of_expected, of_found) = (normalizer(expected), normalizer(found));
    let term = |(&expected, &found): (&f32, &f32)| {
        let expected = f64::from(expected) - of_expected;
        expected.exp() * (expected - (f64::from(found) - of_found))
    };
    let sum: f64 = expected.iter().zip(found).map(term).sum();
    greater(0.0, sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(expected: &[f32], found: &[f32], allowed: Tolerance) -> Agreement {
        let mut agreement = Agreement::new("case".to_string(), allowed);
        agreement.compare(expected, found);
        agreement
    }

    #[test]
    fn equal_rows_agree_exactly_and_a_single_bit_does_not() {
        let row = [1.0, -2.0, 0.5];
        assert!(compare(&row, &row, Tolerance::EXACT).holds());
        assert!(!compare(&row, &[1.0, -2.0, 0.500_000_06], Tolerance::EXACT).holds());
        assert!(!Agreement::new("none".to_string(), Tolerance::EXACT).holds());
    }

    #[test]
    fn differences_are_relative_to_the_largest_logit_and_divergence_is_in_nats() {
        let found = compare(&[4.0, 0.0], &[4.0, 0.2], Tolerance::ROUNDED);
        assert!((found.relative - 0.05).abs() < 1e-6, "{found:?}");
        // p = 0.982 and 0.018; the second row's normalizer is ln(1 + e^-3.8) higher than e^-4's.
        let [p, q] = [4f64, 3.8].map(|margin| 1.0 / (1.0 + (-margin).exp()));
        let exact = p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln();
        assert!((found.divergence - exact).abs() < 1e-9, "{found:?}, {exact}");
    }

    #[test]
    fn a_clear_top_that_moves_and_a_number_that_is_none_do_not_hold() {
        let mut expected = vec![0.0; 1000];
        expected[7] = 1.0;
        let mut found = expected.clone();
        found.swap(7, 8);
        let moved = compare(&expected, &found, Tolerance { relative: 2.0, divergence: 9.0 });
        assert_eq!((moved.clear_tops, moved.same_tops), (1, 0));
        assert!(!moved.holds());
        found[3] = f32::NAN;
        let broken = compare(&expected, &found, Tolerance { relative: 2.0, divergence: 9.0 });
        assert!(broken.relative.is_nan() && !broken.holds());
    }
}

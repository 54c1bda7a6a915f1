//! What a step costs, learned while serving: `time = a + b · tokens + c · attended`, where `attended` counts the keys that
//! the step's tokens look at. Recursive least squares with forgetting (Haykin, Adaptive Filter Theory, ch. 10).

use std::time::Duration;

/// What a step does, as far as its time depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepWork {
    /// Tokens put through the model.
    pub tokens: usize,
    /// Sum over tokens of the keys they attend to.
    pub attended: usize,
}

impl StepWork {
    /// `count` tokens that follow `first` others.
    pub fn add_run(&mut self, first: usize, count: usize) {
        self.tokens += count;
        self.attended += count * first + count * (count + 1) / 2;
    }
}

/// How fast old steps are forgotten: about the last 200 count.
const FORGETTING: f64 = 0.995;

/// Forgetting stops while the covariance's trace is above this: steps that are all alike teach nothing about the rest.
const MAX_TRACE: f64 = 1e4;

/// Steps observed before predictions bound anything.
const WARM_UP_STEPS: u64 = 3;

/// Tokens of a step that chunks may fill up to before anything is known.
const FIRST_TOKENS: usize = 64;

/// Chunks fill a step up to this many times the tokens of the largest step seen: small ones say little about large ones.
const MAX_GROWTH: usize = 4;

/// A step that takes more than this many times its prediction was disturbed from outside and counts as that many, unless
/// it is the largest so far: then the prediction was a guess.
const MAX_SURPRISE: f64 = 4.0;

/// The learned cost of a step.
#[derive(Debug, Clone)]
pub(crate) struct StepCost {
    /// Seconds per step, per 100 tokens, per 100,000 attended keys.
    weights: [f64; 3],
    covariance: [[f64; 3]; 3],
    observations: u64,
    /// Tokens of the largest step observed.
    largest: usize,
}

impl Default for StepCost {
    fn default() -> Self {
        let mut covariance = [[0.0; 3]; 3];
        for (index, row) in covariance.iter_mut().enumerate() {
            row[index] = 1e3;
        }
        Self { weights: [0.0; 3], covariance, observations: 0, largest: 0 }
    }
}

fn features(work: StepWork) -> [f64; 3] {
    [1.0, work.tokens as f64 / 1e2, work.attended as f64 / 1e5]
}

fn dot(left: [f64; 3], right: [f64; 3]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

impl StepCost {
    /// Learns from a step.
    pub(crate) fn observe(&mut self, work: StepWork, elapsed: Duration) {
        let x = features(work);
        let predicted = dot(self.weights, x);
        let mut seconds = elapsed.as_secs_f64();
        if self.observations > 16 && work.tokens <= self.largest {
            seconds = seconds.min(predicted * MAX_SURPRISE + 1e-3);
        }
        let trace: f64 = (0..3).map(|index| self.covariance[index][index]).sum();
        let forgetting = if trace < MAX_TRACE { FORGETTING } else { 1.0 };
        let px = self.covariance.map(|row| dot(row, x));
        let gain = px.map(|value| value / (forgetting + dot(x, px)));
        let error = seconds - predicted;
        for (weight, gain) in self.weights.iter_mut().zip(gain) {
            // Costs are not negative; clamping keeps a noisy start from predicting that more work takes less time.
            *weight = (*weight + gain * error).max(0.0);
        }
        for (row, gain) in self.covariance.iter_mut().zip(gain) {
            for (value, px) in row.iter_mut().zip(px) {
                *value = (*value - gain * px) / forgetting;
            }
        }
        self.observations += 1;
        self.largest = self.largest.max(work.tokens);
    }

    /// What a step should take; `None` before enough was learned.
    pub(crate) fn predict(&self, work: StepWork) -> Option<Duration> {
        let seconds = dot(self.weights, features(work)).min(1e6);
        (self.observations >= WARM_UP_STEPS).then(|| Duration::from_secs_f64(seconds))
    }

    /// How many tokens after `first` others fit beside `work` within `target`, at most `limit`.
    pub(crate) fn fit(&self, work: StepWork, first: usize, limit: usize, target: Duration) -> usize {
        let fits = |count: usize| {
            let mut with = work;
            with.add_run(first, count);
            self.predict(with).is_none_or(|time| time <= target)
        };
        let seen = if self.observations < WARM_UP_STEPS { 0 } else { self.largest };
        let most = (seen * MAX_GROWTH).max(FIRST_TOKENS);
        let (mut low, mut high) = (0, limit.min(most.saturating_sub(work.tokens)));
        while low < high {
            let middle = (low + high).div_ceil(2);
            if fits(middle) { low = middle } else { high = middle - 1 }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(work: StepWork) -> Duration {
        Duration::from_secs_f64(0.02 + work.tokens as f64 * 0.004 + work.attended as f64 * 2e-6)
    }

    fn run(first: usize, count: usize) -> StepWork {
        let mut work = StepWork::default();
        work.add_run(first, count);
        work
    }

    #[test]
    fn a_run_attends_to_every_key_before_each_of_its_tokens() {
        assert_eq!(run(0, 3), StepWork { tokens: 3, attended: 1 + 2 + 3 });
        assert_eq!(run(10, 2), StepWork { tokens: 2, attended: 11 + 12 });
    }

    #[test]
    fn the_cost_of_mixed_steps_is_learned_and_survives_a_thousand_equal_ones() {
        let mut cost = StepCost::default();
        for step in 0..100usize {
            let work = run(step * 37 % 900, 1 + step * 13 % 64);
            cost.observe(work, truth(work));
        }
        let decode = run(500, 1);
        for _ in 0..1000 {
            cost.observe(decode, truth(decode));
        }
        for work in [run(0, 64), run(900, 32), decode] {
            let predicted = cost.predict(work).unwrap().as_secs_f64();
            let actual = truth(work).as_secs_f64();
            assert!((predicted / actual - 1.0).abs() < 0.1, "{work:?}: {predicted} for {actual}");
        }
    }

    #[test]
    fn a_chunk_fits_its_target_and_one_more_token_does_not() {
        let mut cost = StepCost::default();
        for step in 0..200usize {
            let work = run(step * 53 % 700, 1 + step * 7 % 50);
            cost.observe(work, truth(work));
        }
        let target = Duration::from_millis(250);
        let count = cost.fit(run(100, 1), 300, 512, target);
        let with = |count: usize| {
            let mut work = run(100, 1);
            work.add_run(300, count);
            cost.predict(work).unwrap()
        };
        assert!((1..512).contains(&count) && with(count) <= target && with(count + 1) > target, "{count}");
    }

    #[test]
    fn nothing_learned_allows_a_small_step_only() {
        let cost = StepCost::default();
        let target = Duration::from_millis(1);
        assert_eq!(cost.fit(StepWork::default(), 0, 512, target), FIRST_TOKENS);
        assert_eq!(cost.fit(StepWork::default(), 0, 10, target), 10);
        assert_eq!(cost.fit(run(0, 50), 0, 512, target), FIRST_TOKENS - 50, "the step is bounded, not each chunk");
    }

    #[test]
    fn single_tokens_say_little_about_large_steps_and_the_first_large_one_is_believed() {
        let mut cost = StepCost::default();
        let slow = |work: StepWork| Duration::from_millis(3 + 17 * work.tokens as u64);
        for step in 0..500 {
            let work = run(step % 300, 1);
            cost.observe(work, slow(work));
        }
        let target = Duration::from_millis(250);
        let first = cost.fit(StepWork::default(), 0, 4000, Duration::from_secs(3600));
        assert_eq!(first, FIRST_TOKENS, "a bounded guess");
        cost.observe(run(0, first), slow(run(0, first)));
        let second = cost.fit(StepWork::default(), first, 4000, target);
        assert!((10..=20).contains(&second), "250 ms hold 14 tokens of 17 ms: {second}");
    }
}

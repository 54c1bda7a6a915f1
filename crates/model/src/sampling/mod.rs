//! One token from one row of logits: logits processors, sampler, log-probabilities.
//! What comes out depends on the logits, the parameters, the history, the seed and the position; never on the batch, on
//! the clock or on the machine's library of mathematics. Knows no sequence and no tensor.

mod check;
mod device;
mod params;
mod penalties;
pub(crate) mod random;
mod select;
mod weights;

use std::cell::RefCell;

pub use check::{DrawOn, DrawReport, check_device, check_draws};
pub use device::{SamplingBatch, sampled};
pub use params::{SamplingError, SamplingParams};

use penalties::History;
use random::philox;
use select::{Cutoff, Scored};
use weights::Weighing;

/// What was drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// The token.
    pub token: u32,
    /// Its log-probability (natural) in the model's own distribution, before any processor; if asked for.
    pub logprob: Option<f32>,
    /// The most likely tokens of that distribution with their log-probabilities, best first; as many as asked for.
    pub top: Vec<(u32, f32)>,
}

impl Sampled {
    /// With log-probabilities from logits as the model gave them.
    fn with_logprobs(token: u32, logit: f32, top: impl Iterator<Item = (u32, f32)>, normalizer: f64) -> Self {
        let logprob = |logit: f32| (f64::from(logit) - normalizer) as f32;
        Self { token, logprob: Some(logprob(logit)), top: top.map(|(id, logit)| (id, logprob(logit))).collect() }
    }
}

/// Draws the tokens of one answer, and remembers them for the penalties.
///
/// The order is vLLM's: bias and bans, penalties, temperature, min-p, top-k, top-p.
#[derive(Debug, Clone)]
pub struct Sampler {
    params: SamplingParams,
    seed: u64,
    choice: u32,
    history: History,
}

/// Working memory: one per thread, since a row of a large vocabulary is half a megabyte.
#[derive(Default)]
struct Scratch {
    /// Logits with bias, bans and penalties.
    adjusted: Vec<f32>,
    /// Weights of the row's blocks.
    sums: Vec<u64>,
    best: Vec<Scored>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Sampler {
    /// A sampler for validated parameters. `fallback_seed` counts when the parameters have no seed.
    pub fn new(mut params: SamplingParams, prompt: &[u32], fallback_seed: u64) -> Self {
        // Entries for one token are added in their order; side by side, so that a device gives them to one thread.
        params.logit_bias.sort_by_key(|&(token, _)| token);
        let history = History::new(&params, prompt);
        Self { seed: params.seed.unwrap_or(fallback_seed), choice: 0, history, params }
    }

    /// The same for one of several answers to a prompt: equal seeds draw differently for different choices.
    #[must_use]
    pub fn with_choice(mut self, choice: u32) -> Self {
        self.choice = choice;
        self
    }

    /// The parameters.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// Draws the token that follows position `position`, never one of `banned` (the ends of an answer that must still go on).
    /// `pending` is a token of this answer that the history does not hold yet.
    ///
    /// # Errors
    /// [`SamplingError::NotFinite`] when a logit is NaN or infinite, [`SamplingError::NothingAllowed`] for an empty row, or
    /// when every token is banned.
    pub fn draw(
        &self,
        logits: &[f32],
        position: u64,
        banned: &[u32],
        pending: Option<u32>,
    ) -> Result<Sampled, SamplingError> {
        if let Some(index) = logits.iter().position(|logit| !logit.is_finite()) {
            return Err(SamplingError::NotFinite { index, value: logits[index] });
        }
        SCRATCH.with_borrow_mut(|scratch| self.draw_finite(logits, position, banned, pending, scratch))
    }

    /// Takes a token that was drawn into the history.
    pub fn record(&mut self, token: u32) {
        self.history.record(token);
    }

    fn draw_finite(
        &self,
        raw: &[f32],
        position: u64,
        banned: &[u32],
        pending: Option<u32>,
        scratch: &mut Scratch,
    ) -> Result<Sampled, SamplingError> {
        let Scratch { adjusted, sums, best } = scratch;
        let pending = pending.filter(|_| self.history.is_wanted());
        let plain = banned.is_empty() && self.params.logit_bias.is_empty() && self.history.entries().is_empty();
        let logits = if plain && pending.is_none() {
            raw
        } else {
            self.adjust(raw, banned, pending, adjusted);
            adjusted.as_slice()
        };
        let greatest = select::argmax(logits).filter(|greatest| greatest.logit.is_finite());
        let Some(greatest) = greatest else { return Err(SamplingError::NothingAllowed) };
        let token = if self.params.is_greedy() {
            greatest.id
        } else {
            let weighing = Weighing { greatest: greatest.logit, temperature: self.params.temperature };
            let cutoff = self.cutoff(logits, weighing, best);
            let [word, _] = philox(self.seed, [position, u64::from(self.choice)]);
            weighing.draw(logits, cutoff, word, sums).unwrap_or(greatest.id)
        };
        Ok(self.report(raw, token, best))
    }

    fn adjust(&self, raw: &[f32], banned: &[u32], pending: Option<u32>, adjusted: &mut Vec<f32>) {
        adjusted.clear();
        adjusted.extend_from_slice(raw);
        for &(id, bias) in &self.params.logit_bias {
            if let Some(logit) = adjusted.get_mut(id as usize) {
                *logit = (*logit + bias).clamp(f32::MIN, f32::MAX);
            }
        }
        self.history.apply(&self.params, pending, adjusted);
        for &id in banned {
            if let Some(logit) = adjusted.get_mut(id as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    /// The least likely token that may still be drawn.
    fn cutoff(&self, logits: &[f32], weighing: Weighing, best: &mut Vec<Scored>) -> Cutoff {
        let greatest = weighing.greatest;
        let mut cutoff = Cutoff::at_least((greatest + self.params.min_p_offset()).min(greatest));
        if let Some(count) = self.params.top_k.map(|count| count as usize).filter(|&count| count < logits.len()) {
            select::best(logits, cutoff, count, best);
            cutoff = best.last().map_or(cutoff, |last| Cutoff::through(*last));
        }
        match self.params.top_p_fraction() {
            SamplingParams::WHOLE => cutoff,
            fraction => weighing.nucleus(logits, fraction, cutoff, best),
        }
    }

    fn report(&self, raw: &[f32], token: u32, best: &mut Vec<Scored>) -> Sampled {
        let Some(count) = self.params.logprobs else { return Sampled { token, logprob: None, top: Vec::new() } };
        let greatest = raw.iter().copied().fold(f32::MIN, f32::max);
        let total = Weighing { greatest, temperature: 1.0 }.total(raw, Cutoff::NONE);
        select::best(raw, Cutoff::NONE, usize::from(count), best);
        let top = best.iter().map(|scored| (scored.id, scored.logit));
        Sampled::with_logprobs(token, raw[token as usize], top, weights::log_sum_exp(greatest, total))
    }
}

//! Repetition, presence and frequency penalties over the tokens seen so far. Nothing random here.

use std::collections::HashMap;

use super::SamplingParams;

/// The distinct tokens of prompt and output, kept only when a penalty asks for them.
#[derive(Debug, Clone)]
pub(super) struct History {
    wanted: bool,
    /// Each token with how often it is in the output; 0 for one that is in the prompt only. Flat, as a device takes it.
    entries: Vec<[u32; 2]>,
    /// Where a token is in the entries.
    places: HashMap<u32, usize>,
}

impl History {
    /// As vLLM: the repetition penalty looks at prompt and output, the two others (OpenAI's) at the output.
    pub(super) fn new(params: &SamplingParams, prompt: &[u32]) -> Self {
        let repetition = params.repetition_penalty != 1.0;
        let wanted = repetition || params.presence_penalty != 0.0 || params.frequency_penalty != 0.0;
        let mut history = Self { wanted, entries: Vec::new(), places: HashMap::new() };
        if repetition {
            for &token in prompt {
                history.count(token, 0);
            }
        }
        history
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Each token with its count, in no particular order.
    pub(super) fn entries(&self) -> &[[u32; 2]] {
        &self.entries
    }

    pub(super) fn record(&mut self, token: u32) {
        if self.wanted {
            self.count(token, 1);
        }
    }

    fn count(&mut self, token: u32, times: u32) {
        let place = *self.places.entry(token).or_insert(self.entries.len());
        match self.entries.get_mut(place) {
            Some([_, count]) => *count += times,
            None => self.entries.push([token, times]),
        }
    }

    /// Changes the logits in place, as if `pending` had been recorded. A token outside of the row is passed over.
    pub(super) fn apply(&self, params: &SamplingParams, pending: Option<u32>, logits: &mut [f32]) {
        for &[token, count] in &self.entries {
            penalize(params, count + u32::from(pending == Some(token)), token, logits);
        }
        if let Some(token) = pending.filter(|token| !self.places.contains_key(token)) {
            penalize(params, 1, token, logits);
        }
    }
}

/// Changes the logit of a token that is `count` times in the output, or in the prompt.
fn penalize(params: &SamplingParams, count: u32, token: u32, logits: &mut [f32]) {
    let Some(logit) = logits.get_mut(token as usize) else { return };
    let penalty = params.repetition_penalty;
    let mut value = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
    if count > 0 {
        value -= params.presence_penalty + params.frequency_penalty * count as f32;
    }
    *logit = value.clamp(f32::MIN, f32::MAX);
}

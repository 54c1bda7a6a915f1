//! Repetition, presence and frequency penalties over the tokens seen so far. Nothing random here.

use std::collections::HashMap;

use super::SamplingParams;

/// The distinct tokens of prompt and output, kept only when a penalty asks for them.
#[derive(Debug, Clone)]
pub(super) struct History {
    wanted: bool,
    /// How often each token is in the output; 0 for one that is in the prompt only.
    in_output: HashMap<u32, u32>,
}

impl History {
    /// As vLLM: the repetition penalty looks at prompt and output, the two others (OpenAI's) at the output.
    pub(super) fn new(params: &SamplingParams, prompt: &[u32]) -> Self {
        let repetition = params.repetition_penalty != 1.0;
        let wanted = repetition || params.presence_penalty != 0.0 || params.frequency_penalty != 0.0;
        let in_output = if repetition { prompt.iter().map(|&token| (token, 0)).collect() } else { HashMap::new() };
        Self { wanted, in_output }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_output.is_empty()
    }

    pub(super) fn record(&mut self, token: u32) {
        if self.wanted {
            *self.in_output.entry(token).or_insert(0) += 1;
        }
    }

    /// Changes the logits in place, as if `pending` had been recorded. A token outside of the row is passed over.
    pub(super) fn apply(&self, params: &SamplingParams, pending: Option<u32>, logits: &mut [f32]) {
        for (&token, &count) in &self.in_output {
            penalize(params, count + u32::from(pending == Some(token)), token, logits);
        }
        if let Some(token) = pending.filter(|token| !self.in_output.contains_key(token)) {
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

//! The check's way to tokens that the step before has drawn: draws whose outcome is known are made, and the ids that wait for
//! them are resolved and fetched.

use candle_core::{Device, Tensor};

use super::fault::driver_error;
use super::sampler::CardSampler;
use super::synchronize;
use super::tensor::card;
use crate::checks::TokenCase;
use crate::error::KernelError;
use crate::indices::Indices;
use crate::launch::{SAMPLING_NONE, SamplingCounts, SamplingRow};

const OPERATION: &str = "resolve_tokens";

/// The input ids of a case after those that wait were set.
///
/// # Errors
/// What the driver reported.
pub(crate) fn resolve_tokens(device: &Device, case: &TokenCase) -> Result<Vec<u32>, KernelError> {
    let (rows, vocabulary) = (case.drawn.len(), case.vocabulary);
    let mut logits = vec![0f32; rows * vocabulary];
    let mut words = Vec::with_capacity(rows * SamplingRow::WORDS);
    for (row, &token) in case.drawn.iter().enumerate() {
        let logits = &mut logits[row * vocabulary..][..vocabulary];
        match logits.get_mut(token as usize) {
            Some(logit) => *logit = 1.0,
            // A draw that fails leaves no token.
            None => logits[0] = f32::NAN,
        }
        words.extend(greedy(row as u32).to_words());
    }
    let logits = Tensor::from_vec(logits, (rows, vocabulary), device)?;
    let counts = SamplingCounts { rows: rows as u32, ..SamplingCounts::default() };
    let mut sampler = CardSampler::new(device, rows)?;
    let draws = sampler.draw(Some(&logits), &words, counts)?;
    let ids = Indices::from(case.input_ids.as_slice()).on(device)?;
    let pending: Vec<[u32; 2]> = case.rows.iter().zip(&case.draws).map(|(&row, &draw)| [row, draw]).collect();
    sampler.resolve(&ids, &pending, vocabulary)?;
    let _ = sampler.wait(draws)?;
    fetch(device, &ids)
}

/// A row whose greatest logit is drawn.
fn greedy(row: u32) -> SamplingRow {
    SamplingRow {
        seed: 0,
        position: 0,
        choice: 0,
        top_p: u64::MAX,
        temperature: 0.0,
        min_p_offset: f32::NEG_INFINITY,
        repetition_penalty: 1.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        logits_row: row,
        adjusted_row: SAMPLING_NONE,
        top_k: u32::MAX,
        pending: SAMPLING_NONE,
        biases: [0, 0],
        history: [0, 0],
        bans: [0, 0],
        logprobs: SAMPLING_NONE,
    }
}

/// The ids as they stand on the card.
fn fetch(device: &Device, ids: &Indices<'_>) -> Result<Vec<u32>, KernelError> {
    let Some(on_card) = &ids.on_card else {
        return Err(KernelError::Device { operation: OPERATION, argument: "ids" });
    };
    let stream = card(device, OPERATION, "device")?.cuda_stream();
    let mut fetched = stream.clone_dtoh(&*on_card.memory).map_err(|error| driver_error(error, OPERATION))?;
    synchronize(device)?;
    fetched.truncate(ids.len());
    Ok(fetched)
}

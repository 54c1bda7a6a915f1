//! How well a model expects a text, and whether its logits are numbers.

use crate::batch::ForwardBatch;
use crate::error::ModelError;
use crate::kv_cache::{KvCache, KvCacheDtype};
use crate::llama::Llama;

/// Slots of a block here.
const BLOCK_SIZE: usize = 32;
/// Rows whose logits are held at once.
const STEP_ROWS: usize = 32;

/// What reading a text gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextReading {
    /// Logits that were looked at.
    pub logits: usize,
    /// Those of them that are not finite.
    pub non_finite: usize,
    /// e to the mean of the negative log-probabilities of each token but the first; NaN for less than two tokens.
    pub perplexity: f64,
}

/// Reads a text of tokens in chunks, with a cache of its own in F32, or on a card in bf16: both have the range of a single, so
/// that what only a shorter type cannot hold is no fault of the model.
///
/// # Errors
/// What the device reports, or a token that the vocabulary does not have.
pub fn read_text(model: &Llama, tokens: &[u32]) -> Result<TextReading, ModelError> {
    let dtype = if model.devices().are_cuda() { KvCacheDtype::Bf16 } else { KvCacheDtype::F32 };
    let mut cache = KvCache::allocate(model, tokens.len().div_ceil(BLOCK_SIZE).max(1), BLOCK_SIZE, dtype)?;
    let mut reading = TextReading { logits: 0, non_finite: 0, perplexity: f64::NAN };
    let mut surprise = 0.0;
    for (chunk, ids) in tokens.chunks(STEP_ROWS).enumerate() {
        let (begin, end) = (chunk * STEP_ROWS, chunk * STEP_ROWS + ids.len());
        let blocks: Vec<u32> = (0..end.div_ceil(BLOCK_SIZE) as u32).collect();
        let batch = ForwardBatch {
            input_ids: ids.to_vec(),
            positions: (begin as u32..end as u32).collect(),
            slot_mapping: (begin as u32..end as u32).collect(),
            cu_seqlens_q: vec![0, ids.len() as u32],
            seq_lens_k: vec![end as u32],
            cu_blocks: vec![0, blocks.len() as u32],
            block_tables: blocks,
            logits_rows: (0..ids.len() as u32).collect(),
        };
        let logits = model.forward(&batch, &mut cache)?;
        for row in 0..ids.len() {
            let row_logits = logits.row(row);
            reading.logits += row_logits.len();
            reading.non_finite += row_logits.iter().filter(|logit| !logit.is_finite()).count();
            if let Some(next) = tokens.get(begin + row + 1) {
                surprise += surprise_of(row_logits, *next as usize);
            }
        }
    }
    if tokens.len() > 1 {
        reading.perplexity = (surprise / (tokens.len() - 1) as f64).exp();
    }
    Ok(reading)
}

/// The negative logarithm of a token's probability.
fn surprise_of(logits: &[f32], token: usize) -> f64 {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - top).exp()).sum();
    sum.ln() + top - logits.get(token).map_or(f64::NAN, |logit| f64::from(*logit))
}

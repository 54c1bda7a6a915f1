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
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TextReading {
    /// Logits that were looked at.
    pub logits: usize,
    /// Those of them that are not finite.
    pub non_finite: usize,
    /// Tokens that were expected or not: all but the first.
    pub predicted: usize,
    /// The sum of their negative log-probabilities, in nats.
    pub surprise: f64,
}

impl TextReading {
    /// e to the mean of the negative log-probabilities; NaN where no token was predicted.
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        (self.surprise / self.predicted as f64).exp()
    }

    /// This text and another one, read by themselves.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            logits: self.logits + other.logits,
            non_finite: self.non_finite + other.non_finite,
            predicted: self.predicted + other.predicted,
            surprise: self.surprise + other.surprise,
        }
    }
}

/// Reads a text of tokens in chunks, with a cache of its own of this type.
///
/// # Errors
/// What the device reports, or a token that the vocabulary does not have.
pub fn read_text(model: &Llama, tokens: &[u32], dtype: KvCacheDtype) -> Result<TextReading, ModelError> {
    let mut cache = KvCache::allocate(model, tokens.len().div_ceil(BLOCK_SIZE).max(1), BLOCK_SIZE, dtype)?;
    let mut reading = TextReading::default();
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
                reading.predicted += 1;
                reading.surprise += surprise_of(row_logits, *next as usize);
            }
        }
    }
    Ok(reading)
}

/// The negative logarithm of a token's probability.
fn surprise_of(logits: &[f32], token: usize) -> f64 {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - top).exp()).sum();
    sum.ln() + top - logits.get(token).map_or(f64::NAN, |logit| f64::from(*logit))
}

//! Sequences driven through a model by hand: blocks in random order, chunks as asked for, logits of chosen positions.

use sconce_kernels::BlockCopy;
use sconce_kernels::checks::Random;

use crate::batch::ForwardBatch;
use crate::error::ModelError;
use crate::kv_cache::{KvCache, KvCacheDtype};
use crate::llama::Llama;

/// Slots of a block here: prompts of odd lengths end within one.
const BLOCK_SIZE: usize = 16;

/// Most positions of a prompt whose logits are compared.
const MOST_POSITIONS: usize = 32;

/// A prompt with the positions whose logits are compared: evenly spread, the first and the last among them.
#[derive(Debug, Clone)]
pub struct Prompt {
    pub(super) tokens: Vec<u32>,
    pub(super) positions: Vec<usize>,
}

impl Prompt {
    /// Random tokens.
    #[must_use]
    pub fn random(length: usize, vocabulary: usize, random: &mut Random) -> Self {
        let tokens = (0..length).map(|_| random.below(vocabulary) as u32).collect();
        let count = length.min(MOST_POSITIONS);
        let place = |index: usize| if count < 2 { length - 1 } else { index * (length - 1) / (count - 1) };
        Self { tokens, positions: (0..count).map(place).collect() }
    }
}

/// A prompt on its way through a model.
#[derive(Debug)]
pub(super) struct Sequence<'p> {
    pub(super) prompt: &'p Prompt,
    pub(super) computed: usize,
    blocks: Vec<u32>,
    /// How many of the first blocks belong to another sequence.
    borrowed: usize,
}

/// Logits with the sequence (by its place in the step) and the position that they belong to.
pub(super) type Found = Vec<(usize, usize, Vec<f32>)>;

/// A model with a cache of its own.
#[derive(Debug)]
pub(super) struct Bench<'m> {
    model: &'m Llama,
    cache: KvCache,
    free: Vec<u32>,
}

impl<'m> Bench<'m> {
    /// With room for so many sequences of each prompt.
    pub(super) fn new(
        model: &'m Llama,
        prompts: &[Prompt],
        times: usize,
        dtype: KvCacheDtype,
        random: &mut Random,
    ) -> Result<Self, ModelError> {
        let blocks = times * prompts.iter().map(|prompt| prompt.tokens.len().div_ceil(BLOCK_SIZE)).sum::<usize>() + 2;
        let cache = KvCache::allocate(model, blocks, BLOCK_SIZE, dtype)?;
        let mut free: Vec<u32> = (0..blocks as u32).collect();
        for index in (1..free.len()).rev() {
            free.swap(index, random.below(index + 1));
        }
        Ok(Self { model, cache, free })
    }

    /// A sequence with blocks of its own.
    pub(super) fn begin<'p>(&mut self, prompt: &'p Prompt) -> Sequence<'p> {
        let blocks = self.free.split_off(self.free.len() - prompt.tokens.len().div_ceil(BLOCK_SIZE));
        Sequence { prompt, computed: 0, blocks, borrowed: 0 }
    }

    /// A sequence that has the first `shared` tokens of another of the same prompt: whole blocks are shared, the rest of the
    /// prefix is copied.
    pub(super) fn fork<'p>(&mut self, parent: &Sequence<'p>, shared: usize) -> Result<Sequence<'p>, ModelError> {
        let mut fork = self.begin(parent.prompt);
        let whole = shared / BLOCK_SIZE;
        self.free.extend(fork.blocks.splice(..whole, parent.blocks[..whole].iter().copied()));
        if !shared.is_multiple_of(BLOCK_SIZE) {
            let (src, dst) = (parent.blocks[whole], fork.blocks[whole]);
            self.cache.copy_blocks(&[BlockCopy { src, dst, slots: (shared % BLOCK_SIZE) as u32 }])?;
        }
        (fork.computed, fork.borrowed) = (shared, whole);
        Ok(fork)
    }

    /// Gives a sequence's own blocks back.
    pub(super) fn end(&mut self, mut sequence: Sequence<'_>) {
        self.free.extend(sequence.blocks.drain(sequence.borrowed..));
    }

    /// Computes the next tokens of several sequences in one batch; gives the logits of those positions that are compared.
    pub(super) fn step(&mut self, parts: &mut [(&mut Sequence<'_>, usize)]) -> Result<Found, ModelError> {
        let mut batch = ForwardBatch { cu_seqlens_q: vec![0], cu_blocks: vec![0], ..ForwardBatch::default() };
        let mut wanted = Vec::new();
        for (place, (sequence, count)) in parts.iter_mut().enumerate() {
            for position in sequence.computed..sequence.computed + *count {
                if sequence.prompt.positions.contains(&position) {
                    wanted.push((place, position));
                    batch.logits_rows.push(batch.input_ids.len() as u32);
                }
                batch.input_ids.push(sequence.prompt.tokens[position]);
                batch.positions.push(position as u32);
                let block = sequence.blocks[position / BLOCK_SIZE];
                batch.slot_mapping.push(block * BLOCK_SIZE as u32 + (position % BLOCK_SIZE) as u32);
            }
            sequence.computed += *count;
            batch.cu_seqlens_q.push(batch.input_ids.len() as u32);
            batch.seq_lens_k.push(sequence.computed as u32);
            batch.block_tables.extend_from_slice(&sequence.blocks[..sequence.computed.div_ceil(BLOCK_SIZE)]);
            batch.cu_blocks.push(batch.block_tables.len() as u32);
        }
        let logits = self.model.forward(&batch, &mut self.cache)?;
        let with_logits = |(index, (place, position))| (place, position, logits.row(index).to_vec());
        Ok(wanted.into_iter().enumerate().map(with_logits).collect())
    }

    /// Computes the rest of a sequence in chunks whose lengths are asked for one by one.
    pub(super) fn finish(
        &mut self,
        sequence: &mut Sequence<'_>,
        mut chunk: impl FnMut(usize) -> usize,
    ) -> Result<Found, ModelError> {
        let mut found = Vec::new();
        while sequence.computed < sequence.prompt.tokens.len() {
            let left = sequence.prompt.tokens.len() - sequence.computed;
            let count = chunk(left).clamp(1, left);
            found.extend(self.step(&mut [(sequence, count)])?);
        }
        Ok(found)
    }
}

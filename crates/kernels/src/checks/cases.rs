//! Inputs of the checks that take more than a matrix or two.

use super::Random;
use crate::batch::{PagedBatch, PagedBatchParts};
use crate::block_copy::BlockCopy;
use crate::launch::ElementType;
use crate::rope::RopeFrequencies;
use crate::weight::WeightType;

/// The shape of a cache tensor: `[num_blocks, block_size, kv_heads, head_dim]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names are those of the shape.
pub struct CacheShape {
    pub num_blocks: usize,
    pub block_size: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

impl CacheShape {
    /// Numbers of one slot.
    #[must_use]
    pub fn slot(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Numbers of one block.
    #[must_use]
    pub fn block(&self) -> usize {
        self.block_size * self.slot()
    }

    /// Numbers of the whole cache.
    #[must_use]
    pub fn numbers(&self) -> usize {
        self.num_blocks * self.block()
    }
}

/// One sequence of a case: how many rows it brings, how many keys its last row sees, and its blocks.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // Said above.
pub struct Member {
    pub rows: usize,
    pub keys: usize,
    pub blocks: Vec<u32>,
}

/// The index arrays of a batch, as they go to a device.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // Said at `PagedBatchParts`.
pub struct BatchArrays {
    pub positions: Vec<u32>,
    pub slot_mapping: Vec<u32>,
    pub cu_seqlens_q: Vec<u32>,
    pub seq_lens_k: Vec<u32>,
    pub block_tables: Vec<u32>,
    pub cu_blocks: Vec<u32>,
}

impl BatchArrays {
    /// Those of sequences whose rows stand one behind the other.
    #[must_use]
    pub fn new(members: &[Member], block_size: usize) -> Self {
        let mut arrays = Self { cu_seqlens_q: vec![0], cu_blocks: vec![0], ..Self::default() };
        for member in members {
            for position in member.keys - member.rows..member.keys {
                arrays.positions.push(position as u32);
                arrays.slot_mapping.push(slot_of(member, position, block_size) as u32);
            }
            arrays.seq_lens_k.push(member.keys as u32);
            arrays.block_tables.extend_from_slice(&member.blocks);
            arrays.cu_seqlens_q.push(arrays.positions.len() as u32);
            arrays.cu_blocks.push(arrays.block_tables.len() as u32);
        }
        arrays
    }

    /// The arrays as a checked batch.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn batch(&self, shape: CacheShape) -> Result<PagedBatch, String> {
        let parts = PagedBatchParts {
            positions: &self.positions,
            slot_mapping: &self.slot_mapping,
            cu_seqlens_q: &self.cu_seqlens_q,
            seq_lens_k: &self.seq_lens_k,
            block_tables: &self.block_tables,
            cu_blocks: &self.cu_blocks,
        };
        PagedBatch::new(parts, shape.num_blocks, shape.block_size).map_err(|error| error.to_string())
    }
}

/// Where a position of a sequence lies.
pub(super) fn slot_of(member: &Member, position: usize, block_size: usize) -> usize {
    member.blocks[position / block_size] as usize * block_size + position % block_size
}

/// Different blocks in no order.
pub(super) fn shuffled_blocks(random: &mut Random, num_blocks: usize) -> Vec<u32> {
    let mut blocks: Vec<u32> = (0..num_blocks as u32).collect();
    for index in (1..num_blocks).rev() {
        blocks.swap(index, random.below(index + 1));
    }
    blocks
}

/// How heads of query and key are normalized.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // Said at `HeadNorms`.
pub struct NormCase<'a> {
    pub query: &'a [f32],
    pub key: &'a [f32],
    pub epsilon: f32,
}

/// A rotation with its write. Caches hold numbers that must stay where nothing is written.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // Said at `rope_kv_write`.
pub struct RopeCase<'a> {
    pub query: &'a [f32],
    pub key: &'a [f32],
    pub value: &'a [f32],
    /// What is added to rows of query, key and value.
    pub biases: Option<[&'a [f32]; 3]>,
    pub norms: Option<NormCase<'a>>,
    pub heads: usize,
    pub frequencies: &'a RopeFrequencies,
    pub batch: &'a BatchArrays,
    pub shape: CacheShape,
    pub cache_type: ElementType,
    pub key_cache: &'a [f32],
    pub value_cache: &'a [f32],
}

/// An attention. Slots of the caches that no row sees hold NaN.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // Said at `paged_attention`.
pub struct AttentionCase<'a> {
    pub query: &'a [f32],
    pub heads: usize,
    pub window: Option<usize>,
    pub batch: &'a BatchArrays,
    pub shape: CacheShape,
    pub cache_type: ElementType,
    pub key_cache: &'a [f32],
    pub value_cache: &'a [f32],
}

/// A look-up of rows of `table [vocabulary, width]`.
#[derive(Debug, Clone)]
pub struct EmbeddingCase<'a> {
    /// The table's blocks as in a file.
    pub table: &'a [u8],
    /// Their type.
    pub weight_type: WeightType,
    /// Rows of the table.
    pub vocabulary: usize,
    /// Columns of the table.
    pub width: usize,
    /// The rows that are asked for.
    pub ids: &'a [u32],
}

/// Input ids of which some wait for what is being drawn.
#[derive(Debug, Clone)]
pub struct TokenCase {
    /// What is known.
    pub input_ids: Vec<u32>,
    /// What was drawn; a number from `vocabulary` on is no token and becomes token 0.
    pub drawn: Vec<u32>,
    /// Which input ids wait; none twice.
    pub rows: Vec<u32>,
    /// For which draw each of them waits.
    pub draws: Vec<u32>,
    /// Number of tokens.
    pub vocabulary: usize,
}

/// Copies between blocks.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // Said at `block_copy`.
pub struct BlockCopyCase<'a> {
    pub cache: &'a [f32],
    pub cache_type: ElementType,
    pub shape: CacheShape,
    pub copies: &'a [BlockCopy],
}

/// Blocks that leave one cache for a buffer, and come to other places of another cache of the same shape.
#[derive(Debug, Clone)]
pub struct SwapCase<'a> {
    /// The cache that is read.
    pub from: &'a [f32],
    /// The cache that is written.
    pub to: &'a [f32],
    /// Element type of both.
    pub cache_type: ElementType,
    /// Shape of both.
    pub shape: CacheShape,
    /// The blocks that are read.
    pub gathered: &'a [u32],
    /// Where each of them goes.
    pub scattered: &'a [u32],
}

/// A matrix product.
#[derive(Debug, Clone)]
pub struct MatmulCase<'a> {
    /// `[rows, inputs]`.
    pub activations: &'a [f32],
    /// `[outputs, inputs]` in blocks as in a file.
    pub weight: &'a [u8],
    /// Their type.
    pub weight_type: WeightType,
    /// Rows of the weight.
    pub outputs: usize,
    /// Columns of the weight.
    pub inputs: usize,
}

//! How a card's memory is shared out: weights are there already, a step's activations are set apart, the KV cache gets the
//! rest. Pure: what the driver says comes in as numbers.

use sconce_model::{Activation, DeviceMemory, KvCache, LlamaConfig, StageSize, largest_graph};

use crate::config::{EngineConfig, EngineError};

/// The least and the most that may be taken of a device's memory.
pub const UTILIZATION_RANGE: std::ops::RangeInclusive<f64> = 0.05..=0.98;

/// What cuBLAS asks for on Hopper, less elsewhere; once for its handle and once in graphs.
const CUBLAS_WORKSPACE_BYTES: usize = 32 << 20;

/// What a float weight that is shorter than its activations is widened in.
const WIDENED_BYTES: usize = 16 << 20;

/// What candle's products of many rows keep to mend their splits with: 256 tiles of 128 × 128 floats.
const MENDED_SPLITS_BYTES: usize = 256 * 128 * 128 * 4;

/// What the driver's pool rounds an allocation up to; keys and values of each layer are one each.
const POOL_GRANULARITY: usize = 2 << 20;

/// An allowance for the graphs of decoding steps, whose kernels' parameters the driver keeps. Not measured yet.
const GRAPHS_BYTES: usize = 64 << 20;

/// Blocks of split attention at most: four for each of the multiprocessors of a large card.
const SPLIT_BLOCKS: usize = 4 * 160;
/// Splits of one sequence's keys at most.
const MOST_SPLITS: usize = 32;
/// Query heads of a block at most.
const SPLIT_HEADS: usize = 8;

/// Columns that candle pads a product's input to.
const PADDED_COLUMNS: usize = 512;

/// Blocks that the cache has on a card beside those that sequences own: one for the rows that fill up a recorded step.
const SCRATCH_BLOCKS: usize = 1;

/// The largest number of slots that 32-bit indices name.
const MAX_SLOTS: usize = u32::MAX as usize;

/// A device with a stage of the model on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StageMemory {
    /// Bytes of the device.
    pub(crate) total_bytes: usize,
    /// Bytes that nobody has taken, after the weights were loaded.
    pub(crate) free_bytes: usize,
    /// Layers of the model on it.
    pub(crate) layers: usize,
}

/// Cards as they will be once each has its stage of the model; with `memory`, empty cards of that size.
pub(crate) fn before_loading(cards: &[DeviceMemory], sizes: &[StageSize], memory: Option<usize>) -> Vec<StageMemory> {
    let stage = |(card, size): (&DeviceMemory, &StageSize)| {
        let (total_bytes, free) = memory.map_or((card.total_bytes, card.free_bytes), |memory| (memory, memory));
        StageMemory { total_bytes, free_bytes: free.saturating_sub(size.bytes as usize), layers: size.layers }
    };
    cards.iter().zip(sizes).map(stage).collect()
}

/// Bytes that a step takes beside weights and cache. The pool keeps what was freed for the next one who wants as much, so
/// everything that lives at any time is counted as if it lived at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reserve {
    /// Residuals in F32 (before and after a norm, and the update), and the normed rows.
    pub(crate) stream: usize,
    /// Queries before and after their rotation, keys, values, attention's output, rotation angles, the workspace of split
    /// attention.
    pub(crate) attention: usize,
    /// Gate, up and their product.
    pub(crate) feed_forward: usize,
    /// What products of quantized weights need: their input in blocks of eight bits, and input and output in F32 when
    /// activations are shorter.
    pub(crate) products: usize,
    /// Logits, the sampler's copy of them, those of recorded steps, and the normed rows in F32; on the last device only.
    pub(crate) logits: usize,
    /// Index arrays, cuBLAS, widened weights, graphs.
    pub(crate) fixed: usize,
}

impl Reserve {
    /// What the largest step takes on one device.
    pub(crate) fn of(model: &LlamaConfig, config: &EngineConfig, has_output: bool) -> Self {
        let sequences = config.max_num_seqs;
        // Recorded steps, of as many rows as sequences or a few more, have memory of their own.
        let recorded = if config.enforce_eager { 0 } else { largest_graph(sequences) };
        let rows = config.max_num_batched_tokens.max(sequences) + recorded;
        let activation = match config.activation {
            Activation::F32 => 4,
            Activation::Bf16 => 2,
        };
        let (width, inner) = (model.embedding_length, model.feed_forward_length);
        let (query, kv) = (model.query_width(), model.kv_width());
        let widest = width.max(inner).max(query);
        let split_rows = (sequences * model.head_count * MOST_SPLITS).min(SPLIT_BLOCKS * SPLIT_HEADS);
        let converted = if activation == 4 { 0 } else { 2 * widest * 4 };
        let context_blocks = config.context_length(model).div_ceil(config.block_size.max(1));
        let graphs = if config.enforce_eager { 0 } else { GRAPHS_BYTES };
        Self {
            stream: rows * (3 * width * 4 + width * activation),
            attention: rows * ((3 * query + 2 * kv) * activation + model.rope.dimensions * 4)
                + split_rows * (model.head_dim + 2) * 4,
            feed_forward: rows * 3 * inner * activation,
            // A block of 32 numbers of eight bits has two halves beside them.
            products: rows * (widest.next_multiple_of(PADDED_COLUMNS) / 32 * 36 + converted),
            logits: if has_output {
                (2 * sequences + 2 * recorded) * model.vocab_size * 4 + sequences * width * 4
            } else {
                0
            },
            fixed: rows * 4 * 4
                + sequences * (context_blocks + 8) * 4
                + 2 * CUBLAS_WORKSPACE_BYTES
                + WIDENED_BYTES
                + MENDED_SPLITS_BYTES
                + 2 * model.block_count * POOL_GRANULARITY
                + graphs,
        }
    }

    /// All of it.
    pub(crate) fn bytes(self) -> usize {
        let Self { stream, attention, feed_forward, products, logits, fixed } = self;
        stream + attention + feed_forward + products + logits + fixed
    }
}

/// Blocks of the KV cache on cards: what `kv_memory_bytes` says, or all that the fullest card has left within
/// `gpu_memory_utilization`. `stages` are in the order of the layers; the last has the output.
///
/// # Errors
/// [`EngineError::Utilization`] out of range; [`EngineError::DeviceMemory`] when what is asked for does not fit, or, where
/// nothing was asked for, not one sequence of the context does.
pub(crate) fn num_blocks(
    config: &EngineConfig,
    model: &LlamaConfig,
    stages: &[StageMemory],
) -> Result<usize, EngineError> {
    let share = config.gpu_memory_utilization;
    if !UTILIZATION_RANGE.contains(&share) {
        return Err(EngineError::Utilization(share));
    }
    let asked = match config.kv_memory_bytes {
        Some(_) => Some(config.num_blocks(model)?),
        None => None,
    };
    let context = config.context_length(model);
    let block_bytes = KvCache::block_bytes(model, config.block_size, config.kv_cache_dtype);
    let mut most = MAX_SLOTS / config.block_size - SCRATCH_BLOCKS;
    for (device, stage) in stages.iter().enumerate() {
        let reserve = Reserve::of(model, config, device + 1 == stages.len());
        let taken = stage.total_bytes.saturating_sub(stage.free_bytes);
        let allowed = (stage.total_bytes as f64 * share) as usize;
        let left = allowed.saturating_sub(taken).saturating_sub(reserve.bytes());
        // A block lies in every layer, so each device pays for its own layers' part of it.
        let stage_block_bytes = (block_bytes / model.block_count * stage.layers).max(1);
        let blocks = (left / stage_block_bytes).saturating_sub(SCRATCH_BLOCKS);
        let tokens = blocks.saturating_mul(config.block_size);
        tracing::info!(
            device,
            total_bytes = stage.total_bytes,
            taken_bytes = taken,
            reserve_bytes = reserve.bytes(),
            kv_bytes = left,
            kv_tokens = tokens,
            "memory plan"
        );
        let wanted = asked.map_or(context, |blocks| blocks.saturating_mul(config.block_size));
        if tokens < wanted {
            let reserve = reserve.bytes();
            let total = stage.total_bytes;
            return Err(EngineError::DeviceMemory { device, total, share, taken, reserve, left, tokens, wanted });
        }
        most = most.min(blocks);
    }
    Ok(asked.unwrap_or(most))
}

#[cfg(test)]
mod tests {
    use sconce_model::{Architecture, KvCacheDtype, RopeConfig, RopeScaling};

    use super::*;
    use crate::config::DeviceKind;

    const GIB: usize = 1 << 30;

    /// Llama 3.1 8B.
    fn model() -> LlamaConfig {
        LlamaConfig {
            architecture: Architecture::default(),
            sliding_window: None,
            vocab_size: 128_256,
            context_length: 131_072,
            embedding_length: 4096,
            block_count: 32,
            feed_forward_length: 14_336,
            head_count: 32,
            head_count_kv: 8,
            head_dim: 128,
            rope: RopeConfig {
                dimensions: 128,
                frequency_base: 500_000.0,
                scaling: RopeScaling::None,
                original_context: 131_072,
                attention_factor: 1.0,
                query_growth: None,
            },
            rms_epsilon: 1e-5,
        }
    }

    fn cuda() -> EngineConfig {
        EngineConfig::for_kind(DeviceKind::Cuda)
    }

    fn stage(total: usize, taken: usize, layers: usize) -> StageMemory {
        StageMemory { total_bytes: total, free_bytes: total - taken, layers }
    }

    #[test]
    fn cards_are_planned_with_the_stage_that_each_will_have() {
        let cards = [80, 40].map(|size| DeviceMemory { total_bytes: size * GIB, free_bytes: (size - 1) * GIB });
        let sizes = [20, 12].map(|layers| StageSize { layers, bytes: 20 << 30 });
        let stages = before_loading(&cards, &sizes, None);
        assert_eq!(stages, [stage(80 * GIB, 21 * GIB, 20), stage(40 * GIB, 21 * GIB, 12)]);
        assert_eq!(before_loading(&cards, &sizes, Some(20 * GIB))[1], stage(20 * GIB, 20 * GIB, 12));
        let plan = |cards: &[DeviceMemory]| num_blocks(&cuda(), &model(), &before_loading(cards, &sizes, None));
        assert!(plan(&cards).is_ok());
        let full = [cards[0], DeviceMemory { free_bytes: 21 * GIB, ..cards[1] }];
        assert!(matches!(plan(&full), Err(EngineError::DeviceMemory { device: 1, .. })));
    }

    #[test]
    fn the_reserve_of_a_step_is_the_sum_that_its_shapes_give() {
        let config = EngineConfig { max_num_seqs: 2, max_num_batched_tokens: 10, enforce_eager: true, ..cuda() };
        let reserve = Reserve::of(&model(), &config, true);
        assert_eq!(reserve.stream, 10 * (3 * 16_384 + 8192));
        assert_eq!(reserve.attention, 10 * ((3 * 4096 + 2 * 1024) * 2 + 512) + 2 * 32 * 32 * 130 * 4);
        assert_eq!(reserve.feed_forward, 10 * 3 * 14_336 * 2);
        assert_eq!(reserve.products, 10 * (14_336 / 32 * 36 + 2 * 14_336 * 4));
        assert_eq!(reserve.logits, 2 * (2 * 128_256 * 4 + 16_384));
        assert_eq!(reserve.fixed, 10 * 16 + 2 * (4096 + 8) * 4 + ((64 + 16 + 16 + 128) << 20));
        assert_eq!(Reserve::of(&model(), &config, false).logits, 0);
        let graphs = EngineConfig { enforce_eager: false, ..config.clone() };
        let graphs = Reserve::of(&model(), &graphs, true);
        assert_eq!(graphs.fixed, reserve.fixed + 2 * 16 + GRAPHS_BYTES);
        assert_eq!(graphs.logits, reserve.logits + 2 * 2 * 128_256 * 4);
        assert_eq!(graphs.feed_forward, 12 * 3 * 14_336 * 2);
        let single = EngineConfig { activation: Activation::F32, ..config };
        assert_eq!(Reserve::of(&model(), &single, true).products, 10 * 14_336 / 32 * 36);
    }

    #[test]
    fn the_cache_gets_what_is_left_of_the_share() {
        let config = cuda();
        let left = 72 * GIB - 6 * GIB - Reserve::of(&model(), &config, true).bytes();
        // 32 tokens × 32 layers × (K, V) × 8 heads × 128 numbers × 2 bytes.
        let block = 32 * 32 * 2 * 8 * 128 * 2;
        assert_eq!(num_blocks(&config, &model(), &[stage(80 * GIB, 6 * GIB, 32)]).expect("fits"), left / block - 1);
        let reserve = Reserve::of(&model(), &config, true).bytes();
        assert!((GIB..3 * GIB).contains(&reserve), "{reserve}");
        let single = EngineConfig { kv_cache_dtype: KvCacheDtype::F32, ..config };
        let blocks = num_blocks(&single, &model(), &[stage(80 * GIB, 6 * GIB, 32)]).expect("fits");
        assert_eq!(blocks, left / (2 * block) - 1);
    }

    #[test]
    fn of_several_devices_the_one_with_the_least_room_for_its_layers_decides() {
        let config = cuda();
        let roomy = stage(80 * GIB, 4 * GIB, 10);
        let tight = stage(40 * GIB, 4 * GIB, 22);
        let layer_block = 32 * 2 * 8 * 128 * 2;
        let left = 36 * GIB - 4 * GIB - Reserve::of(&model(), &config, true).bytes();
        assert_eq!(num_blocks(&config, &model(), &[roomy, tight]).expect("fits"), left / (22 * layer_block) - 1);
        let left = 36 * GIB - 4 * GIB - Reserve::of(&model(), &config, false).bytes();
        assert_eq!(num_blocks(&config, &model(), &[tight, roomy]).expect("fits"), left / (22 * layer_block) - 1);
    }

    #[test]
    fn what_does_not_hold_one_sequence_is_refused_with_its_numbers_and_a_way_out() {
        let small = [stage(16 * GIB, 6 * GIB, 32)];
        let message = num_blocks(&cuda(), &model(), &small).expect_err("refused").to_string();
        for part in ["device 0", "16.0 GiB", "6.0 GiB", "131072", "--max-model-len", "--gpu-memory-utilization"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let short = EngineConfig { max_model_len: Some(8192), ..cuda() };
        assert!(num_blocks(&short, &model(), &small).expect("fits") * 32 >= 8192);
        // A card that is full already leaves nothing, and no sum goes below zero.
        let full = [stage(16 * GIB, 16 * GIB, 32)];
        let message = num_blocks(&short, &model(), &full).expect_err("refused").to_string();
        assert!(message.contains("holds 0 tokens"), "{message}");
    }

    #[test]
    fn a_size_that_is_asked_for_is_given_or_refused() {
        let stages = [stage(80 * GIB, 6 * GIB, 32)];
        let ask = |bytes| EngineConfig { kv_memory_bytes: Some(bytes), ..cuda() };
        assert_eq!(num_blocks(&ask(4 * GIB), &model(), &stages).expect("fits"), 1024);
        let message = num_blocks(&ask(70 * GIB), &model(), &stages).expect_err("refused").to_string();
        assert!(message.contains("573440"), "{message}");
        assert!(matches!(num_blocks(&ask(1), &model(), &stages), Err(EngineError::KvMemory { .. })));
    }

    #[test]
    fn a_share_out_of_range_is_refused() {
        for share in [0.0, 0.04, 0.99, f64::NAN] {
            let config = EngineConfig { gpu_memory_utilization: share, ..cuda() };
            let refused = num_blocks(&config, &model(), &[stage(80 * GIB, 0, 32)]);
            assert!(matches!(refused, Err(EngineError::Utilization(_))), "{share}");
        }
    }
}

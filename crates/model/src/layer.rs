//! One layer of the decoder: attention over the paged cache, then the gated feed-forward network.

use candle_core::{DType, Device, Tensor};
use sconce_kernels::{
    HeadNorms, Normed, PagedBatch, Projections, RopeTable, Weight, gated_matmul, paged_attention, quant_matmul,
    quant_matmul_each, rms_norm, rope_kv_write, to_device,
};

use crate::architecture::Presence;
use crate::config::LlamaConfig;
use crate::error::ModelError;
use crate::kv_cache::LayerCache;
use crate::part;
use crate::tensors::TensorSource;

/// The weights of a layer.
#[derive(Debug)]
pub(crate) struct Layer {
    attention_norm: Tensor,
    query: Weight,
    key: Weight,
    value: Weight,
    /// Of query, key and value.
    biases: Option<[Tensor; 3]>,
    /// Of the heads of query and key.
    head_norms: Option<[Tensor; 2]>,
    attention_output: Weight,
    feed_forward_norm: Tensor,
    gate: Weight,
    up: Weight,
    down: Weight,
    epsilon: f32,
    window: Option<usize>,
}

/// The residual stream between layers: its sum is `base + update`, not yet added so that the next norm can do both at once.
pub(crate) struct Stream {
    pub(crate) base: Tensor,
    pub(crate) update: Option<Tensor>,
}

impl Stream {
    /// The stream on another device; the same one when it is there already.
    pub(crate) fn to_device(&self, device: &Device) -> Result<Self, ModelError> {
        let update = self.update.as_ref().map(|update| to_device(update, device)).transpose()?;
        Ok(Self { base: to_device(&self.base, device)?, update })
    }

    /// Adds what is pending and normalizes the sum, to rows of this type.
    pub(crate) fn norm(&self, weight: &Tensor, epsilon: f32, activation: DType) -> Result<Normed, ModelError> {
        Ok(rms_norm(&self.base, self.update.as_ref(), weight, epsilon, activation)?)
    }
}

impl Layer {
    /// Takes the weights of layer `index`.
    pub(crate) fn load(source: &mut TensorSource<'_>, config: &LlamaConfig, index: usize) -> Result<Self, ModelError> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let width = config.embedding_length;
        let inner = config.feed_forward_length;
        let (queries, keys) = (config.query_width(), config.kv_width());
        let architecture = config.architecture;
        // Where the file has projections in one tensor, each is a range of its rows.
        let [query, key, value] = if architecture.fused {
            let mut cut = |start: usize, rows: usize| {
                source.matrix_rows(&name("attn_qkv"), start..start + rows, queries + 2 * keys, width)
            };
            [cut(0, queries)?, cut(queries, keys)?, cut(queries + keys, keys)?]
        } else {
            [
                source.matrix(&name("attn_q"), queries, width)?,
                source.matrix(&name("attn_k"), keys, width)?,
                source.matrix(&name("attn_v"), keys, width)?,
            ]
        };
        let [gate, up] = if architecture.fused {
            let mut half = |start: usize| source.matrix_rows(&name("ffn_up"), start..start + inner, 2 * inner, width);
            [half(0)?, half(inner)?]
        } else {
            [source.matrix(&name("ffn_gate"), inner, width)?, source.matrix(&name("ffn_up"), inner, width)?]
        };
        let bias = |part: &str| format!("blk.{index}.{part}.bias");
        let has = |presence: Presence, name: &str| match presence {
            Presence::Never => false,
            Presence::WhereGiven => source.has(name),
            Presence::Always => true,
        };
        let has_biases = has(architecture.biases, &bias("attn_q"));
        let has_head_norms = has(architecture.head_norms, &name("attn_q_norm"));
        let biases = if has_biases {
            let [query, key, value] = ["attn_q", "attn_k", "attn_v"].map(bias);
            Some([source.vector(&query, queries)?, source.vector(&key, keys)?, source.vector(&value, keys)?])
        } else {
            None
        };
        let head_norms = if has_head_norms {
            let mut norm = |part: &str| source.vector(&name(part), config.head_dim);
            Some([norm("attn_q_norm")?, norm("attn_k_norm")?])
        } else {
            None
        };
        Ok(Self {
            attention_norm: source.vector(&name("attn_norm"), width)?,
            query,
            key,
            value,
            biases,
            head_norms,
            attention_output: source.matrix(&name("attn_output"), width, queries)?,
            feed_forward_norm: source.vector(&name("ffn_norm"), width)?,
            gate,
            up,
            down: source.matrix(&name("ffn_down"), width, inner)?,
            epsilon: config.rms_epsilon,
            window: config.sliding_window,
        })
    }

    /// Writes this layer's keys and values to the cache and attends; gives the attention's rows, and the stream that they belong to.
    pub(crate) fn attend(
        &self,
        stream: &Stream,
        table: &RopeTable,
        batch: &PagedBatch,
        cache: &LayerCache,
        activation: DType,
    ) -> Result<(Tensor, Tensor), ModelError> {
        let Normed { normed, sum } = part!("norm", stream.norm(&self.attention_norm, self.epsilon, activation))?;
        let [query, key, value] =
            part!("query, key, value", quant_matmul_each(&normed, [&self.query, &self.key, &self.value]))?;
        let projections = Projections {
            query: &query,
            key: &key,
            value: &value,
            biases: self.biases.as_ref().map(|[query, key, value]| [query, key, value]),
            norms: self.head_norms.as_ref().map(|[query, key]| HeadNorms { query, key, epsilon: self.epsilon }),
        };
        let query = part!("rotate and cache", rope_kv_write(&projections, table, batch, &cache.keys, &cache.values))?;
        let attention = part!("attention", paged_attention(&query, &cache.keys, &cache.values, batch, self.window))?;
        Ok((attention, sum))
    }

    /// The rest of the layer, row by row: the attention's projection and the feed-forward network.
    pub(crate) fn feed_forward(&self, attention: &Tensor, base: Tensor) -> Result<Stream, ModelError> {
        let projected = part!("attention output", quant_matmul(attention, &self.attention_output))?;
        let stream = Stream { base, update: Some(projected) };
        let Normed { normed, sum } =
            part!("norm", stream.norm(&self.feed_forward_norm, self.epsilon, attention.dtype()))?;
        let inner = part!("gate and up", gated_matmul(&normed, &self.gate, &self.up))?;
        Ok(Stream { base: sum, update: Some(part!("down", quant_matmul(&inner, &self.down))?) })
    }
}

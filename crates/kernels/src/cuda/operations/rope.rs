//! Rotation on a card: the step's table, and each layer's queries, keys and cache slots.

use candle_core::{DType, Tensor};

use super::rows::not_placed;
use crate::batch::PagedBatch;
use crate::cuda::run::run;
use crate::cuda::tensor::{address, card, element_type, unwritten};
use crate::error::Result;
use crate::launch::{DevicePointer, RopeKvWrite, RopeKvWriteArguments, RopeTable, RopeTableArguments};
use crate::rope::{Projections, QueryGrowth, RopePairs};

const OPERATION: &str = "rope_kv_write";

/// Cosines and sines `[rows, pairs]` of a batch's positions, times the magnitude; `frequencies` are F64 on the card.
pub(crate) fn rope_table(frequencies: &Tensor, magnitude: f32, batch: &PagedBatch) -> Result<(Tensor, Tensor)> {
    const OPERATION: &str = "rope_table";
    let device = frequencies.device();
    let card = card(device, OPERATION, "frequencies")?;
    let Some(on_card) = &batch.on_card else { return Err(not_placed(OPERATION, "batch")) };
    let (rows, pairs) = (batch.rows(), frequencies.elem_count());
    let table = || unwritten((rows, pairs), DType::F32, device);
    let (cosines, sines) = (table()?, table()?);
    let arguments = RopeTableArguments {
        positions: on_card.words.at(on_card.layout.positions),
        frequencies: address(frequencies, DType::F64, OPERATION, "frequencies")?,
        cosines: address(&cosines, DType::F32, OPERATION, "cosines")?,
        sines: address(&sines, DType::F32, OPERATION, "sines")?,
        rows: rows as u32,
        pairs: pairs as u32,
        magnitude,
    };
    // SAFETY: the batch has a position for each row, and the tables a number for each row and pair.
    #[allow(unsafe_code)]
    unsafe { run(card, &RopeTable { arguments }.launch()) }?;
    Ok((cosines, sines))
}

/// What the projections are turned by and written to, with shapes that were checked.
pub(crate) struct Rotation<'a> {
    pub(crate) cosines: &'a Tensor,
    pub(crate) sines: &'a Tensor,
    pub(crate) pairs: usize,
    pub(crate) order: RopePairs,
    pub(crate) growth: Option<QueryGrowth>,
    pub(crate) key_cache: &'a Tensor,
    pub(crate) value_cache: &'a Tensor,
}

/// Prepares and rotates queries and keys, writes keys and values to the batch's slots, and gives the rotated queries.
pub(crate) fn rope_kv_write(
    projections: &Projections<'_>,
    rotation: &Rotation<'_>,
    batch: &PagedBatch,
) -> Result<Tensor> {
    let Projections { query, key, value, biases, norms } = projections;
    let Rotation { cosines, sines, pairs, order, growth, key_cache, value_cache } = rotation;
    let card = card(query.device(), OPERATION, "query")?;
    let Some(on_card) = &batch.on_card else { return Err(not_placed(OPERATION, "batch")) };
    let (activation, cache) = (query.dtype(), key_cache.dtype());
    let (kv_heads, head_dim) = (key_cache.dims()[2], key_cache.dims()[3]);
    let rotated = unwritten(query.shape(), activation, query.device())?;
    let bias = |which: usize, argument| optional(biases.map(|biases| biases[which]), argument);
    let arguments = RopeKvWriteArguments {
        query: address(query, activation, OPERATION, "query")?,
        key: address(key, activation, OPERATION, "key")?,
        value: address(value, activation, OPERATION, "value")?,
        query_bias: bias(0, "biases.query")?,
        key_bias: bias(1, "biases.key")?,
        value_bias: bias(2, "biases.value")?,
        query_norm: optional(norms.as_ref().map(|norms| norms.query), "norms.query")?,
        key_norm: optional(norms.as_ref().map(|norms| norms.key), "norms.key")?,
        cosines: address(cosines, DType::F32, OPERATION, "table")?,
        sines: address(sines, DType::F32, OPERATION, "table")?,
        slots: on_card.words.at(on_card.layout.slot_mapping),
        positions: on_card.words.at(on_card.layout.positions),
        rotated: address(&rotated, activation, OPERATION, "rotated")?,
        key_cache: address(key_cache, cache, OPERATION, "key_cache")?,
        value_cache: address(value_cache, cache, OPERATION, "value_cache")?,
        heads: (query.dims()[1] / head_dim) as u32,
        kv_heads: kv_heads as u32,
        head_dim: head_dim as u32,
        pairs: *pairs as u32,
        halves: u32::from(*order == RopePairs::Halves),
        paired: 0,
        epsilon: norms.as_ref().map_or(0.0, |norms| norms.epsilon),
        growth: growth.map_or(0.0, |growth| growth.scale),
        growth_period: growth.map_or(1, |growth| growth.period.max(1)),
    };
    let write = RopeKvWrite {
        activation: element_type(activation, OPERATION, "query")?,
        cache: element_type(cache, OPERATION, "key_cache")?,
        rows: batch.rows() as u32,
        arguments,
    };
    // SAFETY: shapes were checked against each other and the batch, and its slots against the caches.
    #[allow(unsafe_code)]
    unsafe { run(card, &write.launch()?) }?;
    Ok(rotated)
}

/// Where an F32 vector begins, or null where there is none.
fn optional(vector: Option<&Tensor>, argument: &'static str) -> Result<DevicePointer> {
    vector.map_or(Ok(DevicePointer::default()), |vector| address(vector, DType::F32, OPERATION, argument))
}

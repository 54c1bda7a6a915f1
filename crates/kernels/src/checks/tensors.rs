//! The backend of the public functions: tensors on the CPU or on a card.

use candle_core::{DType, Device, Tensor};

use super::{
    AttentionCase, Backend, BlockCopyCase, CacheShape, EmbeddingCase, MatmulCase, NormCase, Normalized, RopeCase,
    Rotated, SwapCase, TokenCase,
};
use crate::launch::{AttentionShape, ElementType};
use crate::{
    HeadNorms, Indices, PagedBatch, Projections, Weight, block_copy, embedding, gather_blocks, paged_attention,
    quant_matmul, rms_norm, rope_kv_write, scatter_blocks, select_rows, silu_mul,
};

/// Runs the crate's own functions on a device.
#[derive(Debug, Clone)]
pub struct TensorBackend {
    device: Device,
    activation: ElementType,
}

impl TensorBackend {
    /// A backend with activations of this type.
    #[must_use]
    pub fn new(device: Device, activation: ElementType) -> Self {
        Self { device, activation }
    }

    fn matrix(&self, values: &[f32], columns: usize, element: ElementType) -> Result<Tensor, String> {
        Tensor::from_slice(values, (values.len() / columns.max(1), columns), &self.device)
            .and_then(|tensor| tensor.to_dtype(tensor_type(element)))
            .map_err(|error| error.to_string())
    }

    fn cache(&self, values: &[f32], shape: CacheShape, element: ElementType) -> Result<Tensor, String> {
        let CacheShape { num_blocks, block_size, kv_heads, head_dim } = shape;
        Tensor::from_slice(values, (num_blocks, block_size, kv_heads, head_dim), &self.device)
            .and_then(|tensor| tensor.to_dtype(tensor_type(element)))
            .map_err(|error| error.to_string())
    }

    fn placed(
        &self,
        batch: PagedBatch,
        heads: usize,
        cache_shape: CacheShape,
        cache: ElementType,
    ) -> Result<PagedBatch, String> {
        let CacheShape { block_size, kv_heads, head_dim, .. } = cache_shape;
        let shape = AttentionShape { heads, kv_heads, head_dim, block_size, activation: self.activation, cache };
        batch.on(&self.device, shape).map_err(|error| error.to_string())
    }

    fn vector(&self, values: &[f32]) -> Result<Tensor, String> {
        Tensor::from_slice(values, values.len(), &self.device).map_err(|error| error.to_string())
    }
}

fn tensor_type(element: ElementType) -> DType {
    match element {
        ElementType::F32 => DType::F32,
        ElementType::F16 => DType::F16,
        ElementType::Bf16 => DType::BF16,
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f32>, String> {
    tensor.to_dtype(DType::F32).and_then(|tensor| tensor.flatten_all()?.to_vec1()).map_err(|error| error.to_string())
}

impl Backend for TensorBackend {
    fn name(&self) -> String {
        format!("{:?}, {}", self.device.location(), self.activation.suffix())
    }

    fn activation(&self) -> ElementType {
        self.activation
    }

    fn lacks(&self) -> &'static [&'static str] {
        // What only a device needs that computes while the host goes on.
        if self.device.is_cuda() { &[] } else { &["resolve_tokens"] }
    }

    fn rms_norm(
        &self,
        base: &[f32],
        update: Option<&[f32]>,
        weight: &[f32],
        epsilon: f32,
    ) -> Result<Normalized, String> {
        let width = weight.len();
        let base = self.matrix(base, width, ElementType::F32)?;
        let update = update.map(|update| self.matrix(update, width, self.activation)).transpose()?;
        let weight = self.vector(weight)?;
        let found = rms_norm(&base, update.as_ref(), &weight, epsilon, tensor_type(self.activation))
            .map_err(|error| error.to_string())?;
        Ok(Normalized { normed: values(&found.normed)?, sum: values(&found.sum)? })
    }

    fn silu_mul(&self, gate: &[f32], up: &[f32], width: usize) -> Result<Vec<f32>, String> {
        let gate = self.matrix(gate, width, self.activation)?;
        let up = self.matrix(up, width, self.activation)?;
        values(&silu_mul(&gate, &up).map_err(|error| error.to_string())?)
    }

    fn rope_kv_write(&self, case: &RopeCase<'_>) -> Result<Rotated, String> {
        let shape = case.shape;
        let query = self.matrix(case.query, case.heads * shape.head_dim, self.activation)?;
        let key = self.matrix(case.key, shape.slot(), self.activation)?;
        let value = self.matrix(case.value, shape.slot(), self.activation)?;
        let key_cache = self.cache(case.key_cache, shape, case.cache_type)?;
        let value_cache = self.cache(case.value_cache, shape, case.cache_type)?;
        let batch = self.placed(case.batch.batch(shape)?, case.heads, shape, case.cache_type)?;
        let table = case
            .frequencies
            .on(&self.device)
            .and_then(|placed| placed.table(&batch))
            .map_err(|error| error.to_string())?;
        let biases = case.biases.map(|biases| biases.map(|bias| self.vector(bias)));
        let biases = biases.map(|[query, key, value]| Ok::<_, String>([query?, key?, value?])).transpose()?;
        let norms = case.norms.map(|norms| Ok::<_, String>((self.vector(norms.query)?, self.vector(norms.key)?)));
        let norms = norms.transpose()?;
        let projections = Projections {
            query: &query,
            key: &key,
            value: &value,
            biases: biases.as_ref().map(|biases| biases.each_ref()),
            norms: norms.as_ref().zip(case.norms).map(|((query, key), NormCase { epsilon, .. })| HeadNorms {
                query,
                key,
                epsilon,
            }),
        };
        let query =
            rope_kv_write(&projections, &table, &batch, &key_cache, &value_cache).map_err(|error| error.to_string())?;
        Ok(Rotated { query: values(&query)?, key_cache: values(&key_cache)?, value_cache: values(&value_cache)? })
    }

    fn paged_attention(&self, case: &AttentionCase<'_>) -> Result<Vec<f32>, String> {
        let query = self.matrix(case.query, case.heads * case.shape.head_dim, self.activation)?;
        let key_cache = self.cache(case.key_cache, case.shape, case.cache_type)?;
        let value_cache = self.cache(case.value_cache, case.shape, case.cache_type)?;
        let batch = self.placed(case.batch.batch(case.shape)?, case.heads, case.shape, case.cache_type)?;
        paged_attention(&query, &key_cache, &value_cache, &batch, case.window)
            .map_err(|error| error.to_string())
            .and_then(|output| values(&output))
    }

    fn embedding(&self, case: &EmbeddingCase<'_>) -> Result<Vec<f32>, String> {
        let EmbeddingCase { table, weight_type, vocabulary, width, ids } = *case;
        Weight::from_bytes(table, weight_type, vocabulary, width, &self.device)
            .and_then(|table| embedding(&table, &Indices::from(ids).on(&self.device)?, &self.device))
            .map_err(|error| error.to_string())
            .and_then(|rows| values(&rows))
    }

    fn resolve_tokens(&self, case: &TokenCase) -> Result<Vec<u32>, String> {
        match &self.device {
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => crate::cuda::resolve_tokens(&self.device, case).map_err(|error| error.to_string()),
            _ => Err(format!("{} ids are known before a step on the CPU", case.input_ids.len())),
        }
    }

    fn block_copy(&self, case: &BlockCopyCase<'_>) -> Result<Vec<f32>, String> {
        let cache = self.cache(case.cache, case.shape, case.cache_type)?;
        block_copy(&[&cache], case.copies).map_err(|error| error.to_string())?;
        values(&cache)
    }

    fn block_swap(&self, case: &SwapCase<'_>) -> Result<Vec<f32>, String> {
        let from = self.cache(case.from, case.shape, case.cache_type)?;
        let to = self.cache(case.to, case.shape, case.cache_type)?;
        let on_device = |blocks| Indices::from(blocks).on(&self.device);
        on_device(case.gathered)
            .and_then(|blocks| gather_blocks(&from, &blocks))
            .and_then(|gathered| scatter_blocks(&to, &on_device(case.scattered)?, &gathered))
            .map_err(|error| error.to_string())?;
        values(&to)
    }

    fn select_rows(
        &self,
        matrix: &[f32],
        element: ElementType,
        columns: usize,
        rows: &[u32],
    ) -> Result<Vec<f32>, String> {
        let matrix = self.matrix(matrix, columns, element)?;
        let selected = Indices::from(rows).on(&self.device).and_then(|rows| select_rows(&matrix, &rows));
        values(&selected.map_err(|error| error.to_string())?)
    }

    fn matmul(&self, case: &MatmulCase<'_>) -> Result<Vec<f32>, String> {
        let activations = self.matrix(case.activations, case.inputs, self.activation)?;
        Weight::from_bytes(case.weight, case.weight_type, case.outputs, case.inputs, &self.device)
            .and_then(|weight| quant_matmul(&activations, &weight))
            .map_err(|error| error.to_string())
            .and_then(|product| values(&product))
    }
}

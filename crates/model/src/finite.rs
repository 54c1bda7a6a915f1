//! Finds weights that are NaN or infinite: one token is computed after loading, and only when its logits are no numbers is the
//! file searched, tensor by tensor in bounded memory. What hides from that token fails the request that meets it.

use candle_core::Device;
use sconce_kernels::Weight;

use crate::batch::ForwardBatch;
use crate::error::ModelError;
use crate::gguf::{GgufFile, TensorInfo};
use crate::kv_cache::{KvCache, KvCacheDtype};
use crate::llama::Llama;

/// Weights that are looked at together: 16 MiB as floats. A longer row is looked at whole.
const CHUNK_WEIGHTS: usize = 4 << 20;

impl Llama {
    /// Computes one token and looks at its logits. `file` is what the model was loaded from.
    ///
    /// A weight that this token does not touch, such as one of another token's embedding, is not seen here: a draw from logits that
    /// it spoils fails with `SamplingError::NotFinite`.
    ///
    /// # Errors
    /// [`ModelError::NotFinite`] names the first bad tensor and row, [`ModelError::Overflow`] says that no weight is to blame; or
    /// what the forward reported.
    pub fn check_finite(&self, file: &GgufFile, token: u32) -> Result<(), ModelError> {
        // A token that the table lacks is refused where it is named; the first stands in for it here.
        let token = if (token as usize) < self.config().vocab_size { token } else { 0 };
        let mut cache = KvCache::allocate(self, 1, 16, KvCacheDtype::default())?;
        let batch = ForwardBatch {
            input_ids: vec![token],
            positions: vec![0],
            slot_mapping: vec![0],
            cu_seqlens_q: vec![0, 1],
            seq_lens_k: vec![1],
            block_tables: vec![0],
            cu_blocks: vec![0, 1],
            logits_rows: vec![0],
        };
        let logits = self.forward(&batch, &mut cache)?;
        if logits.row(0).iter().all(|logit| logit.is_finite()) {
            return Ok(());
        }
        file.tensors().iter().try_for_each(|info| check_tensor(file, info))?;
        Err(ModelError::Overflow { token })
    }
}

/// Names the first row of a tensor with a weight that is not a number. The scales of blocks show in the weights that they scale.
fn check_tensor(file: &GgufFile, info: &TensorInfo) -> Result<(), ModelError> {
    let inputs = info.dimensions[0];
    let row_bytes = inputs / info.weight_type.block_elements() * info.weight_type.block_bytes();
    let rows = (CHUNK_WEIGHTS / inputs).max(1);
    for (chunk, bytes) in file.bytes(info).chunks(rows * row_bytes).enumerate() {
        let load = |source| ModelError::Load { tensor: info.name.clone(), source };
        let outputs = bytes.len() / row_bytes;
        let weights = Weight::from_bytes(bytes, info.weight_type, outputs, inputs, &Device::Cpu)
            .and_then(|weight| Ok(weight.dequantize()?.flatten_all()?.to_vec1::<f32>()?))
            .map_err(load)?;
        if let Some(place) = weights.iter().position(|weight| !weight.is_finite()) {
            let row = chunk * rows + place / inputs;
            return Err(ModelError::NotFinite { tensor: info.name.clone(), row, value: weights[place] });
        }
    }
    Ok(())
}

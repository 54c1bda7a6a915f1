//! Finds weights that are NaN or infinite, by the numbers that the file stores: floats, and the scales of blocks. A forward alone
//! would not do: it meets only the rows of the embedding that it is asked for, and candle's products of Q2_K and Q3_K make a zero of a NaN.

use half::{bf16, f16};
use rayon::prelude::*;
use sconce_kernels::WeightType;

use crate::checkpoint::Checkpoint;
use crate::error::ModelError;
use crate::gguf::TensorInfo;
use crate::kv_cache::KvCacheDtype;
use crate::llama::Llama;
use crate::reading::read_text;

impl Llama {
    /// Looks at every float and scale of `file`, which the model was loaded from, then computes one token and looks at its logits.
    /// Reads the file once, in parallel; memory is that of one token's forward.
    ///
    /// Activations that overflow only for other tokens are not seen here: a draw from such logits fails with
    /// `SamplingError::NotFinite`.
    ///
    /// # Errors
    /// [`ModelError::NotFinite`] names the first bad tensor and row, [`ModelError::Overflow`] says that no weight is to blame; or
    /// what the forward reported.
    pub fn check_finite(&self, file: &Checkpoint, token: u32) -> Result<(), ModelError> {
        file.check_weights()?;
        // A token that the table lacks is refused where it is named; the first stands in for it here.
        let token = if (token as usize) < self.config().vocab_size { token } else { 0 };
        if read_text(self, &[token], KvCacheDtype::with_range(self.devices()))?.non_finite == 0 {
            return Ok(());
        }
        Err(ModelError::Overflow { token })
    }
}

impl Checkpoint {
    /// Looks at every float and scale, in parallel, as they are stored.
    ///
    /// # Errors
    /// [`ModelError::NotFinite`] names the first bad tensor and row.
    pub fn check_weights(&self) -> Result<(), ModelError> {
        self.tensors().iter().enumerate().try_for_each(|(index, info)| {
            let (stored, bytes) = self.stored(index);
            check_tensor(info, stored, bytes)
        })
    }
}

/// Names the first row of a tensor with a number that is none.
fn check_tensor(info: &TensorInfo, stored: WeightType, bytes: &[u8]) -> Result<(), ModelError> {
    let blocks = info.dimensions[0] / stored.block_elements();
    let row_bytes = blocks * stored.block_bytes();
    let found = bytes
        .par_chunks(row_bytes)
        .with_min_len(16)
        .enumerate()
        .find_map_first(|(row, bytes)| not_finite(stored, bytes).map(|value| (row, value)));
    match found {
        None => Ok(()),
        Some((row, value)) => Err(ModelError::NotFinite { tensor: info.name.clone(), row, value }),
    }
}

/// The first float or scale of a row that is NaN or infinite. With finite scales of half precision every weight is finite.
fn not_finite(weight_type: WeightType, row: &[u8]) -> Option<f32> {
    let halves = |places: &'static [usize]| {
        let blocks = row.chunks_exact(weight_type.block_bytes());
        let scales = blocks.flat_map(|block| places.iter().map(|&place| [block[place], block[place + 1]]));
        scales.map(|bytes| f16::from_le_bytes(bytes).to_f32()).find(|scale| !scale.is_finite())
    };
    let pairs = || row.chunks_exact(2).map(|bytes| [bytes[0], bytes[1]]);
    match weight_type {
        WeightType::F32 => {
            let floats = row.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
            floats.into_iter().find(|value| !value.is_finite())
        }
        WeightType::F16 => pairs().map(|bytes| f16::from_le_bytes(bytes).to_f32()).find(|value| !value.is_finite()),
        WeightType::BF16 => pairs().map(|bytes| bf16::from_le_bytes(bytes).to_f32()).find(|value| !value.is_finite()),
        // Where scale and minimum stand in a block, by the structures of ggml.
        WeightType::Q4_0 | WeightType::Q5_0 | WeightType::Q8_0 => halves(&[0]),
        WeightType::Q4_1 | WeightType::Q5_1 | WeightType::Q4K | WeightType::Q5K => halves(&[0, 2]),
        WeightType::Q2K => halves(&[80, 82]),
        WeightType::Q3K => halves(&[108]),
        WeightType::Q6K => halves(&[208]),
    }
}

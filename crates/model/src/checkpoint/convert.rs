//! A checkpoint whose matrices have another type than its files: each is converted while it is taken, some rows at a time.

use std::borrow::Cow;
use std::ops::Range;

use candle_core::Device;
use rayon::prelude::*;
use sconce_kernels::{KernelError, Weight, WeightType, quantize_to_bytes};

use super::Checkpoint;
use crate::error::ModelError;
use crate::gguf::TensorInfo;
use crate::synth::Quantization;

/// Elements that one thread converts at a time.
const CHUNK_ELEMENTS: usize = 1 << 18;

/// A matrix that got another type than was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// The tensor.
    pub tensor: String,
    /// The type that was asked for.
    pub wanted: WeightType,
    /// The type that its rows can have.
    pub used: WeightType,
    /// The length of its rows.
    pub inputs: usize,
}

impl Checkpoint {
    /// The same checkpoint with matrices of another type; vectors are F32. Rows that are no whole number of blocks get Q8_0, or
    /// F16 where not even that fits; those matrices are named in the list.
    #[must_use]
    pub fn quantized(mut self, quantization: Quantization) -> (Self, Vec<Fallback>) {
        let layers = self.tensors.iter().filter_map(TensorInfo::layer).max().map_or(0, |last| last.saturating_add(1));
        let layers = u32::try_from(layers).unwrap_or(u32::MAX);
        let tied = self.tensor_info("output.weight").is_none();
        let mut fallbacks = Vec::new();
        for (info, place) in self.tensors.iter_mut().zip(&self.places) {
            let inputs = info.dimensions[0];
            info.weight_type = match info.dimensions.len() {
                1 => WeightType::F32,
                2 => {
                    let wanted = quantization.type_of(&info.name, layers, tied);
                    let used = fitting(wanted, inputs);
                    if used != wanted {
                        fallbacks.push(Fallback { tensor: info.name.clone(), wanted, used, inputs });
                    }
                    used
                }
                // No architecture has a tensor of more dimensions; it is kept as it is.
                _ => place.stored,
            };
            let outputs: usize = info.dimensions[1..].iter().product();
            // The size that was checked had blocks of the stored type; no type takes more than four bytes for an element.
            let row = (inputs / info.weight_type.block_elements()) as u64 * info.weight_type.block_bytes() as u64;
            info.bytes = row.saturating_mul(outputs as u64);
        }
        (self, fallbacks)
    }

    /// The bytes of some rows of a matrix in the type that the checkpoint gives it.
    pub(super) fn row_data(
        &self,
        index: usize,
        rows: Range<usize>,
        inputs: usize,
    ) -> Result<Cow<'_, [u8]>, ModelError> {
        let (info, stored) = (&self.tensors[index], self.places[index].stored);
        let wanted = info.weight_type;
        if wanted == stored {
            return Ok(self.row_bytes(index, rows));
        }
        let step = (CHUNK_ELEMENTS / inputs).max(1);
        let starts: Vec<usize> = rows.clone().step_by(step).collect();
        let convert = |&start: &usize| -> Result<Vec<u8>, KernelError> {
            let part = start..(start + step).min(rows.end);
            let bytes = self.row_bytes(index, part.clone());
            let weight = Weight::from_bytes(&bytes, stored, part.len(), inputs, &Device::Cpu)?;
            quantize_to_bytes(&weight.dequantize()?, wanted)
        };
        let load = |source| ModelError::Load { tensor: info.name.clone(), source };
        let parts: Vec<Vec<u8>> = starts.par_iter().map(convert).collect::<Result<_, _>>().map_err(load)?;
        Ok(Cow::Owned(parts.concat()))
    }
}

/// The type itself, where rows of this length are whole blocks; else Q8_0 or F16.
fn fitting(wanted: WeightType, inputs: usize) -> WeightType {
    let fits = |weight_type: WeightType| inputs.is_multiple_of(weight_type.row_multiple());
    [wanted, WeightType::Q8_0].into_iter().find(|weight_type| fits(*weight_type)).unwrap_or(WeightType::F16)
}

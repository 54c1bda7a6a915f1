//! The backend of the public functions: tensors on the CPU or on a card.

use candle_core::{DType, Device, Tensor};

use super::{Backend, Normalized};
use crate::launch::ElementType;
use crate::rms_norm;

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
}

//! Takes tensors out of a file by name and shape, and remembers which were taken, so that none is silently ignored.

use std::collections::HashSet;
use std::ops::Range;

use candle_core::{Device, Tensor};
use sconce_kernels::{KernelError, Weight};

use crate::architecture::Architecture;
use crate::checkpoint::Checkpoint;
use crate::error::ModelError;
use crate::gguf::GgufError;

/// Hands out the tensors of one file.
pub(crate) struct TensorSource<'a> {
    file: &'a Checkpoint,
    device: &'a Device,
    taken: HashSet<String>,
}

impl<'a> TensorSource<'a> {
    pub(crate) fn new(file: &'a Checkpoint, device: &'a Device) -> Self {
        Self { file, device, taken: HashSet::new() }
    }

    /// What is taken from now on goes to this device.
    pub(crate) fn place_on(&mut self, device: &'a Device) {
        self.device = device;
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.file.tensor_info(name).is_some()
    }

    /// A matrix of this shape.
    pub(crate) fn matrix(&mut self, name: &str, outputs: usize, inputs: usize) -> Result<Weight, ModelError> {
        self.check(name, &[inputs, outputs])?;
        self.file.weight(name, self.device)
    }

    /// Consecutive rows of a matrix of this shape, as a matrix of their own.
    pub(crate) fn matrix_rows(
        &mut self,
        name: &str,
        rows: Range<usize>,
        outputs: usize,
        inputs: usize,
    ) -> Result<Weight, ModelError> {
        self.check(name, &[inputs, outputs])?;
        self.file.weight_rows(name, rows, self.device)
    }

    /// A vector of this length, as floats on the device.
    pub(crate) fn vector(&mut self, name: &str, length: usize) -> Result<Tensor, ModelError> {
        self.check(name, &[length])?;
        let weight = self.file.weight(name, self.device)?;
        let flatten = |tensor: Tensor| tensor.flatten_all()?.contiguous();
        weight
            .dequantize()
            .and_then(|tensor| flatten(tensor).map_err(KernelError::from))
            .map_err(|source| ModelError::Load { tensor: name.to_string(), source })
    }

    /// A vector of this length, as floats on the host.
    pub(crate) fn floats(&mut self, name: &str, length: usize) -> Result<Vec<f32>, ModelError> {
        let vector = self.vector(name, length)?;
        vector
            .to_vec1::<f32>()
            .map_err(|error| ModelError::Load { tensor: name.to_string(), source: KernelError::from(error) })
    }

    fn check(&mut self, name: &str, expected: &[usize]) -> Result<(), ModelError> {
        let Some(info) = self.file.tensor_info(name) else {
            return Err(GgufError::MissingTensor { name: name.to_string() }.into());
        };
        self.taken.insert(name.to_string());
        if info.has_shape(expected) {
            return Ok(());
        }
        Err(ModelError::TensorShape {
            tensor: name.to_string(),
            expected: expected.to_vec(),
            actual: info.dimensions.clone(),
        })
    }

    /// Checks that every tensor of the file was taken.
    pub(crate) fn finish(self, architecture: Architecture) -> Result<(), ModelError> {
        match self.file.tensors().iter().find(|info| !self.taken.contains(&info.name)) {
            None => Ok(()),
            Some(info) => {
                let architecture = architecture.name();
                Err(ModelError::UnexpectedTensor { architecture, tensor: info.name.clone() })
            }
        }
    }
}

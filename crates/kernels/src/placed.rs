//! A step's index arrays together, where the kernels of a device find them.

use candle_core::Device;

use crate::batch::PagedBatch;
use crate::error::KernelError;
use crate::indices::Indices;
use crate::launch::AttentionShape;

/// A step's arrays.
#[derive(Debug, Clone)]
pub struct PlacedStep<'a> {
    /// Token of each row.
    pub ids: Indices<'a>,
    /// Positions, slots and block tables.
    pub batch: PagedBatch,
    /// Rows whose logits are wanted.
    pub logits_rows: Indices<'a>,
}

impl<'a> PlacedStep<'a> {
    /// On the host.
    #[must_use]
    pub fn new(ids: &'a [u32], batch: PagedBatch, logits_rows: &'a [u32]) -> Self {
        Self { ids: ids.into(), batch, logits_rows: logits_rows.into() }
    }

    /// The same arrays where the tensors of a device can be reached from, in memory of their own; `shape` is that
    /// of the attention that will read them.
    ///
    /// # Errors
    /// What the device reports.
    pub fn on(self, device: &Device, shape: AttentionShape) -> Result<Self, KernelError> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => {
                let counts = crate::launch::StepCounts::default();
                let Self { ids, batch, logits_rows } = self;
                crate::cuda::StepUpload::new(device, counts, shape)?.place(ids.values, batch, logits_rows.values)
            }
            _ => {
                let _ = shape;
                Ok(self)
            }
        }
    }
}

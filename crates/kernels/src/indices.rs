//! Numbers that name rows, tokens or blocks: known on the host, and where the tensors lie on a card, lying there as well.

use candle_core::Device;

use crate::error::KernelError;
#[cfg(feature = "cuda")]
use crate::launch::DevicePointer;

/// Where words lie on a card.
#[cfg(feature = "cuda")]
#[derive(Debug, Clone)]
pub(crate) struct CardWords {
    /// Held, so that the address stays valid.
    pub(crate) memory: std::sync::Arc<candle_core::cuda_backend::cudarc::driver::CudaSlice<u32>>,
    /// The first of them.
    pub(crate) first: DevicePointer,
}

#[cfg(feature = "cuda")]
impl CardWords {
    /// The address of a word.
    pub(crate) fn at(&self, word: usize) -> DevicePointer {
        DevicePointer(self.first.0 + 4 * word as u64)
    }

    /// The words from one on.
    pub(crate) fn from(&self, word: usize) -> Self {
        Self { memory: self.memory.clone(), first: self.at(word) }
    }
}

/// Indices that an operation takes. On a card the device's copy is what counts: it may hold numbers that the host does not know
/// yet, where the host's has placeholders.
#[derive(Debug, Clone)]
pub struct Indices<'a> {
    pub(crate) values: &'a [u32],
    #[cfg(feature = "cuda")]
    pub(crate) on_card: Option<CardWords>,
}

impl<'a> From<&'a [u32]> for Indices<'a> {
    fn from(values: &'a [u32]) -> Self {
        Self {
            values,
            #[cfg(feature = "cuda")]
            on_card: None,
        }
    }
}

impl Indices<'_> {
    /// The same indices where the tensors of a device can be reached from: a check's; a step's go to a card together.
    ///
    /// # Errors
    /// What the device reports.
    pub fn on(self, device: &Device) -> std::result::Result<Self, KernelError> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => self.upload(device),
            _ => Ok(self),
        }
    }

    /// The number of indices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

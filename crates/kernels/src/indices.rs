//! Numbers that name rows, tokens or blocks: known on the host, and where the tensors lie on a card, lying there as well.

use candle_core::Device;

use crate::error::KernelError;
use crate::launch::DevicePointer;

/// Words on a card; the memory lives as long as somebody holds one of these.
#[cfg(feature = "cuda")]
pub(crate) type CardMemory = std::sync::Arc<candle_core::cuda_backend::cudarc::driver::CudaSlice<u32>>;

/// Without the feature `cuda` there are none.
#[cfg(not(feature = "cuda"))]
pub(crate) type CardMemory = std::convert::Infallible;

/// Where words lie on a card.
#[derive(Debug, Clone)]
pub(crate) struct CardWords {
    /// Kept, so that the address stays valid.
    pub(crate) _memory: CardMemory,
    /// The first of them.
    pub(crate) first: DevicePointer,
}

impl CardWords {
    /// The address of a word.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))] // Only a card is asked for addresses.
    pub(crate) fn at(&self, word: usize) -> DevicePointer {
        DevicePointer(self.first.0 + 4 * word as u64)
    }
}

/// Indices that an operation takes. On a card the device's copy is what counts: it may hold numbers that the host does not know
/// yet, where the host's has placeholders.
#[derive(Debug, Clone)]
pub struct Indices<'a> {
    pub(crate) values: &'a [u32],
    pub(crate) on_card: Option<CardWords>,
}

impl<'a> From<&'a [u32]> for Indices<'a> {
    fn from(values: &'a [u32]) -> Self {
        Self { values, on_card: None }
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

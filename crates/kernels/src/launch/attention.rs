//! Placeholder until the planner lands.

use crate::batch::PagedBatch;

/// How a batch's rows are given to the attention kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttentionWork {
    decodes: Vec<u32>,
    tiles: Vec<u32>,
}

impl AttentionWork {
    pub(crate) fn new(_batch: &PagedBatch) -> Self {
        Self { decodes: Vec::new(), tiles: Vec::new() }
    }

    pub(crate) fn decodes(&self) -> &[u32] {
        &self.decodes
    }

    pub(crate) fn tiles(&self) -> &[u32] {
        &self.tiles
    }
}

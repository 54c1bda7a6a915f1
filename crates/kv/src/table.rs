//! A sequence's blocks, in order.

use crate::ids::BlockId;
use crate::pool::{BlockRef, PartitionId, Retention};

/// Which of a sequence's blocks are document context: those that begin within its first `document_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetentionPlan {
    /// Leading tokens that are document context.
    pub document_tokens: usize,
    /// Whether an operator pinned that context.
    pub pinned: bool,
}

impl RetentionPlan {
    /// The class of the block that begins at token `first`.
    #[must_use]
    pub fn class_at(&self, first: usize) -> Retention {
        match (first < self.document_tokens, self.pinned) {
            (false, _) => Retention::Conversation,
            (true, false) => Retention::Document,
            (true, true) => Retention::Pinned,
        }
    }
}

/// The blocks of one sequence: token `i` lives in slot `i % block_size` of block `i / block_size`.
/// Not `Clone`; dropping it gives the blocks back, last first, so that a prefix outlives what hangs from it.
#[derive(Debug)]
pub struct BlockTable {
    /// Changed through [`BlockTable::push`] and [`BlockTable::pop`] only, together with `ids`.
    blocks: Vec<BlockRef>,
    /// The blocks' ids in one piece: every step's plan copies them, and a long context has hundreds.
    ids: Vec<BlockId>,
    /// Tokens with a slot.
    pub(crate) len: usize,
    /// Tokens whose content the prefix cache knows, or has declined to index twice.
    pub(crate) committed: usize,
    pub(crate) partition: PartitionId,
    pub(crate) retention: RetentionPlan,
}

impl BlockTable {
    /// A table over blocks that hold the first `len` tokens, of which `committed` are known to the prefix cache.
    pub(crate) fn new(
        blocks: Vec<BlockRef>,
        len: usize,
        committed: usize,
        partition: PartitionId,
        retention: RetentionPlan,
    ) -> Self {
        let ids = blocks.iter().map(BlockRef::id).collect();
        Self { blocks, ids, len, committed, partition, retention }
    }

    pub(crate) fn push(&mut self, block: BlockRef) {
        self.ids.push(block.id());
        self.blocks.push(block);
    }

    pub(crate) fn pop(&mut self) -> Option<BlockRef> {
        self.ids.pop();
        self.blocks.pop()
    }

    /// Tokens with a slot.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token has a slot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The partition that pays for the blocks.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The blocks, in order.
    #[must_use]
    pub fn blocks(&self) -> &[BlockId] {
        &self.ids
    }
}

impl Drop for BlockTable {
    fn drop(&mut self) {
        while self.blocks.pop().is_some() {}
    }
}

//! Prefix blocks that a running sequence is about to compute, so that others wait for them instead of computing them again.

use rustc_hash::FxHashMap;
use sconce_kv::{BlockHash, TokenChain};

use crate::sequence::SequenceId;

/// Who will compute which whole block.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    by_hash: FxHashMap<BlockHash, SequenceId>,
}

impl Promises {
    /// `leader` will compute the chain's whole blocks from `from` on; blocks already promised stay with their leader.
    pub(crate) fn make(&mut self, leader: SequenceId, chain: &TokenChain, from: usize) {
        for &hash in chain.hashes().iter().skip(from) {
            self.by_hash.entry(hash).or_insert(leader);
        }
    }

    /// The chain's blocks `from..to` are computed, or their leader will not compute them.
    pub(crate) fn settle(&mut self, leader: SequenceId, chain: &TokenChain, from: usize, to: usize) {
        if self.by_hash.is_empty() {
            return;
        }
        for hash in chain.hashes().iter().take(to).skip(from) {
            if self.by_hash.get(hash) == Some(&leader) {
                self.by_hash.remove(hash);
            }
        }
    }

    /// Who will compute the chain's whole block `index`.
    pub(crate) fn leader(&self, chain: &TokenChain, index: usize) -> Option<SequenceId> {
        self.by_hash.get(chain.hashes().get(index)?).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    pub(crate) fn leaders(&self) -> impl Iterator<Item = SequenceId> + '_ {
        self.by_hash.values().copied()
    }
}

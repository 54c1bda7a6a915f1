//! What blocks hold, and how to find it: a whole block by its hash, a part of one by its parent and first token.
//!
//! It does not know who holds a block; the manager tells it what was written and what was given up.

use rustc_hash::FxHashMap;

use crate::chain::{BlockHash, TokenChain};
use crate::ids::{BlockId, TokenId};

const NONE: u32 = u32::MAX;

/// Siblings compared at most when looking for the longest partial match, newest first.
const MAX_SIBLINGS: usize = 16;

#[derive(Debug, Clone, Copy)]
struct Entry {
    parent: BlockHash,
    /// Tokens known in the block; 0 when it is not indexed.
    filled: u32,
    /// Set when the block is whole.
    hash: Option<BlockHash>,
    /// The step that last wrote to it.
    written_in: u64,
    /// Neighbours among the blocks of the same parent and first token.
    newer: u32,
    older: u32,
}

#[derive(Debug)]
pub(crate) struct PrefixCache {
    block_size: usize,
    entries: Vec<Entry>,
    /// `num_blocks × block_size`, allocated once.
    tokens: Vec<TokenId>,
    whole: FxHashMap<BlockHash, BlockId>,
    /// Newest block by (parent, first token).
    siblings: FxHashMap<(BlockHash, TokenId), BlockId>,
}

impl PrefixCache {
    pub(crate) fn new(num_blocks: usize, block_size: usize) -> Self {
        let empty = Entry { parent: BlockHash(0), filled: 0, hash: None, written_in: 0, newer: NONE, older: NONE };
        Self {
            block_size,
            entries: vec![empty; num_blocks],
            tokens: vec![TokenId(0); num_blocks * block_size],
            whole: FxHashMap::default(),
            siblings: FxHashMap::default(),
        }
    }

    fn held_tokens(&self, id: BlockId) -> &[TokenId] {
        let first = id.index() * self.block_size;
        &self.tokens[first..first + self.entries[id.index()].filled as usize]
    }

    /// The block that holds exactly the chain's whole block `index`; tokens are compared, not only hashes.
    pub(crate) fn find_whole(&self, chain: &TokenChain, index: usize) -> Option<BlockId> {
        let id = *self.whole.get(chain.hashes().get(index)?)?;
        let wanted = &chain.tokens()[index * self.block_size..(index + 1) * self.block_size];
        (self.held_tokens(id) == wanted).then_some(id)
    }

    /// The block under `parent` with the longest match of `tokens`, written before step `step`.
    pub(crate) fn find_part(&self, parent: BlockHash, tokens: &[TokenId], step: u64) -> Option<(BlockId, usize)> {
        let mut id = self.siblings.get(&(parent, *tokens.first()?)).map_or(NONE, |id| id.0);
        let mut best = None;
        for _ in 0..MAX_SIBLINGS {
            if id == NONE {
                break;
            }
            let entry = &self.entries[id as usize];
            if entry.written_in < step {
                let held = self.held_tokens(BlockId(id));
                let matched = held.iter().zip(tokens).take_while(|(held, wanted)| held == wanted).count();
                if best.is_none_or(|(_, longest)| matched > longest) {
                    best = Some((BlockId(id), matched));
                }
            }
            id = entry.older;
        }
        best
    }

    /// Whether the block's content can be found.
    pub(crate) fn is_indexed(&self, id: BlockId) -> bool {
        self.entries[id.index()].filled > 0
    }

    /// Tokens known in the block.
    pub(crate) fn filled(&self, id: BlockId) -> usize {
        self.entries[id.index()].filled as usize
    }

    pub(crate) fn written_in(&self, id: BlockId) -> u64 {
        self.entries[id.index()].written_in
    }

    /// Learns that the chain's block `index` lies in `id` up to token `filled` of the block.
    /// Returns whether the block is indexed; a second copy of a whole block is not.
    pub(crate) fn learn(&mut self, id: BlockId, chain: &TokenChain, index: usize, filled: usize, step: u64) -> bool {
        let first = index * self.block_size;
        let known = self.filled(id);
        if filled == self.block_size {
            let hash = chain.hashes()[index];
            if self.whole.get(&hash).is_some_and(|&other| other != id) {
                self.forget(id);
                return false;
            }
            self.whole.insert(hash, id);
            self.entries[id.index()].hash = Some(hash);
        }
        let slot = id.index() * self.block_size;
        self.tokens[slot + known..slot + filled].copy_from_slice(&chain.tokens()[first + known..first + filled]);
        let entry = &mut self.entries[id.index()];
        entry.written_in = step;
        entry.filled = u32::try_from(filled).expect("blocks are small");
        if known == 0 {
            entry.parent = chain.parent(index);
            self.link(id, chain.tokens()[first]);
        }
        true
    }

    /// Forgets what the block holds.
    pub(crate) fn forget(&mut self, id: BlockId) {
        if !self.is_indexed(id) {
            return;
        }
        self.unlink(id);
        let entry = &mut self.entries[id.index()];
        entry.filled = 0;
        if let Some(hash) = entry.hash.take() {
            self.whole.remove(&hash);
        }
    }

    fn link(&mut self, id: BlockId, first: TokenId) {
        let key = (self.entries[id.index()].parent, first);
        let older = self.siblings.insert(key, id).map_or(NONE, |older| older.0);
        if older != NONE {
            self.entries[older as usize].newer = id.0;
        }
        let entry = &mut self.entries[id.index()];
        (entry.newer, entry.older) = (NONE, older);
    }

    fn unlink(&mut self, id: BlockId) {
        let Entry { parent, newer, older, .. } = self.entries[id.index()];
        if older != NONE {
            self.entries[older as usize].newer = newer;
        }
        if newer != NONE {
            self.entries[newer as usize].older = older;
            return;
        }
        let key = (parent, self.held_tokens(id)[0]);
        if older == NONE {
            self.siblings.remove(&key);
        } else {
            self.siblings.insert(key, BlockId(older));
        }
    }

    pub(crate) fn assert_invariants(&self) {
        for (hash, id) in &self.whole {
            let entry = &self.entries[id.index()];
            assert_eq!(entry.hash.as_ref(), Some(hash), "block {} is found under its own hash", id.0);
            assert_eq!(entry.filled as usize, self.block_size, "a hashed block is whole");
        }
        let mut listed = 0;
        for (&(parent, first), id) in &self.siblings {
            let (mut id, mut newer) = (id.0, NONE);
            while id != NONE {
                let entry = &self.entries[id as usize];
                assert_eq!((entry.parent, entry.newer), (parent, newer), "block {id} is linked to its siblings");
                assert_eq!(self.held_tokens(BlockId(id)).first(), Some(&first), "block {id} begins with its key");
                (newer, id) = (id, entry.older);
                listed += 1;
            }
        }
        let indexed = self.entries.iter().filter(|entry| entry.filled > 0).count();
        assert_eq!(listed, indexed, "every indexed block is among its siblings");
    }
}

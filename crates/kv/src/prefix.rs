//! What blocks hold, and how to find it: a whole block by its hash, a part of one by its place among its siblings.
//!
//! It does not know who holds a block; the manager tells it what was written and what was given up.

use rustc_hash::FxHashMap;

use crate::chain::{BlockHash, TokenChain};
use crate::ids::{BlockId, TokenId};

#[derive(Debug, Clone, Copy)]
struct Entry {
    parent: BlockHash,
    /// Tokens known in the block; 0 when it is not indexed.
    filled: u32,
    /// Set when the block is whole.
    hash: Option<BlockHash>,
    /// The step that last wrote to it.
    written_in: u64,
    /// Tokens known in the block before that step.
    before: u32,
}

#[derive(Debug)]
pub(crate) struct PrefixCache {
    block_size: usize,
    entries: Vec<Entry>,
    /// `num_blocks × block_size`, allocated once.
    tokens: Vec<TokenId>,
    whole: FxHashMap<BlockHash, BlockId>,
    /// Blocks by parent, in the order of their tokens: the longest match of any tokens stands next to their own place.
    siblings: FxHashMap<BlockHash, Vec<BlockId>>,
}

impl PrefixCache {
    pub(crate) fn new(num_blocks: usize, block_size: usize) -> Self {
        let empty = Entry { parent: BlockHash(0), filled: 0, hash: None, written_in: 0, before: 0 };
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
        let siblings = self.siblings.get(&parent)?;
        let place = siblings.partition_point(|&id| self.held_tokens(id) <= tokens);
        let is_written = |id: &&BlockId| self.entries[id.index()].written_in < step;
        let with_match = |&id: &BlockId| {
            let pairs = self.held_tokens(id).iter().zip(tokens);
            (id, pairs.take_while(|(held, wanted)| held == wanted).count())
        };
        // Farther away on either side only less matches. Of two equal ones, the one before may be continued in place.
        let before = siblings[..place].iter().rev().find(is_written).map(with_match);
        let after = siblings[place..].iter().find(is_written).map(with_match);
        after.into_iter().chain(before).max_by_key(|&(_, matched)| matched).filter(|&(_, matched)| matched > 0)
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
        let place = (known > 0).then(|| self.place(id));
        let slot = id.index() * self.block_size;
        self.tokens[slot + known..slot + filled].copy_from_slice(&chain.tokens()[first + known..first + filled]);
        let entry = &mut self.entries[id.index()];
        if entry.written_in != step || known == 0 {
            entry.before = entry.filled;
        }
        entry.written_in = step;
        entry.filled = u32::try_from(filled).expect("blocks are small");
        match place {
            None => {
                entry.parent = chain.parent(index);
                self.link(id);
            }
            Some(place) => self.move_up(id, place),
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

    /// Forgets what step `step`, the latest, wrote to the block; what it held before can still be found.
    pub(crate) fn take_back(&mut self, id: BlockId, step: u64) {
        let Entry { written_in, before, .. } = self.entries[id.index()];
        if written_in != step {
            return;
        }
        if before == 0 {
            return self.forget(id);
        }
        self.unlink(id);
        let entry = &mut self.entries[id.index()];
        entry.filled = before;
        // Of the steps that wrote before nothing is known but that they were earlier.
        entry.written_in = step - 1;
        if let Some(hash) = entry.hash.take() {
            self.whole.remove(&hash);
        }
        self.link(id);
    }

    /// What siblings are ordered by; equal parts of blocks are ordered by their ids.
    fn key(&self, id: BlockId) -> (&[TokenId], BlockId) {
        (self.held_tokens(id), id)
    }

    /// Where an indexed block stands among its siblings.
    fn place(&self, id: BlockId) -> usize {
        let siblings = &self.siblings[&self.entries[id.index()].parent];
        match siblings.len() {
            1 => 0,
            _ => siblings.binary_search_by(|&other| self.key(other).cmp(&self.key(id))).expect("it is listed"),
        }
    }

    fn link(&mut self, id: BlockId) {
        let parent = self.entries[id.index()].parent;
        let place = self
            .siblings
            .get(&parent)
            .map_or(0, |siblings| siblings.partition_point(|&other| self.key(other) < self.key(id)));
        self.siblings.entry(parent).or_default().insert(place, id);
    }

    /// Restores the order around a block at `place` that grew: those that it now comes after stood behind it.
    fn move_up(&mut self, id: BlockId, place: usize) {
        let parent = self.entries[id.index()].parent;
        let behind = &self.siblings[&parent][place + 1..];
        let passed = behind.iter().take_while(|&&other| self.key(other) < self.key(id)).count();
        if passed > 0 {
            let siblings = self.siblings.get_mut(&parent).expect("it has siblings");
            siblings[place..=place + passed].rotate_left(1);
        }
    }

    fn unlink(&mut self, id: BlockId) {
        let place = self.place(id);
        let parent = self.entries[id.index()].parent;
        let siblings = self.siblings.get_mut(&parent).expect("it is listed");
        siblings.remove(place);
        if siblings.is_empty() {
            self.siblings.remove(&parent);
        }
    }

    pub(crate) fn assert_invariants(&self) {
        for (hash, id) in &self.whole {
            let entry = &self.entries[id.index()];
            assert_eq!(entry.hash.as_ref(), Some(hash), "block {} is found under its own hash", id.0);
            assert_eq!(entry.filled as usize, self.block_size, "a hashed block is whole");
        }
        for (&parent, siblings) in &self.siblings {
            assert!(siblings.is_sorted_by_key(|&id| self.key(id)), "siblings are in the order of their tokens");
            for id in siblings {
                assert!(self.is_indexed(*id), "block {} is listed and indexed", id.0);
                assert_eq!(self.entries[id.index()].parent, parent, "block {} is listed under its parent", id.0);
            }
        }
        let listed: usize = self.siblings.values().map(Vec::len).sum();
        let indexed = self.entries.iter().filter(|entry| entry.filled > 0).count();
        assert_eq!(listed, indexed, "every indexed block is among its siblings");
    }
}

//! Pool and prefix cache together: what a sequence can reuse, what it is given, what is written where.
//!
//! ```text
//! tokens      [ cached prefix ········ | to compute now | later ]
//! blocks      [ b4 ][ b9 ][ b2 (part) ]
//!               │     │     └ longest partial match: shared, then copied on the first write
//!               └─────┴ whole blocks: shared
//! ```

use rustc_hash::FxHashMap;

use crate::chain::{BlockHasher, TokenChain};
use crate::ids::{BlockId, Salt};
use crate::pool::{BlockPool, BlockRef, Evicted, PartitionId, Retention};
use crate::prefix::PrefixCache;
use crate::table::{BlockTable, RetentionPlan};

/// The largest block, in tokens.
const MAX_BLOCK_SIZE: usize = 1024;

/// Size and shares of the cache.
#[derive(Debug, Clone)]
pub struct KvCacheConfig {
    /// Blocks in all.
    pub num_blocks: usize,
    /// Tokens a block holds.
    pub block_size: usize,
    /// Secret of the block hashes.
    pub hash_key: [u8; 16],
    /// Blocks set apart for a salt; the rest is the commons of all other salts.
    pub quotas: Vec<(Salt, usize)>,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KvConfigError {
    /// No block at all, or more than ids.
    #[error("num_blocks is {0}, but must be 1 to 2^31")]
    NumBlocks(usize),
    /// A block of no token, or too many.
    #[error("block_size is {0}, but must be 1 to {MAX_BLOCK_SIZE}")]
    BlockSize(usize),
    /// The quotas leave nothing for the commons.
    #[error("the quotas take {quotas} of {total} blocks, but at least one must stay common")]
    Quotas {
        /// Sum of the quotas.
        quotas: usize,
        /// Blocks in all.
        total: usize,
    },
    /// A salt with two quotas, or a quota of no block.
    #[error("a quota is empty or given twice")]
    Quota,
}

/// Slots `0..slots` of `src` are to be copied to `dst`. Copies happen in order, before anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockCopy {
    /// Read from.
    pub src: BlockId,
    /// Written to.
    pub dst: BlockId,
    /// Slots to copy.
    pub slots: u32,
}

/// What of a chain is in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrefixMatch {
    /// Whole blocks, in order.
    pub whole: Vec<BlockId>,
    /// The block that holds the next tokens in part, and how many.
    pub part: Option<(BlockId, usize)>,
    /// Tokens matched in all.
    pub tokens: usize,
}

/// A sequence's first blocks.
#[derive(Debug)]
pub struct Admission {
    /// The table, with room for the cached tokens and those to compute.
    pub table: BlockTable,
    /// Tokens that need not be computed.
    pub cached: usize,
}

/// How full the cache is, in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KvUsage {
    /// Blocks in all.
    pub total: usize,
    /// Blocks that hold nothing.
    pub blank: usize,
    /// Blocks that nobody holds, but that can still hit.
    pub cached: usize,
    /// Blocks in use.
    pub held: usize,
}

/// The bookkeeping of the KV cache.
#[derive(Debug)]
pub struct KvCacheManager {
    block_size: usize,
    num_blocks: usize,
    hasher: BlockHasher,
    pool: BlockPool,
    prefix: PrefixCache,
    partitions: FxHashMap<Salt, PartitionId>,
    /// The step being planned. What was written in earlier steps may be copied from; what is written in this one may
    /// only be shared, since a layer writes before its attention reads, but copies come before both.
    step: u64,
}

impl KvCacheManager {
    /// An empty cache.
    ///
    /// # Errors
    /// [`KvConfigError`] naming what is out of range.
    pub fn new(config: &KvCacheConfig) -> Result<Self, KvConfigError> {
        let &KvCacheConfig { num_blocks, block_size, hash_key, ref quotas } = config;
        if !(1..=1 << 31).contains(&num_blocks) {
            return Err(KvConfigError::NumBlocks(num_blocks));
        }
        if !(1..=MAX_BLOCK_SIZE).contains(&block_size) {
            return Err(KvConfigError::BlockSize(block_size));
        }
        let taken = quotas.iter().fold(0usize, |sum, &(_, blocks)| sum.saturating_add(blocks));
        if taken >= num_blocks {
            return Err(KvConfigError::Quotas { quotas: taken, total: num_blocks });
        }
        let mut budgets = vec![num_blocks - taken];
        let mut partitions = FxHashMap::default();
        for &(salt, blocks) in quotas {
            let id = PartitionId(u16::try_from(budgets.len()).map_err(|_| KvConfigError::Quota)?);
            if blocks == 0 || partitions.insert(salt, id).is_some() {
                return Err(KvConfigError::Quota);
            }
            budgets.push(blocks);
        }
        Ok(Self {
            block_size,
            num_blocks,
            hasher: BlockHasher::new(hash_key, block_size),
            pool: BlockPool::new(&budgets),
            prefix: PrefixCache::new(num_blocks, block_size),
            partitions,
            step: 0,
        })
    }

    /// Tokens a block holds.
    #[must_use]
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// The hasher that chains need.
    #[must_use]
    pub fn hasher(&self) -> BlockHasher {
        self.hasher
    }

    /// The partition that pays for a salt's blocks.
    #[must_use]
    pub fn partition(&self, salt: Salt) -> PartitionId {
        self.partitions.get(&salt).copied().unwrap_or(PartitionId(0))
    }

    /// The most tokens that one sequence of a salt can ever hold.
    #[must_use]
    pub fn max_tokens(&self, salt: Salt) -> usize {
        self.pool.budget(self.partition(salt)) * self.block_size
    }

    /// Blocks a partition can still be given.
    #[must_use]
    pub fn available(&self, partition: PartitionId) -> usize {
        self.pool.available(partition)
    }

    /// A partition's budget in blocks.
    #[must_use]
    pub fn budget(&self, partition: PartitionId) -> usize {
        self.pool.budget(partition)
    }

    /// How full the cache is.
    #[must_use]
    pub fn usage(&self) -> KvUsage {
        let (blank, cached, held) = self.pool.counts();
        KvUsage { total: self.num_blocks, blank, cached, held }
    }

    /// Begins planning a step and returns its number.
    pub fn begin_step(&mut self) -> u64 {
        self.step += 1;
        self.step
    }

    /// Whole blocks of a match that somebody holds, so that sharing them costs nothing.
    #[must_use]
    pub fn held_blocks(&self, found: &PrefixMatch) -> usize {
        found.whole.iter().filter(|&&id| self.pool.ref_count(id) > 0).count()
    }

    /// How many of `tables`, in order, must be dropped before `blocks` more can be given than now, when the blocks in
    /// `kept` stay shared; `None` when all of them do not suffice. Changes nothing.
    #[must_use]
    pub fn tables_to_drop<'a>(
        &self,
        tables: impl Iterator<Item = &'a BlockTable>,
        kept: &[BlockId],
        blocks: usize,
    ) -> Option<usize> {
        let mut left: FxHashMap<BlockId, u32> = kept.iter().map(|&id| (id, u32::MAX)).collect();
        let mut freed = 0;
        for (index, table) in tables.enumerate() {
            for &id in table.blocks() {
                let left = left.entry(id).or_insert_with(|| self.pool.ref_count(id));
                *left -= 1;
                freed += usize::from(*left == 0);
            }
            if freed >= blocks {
                return Some(index + 1);
            }
        }
        None
    }

    /// What of the chain's first `limit` tokens is cached. Changes nothing. Whole blocks are always found, and of the
    /// blocks that match in part and were written in earlier steps, one with the longest match.
    #[must_use]
    pub fn find_prefix(&self, chain: &TokenChain, limit: usize) -> PrefixMatch {
        let mut found = PrefixMatch::default();
        while (found.whole.len() + 1) * self.block_size <= limit {
            match self.prefix.find_whole(chain, found.whole.len()) {
                Some(id) => found.whole.push(id),
                None => break,
            }
        }
        found.tokens = found.whole.len() * self.block_size;
        let end = limit.min(found.tokens + self.block_size).min(chain.tokens().len());
        if found.tokens < end {
            let parent = chain.parent(found.whole.len());
            found.part = self.prefix.find_part(parent, &chain.tokens()[found.tokens..end], self.step);
            found.tokens += found.part.map_or(0, |(_, tokens)| tokens);
        }
        found
    }

    /// Gives a sequence its cached prefix and room for the next `count` tokens; `None` when they do not fit now.
    /// A partial match is given up when only the copy does not fit.
    #[must_use]
    pub fn admit(
        &mut self,
        chain: &TokenChain,
        found: &PrefixMatch,
        count: usize,
        retention: RetentionPlan,
        copies: &mut Vec<BlockCopy>,
    ) -> Option<Admission> {
        let partition = self.partition(chain.salt());
        let whole_tokens = found.whole.len() * self.block_size;
        let revived = found.whole.iter().filter(|&&id| self.pool.ref_count(id) == 0).count();
        let available = self.pool.available(partition).checked_sub(revived)?;
        let blocks_for = |tokens: usize| tokens.div_ceil(self.block_size) - found.whole.len();
        let in_place = |id: BlockId, tokens| self.pool.ref_count(id) == 0 && self.prefix.filled(id) <= tokens;
        let part = found.part.filter(|&(id, tokens)| {
            // The source is held while it is copied from, unless it is continued in place.
            let source = usize::from(self.pool.ref_count(id) == 0 && !in_place(id, tokens));
            blocks_for(whole_tokens + tokens + count) + source <= available
        });
        let cached = whole_tokens + part.map_or(0, |(_, tokens)| tokens);
        if blocks_for(cached + count) > available {
            return None;
        }
        let share = |(index, &id): (usize, &BlockId)| self.pool.share(id, retention.class_at(index * self.block_size));
        let mut blocks: Vec<BlockRef> = found.whole.iter().enumerate().map(share).collect();
        if let Some((id, tokens)) = part {
            // What is only copied from keeps its own class: the reader's is that of the copy.
            let continued = in_place(id, tokens);
            let class = if continued { retention.class_at(whole_tokens) } else { Retention::Conversation };
            blocks.push(self.pool.share(id, class));
        }
        let mut table = BlockTable::new(blocks, cached, whole_tokens, partition, retention);
        self.reserve(&mut table, cached + count, copies).expect("room was checked");
        Some(Admission { table, cached })
    }

    /// A second table over the first `len` tokens of `parent`; the first write to a shared tail copies it.
    #[must_use]
    pub fn fork(&mut self, parent: &BlockTable, len: usize) -> BlockTable {
        assert!(len <= parent.len, "a fork is no longer than its parent");
        let held = &parent.blocks()[..len.div_ceil(self.block_size)];
        let blocks = held
            .iter()
            .enumerate()
            .map(|(index, &id)| self.pool.share(id, parent.retention.class_at(index * self.block_size)))
            .collect();
        let committed = len - len % self.block_size;
        BlockTable::new(blocks, len, committed, parent.partition, parent.retention)
    }

    /// Makes room for the tokens up to `len`, copying a shared tail first; `None` when that does not fit now.
    #[must_use]
    pub fn reserve(&mut self, table: &mut BlockTable, len: usize, copies: &mut Vec<BlockCopy>) -> Option<()> {
        assert!(len >= table.len, "room is never taken back");
        let copy_tail = len > table.len && !self.tail_is_writable(table);
        let new_blocks = len.div_ceil(self.block_size) - table.blocks().len();
        if new_blocks + usize::from(copy_tail) > self.pool.available(table.partition) {
            return None;
        }
        if copy_tail {
            let shared = table.pop().expect("a shared tail exists");
            let own = self.allocate(table);
            let slots = u32::try_from(table.len % self.block_size).expect("blocks are small");
            copies.push(BlockCopy { src: shared.id(), dst: own.id(), slots });
            table.push(own);
        }
        for _ in 0..new_blocks {
            let block = self.allocate(table);
            table.push(block);
        }
        table.len = len;
        Some(())
    }

    /// Whether the next token may be written into the table's last block: nobody else holds it, and nothing that
    /// another might look for lies behind the table's own tokens.
    fn tail_is_writable(&self, table: &BlockTable) -> bool {
        let offset = table.len % self.block_size;
        let Some(&tail) = table.blocks().last().filter(|_| offset > 0) else { return true };
        self.pool.ref_count(tail) == 1 && self.prefix.filled(tail) <= offset
    }

    fn allocate(&mut self, table: &BlockTable) -> BlockRef {
        let class = table.retention.class_at(table.blocks().len() * self.block_size);
        let (block, evicted) = self.pool.allocate(table.partition, class).expect("room was checked");
        if let Some(Evicted(id)) = evicted {
            self.prefix.forget(id);
        }
        block
    }

    /// Learns that the chain's first `len` tokens are in the table's blocks, or will be once this step ran.
    pub fn commit(&mut self, table: &mut BlockTable, chain: &TokenChain, len: usize) {
        assert!(len <= table.len && len <= chain.tokens().len(), "only known tokens with a slot are committed");
        while table.committed < len {
            let index = table.committed / self.block_size;
            let end = len.min((index + 1) * self.block_size);
            let id = table.blocks()[index];
            let indexed = self.prefix.learn(id, chain, index, end - index * self.block_size, self.step);
            self.pool.set_findable(id, indexed);
            table.committed = end;
        }
    }

    /// Forgets the content of every block that step `since` or a later one wrote: those steps failed.
    pub fn invalidate(&mut self, since: u64) {
        for index in 0..self.num_blocks {
            let id = BlockId(u32::try_from(index).expect("block ids are 32-bit"));
            if self.prefix.is_indexed(id) && self.prefix.written_in(id) >= since {
                self.prefix.forget(id);
                self.pool.set_findable(id, false);
            }
        }
    }

    /// Forgets what step `step`, the latest one, was to write: it did not run, and nobody holds its blocks any more. What
    /// the blocks held before it is still found.
    pub fn take_back(&mut self, step: u64) {
        for index in 0..self.num_blocks {
            let id = BlockId(u32::try_from(index).expect("block ids are 32-bit"));
            if self.prefix.is_indexed(id) {
                self.prefix.take_back(id, step);
                self.pool.set_findable(id, self.prefix.is_indexed(id));
            }
        }
    }

    /// A partition's cached blocks in the order in which they would be evicted.
    #[must_use]
    pub fn eviction_order(&self, partition: PartitionId) -> Vec<BlockId> {
        self.pool.eviction_order(partition)
    }

    /// Panics when the books do not balance.
    pub fn assert_invariants(&self) {
        self.pool.assert_invariants();
        self.prefix.assert_invariants();
        for index in 0..self.num_blocks {
            let id = BlockId(u32::try_from(index).expect("block ids are 32-bit"));
            assert_eq!(
                self.prefix.is_indexed(id),
                self.pool.is_findable(id),
                "block {index} is found if it is indexed"
            );
        }
    }
}

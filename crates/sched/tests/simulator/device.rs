//! A device that computes nothing but remembers exactly: a slot holds the hash of the prefix that its token ends.

use std::collections::HashMap;

use sconce_kv::TokenId;
use sconce_sched::{PlanToken, Sampled, SequenceId, StepPlan};

/// Mixes 64 bits (splitmix64's finalizer).
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The hash of a prefix extended by a token.
pub(crate) fn extend(prefix: u64, token: TokenId) -> u64 {
    mix(prefix.wrapping_mul(31).wrapping_add(u64::from(token.0)).wrapping_add(1))
}

/// The token that every model row samples after a prefix; token 0 ends a sequence.
pub(crate) fn next_token(prefix: u64) -> TokenId {
    TokenId((mix(prefix ^ 0x5eed) % 13) as u32)
}

/// Slots, and the last token that each sequence sampled.
pub(crate) struct Device {
    block_size: usize,
    slots: Vec<u64>,
    last: HashMap<SequenceId, TokenId>,
    /// Prefix hashes per sequence as written by its own rows and found in its first row's blocks.
    roots: HashMap<SequenceId, u64>,
}

impl Device {
    pub(crate) fn new(num_blocks: usize, block_size: usize) -> Self {
        Self { block_size, slots: vec![0; num_blocks * block_size], last: HashMap::new(), roots: HashMap::new() }
    }

    /// The hash before a sequence's first token, different per salt.
    pub(crate) fn register(&mut self, id: SequenceId, root: u64) {
        self.roots.insert(id, root);
    }

    /// Runs a step as a real one does: copies in order, then all writes, then all reads.
    /// `history` gives a sequence's tokens as its client knows them, those in flight excluded.
    pub(crate) fn run(
        &mut self,
        plan: &StepPlan,
        history: &dyn Fn(SequenceId) -> Option<Vec<TokenId>>,
    ) -> Vec<Sampled> {
        for copy in &plan.copies {
            for slot in 0..copy.slots as usize {
                let value = self.slots[copy.src.index() * self.block_size + slot];
                self.slots[copy.dst.index() * self.block_size + slot] = value;
            }
        }
        let mut expected = Vec::new();
        for row in &plan.rows {
            let mut tokens = history(row.sequence).unwrap_or_default();
            let inputs = &plan.tokens[row.tokens.clone()];
            for (offset, input) in inputs.iter().enumerate() {
                let position = row.first_position + offset;
                match input {
                    PlanToken::Known(token) => assert_eq!(tokens.get(position), Some(token), "a known token is right"),
                    PlanToken::Pending => {
                        assert!(position >= tokens.len(), "a known token is never a placeholder");
                        tokens.truncate(position);
                        tokens.push(self.last[&row.sequence]);
                    }
                }
            }
            let mut prefix = self.roots[&row.sequence];
            let end = row.first_position + inputs.len();
            let hashes: Vec<u64> = tokens[..end]
                .iter()
                .map(|&token| {
                    prefix = extend(prefix, token);
                    prefix
                })
                .collect();
            for (position, &hash) in hashes.iter().enumerate().skip(row.first_position) {
                let slot = self.slot(plan, row, position);
                self.slots[slot] = hash;
            }
            expected.push(hashes);
        }
        for (row, hashes) in plan.rows.iter().zip(&expected) {
            for (position, hash) in hashes.iter().enumerate() {
                let slot = self.slot(plan, row, position);
                assert_eq!(self.slots[slot], *hash, "{:?} reads its own prefix at {position}", row.sequence);
            }
        }
        let rows = plan.rows.iter().zip(&expected).filter(|(row, _)| row.samples);
        rows.map(|(row, hashes)| {
            let token = next_token(*hashes.last().expect("a row has a token"));
            self.last.insert(row.sequence, token);
            Sampled::Token(token)
        })
        .collect()
    }

    /// A failed step leaves anything at all in the slots that it was to write.
    pub(crate) fn spoil(&mut self, plan: &StepPlan) {
        for copy in &plan.copies {
            let first = copy.dst.index() * self.block_size;
            self.slots[first..first + copy.slots as usize].fill(u64::MAX);
        }
        for row in &plan.rows {
            for position in row.first_position..row.first_position + row.tokens.len() {
                let slot = self.slot(plan, row, position);
                self.slots[slot] = u64::MAX;
            }
        }
    }

    fn slot(&self, plan: &StepPlan, row: &sconce_sched::PlanRow, position: usize) -> usize {
        let block = plan.blocks[row.blocks.clone()][position / self.block_size];
        block.index() * self.block_size + position % self.block_size
    }
}

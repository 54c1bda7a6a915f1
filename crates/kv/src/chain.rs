//! A sequence's tokens and the hashes of its whole blocks. A block's hash covers its parent's, so one hash names a whole prefix.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use crate::ids::{Salt, TokenId};

/// Names a prefix that ends at a block's end: the keyed hash of the parent's hash and the block's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash(pub u128);

/// Hashes blocks with a secret key (SipHash-1-3, 128 bits), so that a client cannot craft two prefixes of one hash.
#[derive(Debug, Clone, Copy)]
pub struct BlockHasher {
    key: [u8; 16],
    block_size: usize,
}

impl BlockHasher {
    pub(crate) fn new(key: [u8; 16], block_size: usize) -> Self {
        Self { key, block_size }
    }

    /// The parent of a salt's first blocks.
    #[must_use]
    pub fn root(&self, salt: Salt) -> BlockHash {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u128(salt.0);
        BlockHash(hasher.finish128().as_u128())
    }

    fn child(&self, parent: BlockHash, tokens: &[TokenId]) -> BlockHash {
        debug_assert_eq!(tokens.len(), self.block_size);
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u128(parent.0);
        for pair in tokens.chunks(2) {
            let high = pair.get(1).map_or(u64::MAX, |token| u64::from(token.0));
            hasher.write_u64(u64::from(pair[0].0) | high << 32);
        }
        BlockHash(hasher.finish128().as_u128())
    }
}

/// Tokens with the hashes of their whole blocks, extended one token at a time.
#[derive(Debug, Clone)]
pub struct TokenChain {
    hasher: BlockHasher,
    salt: Salt,
    root: BlockHash,
    tokens: Vec<TokenId>,
    hashes: Vec<BlockHash>,
}

impl TokenChain {
    /// A chain over `tokens` within `salt`.
    #[must_use]
    pub fn new(hasher: BlockHasher, salt: Salt, tokens: Vec<TokenId>) -> Self {
        let root = hasher.root(salt);
        let mut chain = Self { hasher, salt, root, tokens, hashes: Vec::new() };
        chain.extend_hashes();
        chain
    }

    /// Appends a token.
    pub fn push(&mut self, token: TokenId) {
        self.tokens.push(token);
        self.extend_hashes();
    }

    fn extend_hashes(&mut self) {
        let size = self.hasher.block_size;
        while (self.hashes.len() + 1) * size <= self.tokens.len() {
            let index = self.hashes.len();
            let block = &self.tokens[index * size..(index + 1) * size];
            self.hashes.push(self.hasher.child(self.parent(index), block));
        }
    }

    /// The tenant's salt.
    #[must_use]
    pub fn salt(&self) -> Salt {
        self.salt
    }

    /// All tokens.
    #[must_use]
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// Hashes of the whole blocks, in order.
    #[must_use]
    pub fn hashes(&self) -> &[BlockHash] {
        &self.hashes
    }

    /// The hash that block `index` hangs from.
    #[must_use]
    pub fn parent(&self, index: usize) -> BlockHash {
        if index == 0 { self.root } else { self.hashes[index - 1] }
    }
}

//! The paged KV cache as bookkeeping: which block holds which tokens, who holds it, and what goes first when space runs out.
//!
//! ```text
//! KvCacheManager          admit · reserve · commit · fork · invalidate · take_back
//!  ├─ BlockPool           reference counts, blank blocks, one eviction order per partition and retention class
//!  └─ PrefixCache         (parent hash, tokens) → block; whole blocks by hash, parts by the order of tokens
//! BlockTable              a sequence's blocks, in order; dropping it gives them back
//! TokenChain              a sequence's tokens and the hashes of its whole blocks
//! ```
//!
//! Invariants, checked by [`KvCacheManager::assert_invariants`]:
//! - blank + cached + held = total; a block is in exactly one of the three.
//! - A block is held if and only if its reference count is above zero.
//! - No partition owns (holds or caches) more blocks than its budget, and the budgets add up to the total,
//!   so a partition below its budget always finds a blank block and never evicts another's.
//! - An indexed block's tokens are those that were, or in the step being planned will be, written to its slots.
//! - Capacity is a value: `None` leaves everything as it was.
//!
//! It knows no tensor, no clock, no thread and no I/O. A broken invariant is a panic.

mod chain;
mod ids;
mod manager;
mod pool;
mod prefix;
mod table;

pub use chain::{BlockHash, BlockHasher, TokenChain};
pub use ids::{BlockId, Salt, TokenId};
pub use manager::{Admission, BlockCopy, KvCacheConfig, KvCacheManager, KvConfigError, KvUsage, PrefixMatch};
pub use pool::{BlockPool, BlockRef, Evicted, PartitionId, Retention};
pub use table::{BlockTable, RetentionPlan};

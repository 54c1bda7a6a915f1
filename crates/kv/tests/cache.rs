//! What the cache keeps, finds, shares and gives up, on small pools where every block can be named.

use sconce_kv::{
    Admission, BlockCopy, BlockId, KvCacheConfig, KvCacheManager, KvConfigError, PartitionId, RetentionPlan, Salt,
    TokenChain, TokenId,
};

const BLOCK: usize = 4;
const COMMONS: PartitionId = PartitionId(0);

fn cache(num_blocks: usize, quotas: &[(Salt, usize)]) -> KvCacheManager {
    let quotas = quotas.to_vec();
    KvCacheManager::new(&KvCacheConfig { num_blocks, block_size: BLOCK, hash_key: [3; 16], quotas }).expect("in range")
}

fn chain(kv: &KvCacheManager, salt: u128, tokens: &[u32]) -> TokenChain {
    TokenChain::new(kv.hasher(), Salt(salt), tokens.iter().map(|&token| TokenId(token)).collect())
}

fn numbers(range: std::ops::Range<u32>) -> Vec<u32> {
    range.collect()
}

/// Admits a chain, computes all of it in one step and returns what was admitted and copied.
fn compute(
    kv: &mut KvCacheManager,
    chain: &TokenChain,
    retention: RetentionPlan,
) -> Option<(Admission, Vec<BlockCopy>)> {
    kv.begin_step();
    let mut copies = Vec::new();
    let found = kv.find_prefix(chain, chain.tokens().len() - 1);
    let count = chain.tokens().len() - found.tokens;
    let mut admission = kv.admit(chain, &found, count, retention, &mut copies)?;
    // Without room for a copy, a partial match is given up and more is to compute.
    kv.reserve(&mut admission.table, chain.tokens().len(), &mut copies)?;
    kv.commit(&mut admission.table, chain, chain.tokens().len());
    kv.assert_invariants();
    Some((admission, copies))
}

fn ids(table: &sconce_kv::BlockTable) -> Vec<u32> {
    table.blocks().iter().map(|block| block.0).collect()
}

#[test]
fn a_released_prefix_is_found_again_up_to_the_last_token_but_one() {
    let mut kv = cache(8, &[]);
    let first = chain(&kv, 0, &numbers(0..10));
    let (admission, _) = compute(&mut kv, &first, RetentionPlan::default()).expect("room");
    assert_eq!((admission.cached, ids(&admission.table)), (0, vec![0, 1, 2]));
    drop(admission);
    kv.begin_step();
    let again = kv.find_prefix(&first, 9);
    assert_eq!(again.whole, [BlockId(0), BlockId(1)]);
    assert_eq!((again.part, again.tokens), (Some((BlockId(2), 1)), 9));
}

#[test]
fn a_partly_matching_block_is_copied_up_to_the_match() {
    let mut kv = cache(8, &[]);
    let first = chain(&kv, 0, &numbers(0..8));
    let (held, _) = compute(&mut kv, &first, RetentionPlan::default()).expect("room");
    let other = chain(&kv, 0, &[0, 1, 2, 3, 4, 5, 60, 70]);
    let (admission, copies) = compute(&mut kv, &other, RetentionPlan::default()).expect("room");
    assert_eq!(admission.cached, 6);
    assert_eq!(copies, [BlockCopy { src: BlockId(1), dst: BlockId(2), slots: 2 }]);
    assert_eq!(ids(&admission.table), [0, 2], "the whole block is shared, the other is its own");
    drop((held, admission));
    kv.assert_invariants();
}

#[test]
fn what_this_step_writes_is_shared_by_block_but_never_copied_from() {
    let mut kv = cache(8, &[]);
    let leader = chain(&kv, 0, &numbers(0..7));
    kv.begin_step();
    let found = kv.find_prefix(&leader, 6);
    let mut table = kv.admit(&leader, &found, 7, RetentionPlan::default(), &mut Vec::new()).expect("room").table;
    kv.commit(&mut table, &leader, 7);
    let follower = chain(&kv, 0, &numbers(0..7));
    let in_step = kv.find_prefix(&follower, 6);
    assert_eq!((in_step.whole.len(), in_step.part), (1, None));
    kv.begin_step();
    assert_eq!(kv.find_prefix(&follower, 6).part, Some((BlockId(1), 2)));
}

#[test]
fn salts_share_nothing() {
    let mut kv = cache(8, &[]);
    let one = chain(&kv, 1, &numbers(0..8));
    drop(compute(&mut kv, &one, RetentionPlan::default()).expect("room"));
    kv.begin_step();
    assert_eq!(kv.find_prefix(&chain(&kv, 2, &numbers(0..8)), 7).tokens, 0);
    assert_eq!(kv.find_prefix(&chain(&kv, 1, &numbers(0..8)), 7).tokens, 7);
}

#[test]
fn conversation_goes_before_documents_and_leaves_before_prefixes() {
    let mut kv = cache(6, &[]);
    let document = RetentionPlan { document_tokens: 4, pinned: false };
    let pinned = RetentionPlan { document_tokens: 4, pinned: true };
    for (salt, retention) in [(1, pinned), (2, document), (3, RetentionPlan::default())] {
        let chain = chain(&kv, salt, &numbers(0..8));
        drop(compute(&mut kv, &chain, retention).expect("room"));
    }
    // Blocks 0 and 1 are the pinned chain's, 2 and 3 the document chain's, 4 and 5 the conversation's; each chain's
    // second block lies behind its document tokens.
    let order: Vec<u32> = kv.eviction_order(COMMONS).iter().map(|block| block.0).collect();
    assert_eq!(order, [1, 3, 5, 4, 2, 0]);
}

#[test]
fn a_block_that_is_only_copied_from_keeps_its_class() {
    let mut kv = cache(8, &[]);
    let talk = chain(&kv, 0, &numbers(0..8));
    drop(compute(&mut kv, &talk, RetentionPlan::default()).expect("room"));
    let document = RetentionPlan { document_tokens: 4, pinned: false };
    let other = chain(&kv, 5, &numbers(0..4));
    drop(compute(&mut kv, &other, document).expect("room"));
    let pinned = RetentionPlan { document_tokens: 8, pinned: true };
    let reader = chain(&kv, 0, &[0, 1, 2, 3, 4, 5, 60, 70]);
    let (admission, copies) = compute(&mut kv, &reader, pinned).expect("room");
    assert_eq!(copies, [BlockCopy { src: BlockId(1), dst: BlockId(3), slots: 2 }]);
    drop(admission);
    // The shared whole block 0 is pinned with its reader; block 1, of which a part was copied, is still conversation.
    let order: Vec<u32> = kv.eviction_order(COMMONS).iter().map(|block| block.0).collect();
    assert_eq!(order, [1, 2, 3, 0]);
}

#[test]
fn a_quota_is_neither_exceeded_nor_taken_by_others() {
    let mut kv = cache(6, &[(Salt(9), 2)]);
    assert_eq!((kv.max_tokens(Salt(9)), kv.max_tokens(Salt(1))), (2 * BLOCK, 4 * BLOCK));
    let own = chain(&kv, 9, &numbers(0..8));
    drop(compute(&mut kv, &own, RetentionPlan::default()).expect("room"));
    // The commons are flooded several times over.
    for salt in 0..5 {
        let flood = chain(&kv, salt, &numbers(100..116));
        drop(compute(&mut kv, &flood, RetentionPlan::default()).expect("room"));
    }
    kv.begin_step();
    assert_eq!(kv.find_prefix(&own, 7).tokens, 7, "nobody evicts another's");
    let other = chain(&kv, 9, &numbers(50..58));
    let (held, _) = compute(&mut kv, &other, RetentionPlan::default()).expect("its own blocks make room");
    let third = chain(&kv, 9, &numbers(80..81));
    kv.begin_step();
    let before = kv.usage();
    let found = kv.find_prefix(&third, 0);
    assert!(kv.admit(&third, &found, 1, RetentionPlan::default(), &mut Vec::new()).is_none(), "the quota is held");
    assert_eq!(kv.usage(), before, "no capacity leaves everything as it was");
    drop(held);
}

#[test]
fn a_fork_shares_every_block_and_copies_the_tail_on_its_first_write() {
    let mut kv = cache(8, &[]);
    let parent_chain = chain(&kv, 0, &numbers(0..6));
    let (parent, _) = compute(&mut kv, &parent_chain, RetentionPlan::default()).expect("room");
    kv.begin_step();
    let mut fork = kv.fork(&parent.table, 5);
    assert_eq!(ids(&fork), ids(&parent.table));
    let mut copies = Vec::new();
    kv.reserve(&mut fork, 6, &mut copies).expect("room");
    assert_eq!(copies, [BlockCopy { src: BlockId(1), dst: BlockId(2), slots: 1 }]);
    assert_eq!(ids(&fork), [0, 2]);
    drop(parent);
    kv.assert_invariants();
    drop(fork);
    assert_eq!(kv.usage().held, 0);
}

#[test]
fn equal_content_computed_twice_is_indexed_once() {
    let mut kv = cache(8, &[]);
    let twin = chain(&kv, 0, &numbers(0..4));
    kv.begin_step();
    let nothing = sconce_kv::PrefixMatch::default();
    let mut tables: Vec<_> = (0..2)
        .map(|_| kv.admit(&twin, &nothing, 4, RetentionPlan::default(), &mut Vec::new()).expect("room").table)
        .collect();
    for table in &mut tables {
        kv.commit(table, &twin, 4);
        kv.assert_invariants();
    }
    drop(tables);
    assert_eq!((kv.usage().cached, kv.usage().blank), (1, 7));
}

#[test]
fn what_a_failed_step_wrote_is_forgotten_and_earlier_content_is_not() {
    let mut kv = cache(8, &[]);
    let good = chain(&kv, 1, &numbers(0..8));
    drop(compute(&mut kv, &good, RetentionPlan::default()).expect("room"));
    let bad = chain(&kv, 2, &numbers(0..8));
    let (held, _) = compute(&mut kv, &bad, RetentionPlan::default()).expect("room");
    kv.invalidate(2);
    drop(held);
    kv.assert_invariants();
    kv.begin_step();
    assert_eq!((kv.find_prefix(&good, 7).tokens, kv.find_prefix(&bad, 7).tokens), (7, 0));
    assert_eq!(kv.usage().blank, 6);
}

#[test]
fn a_step_that_is_taken_back_leaves_what_its_blocks_held_before() {
    let mut kv = cache(8, &[]);
    let mut growing = chain(&kv, 1, &numbers(0..6));
    let mut table = compute(&mut kv, &growing, RetentionPlan::default()).expect("room").0.table;
    let step = kv.begin_step();
    // The second block becomes whole and a third begins, in two commits of one step.
    for end in [8, 9] {
        (growing.tokens().len() as u32..end).for_each(|token| growing.push(TokenId(token)));
        kv.reserve(&mut table, end as usize, &mut Vec::new()).expect("room");
        kv.commit(&mut table, &growing, end as usize);
    }
    drop(table);
    kv.take_back(step);
    kv.assert_invariants();
    assert_eq!((kv.usage().cached, kv.usage().blank), (2, 6));
    let later = kv.begin_step();
    let found = kv.find_prefix(&growing, 8);
    assert_eq!((found.whole.len(), found.tokens), (1, 6));
    // It goes on where it stood, in the same blocks.
    let mut copies = Vec::new();
    let admission = kv.admit(&growing, &found, 3, RetentionPlan::default(), &mut copies).expect("room");
    let mut table = admission.table;
    kv.commit(&mut table, &growing, 9);
    assert!(copies.is_empty() && table.blocks()[..2] == [BlockId(0), BlockId(1)]);
    drop(table);
    kv.take_back(later);
    kv.assert_invariants();
    assert_eq!(kv.find_prefix(&growing, 8).tokens, 6);
}

#[test]
fn sizes_out_of_range_are_refused_by_name() {
    let refuse = |num_blocks, block_size, quotas: Vec<(Salt, usize)>| {
        KvCacheManager::new(&KvCacheConfig { num_blocks, block_size, hash_key: [0; 16], quotas }).expect_err("refused")
    };
    assert_eq!(refuse(0, 4, vec![]), KvConfigError::NumBlocks(0));
    assert_eq!(refuse(4, 0, vec![]), KvConfigError::BlockSize(0));
    assert_eq!(refuse(4, 4096, vec![]), KvConfigError::BlockSize(4096));
    assert_eq!(refuse(4, 4, vec![(Salt(1), 4)]), KvConfigError::Quotas { quotas: 4, total: 4 });
    assert_eq!(
        refuse(4, 4, vec![(Salt(1), usize::MAX), (Salt(2), 2)]),
        KvConfigError::Quotas { quotas: usize::MAX, total: 4 }
    );
    assert_eq!(refuse(4, 4, vec![(Salt(1), 1), (Salt(1), 1)]), KvConfigError::Quota);
    assert_eq!(refuse(4, 4, vec![(Salt(1), 0)]), KvConfigError::Quota);
}

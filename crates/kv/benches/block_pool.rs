//! What the bookkeeping of blocks costs: allocation and release, eviction, and looking up a long prefix.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sconce_kv::{
    BlockPool, KvCacheConfig, KvCacheManager, PartitionId, Retention, RetentionPlan, Salt, TokenChain, TokenId,
};

const COMMONS: PartitionId = PartitionId(0);

fn allocate_and_release(criterion: &mut Criterion) {
    let pool = BlockPool::new(&[16_384]);
    criterion.bench_function("allocate and release a blank block", |bencher| {
        bencher.iter(|| black_box(pool.allocate(COMMONS, Retention::Conversation)));
    });
    let full: Vec<_> = std::iter::from_fn(|| pool.allocate(COMMONS, Retention::Conversation)).collect();
    full.iter().for_each(|(block, _)| pool.set_findable(block.id(), true));
    drop(full);
    criterion.bench_function("evict, allocate and cache a block", |bencher| {
        bencher.iter(|| {
            let (block, evicted) = pool.allocate(COMMONS, Retention::Conversation).expect("room");
            pool.set_findable(block.id(), true);
            black_box(evicted)
        });
    });
}

fn find_prefix(criterion: &mut Criterion) {
    let config = KvCacheConfig { num_blocks: 1024, block_size: 32, hash_key: [5; 16], quotas: vec![] };
    let mut kv = KvCacheManager::new(&config).expect("in range");
    let tokens: Vec<TokenId> = (0..4096).map(TokenId).collect();
    let chain = TokenChain::new(kv.hasher(), Salt(0), tokens.clone());
    kv.begin_step();
    let nothing = kv.find_prefix(&chain, 4095);
    let admission = kv.admit(&chain, &nothing, 4096, RetentionPlan::default(), &mut Vec::new());
    let mut table = admission.expect("room").table;
    kv.commit(&mut table, &chain, 4096);
    kv.begin_step();
    criterion.bench_function("find a cached prefix of 4,096 tokens", |bencher| {
        bencher.iter(|| black_box(kv.find_prefix(&chain, 4095)));
    });
    let hasher = kv.hasher();
    criterion.bench_function("hash a chain of 4,096 tokens", |bencher| {
        let chain = |tokens| TokenChain::new(hasher, Salt(0), tokens);
        bencher.iter_batched(|| tokens.clone(), chain, BatchSize::SmallInput);
    });
}

criterion_group!(benches, allocate_and_release, find_prefix);
criterion_main!(benches);

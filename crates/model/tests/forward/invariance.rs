//! The promise of the crate: a row's logits are bitwise the same alone, in any batch, in any chunking, from a cold or a warm
//! prefix, and in whatever blocks.

use candle_core::quantized::GgmlDType;
use proptest::prelude::*;
use sconce_model::{BlockCopy, ForwardBatch, KvCache, KvCacheDtype, Llama};

use crate::batches::{Sequence, advance, push};
use crate::random::Random;
use crate::tiny::{Tiny, tokens};

const DTYPES: [GgmlDType; 13] = [
    GgmlDType::F32,
    GgmlDType::F16,
    GgmlDType::BF16,
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

fn cache(model: &Llama, blocks: usize, block_size: usize, dtype: KvCacheDtype) -> KvCache {
    KvCache::allocate(model, blocks, block_size, dtype).expect("a cache")
}

fn bits(logits: &[f32]) -> Vec<u32> {
    assert!(logits.iter().all(|logit| logit.is_finite()));
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// The bits of every row's logits when the sequence is alone and comes token by token.
fn alone(model: &Llama, tokens: &[u32], dtype: KvCacheDtype) -> Vec<Vec<u32>> {
    let blocks: Vec<u32> = (0..tokens.len().div_ceil(16) as u32).collect();
    let mut cache = cache(model, blocks.len(), 16, dtype);
    let mut sequence = Sequence::new(tokens, &blocks);
    tokens.iter().map(|_| bits(advance(model, &mut cache, &mut sequence, 1).row(0))).collect()
}

/// Runs all sequences to their ends in random chunks and random company, and compares every row.
fn check_mixed(model: &Llama, vocabulary: usize, dtype: KvCacheDtype, seed: u64) {
    let mut random = Random(seed);
    let block_size = [1, 5, 8, 32][random.below(4)];
    let lengths: Vec<usize> = (0..3).map(|_| 1 + random.below(50)).collect();
    let total: usize = lengths.iter().map(|length| length.div_ceil(block_size)).sum();
    let mut free: Vec<u32> = (0..total as u32 + 3).collect();
    random.shuffle(&mut free);
    let mut cache = cache(model, total + 3, block_size, dtype);
    let mut sequences = Vec::new();
    let mut expected = Vec::new();
    for length in lengths {
        let tokens = tokens(&mut random, length, vocabulary);
        expected.push(alone(model, &tokens, dtype));
        let blocks = free.split_off(free.len() - length.div_ceil(block_size));
        sequences.push(Sequence::new(&tokens, &blocks));
    }
    while sequences.iter().any(|sequence| sequence.computed < sequence.tokens.len()) {
        let mut batch = ForwardBatch::default();
        let mut rows = Vec::new();
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        random.shuffle(&mut order);
        for index in order {
            let sequence = &mut sequences[index];
            let left = sequence.tokens.len() - sequence.computed;
            let count = if random.below(3) == 0 { left.min(1) } else { random.below(left + 1) };
            if count > 0 {
                rows.extend((sequence.computed..sequence.computed + count).map(|position| (index, position)));
                push(&mut batch, sequence, count, block_size);
            }
        }
        let wanted: Vec<u32> = batch.logits_rows.iter().copied().filter(|_| random.below(2) == 0).collect();
        batch.logits_rows = wanted;
        if rows.is_empty() {
            continue;
        }
        let logits = model.forward(&batch, &mut cache).expect("a valid batch");
        assert_eq!(logits.rows(), batch.logits_rows.len());
        for (place, row) in batch.logits_rows.iter().enumerate() {
            let (index, position) = rows[*row as usize];
            assert_eq!(bits(logits.row(place)), expected[index][position], "sequence {index}, position {position}");
        }
    }
}

#[test]
fn every_weight_type_gives_the_same_bits_in_any_batch_and_chunking() {
    for dtype in DTYPES {
        let shape = Tiny::of(dtype);
        let (_, model) = shape.load();
        check_mixed(&model, shape.vocabulary, KvCacheDtype::F16, 1);
        check_mixed(&model, shape.vocabulary, KvCacheDtype::F32, 2);
        check_mixed(&model, shape.vocabulary, KvCacheDtype::Q8_0, 4);
    }
}

#[test]
fn outputs_that_fill_no_tile_give_the_same_bits_too() {
    for dtype in [GgmlDType::Q8_0, GgmlDType::Q4K, GgmlDType::Q6K] {
        let shape = Tiny { vocabulary: 301, inner: 256, ..Tiny::of(dtype) };
        let (_, model) = shape.load();
        check_mixed(&model, shape.vocabulary, KvCacheDtype::F16, 3);
    }
}

#[test]
fn a_long_chunk_gives_the_same_bits_as_single_tokens() {
    for dtype in [GgmlDType::F32, GgmlDType::Q4_0, GgmlDType::Q4K, GgmlDType::Q6K] {
        let shape = Tiny { layers: 1, ..Tiny::of(dtype) };
        let (_, model) = shape.load();
        let tokens = tokens(&mut Random(9), 150, shape.vocabulary);
        let expected = alone(&model, &tokens, KvCacheDtype::F16);
        let mut cache = cache(&model, 5, 32, KvCacheDtype::F16);
        let mut sequence = Sequence::new(&tokens, &[4, 0, 3, 1, 2]);
        let logits = advance(&model, &mut cache, &mut sequence, tokens.len());
        for (row, expected) in expected.iter().enumerate() {
            assert_eq!(&bits(logits.row(row)), expected, "{dtype:?}, row {row}");
        }
    }
}

#[test]
fn a_warm_prefix_in_shared_and_copied_blocks_gives_the_same_bits() {
    for dtype in [GgmlDType::F32, GgmlDType::Q8_0, GgmlDType::Q4K, GgmlDType::Q6K] {
        let shape = Tiny::of(dtype);
        let (_, model) = shape.load();
        let mut random = Random(11);
        let prefix = tokens(&mut random, 21, shape.vocabulary);
        let with_tail = |random: &mut Random, count| [prefix.clone(), tokens(random, count, shape.vocabulary)].concat();
        let (first, second) = (with_tail(&mut random, 9), with_tail(&mut random, 14));
        let expected = alone(&model, &second, KvCacheDtype::F16);
        let mut cache = cache(&model, 9, 8, KvCacheDtype::F16);
        let mut leader = Sequence::new(&first, &[5, 2, 7, 0]);
        advance(&model, &mut cache, &mut leader, first.len());
        // Two blocks are shared; five slots of the third are copied, and the copy goes through a third block on its way.
        let copies = [BlockCopy { src: 7, dst: 8, slots: 5 }, BlockCopy { src: 8, dst: 3, slots: 5 }];
        cache.copy_blocks(&copies).expect("blocks that exist");
        let mut follower = Sequence::new(&second, &[5, 2, 3, 6, 1]);
        follower.computed = prefix.len();
        let logits = advance(&model, &mut cache, &mut follower, second.len() - prefix.len());
        for row in 0..logits.rows() {
            assert_eq!(bits(logits.row(row)), expected[prefix.len() + row], "{dtype:?}, row {row}");
        }
    }
}

#[test]
fn a_follower_shares_blocks_that_its_leader_fills_in_the_same_step() {
    let shape = Tiny::of(GgmlDType::Q4K);
    let (_, model) = shape.load();
    let mut random = Random(12);
    let prefix = tokens(&mut random, 16, shape.vocabulary);
    let first = [prefix.clone(), tokens(&mut random, 3, shape.vocabulary)].concat();
    let second = [prefix.clone(), tokens(&mut random, 6, shape.vocabulary)].concat();
    let expected = [alone(&model, &first, KvCacheDtype::F16), alone(&model, &second, KvCacheDtype::F16)];
    for follower_first in [false, true] {
        let mut cache = cache(&model, 4, 8, KvCacheDtype::F16);
        let mut batch = ForwardBatch::default();
        let mut leader = Sequence::new(&first, &[2, 0, 1]);
        let mut follower = Sequence::new(&second, &[2, 0, 3]);
        follower.computed = prefix.len();
        if follower_first {
            push(&mut batch, &mut follower, 6, 8);
        }
        push(&mut batch, &mut leader, first.len(), 8);
        if !follower_first {
            push(&mut batch, &mut follower, 6, 8);
        }
        let logits = model.forward(&batch, &mut cache).expect("a valid batch");
        let follower_start = if follower_first { 0 } else { first.len() };
        for row in 0..6 {
            assert_eq!(bits(logits.row(follower_start + row)), expected[1][prefix.len() + row]);
        }
        let leader_start = if follower_first { 6 } else { 0 };
        for (row, expected) in expected[0].iter().enumerate() {
            assert_eq!(&bits(logits.row(leader_start + row)), expected);
        }
    }
}

#[test]
fn every_architecture_and_a_window_give_the_same_bits() {
    for architecture in ["llama", "mistral3", "qwen2", "qwen3", "phi3"] {
        for sliding_window in [None, Some(9)] {
            let shape = Tiny { architecture, sliding_window, ..Tiny::odd() };
            let (_, model) = shape.load();
            check_mixed(&model, shape.vocabulary, KvCacheDtype::F16, 17);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_batches_of_an_odd_shape_give_the_same_bits(seed: u64, half: bool) {
        let shape = Tiny::odd();
        let (_, model) = shape.load();
        let dtype = if half { KvCacheDtype::F16 } else { KvCacheDtype::F32 };
        check_mixed(&model, shape.vocabulary, dtype, seed);
    }
}

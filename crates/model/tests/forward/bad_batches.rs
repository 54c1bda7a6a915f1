//! Batches and caches that contradict themselves or the model: typed errors that name the array, never a panic.

use sconce_model::{BlockCopy, ForwardBatch, KvCache, KvCacheDtype};

use crate::batches::{Sequence, push};
use crate::random::Random;
use crate::tiny::Tiny;

fn valid() -> ForwardBatch {
    let mut batch = ForwardBatch::default();
    push(&mut batch, &mut Sequence::new(&[3, 1, 4], &[0]), 3, 8);
    push(&mut batch, &mut Sequence { tokens: vec![1; 10], blocks: vec![1, 2], computed: 9 }, 1, 8);
    batch
}

#[test]
fn a_wrong_batch_is_refused_with_the_name_of_the_array() {
    type Change = fn(&mut ForwardBatch);
    let cases: [(Change, &str); 12] = [
        (|batch| batch.input_ids[1] = 61, "input_ids[1] is 61, must be below 61, the vocabulary's size"),
        (|batch| batch.positions[3] = 512, "positions[3] is 512, must be below 512, the context length"),
        (|batch| batch.positions[1] = 2, "positions[1] is 2, must be 1"),
        (|batch| batch.slot_mapping[0] = 32, "slot_mapping[0] is 32, must be below 32"),
        (|batch| batch.logits_rows[0] = 4, "logits_rows[0] is 4, must be below 4"),
        (|batch| batch.cu_seqlens_q[1] = u32::MAX, "cu_seqlens_q"),
        (|batch| batch.seq_lens_k[1] = 17, "seq_lens_k[1] is 17"),
        (|batch| batch.seq_lens_k[0] = 0, "seq_lens_k[0] is 0"),
        (|batch| batch.block_tables[2] = 4, "block_tables[2] is 4, must be below 4"),
        (|batch| batch.cu_blocks[2] = 9, "cu_blocks[2] is 9"),
        (|batch| batch.slot_mapping.truncate(1), "slot_mapping has 1 entries, expected 4"),
        (|batch| batch.input_ids.truncate(1), "positions has 4 entries, expected 1"),
    ];
    let (_, model) = Tiny::odd().load();
    let mut cache = KvCache::allocate(&model, 4, 8, KvCacheDtype::F32).expect("a cache");
    assert!(model.forward(&valid(), &mut cache).is_ok());
    for (change, expected) in cases {
        let mut batch = valid();
        change(&mut batch);
        let message =
            model.forward(&batch, &mut cache).map_or_else(|error| error.to_string(), |_| "accepted".to_string());
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn random_damage_to_a_batch_never_panics() {
    let (_, model) = Tiny::odd().load();
    let mut cache = KvCache::allocate(&model, 4, 8, KvCacheDtype::F16).expect("a cache");
    let mut random = Random(77);
    for _ in 0..3000 {
        let mut batch = valid();
        let arrays = [
            &mut batch.input_ids,
            &mut batch.positions,
            &mut batch.slot_mapping,
            &mut batch.cu_seqlens_q,
            &mut batch.seq_lens_k,
            &mut batch.block_tables,
            &mut batch.cu_blocks,
            &mut batch.logits_rows,
        ];
        for array in arrays {
            match random.below(12) {
                0 => array.truncate(random.below(array.len() + 1)),
                1 => array.push(random.next() as u32),
                2 if !array.is_empty() => {
                    let place = random.below(array.len());
                    array[place] = [0, 1, 7, 31, 32, u32::MAX][random.below(6)];
                }
                _ => {}
            }
        }
        // Either answer is fine; what is tested is that there is one.
        let _ = model.forward(&batch, &mut cache);
    }
}

#[test]
fn no_rows_or_no_wanted_rows_give_no_logits() {
    let (_, model) = Tiny::odd().load();
    let mut cache = KvCache::allocate(&model, 4, 8, KvCacheDtype::F16).expect("a cache");
    let empty = ForwardBatch { cu_seqlens_q: vec![0], cu_blocks: vec![0], ..ForwardBatch::default() };
    assert_eq!(model.forward(&empty, &mut cache).expect("valid").rows(), 0);
    let unwanted = ForwardBatch { logits_rows: Vec::new(), ..valid() };
    assert_eq!(model.forward(&unwanted, &mut cache).expect("valid").rows(), 0);
}

#[test]
fn a_cache_that_cannot_be_or_does_not_fit_is_refused() {
    let (_, model) = Tiny::odd().load();
    let allocate = |blocks, size| KvCache::allocate(&model, blocks, size, KvCacheDtype::F16);
    for (blocks, size, expected) in
        [(0, 8, "hold nothing"), (8, 0, "hold nothing"), (1 << 40, 8, "more than 4294967295 slots")]
    {
        let message = allocate(blocks, size).map_or_else(|error| error.to_string(), |_| "accepted".to_string());
        assert!(message.contains(expected), "{message}");
    }
    let message =
        KvCache::allocate(&model, 8, 8, KvCacheDtype::Q8_0).map_or_else(|error| error.to_string(), |_| String::new());
    assert!(message.contains("heads of 10 numbers are no whole blocks of 32"), "{message}");
    // 2 layers × (K, V) × 8 slots × 3 heads × 10 numbers × 2 bytes.
    assert_eq!(KvCache::block_bytes(model.config(), 8, KvCacheDtype::F16), 2 * 2 * 8 * 3 * 10 * 2);
    let (_, other) = Tiny { layers: 1, ..Tiny::odd() }.load();
    let mut cache = allocate(4, 8).expect("a cache");
    let message =
        other.forward(&valid(), &mut cache).map_or_else(|error| error.to_string(), |_| "accepted".to_string());
    assert!(message.contains("made for"), "{message}");
    let copy = BlockCopy { src: 0, dst: 4, slots: 1 };
    let message = cache.copy_blocks(&[copy]).map_or_else(|error| error.to_string(), |()| "accepted".to_string());
    assert!(message.contains("copies.dst[0] is 4"), "{message}");
}

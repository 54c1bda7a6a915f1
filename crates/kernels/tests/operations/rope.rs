//! Bias, norm and rotation of rows bit for bit alone and among others, and what they refuse.

use candle_core::{DType, Device, Tensor};
use sconce_kernels::checks::Random;
use sconce_kernels::{HeadNorms, PagedBatch, PagedBatchParts, Projections, RopeFrequencies, RopePairs, rope_kv_write};

const KV_HEADS: usize = 2;
const HEADS: usize = 6;
const HEAD_DIM: usize = 20;
const PAIRS: usize = 8;
const BLOCK_SIZE: usize = 4;
const ROWS: usize = 12;

/// Rows `first..first + count` of one sequence.
fn batch(first: usize, count: usize) -> PagedBatch {
    let positions: Vec<u32> = (first as u32..(first + count) as u32).collect();
    let parts = PagedBatchParts {
        positions: &positions,
        slot_mapping: &positions,
        cu_seqlens_q: &[0, count as u32],
        seq_lens_k: &[(first + count) as u32],
        block_tables: &[0, 1, 2],
        cu_blocks: &[0, 3],
    };
    PagedBatch::new(parts, ROWS / BLOCK_SIZE, BLOCK_SIZE).expect("a valid batch")
}

fn tensor(random: &mut Random, shape: &[usize]) -> Tensor {
    Tensor::from_vec(random.vector(shape.iter().product()), shape, &Device::Cpu).expect("a tensor")
}

fn caches() -> [Tensor; 2] {
    let shape = (ROWS / BLOCK_SIZE, BLOCK_SIZE, KV_HEADS, HEAD_DIM);
    [(); 2].map(|()| Tensor::zeros(shape, DType::F32, &Device::Cpu).expect("a cache"))
}

fn frequencies(pairs: RopePairs) -> RopeFrequencies {
    let per_pair = (0..PAIRS).map(|pair| 0.5f64.powi(pair as i32)).collect();
    RopeFrequencies::new(per_pair, pairs, 1.5).expect("finite numbers")
}

/// The bits of a step's query and of the cache's slots of its rows.
fn bits(query: &Tensor, caches: &[Tensor; 2], first: usize, count: usize) -> Vec<u32> {
    let slots =
        |cache: &Tensor| cache.reshape((ROWS, KV_HEADS * HEAD_DIM)).and_then(|slots| slots.narrow(0, first, count));
    let [keys, values] = caches.each_ref().map(|cache| slots(cache).expect("slots that exist"));
    let all = [query, &keys, &values];
    all.iter()
        .flat_map(|tensor| tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).expect("floats"))
        .map(f32::to_bits)
        .collect()
}

#[test]
fn rows_have_the_same_bits_alone_and_among_others() {
    let mut random = Random(11);
    let widths = [HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM];
    let rows = widths.map(|width| tensor(&mut random, &[ROWS, width]));
    let biases = widths.map(|width| tensor(&mut random, &[width]));
    let [query_norm, key_norm] = [(); 2].map(|()| tensor(&mut random, &[HEAD_DIM]));
    for order in [RopePairs::Neighbours, RopePairs::Halves] {
        let run = |first: usize, count: usize| {
            let [query, key, value] =
                rows.each_ref().map(|rows| rows.narrow(0, first, count).expect("rows that exist"));
            let projections = Projections {
                query: &query,
                key: &key,
                value: &value,
                biases: Some(biases.each_ref()),
                norms: Some(HeadNorms { query: &query_norm, key: &key_norm, epsilon: 1e-6 }),
            };
            let (batch, caches) = (batch(first, count), caches());
            let table = frequencies(order).table(&batch).expect("a table");
            let turned = rope_kv_write(&projections, &table, &batch, &caches[0], &caches[1]).expect("fitting shapes");
            (turned, caches)
        };
        let (all, all_caches) = run(0, ROWS);
        for (first, count) in [(0, 1), (11, 1), (3, 5)] {
            let (part, part_caches) = run(first, count);
            let expected = bits(&all.narrow(0, first, count).expect("rows that exist"), &all_caches, first, count);
            assert_eq!(bits(&part, &part_caches, first, count), expected, "{count} rows from {first}, {order:?}");
        }
    }
}

#[test]
fn biases_and_norms_of_another_shape_or_type_are_refused() {
    let mut random = Random(12);
    let (batch, caches) = (batch(0, ROWS), caches());
    let table = frequencies(RopePairs::Halves).table(&batch).expect("a table");
    let mut vector = |length: usize| tensor(&mut random, &[length]);
    let [query_bias, key_bias, norm] = [HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, HEAD_DIM].map(&mut vector);
    let short = vector(HEAD_DIM - 1);
    let half = norm.to_dtype(DType::F16).expect("a tensor");
    let [query, key] = [HEADS, KV_HEADS].map(|heads| tensor(&mut random, &[ROWS, heads * HEAD_DIM]));
    let message = |biases: Option<[&Tensor; 3]>, norms: Option<[&Tensor; 2]>| {
        let norms = norms.map(|[query, key]| HeadNorms { query, key, epsilon: 1e-6 });
        let projections = Projections { query: &query, key: &key, value: &key, biases, norms };
        rope_kv_write(&projections, &table, &batch, &caches[0], &caches[1])
            .map_or_else(|error| error.to_string(), |_| String::new())
    };
    assert!(message(Some([&query_bias, &key_bias, &key_bias]), Some([&norm, &norm])).is_empty());
    assert!(
        message(Some([&key_bias, &key_bias, &key_bias]), None).contains("biases.query has shape [40], expected [120]")
    );
    assert!(message(Some([&query_bias, &short, &key_bias]), None).contains("biases.key has shape [19]"));
    assert!(message(Some([&query_bias, &key_bias, &norm]), None).contains("biases.value has shape [20]"));
    assert!(message(None, Some([&short, &norm])).contains("norms.query has shape [19], expected [20]"));
    assert!(message(None, Some([&norm, &query_bias])).contains("norms.key has shape [120]"));
    assert!(message(None, Some([&norm, &half])).contains("norms has element type f16, expected f32"));
}

#[test]
fn frequencies_that_are_no_numbers_are_refused() {
    let message = |per_pair: &[f64], magnitude| {
        RopeFrequencies::new(per_pair.to_vec(), RopePairs::Halves, magnitude)
            .map_or_else(|error| error.to_string(), |_| String::new())
    };
    assert!(message(&[1.0, 0.5], 1.0).is_empty());
    for wrong in [f64::NAN, f64::INFINITY, 1e300] {
        let found = message(&[1.0, wrong], 1.0);
        assert!(found.contains("per_pair[1] is") && found.contains("must be a finite number"), "{found}");
    }
    assert!(message(&[1.0], f32::NAN).contains("magnitude[0] is NaN"));
}

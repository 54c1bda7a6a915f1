//! Paged attention bit for bit against itself in other chunks and among others, and what it refuses.

use candle_core::{DType, Device, Tensor};
use sconce_kernels::checks::{BatchArrays, CacheShape, Member, Random};
use sconce_kernels::{PagedBatch, paged_attention};

#[derive(Clone, Copy)]
struct Shape {
    kv_heads: usize,
    group: usize,
    head_dim: usize,
    block_size: usize,
    num_blocks: usize,
}

fn batch_of(members: &[Member], shape: Shape) -> PagedBatch {
    let Shape { kv_heads, head_dim, block_size, num_blocks, .. } = shape;
    let shape = CacheShape { num_blocks, block_size, kv_heads, head_dim };
    BatchArrays::new(members, block_size).batch(shape).expect("a valid batch")
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).and_then(|t| t.flatten_all()).and_then(|flat| flat.to_vec1()).expect("floats")
}

fn cache(random: &mut Random, shape: Shape, dtype: DType) -> Tensor {
    let count = shape.num_blocks * shape.block_size * shape.kv_heads * shape.head_dim;
    Tensor::from_vec(
        random.vector(count),
        (shape.num_blocks, shape.block_size, shape.kv_heads, shape.head_dim),
        &Device::Cpu,
    )
    .and_then(|tensor| tensor.to_dtype(dtype))
    .expect("a cache")
}

#[test]
fn rows_have_the_same_bits_in_other_chunks_and_among_others() {
    let shape = Shape { kv_heads: 2, group: 3, head_dim: 20, block_size: 8, num_blocks: 32 };
    let mut random = Random(8);
    let (keys, cached) = (cache(&mut random, shape, DType::F16), cache(&mut random, shape, DType::F16));
    let width = shape.kv_heads * shape.group * shape.head_dim;
    let query = Tensor::from_vec(random.vector(100 * width), (100, width), &Device::Cpu).expect("a tensor");
    let blocks: Vec<u32> = (0..13).rev().collect();
    let bits = |start: usize, count: usize, company: bool, window: Option<usize>| -> Vec<u32> {
        let mut members = vec![Member { rows: count, keys: start + count, blocks: blocks.clone() }];
        let mut rows = query.narrow(0, start, count).expect("rows that exist");
        if company {
            members.insert(0, Member { rows: 9, keys: 70, blocks: (20..29).collect() });
            rows = Tensor::cat(&[&query.narrow(0, 40, 9).expect("rows that exist"), &rows], 0).expect("a tensor");
        }
        let output =
            paged_attention(&rows, &keys, &cached, &batch_of(&members, shape), window).expect("fitting shapes");
        let output = values(&output);
        output[output.len() - count * width..].iter().map(|value| value.to_bits()).collect()
    };
    for window in [None, Some(1), Some(7), Some(32), Some(45), Some(100)] {
        let whole = bits(0, 100, false, window);
        assert!(whole.iter().all(|bits| f32::from_bits(*bits).is_finite()), "window {window:?}");
        for (start, count, company) in
            [(0, 1, false), (0, 1, true), (31, 2, false), (32, 40, true), (50, 17, false), (99, 1, true), (3, 97, true)]
        {
            assert_eq!(
                bits(start, count, company, window),
                whole[start * width..(start + count) * width],
                "{count} rows from {start}, window {window:?}"
            );
        }
    }
    assert_eq!(
        bits(0, 100, false, None),
        bits(0, 100, false, Some(100)),
        "a window that hides nothing changes nothing"
    );
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let shape = Shape { kv_heads: 2, group: 2, head_dim: 4, block_size: 4, num_blocks: 3 };
    let mut random = Random(9);
    let batch = batch_of(&[Member { rows: 2, keys: 5, blocks: vec![0, 2] }], shape);
    let (keys, cached) = (cache(&mut random, shape, DType::F32), cache(&mut random, shape, DType::F16));
    let query = |rows: usize, width: usize| Tensor::zeros((rows, width), DType::F32, &Device::Cpu).expect("a tensor");
    let message = |query: &Tensor, keys: &Tensor, values: &Tensor| {
        paged_attention(query, keys, values, &batch, None).map_or_else(|error| error.to_string(), |_| String::new())
    };
    assert!(message(&query(2, 16), &keys, &cached).contains("both the same"));
    assert!(message(&query(3, 16), &keys, &keys).contains("expected [2, a multiple of 8]"));
    assert!(message(&query(2, 12), &keys, &keys).contains("expected [2, a multiple of 8]"));
    let other = cache(&mut random, Shape { num_blocks: 4, ..shape }, DType::F32);
    assert!(message(&query(2, 16), &other, &other).contains("key_cache has shape [4, 4, 2, 4]"));
    assert!(message(&query(2, 16), &keys, &keys).is_empty());
    let blind = paged_attention(&query(2, 16), &keys, &keys, &batch, Some(0)).map_err(|error| error.to_string());
    assert!(blind.is_err_and(|message| message.contains("window[0] is 0, must be at least 1")));
}

//! Paged attention of a 1.1 B shape (32 heads of 64 over 4, F16 blocks of 32), one layer: streams that decode over contexts of
//! some length, and a chunk of a prompt. Throughput counts multiply-adds.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use half::f16;

use candle_core::{DType, Device, Tensor};
use sconce_kernels::checks::{BatchArrays, CacheShape, Member};
use sconce_kernels::{PagedBatch, paged_attention};

const KV_HEADS: usize = 4;
const GROUP: usize = 8;
const HEAD_DIM: usize = 64;
const BLOCK: usize = 32;

/// Sequences of so many new tokens, the last of which sees so many keys. They have the first `common` of their keys in common. And the blocks
/// that there are.
fn batch(sequences: &[(usize, usize)], common: usize) -> (PagedBatch, usize) {
    let mut next = common.div_ceil(BLOCK) as u32;
    let member = |&(rows, keys): &(usize, usize)| {
        let own = next..next + (keys.div_ceil(BLOCK) - common.div_ceil(BLOCK)) as u32;
        next = own.end;
        Member { rows, keys, blocks: (0..common.div_ceil(BLOCK) as u32).chain(own).collect() }
    };
    let members: Vec<Member> = sequences.iter().map(member).collect();
    let num_blocks = next as usize;
    let shape = CacheShape { num_blocks, block_size: BLOCK, kv_heads: KV_HEADS, head_dim: HEAD_DIM };
    (BatchArrays::new(&members, BLOCK).batch(shape).expect("a valid batch"), num_blocks)
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 31 % 97) as f32 - 48.0) / 48.0).collect()
}

fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("paged_attention");
    let cases = [
        ("decode, 1 stream of 1,024", vec![(1, 1024)], 0),
        ("decode, 8 streams of 1,024", vec![(1, 1024); 8], 0),
        ("decode, 8 streams of 1,024 with 960 in common", vec![(1, 1024); 8], 960),
        ("decode, 32 streams of 128", vec![(1, 128); 32], 0),
        ("decode, 31 streams of 128 and 1 of 4,096", [vec![(1, 128); 31], vec![(1, 4096)]].concat(), 0),
        ("prompt, 64 rows that end at 1,024", vec![(64, 1024)], 0),
        ("prompt, 512 rows that end at 1,024", vec![(512, 1024)], 0),
    ];
    for (name, sequences, common) in cases {
        let (batch, blocks) = batch(&sequences, common);
        let rows: usize = sequences.iter().map(|(rows, _)| rows).sum();
        let width = KV_HEADS * HEAD_DIM;
        let cache: Vec<f16> = numbers(blocks * BLOCK * width).into_iter().map(f16::from_f32).collect();
        let shape = (blocks, BLOCK, KV_HEADS, HEAD_DIM);
        let cache = Tensor::from_vec(cache, shape, &Device::Cpu).expect("a cache");
        assert_eq!(cache.dtype(), DType::F16);
        let values = cache.copy().expect("a cache");
        let query = numbers(rows * width * GROUP);
        let query = Tensor::from_vec(query, (rows, width * GROUP), &Device::Cpu).expect("a query");
        let keys: usize = sequences.iter().map(|(rows, keys)| rows * keys).sum();
        let products = keys * width * GROUP * 2;
        group.throughput(Throughput::Elements(products as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| paged_attention(&query, &cache, &values, &batch, None).expect("attention"));
        });
    }
    group.finish();
}

criterion_group!(benches, attention);
criterion_main!(benches);

//! The product with packed weights: one row reads every weight from memory once, many rows compute.

use std::cell::LazyCell;

use candle_core::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sconce_kernels::checks::Random;
use sconce_kernels::{Weight, WeightType, quant_matmul, quantize_to_bytes};

/// A matrix of this shape, as often as the last-level cache cannot hold them.
const SHAPE: (usize, usize) = (5632, 2048);
const COPIES: usize = 48;

fn products(criterion: &mut Criterion) {
    let (outputs, inputs) = SHAPE;
    let mut random = Random(1);
    for weight_type in [WeightType::Q4K, WeightType::Q6K, WeightType::Q8_0, WeightType::Q4_0, WeightType::Q5K] {
        // Made when the first benchmark that is not filtered out asks for them.
        let weights = LazyCell::new(|| -> Vec<Weight> {
            let matrix = Tensor::from_vec(Random(1).vector(outputs * inputs), SHAPE, &Device::Cpu).expect("a matrix");
            let bytes = quantize_to_bytes(&matrix, weight_type).expect("blocks");
            let copy = |_| Weight::from_bytes(&bytes, weight_type, outputs, inputs, &Device::Cpu).expect("a weight");
            (0..COPIES).map(copy).collect()
        });
        let mut group = criterion.benchmark_group(format!("{weight_type:?}"));
        group.sample_size(10);
        for rows in [1, 4, 8, 16, 48, 512] {
            let activations =
                Tensor::from_vec(random.vector(rows * inputs), (rows, inputs), &Device::Cpu).expect("rows");
            let mut turn = 0;
            group.throughput(Throughput::Elements((rows * outputs * inputs) as u64));
            group.bench_function(BenchmarkId::new("rows", rows), |bencher| {
                let weights = LazyCell::force(&weights);
                bencher.iter(|| {
                    turn = (turn + 1) % COPIES;
                    quant_matmul(&activations, &weights[turn]).expect("a product")
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, products);
criterion_main!(benches);

//! The matrix product of every weight type, and the embedding look-up: against the reference, and row by row bit for bit.

use candle_core::{Device, Tensor};
use sconce_kernels::{Indices, Weight, WeightType, embedding, quant_matmul, reference};

use crate::random::Random;

const FLOATS: [WeightType; 3] = [WeightType::F32, WeightType::F16, WeightType::BF16];

const QUANTIZED: [WeightType; 10] = [
    WeightType::Q4_0,
    WeightType::Q4_1,
    WeightType::Q5_0,
    WeightType::Q5_1,
    WeightType::Q8_0,
    WeightType::Q2K,
    WeightType::Q3K,
    WeightType::Q4K,
    WeightType::Q5K,
    WeightType::Q6K,
];

fn matrix(random: &mut Random, rows: usize, columns: usize) -> Tensor {
    Tensor::from_vec(random.vector(rows * columns), (rows, columns), &Device::Cpu).expect("a tensor")
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|flat| flat.to_vec1()).expect("floats")
}

/// Root mean square of the difference, relative to that of the reference.
fn error(weight: &Weight, activations: &Tensor) -> f64 {
    let product = values(&quant_matmul(activations, weight).expect("fitting shapes"));
    let weights = values(&weight.dequantize().expect("floats"));
    let expected = reference::matmul(&values(activations), &weights, weight.inputs());
    let squares: f64 = expected.iter().map(|value| value * value).sum();
    let errors: f64 = expected.iter().zip(&product).map(|(e, p)| (e - f64::from(*p)).powi(2)).sum();
    (errors / squares).sqrt()
}

#[test]
fn float_products_agree_with_the_reference_over_odd_sizes() {
    let mut random = Random(1);
    for weight_type in FLOATS {
        for (rows, inputs, outputs) in
            [(1, 1, 1), (2, 3, 5), (3, 15, 7), (5, 16, 17), (7, 172, 64), (66, 33, 49), (130, 100, 31)]
        {
            let weight = Weight::quantize(&matrix(&mut random, outputs, inputs), weight_type).expect("a weight");
            let found = error(&weight, &matrix(&mut random, rows, inputs));
            assert!(found < 1e-6, "{weight_type:?} {rows}x{inputs}x{outputs}: {found}");
        }
    }
}

#[test]
fn quantized_products_agree_with_the_reference_within_the_rounding_of_activations() {
    let mut random = Random(2);
    for weight_type in QUANTIZED {
        for (rows, blocks, outputs) in [(1, 1, 7), (2, 1, 3), (3, 2, 16), (5, 1, 17), (40, 3, 48), (33, 2, 20)] {
            let weight = Weight::quantize(&matrix(&mut random, outputs, blocks * 256), weight_type).expect("a weight");
            let found = error(&weight, &matrix(&mut random, rows, blocks * 256));
            assert!(found < 2e-2, "{weight_type:?} {rows}x{blocks}x{outputs}: {found}");
        }
    }
    for (weight_type, inputs) in [
        (WeightType::Q4_0, 96),
        (WeightType::Q8_0, 96),
        (WeightType::Q4_1, 192),
        (WeightType::Q5_0, 64),
        (WeightType::Q5_1, 320),
    ] {
        let weight = Weight::quantize(&matrix(&mut random, 21, inputs), weight_type).expect("a weight");
        let found = error(&weight, &matrix(&mut random, 6, inputs));
        assert!(found < 2e-2, "{weight_type:?}: {found}");
    }
}

#[test]
fn a_row_has_the_same_bits_among_any_number_of_rows() {
    let mut random = Random(3);
    for weight_type in FLOATS.into_iter().chain(QUANTIZED) {
        for outputs in [1, 16, 19, 80] {
            let weight = Weight::quantize(&matrix(&mut random, outputs, 512), weight_type).expect("a weight");
            let rows = matrix(&mut random, 71, 512);
            let bits = |start: usize, count: usize| -> Vec<u32> {
                let part = rows.narrow(0, start, count).expect("rows that exist");
                values(&quant_matmul(&part, &weight).expect("fitting shapes"))
                    .iter()
                    .map(|value| value.to_bits())
                    .collect()
            };
            let all = bits(0, 71);
            for count in [1, 2, 3, 4, 5, 8, 16, 27, 28, 29, 31, 32, 33, 56, 64, 70] {
                let start = random.below(71 - count);
                assert_eq!(
                    bits(start, count),
                    all[start * outputs..(start + count) * outputs],
                    "{weight_type:?}, {outputs} outputs: {count} rows from {start}"
                );
            }
        }
    }
}

#[test]
fn embedding_gives_the_rows_of_the_table() {
    let mut random = Random(4);
    for weight_type in FLOATS.into_iter().chain(QUANTIZED) {
        let table = Weight::quantize(&matrix(&mut random, 13, 256), weight_type).expect("a weight");
        let floats = values(&table.dequantize().expect("floats"));
        let ids = [12u32, 0, 5, 5];
        let rows = values(&embedding(&table, &Indices::from(&ids[..]), &Device::Cpu).expect("ids that exist"));
        for (row, id) in rows.chunks_exact(256).zip(ids) {
            assert_eq!(row, &floats[id as usize * 256..][..256], "{weight_type:?}");
        }
        let message = embedding(&table, &Indices::from(&[1, 13][..]), &Device::Cpu)
            .map_or_else(|error| error.to_string(), |_| String::new());
        assert!(message.contains("ids[1] is 13, must be below 13"), "{message}");
    }
}

#[test]
fn weights_come_from_bytes_at_any_address() {
    let mut random = Random(5);
    for weight_type in FLOATS.into_iter().chain(QUANTIZED) {
        let (outputs, inputs) = (3, 256);
        let length = outputs * inputs / weight_type.block_elements() * weight_type.block_bytes();
        // Small bytes keep the scales of the blocks finite.
        let bytes: Vec<u8> = (0..length + 3).map(|_| random.below(60) as u8).collect();
        let load = |bytes: &[u8]| {
            let weight = Weight::from_bytes(bytes, weight_type, outputs, inputs, &Device::Cpu).expect("a weight");
            values(&weight.dequantize().expect("floats"))
        };
        let copied = bytes[3..].to_vec();
        let aligned = load(&copied);
        assert_eq!(load(&bytes[3..]), aligned, "{weight_type:?}");
        let short = Weight::from_bytes(&bytes[..length - 1], weight_type, outputs, inputs, &Device::Cpu);
        assert!(short.is_err(), "{weight_type:?}");
    }
    for (weight_type, inputs, multiple) in
        [(WeightType::Q4_0, 33, 32), (WeightType::Q5_1, 96, 64), (WeightType::Q4K, 128, 256)]
    {
        let uneven = Weight::from_bytes(&[0; 72], weight_type, 1, inputs, &Device::Cpu);
        assert!(uneven.is_err_and(|error| error.to_string().contains(&format!("a multiple of {multiple}"))));
    }
}

#[test]
fn activations_of_another_width_or_type_are_refused() {
    let mut random = Random(6);
    let weight = Weight::quantize(&matrix(&mut random, 4, 32), WeightType::Q8_0).expect("a weight");
    let message =
        |tensor: &Tensor| quant_matmul(tensor, &weight).map_or_else(|error| error.to_string(), |_| String::new());
    assert!(message(&matrix(&mut random, 2, 64)).contains("expected [rows, 32]"));
    let transposed = matrix(&mut random, 32, 5).t().expect("a matrix");
    assert!(message(&transposed).contains("contiguous"));
    let float = Weight::quantize(&matrix(&mut random, 4, 32), WeightType::F32).expect("a weight");
    let message = quant_matmul(&transposed, &float).map_or_else(|error| error.to_string(), |_| String::new());
    assert!(message.contains("activations is not contiguous"), "{message}");
    let none = quant_matmul(&matrix(&mut random, 0, 32), &weight).expect("no rows are fine");
    assert_eq!(none.dims(), [0, 4]);
}

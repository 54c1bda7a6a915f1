//! The matrix product of every weight type row by row bit for bit, weights from bytes, and what products and look-ups refuse.

use candle_core::{Device, Tensor};
use sconce_kernels::checks::Random;
use sconce_kernels::{Indices, Weight, WeightType, embedding, gated_matmul, quant_matmul, quant_matmul_each, silu_mul};

fn matrix(random: &mut Random, rows: usize, columns: usize) -> Tensor {
    Tensor::from_vec(random.vector(rows * columns), (rows, columns), &Device::Cpu).expect("a tensor")
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|flat| flat.to_vec1()).expect("floats")
}

#[test]
fn a_row_has_the_same_bits_among_any_number_of_rows() {
    let mut random = Random(3);
    for weight_type in WeightType::ALL {
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
fn embedding_refuses_ids_that_are_no_rows() {
    let mut random = Random(4);
    for weight_type in WeightType::ALL {
        let table = Weight::quantize(&matrix(&mut random, 13, 256), weight_type).expect("a weight");
        let message = embedding(&table, &Indices::from(&[1, 13][..]), &Device::Cpu)
            .map_or_else(|error| error.to_string(), |_| String::new());
        assert!(message.contains("ids[1] is 13, must be below 13"), "{message}");
    }
}

#[test]
fn weights_come_from_bytes_at_any_address() {
    let mut random = Random(5);
    for weight_type in WeightType::ALL {
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
fn several_products_of_the_same_rows_are_those_of_each_weight() {
    let mut random = Random(7);
    let [packed, other, plain, slow] = [WeightType::Q4K, WeightType::Q8_0, WeightType::F16, WeightType::Q2K]
        .map(|kind| [(); 2].map(|()| Weight::quantize(&matrix(&mut random, 35, 512), kind).expect("a weight")));
    let bits = |tensor: &Tensor| -> Vec<u32> { values(tensor).iter().map(|value| value.to_bits()).collect() };
    for rows in [0, 1, 9] {
        let rows = matrix(&mut random, rows, 512);
        let product = |weight: &Weight| quant_matmul(&rows, weight).expect("fitting shapes");
        for weights in [[&packed[0], &other[0], &packed[1]], [&packed[0], &plain[0], &other[1]], [&slow[0]; 3]] {
            let found = quant_matmul_each(&rows, weights).expect("fitting shapes");
            for (found, weight) in found.iter().zip(weights) {
                assert_eq!(bits(found), bits(&product(weight)));
                assert_eq!(found.dims(), [rows.dims()[0], 35]);
            }
        }
        // Packed alike, packed in two ways, and not packed.
        for [gate, up] in
            [[&packed[0], &packed[1]], [&packed[0], &other[0]], [&plain[0], &plain[1]], [&slow[0], &other[0]]]
        {
            let found = gated_matmul(&rows, gate, up).expect("fitting shapes");
            let wanted = silu_mul(&product(gate), &product(up)).expect("one shape");
            assert_eq!((found.dims(), bits(&found)), (wanted.dims(), bits(&wanted)));
        }
    }
    let narrow = Weight::quantize(&matrix(&mut random, 35, 256), WeightType::Q4K).expect("a weight");
    let rows = matrix(&mut random, 2, 512);
    for message in [
        quant_matmul_each(&rows, [&packed[0], &narrow]).map_or_else(|error| error.to_string(), |_| String::new()),
        gated_matmul(&rows, &packed[0], &narrow).map_or_else(|error| error.to_string(), |_| String::new()),
    ] {
        assert!(message.contains("expected [rows, 256]"), "{message}");
    }
    let short = Weight::quantize(&matrix(&mut random, 16, 512), WeightType::Q4K).expect("a weight");
    let message = gated_matmul(&rows, &packed[0], &short).map_or_else(|error| error.to_string(), |_| String::new());
    assert!(message.contains("up has shape [16, 512], expected [35, 512]"), "{message}");
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

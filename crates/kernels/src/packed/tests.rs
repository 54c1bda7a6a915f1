//! Packed matrices hold the file's numbers, and products are the same bits on every instruction set, in every batch, and near
//! those of candle's own blocks.

use std::borrow::Cow;

use candle_core::quantized::{QMatMul, QStorage, QTensor};
use candle_core::{Device, Module, Tensor};

use super::Packed;
use super::instructions::Instructions;
use super::product::{multiply_each_with, multiply_gated_with};
use crate::checks::Random;
use crate::reference;
use crate::weight::{WeightType, quantize_to_bytes};

const TYPES: [WeightType; 8] = [
    WeightType::Q4_0,
    WeightType::Q4_1,
    WeightType::Q5_0,
    WeightType::Q5_1,
    WeightType::Q8_0,
    WeightType::Q4K,
    WeightType::Q5K,
    WeightType::Q6K,
];

fn matrix(random: &mut Random, rows: usize, columns: usize) -> Tensor {
    Tensor::from_vec(random.vector(rows * columns), (rows, columns), &Device::Cpu).expect("a tensor")
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|flat| flat.to_vec1()).expect("floats")
}

/// Shapes `(outputs, inputs)` that the type allows: whole tiles and parts of them, rows that end within a block.
fn shapes(weight_type: WeightType) -> Vec<(usize, usize)> {
    let mut shapes = vec![(16, 256), (1, 512), (33, 256), (48, 768)];
    if weight_type.block_elements() == 32 {
        shapes.extend([(5, 64), (17, 320), (31, 448)]);
    }
    if weight_type.row_multiple() == 32 {
        shapes.extend([(17, 96), (5, 288)]);
    }
    shapes
}

fn multiply_with(instructions: Instructions, values: &[f32], matrix: &Packed) -> Vec<f32> {
    multiply_each_with(instructions, values, &[matrix]).swap_remove(0)
}

#[test]
fn a_packed_matrix_holds_the_numbers_of_the_file() {
    let mut random = Random(11);
    for weight_type in TYPES {
        for (outputs, inputs) in shapes(weight_type) {
            let bytes = quantize_to_bytes(&matrix(&mut random, outputs, inputs), weight_type).expect("blocks");
            let packed = Packed::new(&bytes, weight_type, outputs, inputs).expect("a packed type");
            let tensor = blocks_of_candle(&bytes, weight_type, (outputs, inputs));
            let wanted = floats(&tensor.dequantize(&Device::Cpu).expect("floats"));
            let mut row = vec![0f32; inputs];
            for (index, wanted) in wanted.chunks_exact(inputs).enumerate() {
                packed.row(index, &mut row);
                assert_eq!(row, wanted, "{weight_type:?} {outputs}x{inputs}, row {index}");
            }
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let mut random = Random(12);
    for weight_type in TYPES {
        for (outputs, inputs) in shapes(weight_type) {
            let bytes = quantize_to_bytes(&matrix(&mut random, outputs, inputs), weight_type).expect("blocks");
            let packed = Packed::new(&bytes, weight_type, outputs, inputs).expect("a packed type");
            // More than are computed at a time only once: plain loops take long. The rest is enough for the tile unit, too.
            let most = if (outputs, inputs) == (16, 256) { 551 } else { 50 };
            for rows in [1, 2, 3, 4, 7, 8, 13, 16, 21, 36, 50, most] {
                // Large and small ones side by side, and rows of zeros.
                let mut values = random.vector(rows * inputs);
                values.iter_mut().step_by(7).for_each(|value| *value *= 100.0);
                values[..inputs.min(300)].fill(0.0);
                let bits = |instructions| -> Vec<u32> {
                    multiply_with(instructions, &values, &packed).iter().map(|value| value.to_bits()).collect()
                };
                let wanted = bits(Instructions::Portable);
                for instructions in Instructions::available() {
                    let found = bits(instructions);
                    assert!(found == wanted, "{weight_type:?} {rows}x{inputs}x{outputs} with {instructions:?}");
                }
            }
        }
    }
}

#[test]
fn products_of_the_same_rows_have_the_bits_of_each_by_itself() {
    let mut random = Random(16);
    let inputs = 512;
    let mut packed = |weight_type, outputs| {
        let bytes = quantize_to_bytes(&matrix(&mut random, outputs, inputs), weight_type).expect("blocks");
        Packed::new(&bytes, weight_type, outputs, inputs).expect("a packed type")
    };
    // Layouts that need different sums of the rows, and the same; an odd number of tiles, and parts of them.
    let kinds = [(WeightType::Q4K, 48), (WeightType::Q6K, 5), (WeightType::Q8_0, 33), (WeightType::Q4K, 16)];
    let matrices = kinds.map(|(weight_type, outputs)| packed(weight_type, outputs));
    let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
    let pairs = TYPES.map(|weight_type| (packed(weight_type, 37), packed(weight_type, 37)));
    for rows in [1, 7, 50] {
        let values = Random(17).vector(rows * inputs);
        for instructions in Instructions::available() {
            let together = multiply_each_with(instructions, &values, &matrices.each_ref());
            for (matrix, found) in matrices.iter().zip(together) {
                let wanted = multiply_with(instructions, &values, matrix);
                assert_eq!(bits(&found), bits(&wanted), "{:?}", matrix.weight_type);
            }
            for (gate, up) in &pairs {
                let mut wanted = vec![0.0; rows * 37];
                let [gates, ups] = [gate, up].map(|matrix| multiply_with(instructions, &values, matrix));
                crate::silu::gate_all(&gates, &ups, &mut wanted);
                let found = multiply_gated_with(instructions, &values, gate, up);
                assert_eq!(bits(&found), bits(&wanted), "{:?}", gate.weight_type);
            }
        }
    }
    assert!(multiply_each_with(Instructions::Portable, &[], &[]).is_empty());
}

#[test]
fn codes_and_activations_of_the_largest_magnitude_do_not_overflow() {
    for weight_type in TYPES {
        // Every bit of the codes set, scales finite: the f16 at the places of scales are 0x3c3c, near 1.
        let (outputs, inputs) = (16, 256);
        let length = outputs * inputs / weight_type.block_elements() * weight_type.block_bytes();
        for fill in [0xffu8, 0x00, 0x80, 0x7f] {
            let mut bytes = vec![fill; length];
            for block in bytes.chunks_exact_mut(weight_type.block_bytes()) {
                let last = block.len() - 2;
                let at: &[usize] = match weight_type {
                    WeightType::Q6K => &[last],
                    WeightType::Q4_0 | WeightType::Q5_0 | WeightType::Q8_0 => &[0],
                    _ => &[0, 2],
                };
                at.iter().for_each(|at| block[*at..at + 2].copy_from_slice(&[0x3c, 0x3c]));
            }
            let packed = Packed::new(&bytes, weight_type, outputs, inputs).expect("a packed type");
            for sign in [1.0, -1.0] {
                // Enough rows for every way to multiply, and one that fills no register.
                let values = vec![sign; 49 * inputs];
                let wanted = multiply_with(Instructions::Portable, &values, &packed);
                let mut row = vec![0f32; inputs];
                for (output, found) in wanted[..outputs].iter().enumerate() {
                    packed.row(output, &mut row);
                    let exact: f64 = row.iter().map(|weight| f64::from(sign) * f64::from(*weight)).sum();
                    let error = (f64::from(*found) - exact).abs();
                    assert!(error <= 1e-5 * exact.abs().max(1.0), "{weight_type:?} {fill:x}: {found} for {exact}");
                }
                for instructions in Instructions::available() {
                    assert_eq!(
                        multiply_with(instructions, &values, &packed),
                        wanted,
                        "{weight_type:?} {instructions:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn products_are_as_near_to_the_exact_ones_as_candles() {
    let mut random = Random(13);
    for weight_type in TYPES {
        for (outputs, inputs) in [(64, 512), (48, 1024)] {
            let bytes = quantize_to_bytes(&matrix(&mut random, outputs, inputs), weight_type).expect("blocks");
            let packed = Packed::new(&bytes, weight_type, outputs, inputs).expect("a packed type");
            let mut weights = vec![0f32; outputs * inputs];
            for (index, row) in weights.chunks_exact_mut(inputs).enumerate() {
                packed.row(index, row);
            }
            let activations = matrix(&mut random, 9, inputs);
            let exact = reference::matmul(&floats(&activations), &weights, inputs);
            let tensor = blocks_of_candle(&bytes, weight_type, (outputs, inputs));
            let candles = QMatMul::from_qtensor(tensor).and_then(|product| product.forward(&activations));
            let error = |found: &[f32]| -> f64 {
                let squares: f64 =
                    found.iter().zip(&exact).map(|(found, exact)| (f64::from(*found) - exact).powi(2)).sum();
                (squares / exact.iter().map(|exact| exact * exact).sum::<f64>()).sqrt()
            };
            let (own, candles) = (
                error(&multiply_with(Instructions::best(), &floats(&activations), &packed)),
                error(&floats(&candles.expect("a product"))),
            );
            eprintln!("{weight_type:?} {inputs}: {own:.2e}, candle {candles:.2e}");
            assert!(own < 8e-3 && own < 1.6 * candles, "{weight_type:?} {inputs}: {own:.2e}, candle {candles:.2e}");
        }
    }
}

#[test]
fn an_activation_that_is_no_number_shows_in_its_row_alone() {
    let mut random = Random(14);
    for weight_type in TYPES {
        let bytes = quantize_to_bytes(&matrix(&mut random, 16, 512), weight_type).expect("blocks");
        let packed = Packed::new(&bytes, weight_type, 16, 512).expect("a packed type");
        for (rows, row) in [(3, 1), (17, 0), (17, 16), (50, 49)] {
            for fault in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut values = random.vector(rows * 512);
                values[row * 512 + 300] = fault;
                let product = multiply_with(Instructions::best(), &values, &packed);
                for (index, product) in product.chunks_exact(16).enumerate() {
                    let is_right = |value: &f32| value.is_finite() != (index == row);
                    assert!(product.iter().all(is_right), "{weight_type:?} {fault}, row {index} of {rows}");
                }
            }
        }
    }
}

fn blocks_of_candle(bytes: &[u8], weight_type: WeightType, shape: (usize, usize)) -> QTensor {
    let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, weight_type.ggml());
    QTensor::new(storage.expect("storage"), shape).expect("a tensor")
}

//! The matrix product of every weight type: floats within rounding, blocks within what rounding the activations costs.

use super::cases::MatmulCase;
use super::{Backend, CheckReport, Errors, Random};
use crate::reference;
use crate::weight::WeightType;

/// Quantized products round activations to eight bits.
const QUANTIZED_TOLERANCE: f64 = 2e-2;

pub(super) fn check_float(backend: &dyn Backend, random: &mut Random) -> Result<CheckReport, String> {
    let allowed = backend.activation().tolerance(1e-6);
    let mut errors = Errors::new("float_matmul", allowed);
    for weight_type in [WeightType::F32, WeightType::F16, WeightType::BF16] {
        for shape in [(1, 1, 1), (2, 3, 5), (3, 15, 7), (5, 16, 17), (7, 172, 64), (66, 33, 49), (130, 100, 31)] {
            compare(backend, random, &mut errors, weight_type, shape, allowed)?;
        }
    }
    Ok(errors.report)
}

pub(super) fn check_quantized(backend: &dyn Backend, random: &mut Random) -> Result<CheckReport, String> {
    let mut errors = Errors::new("quantized_matmul", QUANTIZED_TOLERANCE);
    for weight_type in WeightType::ALL.into_iter().filter(|weight_type| weight_type.block_elements() > 1) {
        for shape in [(1, 256, 7), (2, 256, 3), (3, 512, 16), (5, 256, 17), (40, 768, 48), (33, 512, 20)] {
            compare(backend, random, &mut errors, weight_type, shape, QUANTIZED_TOLERANCE)?;
        }
    }
    for (weight_type, inputs) in [
        (WeightType::Q4_0, 96),
        (WeightType::Q8_0, 96),
        (WeightType::Q4_1, 192),
        (WeightType::Q5_0, 64),
        (WeightType::Q5_1, 320),
    ] {
        compare(backend, random, &mut errors, weight_type, (6, inputs, 21), QUANTIZED_TOLERANCE)?;
    }
    Ok(errors.report)
}

fn compare(
    backend: &dyn Backend,
    random: &mut Random,
    errors: &mut Errors,
    weight_type: WeightType,
    (rows, inputs, outputs): (usize, usize, usize),
    allowed: f64,
) -> Result<(), String> {
    let (weight, floats) = super::random_weight(random, weight_type, outputs, inputs)?;
    let activations = backend.activation().round(&random.vector(rows * inputs));
    let found =
        backend.matmul(&MatmulCase { activations: &activations, weight: &weight, weight_type, outputs, inputs })?;
    let expected = reference::matmul(&activations, &floats, inputs);
    errors.compare_squares(&format!("{weight_type:?}, {rows}x{inputs}x{outputs}"), &found, &expected, allowed)
}

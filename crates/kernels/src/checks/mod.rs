//! One body of checks for each operation: fresh random inputs of odd sizes, poisoned outputs, compared with the scalar
//! reference. The body does not know where it runs: on the CPU, on a card, or in the tests' emulator of one.

mod attention;
mod backend;
mod cases;
mod matmul;
mod random;
mod rms_norm;
mod rope;
mod rows;
mod silu_mul;
mod tensors;

use candle_core::{Device, Tensor};

use crate::weight::{Weight, WeightType, quantize_to_bytes};

pub use backend::{Backend, Normalized, Rotated};
pub use cases::{
    AttentionCase, BatchArrays, BlockCopyCase, CacheShape, EmbeddingCase, MatmulCase, Member, NormCase, RopeCase,
    SwapCase, TokenCase,
};
pub use random::Random;
pub use tensors::TensorBackend;

/// What a check of one operation found.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckReport {
    /// The operation.
    pub operation: &'static str,
    /// Cases that were compared.
    pub cases: u32,
    /// The largest error found, and the largest that is allowed, in the measure of the operation.
    pub worst: f64,
    /// See `worst`.
    pub allowed: f64,
}

/// The checks of one operation.
pub type Check = fn(&dyn Backend, &mut Random) -> Result<CheckReport, String>;

/// Every check, by the operation's name.
pub const CHECKS: &[(&str, Check)] = &[
    ("rms_norm", rms_norm::check),
    ("silu_mul", silu_mul::check),
    ("rope_kv_write", rope::check),
    ("paged_attention", attention::check),
    ("embedding", rows::check_embedding),
    ("resolve_tokens", rows::check_resolve_tokens),
    ("block_copy", rows::check_block_copy),
    ("block_swap", rows::check_block_swap),
    ("select_rows", rows::check_select_rows),
    ("float_matmul", matmul::check_float),
    ("quantized_matmul", matmul::check_quantized),
];

/// How the check of one operation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Every case agrees with the reference.
    Agrees(CheckReport),
    /// The backend has no such operation; nothing was checked.
    Skipped(&'static str),
}

/// Runs every check that the backend can run, each on its own random numbers from the seed.
///
/// # Errors
/// The first case that does not agree, in words.
pub fn run_checks(backend: &dyn Backend, seed: u64) -> Result<Vec<Outcome>, String> {
    CHECKS.iter().map(|&(operation, check)| run_check(backend, operation, check, seed)).collect()
}

/// Runs one of [`CHECKS`], if the backend can.
///
/// # Errors
/// The first case that does not agree, in words.
pub fn run_check(backend: &dyn Backend, operation: &'static str, check: Check, seed: u64) -> Result<Outcome, String> {
    if backend.lacks().contains(&operation) {
        return Ok(Outcome::Skipped(operation));
    }
    check(backend, &mut Random(seed)).map(Outcome::Agrees).map_err(|error| format!("{}: {error}", backend.name()))
}

/// A random matrix `[outputs, inputs]` in the blocks of a type, and the floats that they stand for.
fn random_weight(
    random: &mut Random,
    weight_type: WeightType,
    outputs: usize,
    inputs: usize,
) -> Result<(Vec<u8>, Vec<f32>), String> {
    let matrix = Tensor::from_vec(random.vector(outputs * inputs), (outputs, inputs), &Device::Cpu);
    let bytes = matrix.map_err(Into::into).and_then(|matrix| quantize_to_bytes(&matrix, weight_type));
    let bytes = bytes.map_err(|error| error.to_string())?;
    let weight = Weight::from_bytes(&bytes, weight_type, outputs, inputs, &Device::Cpu);
    let floats = weight.and_then(|weight| weight.dequantize()).map_err(|error| error.to_string())?;
    let floats = floats.flatten_all().and_then(|flat| flat.to_vec1()).map_err(|error| error.to_string())?;
    Ok((bytes, floats))
}

/// Collects errors of cases and says at once which is too large.
struct Errors {
    report: CheckReport,
}

impl Errors {
    fn new(operation: &'static str, allowed: f64) -> Self {
        Self { report: CheckReport { operation, cases: 0, worst: 0.0, allowed } }
    }

    /// Compares by the largest difference, relative to the largest number of the reference (or to one, if that is smaller).
    fn compare(&mut self, case: &str, found: &[f32], expected: &[f64]) -> Result<(), String> {
        self.compare_within(case, found, expected, self.report.allowed)
    }

    /// [`Errors::compare`] with a tolerance of its own, for results of another type than the operation's.
    fn compare_within(&mut self, case: &str, found: &[f32], expected: &[f64], allowed: f64) -> Result<(), String> {
        let operation = self.report.operation;
        self.same_length(case, found.len(), expected.len())?;
        let scale = expected.iter().fold(1.0f64, |most, value| most.max(value.abs()));
        let mut worst = 0.0f64;
        for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            let error = (f64::from(found) - expected).abs() / scale;
            // A NaN is larger than anything that is allowed.
            if error.is_nan() || error > allowed {
                return Err(format!("{operation}, {case}: number {index} is {found} instead of {expected}"));
            }
            worst = worst.max(error);
        }
        self.count(worst, allowed);
        Ok(())
    }

    /// Compares by the root of the mean squared difference, relative to that of the reference.
    fn compare_squares(&mut self, case: &str, found: &[f32], expected: &[f64], allowed: f64) -> Result<(), String> {
        self.same_length(case, found.len(), expected.len())?;
        let squares: f64 = expected.iter().map(|value| value * value).sum();
        let errors: f64 = expected.iter().zip(found).map(|(e, f)| (e - f64::from(*f)).powi(2)).sum();
        let error = (errors / squares).sqrt();
        if error.is_nan() || error > allowed {
            return Err(format!("{}, {case}: off by {error}, relative to the root mean square", self.report.operation));
        }
        self.count(error, allowed);
        Ok(())
    }

    /// Compares what must not change at all.
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, case: &str, found: &[T], expected: &[T]) -> Result<(), String> {
        let operation = self.report.operation;
        self.same_length(case, found.len(), expected.len())?;
        if let Some(index) = (0..found.len()).find(|index| found[*index] != expected[*index]) {
            let (found, expected) = (&found[index], &expected[index]);
            return Err(format!("{operation}, {case}: number {index} is {found:?} instead of {expected:?}"));
        }
        self.report.cases += 1;
        Ok(())
    }

    fn same_length(&self, case: &str, found: usize, expected: usize) -> Result<(), String> {
        let operation = self.report.operation;
        if found == expected {
            Ok(())
        } else {
            Err(format!("{operation}, {case}: {found} numbers instead of {expected}"))
        }
    }

    /// Counts a case; an error is reported in proportion to what its case allows.
    fn count(&mut self, error: f64, allowed: f64) {
        self.report.worst = self.report.worst.max(error / allowed * self.report.allowed);
        self.report.cases += 1;
    }
}

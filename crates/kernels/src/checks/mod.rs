//! One body of checks for each operation: fresh random inputs of odd sizes, poisoned outputs, compared with the scalar
//! reference. The body does not know where it runs: on the CPU, on a card, or in the tests' emulator of one.

mod backend;
mod random;
mod rms_norm;
mod tensors;

pub use backend::{Backend, Normalized};
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
pub const CHECKS: &[(&str, Check)] = &[("rms_norm", rms_norm::check)];

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
        let operation = self.report.operation;
        if found.len() != expected.len() {
            return Err(format!("{operation}, {case}: {} numbers instead of {}", found.len(), expected.len()));
        }
        let scale = expected.iter().fold(1.0f64, |most, value| most.max(value.abs()));
        for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            let error = (f64::from(found) - expected).abs() / scale;
            // A NaN is larger than anything that is allowed.
            if error.is_nan() || error > self.report.allowed {
                return Err(format!("{operation}, {case}: number {index} is {found} instead of {expected}"));
            }
            self.report.worst = self.report.worst.max(error);
        }
        self.report.cases += 1;
        Ok(())
    }
}

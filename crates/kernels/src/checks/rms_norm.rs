//! Normalization with and without a residual.

use super::{Backend, CheckReport, Errors, Random};
use crate::launch::ElementType;
use crate::reference;

pub(super) fn check(backend: &dyn Backend, random: &mut Random) -> Result<CheckReport, String> {
    let activation = backend.activation();
    let mut errors = Errors::new("rms_norm", activation.tolerance(2e-6));
    for (rows, width) in [(1, 1), (1, 7), (3, 33), (2, 64), (5, 257), (2, 1000), (1, 4096), (2, 5000)] {
        let base = random.vector(rows * width);
        let update = activation.round(&random.vector(rows * width));
        let weight = random.vector(width);
        let case = format!("{rows} rows of {width}");
        let alone = backend.rms_norm(&base, None, &weight, 1e-5)?;
        errors.compare(&case, &alone.normed, &reference::rms_norm(&base, &weight, 1e-5))?;
        let both = backend.rms_norm(&base, Some(&update), &weight, 1e-5)?;
        let sum: Vec<f32> = base.iter().zip(&update).map(|(base, update)| base + update).collect();
        let exact: Vec<f64> = sum.iter().map(|value| f64::from(*value)).collect();
        errors.compare(&format!("{case}, the sum"), &both.sum, &exact)?;
        errors.compare(&format!("{case}, with a residual"), &both.normed, &reference::rms_norm(&sum, &weight, 1e-5))?;
    }
    Ok(errors.report)
}

impl ElementType {
    /// `exact` for single precision; for the others what one rounding of the result adds.
    pub(super) fn tolerance(self, exact: f64) -> f64 {
        match self {
            Self::F32 => exact,
            Self::F16 => exact + 1.0 / 2048.0,
            Self::Bf16 => exact + 1.0 / 256.0,
        }
    }

    /// The numbers as this type holds them.
    #[must_use]
    pub fn round(self, values: &[f32]) -> Vec<f32> {
        let round = |value: &f32| match self {
            Self::F32 => *value,
            Self::F16 => half::f16::from_f32(*value).to_f32(),
            Self::Bf16 => half::bf16::from_f32(*value).to_f32(),
        };
        values.iter().map(round).collect()
    }
}

//! The gate, and its ends: gates so large that the exponential overflows.

use super::{Backend, CheckReport, Errors, Random};
use crate::reference;

pub(super) fn check(backend: &dyn Backend, random: &mut Random) -> Result<CheckReport, String> {
    let activation = backend.activation();
    let mut errors = Errors::new("silu_mul", activation.tolerance(1e-6));
    for (rows, width) in [(1, 1), (1, 3), (3, 5), (2, 8), (2, 1023), (7, 1025), (3, 5632)] {
        let gate: Vec<f32> = random.vector(rows * width).iter().map(|x| x * 20.0).collect();
        let gate = activation.round(&gate);
        let up = activation.round(&random.vector(rows * width));
        let found = backend.silu_mul(&gate, &up, width)?;
        errors.compare(&format!("{rows} rows of {width}"), &found, &reference::silu_mul(&gate, &up))?;
    }
    let gate = activation.round(&[-1e30, -200.0, -90.0, 200.0, 0.0]);
    let found = backend.silu_mul(&gate, &[1.0; 5], 5)?;
    errors.compare("large gates", &found, &[0.0, 0.0, 0.0, 200.0, 0.0])?;
    let largest = activation.round(&[1e30])[0];
    if backend.silu_mul(&[largest], &[1.0], 1)? != [largest] {
        return Err("silu_mul: the gate of a large number is not the number".to_string());
    }
    Ok(errors.report)
}

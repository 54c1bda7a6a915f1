//! The gate of the feed-forward network.

use candle_core::{Device, Tensor};

use crate::error::KernelError;
use crate::parallel::{DisjointSlice, for_ranges};
use crate::simd::{F32x8, WIDTH};
use crate::storage::{expect_shape, f32_values, matrix_shape};

const OPERATION: &str = "silu_mul";

/// `silu(gate) * up` element by element, both `[rows, width]`, where `silu(x) = x / (1 + e^-x)`.
///
/// # Errors
/// When the shapes differ or a tensor is not contiguous, or not F32 on the CPU.
pub fn silu_mul(gate: &Tensor, up: &Tensor) -> Result<Tensor, KernelError> {
    let (rows, width) = matrix_shape(gate, OPERATION, "gate")?;
    expect_shape(up, gate.dims(), OPERATION, "up")?;
    match gate.device() {
        Device::Cpu => cpu(gate, up, (rows, width)),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => crate::cuda::operations::silu_mul(gate, up),
        _ => Err(KernelError::Device { operation: OPERATION, argument: "gate" }),
    }
}

fn cpu(gate: &Tensor, up: &Tensor, (rows, width): (usize, usize)) -> Result<Tensor, KernelError> {
    let (gate_storage, gate_layout) = gate.storage_and_layout();
    let gates = f32_values(&gate_storage, gate_layout, OPERATION, "gate")?;
    let (up_storage, up_layout) = up.storage_and_layout();
    let ups = f32_values(&up_storage, up_layout, OPERATION, "up")?;
    let mut output = vec![0f32; gates.len()];
    let shared = DisjointSlice::new(&mut output);
    const CHUNK: usize = 1024;
    for_ranges(gates.len().div_ceil(CHUNK), gates.len() * 8, |range| {
        let start = range.start * CHUNK;
        let end = (range.end * CHUNK).min(gates.len());
        // SAFETY: ranges of items do not meet, so their elements do not either.
        #[allow(unsafe_code)]
        let places = unsafe { shared.range_mut(start, end - start) };
        gate_all(&gates[start..end], &ups[start..end], places);
    });
    Ok(Tensor::from_vec(output, (rows, width), gate.device())?)
}

/// `silu(gate) * up` of slices of one length.
#[inline]
pub(crate) fn gate_all(gates: &[f32], ups: &[f32], places: &mut [f32]) {
    let (gates, gates_rest) = gates.as_chunks::<WIDTH>();
    let (ups, ups_rest) = ups.as_chunks::<WIDTH>();
    let (places, places_rest) = places.as_chunks_mut::<WIDTH>();
    for ((place, gate), up) in places.iter_mut().zip(gates).zip(ups) {
        gated(F32x8::load(gate), F32x8::load(up)).store(place);
    }
    if !gates_rest.is_empty() {
        gated(F32x8::load_part(gates_rest), F32x8::load_part(ups_rest)).store_part(places_rest);
    }
}

/// `silu(gate) * up`.
#[inline(always)]
fn gated(gate: F32x8, up: F32x8) -> F32x8 {
    let decay = F32x8::splat(0.0).sub(gate).exp();
    gate.div(F32x8::splat(1.0).add(decay)).mul(up)
}

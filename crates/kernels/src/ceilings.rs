//! What a device does at best, measured: copies within its memory, and a large matrix product. Figures of kernels and of whole
//! models are read against these.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};

use crate::checks::Random;
use crate::error::{KernelError, Result};

/// Times that each rate is measured.
const RUNS: usize = 7;

/// A measured rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceiling {
    /// Median of the runs, in bytes or operations per second.
    pub per_second: f64,
    /// The slowest run.
    pub slowest: f64,
    /// The fastest run.
    pub fastest: f64,
}

/// Bytes per second that a device copies within its memory, read and written bytes both counted. On the CPU all cores copy.
///
/// `bytes` is the size of the copied numbers; far more than the caches hold, or the caches are what is measured.
///
/// # Errors
/// What the device reports.
pub fn copy_rate(device: &Device, bytes: usize) -> std::result::Result<Ceiling, KernelError> {
    let parts = match device {
        Device::Cpu => std::thread::available_parallelism().map_or(1, usize::from),
        _ => 1,
    };
    let floats = (bytes / size_of::<f32>() / parts).max(1);
    let sources = (0..parts).map(|_| random(floats, device)).collect::<Result<Vec<_>>>()?;
    let copied = 2.0 * (parts * floats * size_of::<f32>()) as f64;
    if let [source] = sources.as_slice() {
        // The target comes from the stream's pool, so that on a card this is the driver's copy and nothing else.
        return measure(device, copied, 8, || source.copy().map(drop).map_err(KernelError::from));
    }
    // Fresh memory would be written twice: the system clears it first.
    let targets = sources.iter().map(Tensor::copy).collect::<std::result::Result<Vec<_>, _>>()?;
    measure(device, copied, 1, || {
        std::thread::scope(|scope| {
            let copies: Vec<_> = sources
                .iter()
                .zip(&targets)
                .map(|(source, target)| scope.spawn(move || target.slice_set(source, 0, 0)))
                .collect();
            for copy in copies {
                copy.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            }
            Ok(())
        })
    })
}

/// Operations per second (a multiplication and an addition are two) of the product of two square matrices of so many rows, in
/// [`matmul_type`].
///
/// # Errors
/// What the device reports.
pub fn matmul_rate(device: &Device, side: usize) -> std::result::Result<Ceiling, KernelError> {
    let matrix = || Ok::<_, KernelError>(random(side * side, device)?.reshape((side, side))?.to_dtype(dtype(device))?);
    let (left, right) = (matrix()?, matrix()?);
    let launches = if device.is_cpu() { 1 } else { 8 };
    measure(device, 2.0 * (side as f64).powi(3), launches, || left.matmul(&right).map(drop).map_err(KernelError::from))
}

/// The element type of [`matmul_rate`]: bf16 on a card, summed in f32; f32 on the CPU, which multiplies no bf16.
#[must_use]
pub fn matmul_type(device: &Device) -> &'static str {
    dtype(device).as_str()
}

fn dtype(device: &Device) -> DType {
    if device.is_cpu() { DType::F32 } else { DType::BF16 }
}

/// Random numbers: products of zeros take less power than others, and so run faster. They come from the host, so that no
/// device needs a generator for them.
fn random(count: usize, device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_vec(Random(count as u64).vector(count), count, device)?)
}

/// The rate of something that does `work` at each launch, by the host's clock around so many launches and a wait.
fn measure(device: &Device, work: f64, launches: u32, mut launch: impl FnMut() -> Result<()>) -> Result<Ceiling> {
    launch()?;
    wait(device)?;
    let mut rates = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let began = Instant::now();
        for _ in 0..launches {
            launch()?;
        }
        wait(device)?;
        rates.push(work * f64::from(launches) / began.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    Ok(Ceiling { per_second: rates[RUNS / 2], slowest: rates[0], fastest: rates[RUNS - 1] })
}

/// Waits for what was launched; the CPU has done it already.
fn wait(device: &Device) -> Result<()> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => crate::cuda::synchronize(device),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_positive_and_in_order() {
        for rate in [copy_rate(&Device::Cpu, 1 << 20), matmul_rate(&Device::Cpu, 64)] {
            let Ceiling { per_second, slowest, fastest } = rate.expect("the CPU has memory");
            assert!(0.0 < slowest && slowest <= per_second && per_second <= fastest && fastest.is_finite());
        }
    }
}

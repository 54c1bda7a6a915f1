//! Opening a card, and what is known of it.

use candle_core::cuda_backend::cudarc::driver::{CudaContext, result, sys};
use candle_core::{CudaDevice, Device};

use super::fault::{driver_error, runtime_error};
use super::tensor::card;
use crate::error::{KernelError, Result};

/// The oldest compute capability that the kernels are compiled for.
const OLDEST_CAPABILITY: (i32, i32) = (8, 0);

/// The capability that candle's kernels were compiled for, as `90`; empty when the machine that built them was asked.
const CANDLE_CAPABILITY: &str = env!("CANDLE_CAPABILITY");

/// What is known of a card.
#[derive(Debug, Clone, PartialEq)]
pub struct CardFacts {
    /// The card's number.
    pub ordinal: usize,
    /// Its name.
    pub name: String,
    /// Compute capability, major and minor.
    pub compute_capability: (i32, i32),
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Memory in all, bytes.
    pub total_bytes: usize,
    /// Memory that nobody has taken, bytes.
    pub free_bytes: usize,
    /// The version of CUDA that the driver knows, as 1000 × major + 10 × minor.
    pub driver_version: i32,
}

/// Opens a card for one thread to launch on, with a stream of its own.
///
/// # Errors
/// Says that there is no such card, that it is too old, or what the driver reported.
#[allow(unsafe_code)]
pub fn open(ordinal: usize) -> std::result::Result<Device, KernelError> {
    let count = CudaContext::device_count().map_err(|error| driver_error(error, "counting the cards"))?;
    if ordinal >= usize::try_from(count).unwrap_or(0) {
        return Err(KernelError::Driver { detail: format!("there is no card {ordinal}: the driver sees {count}") });
    }
    let device = Device::new_cuda_with_stream(ordinal)?;
    let card = card(&device, "open", "device")?;
    let capability = capability(card)?;
    if capability < OLDEST_CAPABILITY {
        let (major, minor) = capability;
        let detail = format!("card {ordinal} has compute capability {major}.{minor}; 8.0 (Ampere) is the oldest");
        return Err(KernelError::Driver { detail });
    }
    if let Some(built) = foreign_capability(CANDLE_CAPABILITY, capability) {
        let (major, minor) = capability;
        let detail = format!(
            "card {ordinal} has compute capability {major}.{minor}, but candle's kernels in this build are for {built} alone; build it \
             with CUDA_COMPUTE_CAP={major}{minor}"
        );
        return Err(KernelError::Driver { detail });
    }
    // SAFETY: everything on this card runs in the one stream that was just made, so the stream's order is all that is needed.
    unsafe { card.disable_event_tracking() };
    keep_freed_memory(card)?;
    Ok(device)
}

/// Tells the facts of a card that was opened.
///
/// # Errors
/// What the driver reported.
pub fn facts(device: &Device) -> std::result::Result<CardFacts, KernelError> {
    let card = card(device, "facts", "device")?;
    let stream = card.cuda_stream();
    let context = stream.context();
    let said = |error| driver_error(error, "asking for facts");
    let (free_bytes, total_bytes) = context.mem_get_info().map_err(said)?;
    let attribute = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
    let multiprocessors = context.attribute(attribute).map_err(said)?;
    let mut driver_version = 0;
    // SAFETY: the driver writes one number to the place that it is given.
    #[allow(unsafe_code)]
    unsafe { sys::cuDriverGetVersion(&raw mut driver_version) }.result().map_err(said)?;
    Ok(CardFacts {
        ordinal: context.ordinal(),
        name: context.name().map_err(said)?,
        compute_capability: capability(card)?,
        multiprocessors: u32::try_from(multiprocessors).unwrap_or(1),
        total_bytes,
        free_bytes,
        driver_version,
    })
}

/// Waits until everything that was launched has run.
///
/// # Errors
/// What went wrong on the card since the last wait.
pub fn synchronize(device: &Device) -> std::result::Result<(), KernelError> {
    let card = card(device, "synchronize", "device")?;
    card.cuda_stream().synchronize().map_err(|error| driver_error(error, "waiting for the stream"))
}

/// The capability that a build is for, if it is another than the card's.
fn foreign_capability(built: &str, (major, minor): (i32, i32)) -> Option<&str> {
    let digits = built.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    (!digits.is_empty() && digits != format!("{major}{minor}")).then_some(built)
}

/// Reports what a launch of candle's own left behind: those report nothing by themselves.
///
/// # Errors
/// The runtime's number of the error.
pub fn check_launches() -> std::result::Result<(), KernelError> {
    // SAFETY: the runtime declares the function so.
    #[allow(unsafe_code)]
    unsafe extern "C" {
        fn cudaGetLastError() -> i32;
    }
    // SAFETY: the function takes nothing and gives a number; the runtime is linked, since candle's kernels need it.
    #[allow(unsafe_code)]
    let error = unsafe { cudaGetLastError() };
    if error == 0 {
        return Ok(());
    }
    Err(runtime_error(error, "a launch of candle's"))
}

fn capability(card: &CudaDevice) -> Result<(i32, i32)> {
    let stream = card.cuda_stream();
    stream.context().compute_capability().map_err(|error| driver_error(error, "compute_capability"))
}

/// Freed memory stays with the stream's pool: giving it back to the system at every wait would cost more than the kernels.
#[allow(unsafe_code)]
fn keep_freed_memory(card: &CudaDevice) -> Result<()> {
    let stream = card.cuda_stream();
    let mut threshold = u64::MAX;
    // SAFETY: the device exists, and the attribute's value is the 64-bit number that the driver reads.
    let set = unsafe {
        result::device::get_mem_pool(stream.context().cu_device()).and_then(|pool| {
            let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut threshold).cast()).result()
        })
    };
    set.map_err(|error| driver_error(error, "setting up the memory pool"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_for_another_card_is_told_apart() {
        assert_eq!(foreign_capability("90", (9, 0)), None);
        assert_eq!(foreign_capability("90a", (9, 0)), None);
        assert_eq!(foreign_capability("", (8, 6)), None, "the machine that built it was asked");
        assert_eq!(foreign_capability("90", (8, 6)), Some("90"));
        assert_eq!(foreign_capability("100", (10, 3)), Some("100"));
    }
}

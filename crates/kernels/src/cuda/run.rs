//! Runs a launch on a card's stream.

use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, LaunchConfig, PushKernelArg};

use super::fault::driver_error;
use super::modules::Functions;
use crate::error::Result;
use crate::launch::{KernelArguments, Launch};

/// A kernel's one argument, as the driver takes it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct ByValue<A>(A);

// SAFETY: `KernelArguments` promises the layout of the kernel's own struct, and the struct is transparent.
#[allow(unsafe_code)]
unsafe impl<A: KernelArguments> DeviceRepr for ByValue<A> {}

/// Puts a launch into the card's stream; a grid without blocks is nothing to do.
///
/// # Safety
/// Every pointer of the arguments leads to memory of this card that is as large as the kernel's contract says, and that lives
/// until what is in the stream has run: memory that is freed in the order of the same stream does.
#[allow(unsafe_code)]
pub(super) unsafe fn run<A: KernelArguments>(device: &CudaDevice, launch: &Launch<A>) -> Result<()> {
    let [x, y, z] = launch.blocks;
    if x == 0 || y == 0 || z == 0 {
        return Ok(());
    }
    let function = Functions::of(device)?.get(&launch.kernel, launch.shared_bytes)?;
    let configuration =
        LaunchConfig { grid_dim: (x, y, z), block_dim: (launch.threads, 1, 1), shared_mem_bytes: launch.shared_bytes };
    let argument = ByValue(launch.arguments);
    let stream = device.cuda_stream();
    let mut builder = stream.launch_builder(&function);
    builder.arg(&argument);
    // SAFETY: the kernel takes this one struct, and the caller answers for its pointers.
    unsafe { builder.launch(configuration) }.map_err(|error| driver_error(error, &launch.kernel))?;
    Ok(())
}

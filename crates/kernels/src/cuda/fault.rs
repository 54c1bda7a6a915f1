//! What an error of the driver means: too little memory, a card that is lost, or a mistake of ours.

use candle_core::cuda_backend::CudaError;
use candle_core::cuda_backend::cudarc::driver::DriverError;
use candle_core::cuda_backend::cudarc::driver::sys::CUresult;

use crate::error::KernelError;

/// The kernels' error for one of the driver's.
pub(super) fn driver_error(error: DriverError, during: &str) -> KernelError {
    let detail = format!("{error} (during {during})");
    classify(error.0, detail.clone()).unwrap_or(KernelError::Driver { detail })
}

/// The kernels' error for one of candle's, if it is one that somebody must act on.
pub(crate) fn candle_error(error: &candle_core::Error) -> Option<KernelError> {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => candle_error(inner),
        candle_core::Error::Cuda(cause) => match cause.downcast_ref::<CudaError>()? {
            CudaError::Cuda(driver) | CudaError::Load { cuda: driver, .. } => classify(driver.0, driver.to_string()),
            // cuBLAS reports a dead context as its own failure; the next call of the driver tells.
            _ => None,
        },
        _ => None,
    }
}

/// The kernels' error for a number of the runtime. Those that somebody must act on are the driver's numbers.
pub(super) fn runtime_error(number: i32, during: &str) -> KernelError {
    let detail = format!("the runtime's error {number} (during {during})");
    let known = ACTED_ON.iter().find(|result| **result as u32 == number as u32);
    known.and_then(|result| classify(*result, detail.clone())).unwrap_or(KernelError::Driver { detail })
}

/// Results whose numbers the runtime shares with the driver: out of memory, and those after which nothing works any more.
const ACTED_ON: &[CUresult] = &[
    CUresult::CUDA_ERROR_OUT_OF_MEMORY,
    CUresult::CUDA_ERROR_ECC_UNCORRECTABLE,
    CUresult::CUDA_ERROR_CONTAINED,
    CUresult::CUDA_ERROR_ILLEGAL_ADDRESS,
    CUresult::CUDA_ERROR_LAUNCH_TIMEOUT,
    CUresult::CUDA_ERROR_ASSERT,
    CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR,
    CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION,
    CUresult::CUDA_ERROR_MISALIGNED_ADDRESS,
    CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE,
    CUresult::CUDA_ERROR_INVALID_PC,
    CUresult::CUDA_ERROR_LAUNCH_FAILED,
    CUresult::CUDA_ERROR_UNKNOWN,
];

fn classify(result: CUresult, detail: String) -> Option<KernelError> {
    use CUresult::*;
    match result {
        CUDA_ERROR_OUT_OF_MEMORY => Some(KernelError::OutOfMemory { detail }),
        // After any of these every later call in the process fails as well.
        CUDA_ERROR_ILLEGAL_ADDRESS
        | CUDA_ERROR_LAUNCH_FAILED
        | CUDA_ERROR_LAUNCH_TIMEOUT
        | CUDA_ERROR_MISALIGNED_ADDRESS
        | CUDA_ERROR_INVALID_ADDRESS_SPACE
        | CUDA_ERROR_INVALID_PC
        | CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUDA_ERROR_ASSERT
        | CUDA_ERROR_ECC_UNCORRECTABLE
        | CUDA_ERROR_NVLINK_UNCORRECTABLE
        | CUDA_ERROR_CONTEXT_IS_DESTROYED
        | CUDA_ERROR_DEINITIALIZED
        | CUDA_ERROR_SYSTEM_NOT_READY
        | CUDA_ERROR_DEVICE_UNAVAILABLE
        | CUDA_ERROR_EXTERNAL_DEVICE
        | CUDA_ERROR_CONTAINED
        | CUDA_ERROR_TENSOR_MEMORY_LEAK
        | CUDA_ERROR_MPS_CLIENT_TERMINATED
        | CUDA_ERROR_UNKNOWN => Some(KernelError::DeviceLost { detail }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_means_what_must_be_done_about_it() {
        let of = |result| driver_error(DriverError(result), "a test");
        assert!(matches!(of(CUresult::CUDA_ERROR_OUT_OF_MEMORY), KernelError::OutOfMemory { .. }));
        assert!(matches!(of(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS), KernelError::DeviceLost { .. }));
        assert!(matches!(of(CUresult::CUDA_ERROR_INVALID_VALUE), KernelError::Driver { .. }));
        // cudaErrorIllegalAddress, cudaErrorMemoryAllocation and cudaErrorInvalidConfiguration.
        assert!(matches!(runtime_error(700, "a test"), KernelError::DeviceLost { .. }));
        assert!(matches!(runtime_error(2, "a test"), KernelError::OutOfMemory { .. }));
        assert!(matches!(runtime_error(9, "a test"), KernelError::Driver { .. }));
    }
}

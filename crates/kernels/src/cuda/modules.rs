//! The compiled kernels that travel in this binary, and their functions on each card.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaFunction, CudaModule, DriverError, sys};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;

use super::fault::driver_error;
use crate::error::{KernelError, Result};

/// A source file of `csrc`, compiled.
struct Module {
    name: &'static str,
    /// For Hopper.
    cubin: &'static [u8],
    /// For the driver to compile, for every other card.
    ptx: &'static str,
}

const MODULES: &[Module] = include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// The compute capability that the cubins are made for.
const CUBIN_CAPABILITY: (i32, i32) = (9, 0);

/// Dynamic shared memory that a block may have without being asked for.
const PLAIN_SHARED_BYTES: u32 = 48 * 1024;

/// The functions of one card.
pub(super) struct Functions {
    modules: Vec<Arc<CudaModule>>,
    by_name: Mutex<HashMap<String, CudaFunction>>,
}

/// Those of every card that was used, by ordinal.
static LOADED: OnceLock<Mutex<HashMap<usize, Arc<Functions>>>> = OnceLock::new();

impl Functions {
    /// Those of a card; loaded when it is first asked for.
    pub(super) fn of(device: &CudaDevice) -> Result<Arc<Self>> {
        let stream = device.cuda_stream();
        let context = stream.context();
        let mut loaded = LOADED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(functions) = loaded.get(&context.ordinal()) {
            return Ok(functions.clone());
        }
        let functions = Arc::new(Self::load(context)?);
        loaded.insert(context.ordinal(), functions.clone());
        Ok(functions)
    }

    fn load(context: &Arc<CudaContext>) -> Result<Self> {
        let capability = context.compute_capability().map_err(|error| driver_error(error, "compute_capability"))?;
        let mut modules = Vec::with_capacity(MODULES.len());
        for module in MODULES {
            let image = if capability == CUBIN_CAPABILITY {
                Ptx::from_binary(module.cubin.to_vec())
            } else {
                Ptx::from_src(module.ptx)
            };
            modules.push(context.load_module(image).map_err(|error| driver_error(error, module.name))?);
        }
        Ok(Self { modules, by_name: Mutex::default() })
    }

    /// Asks each module for a kernel; any other answer than that it is not there is an error.
    fn find(&self, name: &str) -> Result<CudaFunction> {
        for module in &self.modules {
            match module.load_function(name) {
                Ok(function) => return Ok(function),
                Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_FOUND)) => {}
                Err(error) => return Err(driver_error(error, name)),
            }
        }
        Err(KernelError::MissingKernel { kernel: name.to_string() })
    }

    /// A kernel by its name, allowed to use so much shared memory.
    pub(super) fn get(&self, name: &str, shared_bytes: u32) -> Result<CudaFunction> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let function = match by_name.get(name) {
            Some(function) => function.clone(),
            None => {
                let function = self.find(name)?;
                by_name.insert(name.to_string(), function.clone());
                function
            }
        };
        if shared_bytes > PLAIN_SHARED_BYTES {
            let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = i32::try_from(shared_bytes).unwrap_or(i32::MAX);
            function.set_attribute(attribute, bytes).map_err(|error| driver_error(error, "shared memory"))?;
        }
        Ok(function)
    }
}

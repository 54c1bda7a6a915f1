//! A sequence of launches that was recorded once and is played again as one.

use std::fmt;

use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::{CudaGraph, sys};

use super::fault::driver_error;
use super::tensor::card;
use crate::error::{KernelError, Result};

/// A recorded sequence of launches. It reads and writes the addresses that it was recorded with; what it allocates it frees.
pub struct Graph(CudaGraph);

// SAFETY: a graph is used by the thread that owns it; the driver asks only that no two threads use it at the same time.
#[allow(unsafe_code)]
unsafe impl Send for Graph {}

impl Graph {
    /// Records what `launch` puts into the device's stream; nothing of it runs.
    ///
    /// Whatever `launch` allocates it must free, and whatever lazily grows (workspaces, modules) must have grown before.
    ///
    /// # Errors
    /// What `launch` or the driver reported; the stream is usable again in either case.
    pub fn record<E: From<KernelError>>(
        device: &Device,
        launch: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let stream = card(device, "graph", "device")?.cuda_stream();
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        stream.begin_capture(mode).map_err(|error| driver_error(error, "beginning a graph"))?;
        let launched = launch();
        let recorded = stream.end_capture(sys::CUgraphInstantiate_flags_enum(0));
        launched?;
        match recorded.map_err(|error| driver_error(error, "ending a graph"))? {
            Some(graph) => Ok(Self(graph)),
            None => Err(KernelError::Driver { detail: "the recorded graph is empty".to_string() }.into()),
        }
    }

    /// Puts the recorded launches into the stream again.
    ///
    /// # Errors
    /// What the driver reported.
    pub fn launch(&self) -> Result<()> {
        self.0.launch().map_err(|error| driver_error(error, "launching a graph"))
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Graph")
    }
}

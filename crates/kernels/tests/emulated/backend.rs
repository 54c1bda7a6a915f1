//! The backend that plans launches as a card's does, and gives them to the emulator.
#![allow(unsafe_code)]

use sconce_emulator::Grid;
use sconce_kernels::checks::{Backend, Normalized};
use sconce_kernels::launch::{DevicePointer, ElementType, KernelArguments, Launch, RmsNorm, RmsNormArguments};

use crate::memory::Buffer;

pub(crate) struct Emulated {
    activation: ElementType,
}

impl Emulated {
    pub(crate) fn new(activation: ElementType) -> Self {
        Self { activation }
    }
}

/// Runs a launch; the buffers that its arguments name outlive the call.
fn run<A: KernelArguments>(launch: &Launch<A>, seed: u64) -> Result<(), String> {
    let Launch { kernel, blocks, threads, shared_bytes, arguments } = launch;
    let grid = Grid { kernel, blocks: *blocks, threads: *threads, shared_bytes: *shared_bytes };
    // SAFETY: the arguments are the kernel's own struct, and its pointers lead to buffers of the size that the plan was made for.
    unsafe { sconce_emulator::launch(grid, arguments, seed) }
}

/// Gives what `compute` gives for two orders of threads, which must be the same.
fn twice<T: PartialEq + std::fmt::Debug>(compute: impl Fn(u64) -> Result<T, String>) -> Result<T, String> {
    let first = compute(1)?;
    if compute(2)? == first { Ok(first) } else { Err("the result depends on the order of threads".to_string()) }
}

impl Backend for Emulated {
    fn name(&self) -> String {
        format!("emulated, {}", self.activation.suffix())
    }

    fn activation(&self) -> ElementType {
        self.activation
    }

    fn rms_norm(
        &self,
        base: &[f32],
        update: Option<&[f32]>,
        weight: &[f32],
        epsilon: f32,
    ) -> Result<Normalized, String> {
        let base_buffer = Buffer::floats(base, ElementType::F32);
        let update_buffer = update.map(|update| Buffer::floats(update, self.activation));
        let weight_buffer = Buffer::floats(weight, ElementType::F32);
        twice(|seed| {
            let normed = Buffer::poisoned(base.len(), self.activation);
            let sum = Buffer::poisoned(base.len(), ElementType::F32);
            let arguments = RmsNormArguments {
                base: base_buffer.pointer(),
                update: update_buffer.as_ref().map_or(DevicePointer::default(), Buffer::pointer),
                weight: weight_buffer.pointer(),
                normed: normed.pointer(),
                sum: sum.pointer(),
                width: weight.len() as u32,
                epsilon,
            };
            let rows = (base.len() / weight.len()) as u32;
            run(&RmsNorm { rows, activation: self.activation, arguments }.launch(), seed)?;
            let sum = if update.is_some() { sum.read(ElementType::F32) } else { base.to_vec() };
            Ok(Normalized { normed: normed.read(self.activation), sum })
        })
    }
}

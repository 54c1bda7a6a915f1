//! Runs the CUDA kernels of `crates/kernels/csrc` on the host, thread by thread, so that tests need no card.
//!
//! The very same sources are compiled by the C++ compiler, with CUDA's words (threads, barriers, warp shuffles, shared memory)
//! given a meaning on the host. What it proves: indices, strides, masks, barriers and arithmetic. What it does not: speed,
//! memory ordering between blocks, and what only the hardware rounds its own way.
//!
//! Invariants: a kernel that waits for threads that never come, or writes behind its shared memory, is an error and not a
//! hang; the order in which threads run is drawn from a seed. Knows nothing of tensors: pointers come in.
#![allow(unsafe_code)]

pub mod arithmetic;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::{Mutex, PoisonError};

unsafe extern "C" {
    fn sconce_emulator_launch(
        name: *const c_char,
        grid: *const u32,
        threads: u32,
        shared_bytes: u32,
        arguments: *const c_void,
        seed: u64,
    ) -> c_int;
    fn sconce_emulator_kernels() -> *const c_char;
}

/// One grid at a time: the emulated indices are the process's.
static TURN: Mutex<()> = Mutex::new(());

/// A grid to run.
#[derive(Debug, Clone, Copy)]
pub struct Grid<'a> {
    /// The kernel's name, as in its `KERNEL` line.
    pub kernel: &'a str,
    /// Blocks along x, y and z.
    pub blocks: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
}

/// Runs a grid to its end; `seed` decides in which order threads run between two barriers.
///
/// # Errors
/// In words: a kernel that does not exist, threads that wait for each other for ever, a write behind the shared memory.
///
/// # Safety
/// `arguments` is the struct that the kernel was declared with, and each pointer in it leads to host memory that is as large as
/// the kernel's contract says and is not used meanwhile.
pub unsafe fn launch<A>(grid: Grid<'_>, arguments: &A, seed: u64) -> Result<(), String> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let name = CString::new(grid.kernel).map_err(|_| format!("{:?} is no name of a kernel", grid.kernel))?;
    let arguments = std::ptr::from_ref(arguments).cast::<c_void>();
    // SAFETY: the name ends in a zero, the grid has three numbers, and the caller promises that the arguments fit.
    let outcome = unsafe {
        sconce_emulator_launch(name.as_ptr(), grid.blocks.as_ptr(), grid.threads, grid.shared_bytes, arguments, seed)
    };
    match outcome {
        0 => Ok(()),
        1 => Err(format!("there is no kernel {:?}", grid.kernel)),
        2 => Err(format!("{}: threads wait for others that never come", grid.kernel)),
        _ => Err(format!("{}: something was written behind the shared memory", grid.kernel)),
    }
}

/// The names of all kernels, sorted.
#[must_use]
pub fn kernels() -> Vec<String> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the function gives a string that ends in a zero and lives until its next call, which the lock keeps off.
    let names = unsafe { CStr::from_ptr(sconce_emulator_kernels()) }.to_string_lossy().into_owned();
    let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
    names.sort();
    names
}

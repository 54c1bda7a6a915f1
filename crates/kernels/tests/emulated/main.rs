//! The checks of every operation on the CUDA kernels themselves, run by the emulator on the host. Each launch runs in two
//! orders of threads and must give the same bits: what differs is a missing barrier.

mod backend;
mod memory;

use backend::Emulated;
use sconce_kernels::checks::{CHECKS, Random};
use sconce_kernels::launch::ElementType;

#[test]
fn every_operation_agrees_with_its_reference() {
    for activation in [ElementType::F32, ElementType::Bf16] {
        for (operation, check) in CHECKS {
            let report = check(&Emulated::new(activation), &mut Random(7)).unwrap_or_else(|error| panic!("{error}"));
            assert!(report.cases > 0, "{operation} has cases");
        }
    }
}

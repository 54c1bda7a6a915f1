//! The checks of every operation on the CUDA kernels themselves, run by the emulator on the host. Each launch runs in two
//! orders of threads and must give the same bits: what differs is a missing barrier.

mod arithmetic;
mod backend;
mod memory;

use backend::Emulated;
use sconce_kernels::checks::{Outcome, run_checks};
use sconce_kernels::launch::ElementType;

fn check(backend: Emulated) {
    let outcomes = run_checks(&backend, 7).unwrap_or_else(|error| panic!("{error}"));
    for outcome in outcomes {
        println!("{outcome:?}");
        match outcome {
            Outcome::Agrees(report) => assert!(report.cases > 0, "{} has cases", report.operation),
            Outcome::Skipped(operation) => assert!(operation.ends_with("matmul"), "{operation} is in the emulator"),
        }
    }
}

#[test]
fn single_precision_agrees_with_the_reference() {
    check(Emulated { activation: ElementType::F32, misaligned: false, multiprocessors: 5 });
}

#[test]
fn half_precision_agrees_with_the_reference() {
    check(Emulated { activation: ElementType::Bf16, misaligned: false, multiprocessors: 132 });
}

#[test]
fn addresses_that_allow_no_vectors_give_the_same() {
    check(Emulated { activation: ElementType::F32, misaligned: true, multiprocessors: 1 });
    check(Emulated { activation: ElementType::Bf16, misaligned: true, multiprocessors: 1 });
}

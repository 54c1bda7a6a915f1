//! The checks that every device runs, on the CPU.

use candle_core::Device;
use sconce_kernels::checks::{CHECKS, Random, TensorBackend};
use sconce_kernels::launch::ElementType;

#[test]
fn every_operation_agrees_with_its_reference() {
    let backend = TensorBackend::new(Device::Cpu, ElementType::F32);
    for (operation, check) in CHECKS {
        let report = check(&backend, &mut Random(7)).unwrap_or_else(|error| panic!("{error}"));
        assert!(report.cases > 0, "{operation} has cases");
    }
}

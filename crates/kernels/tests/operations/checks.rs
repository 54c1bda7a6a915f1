//! The checks that every device runs, on the CPU.

use candle_core::Device;
use sconce_kernels::checks::{Outcome, TensorBackend, run_checks};
use sconce_kernels::launch::ElementType;

#[test]
fn every_operation_agrees_with_its_reference() {
    let backend = TensorBackend::new(Device::Cpu, ElementType::F32);
    let outcomes = run_checks(&backend, 7).unwrap_or_else(|error| panic!("{error}"));
    let skipped: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| if let Outcome::Skipped(name) = outcome { Some(*name) } else { None })
        .collect();
    assert_eq!(skipped, ["resolve_tokens"]);
    for outcome in outcomes {
        println!("{outcome:?}");
        assert!(!matches!(outcome, Outcome::Agrees(report) if report.cases == 0), "every check has cases");
    }
}

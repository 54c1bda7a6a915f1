//! `sconce bench kernels`: every operation on a device against its scalar reference, and the device's draws against the host's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use anyhow::Result;
use sconce_kernels::checks::{self, CHECKS, CheckReport, TensorBackend};
use sconce_kernels::launch::ElementType;
use sconce_model::Device;
use sconce_model::sampling::{DrawReport, check_device};
use serde_json::json;

use super::args::BenchKernelsArguments;
use super::findings::{self, Finding, Outcome};

/// Checks everything, and goes on after a failure.
pub(crate) fn run(arguments: &BenchKernelsArguments) -> Result<ExitCode> {
    arguments.out.as_deref().map(super::check_out).transpose()?;
    let devices = arguments.devices.open()?;
    let seed = arguments.seed.unwrap_or_else(findings::fresh_seed);
    println!("Inputs of seed {seed}\n");
    findings::head();
    let mut found = Vec::new();
    for (ordinal, device) in devices.as_slice().iter().enumerate() {
        check_device_on(device, ordinal, seed, &mut found);
    }
    let about = json!({ "sconce": env!("CARGO_PKG_VERSION"), "command": "kernels", "seed": seed });
    findings::conclude(about, &found, arguments.out.as_deref())
}

fn check_device_on(device: &Device, ordinal: usize, seed: u64, found: &mut Vec<Finding>) {
    let kind = if device.is_cpu() { "cpu" } else { "cuda" };
    let activations: &[ElementType] =
        if device.is_cpu() { &[ElementType::F32] } else { &[ElementType::F32, ElementType::Bf16] };
    let mut add = |finding: Finding| {
        findings::say(&finding);
        found.push(finding);
    };
    for &activation in activations {
        let part = format!("{kind} {ordinal}, {}", activation.suffix());
        let backend = TensorBackend::new(device.clone(), activation);
        let mut outcomes = checks::each_check(&backend, seed);
        for (operation, _) in CHECKS {
            // An assertion of the tensor library must not hide what the other operations do.
            let outcome = catch_unwind(AssertUnwindSafe(|| outcomes.next()));
            add(match outcome {
                Ok(Some((_, Ok(checks::Outcome::Agrees(report))))) => agreed(&part, &report),
                Ok(Some((_, Ok(checks::Outcome::Skipped(_))))) => {
                    Finding::skipped(&part, operation, "no public function does this on this device")
                }
                Ok(Some((_, Err(error)))) => Finding::failed(&part, operation, error),
                Ok(None) => Finding::failed(&part, operation, "it was not checked".to_string()),
                Err(_) => Finding::failed(&part, operation, "it panicked; see standard error".to_string()),
            });
        }
    }
    let part = format!("{kind} {ordinal}");
    add(match check_device(device, seed) {
        Ok(Some(DrawReport { draws, failures })) => Finding {
            part,
            case: "sampling".to_string(),
            outcome: Outcome::Agrees,
            note: format!("{draws} draws are the host's, bit for bit; {failures} of them fail alike"),
            figures: json!({ "draws": draws, "failures": failures }),
        },
        Ok(None) => Finding::skipped(&part, "sampling", "the CPU draws with the sampler that others are compared with"),
        Err(error) => Finding::failed(&part, "sampling", error),
    });
}

fn agreed(part: &str, report: &CheckReport) -> Finding {
    let CheckReport { operation, cases, worst, allowed } = *report;
    Finding {
        part: part.to_string(),
        case: operation.to_string(),
        outcome: Outcome::Agrees,
        note: format!("{cases} cases, worst error {worst:.1e} of {allowed:.1e} allowed"),
        figures: json!({ "cases": cases, "worst": worst, "allowed": allowed }),
    }
}

//! `sconce bench kernels`: every operation on a device against its scalar reference, and the device's draws against the host's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use anyhow::{Result, bail};
use sconce_kernels::checks::{self, CHECKS, CheckReport, TensorBackend};
use sconce_kernels::launch::ElementType;
use sconce_model::Device;
use sconce_model::sampling::{DrawReport, check_device};
use serde_json::json;

use super::args::BenchKernelsArguments;
use super::findings::{self, Finding, Outcome};
use crate::out::say;

/// The check of what is drawn, beside those of the kernels' crate.
const SAMPLING: &str = "sampling";

/// Checks everything, and goes on after a failure.
pub(crate) fn run(arguments: &BenchKernelsArguments) -> Result<ExitCode> {
    arguments.out.as_deref().map(super::check_out).transpose()?;
    let names: Vec<&str> = CHECKS.iter().map(|(operation, _)| *operation).chain([SAMPLING]).collect();
    if let Some(unknown) = arguments.operations.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("{unknown:?} is no operation; there are {}", names.join(", "));
    }
    let devices = arguments.devices.open()?;
    let seed = arguments.seed.unwrap_or_else(findings::fresh_seed);
    say!("Inputs of seed {seed}\n");
    findings::head();
    let mut found = Vec::new();
    let names = arguments.devices.names();
    for (device, name) in devices.as_slice().iter().zip(&names) {
        let place = if device.is_cpu() { name.clone() } else { format!("cuda {name}") };
        check_on(device, &place, seed, &arguments.operations, &mut found);
    }
    let about = json!({ "sconce": env!("CARGO_PKG_VERSION"), "command": "kernels", "devices": arguments.devices.to_string(), "seed": seed });
    findings::conclude(&about, &found, arguments.out.as_deref())
}

/// Checks the operations that are named, or all when none is.
fn check_on(device: &Device, place: &str, seed: u64, named: &[String], found: &mut Vec<Finding>) {
    let wanted = |operation: &str| named.is_empty() || named.iter().any(|name| name == operation);
    let activations: &[ElementType] =
        if device.is_cpu() { &[ElementType::F32] } else { &[ElementType::F32, ElementType::Bf16] };
    let mut add = |finding: Finding| {
        findings::say(&finding);
        found.push(finding);
    };
    for &activation in activations {
        let part = format!("{place}, {}", activation.suffix());
        let backend = TensorBackend::new(device.clone(), activation);
        for &(operation, check) in CHECKS.iter().filter(|(operation, _)| wanted(operation)) {
            // An assertion of the tensor library must not hide what the other operations do.
            let run = || checks::run_check(&backend, operation, check, seed);
            add(match catch_unwind(AssertUnwindSafe(run)) {
                Ok(Ok(checks::Outcome::Agrees(report))) => agreed(&part, &report),
                Ok(Ok(checks::Outcome::Skipped(_))) => {
                    Finding::skipped(&part, operation, "no public function does this on this device")
                }
                Ok(Err(error)) => Finding::failed(&part, operation, error),
                Err(_) => Finding::failed(&part, operation, "it panicked; see standard error".to_string()),
            });
        }
    }
    if wanted(SAMPLING) {
        add(sampling(device, place, seed));
    }
}

fn sampling(device: &Device, place: &str, seed: u64) -> Finding {
    match check_device(device, seed) {
        Ok(Some(DrawReport { draws, failures })) => Finding {
            part: place.to_string(),
            case: SAMPLING.to_string(),
            outcome: Outcome::Agrees,
            note: format!("{draws} draws are the host's, bit for bit; {failures} of them fail alike"),
            figures: json!({ "draws": draws, "failures": failures }),
        },
        Ok(None) => Finding::skipped(place, SAMPLING, "the CPU draws with the sampler that others are compared with"),
        Err(error) => Finding::failed(place, SAMPLING, error),
    }
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

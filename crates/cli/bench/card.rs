//! `sconce bench card`: what a device is, and what it does at best.

use anyhow::{Context, Result};
use sconce_kernels::ceilings::{self, Ceiling};
use sconce_model::Device;
use serde_json::{Value, json};

use super::args::BenchCardArguments;
use crate::out::say;

/// Prints the facts of each device as JSON.
pub(crate) fn run(arguments: &BenchCardArguments) -> Result<()> {
    arguments.out.as_deref().map(super::check_out).transpose()?;
    let devices = arguments.devices.open()?;
    let mut facts = Vec::new();
    for device in devices.as_slice() {
        let ceilings = Ceilings::measure(device, arguments.quick)?;
        facts.push(json!({ "facts": device_facts(device)?, "ceilings": ceilings.to_json() }));
    }
    let text = serde_json::to_string_pretty(&json!({ "sconce": env!("CARGO_PKG_VERSION"), "devices": facts }))?;
    say!("{text}");
    if let Some(out) = &arguments.out {
        std::fs::write(out, text).with_context(|| format!("{} cannot be written", out.display()))?;
    }
    Ok(())
}

/// The measured ceilings of a device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ceilings {
    /// Bytes per second, read and written.
    pub(crate) copy: Ceiling,
    /// Operations per second.
    pub(crate) matmul: Ceiling,
    matmul_type: &'static str,
    copied_bytes: usize,
    matmul_side: usize,
}

impl Ceilings {
    /// Measures them.
    pub(crate) fn measure(device: &Device, quick: bool) -> Result<Self> {
        // Caches hold tens of megabytes; a product of a few thousand rows fills every multiprocessor.
        let (copied_bytes, matmul_side) = match (device, quick) {
            (_, true) => (8 << 20, 256),
            (Device::Cpu, false) => (256 << 20, 1024),
            (_, false) => (256 << 20, 8192),
        };
        Ok(Self {
            copy: ceilings::copy_rate(device, copied_bytes)?,
            matmul: ceilings::matmul_rate(device, matmul_side)?,
            matmul_type: ceilings::matmul_type(device),
            copied_bytes,
            matmul_side,
        })
    }

    pub(crate) fn to_json(self) -> Value {
        let range = |ceiling: Ceiling| json!([ceiling.slowest, ceiling.fastest]);
        json!({
            "copy_bytes_per_second": self.copy.per_second,
            "copy_range": range(self.copy),
            "copied_bytes": self.copied_bytes,
            "matmul_flops": self.matmul.per_second,
            "matmul_range": range(self.matmul),
            "matmul_type": self.matmul_type,
            "matmul_side": self.matmul_side,
        })
    }
}

/// What is known of a device.
pub(crate) fn device_facts(device: &Device) -> Result<Value> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => {
            let facts = sconce_kernels::cuda::facts(device)?;
            let (major, minor) = facts.compute_capability;
            Ok(json!({
                "kind": "cuda",
                "ordinal": facts.ordinal,
                "name": facts.name,
                "compute_capability": format!("{major}.{minor}"),
                "multiprocessors": facts.multiprocessors,
                "total_bytes": facts.total_bytes,
                "free_bytes": facts.free_bytes,
                "driver_version": facts.driver_version,
            }))
        }
        _ => Ok(json!({
            "kind": "cpu",
            "name": system_field("/proc/cpuinfo", "model name"),
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "memory": system_field("/proc/meminfo", "MemTotal"),
        })),
    }
}

/// The first value of a field in one of the system's files; none where there is no such file.
fn system_field(file: &str, field: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

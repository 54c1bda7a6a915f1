//! The report: what was checked where, as a table to paste into an issue, or as JSON.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;
use sconce_model::Checkpoint;
use serde_json::{Map, Value, json};

use crate::args::VerifyArguments;
use crate::bench::findings::{Finding, Outcome};
use crate::out::say;

/// What stands above the table, by name.
pub(super) struct About(Map<String, Value>);

impl About {
    /// What is known before the file is read.
    pub(super) fn of(arguments: &VerifyArguments, digest: Option<&str>) -> Self {
        let mut about = Map::new();
        about.insert("sconce".into(), env!("CARGO_PKG_VERSION").into());
        about.insert("commit".into(), option_env!("SCONCE_COMMIT").into());
        about.insert("cpu".into(), cpu_features().into());
        about.insert("devices".into(), arguments.devices.to_string().into());
        let cache = arguments.kv_cache_dtype.to_possible_value().map(|value| value.get_name().to_owned());
        about.insert("kv_cache_dtype".into(), cache.into());
        about.insert("model".into(), arguments.model.display().to_string().into());
        about.insert("sha256".into(), digest.into());
        Self(about)
    }
}

/// Findings as they come.
pub(super) struct Report {
    about: About,
    findings: Vec<Finding>,
    json: bool,
}

impl Report {
    pub(super) fn new(about: About, json: bool) -> Self {
        Self { about, findings: Vec::new(), json }
    }

    /// Adds what the header says of the model.
    pub(super) fn describe(&mut self, file: &Checkpoint) {
        let text = |key: &str| file.metadata().str_opt(key).ok().flatten().map(str::to_owned);
        let mut types: Vec<String> = file.tensors().iter().map(|info| format!("{:?}", info.weight_type)).collect();
        types.sort_unstable();
        types.dedup();
        self.about.0.insert("architecture".into(), text("general.architecture").into());
        self.about.0.insert("quantization".into(), types.join(", ").into());
        self.about.0.insert("tokenizer".into(), text("tokenizer.ggml.model").into());
        self.about.0.insert("pre_tokenizer".into(), text("tokenizer.ggml.pre").into());
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Prints everything, and gives the exit status: success only when nothing failed.
    pub(super) fn conclude(self) -> Result<ExitCode> {
        let failures = self.findings.iter().filter(|finding| finding.outcome == Outcome::Fails).count();
        if self.json {
            let checks: Vec<Value> = self.findings.iter().map(row).collect();
            let whole = json!({ "about": self.about.0, "failed": failures, "checks": checks });
            say!("{}", serde_json::to_string_pretty(&whole)?);
        } else {
            for (name, value) in &self.about.0 {
                say!("- {name}: {}", value.as_str().unwrap_or("unknown"));
            }
            say!("\n| check | outcome | figures |\n| --- | --- | --- |");
            for finding in &self.findings {
                let note = finding.note.replace('|', "\\|").replace('\n', " ");
                say!("| {}: {} | {} | {note} |", finding.part, finding.case, word(finding.outcome));
            }
            say!("\n{} checks, {failures} failed", self.findings.len());
        }
        Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn row(finding: &Finding) -> Value {
    json!({
        "part": finding.part,
        "check": finding.case,
        "outcome": word(finding.outcome),
        "note": finding.note,
        "figures": finding.figures,
    })
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Agrees => "pass",
        Outcome::Fails => "fail",
        Outcome::Skipped => "skipped",
    }
}

/// Features that the kernels ask the CPU for.
fn cpu_features() -> String {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("f16c", std::arch::is_x86_feature_detected!("f16c")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let found: [(&str, bool); 0] = [];
    let names: Vec<&str> = found.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    format!("{} {}", std::env::consts::ARCH, names.join(" "))
}

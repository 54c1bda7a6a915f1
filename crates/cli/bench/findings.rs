//! What checks found: a table for people, JSON for machines, and an exit status.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use crate::out::say;

/// How a comparison ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Agrees,
    Fails,
    Skipped,
}

/// One comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    /// What ran: a device with its element type, or two engines.
    pub(crate) part: String,
    /// What was compared.
    pub(crate) case: String,
    pub(crate) outcome: Outcome,
    /// Figures in words, or why it failed or was skipped.
    pub(crate) note: String,
    /// The same figures as numbers.
    pub(crate) figures: Value,
}

impl Finding {
    /// Something that could not be run here, with the reason.
    pub(crate) fn skipped(part: &str, case: &str, why: &str) -> Self {
        Self { part: part.into(), case: case.into(), outcome: Outcome::Skipped, note: why.into(), figures: Value::Null }
    }

    /// Something that failed without figures.
    pub(crate) fn failed(part: &str, case: &str, why: String) -> Self {
        Self { part: part.into(), case: case.into(), outcome: Outcome::Fails, note: why, figures: Value::Null }
    }
}

/// Says a finding as soon as it is there: what follows may take long, or end the process.
pub(crate) fn say(finding: &Finding) {
    let word = match finding.outcome {
        Outcome::Agrees => "agrees",
        Outcome::Fails => "FAILS",
        Outcome::Skipped => "skipped",
    };
    let note = finding.note.replace('|', "\\|").replace('\n', " ");
    say!("| {} | {} | {word} | {note} |", finding.part, finding.case);
}

/// The head of the table that [`say`] fills.
pub(crate) fn head() {
    say!("| where | what | outcome | figures |\n| --- | --- | --- | --- |");
}

/// Writes the findings, and gives the exit status: a failure when one fails, or when nothing agreed.
pub(crate) fn conclude(about: &Value, findings: &[Finding], out: Option<&Path>) -> Result<ExitCode> {
    let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    let (agree, fail, skipped) = (count(Outcome::Agrees), count(Outcome::Fails), count(Outcome::Skipped));
    say!("\n{agree} agree, {fail} fail, {skipped} skipped");
    if let Some(out) = out {
        let whole = json!({ "about": about, "agree": agree, "fail": fail, "skipped": skipped, "findings": findings });
        let text = serde_json::to_string_pretty(&whole)?;
        std::fs::write(out, text).with_context(|| format!("{} cannot be written", out.display()))?;
    }
    Ok(if fail == 0 && agree > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A seed that nobody chose.
pub(crate) fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // The standard library seeds each `RandomState` from the operating system.
    RandomState::new().hash_one(0)
}

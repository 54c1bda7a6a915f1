//! The rows of `sconce bench table`: printed and written one by one, so that a run that is cut short leaves what it measured.

use std::path::PathBuf;

use anyhow::{Context, Result};
use sconce_model::Work;
use serde_json::{Value, json};

use super::card::Ceilings;
use crate::out::say;

/// One measurement. Pairs are a median and a 99th percentile.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) work: String,
    /// Why it was not measured.
    pub(super) skipped: Option<String>,
    /// Whether that was an error.
    pub(super) has_failed: bool,
    /// Of all streams together: decoded tokens, or tokens of the prompt.
    pub(super) tokens_per_second: Option<f64>,
    /// From the first request to the last token.
    pub(super) wall_seconds: Option<f64>,
    pub(super) first_token_seconds: Option<[f64; 2]>,
    pub(super) token_seconds: Option<[f64; 2]>,
    /// Tokens that went through the model.
    pub(super) computed_tokens: Option<u64>,
    /// By the model's sizes: the least that must have been read and computed.
    pub(super) work_per_second: Option<Work>,
}

impl Row {
    pub(super) fn skipped(why: String) -> Self {
        Self { skipped: Some(why), ..Self::default() }
    }

    pub(super) fn failed(error: &anyhow::Error) -> Self {
        Self { has_failed: true, ..Self::skipped(format!("{error:#}")) }
    }
}

/// The rows so far.
pub(super) struct Rows {
    about: Value,
    ceilings: Ceilings,
    out: Option<PathBuf>,
    written: Vec<Value>,
    /// How many had an error.
    pub(super) failed: u32,
}

impl Rows {
    /// None yet; prints the head.
    pub(super) fn new(about: Value, ceilings: Ceilings, out: Option<PathBuf>) -> Self {
        say!(
            "| work | tokens/s | wall, s | first token, ms (p99) | next token, ms (p99) | bytes/s | FLOP/s |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
        );
        Self { about, ceilings, out, written: Vec::new(), failed: 0 }
    }

    /// Prints a row, and writes all of them.
    pub(super) fn add(&mut self, row: Row) -> Result<()> {
        say!("{}", self.line(&row));
        self.failed += u32::from(row.has_failed);
        self.written.push(self.value(row));
        let Some(out) = &self.out else { return Ok(()) };
        let text = serde_json::to_string_pretty(&json!({ "about": self.about, "rows": self.written }))?;
        std::fs::write(out, text).with_context(|| format!("{} cannot be written", out.display()))
    }

    fn line(&self, row: &Row) -> String {
        let Row { work, skipped, .. } = row;
        if let Some(why) = skipped {
            let word = if row.has_failed { "FAILED" } else { "skipped" };
            return format!("| {work} | {word}: {why} | | | | | |");
        }
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.1}"));
        let pair = |pair: Option<[f64; 2]>| {
            pair.map_or(String::new(), |[median, late]| format!("{:.1} ({:.1})", median * 1e3, late * 1e3))
        };
        let wall = match (row.wall_seconds, row.computed_tokens) {
            (Some(wall), Some(tokens)) => format!("{wall:.2} ({tokens} tokens computed)"),
            (wall, _) => wall.map_or(String::new(), |wall| format!("{wall:.2}")),
        };
        let share = |rate: f64, ceiling: f64, unit: f64, name: &str| {
            format!("{:.2} {name} ({:.1} %)", rate / unit, 100.0 * rate / ceiling)
        };
        let done = row.work_per_second.map_or([String::new(), String::new()], |Work { bytes, operations }| {
            [
                share(bytes, self.ceilings.copy.per_second, 1e9, "GB/s"),
                share(operations, self.ceilings.matmul.per_second, 1e12, "TFLOP/s"),
            ]
        });
        format!(
            "| {work} | {} | {wall} | {} | {} | {} | {} |",
            number(row.tokens_per_second),
            pair(row.first_token_seconds),
            pair(row.token_seconds),
            done[0],
            done[1],
        )
    }

    fn value(&self, row: Row) -> Value {
        let Row { work, skipped, tokens_per_second, wall_seconds, first_token_seconds, .. } = row;
        let done = row.work_per_second;
        let copy = self.ceilings.copy.per_second;
        let matmul = self.ceilings.matmul.per_second;
        json!({
            "work": work,
            "skipped": skipped,
            "failed": row.has_failed,
            "tokens_per_second": tokens_per_second,
            "wall_seconds": wall_seconds,
            "first_token_seconds": first_token_seconds,
            "token_seconds": row.token_seconds,
            "computed_tokens": row.computed_tokens,
            "bytes_per_second": done.map(|done| done.bytes),
            "share_of_copy_rate": done.map(|done| done.bytes / copy),
            "flops": done.map(|done| done.operations),
            "share_of_matmul_rate": done.map(|done| done.operations / matmul),
        })
    }
}

/// The middle value; zero of none.
pub(super) fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The value that this share of all does not exceed (nearest rank); zero of none.
pub(super) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values = [3.0, 1.0, 2.0];
        assert_eq!((median(&values), percentile(&values, 0.99), percentile(&[], 0.5)), (2.0, 3.0, 0.0));
    }
}

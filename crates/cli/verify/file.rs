//! The file itself: its sha256, a record of that beside it, answers that are known for it, and weights that are numbers.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{failed, passed, skipped};
use crate::bench::findings::Finding;

/// A greedy continuation that a file must give.
#[derive(Debug, Deserialize)]
pub(super) struct KnownAnswer {
    pub(super) name: String,
    sha256: String,
    pub(super) prompt: String,
    pub(super) continuation: String,
}

#[derive(Deserialize)]
struct KnownAnswers {
    answer: Vec<KnownAnswer>,
}

/// Those of the file with this sha256.
pub(super) fn known_answers(digest: Option<&str>) -> Result<Vec<KnownAnswer>> {
    let known: KnownAnswers = toml::from_str(include_str!("../../../models/known_answers.toml"))?;
    Ok(known.answer.into_iter().filter(|answer| Some(answer.sha256.as_str()) == digest).collect())
}

/// The sha256 of the model's file; `None` for a folder, which is many files.
pub(super) fn digest(path: &Path) -> Result<Option<String>> {
    if path.is_dir() {
        return Ok(None);
    }
    let digest = sconce_hub::sha256_of(path).with_context(|| format!("the model {} cannot be read", path.display()))?;
    Ok(Some(digest))
}

/// Compares with `FILE.sha256`, as `sha256sum` writes it.
pub(super) fn record(path: &Path, digest: Option<&str>) -> Finding {
    let Some(digest) = digest else { return skipped("sha256", "a folder is many files") };
    let record = path.with_added_extension("sha256");
    let Ok(text) = std::fs::read_to_string(&record) else {
        return skipped("sha256", &format!("there is no record {}", record.display()));
    };
    match text.split_whitespace().next() {
        Some(expected) if expected.eq_ignore_ascii_case(digest) => passed("sha256", digest.to_string(), digest.into()),
        expected => failed("sha256", format!("{digest}, but the record says {}", expected.unwrap_or("nothing"))),
    }
}

/// Whether every weight is a finite number; names the first tensor with one that is not.
pub(super) fn finite_weights(file: &sconce_model::Checkpoint) -> Finding {
    match file.check_weights() {
        Ok(()) => {
            let count = file.tensors().len();
            passed("finite weights", format!("{count} tensors"), count.into())
        }
        Err(error) => failed("finite weights", error.to_string()),
    }
}

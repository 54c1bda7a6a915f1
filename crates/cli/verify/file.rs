//! The file itself: its sha256, the record of that which `pull` kept or that lies beside it, answers that are known for it, and
//! weights that are numbers.

use std::path::Path;

use anyhow::{Context, Result, ensure};
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
    let digest = sconce_hub::sha256_of(path).context("name a GGUF file, a folder of safetensors or a pulled model")?;
    Ok(Some(digest))
}

/// A text to read; longer ones than 16 MiB are refused.
pub(super) fn text(path: &Path) -> Result<String> {
    const MOST: u64 = 16 << 20;
    let length = std::fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?.len();
    ensure!(length <= MOST, "{} has {length} bytes; at most {MOST} are read", path.display());
    std::fs::read_to_string(path).with_context(|| format!("{} is no text in UTF-8 that can be read", path.display()))
}

/// Compares with `FILE.sha256`, as `sha256sum` writes it, or else with what `pull` recorded.
pub(super) fn record(path: &Path, digest: Option<&str>) -> Finding {
    let Some(digest) = digest else { return skipped("sha256", "a folder is many files") };
    let record = path.with_added_extension("sha256");
    let beside = std::fs::read_to_string(&record).ok();
    // A record without a word is a record all the same, and damaged.
    let beside = beside.map(|text| text.split_whitespace().next().unwrap_or("nothing").to_string());
    let Some(expected) = beside.or_else(|| sconce_hub::recorded_sha256(path)) else {
        return skipped("sha256", &format!("pull recorded none, and there is no {}", record.display()));
    };
    if expected.eq_ignore_ascii_case(digest) {
        let is_part = path.file_stem().is_some_and(|stem| stem.to_string_lossy().contains("-of-"));
        let of = if is_part { ", of this part alone" } else { "" };
        return passed("sha256", format!("{digest}, as recorded{of}"), digest.into());
    }
    failed("sha256", format!("{digest}, but the record says {expected}"))
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

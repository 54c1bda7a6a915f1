//! The file itself: its sha256, a record of that beside it, answers that are known for it, and weights that are numbers.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};

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
pub(super) fn known_answers(digest: &str) -> Result<Vec<KnownAnswer>> {
    let known: KnownAnswers = toml::from_str(include_str!("../../../models/known_answers.toml"))?;
    Ok(known.answer.into_iter().filter(|answer| answer.sha256 == digest).collect())
}

/// The sha256 of a file in hexadecimal digits.
pub(super) fn digest(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("the model {} cannot be read", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = std::io::Read::read(&mut file, &mut buffer)
            .with_context(|| format!("the model {} cannot be read", path.display()))?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Compares with `FILE.sha256`, as `sha256sum` writes it.
pub(super) fn record(path: &Path, digest: &str) -> Finding {
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

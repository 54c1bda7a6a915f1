//! `sconce bench`: a model in this process, or any server over HTTP.

use std::fs::OpenOptions;
use std::path::Path;

use anyhow::{Context, Result};

pub(crate) mod model;
pub(crate) mod serve;

/// Finds out whether results can be written, before minutes are spent on them. Leaves an existing file as it is, and no
/// empty one behind.
fn check_out(path: &Path) -> Result<()> {
    let existed = path.exists();
    let cannot = || format!("{} cannot be written", path.display());
    OpenOptions::new().append(true).create(true).open(path).with_context(cannot)?;
    if existed { Ok(()) } else { std::fs::remove_file(path).with_context(cannot) }
}

//! The demo model is what `serve` and `ask` take where no model is named; and `none` is how to have none.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use etcetera::BaseStrategy;

/// What `--model` may say to have no model.
pub(crate) const NONE: &str = "none";

/// What `--model` named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ModelChoice {
    /// No model: search and quoted answers.
    Nothing,
    /// The demo model's file.
    Demo(PathBuf),
    /// Another file or folder.
    At(PathBuf),
}

impl ModelChoice {
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Nothing => None,
            Self::Demo(path) | Self::At(path) => Some(path),
        }
    }
}

/// Where the demo model's file is; it is written the first time.
pub(crate) fn path() -> Result<PathBuf> {
    const ADVICE: &str =
        "set XDG_CACHE_HOME to a folder that can be written, or name another model with --model, or --model none";
    let given = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let cache = match given {
        Some(folder) => folder,
        None => etcetera::choose_base_strategy().context(ADVICE)?.cache_dir(),
    };
    sconce_hub::demo_model(&cache.join("sconce")).map_err(|error| anyhow!("{error}; {ADVICE}"))
}

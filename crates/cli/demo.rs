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
    /// A file or folder.
    At(PathBuf),
}

impl ModelChoice {
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Nothing => None,
            Self::At(path) => Some(path),
        }
    }
}

/// Where the demo model's file is; it is written the first time.
pub(crate) fn path() -> Result<PathBuf> {
    let strategy = etcetera::choose_base_strategy().context("no home folder for a cache; name a model with --model")?;
    sconce_hub::demo_model(&strategy.cache_dir().join("sconce")).map_err(|error| {
        anyhow!(
            "{error}; set XDG_CACHE_HOME to a folder that can be written, or name another model with --model, or none"
        )
    })
}

/// Whether this is the file of the demo model, by its name.
pub(crate) fn is_demo(model_id: &str) -> bool {
    model_id == sconce_hub::DEMO_MODEL
}

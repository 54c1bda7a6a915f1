//! `GET /v1/models`.

use serde::Serialize;

/// A served model.
#[derive(Debug, Serialize)]
pub struct Model {
    /// The id that requests name.
    pub id: String,
    /// Always `model`.
    pub object: &'static str,
    /// Seconds since 1970 at which it was loaded.
    pub created: u64,
    /// Always `sconce`.
    pub owned_by: &'static str,
    /// Longest sequence served, in tokens; other servers of open models send this name too.
    pub max_model_len: usize,
}

/// The list of models.
#[derive(Debug, Serialize)]
pub struct ModelList {
    /// Always `list`.
    pub object: &'static str,
    /// None or one model, and its aliases.
    pub data: Vec<Model>,
}

//! Qwen 3: each head of query and key is normalized before its rotation; biases are the exception.

use super::{Architecture, Presence, qwen2};

/// Configurations of the family may ask for biases; the published models have none.
pub(super) const ARCHITECTURE: Architecture =
    Architecture { name: "qwen3", biases: Presence::WhereGiven, head_norms: Presence::Always, ..qwen2::ARCHITECTURE };

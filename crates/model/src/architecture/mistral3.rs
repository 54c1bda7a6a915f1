//! Mistral's third generation (Mistral Small 3.1, Ministral 3): Llama's decoder, with long contexts by YaRN.

use super::{Architecture, llama};

/// Llama's decoder under a prefix of its own.
pub(super) const ARCHITECTURE: Architecture = Architecture { name: "mistral3", ..llama::ARCHITECTURE };

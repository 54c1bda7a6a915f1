//! What differs between the decoders that share one forward. A new one is a file here and a line in `ALL`; nothing else in the
//! forward asks for an architecture by name; `checkpoint/architecture.rs` knows how safetensors folders name them.

mod llama;
mod mistral3;
mod phi3;
mod qwen2;
mod qwen3;

use sconce_kernels::RopePairs;

/// Whether a model has a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It never has; a file with such tensors is refused.
    Never,
    /// It has where the file has the tensors.
    WhereGiven,
    /// A file without the tensors is refused.
    Always,
}

/// What a decoder does otherwise than Llama. Everything else is read from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Architecture {
    /// The value of `general.architecture`, which is also the prefix of the keys.
    pub(crate) name: &'static str,
    /// Which dimensions of a head turn together, as the file orders the rows of query and key.
    pub(crate) pairs: RopePairs,
    /// Biases of query, key and value.
    pub(crate) biases: Presence,
    /// Norms of each head of query and key.
    pub(crate) head_norms: Presence,
    /// Whether query, key and value are one tensor, and gate and up are another, by rows in this order.
    pub(crate) fused: bool,
}

/// Every architecture that is implemented.
const ALL: [Architecture; 5] =
    [llama::ARCHITECTURE, mistral3::ARCHITECTURE, qwen2::ARCHITECTURE, qwen3::ARCHITECTURE, phi3::ARCHITECTURE];

impl Architecture {
    /// The architecture of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|architecture| architecture.name == name)
    }

    /// The names of all, for a message.
    pub(crate) fn names() -> String {
        ALL.map(|architecture| architecture.name).join(", ")
    }

    /// The value of `general.architecture`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The metadata key of a field: the field behind the architecture's name.
    pub(crate) fn key(self, field: &str) -> String {
        format!("{}.{field}", self.name)
    }
}

impl Default for Architecture {
    /// Llama, from which the others are described.
    fn default() -> Self {
        llama::ARCHITECTURE
    }
}

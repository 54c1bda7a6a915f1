//! Qwen 2 and 2.5: biases of query, key and value, and pairs half a head apart.

use sconce_kernels::RopePairs;

use super::{Architecture, Presence};

/// The rows of query and key are in the order of training.
pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "qwen2",
    pairs: RopePairs::Halves,
    biases: Presence::Always,
    head_norms: Presence::Never,
    fused: false,
};

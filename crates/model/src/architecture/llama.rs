//! Llama 2 and 3 and their kin; Mistral 7B and Nemo are the same decoder under the same name.

use sconce_kernels::RopePairs;

use super::{Architecture, Presence};

/// Converters order the rows of query and key so that neighbours turn together.
pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "llama",
    pairs: RopePairs::Neighbours,
    biases: Presence::WhereGiven,
    head_norms: Presence::Never,
    fused: false,
};

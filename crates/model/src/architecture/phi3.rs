//! Phi 3, 3.5 and 4 mini: fused projections, pairs half a head apart, long contexts by two tables of factors.

use sconce_kernels::RopePairs;

use super::{Architecture, Presence};

/// The fused tensors are cut into Llama's at load.
pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "phi3",
    pairs: RopePairs::Halves,
    biases: Presence::Never,
    head_norms: Presence::Never,
    fused: true,
};

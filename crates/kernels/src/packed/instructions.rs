//! The instruction sets that there are products for, and which of them this processor has.

use std::sync::LazyLock;

#[cfg(target_arch = "x86_64")]
use super::tile_unit;

/// An instruction set that there are products for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instructions {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512, and the tile unit for several rows.
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl Instructions {
    /// Those that this processor has, the fastest last.
    pub(crate) fn available() -> Vec<Self> {
        let mut found = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
                found.push(Self::Avx2);
            }
            let is_whole = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vnni");
            if is_whole {
                found.push(Self::Avx512);
                if tile_unit::is_available() {
                    found.push(Self::Amx);
                }
            }
        }
        found
    }

    /// The fastest.
    pub(crate) fn best() -> Self {
        static BEST: LazyLock<Instructions> =
            LazyLock::new(|| Instructions::available().pop().unwrap_or(Instructions::Portable));
        *BEST
    }
}

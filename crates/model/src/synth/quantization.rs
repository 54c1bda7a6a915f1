//! The quantizations that a written file can have: single types, and the mixes that llama.cpp's quantizer makes.

use std::str::FromStr;

use sconce_kernels::WeightType;

use super::{SynthError, list_of};

/// How the matrices of a file are stored. Norms are always F32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the formats' own")]
pub enum Quantization {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    /// Q4_K with Q6_K for the output matrix and, in half of the layers, for values and the down projection; Q5_K for a fused
    /// projection of query, key and value.
    Q4KM,
    /// Q5_K with Q6_K in all these places.
    Q5KM,
}

impl Quantization {
    /// All quantizations.
    pub const ALL: [Self; 15] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Q4KM,
        Self::Q5KM,
    ];

    /// Name, `general.file_type` (llama.h, `enum llama_ftype`), and the type of most matrices.
    fn facts(self) -> (&'static str, u32, WeightType) {
        match self {
            Self::F32 => ("F32", 0, WeightType::F32),
            Self::F16 => ("F16", 1, WeightType::F16),
            Self::BF16 => ("BF16", 32, WeightType::BF16),
            Self::Q4_0 => ("Q4_0", 2, WeightType::Q4_0),
            Self::Q4_1 => ("Q4_1", 3, WeightType::Q4_1),
            Self::Q5_0 => ("Q5_0", 8, WeightType::Q5_0),
            Self::Q5_1 => ("Q5_1", 9, WeightType::Q5_1),
            Self::Q8_0 => ("Q8_0", 7, WeightType::Q8_0),
            Self::Q2K => ("Q2_K", 10, WeightType::Q2K),
            Self::Q3K => ("Q3_K", 11, WeightType::Q3K),
            Self::Q4K => ("Q4_K", 14, WeightType::Q4K),
            Self::Q5K => ("Q5_K", 16, WeightType::Q5K),
            Self::Q6K => ("Q6_K", 18, WeightType::Q6K),
            Self::Q4KM => ("Q4_K_M", 15, WeightType::Q4K),
            Self::Q5KM => ("Q5_K_M", 17, WeightType::Q5K),
        }
    }

    /// The name that a person types.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// `general.file_type`.
    #[must_use]
    pub fn file_type(self) -> u32 {
        self.facts().1
    }

    /// The type of a matrix of a model whose output is the embedding's table (`tied`) or a matrix of its own. The rule of the
    /// mixes: the output is Q6_K; `attn_v` and `ffn_down` are Q6_K in the first eighth of the layers, in the last eighth, and in
    /// every third between; `attn_qkv` is a step above the base type, which everything else has.
    pub(crate) fn type_of(self, name: &str, block_count: u32, tied: bool) -> WeightType {
        let base = self.facts().2;
        if !matches!(self, Self::Q4KM | Self::Q5KM) {
            return base;
        }
        if name == if tied { "token_embd.weight" } else { "output.weight" } {
            return WeightType::Q6K;
        }
        let Some((layer, part)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else { return base };
        let Ok(layer) = layer.parse::<u32>() else { return base };
        if part == "attn_qkv.weight" {
            return if self == Self::Q4KM { WeightType::Q5K } else { WeightType::Q6K };
        }
        let eighth = block_count / 8;
        let favoured = layer < eighth || layer >= 7 * block_count / 8 || (layer - eighth) % 3 == 2;
        if favoured && matches!(part, "attn_v.weight" | "ffn_down.weight") { WeightType::Q6K } else { base }
    }
}

impl FromStr for Quantization {
    type Err = SynthError;

    fn from_str(name: &str) -> Result<Self, SynthError> {
        let found = Self::ALL.into_iter().find(|quantization| quantization.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| SynthError::UnknownName {
            kind: "quantization",
            name: name.to_owned(),
            known: list_of(Self::ALL.into_iter().map(Self::name)),
        })
    }
}

//! The named shapes and the tensors that a shape has, with the scale of each. No bytes are made here.

use std::str::FromStr;

use sconce_kernels::WeightType;

use super::{MIN_TOKENS, Quantization, SynthError, SynthOptions, list_of};
use crate::gguf::write::WriteTensor;

/// Mean square of `silu(g) * u` for independent standard normal `g` and `u`, by numeric integration of `silu(g)^2`.
const GATED_MEAN_SQUARE: f64 = 0.355_776;

/// A shape that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NamedShape {
    /// For tests: 2 layers of 256, 4 heads over 2, 1,024 tokens.
    Tiny,
    /// About 30 million weights: 7 layers of 512.
    Small30M,
    /// The 1.1 B Llama of the measurements: 22 layers of 2,048, 32 heads over 4, 32,000 tokens.
    Llama1B,
    /// Llama 3.1 8 B: 32 layers of 4,096, 32 heads over 8, 128,256 tokens.
    Llama8B,
    /// Mistral 7 B (v0.3): 32 layers of 4,096, 32 heads over 8, 32,768 tokens.
    Mistral7B,
}

/// The lengths of a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub(super) block_count: u32,
    pub(super) embedding_length: u32,
    pub(super) feed_forward_length: u32,
    pub(super) head_count: u32,
    pub(super) head_count_kv: u32,
    pub(super) vocabulary: u32,
    pub(super) context_length: u32,
    pub(super) rope_base: f32,
}

/// A tensor with the distribution of its weights.
#[derive(Debug)]
pub(super) struct SynthTensor {
    pub(super) header: WriteTensor,
    pub(super) mean: f32,
    pub(super) deviation: f32,
}

impl NamedShape {
    /// All shapes, the smallest first.
    pub const ALL: [Self; 5] = [Self::Tiny, Self::Small30M, Self::Llama1B, Self::Mistral7B, Self::Llama8B];

    /// The name that a person types.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Small30M => "small-30m",
            Self::Llama1B => "llama-1.1b",
            Self::Llama8B => "llama-3.1-8b",
            Self::Mistral7B => "mistral-7b",
        }
    }

    fn shape(self) -> Shape {
        let [block_count, embedding_length, feed_forward_length, head_count, head_count_kv, vocabulary, context_length] =
            match self {
                Self::Tiny => [2, 256, 512, 4, 2, 1024, 2048],
                Self::Small30M => [7, 512, 1536, 8, 4, 8192, 4096],
                Self::Llama1B => [22, 2048, 5632, 32, 4, 32_000, 4096],
                Self::Llama8B => [32, 4096, 14_336, 32, 8, 128_256, 131_072],
                Self::Mistral7B => [32, 4096, 14_336, 32, 8, 32_768, 32_768],
            };
        let rope_base = match self {
            Self::Llama8B => 500_000.0,
            Self::Mistral7B => 1_000_000.0,
            _ => 10_000.0,
        };
        Shape {
            block_count,
            embedding_length,
            feed_forward_length,
            head_count,
            head_count_kv,
            vocabulary,
            context_length,
            rope_base,
        }
    }

    /// The shape with what the options change, checked.
    pub(super) fn resolve(self, options: &SynthOptions) -> Result<Shape, SynthError> {
        let mut shape = self.shape();
        let in_range = |field, value: u32, least, most| {
            let fits = (least..=most).contains(&value);
            if fits { Ok(value) } else { Err(SynthError::OutOfRange { field, value, least, most }) }
        };
        if let Some(length) = options.context_length {
            shape.context_length = in_range("context_length", length, 16, 1 << 20)?;
        }
        if let Some(tokens) = options.vocabulary {
            shape.vocabulary = in_range("vocabulary", tokens, MIN_TOKENS, 1 << 18)?;
        }
        Ok(shape)
    }
}

impl FromStr for NamedShape {
    type Err = SynthError;

    fn from_str(name: &str) -> Result<Self, SynthError> {
        let found = Self::ALL.into_iter().find(|shape| shape.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| SynthError::UnknownName {
            kind: "shape",
            name: name.to_owned(),
            known: list_of(Self::ALL.into_iter().map(Self::name)),
        })
    }
}

impl Shape {
    /// Every tensor in the order of the file.
    pub(super) fn tensors(&self, quantization: Quantization) -> Vec<SynthTensor> {
        let embedding = self.embedding_length as usize;
        let feed_forward = self.feed_forward_length as usize;
        let kv = embedding / self.head_count as usize * self.head_count_kv as usize;
        let vocabulary = self.vocabulary as usize;
        let matrix = |name: String, inputs: usize, outputs: usize, variance: f64| SynthTensor {
            header: WriteTensor {
                weight_type: quantization.type_of(&name, self.block_count, false),
                name,
                dimensions: vec![inputs, outputs],
            },
            mean: 0.0,
            deviation: variance.sqrt() as f32,
        };
        let norm = |name: String| SynthTensor {
            header: WriteTensor { name, dimensions: vec![embedding], weight_type: WeightType::F32 },
            mean: 1.0,
            deviation: 0.05,
        };
        let unit = 1.0 / embedding as f64;
        // 2 * layers matrices write into the residual stream; together they add about as much as the embedding is.
        let writers = 2.0 * f64::from(self.block_count);
        let mut tensors = vec![matrix("token_embd.weight".to_owned(), embedding, vocabulary, 1.0)];
        for layer in 0..self.block_count {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            tensors.push(norm(name("attn_norm")));
            tensors.push(matrix(name("attn_q"), embedding, embedding, unit));
            tensors.push(matrix(name("attn_k"), embedding, kv, unit));
            tensors.push(matrix(name("attn_v"), embedding, kv, unit));
            tensors.push(matrix(name("attn_output"), embedding, embedding, unit / writers));
            tensors.push(norm(name("ffn_norm")));
            tensors.push(matrix(name("ffn_gate"), embedding, feed_forward, unit));
            tensors.push(matrix(name("ffn_up"), embedding, feed_forward, unit));
            let down = 1.0 / (feed_forward as f64 * GATED_MEAN_SQUARE * writers);
            tensors.push(matrix(name("ffn_down"), feed_forward, embedding, down));
        }
        tensors.push(norm("output_norm.weight".to_owned()));
        tensors.push(matrix("output.weight".to_owned(), embedding, vocabulary, unit));
        tensors
    }
}

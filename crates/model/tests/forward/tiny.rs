//! Tiny random Llama files of any weight type, small enough to compute in a test.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use sconce_model::{Checkpoint, Devices, Llama};

use crate::builder::GgufBuilder;
use crate::random::Random;

/// The shape of a tiny model.
#[derive(Debug, Clone)]
pub(crate) struct Tiny {
    pub(crate) dtype: GgmlDType,
    pub(crate) vocabulary: usize,
    pub(crate) width: usize,
    pub(crate) inner: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) tied: bool,
    pub(crate) rope_factors: Option<Vec<f32>>,
    pub(crate) linear_scale: Option<f32>,
    pub(crate) rope_dimensions: Option<usize>,
    pub(crate) architecture: &'static str,
    pub(crate) sliding_window: Option<usize>,
}

impl Tiny {
    /// A shape whose rows are whole blocks of 256, with grouped queries.
    pub(crate) fn of(dtype: GgmlDType) -> Self {
        Self {
            dtype,
            vocabulary: 272,
            width: 256,
            inner: 512,
            layers: 2,
            heads: 8,
            kv_heads: 2,
            head_dim: 32,
            tied: false,
            rope_factors: None,
            linear_scale: None,
            rope_dimensions: None,
            architecture: "llama",
            sliding_window: None,
        }
    }

    /// A small shape with odd sizes, for float weights.
    pub(crate) fn odd() -> Self {
        Self { vocabulary: 61, width: 36, inner: 52, heads: 6, kv_heads: 3, head_dim: 10, ..Self::of(GgmlDType::F32) }
    }

    pub(crate) fn builder(&self) -> GgufBuilder {
        let mut random = Random(41);
        let mut file = GgufBuilder::default();
        let key = |field: &str| format!("{}.{field}", self.architecture);
        file.text("general.architecture", self.architecture)
            .u32(&key("context_length"), 512)
            .u32(&key("embedding_length"), self.width as u32)
            .u32(&key("block_count"), self.layers as u32)
            .u32(&key("feed_forward_length"), self.inner as u32)
            .u32(&key("attention.head_count"), self.heads as u32)
            .u32(&key("attention.head_count_kv"), self.kv_heads as u32)
            .u32(&key("attention.key_length"), self.head_dim as u32)
            .f32(&key("attention.layer_norm_rms_epsilon"), 1e-5)
            .u32(&key("vocab_size"), self.vocabulary as u32);
        if let Some(scale) = self.linear_scale {
            file.text(&key("rope.scaling.type"), "linear").f32(&key("rope.scaling.factor"), scale);
        }
        if let Some(dimensions) = self.rope_dimensions {
            file.u32(&key("rope.dimension_count"), dimensions as u32);
        }
        if let Some(window) = self.sliding_window {
            file.u32(&key("attention.sliding_window"), window as u32);
        }
        self.matrix(&mut file, &mut random, "token_embd", self.vocabulary, self.width);
        if !self.tied {
            self.matrix(&mut file, &mut random, "output", self.vocabulary, self.width);
        }
        vector(&mut file, &mut random, "output_norm", self.width);
        if let Some(factors) = &self.rope_factors {
            let data = factors.iter().flat_map(|factor| factor.to_le_bytes()).collect();
            file.tensor("rope_freqs.weight", &[factors.len() as u64], 0, data);
        }
        let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        for layer in 0..self.layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            vector(&mut file, &mut random, &name("attn_norm"), self.width);
            vector(&mut file, &mut random, &name("ffn_norm"), self.width);
            if self.architecture == "phi3" {
                self.matrix(&mut file, &mut random, &name("attn_qkv"), queries + 2 * keys, self.width);
                self.matrix(&mut file, &mut random, &name("ffn_up"), 2 * self.inner, self.width);
            } else {
                self.matrix(&mut file, &mut random, &name("attn_q"), queries, self.width);
                self.matrix(&mut file, &mut random, &name("attn_k"), keys, self.width);
                self.matrix(&mut file, &mut random, &name("attn_v"), keys, self.width);
                self.matrix(&mut file, &mut random, &name("ffn_gate"), self.inner, self.width);
                self.matrix(&mut file, &mut random, &name("ffn_up"), self.inner, self.width);
            }
            if self.architecture == "qwen2" {
                for (part, length) in [("attn_q", queries), ("attn_k", keys), ("attn_v", keys)] {
                    bias(&mut file, &mut random, &name(part), length);
                }
            }
            if self.architecture == "qwen3" {
                vector(&mut file, &mut random, &name("attn_q_norm"), self.head_dim);
                vector(&mut file, &mut random, &name("attn_k_norm"), self.head_dim);
            }
            self.matrix(&mut file, &mut random, &name("attn_output"), self.width, queries);
            self.matrix(&mut file, &mut random, &name("ffn_down"), self.width, self.inner);
        }
        file
    }

    fn matrix(&self, file: &mut GgufBuilder, random: &mut Random, name: &str, outputs: usize, inputs: usize) {
        let scale = 3.0 / (inputs as f32).sqrt();
        let values: Vec<f32> = (0..outputs * inputs).map(|_| random.signed() * scale).collect();
        let tensor = Tensor::from_vec(values, (outputs, inputs), &Device::Cpu).expect("a tensor");
        let quantized = QTensor::quantize(&tensor, self.dtype).expect("whole blocks");
        let data = quantized.data().expect("bytes").into_owned();
        file.tensor(&format!("{name}.weight"), &[inputs as u64, outputs as u64], type_id(self.dtype), data);
    }

    /// The file in a temporary place, opened, and the model.
    pub(crate) fn load(&self) -> (Checkpoint, Llama) {
        let written = self.builder().write();
        let file = Checkpoint::open(written.path()).unwrap_or_else(|error| panic!("{error}"));
        let model = Llama::load(&file, &Devices::cpu(), None).unwrap_or_else(|error| panic!("{error}"));
        (file, model)
    }
}

fn vector(file: &mut GgufBuilder, random: &mut Random, name: &str, length: usize) {
    let data = (0..length).flat_map(|_| (1.0 + 0.2 * random.signed()).to_le_bytes()).collect();
    file.tensor(&format!("{name}.weight"), &[length as u64], 0, data);
}

fn bias(file: &mut GgufBuilder, random: &mut Random, name: &str, length: usize) {
    let data = (0..length).flat_map(|_| random.signed().to_le_bytes()).collect();
    file.tensor(&format!("{name}.bias"), &[length as u64], 0, data);
}

fn type_id(dtype: GgmlDType) -> u32 {
    match dtype {
        GgmlDType::F32 => 0,
        GgmlDType::F16 => 1,
        GgmlDType::Q4_0 => 2,
        GgmlDType::Q4_1 => 3,
        GgmlDType::Q5_0 => 6,
        GgmlDType::Q5_1 => 7,
        GgmlDType::Q8_0 => 8,
        GgmlDType::Q2K => 10,
        GgmlDType::Q3K => 11,
        GgmlDType::Q4K => 12,
        GgmlDType::Q5K => 13,
        GgmlDType::Q6K => 14,
        GgmlDType::BF16 => 30,
        other => panic!("{other:?} is not a weight type"),
    }
}

/// Random tokens of a vocabulary.
pub(crate) fn tokens(random: &mut Random, count: usize, vocabulary: usize) -> Vec<u32> {
    (0..count).map(|_| random.below(vocabulary) as u32).collect()
}

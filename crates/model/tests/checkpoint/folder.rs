//! Makes small safetensors folders: tensors of numbers that depend on the name alone, and a configuration.

use std::path::Path;

use serde_json::{Map, Value, json};

/// A tensor of a folder.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

impl Stored {
    /// Numbers between -1 and 1, times `scale`, around `mean`.
    fn new(name: &str, shape: &[usize], mean: f32, scale: f32) -> Self {
        let mut state =
            name.bytes().fold(0x9E37_79B9u32, |state, byte| (state ^ u32::from(byte)).wrapping_mul(16_777_619));
        let count = shape.iter().product();
        let mut number = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            mean + scale * (state as f32 / 2_147_483_648.0 - 1.0)
        };
        Self { name: name.to_string(), shape: shape.to_vec(), values: (0..count).map(|_| number()).collect() }
    }
}

/// Width, inner width, heads, key heads, length of a head, layers and vocabulary of the small model.
pub(crate) const WIDTH: usize = 64;
pub(crate) const INNER: usize = 96;
pub(crate) const HEADS: usize = 4;
pub(crate) const KV_HEADS: usize = 2;
pub(crate) const HEAD: usize = 16;
pub(crate) const LAYERS: usize = 2;
pub(crate) const VOCABULARY: usize = 40;

/// The configuration of a Llama of this size.
pub(crate) fn llama_config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "num_hidden_layers": LAYERS,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "vocab_size": VOCABULARY,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": false,
    })
}

/// The tensors of a Llama of this size.
pub(crate) fn llama_tensors() -> Vec<Stored> {
    let mut tensors = vec![
        Stored::new("model.embed_tokens.weight", &[VOCABULARY, WIDTH], 0.0, 1.0),
        Stored::new("lm_head.weight", &[VOCABULARY, WIDTH], 0.0, 0.3),
        Stored::new("model.norm.weight", &[WIDTH], 1.0, 0.2),
    ];
    for layer in 0..LAYERS {
        let mut add = |part: &str, shape: &[usize], mean| {
            tensors.push(Stored::new(&format!("model.layers.{layer}.{part}.weight"), shape, mean, 0.2));
        };
        add("input_layernorm", &[WIDTH], 1.0);
        add("post_attention_layernorm", &[WIDTH], 1.0);
        add("self_attn.q_proj", &[HEADS * HEAD, WIDTH], 0.0);
        add("self_attn.k_proj", &[KV_HEADS * HEAD, WIDTH], 0.0);
        add("self_attn.v_proj", &[KV_HEADS * HEAD, WIDTH], 0.0);
        add("self_attn.o_proj", &[WIDTH, HEADS * HEAD], 0.0);
        add("mlp.gate_proj", &[INNER, WIDTH], 0.0);
        add("mlp.up_proj", &[INNER, WIDTH], 0.0);
        add("mlp.down_proj", &[WIDTH, INNER], 0.0);
    }
    tensors
}

/// How numbers are stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dtype {
    F32,
    Bf16,
}

/// Writes a safetensors file.
pub(crate) fn write_weights(path: &Path, tensors: &[Stored], dtype: Dtype) {
    let mut header = Map::new();
    let mut data = Vec::new();
    for tensor in tensors {
        let begin = data.len();
        for value in &tensor.values {
            match dtype {
                Dtype::F32 => data.extend_from_slice(&value.to_le_bytes()),
                Dtype::Bf16 => data.extend_from_slice(&half::bf16::from_f32(*value).to_le_bytes()),
            }
        }
        let dtype = match dtype {
            Dtype::F32 => "F32",
            Dtype::Bf16 => "BF16",
        };
        let entry = json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": [begin, data.len()] });
        header.insert(tensor.name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&data);
    std::fs::write(path, bytes).expect("the file can be written");
}

/// Writes a folder with one file of weights.
pub(crate) fn write_folder(folder: &Path, config: &Value, tensors: &[Stored], dtype: Dtype) {
    std::fs::write(folder.join("config.json"), config.to_string()).expect("the file can be written");
    write_weights(&folder.join("model.safetensors"), tensors, dtype);
}

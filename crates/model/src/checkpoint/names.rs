//! The names that safetensors folders give to tensors, in GGUF's words.

/// What becomes of a tensor of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// It has this name in GGUF.
    As(String),
    /// It is no part of the text model, or can be computed from the configuration.
    LeftOut,
    /// No model of the supported architectures has it.
    Unknown,
}

/// The parts of a layer.
const LAYER_PARTS: [(&str, &str); 13] = [
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    // A fused gate and up has the name of up alone.
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// The name of a tensor in GGUF.
pub(super) fn gguf_name(name: &str) -> Named {
    if ["vision_tower.", "model.vision_tower.", "multi_modal_projector.", "model.multi_modal_projector."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || name.ends_with(".rotary_emb.inv_freq")
    {
        return Named::LeftOut;
    }
    // A text model inside a larger one has a prefix, at one of two places.
    let name = name.strip_prefix("language_model.").unwrap_or(name);
    let name = name.strip_prefix("model.").unwrap_or(name);
    let name = name.strip_prefix("language_model.").unwrap_or(name);
    let known = match name {
        "embed_tokens.weight" => Some("token_embd.weight".to_string()),
        "norm.weight" => Some("output_norm.weight".to_string()),
        "lm_head.weight" => Some("output.weight".to_string()),
        _ => layer_name(name),
    };
    known.map_or(Named::Unknown, Named::As)
}

fn layer_name(name: &str) -> Option<String> {
    let (layer, rest) = name.strip_prefix("layers.")?.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let (part, kind) = rest.rsplit_once('.')?;
    let gguf = LAYER_PARTS.iter().find(|entry| entry.0 == part)?.1;
    matches!(kind, "weight" | "bias").then(|| format!("blk.{layer}.{gguf}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_gguf() {
        let cases = [
            ("model.layers.12.self_attn.q_proj.weight", "blk.12.attn_q.weight"),
            ("model.layers.0.self_attn.k_proj.bias", "blk.0.attn_k.bias"),
            ("model.layers.0.self_attn.q_norm.weight", "blk.0.attn_q_norm.weight"),
            ("model.layers.3.self_attn.qkv_proj.weight", "blk.3.attn_qkv.weight"),
            ("model.layers.3.mlp.gate_up_proj.weight", "blk.3.ffn_up.weight"),
            ("model.layers.3.post_attention_layernorm.weight", "blk.3.ffn_norm.weight"),
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("language_model.model.norm.weight", "output_norm.weight"),
            ("model.language_model.norm.weight", "output_norm.weight"),
            ("language_model.lm_head.weight", "output.weight"),
            ("lm_head.weight", "output.weight"),
        ];
        for (name, expected) in cases {
            assert_eq!(gguf_name(name), Named::As(expected.to_string()), "{name}");
        }
        assert_eq!(gguf_name("model.layers.0.self_attn.rotary_emb.inv_freq"), Named::LeftOut);
        assert_eq!(gguf_name("vision_tower.patch_conv.weight"), Named::LeftOut);
        assert_eq!(gguf_name("model.layers.0.block_sparse_moe.gate.weight"), Named::Unknown);
        assert_eq!(gguf_name("model.layers.x.mlp.up_proj.weight"), Named::Unknown);
    }
}

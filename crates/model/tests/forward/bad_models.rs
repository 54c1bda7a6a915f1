//! Files that are valid GGUF but no model that can be served: the error names the key or the tensor.

use sconce_model::{Checkpoint, Devices, Llama};

use crate::builder::GgufBuilder;
use crate::tiny::Tiny;

fn refusal(change: impl Fn(&mut GgufBuilder)) -> String {
    let mut builder = Tiny::odd().builder();
    change(&mut builder);
    let written = builder.write();
    let file = Checkpoint::open(written.path()).unwrap_or_else(|error| panic!("{error}"));
    Llama::load(&file, &Devices::cpu(), None).map_or_else(|error| error.to_string(), |_| "accepted".to_string())
}

#[test]
fn an_unknown_architecture_is_named() {
    let message = refusal(|file| {
        file.text("general.architecture", "qwen3moe");
    });
    assert!(message.contains("general.architecture is \"qwen3moe\""), "{message}");
}

#[test]
fn a_missing_key_is_named() {
    let keys = [
        "general.architecture",
        "llama.context_length",
        "llama.embedding_length",
        "llama.block_count",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
    ];
    for key in keys {
        let message = refusal(|file| {
            file.remove(key);
        });
        assert!(message.contains(&format!("metadata key {key:?} is missing")), "{message}");
    }
}

#[test]
fn a_number_out_of_range_is_named() {
    let cases = [
        ("llama.context_length", 0),
        ("llama.embedding_length", 0),
        ("llama.embedding_length", u32::MAX),
        ("llama.block_count", 0),
        ("llama.block_count", 100_000),
        ("llama.feed_forward_length", 0),
        ("llama.attention.head_count", 0),
        ("llama.attention.head_count_kv", 0),
        ("llama.attention.head_count_kv", 4),
        ("llama.attention.key_length", 0),
        ("llama.attention.key_length", 9),
        ("llama.attention.value_length", 12),
        ("llama.rope.dimension_count", 0),
        ("llama.rope.dimension_count", 5),
        ("llama.rope.dimension_count", 12),
        ("llama.vocab_size", 60),
        ("llama.expert_count", 8),
    ];
    for (key, value) in cases {
        let message = refusal(|file| {
            file.u32(key, value);
        });
        assert!(message.contains(key) && message.contains("must be"), "{key} = {value}: {message}");
    }
    for (key, value) in [
        ("llama.attention.layer_norm_rms_epsilon", f32::NAN),
        ("llama.attention.layer_norm_rms_epsilon", 0.0),
        ("llama.rope.freq_base", f32::INFINITY),
        ("llama.rope.freq_base", -1.0),
        ("llama.rope.scaling.factor", -2.0),
    ] {
        let message = refusal(|file| {
            file.f32(key, value);
        });
        assert!(message.contains(key) && message.contains("must be"), "{key} = {value}: {message}");
    }
}

#[test]
fn features_that_are_not_supported_are_named() {
    let message = refusal(|file| {
        file.text("llama.rope.scaling.type", "dynamic");
    });
    assert!(message.contains("llama.rope.scaling.type is \"dynamic\""), "{message}");
    let message = refusal(|file| {
        file.tensor("blk.0.attn_q.bias", &[60], 0, vec![0; 240]);
    });
    assert!(message.contains("blk.0.attn_k.bias") && message.contains("missing"), "{message}");
    let message = refusal(|file| {
        file.tensor("blk.0.attn_output.bias", &[36], 0, vec![0; 144]);
    });
    assert!(message.contains("blk.0.attn_output.bias") && message.contains("no place"), "{message}");
    let message = refusal(|file| {
        file.f32("llama.attention.temperature_scale", -0.1);
    });
    assert!(message.contains("llama.attention.temperature_scale is -0.1"), "{message}");
    let message = refusal(|file| {
        file.u32("llama.attention.sliding_window", 4).u32("llama.attention.sliding_window_pattern", 6);
    });
    assert!(message.contains("llama.attention.sliding_window_pattern is a pattern of layers"), "{message}");
    let message = refusal(|file| {
        file.text("llama.block_count", "two");
    });
    assert!(message.contains("llama.block_count\" is a string, expected"), "{message}");
}

#[test]
fn a_number_that_changes_the_arithmetic_is_refused_also_where_it_is_one() {
    let told = |field: &str, value: f32| {
        refusal(|file| {
            file.f32(&format!("llama.{field}"), value);
        })
    };
    // One is a bound of one, or scores that are not divided: none of them leaves things as they are.
    for field in ["attention.scale", "attn_logit_softcapping", "final_logit_softcapping"] {
        let message = told(field, 1.0);
        assert!(message.contains(&format!("llama.{field} is 1")), "{field}: {message}");
        assert_eq!(told(field, 0.0), "accepted", "{field}");
    }
    for field in ["rope.scaling.yarn_attn_factor", "logit_scale", "embedding_scale", "residual_scale"] {
        assert_eq!(told(field, 1.0), "accepted", "{field}");
        assert_eq!(told(field, 0.0), "accepted", "{field}");
        let message = told(field, 2.0);
        assert!(message.contains(&format!("llama.{field} is 2")), "{field}: {message}");
    }
}

#[test]
fn a_missing_tensor_is_named() {
    for name in ["token_embd.weight", "output_norm.weight", "blk.1.attn_k.weight", "blk.0.ffn_norm.weight"] {
        let message = refusal(|file| {
            file.remove_tensor(name);
        });
        assert!(message.contains(&format!("tensor {name:?} is missing")), "{message}");
    }
    let message = refusal(|file| {
        file.u32("llama.block_count", 3);
    });
    assert!(message.contains("tensor \"blk.2.attn_q.weight\" is missing"), "{message}");
}

#[test]
fn a_wrong_shape_is_named_with_both_shapes() {
    let message = refusal(|file| {
        let tensor = file.tensor_mut("blk.1.ffn_down.weight");
        tensor.dimensions = vec![36, 52];
    });
    assert!(
        message.contains("blk.1.ffn_down.weight") && message.contains("[36, 52]") && message.contains("[52, 36]"),
        "{message}"
    );
    let message = refusal(|file| {
        file.tensor_mut("output_norm.weight").dimensions = vec![6, 6];
    });
    assert!(
        message.contains("output_norm.weight") && message.contains("[6, 6]") && message.contains("[36]"),
        "{message}"
    );
    let message = refusal(|file| {
        file.tensor_mut("token_embd.weight").dimensions = vec![6, 6, 61];
    });
    assert!(message.contains("token_embd.weight"), "{message}");
    let message = refusal(|file| {
        file.tensor("rope_freqs.weight", &[4], 0, vec![0; 16]);
    });
    assert!(message.contains("rope_freqs.weight"), "{message}");
    let message = refusal(|file| {
        file.tensor("rope_freqs.weight", &[5], 0, vec![0; 20]);
    });
    assert!(message.contains("rope_freqs.weight is 0, must be positive"), "{message}");
}

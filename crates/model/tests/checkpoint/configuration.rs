//! `config.json` in GGUF's keys: windows, stretched rotations, and what is refused.

use sconce_model::Checkpoint;
use serde_json::{Value, json};

use crate::folder::{Dtype, llama_config, llama_tensors, write_folder};
use crate::{floats, refusal};

/// Opens the small model with another configuration.
fn with(changes: &[(&str, Value)]) -> (tempfile::TempDir, Option<Checkpoint>, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = llama_config();
    for (key, value) in changes {
        config[*key] = value.clone();
    }
    write_folder(folder.path(), &config, &llama_tensors(), Dtype::F32);
    match Checkpoint::open(folder.path()) {
        Ok(opened) => (folder, Some(opened), String::new()),
        Err(_) => {
            let told = refusal(folder.path());
            (folder, None, told)
        }
    }
}

fn opened(changes: &[(&str, Value)]) -> Checkpoint {
    let (_folder, opened, told) = with(changes);
    opened.unwrap_or_else(|| panic!("{told}"))
}

#[test]
fn a_window_is_told_only_where_it_is_in_force() {
    let window = |class: &str, architecture: &str, changes: &[(&str, Value)]| {
        let mut all = vec![("architectures", json!([class])), ("sliding_window", json!(32))];
        all.extend_from_slice(changes);
        let opened = opened(&all);
        assert_eq!(opened.metadata().str("general.architecture").unwrap(), architecture);
        opened.metadata().u32_opt(&format!("{architecture}.attention.sliding_window")).unwrap()
    };
    assert_eq!(window("MistralForCausalLM", "llama", &[]), Some(32));
    assert_eq!(window("MistralForCausalLM", "llama", &[("sliding_window", Value::Null)]), None);
    assert_eq!(window("LlamaForCausalLM", "llama", &[]), None);
    assert_eq!(window("Phi3ForCausalLM", "phi3", &[]), Some(32));
    assert_eq!(window("Qwen2ForCausalLM", "qwen2", &[]), None);
    let on = ("use_sliding_window", json!(true));
    assert_eq!(window("Qwen3ForCausalLM", "qwen3", &[on.clone(), ("max_window_layers", json!(28))]), None);
    assert_eq!(window("Qwen3ForCausalLM", "qwen3", &[on.clone(), ("max_window_layers", json!(0))]), Some(32));
    let (_folder, _, told) = with(&[
        ("architectures", json!(["Qwen2ForCausalLM"])),
        ("sliding_window", json!(32)),
        on,
        ("max_window_layers", json!(1)),
    ]);
    assert!(told.contains("windows in some layers only"), "{told}");
}

#[test]
fn both_spellings_of_a_stretched_rotation_say_the_same() {
    let old = [("rope_theta", json!(500_000.0)), ("rope_scaling", json!({"type": "linear", "factor": 4.0}))];
    let new = [("rope_parameters", json!({"rope_type": "linear", "factor": 4, "rope_theta": 500_000.0}))];
    for changes in [old.as_slice(), new.as_slice()] {
        let opened = opened(changes);
        let metadata = opened.metadata();
        assert_eq!(metadata.str("llama.rope.scaling.type").unwrap(), "linear");
        assert_eq!(metadata.f32("llama.rope.scaling.factor").unwrap(), 4.0);
        assert_eq!(metadata.f32("llama.rope.freq_base").unwrap(), 500_000.0);
    }
    let yarn = json!({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64, "beta_fast": 16.0});
    let opened = opened(&[("rope_scaling", yarn)]);
    assert_eq!(opened.metadata().str("llama.rope.scaling.type").unwrap(), "yarn");
    assert_eq!(opened.metadata().u32("llama.rope.scaling.original_context_length").unwrap(), 64);
    assert_eq!(opened.metadata().f32("llama.rope.scaling.yarn_beta_fast").unwrap(), 16.0);
}

#[test]
fn llama3_becomes_a_tensor_of_divisors() {
    let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192});
    let (_folder, opened, told) = with(&[("rope_theta", json!(500_000.0)), ("rope_scaling", scaling)]);
    let factors = floats(&opened.unwrap_or_else(|| panic!("{told}")), "rope_freqs.weight");
    assert_eq!(factors.len(), 8);
    // Waves of 2 pi * 500000^(i / 8): 6, 32, 167, 862 stay, 4443 is between 2048 and 8192, the rest is longer.
    assert_eq!(factors[..4], [1.0; 4]);
    let smooth = (8192.0 / (2.0 * std::f64::consts::PI * 500_000f64.sqrt()) - 1.0) / 3.0;
    assert!((f64::from(factors[4]) - 1.0 / ((1.0 - smooth) / 8.0 + smooth)).abs() < 1e-4, "{factors:?}");
    assert_eq!(factors[5..], [8.0; 3]);
}

#[test]
fn longrope_becomes_two_tensors_and_a_factor() {
    let long: Vec<f32> = (0..8).map(|index| 1.0 + index as f32).collect();
    let ones = [1.0; 8];
    let scaling = json!({"type": "longrope", "long_factor": long, "short_factor": ones});
    let changes = [
        ("architectures", json!(["Phi3ForCausalLM"])),
        ("original_max_position_embeddings", json!(32)),
        ("rope_scaling", scaling),
    ];
    let (_folder, opened, told) = with(&changes);
    let opened = opened.unwrap_or_else(|| panic!("{told}"));
    assert_eq!(floats(&opened, "rope_factors_long.weight"), long);
    assert_eq!(floats(&opened, "rope_factors_short.weight"), [1.0; 8]);
    assert_eq!(opened.metadata().u32("phi3.rope.scaling.original_context_length").unwrap(), 32);
    let expected = (1.0 + 4f32.ln() / 32f32.ln()).sqrt();
    assert!((opened.metadata().f32("phi3.rope.scaling.attn_factor").unwrap() - expected).abs() < 1e-6);
    let short = json!({"type": "longrope", "long_factor": [1.0], "short_factor": [1.0]});
    let (_folder, _, told) = with(&[("rope_scaling", short)]);
    assert!(told.contains("long_factor must be a list of 8 numbers"), "{told}");
}

#[test]
fn a_configuration_that_is_not_understood_is_refused_with_its_key() {
    let cases = [
        ("architectures", json!(["MixtralForCausalLM"]), "MixtralForCausalLM"),
        ("hidden_size", Value::Null, "hidden_size is missing"),
        ("hidden_size", json!("64"), "hidden_size must be an integer"),
        ("hidden_size", json!(-64), "hidden_size must be an integer"),
        ("num_attention_heads", json!(0), "at least 1"),
        ("rms_norm_eps", Value::Null, "rms_norm_eps is missing"),
        ("hidden_act", json!("gelu"), "hidden_act"),
        ("rope_scaling", json!({"type": "dynamic", "factor": 2.0}), "dynamic"),
        ("rope_scaling", json!({"type": "linear"}), "factor is missing"),
        ("rope_scaling", json!([1]), "rope_scaling must be an object"),
        ("rope_scaling", json!({"type": "yarn", "factor": 2.0, "truncate": false}), "truncate: false"),
        ("partial_rotary_factor", json!(7.0), "partial_rotary_factor"),
        ("partial_rotary_factor", json!(0.5), "rotated in part"),
    ];
    for (key, value, expected) in cases {
        let (_folder, _, told) = with(&[(key, value)]);
        assert!(told.contains("config.json") && told.contains(expected), "{told} lacks {expected}");
    }
}

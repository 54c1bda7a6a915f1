//! `config.json` of the supported architectures in GGUF's keys.

use sconce_kernels::RopePairs;

use crate::architecture::Architecture;
use crate::error::ModelError;
use crate::gguf::{Metadata, Value};

use super::rope;
use super::settings::Settings;

/// What a folder's configuration says.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) metadata: Metadata,
    /// Tensors that no file holds.
    pub(super) factors: Vec<(&'static str, Vec<f32>)>,
    /// Query heads and key heads, where their rows are stored by halves of a head and wanted by neighbouring pairs.
    pub(super) interleaved: Option<(usize, usize)>,
    pub(super) tied: Option<bool>,
}

/// Reads the configuration.
///
/// # Errors
/// The key that is missing, of the wrong type, or that needs what is not supported.
pub(super) fn describe(outer: &Settings) -> Result<Described, ModelError> {
    let class = outer.texts("architectures")?.unwrap_or_default().first().copied().unwrap_or_default().to_string();
    let inner = outer.object("text_config")?;
    let settings = inner.as_ref().unwrap_or(outer);
    let architecture = architecture(&class, settings)?;
    let hidden = settings.needed("hidden_size")?;
    let heads = settings.needed("num_attention_heads")?;
    let kv_heads = settings.integer("num_key_value_heads")?.unwrap_or(heads);
    if heads == 0 || kv_heads == 0 {
        return Err(settings.wrong("num_attention_heads and num_key_value_heads must be at least 1".to_string()));
    }
    let head = settings.integer("head_dim")?.unwrap_or(hidden / heads);
    let block_count = settings.needed("num_hidden_layers")?;
    let mut metadata = Metadata::default();
    metadata.insert("general.architecture".to_string(), Value::Text(architecture.to_string()));
    let mut set = |key: &str, value| metadata.insert(format!("{architecture}.{key}"), value);
    let number = |value: u32| Value::Unsigned(u64::from(value));
    set("block_count", number(block_count));
    set("context_length", number(settings.needed("max_position_embeddings")?));
    set("embedding_length", number(hidden));
    set("feed_forward_length", number(settings.needed("intermediate_size")?));
    set("attention.head_count", number(heads));
    set("attention.head_count_kv", number(kv_heads));
    if settings.integer("head_dim")?.is_some() {
        set("attention.key_length", number(head));
        set("attention.value_length", number(head));
    }
    let epsilon =
        settings.float("rms_norm_eps")?.ok_or_else(|| settings.wrong("rms_norm_eps is missing".to_string()))?;
    set("attention.layer_norm_rms_epsilon", Value::Float(f64::from(epsilon)));
    set("vocab_size", number(settings.needed("vocab_size")?));
    // Llama's class knows no window, whatever its configuration says.
    let windowed = class != "LlamaForCausalLM";
    if let Some(window) = window(settings, architecture, block_count)?.filter(|_| windowed) {
        set("attention.sliding_window", number(window));
    }
    temperature(settings, architecture, &mut metadata)?;
    check_activation(settings)?;
    let rotated = rotated_dimensions(settings, head)?;
    let factors = rope::describe(settings, architecture, rotated, &mut metadata)?;
    let neighbours = Architecture::named(architecture).is_some_and(|named| named.pairs == RopePairs::Neighbours);
    if neighbours && rotated != head {
        // The rows are put in order by whole heads.
        let told = format!("heads of {head} that are rotated in part ({rotated}) are not supported in {class}");
        return Err(settings.wrong(told));
    }
    let interleaved = neighbours.then_some((heads as usize, kv_heads as usize));
    let tied = match settings.flag("tie_word_embeddings")? {
        Some(tied) => Some(tied),
        None => outer.flag("tie_word_embeddings")?,
    };
    Ok(Described { metadata, factors, interleaved, tied })
}

/// The architecture in GGUF's words.
fn architecture(class: &str, settings: &Settings) -> Result<&'static str, ModelError> {
    let kind = settings.text("model_type")?.unwrap_or_default();
    Ok(match (class, kind) {
        ("LlamaForCausalLM" | "MistralForCausalLM", _) => "llama",
        ("Mistral3ForConditionalGeneration", "mistral") => "llama",
        ("Mistral3ForConditionalGeneration" | "Ministral3ForCausalLM", "ministral3") => "mistral3",
        ("Qwen2ForCausalLM", _) => "qwen2",
        ("Qwen3ForCausalLM", _) => "qwen3",
        ("Phi3ForCausalLM", _) => "phi3",
        _ => {
            let short: String = class.chars().take(80).collect();
            let known = "Llama, Mistral, Ministral3, Qwen2, Qwen3 and Phi3 for text are";
            return Err(settings.wrong(format!("architectures: {short:?} is not supported; {known}")));
        }
    })
}

/// The attention window, where one is in force in every layer.
fn window(settings: &Settings, architecture: &str, layers: u32) -> Result<Option<u32>, ModelError> {
    let Some(window) = settings.integer("sliding_window")?.filter(|window| *window > 0) else { return Ok(None) };
    if matches!(architecture, "qwen2" | "qwen3") {
        if settings.flag("use_sliding_window")? != Some(true) {
            return Ok(None);
        }
        let full = settings.integer("max_window_layers")?.unwrap_or(28).min(layers);
        if full == layers {
            return Ok(None);
        }
        if full > 0 {
            let told =
                format!("max_window_layers is {full} of {layers}: windows in some layers only are not supported");
            return Err(settings.wrong(told));
        }
    }
    if let Some(kinds) = settings.texts("layer_types")? {
        let windowed = kinds.iter().filter(|kind| **kind == "sliding_attention").count();
        if windowed == 0 {
            return Ok(None);
        }
        if windowed < kinds.len() {
            let told = "layer_types differ: attention windows in some layers only are not supported";
            return Err(settings.wrong(told.to_string()));
        }
    }
    Ok(Some(window))
}

/// The growth of attention with the position, which Ministral 3 has.
fn temperature(settings: &Settings, architecture: &str, metadata: &mut Metadata) -> Result<(), ModelError> {
    let scale = match settings.object("rope_parameters")? {
        Some(parameters) => parameters.float("llama_4_scaling_beta")?,
        None => None,
    };
    if let Some(scale) = scale {
        metadata.insert(format!("{architecture}.attention.temperature_scale"), Value::Float(f64::from(scale)));
    }
    Ok(())
}

fn check_activation(settings: &Settings) -> Result<(), ModelError> {
    match settings.text("hidden_act")? {
        None | Some("silu" | "swish") => Ok(()),
        Some(other) => Err(settings.wrong(format!("hidden_act {other:?} is not supported; silu is"))),
    }
}

/// Dimensions of a head that are rotated.
fn rotated_dimensions(settings: &Settings, head: u32) -> Result<u32, ModelError> {
    let partial = match settings.float("partial_rotary_factor")? {
        Some(partial) => Some(partial),
        None => settings
            .object("rope_parameters")?
            .map_or(Ok(None), |parameters| parameters.float("partial_rotary_factor"))?,
    };
    match partial {
        None => Ok(head),
        Some(partial) if partial > 0.0 && partial <= 1.0 => Ok((head as f32 * partial) as u32),
        Some(other) => Err(settings.wrong(format!("partial_rotary_factor is {other}, must be above 0, at most 1"))),
    }
}

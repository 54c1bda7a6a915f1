//! Rotary position embedding in `config.json`, old spelling and new, in GGUF's keys and tensors.

use crate::error::ModelError;
use crate::gguf::{Metadata, Value};

use super::settings::Settings;

/// Tensors of factors by name.
type Factors = Vec<(&'static str, Vec<f32>)>;

/// Writes the keys `ARCHITECTURE.rope.…` and gives the tensors of factors that go with them.
///
/// # Errors
/// The key of `config.json` that is missing, out of range or not supported.
pub(super) fn describe(
    settings: &Settings,
    architecture: &str,
    dimensions: u32,
    metadata: &mut Metadata,
) -> Result<Factors, ModelError> {
    let parameters = match settings.object("rope_parameters")? {
        Some(parameters) => Some(parameters),
        None => settings.object("rope_scaling")?,
    };
    let of_parameters = |key: &str| parameters.as_ref().map_or(Ok(None), |parameters| parameters.float(key));
    let base = match of_parameters("rope_theta")? {
        Some(base) => base,
        None => settings.float("rope_theta")?.unwrap_or(10_000.0),
    };
    let mut set = |key: &str, value| metadata.insert(format!("{architecture}.rope.{key}"), value);
    set("dimension_count", Value::Unsigned(u64::from(dimensions)));
    set("freq_base", Value::Float(f64::from(base)));
    let Some(parameters) = parameters else { return Ok(Vec::new()) };
    let kind = match parameters.text("rope_type")? {
        Some(kind) => Some(kind),
        None => parameters.text("type")?,
    };
    let factor = || parameters.float("factor")?.ok_or_else(|| parameters.wrong("rope: factor is missing".to_string()));
    let mut copy = |from: &str, to: &str| -> Result<(), ModelError> {
        if let Some(value) = parameters.float(from)? {
            set(&format!("scaling.{to}"), Value::Float(f64::from(value)));
        }
        Ok(())
    };
    match kind.unwrap_or("default") {
        "default" => Ok(Vec::new()),
        "linear" => {
            factor()?;
            copy("factor", "factor")?;
            set("scaling.type", Value::Text("linear".to_string()));
            Ok(Vec::new())
        }
        "yarn" if parameters.flag("truncate")? == Some(false) => {
            Err(parameters.wrong("rope: truncate: false is not supported for yarn".to_string()))
        }
        "yarn" => {
            copy("factor", "factor")?;
            copy("beta_fast", "yarn_beta_fast")?;
            copy("beta_slow", "yarn_beta_slow")?;
            let sharpness = yarn_sharpness(&parameters, factor()?)?;
            set("scaling.attn_factor", Value::Float(f64::from(sharpness)));
            set("scaling.type", Value::Text("yarn".to_string()));
            let original = original_context(settings, &parameters)?;
            set("scaling.original_context_length", Value::Unsigned(u64::from(original)));
            Ok(Vec::new())
        }
        "llama3" => Ok(vec![("rope_freqs.weight", llama3(&parameters, base, dimensions, factor()?)?)]),
        "longrope" | "su" => {
            let original = original_context(settings, &parameters)?;
            set("scaling.type", Value::Text("longrope".to_string()));
            set("scaling.original_context_length", Value::Unsigned(u64::from(original)));
            set("scaling.attn_factor", Value::Float(f64::from(attention_factor(settings, &parameters, original)?)));
            let factors = |key: &str| match parameters.floats(key)? {
                Some(factors) if factors.len() == dimensions as usize / 2 => Ok(factors),
                _ => Err(parameters.wrong(format!("rope: {key} must be a list of {} numbers", dimensions / 2))),
            };
            Ok(vec![
                ("rope_factors_long.weight", factors("long_factor")?),
                ("rope_factors_short.weight", factors("short_factor")?),
            ])
        }
        other => {
            let known = "default, linear, yarn, llama3 and longrope are";
            Err(parameters.wrong(format!("rope: the type {other:?} is not supported; {known}")))
        }
    }
}

/// The context that the model had before its rotation was stretched.
fn original_context(settings: &Settings, parameters: &Settings) -> Result<u32, ModelError> {
    let key = "original_max_position_embeddings";
    let original = match parameters.integer(key)? {
        Some(original) => Some(original),
        None => settings.integer(key)?,
    };
    match original {
        Some(original) => Ok(original),
        None => settings.needed("max_position_embeddings"),
    }
}

/// What a configuration's attention factor is of the one that readers of GGUF take for YaRN, `0.1 ln(factor) + 1`.
fn yarn_sharpness(parameters: &Settings, factor: f32) -> Result<f32, ModelError> {
    let growth = |share: f32| if factor > 1.0 { 0.1 * share * factor.ln() + 1.0 } else { 1.0 };
    let shares = (parameters.float("mscale")?, parameters.float("mscale_all_dim")?);
    Ok(match (parameters.float("attention_factor")?, shares) {
        (Some(given), _) => given / growth(1.0),
        (None, (Some(share), Some(seen))) if share != 0.0 && seen != 0.0 => growth(share) / growth(seen) / growth(1.0),
        _ => 1.0,
    })
}

/// What longrope multiplies queries and keys by.
fn attention_factor(settings: &Settings, parameters: &Settings, original: u32) -> Result<f32, ModelError> {
    if let Some(factor) = parameters.float("attention_factor")? {
        return Ok(factor);
    }
    let scale = f64::from(settings.needed("max_position_embeddings")?) / f64::from(original.max(2));
    Ok(if scale > 1.0 { (1.0 + scale.ln() / f64::from(original.max(2)).ln()).sqrt() as f32 } else { 1.0 })
}

/// The divisors of the frequencies: none for short waves, the factor for long ones, and a blend between.
fn llama3(parameters: &Settings, base: f32, dimensions: u32, factor: f32) -> Result<Vec<f32>, ModelError> {
    let low = parameters.float("low_freq_factor")?.unwrap_or(1.0);
    let high = parameters.float("high_freq_factor")?.unwrap_or(4.0);
    let original = parameters.float("original_max_position_embeddings")?.unwrap_or(8192.0);
    if !(factor > 0.0 && low > 0.0 && high > low && original > 0.0) {
        let told =
            "rope: llama3 needs a factor and an original context above 0, and low_freq_factor below high_freq_factor";
        return Err(parameters.wrong(told.to_string()));
    }
    let divisor = |pair: u32| {
        let frequency = 1.0 / base.powf((2 * pair) as f32 / dimensions as f32);
        let wave = 2.0 * std::f32::consts::PI / frequency;
        if wave < original / high {
            1.0
        } else if wave > original / low {
            factor
        } else {
            let smooth = (original / wave - low) / (high - low);
            1.0 / ((1.0 - smooth) / factor + smooth)
        }
    };
    Ok((0..dimensions / 2).map(divisor).collect())
}

//! `sconce-peer-candle MODEL.gguf TEXT`: the perplexity over a text as candle-transformers computes it, with candle's quantized
//! products. Windows and tokens are those of `sconce verify MODEL.gguf --text TEXT`, for models whose context is 512 or more; a token at a time, since candle's model
//! gives the logits of the last row alone.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use sconce_engine::{LoadedModel, Special};
use sconce_model::Checkpoint;

/// Tokens that are read as one, with the beginning; as in `sconce verify`.
const WINDOW: usize = 512;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, model, text] = arguments.as_slice() else {
        anyhow::bail!("usage: sconce-peer-candle MODEL.gguf TEXT");
    };
    let text = std::fs::read_to_string(text).with_context(|| text.clone())?;
    let checkpoint = Checkpoint::open(Path::new(model))?;
    let tokenizer = LoadedModel::tokenizer_of(&checkpoint)?;
    let begin = tokenizer.encode("", Special { add_bos: true, parse_special: false });
    let tokens = tokenizer.encode(&text, Special { add_bos: false, parse_special: false });

    let mut file = File::open(model).with_context(|| model.clone())?;
    let content = Content::read(&mut file)?;
    let mut weights = ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?;
    let bar = indicatif::ProgressBar::new(tokens.len() as u64);
    let (mut surprise, mut predicted) = (0f64, 0usize);
    for part in tokens.chunks(WINDOW - begin.len()) {
        let ids = [begin.as_slice(), part].concat();
        for (position, pair) in ids.windows(2).enumerate() {
            let input = Tensor::new(&[[pair[0]]], &Device::Cpu)?;
            let logits: Vec<f32> = weights.forward(&input, position)?.flatten_all()?.to_vec1()?;
            surprise += negative_log_probability(&logits, pair[1] as usize);
            predicted += 1;
        }
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    ensure!(predicted > 0, "the text has no tokens");
    println!("{:.4} over {predicted} tokens", (surprise / predicted as f64).exp());
    Ok(())
}

fn negative_log_probability(logits: &[f32], index: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    sum.ln() - f64::from(logits[index] - largest)
}

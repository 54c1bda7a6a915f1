//! Every quantization against llama.cpp's logits for the same file: synthetic models, which their seed gives again, and a trained
//! one. Both sides round activations to eight bits, each in its own way, so the bound is on how far apart that puts them.

use std::path::{Path, PathBuf};

use half::f16;
use sconce_model::synth::{NamedShape, Quantization, SynthOptions, write};
use sconce_model::{Checkpoint, Devices, KvCache, KvCacheDtype, Llama};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::batches::{Sequence, advance, greedy};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/quantized")
}

/// How far ours and llama.cpp's logits of one file are apart.
struct Comparison {
    /// Root mean square of the differences, in logits.
    noise: f64,
    /// The same, relative to that of the logits.
    relative: f64,
    /// Mean Kullback-Leibler divergence of our distribution from theirs, in nats.
    divergence: f64,
    /// Positions whose best token differs although theirs leads by more than five times the noise.
    wrong: Vec<usize>,
    /// Positions whose best token leads by so much.
    decided: usize,
    positions: usize,
}

fn compare(path: &Path, name: &str) -> Comparison {
    let text = std::fs::read_to_string(folder().join("index.json")).expect("the index");
    let index: Value = serde_json::from_str(&text).expect("JSON");
    let entry = &index["models"][name];
    let digest: String =
        Sha256::digest(std::fs::read(path).expect("a model")).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(Some(digest.as_str()), entry["sha256"].as_str(), "{name}: the goldens are of another file");
    let numbers = entry["prompt"].as_array().expect("a prompt").iter();
    let prompt: Vec<u32> = numbers.map(|token| token.as_u64().expect("a token") as u32).collect();
    let bytes = std::fs::read(folder().join(format!("{name}.logits"))).expect("logits");
    let expected: Vec<f64> = bytes
        .chunks_exact(2)
        .map(|bytes| f64::from(f16::from_le_bytes(bytes.try_into().expect("two bytes"))))
        .collect();
    let file = Checkpoint::open(path).expect("a model");
    let model = Llama::load(&file, &Devices::cpu(), None).expect("a model");
    let mut cache = KvCache::allocate(&model, 4, 16, KvCacheDtype::F32).expect("a cache");
    let mut sequence = Sequence::new(&prompt, &[2, 0, 1, 3]);
    let logits = advance(&model, &mut cache, &mut sequence, prompt.len());
    let vocabulary = expected.len() / prompt.len();
    let rows: Vec<(&[f32], &[f64])> =
        (0..prompt.len()).map(|row| (logits.row(row), &expected[row * vocabulary..][..vocabulary])).collect();
    let pairs = || rows.iter().flat_map(|(ours, theirs)| ours.iter().zip(*theirs));
    let count = expected.len() as f64;
    let noise = (pairs().map(|(ours, theirs)| (f64::from(*ours) - theirs).powi(2)).sum::<f64>() / count).sqrt();
    let size = (pairs().map(|(_, theirs)| theirs.powi(2)).sum::<f64>() / count).sqrt();
    let mut comparison = Comparison {
        noise,
        relative: noise / size,
        divergence: 0.0,
        wrong: Vec::new(),
        decided: 0,
        positions: rows.len(),
    };
    for (position, (ours, theirs)) in rows.iter().enumerate() {
        comparison.divergence += divergence(ours, theirs) / rows.len() as f64;
        let (best, margin) = lead(theirs);
        if margin > 5.0 * noise {
            comparison.decided += 1;
            if greedy(ours) as usize != best {
                comparison.wrong.push(position);
            }
        }
    }
    comparison
}

/// The best token and by how much it leads.
fn lead(logits: &[f64]) -> (usize, f64) {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    (order[0], logits[order[0]] - logits[order[1]])
}

fn divergence(ours: &[f32], theirs: &[f64]) -> f64 {
    let ours: Vec<f64> = ours.iter().copied().map(f64::from).collect();
    let total = |logits: &[f64]| logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
    let (our_total, their_total) = (total(&ours), total(theirs));
    let term = |(ours, theirs): (&f64, &f64)| {
        let (ours, theirs) = (ours - our_total, theirs - their_total);
        theirs.exp() * (theirs - ours)
    };
    ours.iter().zip(theirs).map(term).sum()
}

fn check(name: &str, found: &Comparison, most: f64) {
    let Comparison { noise, relative, divergence, decided, positions, .. } = found;
    println!("| {name} | {noise:.1e} | {relative:.1e} | {divergence:.1e} | {decided} of {positions} |");
    assert!(*relative < most, "{name}: {relative:.2e} of the logits apart, {most:.0e} allowed");
    assert!(found.wrong.is_empty(), "{name}: another best token at {:?}", found.wrong);
}

#[test]
fn every_quantization_has_llama_cpps_best_token_and_nearly_its_distribution() {
    let scratch = tempfile::tempdir().expect("a folder");
    println!(
        "| weights | noise | of the logits | divergence | decided positions |\n| --- | ---: | ---: | ---: | ---: |"
    );
    for quantization in Quantization::ALL {
        let name = quantization.name().to_lowercase();
        let path = scratch.path().join(format!("{name}.gguf"));
        let shape = NamedShape::Tiny;
        let options = SynthOptions { shape, quantization, context_length: Some(256), seed: 0, vocabulary: None };
        write(&path, &options, &mut |_| {}).expect("a synthetic model");
        // llama.cpp rounds activations to the weights' type even where that is a float of 16 bits.
        let most = match quantization {
            Quantization::F32 => 1e-3,
            Quantization::F16 | Quantization::BF16 => 1e-2,
            _ => 3e-2,
        };
        check(&name, &compare(&path, &name), most);
    }
}

#[test]
fn a_trained_model_has_llama_cpps_best_tokens() {
    let Some(data) = std::env::var_os("SCONCE_DATA") else {
        println!("skipped: SCONCE_DATA is not set, so stories260K.gguf cannot be found");
        return;
    };
    let found = compare(&Path::new(&data).join("models/stories260K.gguf"), "stories260K");
    check("stories260K", &found, 1e-3);
    assert!(found.decided > found.positions / 2, "{} positions are decided", found.decided);
}

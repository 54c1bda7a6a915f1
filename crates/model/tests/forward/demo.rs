//! The demo model against the framework that trained it: logits and greedy tokens, with the numbers that the file holds.
//! `scripts/train/golden.py` makes the golden.

use std::path::Path;

use sconce_model::synth::Quantization;
use sconce_model::{Checkpoint, Devices, KvCache, KvCacheDtype, Llama};
use serde_json::Value;

use crate::batches::{Sequence, advance, greedy};

/// Of the largest logit. Both add up the same F32 numbers, in another order.
const TOLERANCE: f64 = 1e-4;
const BLOCK: usize = 16;

#[test]
fn the_demo_model_gives_the_logits_of_the_framework_that_trained_it() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = here.join("tests/data/goldens");
    let golden: Value =
        serde_json::from_slice(&std::fs::read(folder.join("demo.json")).expect("the golden")).expect("JSON");
    let bytes = std::fs::read(folder.join("demo.logits")).expect("logits");
    let logits: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four bytes"))).collect();
    let file = Checkpoint::open(&here.join("../../models/demo/sconce-demo-q8_0.gguf")).expect("the file");
    // With F32 weights no product rounds its activations.
    let (file, _) = file.quantized(Quantization::F32);
    let model = Llama::load(&file, &Devices::cpu(), None).expect("a model");
    let prompts = golden["prompts"].as_array().expect("prompts");
    let vocabulary = logits.len() / prompts.len();
    for (prompt, expected) in prompts.iter().zip(logits.chunks_exact(vocabulary)) {
        let tokens = |key: &str| -> Vec<u32> {
            let numbers = prompt[key].as_array().expect("tokens").iter();
            numbers.map(|token| token.as_u64().expect("a token") as u32).collect()
        };
        let (begin, answer) = (tokens("tokens"), tokens("greedy"));
        let blocks: Vec<u32> = (0..(begin.len() + answer.len()).div_ceil(BLOCK) as u32 + 1).rev().collect();
        let mut cache = KvCache::allocate(&model, blocks.len(), BLOCK, KvCacheDtype::F32).expect("a cache");
        let mut sequence = Sequence::new(&begin, &blocks);
        let first = advance(&model, &mut cache, &mut sequence, begin.len()).row(begin.len() - 1).to_vec();
        let largest = expected.iter().fold(0f32, |most, logit| most.max(logit.abs()));
        let worst = first.iter().zip(expected).fold(0f32, |most, (found, wanted)| most.max((found - wanted).abs()));
        assert!(f64::from(worst / largest) < TOLERANCE, "{worst} of {largest}");
        let mut found = vec![greedy(&first)];
        while found.len() < answer.len() {
            sequence.tokens.extend(found.last());
            found.push(greedy(advance(&model, &mut cache, &mut sequence, 1).row(0)));
        }
        assert_eq!(found, answer);
    }
}

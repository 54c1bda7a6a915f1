//! The real model of the shared data: its greedy continuation is known from its source.

use std::path::PathBuf;

use sconce_model::{Checkpoint, Devices, KvCache, KvCacheDtype, Llama};

use crate::batches::{Sequence, advance, greedy};

/// `<s>▁Once▁upon▁a▁time` in the model's vocabulary of 512.
const PROMPT: [u32; 5] = [1, 403, 407, 261, 378];

const CONTINUATION: &str =
    ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball.";

fn stories() -> Option<Checkpoint> {
    let Some(folder) = std::env::var_os("SCONCE_DATA") else {
        eprintln!("skipped: set SCONCE_DATA to the folder that holds models/stories260K.gguf");
        return None;
    };
    let path = PathBuf::from(folder).join("models/stories260K.gguf");
    Some(Checkpoint::open(&path).unwrap_or_else(|error| panic!("{error}")))
}

fn text_of(file: &Checkpoint, tokens: &[u32]) -> String {
    let vocabulary = file.metadata().str_array("tokenizer.ggml.tokens").expect("a vocabulary");
    tokens.iter().map(|token| vocabulary[*token as usize].replace('▁', " ")).collect()
}

#[test]
fn the_real_model_continues_once_upon_a_time_as_published() {
    let Some(file) = stories() else { return };
    let model = Llama::load(&file, &Devices::cpu(), None).expect("a valid model");
    assert_eq!(text_of(&file, &PROMPT[1..]), " Once upon a time");
    for dtype in [KvCacheDtype::F32, KvCacheDtype::F16] {
        let mut cache = KvCache::allocate(&model, 16, 32, dtype).expect("a cache");
        let mut sequence = Sequence::new(&PROMPT, &[7, 3, 11, 0, 5, 1, 2, 4]);
        let mut logits = advance(&model, &mut cache, &mut sequence, PROMPT.len());
        let mut text = String::new();
        while text.len() < CONTINUATION.len() {
            let token = greedy(logits.row(logits.rows() - 1));
            text.push_str(&text_of(&file, &[token]));
            sequence.tokens.push(token);
            logits = advance(&model, &mut cache, &mut sequence, 1);
        }
        assert!(text.starts_with(CONTINUATION), "{dtype:?}: {text:?}");
    }
}

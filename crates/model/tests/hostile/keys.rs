//! Every key of the configuration with every kind of wrong number: an error that names a key of the file, or a model.

use sconce_model::{Checkpoint, Devices, Llama};

use crate::bounded;
use crate::builder::text_bytes;
use crate::tiny::Tiny;

const KEYS: [&str; 16] = [
    "general.alignment",
    "llama.context_length",
    "llama.embedding_length",
    "llama.block_count",
    "llama.feed_forward_length",
    "llama.attention.head_count",
    "llama.attention.head_count_kv",
    "llama.attention.key_length",
    "llama.attention.value_length",
    "llama.attention.layer_norm_rms_epsilon",
    "llama.attention.sliding_window",
    "llama.rope.dimension_count",
    "llama.rope.freq_base",
    "llama.rope.scaling.factor",
    "llama.vocab_size",
    "llama.expert_count",
];

fn values() -> Vec<(u32, Vec<u8>)> {
    let mut values: Vec<(u32, Vec<u8>)> = vec![(7, vec![1]), (8, text_bytes("1")), (0, vec![255]), (1, vec![255])];
    values.extend([0, 1, 3, 1 << 16, 1 << 24, u32::MAX].map(|value: u32| (4, value.to_le_bytes().to_vec())));
    values.extend([-1, i32::MIN].map(|value: i32| (5, value.to_le_bytes().to_vec())));
    values.extend([1 << 32, u64::MAX].map(|value: u64| (10, value.to_le_bytes().to_vec())));
    values.extend([-1, i64::MIN].map(|value: i64| (11, value.to_le_bytes().to_vec())));
    let floats = [0.0, -1.0, 1.5, f32::MAX, f32::MIN_POSITIVE, f32::INFINITY, f32::NAN];
    values.extend(floats.map(|value| (6, value.to_le_bytes().to_vec())));
    values.extend([1e300, f64::NAN].map(|value: f64| (12, value.to_le_bytes().to_vec())));
    values.push((9, [&4u32.to_le_bytes()[..], &1u64.to_le_bytes(), &[1, 0, 0, 0]].concat()));
    values
}

#[test]
fn no_number_of_the_configuration_does_harm() {
    let tiny = Tiny { layers: 1, ..Tiny::odd() };
    let mut accepted = 0;
    for key in KEYS {
        for (value_type, value) in values() {
            let mut builder = tiny.builder();
            builder.raw(key, value_type, value.clone());
            let written = builder.write();
            let what = format!("{key} of type {value_type}: {value:?}");
            let loaded = bounded(&what, builder.header().len(), || {
                Checkpoint::open(written.path()).and_then(|file| Llama::load(&file, &Devices::cpu(), None).map(drop))
            });
            match loaded {
                Ok(()) => accepted += 1,
                // The number may be fine by itself and contradict another key or a tensor, which is then named.
                Err(error) => {
                    let message = error.to_string();
                    let named = ["llama.", "general.", "tensor", "token_embd", "blk."].iter();
                    assert!(named.clone().any(|name| message.contains(name)), "{what}: {message}");
                }
            }
        }
    }
    assert!(accepted > 0, "some of them are fine");
}

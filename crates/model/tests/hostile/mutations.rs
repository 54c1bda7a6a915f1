//! Valid small files, damaged at random from a fixed seed for a fixed time: validator, configuration, loader and one token's
//! forward end without a panic and within bounds. `SCONCE_MUTATION_SEED` tries another seed.

use std::time::{Duration, Instant};

use candle_core::quantized::GgmlDType;
use sconce_model::{Checkpoint, Devices, Llama};

use crate::bounded;
use crate::builder::{text_bytes, write_bytes};
use crate::random::Random;
use crate::tiny::Tiny;

const SEED: u64 = 0x5c0ce;
const BUDGET: Duration = Duration::from_secs(5);

/// Integers at the borders of fields.
const EXTREMES: [u64; 12] =
    [0, 1, 7, 31, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, i64::MAX as u64, u64::MAX];

fn seeds() -> Vec<(Vec<u8>, usize)> {
    let shapes = [
        Tiny { layers: 1, vocabulary: 12, inner: 8, ..Tiny::odd() },
        Tiny { layers: 2, rope_factors: Some(vec![1.0; 5]), linear_scale: Some(2.0), tied: true, ..Tiny::odd() },
        Tiny { layers: 1, vocabulary: 8, inner: 256, ..Tiny::of(GgmlDType::Q4K) },
    ];
    let file = |tiny: &Tiny| {
        let mut builder = tiny.builder();
        let texts = [&8u32.to_le_bytes()[..], &2u64.to_le_bytes(), &text_bytes("a"), &text_bytes("ß")].concat();
        builder.raw("tokenizer.ggml.tokens", 9, texts);
        (builder.bytes(), builder.header().len())
    };
    shapes.iter().map(file).collect()
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, header: usize, other: &[u8]) {
    // Most damage goes to the header, where the structure is.
    let reach = if random.below(8) == 0 { bytes.len() } else { header };
    let place = random.below(reach.min(bytes.len()).max(1));
    let end = |length: usize, bytes: &Vec<u8>| (place + length).min(bytes.len());
    match random.below(6) {
        0 => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => drop(bytes.splice(place..place, std::iter::repeat_n(random.next() as u8, 1 + random.below(16)))),
        2 => drop(bytes.drain(place..end(1 + random.below(16), bytes))),
        3 => {
            let start = random.below(other.len());
            let piece = &other[start..(start + 1 + random.below(64)).min(other.len())];
            drop(bytes.splice(place..end(piece.len(), bytes), piece.iter().copied()));
        }
        4 => bytes.truncate(place),
        _ => {
            let width = [1, 4, 8][random.below(3)];
            let value = EXTREMES[random.below(EXTREMES.len())].to_le_bytes();
            let end = end(width, bytes);
            bytes[place..end].copy_from_slice(&value[..end - place]);
        }
    }
}

/// Whether the bytes were a model that computes.
fn run(what: &str, bytes: &[u8]) -> bool {
    let written = write_bytes(bytes);
    bounded(what, bytes.len(), || {
        let Ok(file) = Checkpoint::open(written.path()) else { return false };
        let Ok(model) = Llama::load(&file, &Devices::cpu(), None) else { return false };
        model.check_finite(&file, 1).is_ok()
    })
}

#[test]
fn damaged_files_end_in_an_error_or_a_model() {
    let seed = std::env::var("SCONCE_MUTATION_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let mut random = Random(seed);
    let files = seeds();
    for (index, (bytes, _)) in files.iter().enumerate() {
        assert!(run(&format!("file {index}"), bytes), "file {index} is fine before it is damaged");
    }
    let began = Instant::now();
    let (mut cases, mut computed) = (0, 0);
    while began.elapsed() < BUDGET {
        let (bytes, header) = &files[random.below(files.len())];
        let mut bytes = bytes.clone();
        for _ in 0..=random.below(3) {
            let other = &files[random.below(files.len())].0;
            mutate(&mut random, &mut bytes, *header, other);
        }
        cases += 1;
        computed += usize::from(run(&format!("seed {seed}, case {cases}"), &bytes));
    }
    println!("seed {seed}: {cases} damaged files, {computed} of them computed");
}

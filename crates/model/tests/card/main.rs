//! A model on cards against the same model on the CPU: logits, and what an executor draws over many random steps. The card is a
//! real one, or the emulated one of `scripts/emulated_card.sh`; without any the tests say that they are skipped.
#![cfg(feature = "cuda")]

mod crowd;

use crowd::Crowd;
use sconce_kernels::checks::Random;
use sconce_model::synth::{NamedShape, Quantization, SynthOptions, write};
use sconce_model::{
    Activation, Checkpoint, Devices, Executor, ExecutorBounds, ForwardBatch, KvCache, KvCacheDtype, Llama, Logits,
};

/// The tiny synthetic model, with float weights, on some devices.
fn model(devices: &Devices, activation: Activation) -> Llama {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tiny.gguf");
    let options = SynthOptions {
        shape: NamedShape::Tiny,
        quantization: Quantization::F32,
        context_length: None,
        seed: 7,
        vocabulary: Some(600),
    };
    write(&path, &options, &mut |_| {}).expect("written");
    let file = Checkpoint::open(&path).expect("a valid file");
    Llama::load(&file, devices, None).and_then(|llama| llama.with_activation(activation)).expect("a model")
}

/// The first so many cards. An emulated one that is promised must be there: a fault in another test is no reason to skip.
fn cards(count: usize) -> Option<Devices> {
    let ordinals: Vec<usize> = (0..count).collect();
    let promised = std::env::var("SCONCE_EMULATED_CARDS").ok().and_then(|cards| cards.parse::<usize>().ok());
    match Devices::cuda(&ordinals) {
        Err(error) if promised.is_none_or(|promised| promised < count) => {
            eprintln!("skipped: {error}");
            None
        }
        opened => Some(opened.expect("the emulated cards")),
    }
}

fn cache(llama: &Llama) -> KvCache {
    KvCache::allocate(llama, crowd::BLOCKS, crowd::BLOCK_SIZE, KvCacheDtype::F32).expect("a cache")
}

fn executor(devices: &Devices, enforce_eager: bool) -> Executor {
    let llama = model(devices, Activation::F32);
    let cache = cache(&llama);
    let bounds = ExecutorBounds {
        max_rows: crowd::MAX_ROWS,
        max_sequences: crowd::MAX_SEQUENCES,
        max_model_len: crowd::MAX_TOKENS,
        enforce_eager,
    };
    Executor::new(llama, cache, bounds).expect("an executor")
}

/// Two sequences, one a prompt and the other a lone row behind it in the next batch.
fn batches() -> [ForwardBatch; 2] {
    let prompt: Vec<u32> = (0..21).map(|at| (at * at * 7 + 3) % 600).collect();
    let first = ForwardBatch {
        input_ids: [&prompt[..], &[5, 599]].concat(),
        positions: (0..21).chain(0..2).collect(),
        slot_mapping: (16..37).chain(80..82).collect(),
        cu_seqlens_q: vec![0, 21, 23],
        seq_lens_k: vec![21, 2],
        block_tables: vec![2, 3, 4, 10],
        cu_blocks: vec![0, 3, 4],
        logits_rows: vec![0, 20, 22],
    };
    let second = ForwardBatch {
        input_ids: vec![77, 8],
        positions: vec![21, 2],
        slot_mapping: vec![37, 82],
        cu_seqlens_q: vec![0, 1, 2],
        seq_lens_k: vec![22, 3],
        block_tables: vec![2, 3, 4, 10],
        cu_blocks: vec![0, 3, 4],
        logits_rows: vec![0, 1],
    };
    [first, second]
}

fn all_logits(llama: &Llama) -> Vec<f32> {
    let mut cache = cache(llama);
    let row_values = |logits: &Logits| (0..logits.rows()).flat_map(|row| logits.row(row).to_vec()).collect::<Vec<_>>();
    batches().iter().flat_map(|batch| row_values(&llama.forward(batch, &mut cache).expect("computed"))).collect()
}

/// The largest difference, relative to the largest logit.
fn largest_error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let errors = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs() / scale);
    // What is no number is larger than anything that is allowed.
    errors.fold(0.0, |most, error| if error <= most { most } else { error })
}

fn logits_agree(cards: &Devices) {
    let expected = all_logits(&model(&Devices::cpu(), Activation::F32));
    for (activation, allowed) in [(Activation::F32, 1e-4), (Activation::Bf16, 3e-2)] {
        let error = largest_error(&all_logits(&model(cards, activation)), &expected);
        println!("{activation:?}: {error}");
        assert!(error <= allowed, "{activation:?}: off by {error}, relative to the largest logit");
    }
}

#[test]
fn the_logits_of_a_card_are_those_of_the_cpu() {
    let Some(card) = cards(1) else { return };
    logits_agree(&card);
}

#[test]
fn two_cards_in_stages_give_the_logits_of_the_cpu() {
    let Some(cards) = cards(2) else { return };
    logits_agree(&cards);
}

fn draws_agree(cards: &Devices, enforce_eager: bool, depth: usize, seed: u64) {
    let mut host = executor(&Devices::cpu(), true);
    let mut card = executor(cards, enforce_eager);
    let drawn = Crowd::new(Random(seed)).run(&mut host, &mut card, 150, depth);
    println!("eager {enforce_eager}, depth {depth}, seed {seed}: {drawn} draws agree");
    assert!(drawn > 200, "there is something to compare");
}

#[test]
fn steps_launched_kernel_by_kernel_draw_what_the_cpu_draws() {
    let Some(card) = cards(1) else { return };
    draws_agree(&card, true, 0, 1);
    draws_agree(&card, true, 1, 2);
}

#[test]
fn steps_played_from_graphs_draw_what_the_cpu_draws() {
    let Some(card) = cards(1) else { return };
    draws_agree(&card, false, 0, 3);
    draws_agree(&card, false, 1, 4);
    draws_agree(&card, false, 1, 5);
}

#[test]
fn steps_over_two_cards_draw_what_the_cpu_draws() {
    let Some(cards) = cards(2) else { return };
    draws_agree(&cards, false, 0, 6);
    draws_agree(&cards, false, 1, 7);
}

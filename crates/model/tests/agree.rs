//! The comparison that proves a device, on the CPU: a model agrees with itself bit for bit, and not with another one.

use sconce_kernels::checks::Random;
use sconce_model::agree::{self, Prompt, Reference, Tolerance};
use sconce_model::synth::{NamedShape, Quantization, SynthOptions, write};
use sconce_model::{Checkpoint, Devices, KvCacheDtype, Llama, ModelSizes};

const DTYPE: KvCacheDtype = KvCacheDtype::F16;

fn model(seed: u64, quantization: Quantization) -> (Checkpoint, Llama) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tiny.gguf");
    let options =
        SynthOptions { shape: NamedShape::Tiny, quantization, context_length: None, seed, vocabulary: Some(512) };
    write(&path, &options, &mut |_| {}).expect("it is written");
    let file = Checkpoint::open(&path).expect("it is valid");
    let llama = Llama::load(&file, &Devices::cpu(), None).expect("it loads");
    (file, llama)
}

fn prompts() -> Vec<Prompt> {
    let mut random = Random(3);
    [1, 7, 33, 50].map(|length| Prompt::random(length, 512, &mut random)).into()
}

#[test]
fn a_model_on_the_cpu_agrees_with_itself_in_every_way_bit_for_bit() {
    let (file, llama) = model(1, Quantization::Q4KM);
    let sizes = ModelSizes::of(&file).expect("a model");
    assert_eq!(agree::allowed(&llama, &sizes), (Tolerance::EXACT, Tolerance::EXACT));
    let prompts = prompts();
    let reference = Reference::compute(&llama, &prompts, DTYPE).expect("computed");
    let same = agree::with_reference(&llama, &reference, &prompts, DTYPE, Tolerance::EXACT).expect("computed");
    let ways = agree::ways(&llama, &prompts, DTYPE, Tolerance::EXACT, 5).expect("computed");
    assert_eq!((same.len(), ways.len()), (5, 4));
    for agreement in same.into_iter().chain(ways) {
        assert!(agreement.holds() && agreement.clear_tops > 0, "{agreement:?}");
    }
}

#[test]
fn another_model_and_a_shorter_cache_are_told_apart() {
    let (_, llama) = model(1, Quantization::F32);
    let prompts = prompts();
    let reference = Reference::compute(&llama, &prompts, KvCacheDtype::F32).expect("computed");
    let compare = |llama: &Llama, dtype, allowed| {
        agree::with_reference(llama, &reference, &prompts, dtype, allowed).expect("computed")
    };
    let shorter = compare(&llama, KvCacheDtype::F16, Tolerance::ROUNDED);
    assert!(shorter.iter().all(agree::Agreement::holds), "{shorter:?}");
    assert!(shorter.iter().any(|agreement| agreement.relative > 0.0));
    let (_, other) = model(2, Quantization::F32);
    let other = compare(&other, KvCacheDtype::F32, Tolerance::ROUNDED);
    assert!(!other.iter().any(agree::Agreement::holds), "{other:?}");
}

#[test]
fn sizes_are_counted_from_the_file() {
    let (file, _) = model(1, Quantization::F32);
    let sizes = ModelSizes::of(&file).expect("a model");
    // 2 layers of 256 with 4 heads over 2, 512 inside, 512 tokens.
    let layer = 256 * 256 * 2 + 2 * 256 * 128 + 3 * 256 * 512;
    assert_eq!((sizes.layer_weights, sizes.output_weights, sizes.is_f32), (2 * layer, 256 * 512, true));
    assert_eq!(sizes.step_weight_bytes, 4 * (2 * layer + 256 * 512 + 5 * 256));
    assert_eq!(sizes.token_kv_bytes(DTYPE), 2 * 2 * 128 * 2);
    let step = sizes.decode_step(3.0, 100.0, DTYPE);
    assert!((step.bytes - (sizes.step_weight_bytes + 300 * 1024) as f64).abs() < 0.5);
    assert!((step.operations - (6 * (2 * layer + 256 * 512) + 4 * 256 * 2 * 300) as f64).abs() < 0.5);
    let prompt = sizes.prompt(10, 4, DTYPE);
    assert!((prompt.bytes - (3 * sizes.step_weight_bytes + (4 + 8) * 1024) as f64).abs() < 0.5);
    assert!((prompt.operations - (20 * 2 * layer + 2 * 256 * 512 + 4 * 256 * 2 * 55) as f64).abs() < 0.5);
    let (file, _) = model(1, Quantization::Q8_0);
    assert!(!ModelSizes::of(&file).expect("a model").is_f32);
}

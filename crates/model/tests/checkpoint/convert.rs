//! Conversion between types: how far numbers move, and what rows get that are no whole blocks.

use sconce_kernels::WeightType;
use sconce_model::Checkpoint;
use sconce_model::synth::Quantization;
use serde_json::json;

use crate::folder::{Dtype, Stored, llama_config, llama_tensors, write_folder};
use crate::{floats, logits};

/// The root of the mean square error of a matrix, over that of its numbers, may be so large. Numbers are spread evenly, for
/// which a step between values costs step / sqrt(12).
const BOUNDS: [(Quantization, f64); 15] = [
    (Quantization::F32, 0.0),
    (Quantization::F16, 0.0005),
    (Quantization::BF16, 0.003),
    (Quantization::Q8_0, 0.006),
    (Quantization::Q6K, 0.03),
    (Quantization::Q5_0, 0.06),
    (Quantization::Q5_1, 0.06),
    (Quantization::Q5K, 0.06),
    (Quantization::Q5KM, 0.06),
    (Quantization::Q4_0, 0.12),
    (Quantization::Q4_1, 0.12),
    (Quantization::Q4K, 0.12),
    (Quantization::Q4KM, 0.12),
    (Quantization::Q3K, 0.25),
    (Quantization::Q2K, 0.45),
];

#[test]
fn each_type_moves_numbers_by_no_more_than_its_steps() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = llama_tensors();
    let long = tensors.iter_mut().find(|tensor| tensor.name == "model.embed_tokens.weight").unwrap();
    *long = Stored { shape: vec![40, 256], values: values(40 * 256), ..long.clone() };
    let expected = long.values.clone();
    write_folder(folder.path(), &llama_config(), &tensors, Dtype::F32);
    for (quantization, bound) in BOUNDS {
        let (converted, _) = Checkpoint::open(folder.path()).unwrap().quantized(quantization);
        let taken = floats(&converted, "token_embd.weight");
        let square = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|number| number * number).sum::<f64>();
        let error = square(&mut taken.iter().zip(&expected).map(|(taken, value)| f64::from(taken - value)));
        let error = (error / square(&mut expected.iter().map(|value| f64::from(*value)))).sqrt();
        println!("{}: {error:.5}", quantization.name());
        assert!(error <= bound, "{}: {error}", quantization.name());
        // The bound is not idle: a type of fewer bits is really coarser.
        assert!(error >= bound / 8.0, "{}: {error}", quantization.name());
    }
}

fn values(count: usize) -> Vec<f32> {
    let number = |index: usize| (index as u32).wrapping_mul(2_654_435_761).rotate_left(9).wrapping_mul(0x9E37_79B1);
    (0..count).map(|index| number(index) as f32 / 2_147_483_648.0 - 1.0).collect()
}

#[test]
fn rows_that_are_no_whole_blocks_get_a_type_that_fits_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &llama_config(), &llama_tensors(), Dtype::F32);
    let (converted, fallbacks) = Checkpoint::open(folder.path()).unwrap().quantized(Quantization::Q4K);
    // No row of the small model is 256 long; all are multiples of 32.
    assert_eq!(fallbacks.len(), 2 + 7 * 2);
    assert!(fallbacks.iter().all(|fallback| fallback.wanted == WeightType::Q4K && fallback.used == WeightType::Q8_0));
    assert_eq!(converted.tensor_info("blk.0.attn_norm.weight").unwrap().weight_type, WeightType::F32);

    let mut tensors = llama_tensors();
    let odd = tensors.iter_mut().find(|tensor| tensor.name == "lm_head.weight").unwrap();
    *odd = Stored { shape: vec![40, 20], values: values(800), ..odd.clone() };
    write_folder(folder.path(), &llama_config(), &tensors, Dtype::F32);
    let (_, fallbacks) = Checkpoint::open(folder.path()).unwrap().quantized(Quantization::Q8_0);
    assert_eq!(fallbacks.len(), 1);
    assert_eq!((fallbacks[0].used, fallbacks[0].inputs), (WeightType::F16, 20));
}

#[test]
fn a_model_converted_while_it_is_loaded_gives_the_bits_of_the_converted_file() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &llama_config(), &llama_tensors(), Dtype::Bf16);
    let file = folder.path().join("model.gguf");
    for quantization in [Quantization::Q8_0, Quantization::Q4_0, Quantization::F16, Quantization::BF16] {
        let (converted, _) = Checkpoint::open(folder.path()).unwrap().quantized(quantization);
        let mut largest = 0;
        let extra = [("general.name".to_string(), sconce_model::gguf::write::WriteValue::Text("small".into()))];
        converted.write_gguf(&file, quantization, &extra, &mut |written, _| largest = written).unwrap();
        let written = Checkpoint::open(&file).unwrap();
        assert_eq!(largest, written.tensors().iter().map(|info| info.bytes).sum::<u64>());
        assert_eq!(written.metadata().str("general.name").unwrap(), "small");
        assert_eq!(logits(&written), logits(&converted), "{}", quantization.name());
    }
}

#[test]
fn a_failed_conversion_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &llama_config(), &llama_tensors(), Dtype::F32);
    let (converted, _) = Checkpoint::open(folder.path()).unwrap().quantized(Quantization::F32);
    let twice = [("a".to_string(), json_text()), ("a".to_string(), json_text())];
    let file = folder.path().join("model.gguf");
    let refused = converted.write_gguf(&file, Quantization::F32, &twice, &mut |_, _| {}).unwrap_err();
    assert!(refused.to_string().contains("written twice"), "{refused}");
    assert!(!file.exists() && !folder.path().join("model.gguf.partial").exists());
}

fn json_text() -> sconce_model::gguf::write::WriteValue {
    sconce_model::gguf::write::WriteValue::Text(json!({}).to_string())
}

/// The head is what suffers most from few bits: the mixes keep six for it, whether it is a matrix of its own or the embedding.
#[test]
fn mixes_keep_more_bits_for_the_head() {
    for tied in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut tensors = llama_tensors();
        for tensor in &mut tensors {
            if matches!(tensor.name.as_str(), "model.embed_tokens.weight" | "lm_head.weight") {
                *tensor = Stored { shape: vec![40, 256], values: values(40 * 256), ..tensor.clone() };
            }
        }
        tensors.retain(|tensor| !(tied && tensor.name == "lm_head.weight"));
        let mut config = llama_config();
        config["tie_word_embeddings"] = tied.into();
        write_folder(folder.path(), &config, &tensors, Dtype::F32);
        for (quantization, base) in [(Quantization::Q4KM, WeightType::Q4K), (Quantization::Q5KM, WeightType::Q5K)] {
            let (converted, _) = Checkpoint::open(folder.path()).unwrap().quantized(quantization);
            let kind = |name: &str| converted.tensor_info(name).map(|info| info.weight_type);
            let expected = if tied { (WeightType::Q6K, None) } else { (base, Some(WeightType::Q6K)) };
            assert_eq!((kind("token_embd.weight").unwrap(), kind("output.weight")), expected, "tied {tied}");
        }
    }
}

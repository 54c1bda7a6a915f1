//! Synthetic models: valid files, weights of the variance meant, activations that stay near one, a usable vocabulary.

use std::path::Path;

use proptest::prelude::*;
use sconce_model::gguf::type_name;
use sconce_model::gguf::write::{GgufWriteError, GgufWriter, WriteTensor, WriteValue};
use sconce_model::synth::{NamedShape, Quantization, SynthOptions, SynthProgress, write};
use sconce_model::{Checkpoint, Device, Devices, ForwardBatch, KvCache, KvCacheDtype, Llama, LlamaConfig};

fn options(quantization: Quantization) -> SynthOptions {
    SynthOptions { shape: NamedShape::Tiny, quantization, context_length: None, seed: 7, vocabulary: None }
}

fn synthesize(path: &Path, options: &SynthOptions) {
    write(path, options, &mut |_| {}).unwrap();
}

/// Mean and variance of a tensor's weights.
fn moments(file: &Checkpoint, name: &str) -> (f64, f64) {
    let weights = file.weight(name, &Device::Cpu).unwrap().dequantize().unwrap();
    let weights: Vec<f32> = weights.flatten_all().unwrap().to_vec1().unwrap();
    let mean = weights.iter().copied().map(f64::from).sum::<f64>() / weights.len() as f64;
    let square = weights.iter().map(|&weight| f64::from(weight).powi(2)).sum::<f64>() / weights.len() as f64;
    (mean, square - mean * mean)
}

#[test]
fn every_quantization_opens_and_has_the_variance_meant() {
    let folder = tempfile::tempdir().unwrap();
    for quantization in Quantization::ALL {
        let path = folder.path().join(format!("{}.gguf", quantization.name()));
        synthesize(&path, &options(quantization));
        let file = Checkpoint::open(&path).unwrap();
        let down = 1.0 / (512.0 * 0.355_776 * 4.0);
        for (name, variance) in [
            ("token_embd.weight", 1.0),
            ("blk.0.attn_q.weight", 1.0 / 256.0),
            ("blk.1.attn_v.weight", 1.0 / 256.0),
            ("blk.0.attn_output.weight", 1.0 / 1024.0),
            ("blk.1.ffn_up.weight", 1.0 / 256.0),
            ("blk.1.ffn_down.weight", down),
            ("output.weight", 1.0 / 256.0),
        ] {
            let (mean, actual) = moments(&file, name);
            let what = format!("{} {name}: mean {mean}, variance {actual} for {variance}", quantization.name());
            assert!((actual / variance - 1.0).abs() < 0.05, "{what}");
            assert!(mean.abs() < 0.03 * variance.sqrt(), "{what}");
        }
        let (mean, variance) = moments(&file, "blk.1.ffn_norm.weight");
        assert!((mean - 1.0).abs() < 0.02 && variance < 0.01);
    }
}

#[test]
fn a_mix_keeps_its_better_type_where_the_rule_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mix.gguf");
    let shape = NamedShape::Small30M;
    synthesize(&path, &SynthOptions { shape, ..options(Quantization::Q4KM) });
    let file = Checkpoint::open(&path).unwrap();
    let name_of = |tensor: &str| {
        let info = file.tensor_info(tensor).unwrap();
        type_name(sconce_model::gguf::type_id(info.weight_type))
    };
    assert_eq!((name_of("output.weight"), name_of("token_embd.weight")), ("Q6_K", "Q4_K"));
    let values: Vec<&str> = (0..7).map(|layer| name_of(&format!("blk.{layer}.attn_v.weight"))).collect();
    // Seven layers: no first eighth, every third from the third on, the last eighth from layer 6 on.
    assert_eq!(values, ["Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q6_K"]);
    assert_eq!((name_of("blk.2.ffn_down.weight"), name_of("blk.2.ffn_up.weight")), ("Q6_K", "Q4_K"));
    assert_eq!(name_of("blk.0.attn_norm.weight"), "F32");
    let weights: usize = file.tensors().iter().map(|tensor| tensor.dimensions.iter().product::<usize>()).sum();
    assert!((28_000_000..33_000_000).contains(&weights), "{weights}");
}

#[test]
fn equal_seeds_give_equal_files_and_progress_reaches_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |name: &str, seed| {
        let path = folder.path().join(name);
        let mut last = SynthProgress { written_bytes: 0, total_bytes: 0 };
        write(&path, &SynthOptions { seed, ..options(Quantization::Q5KM) }, &mut |progress| {
            assert!(progress.written_bytes > last.written_bytes);
            last = progress;
        })
        .unwrap();
        assert_eq!(last.written_bytes, last.total_bytes);
        std::fs::read(path).unwrap()
    };
    let first = bytes("a.gguf", 1);
    assert!(first == bytes("b.gguf", 1));
    assert!(first != bytes("c.gguf", 2));
    // No partial file is left.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn logits_of_a_synthetic_model_have_a_deviation_near_one() {
    let folder = tempfile::tempdir().unwrap();
    for (shape, quantization) in [(NamedShape::Tiny, Quantization::F32), (NamedShape::Small30M, Quantization::Q4KM)] {
        let path = folder.path().join("model.gguf");
        synthesize(&path, &SynthOptions { shape, ..options(quantization) });
        let file = Checkpoint::open(&path).unwrap();
        let model = Llama::load(&file, &Devices::cpu(), None).unwrap();
        let mut cache = KvCache::allocate(&model, 2, 32, KvCacheDtype::F32).unwrap();
        let rows = 32u32;
        let batch = ForwardBatch {
            input_ids: (0..rows).map(|row| 300 + 7 * row).collect(),
            positions: (0..rows).collect(),
            slot_mapping: (0..rows).collect(),
            cu_seqlens_q: vec![0, rows],
            seq_lens_k: vec![rows],
            block_tables: vec![0],
            cu_blocks: vec![0, 1],
            logits_rows: (0..rows).collect(),
        };
        let logits = model.forward(&batch, &mut cache).unwrap();
        for row in 0..rows as usize {
            let row = logits.row(row);
            let square = row.iter().map(|&logit| f64::from(logit).powi(2)).sum::<f64>() / row.len() as f64;
            assert!((0.5..2.0).contains(&square), "{}: mean square {square}", shape.name());
        }
    }
}

#[test]
fn the_vocabulary_has_the_size_asked_for_and_ids_that_exist() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    synthesize(
        &path,
        &SynthOptions { vocabulary: Some(5000), context_length: Some(999), ..options(Quantization::Q8_0) },
    );
    let file = Checkpoint::open(&path).unwrap();
    let metadata = file.metadata();
    let tokens = metadata.str_array("tokenizer.ggml.tokens").unwrap();
    assert_eq!(tokens.len(), 5000);
    assert_eq!(tokens.iter().collect::<std::collections::HashSet<_>>().len(), 5000);
    assert_eq!(metadata.f32_array("tokenizer.ggml.scores").unwrap().len(), 5000);
    assert_eq!(metadata.i32_array("tokenizer.ggml.token_type").unwrap().len(), 5000);
    assert_eq!(&tokens[metadata.u32("tokenizer.ggml.eos_token_id").unwrap() as usize], "</s>");
    assert!(metadata.str("tokenizer.chat_template").unwrap().contains("add_generation_prompt"));
    assert_eq!(LlamaConfig::from_file(&file).unwrap().context_length, 999);
}

#[test]
fn an_option_out_of_range_or_unknown_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for (field, wrong) in [
        ("vocabulary", SynthOptions { vocabulary: Some(100), ..options(Quantization::F32) }),
        ("context_length", SynthOptions { context_length: Some(0), ..options(Quantization::F32) }),
    ] {
        let error = write(&path, &wrong, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
    let error = write(&folder.path().join("no/such/folder.gguf"), &options(Quantization::F32), &mut |_| {});
    assert!(error.unwrap_err().to_string().contains("folder.gguf"));
    assert!("llama-9z".parse::<NamedShape>().unwrap_err().to_string().contains("llama-1.1b"));
    assert!("q9".parse::<Quantization>().unwrap_err().to_string().contains("Q4_K_M"));
    assert_eq!("q4_k_m".parse::<Quantization>().unwrap(), Quantization::Q4KM);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn vector(name: &str, length: usize) -> WriteTensor {
    WriteTensor { name: name.to_owned(), dimensions: vec![length], weight_type: sconce_kernels::WeightType::F32 }
}

#[test]
fn the_writer_refuses_what_would_not_be_a_valid_file() {
    let twice = GgufWriter::new(Vec::new(), &[], &[vector("a", 1), vector("a", 1)]).unwrap_err();
    assert!(matches!(twice, GgufWriteError::Duplicate { name } if name == "a"));
    let odd = WriteTensor { weight_type: sconce_kernels::WeightType::Q4K, ..vector("b", 100) };
    assert!(matches!(GgufWriter::new(Vec::new(), &[], &[odd]).unwrap_err(), GgufWriteError::Shape { block: 256, .. }));
    let mut writer = GgufWriter::new(Vec::new(), &[], &[vector("c", 2)]).unwrap();
    writer.write(&[0; 5]).unwrap();
    assert!(matches!(writer.finish().unwrap_err(), GgufWriteError::Unfinished { missing: 3, .. }));
    let mut writer = GgufWriter::new(Vec::new(), &[], &[vector("c", 2)]).unwrap();
    assert!(matches!(writer.write(&[0; 9]).unwrap_err(), GgufWriteError::TooMuchData));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read_back(
        text in "\\PC{0,20}",
        number: u32,
        integers in prop::collection::vec(any::<i32>(), 0..9),
        texts in prop::collection::vec("\\PC{0,9}", 0..9),
        lengths in prop::collection::vec(1usize..40, 1..5),
        part in 1usize..50,
    ) {
        let metadata = [
            ("some.text".to_owned(), WriteValue::Text(text.clone())),
            ("some.number".to_owned(), WriteValue::U32(number)),
            ("some.float".to_owned(), WriteValue::F32(0.25)),
            ("some.truth".to_owned(), WriteValue::Bool(true)),
            ("some.integers".to_owned(), WriteValue::I32Array(integers.clone())),
            ("some.floats".to_owned(), WriteValue::F32Array(vec![1.5; 3])),
            ("some.texts".to_owned(), WriteValue::TextArray(texts.clone())),
        ];
        let tensors: Vec<WriteTensor> =
            lengths.iter().enumerate().map(|(index, &length)| vector(&format!("t{index}"), length)).collect();
        let mut writer = GgufWriter::new(Vec::new(), &metadata, &tensors).unwrap();
        let values: Vec<f32> = (0..lengths.iter().sum()).map(|value: usize| value as f32).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        for chunk in bytes.chunks(part) {
            writer.write(chunk).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any.gguf");
        std::fs::write(&path, writer.finish().unwrap()).unwrap();
        let file = Checkpoint::open(&path).unwrap();
        prop_assert_eq!(file.metadata().str("some.text").unwrap(), text);
        prop_assert_eq!(file.metadata().u32("some.number").unwrap(), number);
        prop_assert_eq!(file.metadata().f32("some.float").unwrap(), 0.25);
        prop_assert!(file.metadata().bool("some.truth").unwrap());
        if !integers.is_empty() {
            prop_assert_eq!(file.metadata().i32_array("some.integers").unwrap(), integers);
        }
        if !texts.is_empty() {
            prop_assert_eq!(file.metadata().str_array("some.texts").unwrap().to_vec(), texts);
        }
        let mut expected = values.as_slice();
        for (index, &length) in lengths.iter().enumerate() {
            let (own, rest) = expected.split_at(length);
            let weight = file.weight(&format!("t{index}"), &Device::Cpu).unwrap().dequantize().unwrap();
            prop_assert_eq!(weight.flatten_all().unwrap().to_vec1::<f32>().unwrap(), own);
            expected = rest;
        }
    }
}

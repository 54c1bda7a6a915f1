//! Files that are no usable model: `serve` says which file and what is wrong with it, quickly, and fails.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{run, tiny_model, words};

/// `serve` must refuse the file, naming it and each of `expected`.
fn refuse(data: &Path, name: &str, bytes: &[u8], expected: &[&str]) {
    let file = data.join(name);
    std::fs::write(&file, bytes).expect("written");
    let began = Instant::now();
    let output = run(data, &["serve", "--port", "0", "--no-sample-corpus", "--model", file.to_str().expect("UTF-8")]);
    let text = words(&output);
    assert!(!output.status.success(), "{name} is refused: {text}");
    assert!(!text.contains("panicked"), "{name}: {text}");
    for word in expected.iter().chain(&[name]) {
        assert!(text.contains(word), "{name}: {word:?} is not in {text}");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{name} is refused without a long wait");
}

/// Replaces the first occurrence of `from` by `to`, of the same length.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is there");
    let mut copy = bytes.to_vec();
    copy[at..at + to.len()].copy_from_slice(to);
    copy
}

#[test]
fn each_bad_file_is_refused_with_a_word_about_it() {
    let data = tempfile::tempdir().expect("a folder");
    let good = std::fs::read(tiny_model(data.path())).expect("a model");
    let path = data.path();
    let nowhere = words(&run(path, &["serve", "--port", "0", "--model", "/nowhere/at/all.gguf"]));
    assert!(nowhere.contains("no file or folder /nowhere/at/all.gguf") && nowhere.contains("sconce pull"), "{nowhere}");
    refuse(path, "empty.gguf", b"", &[]);
    refuse(path, "text.gguf", b"this is a letter, not a model, however long it may go on", &["GGUF"]);
    refuse(path, "header.gguf", &good[..200], &[]);
    refuse(path, "half.gguf", &good[..good.len() / 2], &[]);
    let mut huge = good.clone();
    huge[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    refuse(path, "tensors.gguf", &huge, &["tensor"]);
    let mut huge = good.clone();
    huge[16..24].copy_from_slice(&(1u64 << 60).to_le_bytes());
    refuse(path, "metadata.gguf", &huge, &["metadata"]);
    refuse(
        path,
        "architecture.gguf",
        &replaced(&good, b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0mamba"),
        &["mamba"],
    );
    refuse(
        path,
        "tokenizer.gguf",
        &replaced(&good, b"tokenizer.ggml.model", b"tokenizer.ggml.mode_"),
        &["tokenizer.ggml.model"],
    );
    refuse(
        path,
        "tensor-name.gguf",
        &replaced(&good, b"output_norm.weight", b"output_nerm.weight"),
        &["output_norm.weight"],
    );
    let header = sconce_model::gguf::GgufHeader::parse(&good).expect("a valid file");
    let norm = header.tensors.iter().find(|info| info.name == "output_norm.weight").expect("it is there");
    let at = (header.data_offset + norm.offset) as usize;
    let mut spoiled = good.clone();
    spoiled[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    refuse(path, "nan.gguf", &spoiled, &["output_norm.weight", "row 0 holds NaN"]);
    let missing = run(path, &["serve", "--port", "0", "--model", "/nowhere/model.gguf"]);
    assert!(!missing.status.success());
    assert!(words(&missing).contains("/nowhere/model.gguf"), "{}", words(&missing));
}

#[test]
fn numbers_out_of_range_are_refused_before_anything_is_loaded() {
    let data = tempfile::tempdir().expect("a folder");
    for arguments in [
        ["--max-num-seqs", "0"],
        ["--kv-memory", "lots"],
        ["--kv-quota", "acme=2"],
        ["--block-size", "0"],
        ["--port", "70000"],
        ["--api-key", ""],
    ] {
        let output = run(data.path(), &["serve", arguments[0], arguments[1]]);
        assert_eq!(output.status.code(), Some(2), "{}", words(&output));
        assert!(words(&output).contains(arguments[0]), "{}", words(&output));
    }
    let model = tiny_model(data.path());
    let output =
        run(data.path(), &["serve", "--port", "0", "--model", model.to_str().expect("UTF-8"), "--kv-memory", "1KiB"]);
    assert!(!output.status.success());
    assert!(words(&output).contains("kv_memory"), "{}", words(&output));
}

//! A folder as transformers saves it, with a byte-fallback vocabulary: served as it is, and converted to GGUF files that say the
//! same. `tests/data/folder` holds a random Llama with the tokenizer of `scripts/goldens/vocabularies.py`.

mod common;

use std::path::Path;

use common::{Server, run, words};
use serde_json::{Value, json};

fn continuation(data: &Path, arguments: &[&str]) -> String {
    let server = Server::start(data, arguments);
    let models: Value = serde_json::from_str(&server.get("/v1/models").1).expect("JSON");
    let request = json!({
        "model": models["data"][0]["id"], "prompt": "The carpenter's work isn't done", "max_tokens": 16, "temperature": 0, "ignore_eos": true,
    });
    let (status, answer) = server.post("/v1/completions", &request);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["usage"]["completion_tokens"], 16, "{answer}");
    answer["choices"][0]["text"].as_str().expect("a text").to_owned()
}

#[test]
fn a_folder_is_served_and_converts_to_files_that_continue_alike() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/folder");
    let expected = continuation(data.path(), &["--model", folder]);
    for kind in ["f32", "bf16"] {
        let file = data.path().join(format!("{kind}.gguf"));
        let file = file.to_str().expect("a UTF-8 path");
        let converted = run(data.path(), &["quantize", folder, file, "--type", kind]);
        assert!(converted.status.success() && !words(&converted).contains("warning"), "{}", words(&converted));
        assert_eq!(continuation(data.path(), &["--model", file]), expected, "{kind}");
    }
    // Eight bits are served from the folder and from a file of them alike, too.
    let file = data.path().join("q8_0.gguf");
    let file = file.to_str().expect("a UTF-8 path");
    let config = format!("{folder}/config.json");
    let over_itself = run(data.path(), &["quantize", folder, &config, "--type", "q8_0", "--force"]);
    assert!(!over_itself.status.success() && words(&over_itself).contains("part of the input"));
    let converted = run(data.path(), &["quantize", folder, file, "--type", "q8_0"]);
    assert!(converted.status.success(), "{}", words(&converted));
    let on_the_fly = continuation(data.path(), &["--model", folder, "--quantize", "q8_0"]);
    assert_eq!(continuation(data.path(), &["--model", file]), on_the_fly);
}

/// Tokens of a prompt, and what continues it.
fn answer(server: &Server, prompt: &str) -> (Value, Value) {
    let request = json!({"model": "tiny", "prompt": prompt, "max_tokens": 8, "temperature": 0, "ignore_eos": true});
    let (status, answer) = server.post("/v1/completions", &request);
    assert_eq!(status, 200, "{answer}");
    (answer["usage"]["prompt_tokens"].clone(), answer["choices"][0]["text"].clone())
}

/// Phi 3's tokens that swallow white space, and Mistral's space before the first words alone: GGUF has no keys for them.
#[test]
fn what_gguf_has_no_keys_for_is_kept_in_a_converted_file() {
    let goldens = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/text/tests/goldens/tokenizers");
    for name in ["phi3", "mistral"] {
        let data = tempfile::tempdir().expect("a folder");
        let folder = data.path().join("tiny");
        std::fs::create_dir(&folder).expect("a folder");
        for file in ["config.json", "model.safetensors"] {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/folder").join(file);
            std::fs::copy(source, folder.join(file)).expect("copied");
        }
        for (source, file) in [("json", "tokenizer.json"), ("config.json", "tokenizer_config.json")] {
            std::fs::copy(format!("{goldens}/{name}.{source}"), folder.join(file)).expect("copied");
        }
        let (folder, file) = (folder.to_str().expect("UTF-8"), data.path().join("tiny.gguf"));
        let file = file.to_str().expect("UTF-8");
        let converted = run(data.path(), &["quantize", folder, file, "--type", "f32"]);
        assert!(converted.status.success(), "{}", words(&converted));
        let prompts = ["</s>a", " leading", "x <|end|>  y", "<|end|>\n\nz", "a <mask>\tb", "a</s>  b"];
        let of = |model: &str| {
            let server = Server::start(data.path(), &["--model", model]);
            prompts.map(|prompt| answer(&server, prompt))
        };
        assert_eq!(of(file), of(folder), "{name}");
    }
}

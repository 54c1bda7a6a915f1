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
    let converted = run(data.path(), &["quantize", folder, file, "--type", "q8_0"]);
    assert!(converted.status.success(), "{}", words(&converted));
    let on_the_fly = continuation(data.path(), &["--model", folder, "--quantize", "q8_0"]);
    assert_eq!(continuation(data.path(), &["--model", file]), on_the_fly);
}

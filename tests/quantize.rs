//! `sconce quantize` from outside: a real file becomes smaller, still serves, and nothing is replaced unasked.

mod common;

use common::{run, tiny_model, words};

#[test]
fn a_file_is_converted_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let input = tiny_model(folder.path());
    let input = input.to_str().unwrap();
    let output = folder.path().join("tiny-q4.gguf");
    let output = output.to_str().unwrap();
    let arguments = ["quantize", input, output, "--type", "q4_0"];
    let first = run(folder.path(), &arguments);
    assert!(first.status.success(), "{}", words(&first));
    let (before, after) = (std::fs::metadata(input).unwrap().len(), std::fs::metadata(output).unwrap().len());
    assert!(after < before, "{after} bytes after {before}");
    let second = run(folder.path(), &arguments);
    assert!(!second.status.success() && words(&second).contains("--force"), "{}", words(&second));
    let forced = run(folder.path(), &["quantize", input, output, "--type", "q8_0", "--force"]);
    assert!(forced.status.success(), "{}", words(&forced));
    let same = folder.path().join(".").join("tiny-q4.gguf");
    let onto_itself = run(folder.path(), &["quantize", output, same.to_str().unwrap(), "--type", "q4_0", "--force"]);
    assert!(
        !onto_itself.status.success() && words(&onto_itself).contains("is part of the input"),
        "{}",
        words(&onto_itself)
    );
    let server = common::Server::start(folder.path(), &["--model", output, "--quantize", "q4_0"]);
    assert!(server.greeting.contains("tiny-q4"), "{}", server.greeting);
}

#[test]
fn what_is_no_model_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().to_str().unwrap();
    let output = folder.path().join("out.gguf");
    let refused = run(folder.path(), &["quantize", input, output.to_str().unwrap(), "--type", "f32"]);
    assert!(!refused.status.success() && words(&refused).contains("no config.json"), "{}", words(&refused));
    let refused = run(folder.path(), &["quantize", input, output.to_str().unwrap(), "--type", "iq2_xs"]);
    assert!(!refused.status.success() && words(&refused).contains("Q4_K_M"), "{}", words(&refused));
    assert!(!output.exists());
}

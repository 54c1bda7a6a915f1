//! `sconce verify` from outside: a sound model passes, and each damage is told by its name.

mod common;

use std::path::Path;

use common::{run, shared, tiny_model, words};
use serde_json::Value;

/// The report, and whether the exit status was success.
fn verify(data: &Path, model: &Path, more: &[&str]) -> (bool, Value) {
    let model = model.to_str().expect("UTF-8");
    let output = run(data, &[&["verify", model, "--devices", "cpu", "--json"], more].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("JSON: {}", words(&output)));
    (output.status.success(), report)
}

fn check<'r>(report: &'r Value, name: &str) -> (&'r str, &'r str) {
    let checks = report["checks"].as_array().expect("checks");
    let found = checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("{name}: {report}"));
    (found["outcome"].as_str().expect("an outcome"), found["note"].as_str().expect("a note"))
}

#[test]
fn a_synthetic_model_passes_and_a_record_is_compared() {
    let data = tempfile::tempdir().expect("a folder");
    let model = tiny_model(data.path());
    let (sound, report) = verify(data.path(), &model, &[]);
    assert!(sound, "{report:#}");
    assert_eq!(check(&report, "sha256").0, "skipped");
    for name in ["header", "finite weights", "finite logits", "perplexity", "tokenizer round trips"] {
        assert_eq!(check(&report, name).0, "pass", "{name}");
    }
    let perplexity = |report: &Value| -> f64 {
        let checks = report["checks"].as_array().expect("checks");
        let found = checks.iter().find(|check| check["check"] == "perplexity").expect("a perplexity");
        found["figures"]["perplexity"].as_f64().expect("a number")
    };
    let (sound, shorter) = verify(data.path(), &model, &["--kv-cache-dtype", "q8_0"]);
    assert!(sound && check(&shorter, "finite logits").0 == "pass", "{shorter:#}");
    let ratio = perplexity(&shorter) / perplexity(&report);
    assert!(ratio != 1.0 && (ratio - 1.0).abs() < 0.02, "a cache of eight bits changes little, but something: {ratio}");
    std::fs::write(data.path().join("tiny.gguf.sha256"), "00  tiny.gguf\n").expect("written");
    let (sound, report) = verify(data.path(), &model, &[]);
    assert!(!sound && check(&report, "sha256").0 == "fail", "{report:#}");
}

#[test]
fn what_pull_recorded_of_a_file_is_compared() {
    let data = tempfile::tempdir().expect("a folder");
    let model = tiny_model(data.path());
    let blobs = data.path().join("blobs");
    std::fs::create_dir(&blobs).expect("a folder");
    // The hub's cache names a blob by its hash, and a snapshot links to it.
    let blob = blobs.join("00".repeat(32));
    std::fs::rename(&model, &blob).expect("moved");
    std::os::unix::fs::symlink(&blob, &model).expect("linked");
    let (sound, report) = verify(data.path(), &model, &[]);
    let (outcome, note) = check(&report, "sha256");
    assert!(!sound && outcome == "fail" && note.contains("the record says 0000"), "{report:#}");
}

#[test]
fn a_template_that_opens_and_closes_turns_passes() {
    let data = tempfile::tempdir().expect("a folder");
    let model = tiny_model(data.path());
    let template = data.path().join("template.jinja");
    let source = "{{ bos_token }}{% for message in messages %}[{{ message.role }}]\n{{ message.content }}{{ eos_token }}\n\
        {% endfor %}{% if add_generation_prompt %}[assistant]\n{% endif %}";
    std::fs::write(&template, source).expect("written");
    let path = template.to_str().expect("UTF-8");
    let (sound, report) = verify(data.path(), &model, &["--chat-template", path]);
    let (outcome, note) = check(&report, "chat template");
    assert!(sound && outcome == "pass" && note.starts_with("system, user, assistant; "), "{report:#}");
}

#[test]
fn the_published_stories_are_told() {
    let Some(model) = shared("models/stories260K.gguf") else { return };
    let data = tempfile::tempdir().expect("a folder");
    let (sound, report) = verify(data.path(), &model, &[]);
    assert!(sound, "{report:#}");
    assert_eq!(check(&report, "known answer").0, "pass");
    println!("{}", check(&report, "perplexity").1);
}

#[test]
fn a_folder_of_safetensors_is_checked_but_for_its_hash() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/folder");
    let (sound, report) = verify(data.path(), std::path::Path::new(folder), &[]);
    assert!(sound, "{report:#}");
    assert_eq!(check(&report, "sha256").0, "skipped");
    for name in ["header", "finite weights", "finite logits", "perplexity", "tokenizer round trips"] {
        assert_eq!(check(&report, name).0, "pass", "{name}");
    }
}

#[test]
fn a_weight_that_is_no_number_is_named() {
    let data = tempfile::tempdir().expect("a folder");
    let model = tiny_model(data.path());
    let mut bytes = std::fs::read(&model).expect("read");
    let end = bytes.len();
    bytes[end - 128..].fill(0xff);
    let damaged = data.path().join("damaged.gguf");
    std::fs::write(&damaged, bytes).expect("written");
    let (sound, report) = verify(data.path(), &damaged, &[]);
    let (outcome, note) = check(&report, "finite weights");
    assert!(!sound && outcome == "fail" && note.contains(".weight\": row "), "{report:#}");
}

#[test]
fn a_broken_template_fails_alone() {
    let data = tempfile::tempdir().expect("a folder");
    let model = tiny_model(data.path());
    let template = data.path().join("template.jinja");
    let path = template.to_str().expect("UTF-8");
    for (source, name) in [
        ("{% if %}", "tokenizer and template"),
        ("{% for message in messages %}{{ message.content }}{% endfor %}", "chat template"),
    ] {
        std::fs::write(&template, source).expect("written");
        let (sound, report) = verify(data.path(), &model, &["--chat-template", path]);
        assert!(!sound && check(&report, name).0 == "fail", "{source}: {report:#}");
        assert_eq!(check(&report, "finite logits").0, "pass");
    }
}

#[test]
fn a_text_of_ones_own_is_read_whole_and_a_converted_model_is_little_worse() {
    let Some(model) = shared("models/stories260K.gguf") else { return };
    let data = tempfile::tempdir().expect("a folder");
    let text = data.path().join("story.txt");
    std::fs::write(&text, "Once upon a time there was a little girl who loved to play with her red ball. ".repeat(120))
        .expect("written");
    let text = text.to_str().expect("UTF-8");
    let perplexity = |more: &[&str]| {
        let (good, report) = verify(data.path(), &model, &[&["--text", text], more].concat());
        assert!(good, "{report}");
        let found = report["checks"].as_array().expect("checks").iter().find(|check| check["check"] == "perplexity");
        let figures = &found.expect("a perplexity")["figures"];
        assert!(figures["tokens"].as_u64().expect("a number") > 2000, "all of it is read: {figures}");
        figures["perplexity"].as_f64().expect("a number")
    };
    let (whole, rounded) = (perplexity(&["--quantize", "f32"]), perplexity(&["--quantize", "q8_0"]));
    assert!((rounded / whole - 1.0).abs() < 0.02, "{whole} and {rounded}");
    let output = run(data.path(), &["verify", model.to_str().expect("UTF-8"), "--text", "/nowhere.txt"]);
    assert!(!output.status.success() && words(&output).contains("/nowhere.txt"), "{}", words(&output));
}

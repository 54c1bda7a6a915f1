//! Commands that measure or write: what they refuse before they begin, and what their help shows.

mod common;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{run, sconce, shared, tiny_model, words};

/// The command must fail, saying each of `expected`.
fn refuse(data: &Path, arguments: &[&str], expected: &[&str]) {
    let output = run(data, arguments);
    let text = words(&output);
    assert!(!output.status.success(), "{arguments:?} is refused: {text}");
    for word in expected {
        assert!(text.contains(word), "{arguments:?}: {word:?} is not in {text}");
    }
}

#[test]
fn a_measurement_that_cannot_be_made_or_kept_is_refused_before_any_is_made() {
    let data = tempfile::tempdir().expect("a folder");
    let model = tiny_model(data.path());
    let model = model.to_str().expect("UTF-8");
    let nowhere = data.path().join("nowhere/figures.json");
    let nowhere = nowhere.to_str().expect("UTF-8");
    let bench = |more: &[&str], expected: &[&str]| {
        let arguments = [&["bench", "model", "--model", model, "--repeat", "1", "--tokens", "8"], more].concat();
        refuse(data.path(), &arguments, &[expected, &["error:"]].concat());
    };
    bench(&["--streams", "1,64"], &["64 streams", "--max-num-seqs to 64"]);
    bench(&["--prompts", "5000"], &["5000 tokens", "4096"]);
    bench(&["--streams", "8", "--kv-memory", "1MiB", "--stream-prompt", "200"], &["8 streams", "--kv-memory"]);
    bench(&["--dtype", "bf16"], &["the CPU computes with f32 activations only"]);
    bench(&["--devices", "cpu,cpu,cpu,cpu,cpu"], &["5 devices are named for", "layers; name at most"]);
    #[cfg(not(feature = "cuda"))]
    bench(&["--devices", "0"], &["the CPU only", "cargo build --release --features cuda"]);
    bench(&["--out", nowhere], &[nowhere, "cannot be written"]);
    // Nobody listens there: the file is looked at first.
    let workload = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/workloads/smoke.toml");
    let serve = ["bench", "serve", "http://127.0.0.1:9", workload, "--out", nowhere];
    refuse(data.path(), &serve, &[nowhere, "cannot be written"]);
}

#[test]
fn figures_are_kept_where_they_were_asked_for() {
    let data = tempfile::tempdir().expect("a folder");
    let model = tiny_model(data.path());
    let out = data.path().join("figures.json");
    let (model, file) = (model.to_str().expect("UTF-8"), out.to_str().expect("UTF-8"));
    // Many tokens: on a busy machine the second client may begin long after the first.
    let sizes = ["--prompts", "8", "--streams", "1,2", "--tokens", "1024", "--repeat", "1"];
    let output = run(data.path(), &[&["bench", "model", "--model", model, "--out", file], &sizes[..]].concat());
    assert!(output.status.success(), "{}", words(&output));
    let figures: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).expect("written")).expect("JSON");
    assert_eq!(figures["rates"].as_array().expect("rates").len(), 3);
}

#[test]
fn a_profile_names_the_parts_of_the_steps_that_were_made() {
    let data = tempfile::tempdir().expect("a folder");
    let model = tiny_model(data.path());
    let model = model.to_str().expect("UTF-8");
    let sizes = ["--prompts", "8", "--streams", "1", "--tokens", "16", "--repeat", "1"];
    let output = run(data.path(), &[&["bench", "model", "--profile", "--model", model], &sizes[..]].concat());
    assert!(output.status.success(), "{}", words(&output));
    let told = words(&output);
    for line in ["| step | 100.0 % |", "| · run |", "| · · forward |", "| · · · attention |", "| · · sampling |"]
    {
        assert!(told.contains(line), "{line} is not in {told}");
    }
    // A command that makes no step says so.
    let planned = words(&run(data.path(), &["plan", model, "--profile"]));
    assert!(planned.contains("no engine made a step"), "{planned}");
}

#[test]
fn synth_replaces_its_own_files_and_no_others_unless_forced() {
    let data = tempfile::tempdir().expect("a folder");
    let own = tiny_model(data.path());
    tiny_model(data.path());
    let letter = data.path().join("letter.gguf");
    std::fs::write(&letter, "not ours").expect("written");
    let path = letter.to_str().expect("UTF-8");
    refuse(data.path(), &["synth", "--shape", "tiny", path], &[path, "--force"]);
    assert_eq!(std::fs::read(&letter).expect("still there"), b"not ours");
    assert!(run(data.path(), &["synth", "--shape", "tiny", "--force", path]).status.success());
    if let Some(stories) = shared("models/stories260K.gguf") {
        std::fs::copy(stories, &own).expect("copied");
        refuse(data.path(), &["synth", "--shape", "tiny", own.to_str().expect("UTF-8")], &["--force"]);
    }
}

#[test]
fn each_command_shows_the_options_that_it_uses() {
    let data = tempfile::tempdir().expect("a folder");
    let help = |command: &[&str]| words(&run(data.path(), &[command, &["--help"]].concat()));
    let (serve, ask, bench) = (help(&["serve"]), help(&["ask"]), help(&["bench", "model"]));
    for option in ["--max-requests", "--kv-quota", "--pin-documents", "--model-id"] {
        assert!(serve.contains(option) && !ask.contains(option) && !bench.contains(option), "{option}");
    }
    assert!(serve.contains("--max-num-seqs") && bench.contains("--max-num-seqs") && !ask.contains("--max-num-seqs"));
    assert!(ask.contains("--max-tokens") && ask.contains("--kv-memory") && bench.contains("--kv-memory"));
}

#[test]
fn ask_takes_a_bound_on_the_answer_and_says_when_a_length_is_more_than_the_model_has() {
    let data = tempfile::tempdir().expect("a folder");
    let model = tiny_model(data.path());
    let model = model.to_str().expect("UTF-8");
    let roles = data.path().join("roles");
    std::fs::create_dir(&roles).expect("a folder");
    std::fs::write(roles.join("falconer.md"), "# Falconer\n\nA falconer flies 3 hawks at dusk.\n").expect("written");
    assert!(run(data.path(), &["ingest", roles.to_str().expect("UTF-8")]).status.success());
    let ask = ["ask", "How many hawks does a falconer fly?", "--model", model];
    let text = words(&run(data.path(), &[&ask[..], &["--max-tokens", "4", "--max-model-len", "9999"]].concat()));
    // Random weights write nothing that passes the check, so the document's own words are quoted.
    assert!(text.contains("flies 3 hawks") && text.contains("failed its check"), "{text}");
    assert!(text.contains("max_model_len") && text.contains("4096"), "{text}");
}

#[test]
fn who_stops_reading_ends_a_command_well_and_a_server_not_at_all() {
    let data = tempfile::tempdir().expect("a folder");
    let model = tiny_model(data.path());
    let model = model.to_str().expect("UTF-8");
    for arguments in [
        &["plan", model][..],
        &["verify", model, "--devices", "cpu"],
        &["ask", "--model", "none", "What does a chef do?"],
    ] {
        let mut child = sconce(data.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        // Long before it has read its first file.
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("an end");
        let text = words(&output);
        assert!(output.status.success() && !text.contains("panicked"), "{arguments:?}: {text}");
    }
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr()).expect("a free port").port();
    let mut server = sconce(data.path())
        .args(["serve", "--port", &port.to_string(), "--model", "none"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    drop(server.stdout.take());
    let ready = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    let until = Instant::now() + Duration::from_secs(20);
    while !ready() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    // It greets when it listens.
    std::thread::sleep(Duration::from_millis(500));
    assert!(ready() && server.try_wait().expect("a state").is_none(), "the server goes on");
    server.kill().expect("it ends");
    server.wait().expect("it has ended");
}

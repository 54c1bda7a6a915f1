//! The memory plan from outside: its numbers are those that `serve` takes, a running server stays within them, and what does
//! not fit is refused with numbers.

mod common;

use std::path::Path;

use common::{Server, run, sconce, tiny_model, words};
use serde_json::{Value, json};

fn plan(data: &Path, model: &str, more: &[&str]) -> Value {
    let output = run(data, &[&["plan", model, "--devices", "cpu", "--json"], more].concat());
    assert!(output.status.success(), "{}", words(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn number(plan: &Value, key: &str) -> u64 {
    plan[key].as_u64().unwrap_or_else(|| panic!("{key} is no number: {plan}"))
}

#[test]
fn the_numbers_follow_from_the_header() {
    let data = tempfile::tempdir().expect("a folder");
    let model = tiny_model(data.path());
    let model = model.to_str().expect("UTF-8");
    let wide = plan(data.path(), model, &["--memory", "8GiB", "--kv-cache-dtype", "f32"]);
    let narrow = plan(data.path(), model, &["--memory", "8GiB"]);
    assert_eq!(number(&wide, "kv_token_bytes"), 2 * number(&narrow, "kv_token_bytes"));
    let bytes = plan(data.path(), model, &["--memory", "8GiB", "--kv-cache-dtype", "q8_0"]);
    // Of 32 numbers 34 bytes instead of 64.
    assert_eq!(32 * number(&bytes, "kv_token_bytes"), 17 * number(&narrow, "kv_token_bytes"));
    assert_eq!(number(&narrow, "kv_bytes"), number(&narrow, "kv_token_bytes") * number(&narrow, "kv_tokens"));
    let sum: u64 = narrow["weights"].as_object().expect("types").values().filter_map(Value::as_u64).sum();
    assert_eq!(sum, number(&narrow, "weight_bytes"));
    let short = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/model/tests/data/goldens/llama-tied.gguf");
    let refused = run(data.path(), &["plan", short, "--devices", "cpu", "--kv-cache-dtype", "q8_0"]);
    assert!(!refused.status.success() && words(&refused).contains("heads of 16 numbers"), "{}", words(&refused));
    let refused = run(data.path(), &["plan", model, "--devices", "cpu", "--dtype", "bf16"]);
    assert!(!refused.status.success() && words(&refused).contains("f32 activations only"), "{}", words(&refused));
    let small_step = plan(data.path(), model, &["--memory", "8GiB", "--max-num-batched-tokens", "64"]);
    assert!(number(&small_step, "step_bytes") < number(&narrow, "step_bytes"));
    let one = plan(data.path(), model, &["--memory", "8GiB", "--max-num-seqs", "1", "--max-model-len", "512"]);
    assert_eq!((number(&one, "kv_tokens"), number(&one, "sequences")), (512, 1));
}

#[test]
fn a_cache_that_nobody_asked_for_is_lowered_and_what_cannot_fit_is_refused() {
    let data = tempfile::tempdir().expect("a folder");
    let model = tiny_model(data.path());
    let model = model.to_str().expect("UTF-8");
    let whole = plan(data.path(), model, &["--memory", "8GiB"]);
    let fixed = number(&whole, "weight_bytes") + number(&whole, "packed_extra_bytes") + number(&whole, "step_bytes");
    let half = (fixed + number(&whole, "kv_bytes") / 2).to_string();
    let lowered = plan(data.path(), model, &["--memory", &half]);
    assert!(number(&lowered, "kv_tokens") < number(&whole, "kv_tokens") && number(&lowered, "sequences") >= 1);
    assert!(number(&lowered, "total_bytes") <= half.parse().expect("a number"));
    let kv_bytes = number(&whole, "kv_bytes").to_string();
    for more in [vec!["--memory", "1MiB"], vec!["--memory", &half, "--kv-memory", &kv_bytes]] {
        let output = run(data.path(), &[&["plan", model, "--devices", "cpu"], &more[..]].concat());
        let text = words(&output);
        assert!(!output.status.success(), "{text}");
        for part in ["available", "lower --max-model-len", "--kv-memory", "--max-num-seqs", model] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    // The server is refused by the same plan, before it loads.
    let output = run(
        data.path(),
        &[
            "serve",
            "--port",
            "0",
            "--no-sample-corpus",
            "--devices",
            "cpu",
            "--model",
            model,
            "--kv-memory",
            "900000GB",
        ],
    );
    assert!(!output.status.success() && words(&output).contains("lower --max-model-len"), "{}", words(&output));
}

/// A line of `/proc/PID/status`, in bytes.
#[cfg(target_os = "linux")]
fn status(process: u32, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).expect("a line");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_takes_what_the_plan_says() {
    let data = tempfile::tempdir().expect("a folder");
    let model = tiny_model(data.path());
    let file_bytes = std::fs::metadata(&model).expect("a file").len();
    let model = model.to_str().expect("UTF-8");
    for dtype in ["f16", "f32", "q8_0"] {
        let options = ["--kv-memory", "192MiB", "--kv-cache-dtype", dtype];
        let plan = plan(data.path(), model, &options);
        let log = data.path().join("log");
        let mut command = sconce(data.path());
        command.env("RUST_LOG", "warn,sconce=info").stderr(std::fs::File::create(&log).expect("a file"));
        let arguments = [&["--no-sample-corpus", "--devices", "cpu", "--model", model], &options[..]].concat();
        let server = Server::start_as(command, &arguments);
        let (ready, kv) = (status(server.id(), "VmRSS"), number(&plan, "kv_bytes"));
        assert!(ready >= kv, "{dtype}: {ready} bytes are there, but the cache alone takes {kv}");
        let prompt: Vec<u32> = (0..900).map(|at| 300 + at % 150).collect();
        let body = json!({"prompt": prompt, "max_tokens": 16, "n": 8, "temperature": 1, "ignore_eos": true});
        let (code, answer) = server.post("/v1/completions", &body);
        assert_eq!(code, 200, "{answer}");
        // While the weights are copied, the file's pages count beside them; the system takes those back when it needs them.
        let (peak, total) = (status(server.id(), "VmHWM"), number(&plan, "total_bytes"));
        let own = status(server.id(), "RssAnon");
        assert!(own <= total, "{dtype}: its own {own} bytes are above the plan of {total}");
        assert!(peak <= total + file_bytes, "{dtype}: the peak of {peak} is above the plan of {total}");
        assert!(total <= peak * 3 / 2 + (64 << 20), "{dtype}: the plan of {total} is far above the peak of {peak}");
        let log = std::fs::read_to_string(&log).expect("UTF-8");
        for key in ["weight_bytes", "step_bytes", "kv_bytes", "kv_tokens"] {
            let said = format!("{key}={}", number(&plan, key));
            assert!(log.contains(&said), "{said}: {log}");
        }
        println!("{dtype}: planned {total}, peak {peak}, when ready {ready}");
    }
}

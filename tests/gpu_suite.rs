//! The suite for a card, rehearsed on the CPU: all of its parts run and leave their files, a proof that fails or has no time is
//! told by the exit status, and the parts behind it still run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn rehearse(binary: &Path, out: &Path, budget: &str) -> Output {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/gpu_suite.sh"))
        .arg("--rehearse")
        .args([binary, out])
        .env("SUITE_BUDGET_S", budget)
        // The models are tiny; more threads only fight the other tests.
        .env("SCONCE_THREADS", "1")
        .output()
        .expect("bash is there")
}

fn summary(out: &Path) -> String {
    fs::read_to_string(out.join("summary.md")).expect("a summary")
}

/// The binary, but with a word of its own for some arguments.
fn wrapped(folder: &Path, body: &str) -> std::path::PathBuf {
    let path = folder.join("sconce");
    let real = env!("CARGO_BIN_EXE_sconce");
    fs::write(&path, format!("#!/usr/bin/env bash\n{body}\nexec {real} \"$@\"\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    path
}

#[test]
fn every_part_passes_and_leaves_its_figures() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = rehearse(Path::new(env!("CARGO_BIN_EXE_sconce")), folder.path(), "110");
    let summary = summary(folder.path());
    assert!(output.status.success(), "{summary}{}", String::from_utf8_lossy(&output.stderr));
    let parts = summary.split("\n## ").next().expect("the parts come first");
    assert!(!summary.contains("FAIL") && !parts.contains("| skipped: "), "{summary}");
    let json = |name: &str| -> Value {
        let text = fs::read_to_string(folder.path().join(name)).expect(name);
        serde_json::from_str(&text).expect(name)
    };
    let ceilings = &json("card.json")["devices"][0]["ceilings"];
    assert!(ceilings["copy_bytes_per_second"].as_f64() > Some(1e8) && ceilings["matmul_flops"].as_f64() > Some(1e8));
    for (name, least) in [("kernels.json", 8), ("agree-tiny-f32.json", 10), ("agree-tiny-q4_k_m.json", 14)] {
        let found = json(name);
        assert_eq!((found["fail"].as_u64(), found["agree"].as_u64() >= Some(least)), (Some(0), true), "{found}");
    }
    let table = json("table-tiny-q8_0.json");
    let rows = table["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 6, "{table}");
    // On a busy machine streams that are over in milliseconds may not overlap.
    assert!(rows.iter().filter(|row| row["tokens_per_second"].as_f64() > Some(0.0)).count() >= 3, "{table}");
    // 128 tokens once, and for each of four clients a question of 16 and 31 tokens of an answer of 32.
    assert_eq!(rows[4]["computed_tokens"], 128 + 4 * (16 + 31), "{table}");
    assert!(table["about"]["kv_bytes"].as_u64() > Some(0));
}

#[test]
fn a_proof_that_fails_is_told_and_the_rest_still_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken = r#"if [ "$1 $2" = "bench kernels" ]; then echo "rope is off" >&2; exit 1; fi"#;
    let output = rehearse(&wrapped(folder.path(), broken), &folder.path().join("out"), "110");
    let summary = summary(&folder.path().join("out"));
    assert_eq!(output.status.code(), Some(1), "{summary}");
    assert!(summary.contains("| kernels | proof | FAILED with 1: rope is off |"), "{summary}");
    assert!(summary.contains("| table-tiny-q8_0 | figures | passed |"), "{summary}");
}

#[test]
fn a_part_without_time_is_cut_or_left_out_and_proves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let slow = r#"if [ "$1 $2" = "bench card" ]; then sleep 60; fi"#;
    let output = rehearse(&wrapped(folder.path(), slow), &folder.path().join("out"), "2");
    let summary = summary(&folder.path().join("out"));
    assert_eq!(output.status.code(), Some(1), "{summary}");
    assert!(summary.contains("| card | proof | timed out after "), "{summary}");
    assert!(summary.contains("| kernels | proof | skipped: "), "{summary}");
}

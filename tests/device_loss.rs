//! A device that is lost or out of memory, as a client and a supervisor see it. The fault is one that only a build with debug
//! assertions can have; without them the tests have nothing to do.
#![cfg(debug_assertions)]

mod common;

use std::path::Path;

use common::{Server, sconce, tiny_model};
use serde_json::{Value, json};

fn serve_with(fault: &str, data: &Path) -> Server {
    let model = tiny_model(data);
    let mut command = sconce(data);
    command.env("SCONCE_FAULT", fault);
    Server::start_as(command, &["--no-sample-corpus", "--model", model.to_str().expect("UTF-8")])
}

/// The chunks of a streamed completion.
fn stream(server: &Server, max_tokens: u32) -> Vec<Value> {
    let prompt: Vec<u32> = (0..16).map(|at| 300 + at * 7).collect();
    let body =
        json!({"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": true, "stream": true});
    let (status, text) = server.request("POST", "/v1/completions", Some(&body.to_string()));
    assert_eq!(status, 200, "{text}");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

#[test]
fn a_lost_device_ends_the_stream_with_an_error_and_the_process_with_status_74() {
    let data = tempfile::tempdir().expect("a folder");
    let server = serve_with("lost@20", data.path());
    let chunks = stream(&server, 200);
    assert!(chunks[0]["choices"][0]["text"].is_string(), "{}", chunks[0]);
    let error = &chunks.last().expect("chunks")["error"];
    assert_eq!(error["code"], "device_lost", "{error}");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("device is lost")), "{error}");
    assert_eq!(server.wait().code(), Some(74));
}

#[test]
fn a_step_without_memory_that_could_be_no_smaller_fails_and_the_server_goes_on() {
    let data = tempfile::tempdir().expect("a folder");
    let server = serve_with("memory@20", data.path());
    let chunks = stream(&server, 200);
    assert!(chunks.last().expect("chunks")["error"]["message"].is_string());
    let chunks = stream(&server, 20);
    assert_eq!(chunks.last().expect("chunks")["choices"][0]["finish_reason"], "length");
    assert_eq!(server.get("/ready").0, 200);
    assert!(server.stop("-TERM").success());
}

#[test]
fn an_engine_that_gives_up_ends_the_process_with_a_failure() {
    let data = tempfile::tempdir().expect("a folder");
    let server = serve_with("step@1x3", data.path());
    for _ in 0..3 {
        assert!(stream(&server, 4).last().expect("chunks")["error"]["message"].is_string());
    }
    assert_eq!(server.wait().code(), Some(1));
}

#[test]
fn a_request_that_the_memory_does_not_hold_is_told_what_to_lower() {
    let data = tempfile::tempdir().expect("a folder");
    let server = serve_with("memory@1", data.path());
    let chunks = stream(&server, 4);
    let error = &chunks.last().expect("chunks")["error"];
    assert_eq!(error["code"], "out_of_memory", "{error}");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("--kv-memory")), "{error}");
    assert_eq!(server.get("/ready").0, 200);
}

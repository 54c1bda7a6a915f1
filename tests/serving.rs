//! A model served: completions, one computation of a common prefix, aborts, bad requests, and a drain under load.

mod common;

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use common::{Server, tiny_model};
use serde_json::{Value, json};

const CONTINUATION: &str =
    ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball.";

fn serve_tiny(extra: &[&str]) -> (tempfile::TempDir, Server) {
    let data = tempfile::tempdir().expect("a folder");
    let model = tiny_model(data.path());
    let mut arguments = vec!["--no-sample-corpus", "--model", model.to_str().expect("UTF-8")];
    arguments.extend(extra);
    let server = Server::start(data.path(), &arguments);
    (data, server)
}

/// Choices of the stream that nobody reads.
const CHOICES: u32 = 16;

/// Token ids that no other test's prompts begin with.
fn prefix(length: u32) -> Vec<u32> {
    (0..length).map(|at| 300 + at * 7 % 150).collect()
}

fn with_tail(mut prompt: Vec<u32>, index: u32) -> Vec<u32> {
    prompt.extend((0..15).map(|at| 300 + (index * 31 + at * 3 + 1) % 150));
    prompt
}

fn completion(prompt: &[u32], max_tokens: u32) -> Value {
    json!({"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": true})
}

#[test]
fn the_published_continuation_is_served_whole_and_streamed() {
    let Some(model) = common::shared("models/stories260K.gguf") else { return };
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path(), &["--no-sample-corpus", "--model", model.to_str().expect("UTF-8")]);
    let mut body = json!({"prompt": "Once upon a time", "max_tokens": 60, "temperature": 0});
    let (status, whole) = server.post("/v1/completions", &body);
    assert_eq!(status, 200, "{whole}");
    let text = whole["choices"][0]["text"].as_str().expect("text");
    assert!(text.starts_with(CONTINUATION), "{text}");
    body["stream"] = true.into();
    let (_, stream) = server.request("POST", "/v1/completions", Some(&body.to_string()));
    let pieces = stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let streamed: String = pieces
        .map(|data| serde_json::from_str::<Value>(data).expect("JSON"))
        .filter_map(|chunk| chunk["choices"][0]["text"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(streamed, text);
}

#[test]
fn layers_in_two_stages_answer_as_in_one() {
    let answer = |extra: &[&str]| {
        let (_data, server) = serve_tiny(extra);
        let (status, answer) = server.post("/v1/completions", &completion(&prefix(40), 24));
        assert_eq!(status, 200, "{answer}");
        answer["choices"][0]["text"].clone()
    };
    assert_eq!(answer(&["--devices", "cpu,cpu"]), answer(&["--devices", "cpu"]));
}

#[test]
fn eight_requests_at_once_compute_their_common_prefix_once() {
    let (_data, server) = serve_tiny(&[]);
    let before = server.metric("sconce_computed_tokens_total");
    std::thread::scope(|scope| {
        for index in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let (status, answer) = server.post("/v1/completions", &completion(&with_tail(prefix(900), index), 4));
                assert_eq!(status, 200, "{answer}");
                assert_eq!(answer["usage"]["prompt_tokens"], 915);
            });
        }
    });
    let computed = server.metric("sconce_computed_tokens_total") - before;
    // The prefix once; its last partial block (4 tokens), 15 tokens of their own and 3 of the 4 outputs for each.
    assert!(computed <= 900.0 + 8.0 * (4.0 + 15.0 + 3.0), "computed {computed}");
    assert!(server.metric("sconce_prefix_cache_hit_tokens_total") >= 7.0 * 896.0);
}

#[test]
fn when_the_first_of_them_is_aborted_half_way_the_next_takes_over() {
    // Small steps, so that "half-way" lasts.
    let (_data, server) = serve_tiny(&["--max-num-batched-tokens", "64"]);
    let before = server.metric("sconce_computed_tokens_total");
    let mut body = completion(&with_tail(prefix(3000), 99), 900);
    body["stream"] = true.into();
    let leader = server.send("POST", "/v1/completions", Some(&body.to_string()));
    let began = Instant::now();
    while server.metric("sconce_computed_tokens_total") - before < 256.0 {
        assert!(began.elapsed() < Duration::from_secs(60), "the leader computes");
    }
    std::thread::scope(|scope| {
        for index in 0..7 {
            let server = &server;
            scope.spawn(move || {
                let (status, answer) = server.post("/v1/completions", &completion(&with_tail(prefix(3000), index), 4));
                assert_eq!(status, 200, "{answer}");
            });
        }
        assert!(server.metric("sconce_computed_tokens_total") - before < 3000.0, "it is aborted half-way");
        drop(leader);
    });
    assert!(server.get("/metrics").1.contains("sconce_requests_finished_total{reason=\"abort\"} 1"));
    let computed = server.metric("sconce_computed_tokens_total") - before;
    assert!(computed <= 3000.0 + 8.0 * (32.0 + 15.0 + 3.0), "computed {computed}");
    assert!(computed >= 3000.0);
}

#[test]
fn a_bad_request_names_its_field_and_the_server_goes_on() {
    let (_data, server) = serve_tiny(&["--max-model-len", "64"]);
    let bad: &[(&str, Value, &str)] = &[
        ("/v1/completions", json!({"prompt": ""}), "prompt"),
        ("/v1/completions", json!({"prompt": prefix(64)}), "prompt"),
        ("/v1/completions", json!({"prompt": [1_000_000_000]}), "prompt"),
        ("/v1/completions", json!({"prompt": "a", "n": 0}), "n"),
        ("/v1/completions", json!({"prompt": "a", "n": 1000}), "n"),
        ("/v1/completions", json!({"prompt": "a", "max_tokens": 0}), "max_tokens"),
        ("/v1/completions", json!({"prompt": "a", "max_tokens": -1}), "max_tokens"),
        ("/v1/completions", json!({"prompt": "a", "temperature": 2.5}), "temperature"),
        ("/v1/completions", json!({"prompt": "a", "temperature": "hot"}), "temperature"),
        ("/v1/completions", json!({"prompt": "a", "top_p": 0}), "top_p"),
        ("/v1/completions", json!({"prompt": "a", "logit_bias": {"x": 1}}), "logit_bias"),
        ("/v1/chat/completions", json!({"messages": []}), "messages"),
        ("/v1/chat/completions", json!({"messages": "hello"}), "messages"),
    ];
    for (path, body, field) in bad {
        let (status, answer) = server.post(path, body);
        assert_eq!(status, 400, "{body}: {answer}");
        assert_eq!(answer["error"]["param"], *field, "{body}: {answer}");
        assert!(!answer["error"]["message"].as_str().expect("a message").is_empty());
    }
    let (status, text) = server.request("POST", "/v1/completions", Some("{\"prompt\": \"a\", "));
    assert_eq!(status, 400, "{text}");
    assert_eq!(server.post("/v1/completions", &json!({"model": "other", "prompt": "a"})).0, 404);
    assert_eq!(server.get("/v1/nothing").0, 404);
    let (status, answer) = server.post("/v1/completions", &completion(&prefix(8), 2));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(server.get("/ready").0, 200);
}

#[test]
fn a_stream_that_nobody_reads_holds_up_nobody_else_and_its_end_frees_its_blocks() {
    let (_data, server) = serve_tiny(&[]);
    // Some 2 kB for each token, in all far more than the sockets' buffers hold, so that the server waits for the reader.
    let body = json!({
        "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3000, "n": CHOICES, "stream": true,
        "ignore_eos": true, "logprobs": true, "top_logprobs": 20,
    });
    let unread = server.send("POST", "/v1/chat/completions", Some(&body.to_string()));
    let mut generated = 0.0;
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = server.metric("sconce_generation_tokens_total");
        if now > 0.0 && now <= generated {
            break;
        }
        generated = now;
    }
    for index in 0..4 {
        let (status, _) = server.post("/v1/completions", &completion(&with_tail(prefix(8), index), 8));
        assert_eq!(status, 200);
    }
    let ended = |reason: &str, count: u32| {
        server.get("/metrics").1.contains(&format!("sconce_requests_finished_total{{reason=\"{reason}\"}} {count}\n"))
    };
    assert!(ended("length", 4), "the unread one has not ended");
    drop(unread);
    let began = Instant::now();
    while !ended("abort", CHOICES) {
        assert!(began.elapsed() < Duration::from_secs(60), "a reader who leaves ends all choices");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(ended("length", 4) && server.metric("sconce_kv_cache_usage_ratio") < f64::EPSILON);
}

#[test]
fn sigterm_lets_a_running_answer_end() {
    let (_data, server) = serve_tiny(&[]);
    let mut body = completion(&prefix(16), 200);
    body["stream"] = true.into();
    let mut answer = BufReader::new(server.send("POST", "/v1/completions", Some(&body.to_string())));
    let mut line = String::new();
    while !line.starts_with("data:") {
        line.clear();
        assert!(answer.read_line(&mut line).expect("it streams") > 0, "a first token comes");
    }
    let status = server.stop("-TERM");
    assert!(status.success());
    let rest: Vec<String> = answer.lines().map_while(Result::ok).collect();
    assert!(rest.iter().any(|line| line == "data: [DONE]"), "the answer ended as asked: {:?}", rest.last());
}

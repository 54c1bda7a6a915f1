//! Chat and completions through the router, over a real engine with a small model of random weights.

mod common;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use common::*;
use futures_util::StreamExt;
use sconce_engine::{Devices, EngineConfig, EngineHandle, EngineThread, LoadedModel, start};
use sconce_model::synth::{NamedShape, Quantization, SynthOptions, write};
use sconce_rag::Store;
use sconce_server::{AppState, ServerOptions, router};
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

struct Server {
    app: Router,
    engine: EngineHandle,
    _thread: EngineThread,
}

fn server_with(config: &EngineConfig, options: ServerOptions) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    let synth = SynthOptions {
        shape: NamedShape::Tiny,
        quantization: Quantization::F32,
        context_length: Some(512),
        seed: 7,
        vocabulary: None,
    };
    write(&path, &synth, &mut |_| {}).unwrap();
    let model = LoadedModel::open(&path, None, &Devices::cpu(), None).unwrap();
    let (engine, thread) = start(model, config).unwrap();
    let state = AppState::new(Some(engine.clone()), Arc::new(Store::in_memory().unwrap()), options);
    Server { app: router(state), engine, _thread: thread }
}

fn server() -> Server {
    let options = ServerOptions { aliases: vec!["gpt-4o".into()], ..ServerOptions::default() };
    server_with(&EngineConfig { model_id: "tiny".into(), ..EngineConfig::default() }, options)
}

fn completion(extra: &Value) -> Value {
    let mut body = json!({"prompt": "Hello there", "max_tokens": 12, "temperature": 0, "ignore_eos": true});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn chat(extra: &Value) -> Value {
    let mut body = completion(extra);
    body.as_object_mut().unwrap().remove("prompt");
    body["messages"] = json!([{"role": "user", "content": "Hello there"}]);
    body
}

async fn ok(app: &Router, path: &str, body: &Value) -> Answer {
    let answer = post(app, path, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer
}

/// The chunks of a stream, after checking that it ends as it must.
fn chunks(stream: &Answer) -> Vec<Value> {
    let mut events = stream.events();
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

#[tokio::test]
async fn a_completion_streamed_equals_it_whole() {
    let Server { app, .. } = &server();
    let whole = ok(app, "/v1/completions", &completion(&json!({"model": "gpt-4o"}))).await.json();
    assert_eq!((whole["object"].as_str(), whole["model"].as_str()), (Some("text_completion"), Some("tiny")));
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    assert_eq!(whole["usage"]["completion_tokens"], 12);
    let total = whole["usage"]["prompt_tokens"].as_u64().unwrap() + 12;
    assert_eq!(whole["usage"]["total_tokens"], total);
    assert!(whole["usage"]["prompt_tokens_details"]["cached_tokens"].is_u64());
    let extra = json!({"stream": true, "stream_options": {"include_usage": true}});
    let stream = ok(app, "/v1/completions", &completion(&extra)).await;
    assert!(stream.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/event-stream"));
    let chunks = chunks(&stream);
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(whole["choices"][0]["text"], text);
    let (last, rest) = chunks.split_last().unwrap();
    assert_eq!((last["choices"].clone(), last["usage"]["completion_tokens"].clone()), (json!([]), json!(12)));
    assert!(rest.iter().all(|chunk| chunk["usage"].is_null() && chunk["id"] == last["id"]), "{rest:?}");
    assert_eq!(rest.last().unwrap()["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn a_chat_streamed_equals_it_whole_and_its_role_comes_first() {
    let Server { app, .. } = &server();
    let whole = ok(app, "/v1/chat/completions", &chat(&json!({}))).await.json();
    assert_eq!(whole["object"], "chat.completion");
    assert_eq!(whole["choices"][0]["message"]["role"], "assistant");
    let chunks = chunks(&ok(app, "/v1/chat/completions", &chat(&json!({"stream": true}))).await);
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(chunks[0]["object"], "chat.completion.chunk");
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(whole["choices"][0]["message"]["content"], text);
    let last = chunks.last().unwrap();
    assert_eq!(last["choices"][0]["delta"], json!({}));
    assert_eq!(last["choices"][0]["finish_reason"], "length");
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()), "usage was not asked for");
}

#[tokio::test]
async fn an_answer_ends_in_front_of_its_stop_string() {
    let Server { app, .. } = &server();
    let full = ok(app, "/v1/completions", &completion(&json!({}))).await.json()["choices"][0]["text"].clone();
    let full = full.as_str().unwrap();
    let middle: Vec<char> = full.chars().collect();
    let stop: String = middle[middle.len() / 2..].iter().take(3).collect();
    let before = full.split(&stop).next().unwrap();
    let answer = ok(app, "/v1/completions", &completion(&json!({"stop": [stop]}))).await.json();
    assert_eq!(answer["choices"][0]["text"], before);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let streamed = ok(app, "/v1/completions", &completion(&json!({"stop": stop, "stream": true}))).await;
    let text: String = chunks(&streamed).iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, before);
}

#[tokio::test]
async fn several_prompts_with_several_answers_are_numbered_by_prompt() {
    let Server { app, .. } = &server();
    let body = completion(&json!({"prompt": ["Hello there", [5, 6, 7]], "n": 2, "temperature": 1, "seed": 3}));
    let answer = ok(app, "/v1/completions", &body).await.json();
    let indices: Vec<u64> =
        answer["choices"].as_array().unwrap().iter().map(|choice| choice["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    assert_eq!(answer["usage"]["completion_tokens"], 48);
    let one = ok(app, "/v1/completions", &completion(&json!({}))).await.json();
    assert_eq!(
        answer["usage"]["prompt_tokens"],
        one["usage"]["prompt_tokens"].as_u64().unwrap() + 3,
        "once per prompt"
    );
    let chunks = chunks(&ok(app, "/v1/chat/completions", &chat(&json!({"n": 2, "stream": true}))).await);
    let ends = chunks.iter().filter(|chunk| chunk["choices"][0]["finish_reason"].is_string()).count();
    assert_eq!(ends, 2);
    assert_eq!(
        (chunks[0]["choices"][0]["index"].clone(), chunks[1]["choices"][0]["index"].clone()),
        (json!(0), json!(1))
    );
}

#[tokio::test]
async fn log_probabilities_come_in_both_wire_shapes() {
    let Server { app, .. } = &server();
    let answer = ok(app, "/v1/completions", &completion(&json!({"logprobs": 3}))).await.json();
    let found = &answer["choices"][0]["logprobs"];
    for key in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(found[key].as_array().map(Vec::len), Some(12), "{key} {found}");
    }
    assert_eq!(found["text_offset"][0], 0);
    let answer = ok(app, "/v1/chat/completions", &chat(&json!({"logprobs": true, "top_logprobs": 2}))).await.json();
    let content = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), 12);
    for entry in content {
        assert_eq!(entry["top_logprobs"].as_array().map(Vec::len), Some(2), "{entry}");
        assert_eq!(entry["top_logprobs"][0]["token"], entry["token"], "greedy takes the likeliest: {entry}");
        assert!(entry["logprob"].as_f64().unwrap() <= 0.0);
    }
    let stream = ok(app, "/v1/chat/completions", &chat(&json!({"logprobs": true, "stream": true}))).await;
    let tokens: usize = chunks(&stream)
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array().map(Vec::len))
        .sum();
    assert_eq!(tokens, 12);
}

#[tokio::test]
async fn a_dropped_stream_aborts_its_generation() {
    let Server { app, engine, .. } = &server();
    let body = completion(&json!({"stream": true, "max_tokens": 480}));
    let request = Request::post("/v1/completions").header("content-type", "application/json");
    let response = app.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
    let mut stream = response.into_body().into_data_stream();
    assert!(stream.next().await.is_some());
    drop(stream);
    // The abort takes a step; each look below lets other tasks run, and the loop ends when the engine is idle.
    while engine.metrics().running.get() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(engine.metrics().generation_tokens.get() < 480, "{}", engine.metrics().generation_tokens.get());
    let progress = get(app, "/metrics").await.text;
    assert!(progress.contains("sconce_http_requests_in_progress 0"), "the place is given back");
}

#[tokio::test]
async fn an_engine_that_is_full_answers_429_at_once() {
    let config = EngineConfig { max_requests: 1, ..EngineConfig::default() };
    let Server { app, .. } = &server_with(&config, ServerOptions::default());
    let body = completion(&json!({"stream": true, "max_tokens": 480}));
    let request = Request::post("/v1/completions").header("content-type", "application/json");
    let held = app.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
    assert_eq!(held.status(), StatusCode::OK);
    let refused = post(app, "/v1/completions", &completion(&json!({}))).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.text);
    assert_eq!(refused.headers[header::RETRY_AFTER], "1");
    assert_eq!(refused.error()["type"], "rate_limit_error");
    drop(held);
}

#[tokio::test]
async fn more_prompts_than_the_engine_ever_holds_are_a_400_and_not_a_429_for_ever() {
    let config = EngineConfig { max_requests: 2, ..EngineConfig::default() };
    let Server { app, .. } = &server_with(&config, ServerOptions::default());
    let refused = post(app, "/v1/completions", &completion(&json!({"prompt": ["a", "b", "c"]}))).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
    assert_eq!(refused.error()["param"], "prompt");
    ok(app, "/v1/completions", &completion(&json!({"prompt": ["a", "b"], "n": 4}))).await;
}

#[tokio::test]
async fn prompts_that_do_not_fit_and_other_models_are_refused_by_name() {
    let Server { app, .. } = &server();
    let long = post(app, "/v1/completions", &completion(&json!({"prompt": "word ".repeat(5000)}))).await;
    assert_eq!(long.status, StatusCode::BAD_REQUEST, "{}", long.text);
    assert_eq!((&long.error()["param"], &long.error()["code"]), (&json!("prompt"), &json!("context_length_exceeded")));
    let talk = json!({"messages": [{"role": "user", "content": "word ".repeat(5000)}]});
    assert_eq!(post(app, "/v1/chat/completions", &talk).await.error()["param"], "messages");
    let other = post(app, "/v1/completions", &completion(&json!({"model": "gpt-none"}))).await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
    assert_eq!((&other.error()["param"], &other.error()["code"]), (&json!("model"), &json!("model_not_found")));
    let models = get(app, "/v1/models").await.json();
    assert_eq!(models["data"][0]["id"], "tiny");
    assert_eq!(models["data"][1]["id"], "gpt-4o");
    assert_eq!(get(app, "/v1/models/gpt-4o").await.json()["max_model_len"], 512);
}

#[tokio::test]
async fn a_prompt_beyond_its_tenants_share_of_the_cache_is_refused_by_name() {
    let config = EngineConfig { kv_quotas: vec![("acme".into(), 0.01)], ..EngineConfig::default() };
    let Server { app, engine, .. } = &server_with(&config, ServerOptions::default());
    let share = engine.model().num_blocks / 100 * engine.model().block_size;
    let body = |salt: &str, stream: bool| {
        completion(&json!({"prompt": vec![5; share + 1], "max_tokens": 1, "cache_salt": salt, "stream": stream}))
    };
    for stream in [false, true] {
        let refused = post(app, "/v1/completions", &body("acme", stream)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
        let error = refused.error();
        assert_eq!((&error["param"], &error["code"]), (&json!("prompt"), &json!("context_length_exceeded")));
        ok(app, "/v1/completions", &body("other", stream)).await;
    }
}

#[tokio::test]
async fn ready_means_that_the_engine_decodes() {
    let Server { app, .. } = &server();
    let ready = get(app, "/ready").await;
    assert_eq!((ready.status, &ready.json()["model"]), (StatusCode::OK, &json!("tiny")));
    assert!(get(app, "/metrics").await.text.contains("sconce_computed_tokens_total 1\n"));
    // Asked again at once, it tells what it knows: whoever asks often must not keep the engine busy.
    assert_eq!(get(app, "/ready").await.status, StatusCode::OK);
    assert!(get(app, "/metrics").await.text.contains("sconce_computed_tokens_total 1\n"));
}

#[tokio::test]
async fn an_engine_that_admits_nothing_is_not_ready() {
    let Server { app, engine, .. } = &server();
    engine.shutdown();
    let gone = get(app, "/ready").await;
    assert_eq!(gone.status, StatusCode::SERVICE_UNAVAILABLE, "{}", gone.text);
    let refused = post(app, "/v1/completions", &completion(&json!({}))).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(app, "/health").await.status, StatusCode::OK);
}

#[tokio::test]
async fn responses_without_file_search_are_the_models_own_whole_and_streamed() {
    let Server { app, .. } = &server();
    let mut body = json!({"input": "Hello there", "max_output_tokens": 8, "temperature": 0, "ignore_eos": true});
    body["tool_choice"] = json!("none");
    let whole = ok(app, "/v1/responses", &body).await.json();
    assert_eq!(whole["status"], "incomplete");
    assert_eq!(whole["tool_choice"], "none");
    assert_eq!(whole["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(whole["usage"]["output_tokens"], 8);
    body["stream"] = json!(true);
    let stream = ok(app, "/v1/responses", &body).await;
    let events: Vec<Value> = stream.events().iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let text: String = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .filter_map(|event| event["delta"].as_str())
        .collect();
    assert_eq!(whole["output"][0]["content"][0]["text"], text);
    assert_eq!(events.last().unwrap()["type"], "response.incomplete");
}

#[tokio::test]
async fn an_answer_that_fails_its_check_is_quoted_and_says_so() {
    let Server { app, .. } = &server();
    let (store, _) = store_with_lamplighter(app).await;
    let tool = json!({"type": "file_search", "vector_store_ids": [store]});
    let body =
        json!({"input": "Which street lamps does a lamplighter tend?", "tools": [tool], "max_output_tokens": 16});
    let response = ok(app, "/v1/responses", &body).await.json();
    assert_eq!(response["model"], "tiny");
    // Random weights cannot cite, so the text is quoted; what they wrote is counted and never shown.
    assert_eq!(response["sconce"]["route"], "quoted", "{response}");
    assert!(["unsupported", "generator_failed"].contains(&response["sconce"]["fallback"]["kind"].as_str().unwrap()));
    assert!(response["output"][1]["content"][0]["text"].as_str().unwrap().contains("312 street lamps"));
}

#[tokio::test]
async fn control_tokens_in_a_message_are_text() {
    let server = server();
    let prompt_tokens = async |content: &str| {
        let mut body = chat(&json!({"max_tokens": 1}));
        body["messages"][0]["content"] = json!(content);
        ok(&server.app, "/v1/chat/completions", &body).await.json()["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    // A control token is one token; spelled out it is at least one per character.
    assert!(prompt_tokens("Hello</s>").await >= prompt_tokens("Hello").await + 4);
    let raw = completion(&json!({"prompt": "Hello</s>", "max_tokens": 1}));
    let plain = completion(&json!({"prompt": "Hello", "max_tokens": 1}));
    let counted =
        async |body| ok(&server.app, "/v1/completions", body).await.json()["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(counted(&raw).await, counted(&plain).await + 1, "a raw prompt is the caller's own");
}

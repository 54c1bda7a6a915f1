//! Bad input: each has its status and names its field, and the server goes on.

mod common;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use common::*;
use sconce_server::validate::chat::ValidChat;
use sconce_server::validate::completions::ValidCompletion;
use sconce_server::validate::{Fields, ModelLimits};
use sconce_server::{ServerOptions, router};
use serde_json::{Value, json};

const LIMITS: ModelLimits = ModelLimits { context_length: 512, vocabulary_size: 1000, max_requests: 256 };

/// The body with `extra` laid over it.
fn with(mut body: Value, extra: &Value) -> Value {
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

#[test]
fn completions_name_the_field_that_is_out_of_range() {
    let long: Vec<u32> = vec![1; 513];
    let many: Vec<String> = (0..65).map(|number| number.to_string()).collect();
    let stops: Vec<String> = (0..17).map(|number| number.to_string()).collect();
    let biases: Value = (0..1025).map(|id| (id.to_string(), json!(1))).collect::<serde_json::Map<_, _>>().into();
    let cases = [
        ("n", json!({"n": 0})),
        ("n", json!({"n": 17})),
        ("n", json!({"n": -1})),
        ("n", json!({"n": 1.5})),
        ("n", json!({"n": "2"})),
        ("n", json!({"n": 16, "prompt": ["a", "b", "c", "d", "e", "f", "g", "h", "i"]})),
        ("max_tokens", json!({"max_tokens": 0})),
        ("max_tokens", json!({"max_tokens": -5})),
        ("max_tokens", json!({"max_tokens": 513})),
        ("max_tokens", json!({"max_tokens": 1e30})),
        ("max_completion_tokens", json!({"max_completion_tokens": 0})),
        ("max_tokens", json!({"max_tokens": 5, "max_completion_tokens": 6})),
        ("min_tokens", json!({"max_tokens": 5, "min_tokens": 6})),
        ("temperature", json!({"temperature": -0.1})),
        ("temperature", json!({"temperature": 2.1})),
        ("temperature", json!({"temperature": "hot"})),
        ("temperature", json!({"temperature": [1]})),
        ("top_p", json!({"top_p": 1.1})),
        ("top_p", json!({"top_p": -1})),
        ("top_k", json!({"top_k": -2})),
        ("top_k", json!({"top_k": 1001})),
        ("min_p", json!({"min_p": 1.5})),
        ("presence_penalty", json!({"presence_penalty": 2.5})),
        ("frequency_penalty", json!({"frequency_penalty": -2.5})),
        ("repetition_penalty", json!({"repetition_penalty": 0})),
        ("seed", json!({"seed": 0.5})),
        ("seed", json!({"seed": "x"})),
        ("stop", json!({"stop": stops})),
        ("stop", json!({"stop": ""})),
        ("stop", json!({"stop": "x".repeat(513)})),
        ("stop", json!({"stop": 7})),
        ("stop.1", json!({"stop": ["a", 7]})),
        ("stop_token_ids", json!({"stop_token_ids": [1000]})),
        ("logprobs", json!({"logprobs": 21})),
        ("logprobs", json!({"logprobs": true})),
        ("logit_bias", json!({"logit_bias": {"word": 1}})),
        ("logit_bias", json!({"logit_bias": {"1000": 1}})),
        ("logit_bias.5", json!({"logit_bias": {"5": 101}})),
        ("logit_bias", json!({"logit_bias": [1]})),
        ("logit_bias", json!({"logit_bias": biases})),
        ("ignore_eos", json!({"ignore_eos": 1})),
        ("priority", json!({"priority": 101})),
        ("cache_salt", json!({"cache_salt": "x".repeat(257)})),
        ("stream", json!({"stream": "yes"})),
        ("stream_options", json!({"stream_options": {}})),
        ("stream_options.include_usage", json!({"stream": true, "stream_options": {"include_usage": 1}})),
        ("echo", json!({"echo": true})),
        ("suffix", json!({"suffix": "end"})),
        ("best_of", json!({"best_of": 2})),
        ("prompt", json!({"prompt": ""})),
        ("prompt", json!({"prompt": null})),
        ("prompt", json!({"prompt": []})),
        ("prompt", json!({"prompt": [""]})),
        ("prompt", json!({"prompt": ["a", 1]})),
        ("prompt", json!({"prompt": [1, "a"]})),
        ("prompt", json!({"prompt": [1000]})),
        ("prompt", json!({"prompt": [-1]})),
        ("prompt", json!({"prompt": [[1], []]})),
        ("prompt", json!({"prompt": {"text": "a"}})),
        ("prompt", json!({"prompt": long})),
        ("prompt", json!({"prompt": many})),
    ];
    for (param, extra) in cases {
        let body = with(json!({"prompt": "a"}), &extra);
        let error = ValidCompletion::parse(&Fields::body(&body).unwrap(), LIMITS).expect_err(&extra.to_string());
        assert_eq!(error.param.as_deref(), Some(param), "{extra}: {error}");
        assert_eq!(error.status, StatusCode::BAD_REQUEST, "{extra}");
        assert!(error.message.len() < 300, "{error}");
    }
}

#[test]
fn more_prompts_than_the_engine_ever_holds_are_refused() {
    let body = json!({"prompt": ["a", "b", "c"]});
    let parse =
        |max_requests| ValidCompletion::parse(&Fields::body(&body).unwrap(), ModelLimits { max_requests, ..LIMITS });
    let error = parse(2).unwrap_err();
    assert_eq!((error.status, error.param.as_deref()), (StatusCode::BAD_REQUEST, Some("prompt")), "{error}");
    assert!(parse(3).is_ok());
}

#[test]
fn a_completion_without_a_bound_has_16_tokens_and_a_chat_has_none() {
    let bound = |extra: Value| {
        let body = with(json!({"prompt": "a", "messages": [{"role": "user", "content": "a"}]}), &extra);
        let fields = Fields::body(&body).unwrap();
        let chat = ValidChat::parse(&fields, LIMITS).unwrap().generation.max_tokens;
        (ValidCompletion::parse(&fields, LIMITS).unwrap().generation.max_tokens, chat)
    };
    assert_eq!(bound(json!({})), (Some(16), None));
    assert_eq!(bound(json!({"max_tokens": null})), (Some(16), None));
    assert_eq!(bound(json!({"max_tokens": 5})), (Some(5), Some(5)));
    assert_eq!(bound(json!({"max_completion_tokens": 400})), (Some(400), Some(400)));
    assert_eq!(bound(json!({"min_tokens": 20})), (Some(20), None));
}

#[test]
fn chat_names_the_field_that_is_out_of_range_or_not_supported() {
    let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    let cases = [
        ("messages", json!({"messages": null})),
        ("messages", json!({"messages": []})),
        ("messages", json!({"messages": "hi"})),
        ("messages.0", json!({"messages": ["hi"]})),
        ("messages.0.role", json!({"messages": [{"content": "hi"}]})),
        ("messages.0.role", json!({"messages": [{"role": "wizard", "content": "hi"}]})),
        ("messages.0.content", json!({"messages": [{"role": "user"}]})),
        ("messages.0.content", user(json!(7))),
        ("messages.0.content.0.type", user(json!([{"text": "hi"}]))),
        ("messages.0.content.0.text", user(json!([{"type": "text"}]))),
        ("messages.0.content.0.type", user(json!([{"type": "image_url", "image_url": {"url": "http://a"}}]))),
        ("messages.0.content.0.type", user(json!([{"type": "input_audio", "input_audio": {}}]))),
        ("tools", json!({"tools": tool, "tool_choice": "required"})),
        ("tools", json!({"tools": tool})),
        ("functions", json!({"functions": [{"name": "f"}]})),
        ("response_format", json!({"response_format": {"type": "json_schema", "json_schema": {}}})),
        ("response_format", json!({"response_format": {"type": "json_object"}})),
        ("modalities", json!({"modalities": ["text", "audio"]})),
        ("audio", json!({"audio": {"voice": "alloy"}})),
        ("top_logprobs", json!({"top_logprobs": 2})),
        ("top_logprobs", json!({"logprobs": true, "top_logprobs": 21})),
        ("logprobs", json!({"logprobs": 3})),
        ("n", json!({"n": 0})),
    ];
    for (param, extra) in cases {
        let body = with(json!({"messages": [{"role": "user", "content": "a"}]}), &extra);
        let error = ValidChat::parse(&Fields::body(&body).unwrap(), LIMITS).expect_err(&extra.to_string());
        assert_eq!(error.param.as_deref(), Some(param), "{extra}: {error}");
    }
}

#[test]
fn fields_that_nobody_knows_are_ignored_and_null_is_absent() {
    let body = json!({
        "prompt": ["a", [1, 2]], "user": "u", "store": true, "metadata": {"a": "b"}, "n": null, "stop": null,
        "top_k": -1, "best_of": 1, "echo": false, "suffix": "", "max_tokens": 5.0, "seed": -3, "made_up": {"x": 1},
    });
    let valid = ValidCompletion::parse(&Fields::body(&body).unwrap(), LIMITS).unwrap();
    assert_eq!(valid.prompts.len(), 2);
    assert_eq!((valid.generation.n, valid.generation.max_tokens), (1, Some(5)));
    assert_eq!(valid.generation.sampling.top_k, None);
    assert_eq!(valid.generation.sampling.seed, Some((-3_i64).cast_unsigned()));
    assert!(!valid.logprobs);
    let body = json!({
        "messages": [
            {"role": "developer", "content": "short"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "1"}]},
            {"role": "tool", "content": "7", "tool_call_id": "1"},
        ],
        "tools": [], "response_format": {"type": "text"}, "modalities": ["text"], "logprobs": true,
    });
    let valid = ValidChat::parse(&Fields::body(&body).unwrap(), LIMITS).unwrap();
    assert_eq!(valid.messages[0], json!({"role": "system", "content": "short"}));
    assert_eq!(valid.messages[1]["content"], "a\nb");
    assert_eq!(valid.messages[2]["tool_calls"], json!([{"id": "1"}]));
    assert_eq!(valid.generation.sampling.logprobs, Some(0));
}

#[tokio::test]
async fn document_routes_name_the_field_at_fault() {
    let app = app();
    let (store, file) = store_with_lamplighter(&app).await;
    let stores = "/v1/vector_stores".to_owned();
    let search = format!("/v1/vector_stores/{store}/search");
    let attach = format!("/v1/vector_stores/{store}/files");
    let ask = "/v1/responses".to_owned();
    let tool = |extra: Value| {
        let tool = with(json!({"type": "file_search", "vector_store_ids": [store]}), &extra);
        json!({"input": "a", "tools": [tool]})
    };
    let pairs: Value = (0..17).map(|id| (id.to_string(), json!("a"))).collect::<serde_json::Map<_, _>>().into();
    let cases = [
        (&stores, "name", json!({"name": 7})),
        (&stores, "metadata.a", json!({"metadata": {"a": 1}})),
        (&stores, "metadata", json!({"metadata": pairs})),
        (&stores, "expires_after", json!({"expires_after": {"anchor": "last_active_at", "days": 1}})),
        (&stores, "chunking_strategy", json!({"chunking_strategy": {"type": "static"}})),
        (&stores, "file_ids.0", json!({"file_ids": [1]})),
        (&attach, "file_id", json!({})),
        (&attach, "attributes.a", json!({"file_id": file, "attributes": {"a": [1]}})),
        (&attach, "attributes.a", json!({"file_id": file, "attributes": {"a": "x".repeat(513)}})),
        (&search, "query", json!({})),
        (&search, "query", json!({"query": " "})),
        (&search, "query", json!({"query": []})),
        (&search, "max_num_results", json!({"query": "a", "max_num_results": 0})),
        (&search, "max_num_results", json!({"query": "a", "max_num_results": 51})),
        (&search, "filters", json!({"query": "a", "filters": {"type": "near", "key": "a", "value": 1}})),
        (&search, "filters", json!({"query": "a", "filters": {"type": "and", "filters": []}})),
        (&search, "filters", json!({"query": "a", "filters": [1]})),
        (&search, "ranking_options.score_threshold", json!({"query": "a", "ranking_options": {"score_threshold": 2}})),
        (&search, "ranking_options.ranker", json!({"query": "a", "ranking_options": {"ranker": "magic"}})),
        (&ask, "input", json!({})),
        (&ask, "input", json!({"input": ""})),
        (&ask, "input", json!({"input": []})),
        (&ask, "input", json!({"input": [{"role": "assistant", "content": "a"}]})),
        (&ask, "input.0.role", json!({"input": [{"role": "wizard", "content": "a"}]})),
        (&ask, "input.0.type", json!({"input": [{"type": "computer_call"}]})),
        (&ask, "previous_response_id", json!({"input": "a", "previous_response_id": "resp_1"})),
        (&ask, "background", json!({"input": "a", "background": true})),
        (&ask, "text.format", json!({"input": "a", "text": {"format": {"type": "json_schema"}}})),
        (&ask, "tool_choice", json!({"input": "a", "tool_choice": "all"})),
        (&ask, "tool_choice", json!({"input": "a", "tool_choice": {"type": "function", "name": "f"}})),
        (&ask, "tools.0.type", json!({"input": "a", "tools": [{"type": "web_search"}]})),
        (&ask, "tools.0.vector_store_ids", json!({"input": "a", "tools": [{"type": "file_search"}]})),
        (&ask, "tools.0.max_num_results", tool(json!({"max_num_results": 0}))),
        (&ask, "tools.0.filters", tool(json!({"filters": {"type": "near"}}))),
    ];
    for (path, param, body) in cases {
        let answer = post(&app, path, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {body}: {}", answer.text);
        assert_eq!(answer.error()["param"], json!(param), "{path} {body}: {}", answer.text);
        assert_eq!(answer.error()["type"], "invalid_request_error");
    }
    for query in ["limit=0", "limit=101", "limit=x", "order=up", "filter=odd"] {
        let answer = get(&app, &format!("{attach}?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {}", answer.text);
        assert_eq!(answer.error()["param"], json!(query.split('=').next()));
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_404() {
    let app = app();
    let (store, _) = store_with_lamplighter(&app).await;
    let paths = [
        "/v1/files/file-none".to_owned(),
        "/v1/files/file-none/content".to_owned(),
        "/v1/vector_stores/vs_none".to_owned(),
        "/v1/vector_stores/vs_none/files".to_owned(),
        format!("/v1/vector_stores/{store}/files/file-none"),
        format!("/v1/vector_stores/{store}/files/file-none/content"),
        "/v1/models/gpt-none".to_owned(),
        "/v1/nothing".to_owned(),
        "/".to_owned() + &"x".repeat(5000),
    ];
    for path in &paths {
        let answer = get(&app, path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {}", answer.text);
        assert!(answer.error()["message"].as_str().unwrap().len() < 300);
    }
    let search = post(&app, "/v1/vector_stores/vs_none/search", &json!({"query": "a"})).await;
    assert_eq!(search.status, StatusCode::NOT_FOUND, "{}", search.text);
    let tool = json!({"type": "file_search", "vector_store_ids": ["vs_none"]});
    let ask = post(&app, "/v1/responses", &json!({"input": "a", "tools": [tool]})).await;
    assert_eq!(ask.status, StatusCode::NOT_FOUND, "{}", ask.text);
}

#[tokio::test]
async fn broken_bodies_have_the_status_of_their_fault() {
    let app =
        router(state_with(ServerOptions { max_json_bytes: 1000, max_file_bytes: 1000, ..ServerOptions::default() }));
    let path = "/v1/vector_stores";
    let broken = post_text(&app, path, "{\"name\": \"a\",\n \"metadata\": }").await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    assert_eq!(broken.error()["code"], "invalid_json");
    assert!(broken.error()["message"].as_str().unwrap().contains("line 2 column"), "{}", broken.text);
    assert_eq!(post_text(&app, path, "[]").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(post_text(&app, path, "").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(post_text(&app, path, vec![0xff, 0xfe]).await.status, StatusCode::BAD_REQUEST);
    let large = post_text(&app, path, format!("{{\"name\": \"{}\"}}", "x".repeat(2000))).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(large.error()["type"], "invalid_request_error");
    let form = Request::post(path).header("content-type", "text/plain").body(Body::from("{}")).unwrap();
    assert_eq!(send(&app, form).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let no_body = Request::post(path).body(Body::empty()).unwrap();
    assert_eq!(send(&app, no_body).await.status, StatusCode::OK, "openai-python sends no body for create()");

    let wrong = Request::post("/v1/files").header("content-type", "application/json").body(Body::from("{}")).unwrap();
    assert_eq!(send(&app, wrong).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let truncated = Request::post("/v1/files")
        .header("content-type", "multipart/form-data; boundary=x")
        .body(Body::from("--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nabc"))
        .unwrap();
    let truncated = send(&app, truncated).await;
    assert_eq!(truncated.status, StatusCode::BAD_REQUEST, "{}", truncated.text);
    truncated.error();
    assert_eq!(upload(&app, "a.md", &[b'x'; 2000], "assistants").await.status, StatusCode::PAYLOAD_TOO_LARGE);
    for (name, content, purpose, param) in
        [("a.md", "a", "nonsense", "purpose"), ("", "a", "assistants", "file"), ("a.md", "", "assistants", "file")]
    {
        let answer = upload(&app, name, content.as_bytes(), purpose).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
        assert_eq!(answer.error()["param"], param);
    }
}

#[tokio::test]
async fn a_wrong_method_is_a_405_that_names_the_right_ones() {
    let app = app();
    let answer = get(&app, "/v1/chat/completions").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers[header::ALLOW], "POST");
    assert_eq!(answer.error()["code"], "method_not_supported");
}

#[tokio::test]
async fn without_the_key_only_operators_routes_answer() {
    let app = router(state_with(ServerOptions { api_key: Some("secret".into()), ..ServerOptions::default() }));
    let ask = async |key: Option<&str>| {
        let mut request = Request::get("/v1/files");
        if let Some(key) = key {
            request = request.header("authorization", key);
        }
        send(&app, request.body(Body::empty()).unwrap()).await
    };
    for key in
        [None, Some("Bearer"), Some("Bearer secre"), Some("Bearer secrets"), Some("Basic secret"), Some("secret")]
    {
        let answer = ask(key).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{key:?}");
        assert_eq!(answer.error()["code"], "invalid_api_key");
    }
    assert_eq!(ask(Some("Bearer secret")).await.status, StatusCode::OK);
    assert_eq!(ask(Some("bearer secret")).await.status, StatusCode::OK);
    for path in ["/", "/health", "/ready", "/metrics"] {
        assert_eq!(get(&app, path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn an_id_in_the_path_that_is_no_text_is_a_400_in_the_same_shape() {
    let app = app();
    let paths = ["files/%ff", "files/%ff/content", "models/%ff", "vector_stores/%ff", "vector_stores/a/files/%ff"];
    for path in paths {
        let answer = get(&app, &format!("/v1/{path}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {}", answer.text);
        assert_eq!(answer.error()["type"], "invalid_request_error");
    }
}

#[tokio::test]
async fn without_a_key_web_pages_of_others_are_refused() {
    let asked = async |options: ServerOptions, headers: &[(&str, &str)]| {
        let app = router(state_with(options));
        let mut request = Request::post("/v1/vector_stores");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(&app, request.body(Body::empty()).unwrap()).await
    };
    let (rebound, cross_site) = (
        [("host", "evil.example:8080"), ("origin", "http://evil.example:8080")],
        [("host", "localhost:8080"), ("origin", "https://evil.example")],
    );
    for (headers, code) in [(&rebound, "foreign_host"), (&cross_site, "foreign_origin")] {
        let answer = asked(ServerOptions::default(), headers).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
        assert_eq!(answer.error()["code"], code);
        let cors = ServerOptions { cors: true, ..ServerOptions::default() };
        assert_eq!(asked(cors, headers).await.status, StatusCode::OK, "every origin was allowed");
        let key = ServerOptions { api_key: Some("secret".into()), ..ServerOptions::default() };
        assert_eq!(asked(key.clone(), headers).await.status, StatusCode::UNAUTHORIZED);
        let with_key = [headers[0], headers[1], ("authorization", "Bearer secret")];
        assert_eq!(asked(key, &with_key).await.status, StatusCode::OK, "a proxy may have any name");
    }
    let named = ServerOptions { hosts: vec!["evil.example".into()], ..ServerOptions::default() };
    assert_eq!(asked(named, &rebound).await.status, StatusCode::OK, "the operator gave it this name");
    for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "192.168.1.7"] {
        assert_eq!(asked(ServerOptions::default(), &[("host", host)]).await.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn requests_beyond_the_bound_are_refused_at_once() {
    let app = router(state_with(ServerOptions { max_concurrent_requests: 0, ..ServerOptions::default() }));
    let answer = get(&app, "/v1/models").await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.error()["code"], "overloaded");
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    assert_eq!(get(&app, "/health").await.status, StatusCode::OK);
}

#[tokio::test]
async fn large_bodies_take_turns_and_all_are_answered() {
    // Room for less than one body: there is always room for the largest that is allowed.
    let options = ServerOptions { max_json_bytes: 64 << 10, max_json_bytes_held: 1, ..ServerOptions::default() };
    let app = router(state_with(options));
    let body = json!({"name": "n".repeat(60 << 10)});
    let answers = futures_util::future::join_all((0..16).map(|_| post(&app, "/v1/vector_stores", &body))).await;
    for answer in answers {
        assert_eq!((answer.status, answer.error()["param"].as_str()), (StatusCode::BAD_REQUEST, Some("name")));
    }
}

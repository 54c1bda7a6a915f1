//! Questions about documents without a model, and what else answers then.

mod common;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use common::*;
use sconce_server::{ServerOptions, router};
use serde_json::{Value, json};
use tower::ServiceExt;

fn ask(store: &str, question: &str) -> Value {
    json!({
        "model": "any", "input": question, "include": ["file_search_call.results"],
        "tools": [{"type": "file_search", "vector_store_ids": [store]}],
    })
}

#[tokio::test]
async fn an_answer_quotes_the_document_and_its_span_is_found_in_the_source() {
    let app = app();
    let (store, file) = store_with_lamplighter(&app).await;
    let answer = post(&app, "/v1/responses", &ask(&store, "Which street lamps does a lamplighter tend?")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let response = answer.json();
    assert_eq!((response["object"].as_str(), response["status"].as_str()), (Some("response"), Some("completed")));
    assert_eq!(response["model"], "none");
    let [call, message] = response["output"].as_array().unwrap().as_slice() else { panic!("{response}") };
    assert_eq!(call["type"], "file_search_call");
    assert_eq!(call["results"][0]["file_id"], file);
    let content = &message["content"][0];
    let text = content["text"].as_str().unwrap();
    assert!(text.contains("312 street lamps"), "{text}");
    let annotation = &content["annotations"][0];
    assert_eq!(annotation["type"], "file_citation");
    assert_eq!(
        (annotation["file_id"].as_str(), annotation["filename"].as_str()),
        (Some(&*file), Some("lamplighter.md"))
    );
    assert_eq!(response["sconce"]["route"], "quoted");
    assert_eq!(response["sconce"]["fallback"], json!({"kind": "no_generator"}));
    let citation = &response["sconce"]["citations"][0];
    let span = |name: &str| -> (usize, usize) { serde_json::from_value(citation[name].clone()).unwrap() };
    let (start, end) = span("source_span");
    assert_eq!(citation["quote"].as_str(), LAMPLIGHTER.get(start..end));
    let (start, end) = span("answer_span");
    let cited: String = text.chars().skip(start).take(end - start).collect();
    assert_eq!(citation["quote"], cited);
    assert_eq!(annotation["index"], end);
    assert_eq!(response["usage"]["total_tokens"], 0);
}

#[tokio::test]
async fn positions_in_the_answer_count_characters_and_not_bytes() {
    let app = app();
    let text = "# Crêpier\n\n## Duties\n\nA crêpier folds 840 crêpes each day in the old café.\n";
    let file = upload(&app, "crêpier.md", text.as_bytes(), "assistants").await.json()["id"].clone();
    let store = post(&app, "/v1/vector_stores", &json!({"file_ids": [file]})).await.json();
    let store = store["id"].as_str().unwrap();
    let response = post(&app, "/v1/responses", &ask(store, "Which crêpes does a crêpier fold each day?")).await.json();
    let answer = response["output"][1]["content"][0]["text"].as_str().unwrap();
    let citation = &response["sconce"]["citations"][0];
    let (start, end): (usize, usize) = serde_json::from_value(citation["answer_span"].clone()).unwrap();
    let cited: String = answer.chars().skip(start).take(end - start).collect();
    assert_eq!(citation["quote"], cited, "{response}");
}

#[tokio::test]
async fn the_choice_of_a_tool_is_told_as_it_was_sent() {
    let app = app();
    let (store, _) = store_with_lamplighter(&app).await;
    let mut body = ask(&store, "Which street lamps does a lamplighter tend?");
    assert_eq!(post(&app, "/v1/responses", &body).await.json()["tool_choice"], "auto");
    for choice in [json!("required"), json!({"type": "file_search"})] {
        body["tool_choice"] = choice.clone();
        assert_eq!(post(&app, "/v1/responses", &body).await.json()["tool_choice"], choice);
    }
    body["tool_choice"] = json!("none");
    let refused = post(&app, "/v1/responses", &body).await;
    assert_eq!(refused.error()["code"], "no_model_loaded", "without the tool only a model can answer");
}

#[tokio::test]
async fn when_the_documents_do_not_tell_the_answer_says_so() {
    let app = app();
    let (store, _) = store_with_lamplighter(&app).await;
    let response =
        post(&app, "/v1/responses", &ask(&store, "What is the boiling point of tungsten hexafluoride?")).await;
    let response = response.json();
    assert_eq!(response["sconce"]["route"], "not_found", "{response}");
    assert_eq!(response["output"][1]["content"][0]["annotations"], json!([]));
    assert_eq!(response["output"][1]["content"][0]["text"], "The documents do not tell.");
}

#[tokio::test]
async fn the_stream_tells_the_same_as_the_whole_answer() {
    let app = app();
    let (store, _) = store_with_lamplighter(&app).await;
    let mut body = ask(&store, "What did a lamplighter earn in 1887?");
    let whole = post(&app, "/v1/responses", &body).await.json();
    body["stream"] = json!(true);
    let stream = post(&app, "/v1/responses", &body).await;
    assert!(stream.headers["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let events: Vec<Value> = stream.events().iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let named: Vec<&str> = stream.text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, named);
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    assert_eq!(
        names.iter().filter(|name| !name.ends_with("annotation.added")).copied().collect::<Vec<_>>(),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.file_search_call.in_progress",
            "response.file_search_call.searching",
            "response.file_search_call.completed",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let text = |response: &Value| response["output"][1]["content"][0].clone();
    assert_eq!(text(&events.last().unwrap()["response"]), text(&whole));
    assert_eq!(events.last().unwrap()["response"]["sconce"], whole["sconce"]);
}

#[tokio::test]
async fn without_a_model_generation_says_how_to_load_one_and_the_rest_works() {
    let app = app();
    let chat = json!({"model": "any", "messages": [{"role": "user", "content": "hi"}]});
    let bodies = [
        ("/v1/chat/completions", chat),
        ("/v1/completions", json!({"prompt": "hi"})),
        ("/v1/responses", json!({"input": "hi"})),
    ];
    for (path, body) in bodies {
        let answer = post(&app, path, &body).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        let error = answer.error();
        assert_eq!(error["code"], "no_model_loaded");
        assert!(error["message"].as_str().unwrap().contains("--model"), "{error}");
    }
    assert_eq!(get(&app, "/v1/models").await.json(), json!({"object": "list", "data": []}));
    assert_eq!(get(&app, "/health").await.json(), json!({"status": "ok"}));
    let ready = get(&app, "/ready").await;
    assert_eq!((ready.status, &ready.json()["model"]), (StatusCode::OK, &Value::Null));
    assert!(ready.text.contains("/v1/vector_stores"), "{}", ready.text);
}

#[tokio::test]
async fn the_welcome_gives_a_line_that_works_as_it_stands() {
    let app = app();
    let (store, _) = store_with_lamplighter(&app).await;
    let welcome = get(&app, "/").await.text;
    assert!(welcome.contains("No model is loaded"), "{welcome}");
    let body = welcome.split("-d '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    assert!(body.contains(&store), "{body}");
    assert_eq!(post_text(&app, "/v1/responses", body.to_owned()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_retrieval_by_operation() {
    let app = app();
    let (store, _) = store_with_lamplighter(&app).await;
    post(&app, "/v1/responses", &ask(&store, "lamplighter")).await;
    post(&app, &format!("/v1/vector_stores/{store}/search"), &json!({"query": "lamps"})).await;
    get(&app, "/v1/nothing/at/all").await;
    let text = get(&app, "/metrics").await.text;
    for line in [
        r#"sconce_http_requests_total{method="POST",route="/v1/vector_stores/{store}/search",status="200"} 1"#,
        r#"sconce_http_requests_total{method="GET",route="unmatched",status="404"} 1"#,
        r#"sconce_retrieval_requests_total{operation="answer",outcome="ok"} 1"#,
        r#"sconce_retrieval_requests_total{operation="search",outcome="ok"} 1"#,
        r#"sconce_retrieval_requests_total{operation="ingest",outcome="ok"} 1"#,
        "sconce_http_requests_in_progress 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn too_many_answers_are_refused_with_a_status_also_when_they_would_stream() {
    let options = ServerOptions { max_store_calls: 2, max_waiting_store_calls: 0, ..ServerOptions::default() };
    let app = router(state_with(options));
    let (store, _) = store_with_lamplighter(&app).await;
    let mut body = ask(&store, "Which street lamps does a lamplighter tend?");
    body["stream"] = json!(true);
    let begin = || {
        let request = Request::post("/v1/responses").header("content-type", "application/json");
        app.clone().oneshot(request.body(Body::from(body.to_string())).unwrap())
    };
    let first = begin().await.unwrap();
    let second = begin().await.unwrap();
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
    // Both have begun, neither is read: there is no place for a third.
    let refused = post(&app, "/v1/responses", &body).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.text);
    drop(first);
    assert_eq!(post(&app, "/v1/responses", &body).await.status, StatusCode::OK);
}

#[tokio::test]
async fn with_a_key_the_welcome_tells_nothing_of_what_is_stored() {
    let state = state_with(ServerOptions { api_key: Some("secret".into()), ..ServerOptions::default() });
    let store = state.store.create_vector_store("trades", &std::collections::BTreeMap::new()).unwrap().id;
    let welcome = get(&router(state), "/").await.text;
    assert!(!welcome.contains(&store) && welcome.contains("VECTOR_STORE_ID"), "{welcome}");
    assert!(welcome.contains("-H \"Authorization: Bearer $SCONCE_API_KEY\" -d"), "{welcome}");
    assert!(!welcome.contains("secret"), "{welcome}");
}

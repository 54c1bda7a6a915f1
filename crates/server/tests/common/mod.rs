//! Drives the router without a socket: one call in, status, headers and JSON out.
#![allow(dead_code, reason = "each test file uses its own part")]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use sconce_rag::Store;
use sconce_server::{AppState, ServerOptions, router};
use serde_json::Value;
use std::sync::Arc;
use tower::ServiceExt;

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    /// The error object of a failed call, after checking its shape.
    pub(crate) fn error(&self) -> Value {
        let body = self.json();
        let error = body["error"].as_object().unwrap_or_else(|| panic!("no error in {body}"));
        let keys: Vec<&str> = error.keys().map(String::as_str).collect();
        assert_eq!(keys, ["message", "type", "param", "code"], "{body}");
        assert!(error["message"].as_str().is_some_and(|message| message.ends_with(['.', '…'])), "{body}");
        body["error"].clone()
    }

    /// The `data:` payloads of an event stream.
    pub(crate) fn events(&self) -> Vec<String> {
        self.text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
    }
}

pub(crate) fn state_with(options: ServerOptions) -> AppState {
    AppState::new(None, Arc::new(Store::in_memory().expect("a store in memory")), options)
}

pub(crate) fn app() -> Router {
    router(state_with(ServerOptions::default()))
}

pub(crate) async fn send(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.expect("the router is infallible");
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 64 << 20).await.expect("the body is read to its end");
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).expect("text") }
}

pub(crate) async fn get(app: &Router, path: &str) -> Answer {
    send(app, Request::get(path).body(Body::empty()).expect("a request")).await
}

pub(crate) async fn delete(app: &Router, path: &str) -> Answer {
    send(app, Request::delete(path).body(Body::empty()).expect("a request")).await
}

pub(crate) async fn post(app: &Router, path: &str, body: &Value) -> Answer {
    post_text(app, path, body.to_string()).await
}

pub(crate) async fn post_text(app: &Router, path: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path).header("content-type", "application/json").body(body.into());
    send(app, request.expect("a request")).await
}

/// Uploads a file as openai-python does.
pub(crate) async fn upload(app: &Router, filename: &str, content: &[u8], purpose: &str) -> Answer {
    let mut body = Vec::new();
    body.extend(b"--line\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n");
    body.extend(purpose.as_bytes());
    body.extend(b"\r\n--line\r\nContent-Disposition: form-data; name=\"file\"; filename=\"");
    body.extend(filename.as_bytes());
    body.extend(b"\"\r\nContent-Type: application/octet-stream\r\n\r\n");
    body.extend(content);
    body.extend(b"\r\n--line--\r\n");
    let request = Request::post("/v1/files").header("content-type", "multipart/form-data; boundary=line");
    send(app, request.body(Body::from(body)).expect("a request")).await
}

pub(crate) const LAMPLIGHTER: &str = "# Lamplighter\n\n## Duties\n\nA lamplighter tends 312 street lamps each evening and puts them \
                               out again at dawn. Lamplighters also trim wicks and clean the glass.\n\n## Pay\n\nThe \
                               median annual pay of a lamplighter was 41,250 crowns in 1887.\n";

/// Uploads the lamplighter and attaches it to a new store; gives the ids of store and file.
pub(crate) async fn store_with_lamplighter(app: &Router) -> (String, String) {
    let file = upload(app, "lamplighter.md", LAMPLIGHTER.as_bytes(), "assistants").await;
    assert_eq!(file.status, StatusCode::OK, "{}", file.text);
    let file = file.json()["id"].as_str().expect("an id").to_owned();
    let store = post(app, "/v1/vector_stores", &serde_json::json!({"name": "trades", "file_ids": [file]})).await;
    assert_eq!(store.status, StatusCode::OK, "{}", store.text);
    (store.json()["id"].as_str().expect("an id").to_owned(), file)
}

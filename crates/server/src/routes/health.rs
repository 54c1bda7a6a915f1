//! Alive, ready, measured, and a welcome for a person with a browser or curl.

use crate::error::ApiError;
use crate::routes::documents;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use sconce_engine::{EngineEnd, EngineHandle};
use serde_json::{Value, json};

/// `GET /health`: the process answers.
pub(crate) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /ready`: the engine decodes, or there is none and the documents are served.
pub(crate) async fn ready(State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    if let Some(end) = state.engine.as_ref().and_then(EngineHandle::end).filter(|end| *end != EngineEnd::Finished) {
        return Err(ApiError::unavailable("engine_ended", format!("Nothing is generated any more: {end}.")));
    }
    if state.is_draining() {
        return Err(ApiError::unavailable("shutting_down", "The server is shutting down."));
    }
    let documents = ["/v1/files", "/v1/vector_stores", "/v1/responses with file_search"];
    let Some(engine) = &state.engine else {
        return Ok(Json(json!({
            "status": "ready",
            "model": null,
            "serves": documents,
            "hint": "No model is loaded, so answers quote the documents. Start with `sconce serve --model FILE.gguf` to generate text.",
        })));
    };
    match state.canary(engine).await {
        Ok(()) => {
            let generation = ["/v1/chat/completions", "/v1/completions", "/v1/responses"];
            let serves: Vec<&str> = generation.into_iter().chain(documents).collect();
            Ok(Json(json!({"status": "ready", "model": engine.model().id, "serves": serves})))
        }
        Err(error) => Err(error),
    }
}

/// `GET /metrics`: Prometheus text.
pub(crate) async fn metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, state.registry())
        .map_err(|error| ApiError::internal(format!("The metrics could not be written: {error}.")))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

const ROUTES: &str = "  POST /v1/chat/completions            chat (needs a model)
  POST /v1/completions                 text (needs a model)
  POST /v1/responses                   answers, with file_search from documents
  GET  /v1/models                      what is loaded
  *    /v1/files                       upload, list, read, delete
  *    /v1/vector_stores               collections of documents, their files
  POST /v1/vector_stores/{id}/search   search a collection
  GET  /health /ready /metrics         for operators
";

/// `GET /`: the routes and a line to try.
pub(crate) async fn welcome(State(state): State<AppState>, headers: HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1:8080");
    let model = match &state.engine {
        Some(engine) => format!("The model is {}.", engine.model().id),
        None => "No model is loaded: `sconce serve --model FILE.gguf` loads one. Documents are served.".to_owned(),
    };
    // A welcome must not fail with the store, and tells nobody without the key what is stored; the line then shows what
    // to fill in.
    let store = if state.options.api_key.is_none() { documents::first_store(&state).await } else { None };
    let store = store.unwrap_or_else(|| "VECTOR_STORE_ID".to_owned());
    let body = json!({
        "input": "What does an AI solutions architect do?",
        "tools": [{"type": "file_search", "vector_store_ids": [store]}],
    });
    let key = if state.options.api_key.is_some() { " -H \"Authorization: Bearer $SCONCE_API_KEY\"" } else { "" };
    let curl = format!("curl http://{host}/v1/responses -H 'Content-Type: application/json'{key} -d '{body}'");
    format!("Sconce serves an OpenAI-compatible API.\n{model}\n\n{ROUTES}\nTry:\n  {curl}\n")
}

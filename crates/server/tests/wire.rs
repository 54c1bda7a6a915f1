//! Wire formats, frozen: what these types write equals the committed JSON, key by key and in order.

use sconce_rag::{AttributeValue, Attributes, FallbackReason, Metadata, Route};
use sconce_server::ApiError;
use sconce_server::openai::chat::*;
use sconce_server::openai::completions::{Completion, CompletionChoice, CompletionLogprobs};
use sconce_server::openai::files::FileObject;
use sconce_server::openai::models::{Model, ModelList};
use sconce_server::openai::responses::*;
use sconce_server::openai::usage::{PromptTokensDetails, Usage};
use sconce_server::openai::vector_stores::*;
use serde::Serialize;
use serde_json::{Map, json};

/// Compares with the committed file. A change of the wire is made by editing that file, on purpose.
fn check(committed: &str, value: &impl Serialize) {
    let written = serde_json::to_string_pretty(value).unwrap();
    assert_eq!(written, committed.trim_end(), "\n{written}\n");
}

const USAGE: Usage = Usage {
    prompt_tokens: 9,
    completion_tokens: 2,
    total_tokens: 11,
    prompt_tokens_details: PromptTokensDetails { cached_tokens: 8 },
};

#[test]
fn chat_keeps_its_shape() {
    let token = |token: &str, logprob| ChatTopLogprob { token: token.into(), logprob, bytes: token.into() };
    let logprobs = ChatLogprobs {
        content: vec![ChatTokenLogprob {
            token: "Hi".into(),
            logprob: -0.5,
            bytes: b"Hi".to_vec(),
            top_logprobs: vec![token("Hi", -0.5), token("Yo", -1.5)],
        }],
        refusal: None,
    };
    let message = ChatMessage { role: "assistant", content: "Hi".into(), refusal: None };
    let choices = vec![ChatChoice { index: 0, message, logprobs: Some(logprobs), finish_reason: "stop" }];
    let whole = ChatCompletion {
        id: "chatcmpl-1".into(),
        object: "chat.completion",
        created: 1_700_000_000,
        model: "tiny".into(),
        choices,
        usage: USAGE,
    };
    check(include_str!("wire/chat.json"), &whole);
    let chunk = |choices, usage| ChatChunk {
        id: "chatcmpl-1",
        object: "chat.completion.chunk",
        created: 1_700_000_000,
        model: "tiny",
        choices,
        usage,
    };
    let choice = |delta, finish_reason| vec![ChatChunkChoice { index: 0, delta, logprobs: None, finish_reason }];
    let chunks = [
        chunk(choice(ChatDelta { role: Some("assistant"), content: Some(String::new()) }, None), None),
        chunk(choice(ChatDelta { role: None, content: Some("Hi".into()) }, None), Some(None)),
        chunk(choice(ChatDelta::default(), Some("length")), Some(None)),
        chunk(Vec::new(), Some(Some(USAGE))),
    ];
    check(include_str!("wire/chat_chunks.json"), &chunks);
}

#[test]
fn completions_keep_their_shape() {
    let logprobs = CompletionLogprobs {
        tokens: vec!["Hi".into()],
        token_logprobs: vec![-0.5],
        top_logprobs: vec![Map::from_iter([("Hi".to_owned(), json!(-0.5))])],
        text_offset: vec![0],
    };
    let completion = |choices, usage| Completion {
        id: "cmpl-1",
        object: "text_completion",
        created: 1_700_000_000,
        model: "tiny",
        choices,
        usage,
    };
    let choice =
        |logprobs, finish_reason| vec![CompletionChoice { index: 0, text: "Hi".into(), logprobs, finish_reason }];
    let all = [
        completion(choice(Some(logprobs), Some("stop")), Some(Some(USAGE))),
        completion(choice(None, None), None),
        completion(Vec::new(), Some(Some(USAGE))),
    ];
    check(include_str!("wire/completions.json"), &all);
}

#[test]
fn models_files_and_errors_keep_their_shape() {
    let model = Model { id: "tiny".into(), object: "model", created: 1, owned_by: "sconce", max_model_len: 512 };
    check(include_str!("wire/models.json"), &ModelList { object: "list", data: vec![model] });
    let file = FileObject {
        id: "file-1".into(),
        object: "file",
        bytes: 120,
        created_at: 1_700_000_000,
        filename: "a.md".into(),
        purpose: "assistants".into(),
        status: "processed",
    };
    check(include_str!("wire/file.json"), &file);
    check(include_str!("wire/error.json"), &ApiError::model_not_found("gpt", "tiny").body());
}

#[test]
fn vector_stores_and_search_keep_their_shape() {
    let attributes = Attributes::from([
        ("era".to_owned(), AttributeValue::from("gas")),
        ("indoor".to_owned(), AttributeValue::Bool(false)),
        ("year".to_owned(), AttributeValue::Number(1887.0)),
    ]);
    let store = VectorStoreObject {
        id: "vs_1".into(),
        object: "vector_store",
        created_at: 1_700_000_000,
        name: "trades".into(),
        usage_bytes: 120,
        file_counts: FileCounts { completed: 1, total: 1, ..FileCounts::default() },
        status: "completed",
        expires_after: None,
        expires_at: None,
        last_active_at: Some(1_700_000_000),
        metadata: Metadata::from([("team".to_owned(), "lamps".to_owned())]),
    };
    check(include_str!("wire/vector_store.json"), &store);
    let file = VectorStoreFileObject {
        id: "file-1".into(),
        object: "vector_store.file",
        created_at: 1_700_000_000,
        usage_bytes: 0,
        vector_store_id: "vs_1".into(),
        status: "failed",
        last_error: Some(FileError { code: "invalid_file".into(), message: "a.md has no text".into() }),
        attributes: attributes.clone(),
        chunking_strategy: ChunkingStrategy { kind: "other" },
    };
    check(include_str!("wire/vector_store_file.json"), &file);
    let hit = SearchHit {
        file_id: "file-1".into(),
        filename: "a.md".into(),
        score: 0.5,
        attributes,
        content: vec![TextContent { kind: "text", text: "A lamp.".into() }],
        sconce: HitExtension {
            title: "Lamps".into(),
            section: "Duties".into(),
            chunk_id: "7".into(),
            source_span: [10, 17],
        },
    };
    let page = SearchPage {
        object: "vector_store.search_results.page",
        search_query: vec!["lamps".into()],
        data: vec![hit],
        has_more: false,
        next_page: None,
    };
    check(include_str!("wire/search.json"), &page);
}

#[test]
fn responses_keep_their_shape() {
    let citation = CitationExtension {
        number: 1,
        file_id: "file-1".into(),
        filename: "a.md".into(),
        version: 1,
        title: "Lamps".into(),
        section: "Duties".into(),
        source: None,
        date: None,
        quote: "A lamp.".into(),
        source_span: [10, 17],
        answer_span: [1, 8],
    };
    let annotation =
        FileCitation { kind: "file_citation", index: 8, file_id: "file-1".into(), filename: "a.md".into() };
    let text = OutputText {
        kind: "output_text",
        text: "“A lamp.” [1]".into(),
        annotations: vec![annotation],
        logprobs: vec![],
    };
    let call = OutputItem::FileSearchCall {
        id: "fs_1".into(),
        status: "completed",
        queries: vec!["lamps".into()],
        results: None,
    };
    let message =
        OutputItem::Message { id: "msg_1".into(), status: "completed", role: "assistant", content: vec![text] };
    let response = ResponseObject {
        id: "resp_1".into(),
        object: "response",
        created_at: 1_700_000_000,
        status: "completed",
        error: None,
        incomplete_details: None,
        instructions: None,
        max_output_tokens: None,
        model: "none".into(),
        output: vec![call, message],
        parallel_tool_calls: true,
        previous_response_id: None,
        temperature: 0.0,
        tool_choice: json!("auto"),
        tools: vec![json!({"type": "file_search", "vector_store_ids": ["vs_1"]})],
        top_p: 1.0,
        truncation: "disabled",
        usage: Some(ResponseUsage::default()),
        metadata: Map::new(),
        sconce: Some(AnswerExtension {
            route: Route::Quoted,
            fallback: Some(FallbackReason::NoGenerator),
            citations: vec![citation],
        }),
    };
    check(include_str!("wire/response.json"), &response);
}

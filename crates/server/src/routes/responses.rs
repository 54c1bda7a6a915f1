//! `POST /v1/responses`: an answer from documents when file_search is named, else the model's own.

use super::answers::Answers;
use super::chat::rendered;
use super::completions::{MAX_NAME_BYTES, limits};
use super::documents::{answered, turn_to_answer, with_store};
use super::responses_stream::{self, PlainFormat};
use crate::body::JsonBody;
use crate::bridge::EngineGenerator;
use crate::error::ApiError;
use crate::ids::{new_id, unix_seconds};
use crate::lanes::Turn;
use crate::openai::responses::{
    AnswerExtension, CitationExtension, FileCitation, IncompleteDetails, InputTokensDetails, OutputItem, OutputText,
    OutputTokensDetails, ResponseObject, ResponseUsage, SearchResult,
};
use crate::openai::usage::Usage;
use crate::sse;
use crate::state::AppState;
use crate::validate::ModelLimits;
use crate::validate::generation::ValidGeneration;
use crate::validate::responses::{FileSearch, ValidResponse};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use sconce_engine::{Conversation, EngineHandle};
use sconce_rag::{Answer, AnswerOptions, Generator, Hit};
use serde_json::Map;
use tokio::sync::watch;

/// The most passages that rag gives to a model.
const MAX_PASSAGES: usize = 20;
/// What is in range when no model bounds it: any number of tokens, any token.
const NO_LIMITS: ModelLimits =
    ModelLimits { context_length: u32::MAX as usize, vocabulary_size: u32::MAX as usize, max_requests: usize::MAX };

/// Answers a question.
pub(crate) async fn create(State(state): State<AppState>, body: JsonBody) -> Result<Response, ApiError> {
    let (valid, generation) = body.read(|fields| {
        let asked_model = fields.string("model", MAX_NAME_BYTES)?;
        if let Some(engine) = &state.engine {
            state.check_model(engine.model(), asked_model)?;
        }
        let valid = ValidResponse::parse(fields)?;
        let limits = state.engine.as_ref().map_or(NO_LIMITS, limits);
        let mut generation = ValidGeneration::parse_response(fields, limits)?;
        if valid.file_search.is_some() && fields.get("temperature").is_none() {
            // The same question gives the same answer, unless the client asks for variety.
            generation.sampling.temperature = 0.0;
        }
        Ok((valid, generation))
    })?;
    match valid.file_search.clone() {
        Some(tool) => from_documents(state, valid, generation, tool).await,
        None => from_model(&state, state.engine()?, &valid, generation).await,
    }
}

/// The response before its answer is known.
fn begun(state: &AppState, valid: &ValidResponse, generation: &ValidGeneration) -> ResponseObject {
    ResponseObject {
        id: new_id("resp_"),
        object: "response",
        created_at: unix_seconds(),
        status: "in_progress",
        error: None,
        incomplete_details: None,
        instructions: valid.instructions.clone(),
        max_output_tokens: generation.max_tokens,
        model: state.engine.as_ref().map_or_else(|| "none".to_owned(), |engine| engine.model().id.clone()),
        output: Vec::new(),
        parallel_tool_calls: true,
        previous_response_id: None,
        temperature: generation.sampling.temperature,
        tool_choice: valid.tool_choice.clone(),
        tools: valid.tools.clone(),
        top_p: generation.sampling.top_p,
        truncation: "disabled",
        usage: None,
        metadata: valid.metadata.clone(),
        sconce: None,
    }
}

async fn from_model(
    state: &AppState,
    engine: &EngineHandle,
    valid: &ValidResponse,
    generation: ValidGeneration,
) -> Result<Response, ApiError> {
    let conversation =
        Conversation { messages: valid.messages.clone(), tools: None, add_generation_prompt: true, extra: Map::new() };
    let prompt = rendered(state, engine, conversation, "input").await?;
    let answers = Answers::submit(engine, &generation, vec![prompt], "input")?;
    let response = begun(state, valid, &generation);
    if valid.stream {
        return Ok(sse::respond(answers.stream(PlainFormat::new(response)), state.options.keep_alive));
    }
    let (choices, usage) = answers.whole().await?;
    let choice = choices.into_iter().next().ok_or_else(super::answers::broke_off)?;
    let text = OutputText { kind: "output_text", text: choice.text, annotations: Vec::new(), logprobs: Vec::new() };
    Ok(Json(ended(response, new_id("msg_"), text, choice.finish_reason, usage)).into_response())
}

/// A plain response with its one message.
pub(super) fn ended(
    response: ResponseObject,
    message_id: String,
    text: OutputText,
    finish_reason: &'static str,
    usage: Usage,
) -> ResponseObject {
    let cut = finish_reason == "length";
    let status = if cut { "incomplete" } else { "completed" };
    let message = OutputItem::Message { id: message_id, status, role: "assistant", content: vec![text] };
    ResponseObject {
        status,
        incomplete_details: cut.then_some(IncompleteDetails { reason: "max_output_tokens" }),
        output: vec![message],
        usage: Some(response_usage(usage)),
        ..response
    }
}

fn response_usage(usage: Usage) -> ResponseUsage {
    ResponseUsage {
        input_tokens: usage.prompt_tokens,
        input_tokens_details: InputTokensDetails {
            cached_tokens: usage.prompt_tokens_details.cached_tokens,
            cache_write_tokens: 0,
        },
        output_tokens: usage.completion_tokens,
        output_tokens_details: OutputTokensDetails { reasoning_tokens: 0 },
        total_tokens: usage.total_tokens,
    }
}

async fn from_documents(
    state: AppState,
    valid: ValidResponse,
    generation: ValidGeneration,
    tool: FileSearch,
) -> Result<Response, ApiError> {
    // An unknown store is a 404 now, and not an event in a stream that has begun.
    let ids = tool.store_ids.clone();
    with_store(&state, move |store| ids.iter().try_for_each(|id| store.get_vector_store(id).map(drop))).await?;
    let response = begun(&state, &valid, &generation);
    let keep_alive = state.options.keep_alive;
    let turn = turn_to_answer(&state).await?;
    let ask = Ask { state, turn, generation, tool, question: valid.question, instructions: valid.instructions };
    let include_results = valid.include_results;
    if valid.stream {
        let events = responses_stream::from_documents(response, ask, include_results);
        return Ok(sse::respond(events, keep_alive));
    }
    let question = ask.question.clone();
    let (answer, usage) = ask.answer().await?;
    Ok(Json(cited(response, new_id("fs_"), question, answer, usage, include_results)).into_response())
}

/// A question about documents, ready to be answered.
pub(super) struct Ask {
    state: AppState,
    turn: Turn,
    generation: ValidGeneration,
    tool: FileSearch,
    pub(super) question: String,
    instructions: Option<String>,
}

impl Ask {
    /// Finds, generates or quotes, and checks. Dropping this future aborts the generation.
    pub(super) async fn answer(self) -> Result<(Answer, Usage), ApiError> {
        let (_waiting, wanted) = watch::channel(());
        let generator = self
            .state
            .engine
            .clone()
            .map(|engine| EngineGenerator::new(engine, self.generation, self.instructions, wanted));
        let search = self.tool.search;
        let defaults = AnswerOptions::default();
        let options = AnswerOptions {
            store_ids: self.tool.store_ids,
            filters: search.filters,
            max_passages: search
                .max_num_results
                .map_or(defaults.max_passages, |most| (most as usize).min(MAX_PASSAGES)),
            max_num_results: search.max_num_results.map(|most| most as usize),
            score_threshold: search.score_threshold,
            ..defaults
        };
        let question = self.question;
        answered(&self.state, self.turn, move |store| {
            let through = generator.as_ref().map(|generator| generator as &dyn Generator);
            let answer = sconce_rag::answer(store, &question, &options, through)?;
            Ok((answer, generator.as_ref().map(EngineGenerator::usage).unwrap_or_default()))
        })
        .await
    }
}

/// The finished response over an answer from documents.
pub(super) fn cited(
    response: ResponseObject,
    call_id: String,
    question: String,
    answer: Answer,
    usage: Usage,
    include_results: bool,
) -> ResponseObject {
    let results = include_results.then(|| answer.hits.into_iter().map(result).collect());
    let call = OutputItem::FileSearchCall { id: call_id, status: "completed", queries: vec![question], results };
    let characters = |byte: usize| answer.text.get(..byte).map_or(0, |before| before.chars().count());
    let citations: Vec<CitationExtension> = answer
        .citations
        .into_iter()
        .map(|citation| CitationExtension {
            number: citation.number,
            answer_span: [characters(citation.answer_span.start), characters(citation.answer_span.end)],
            file_id: citation.file_id,
            filename: citation.filename,
            version: citation.version,
            title: citation.title,
            section: citation.section,
            source: citation.source,
            date: citation.date,
            quote: citation.quote,
            source_span: [citation.source_span.start, citation.source_span.end],
        })
        .collect();
    let annotation = |citation: &CitationExtension| FileCitation {
        kind: "file_citation",
        index: citation.answer_span[1],
        file_id: citation.file_id.clone(),
        filename: citation.filename.clone(),
    };
    let annotations = citations.iter().map(annotation).collect();
    let text = OutputText { kind: "output_text", text: answer.text, annotations, logprobs: Vec::new() };
    let message =
        OutputItem::Message { id: new_id("msg_"), status: "completed", role: "assistant", content: vec![text] };
    ResponseObject {
        status: "completed",
        output: vec![call, message],
        usage: Some(response_usage(usage)),
        sconce: Some(AnswerExtension { route: answer.route, fallback: answer.fallback, citations }),
        ..response
    }
}

fn result(hit: Hit) -> SearchResult {
    SearchResult {
        file_id: hit.file_id,
        filename: hit.filename,
        score: hit.score,
        text: hit.text,
        attributes: hit.attributes,
    }
}

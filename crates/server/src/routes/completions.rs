//! `POST /v1/completions`.

use super::answers::{Answers, ChunkFormat};
use super::logprobs;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::ids::{new_id, unix_seconds};
use crate::openai::completions::{Completion, CompletionChoice};
use crate::openai::usage::Usage;
use crate::sse;
use crate::state::AppState;
use crate::validate::ModelLimits;
use crate::validate::completions::{Prompt, ValidCompletion};
use axum::Json;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use sconce_engine::{EngineHandle, Special, TokenLogprob, Tokenizer};
use std::collections::HashMap;
use std::sync::Arc;

/// The longest model name that is looked at, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 512;

/// What the loaded model bounds.
pub(crate) fn limits(engine: &EngineHandle) -> ModelLimits {
    let model = engine.model();
    ModelLimits {
        context_length: model.context_length,
        vocabulary_size: model.vocabulary_size,
        max_requests: engine.max_requests(),
    }
}

/// Answers one or more prompts.
pub(crate) async fn create(State(state): State<AppState>, body: JsonBody) -> Result<Response, ApiError> {
    let engine = state.engine()?;
    let valid = body.read(|fields| {
        state.check_model(engine.model(), fields.string("model", MAX_NAME_BYTES)?)?;
        ValidCompletion::parse(fields, limits(engine))
    })?;
    let tokenizer = engine.tokenizer().clone();
    let encode = move |prompt| match prompt {
        Prompt::Text(text) => tokenizer.encode(&text, Special { add_bos: true, parse_special: true }),
        Prompt::Tokens(tokens) => tokens,
    };
    let prompts = in_prompt_lane(&state, move || valid.prompts.into_iter().map(encode).collect()).await?;
    let answers = Answers::submit(engine, &valid.generation, prompts, "prompt")?;
    let format = Format {
        id: new_id("cmpl-"),
        created: unix_seconds(),
        model: engine.model().id.clone(),
        tokenizer: valid.logprobs.then(|| engine.tokenizer().clone()),
        offsets: HashMap::new(),
        include_usage: valid.generation.include_usage,
    };
    if valid.generation.stream {
        return Ok(sse::respond(answers.stream(format), state.options.keep_alive));
    }
    let (choices, usage) = answers.whole().await?;
    let choice = |(index, choice): (usize, super::answers::WholeChoice)| CompletionChoice {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        text: choice.text,
        logprobs: format.tokenizer.as_ref().map(|tokenizer| logprobs::completion(tokenizer, &choice.tokens, &mut 0)),
        finish_reason: Some(choice.finish_reason),
    };
    let choices = choices.into_iter().enumerate().map(choice).collect();
    Ok(Json(format.completion(choices, Some(Some(usage)))).into_response())
}

/// Renders or tokenizes away from the threads that serve connections, a few at a time: a long prompt takes its time.
pub(crate) async fn in_prompt_lane<T: Send + 'static>(
    state: &AppState,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let fault = || ApiError::internal("The prompt could not be prepared; the server's log has more.");
    // The lane has a place for each request in progress, so that nobody is refused here.
    let turn = state.prompt_lane().admit().ok_or_else(fault)?.turn().await.ok_or_else(fault)?;
    let work = move || {
        let _turn = turn;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| fault())
}

struct Format {
    id: String,
    created: u64,
    model: String,
    /// Set when log probabilities are shown.
    tokenizer: Option<Arc<Tokenizer>>,
    /// Characters of each choice's tokens so far.
    offsets: HashMap<u32, usize>,
    include_usage: bool,
}

impl Format {
    fn completion(&self, choices: Vec<CompletionChoice>, usage: Option<Option<Usage>>) -> Completion<'_> {
        Completion {
            id: &self.id,
            object: "text_completion",
            created: self.created,
            model: &self.model,
            choices,
            usage,
        }
    }

    fn chunk(&self, choice: CompletionChoice) -> Event {
        sse::data(&self.completion(vec![choice], self.include_usage.then_some(None)))
    }
}

impl ChunkFormat for Format {
    fn opening(&mut self, _index: u32) -> Vec<Event> {
        Vec::new()
    }

    fn delta(&mut self, index: u32, text: String, tokens: &[TokenLogprob]) -> Option<Event> {
        let offset = self.offsets.entry(index).or_default();
        let logprobs = self.tokenizer.as_ref().map(|tokenizer| logprobs::completion(tokenizer, tokens, offset));
        if text.is_empty() && (logprobs.is_none() || tokens.is_empty()) {
            return None;
        }
        Some(self.chunk(CompletionChoice { index, text, logprobs, finish_reason: None }))
    }

    fn finish(&mut self, index: u32, reason: &'static str) -> Option<Event> {
        let choice = CompletionChoice { index, text: String::new(), logprobs: None, finish_reason: Some(reason) };
        Some(self.chunk(choice))
    }

    fn closing(&mut self, usage: Usage) -> Vec<Event> {
        let usage = self.include_usage.then(|| sse::data(&self.completion(Vec::new(), Some(Some(usage)))));
        usage.into_iter().chain([sse::done()]).collect()
    }
}

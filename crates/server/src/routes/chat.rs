//! `POST /v1/chat/completions`, and rendering a conversation into a prompt, which `/v1/responses` needs too.

use super::answers::{Answers, ChunkFormat, WholeChoice};
use super::completions::{MAX_NAME_BYTES, in_prompt_lane, limits};
use super::logprobs;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::ids::{new_id, unix_seconds};
use crate::openai::chat::{ChatChoice, ChatChunk, ChatChunkChoice, ChatCompletion, ChatDelta, ChatMessage};
use crate::openai::usage::Usage;
use crate::sse;
use crate::state::AppState;
use crate::validate::chat::ValidChat;
use axum::Json;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use sconce_engine::{Conversation, EngineHandle, Special, TokenLogprob, Tokenizer};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// Answers a conversation.
pub(crate) async fn create(State(state): State<AppState>, body: JsonBody) -> Result<Response, ApiError> {
    let engine = state.engine()?;
    let valid = body.read(|fields| {
        state.check_model(engine.model(), fields.string("model", MAX_NAME_BYTES)?)?;
        ValidChat::parse(fields, limits(engine))
    })?;
    let conversation = Conversation {
        messages: valid.messages,
        tools: None,
        add_generation_prompt: valid.add_generation_prompt,
        extra: valid.template_variables,
    };
    let prompt = rendered(&state, engine, conversation, "messages").await?;
    let answers = Answers::submit(engine, &valid.generation, vec![prompt], "messages")?;
    let format = Format {
        id: new_id("chatcmpl-"),
        created: unix_seconds(),
        model: engine.model().id.clone(),
        tokenizer: valid.logprobs.then(|| engine.tokenizer().clone()),
        include_usage: valid.generation.include_usage,
    };
    if valid.generation.stream {
        return Ok(sse::respond(answers.stream(format), state.options.keep_alive));
    }
    let (choices, usage) = answers.whole().await?;
    let choice = |(index, choice): (usize, WholeChoice)| ChatChoice {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        message: ChatMessage { role: "assistant", content: choice.text, refusal: None },
        logprobs: format.tokenizer.as_ref().map(|tokenizer| logprobs::chat(tokenizer, &choice.tokens)),
        finish_reason: choice.finish_reason,
    };
    let choices = choices.into_iter().enumerate().map(choice).collect();
    let Format { id, created, model, .. } = format;
    Ok(Json(ChatCompletion { id, object: "chat.completion", created, model, choices, usage }).into_response())
}

/// Renders and tokenizes a conversation, away from the threads that serve connections. `param` names the field that
/// holds the messages.
pub(crate) async fn rendered(
    state: &AppState,
    engine: &EngineHandle,
    conversation: Conversation,
    param: &'static str,
) -> Result<Vec<u32>, ApiError> {
    let engine = engine.clone();
    in_prompt_lane(state, move || prompt_tokens(&engine, conversation, param)).await?
}

/// [`rendered`] on the caller's thread.
pub(crate) fn prompt_tokens(
    engine: &EngineHandle,
    mut conversation: Conversation,
    param: &'static str,
) -> Result<Vec<u32>, ApiError> {
    let template = engine.chat_template().ok_or_else(|| no_template(param))?;
    // Only the template ends turns and changes roles: neither a user nor a document may forge what it writes.
    conversation.messages.iter_mut().for_each(|message| disarm(engine.tokenizer(), message));
    conversation.extra.values_mut().for_each(|value| disarm(engine.tokenizer(), value));
    let text = template.render(&conversation).map_err(|error| {
        // A template refuses conversations that it was not made for; its own words say why.
        ApiError::invalid(param, format!("The model's chat template cannot render these messages: {error}."))
    })?;
    // The tokenizer adds a beginning-of-text token where the model wants one and the template wrote none.
    Ok(engine.tokenizer().encode(&text, Special { add_bos: true, parse_special: true }))
}

/// Breaks up the text of control tokens in every string of a value.
fn disarm(tokenizer: &Tokenizer, value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(disarmed) = tokenizer.disarm(text) {
                *text = disarmed;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| disarm(tokenizer, item)),
        Value::Object(fields) => fields.values_mut().for_each(|field| disarm(tokenizer, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn no_template(param: &'static str) -> ApiError {
    let message = "This model's file has no chat template, so messages cannot be turned into a prompt. \
                   Use /v1/completions with a prompt, or start the server with --chat-template FILE.";
    ApiError { code: Some("no_chat_template"), ..ApiError::invalid(param, message) }
}

struct Format {
    id: String,
    created: u64,
    model: String,
    /// Set when log probabilities are shown.
    tokenizer: Option<Arc<Tokenizer>>,
    include_usage: bool,
}

impl Format {
    fn chunk(&self, choice: ChatChunkChoice) -> Event {
        sse::data(&self.wire(vec![choice], self.include_usage.then_some(None)))
    }

    fn wire(&self, choices: Vec<ChatChunkChoice>, usage: Option<Option<Usage>>) -> ChatChunk<'_> {
        ChatChunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices,
            usage,
        }
    }
}

impl ChunkFormat for Format {
    fn opening(&mut self, index: u32) -> Vec<Event> {
        let delta = ChatDelta { role: Some("assistant"), content: Some(String::new()) };
        vec![self.chunk(ChatChunkChoice { index, delta, logprobs: None, finish_reason: None })]
    }

    fn delta(&mut self, index: u32, text: String, tokens: &[TokenLogprob]) -> Option<Event> {
        let logprobs = self.tokenizer.as_ref().map(|tokenizer| logprobs::chat(tokenizer, tokens));
        if text.is_empty() && (logprobs.is_none() || tokens.is_empty()) {
            return None;
        }
        let delta = ChatDelta { role: None, content: Some(text) };
        Some(self.chunk(ChatChunkChoice { index, delta, logprobs, finish_reason: None }))
    }

    fn finish(&mut self, index: u32, reason: &'static str) -> Option<Event> {
        let delta = ChatDelta::default();
        Some(self.chunk(ChatChunkChoice { index, delta, logprobs: None, finish_reason: Some(reason) }))
    }

    fn closing(&mut self, usage: Usage) -> Vec<Event> {
        let usage = self.include_usage.then(|| sse::data(&self.wire(Vec::new(), Some(Some(usage)))));
        usage.into_iter().chain([sse::done()]).collect()
    }
}

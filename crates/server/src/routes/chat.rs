//! `POST /v1/chat/completions`, and rendering a conversation into a prompt, which `/v1/responses` needs too.

use super::answers::{Answers, ChunkFormat, WholeChoice};
use super::completions::{MAX_NAME_BYTES, limits};
use super::logprobs;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::ids::{new_id, unix_seconds};
use crate::openai::chat::{ChatChoice, ChatChunk, ChatChunkChoice, ChatCompletion, ChatDelta, ChatMessage};
use crate::openai::usage::Usage;
use crate::sse;
use crate::state::AppState;
use crate::validate::Fields;
use crate::validate::chat::ValidChat;
use axum::Json;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use sconce_engine::{Conversation, EngineHandle, Special, TokenLogprob, Tokenizer};
use std::sync::Arc;

/// Answers a conversation.
pub(crate) async fn create(State(state): State<AppState>, JsonBody(body): JsonBody) -> Result<Response, ApiError> {
    let engine = state.engine()?;
    let fields = Fields::body(&body)?;
    state.check_model(engine.model(), fields.string("model", MAX_NAME_BYTES)?)?;
    let valid = ValidChat::parse(&fields, limits(engine))?;
    let conversation = Conversation {
        messages: valid.messages,
        tools: None,
        add_generation_prompt: valid.add_generation_prompt,
        extra: valid.template_variables,
    };
    let prompt = rendered(engine, conversation, "messages").await?;
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
    engine: &EngineHandle,
    conversation: Conversation,
    param: &'static str,
) -> Result<Vec<u32>, ApiError> {
    let engine = engine.clone();
    let render = move || prompt_tokens(&engine, &conversation, param);
    tokio::task::spawn_blocking(render)
        .await
        .map_err(|_| ApiError::internal("The chat template could not be rendered; the server's log has more."))?
}

/// [`rendered`] on the caller's thread.
pub(crate) fn prompt_tokens(
    engine: &EngineHandle,
    conversation: &Conversation,
    param: &'static str,
) -> Result<Vec<u32>, ApiError> {
    let template = engine.chat_template().ok_or_else(|| no_template(param))?;
    let text = template.render(conversation).map_err(|error| {
        // A template refuses conversations that it was not made for; its own words say why.
        ApiError::invalid(param, format!("The model's chat template cannot render these messages: {error}."))
    })?;
    // The tokenizer adds a beginning-of-text token where the model wants one and the template wrote none.
    Ok(engine.tokenizer().encode(&text, Special { add_bos: true, parse_special: true }))
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

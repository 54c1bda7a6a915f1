//! From the engine's events to answers, whole or streamed; the same for chat and completions. Wire shapes come from a
//! [`ChunkFormat`]. Dropping what these functions return drops the generations, which aborts them.

use crate::error::ApiError;
use crate::openai::usage::Usage;
use crate::sse;
use crate::validate::generation::ValidGeneration;
use axum::response::sse::Event;
use futures_util::Stream;
use futures_util::stream::{self, BoxStream, StreamExt};
use sconce_engine::{
    EngineHandle, FinishReason, Generation, GenerationError, GenerationEvent, GenerationEventKind, SubmitError,
    TokenLogprob,
};
use std::collections::VecDeque;

/// The running answers to one request: `prompts * n` choices.
pub(crate) struct Answers {
    events: BoxStream<'static, GenerationEvent>,
    choices: u32,
    per_prompt: u32,
}

/// A choice that has ended.
#[derive(Debug, Default)]
pub(crate) struct WholeChoice {
    /// Its text.
    pub(crate) text: String,
    /// Its tokens.
    pub(crate) tokens: Vec<TokenLogprob>,
    /// Why it ended.
    pub(crate) finish_reason: &'static str,
    ended: bool,
}

impl Answers {
    /// Submits one request per prompt. When one is refused the others are dropped, and with them aborted.
    pub(crate) fn submit(
        engine: &EngineHandle,
        generation: &ValidGeneration,
        prompts: Vec<Vec<u32>>,
        prompt_field: &str,
    ) -> Result<Self, ApiError> {
        let per_prompt = generation.n;
        let mut running = Vec::with_capacity(prompts.len());
        for (index, prompt) in prompts.into_iter().enumerate() {
            let started = engine.generate(generation.request(prompt));
            let base = u32::try_from(index).unwrap_or(u32::MAX).saturating_mul(per_prompt);
            running.push((base, started.map_err(|error| refused(&error, prompt_field))?));
        }
        let choices = u32::try_from(running.len()).unwrap_or(u32::MAX).saturating_mul(per_prompt);
        let streams = running.into_iter().map(|(base, generation)| numbered(base, generation));
        Ok(Self { events: stream::select_all(streams).boxed(), choices, per_prompt })
    }

    /// Waits for all choices.
    pub(crate) async fn whole(mut self) -> Result<(Vec<WholeChoice>, Usage), ApiError> {
        let mut choices: Vec<WholeChoice> = (0..self.choices).map(|_| WholeChoice::default()).collect();
        let mut usage = Usage::default();
        while let Some(event) = self.events.next().await {
            let Some(choice) = choices.get_mut(event.index as usize) else { continue };
            match event.kind {
                GenerationEventKind::Started { .. } => {}
                GenerationEventKind::Delta { text, tokens } => {
                    choice.text.push_str(&text);
                    choice.tokens.extend(tokens);
                }
                GenerationEventKind::Finished { reason, usage: spent } => {
                    choice.finish_reason = finish_reason(reason);
                    choice.ended = true;
                    usage.add(&spent, event.index.is_multiple_of(self.per_prompt));
                }
                GenerationEventKind::Failed { error } => return Err(failed(&error)),
            }
        }
        if choices.iter().all(|choice| choice.ended) { Ok((choices, usage)) } else { Err(broke_off()) }
    }

    /// The answers as server-sent events.
    pub(crate) fn stream(self, mut format: impl ChunkFormat) -> impl Stream<Item = Event> + Send + 'static {
        let queue: VecDeque<Event> = (0..self.choices).flat_map(|index| format.opening(index)).collect();
        let pump = Pump { running: Some(self), format, queue, ended: 0, usage: Usage::default() };
        stream::unfold(pump, async |mut pump| {
            loop {
                if let Some(event) = pump.queue.pop_front() {
                    return Some((event, pump));
                }
                let next = pump.running.as_mut()?.events.next().await;
                pump.take(next);
            }
        })
    }
}

/// How a stream looks on the wire.
pub(crate) trait ChunkFormat: Send + 'static {
    /// What comes before a choice's output.
    fn opening(&mut self, index: u32) -> Vec<Event>;
    /// New output, or `None` when there is nothing to show.
    fn delta(&mut self, index: u32, text: String, tokens: &[TokenLogprob]) -> Option<Event>;
    /// The end of a choice, when it shows by itself.
    fn finish(&mut self, index: u32, reason: &'static str) -> Option<Event>;
    /// What ends the stream when every choice has ended.
    fn closing(&mut self, usage: Usage) -> Vec<Event>;
    /// What ends the stream when it failed.
    fn failed(&mut self, error: &ApiError) -> Event {
        sse::error(error)
    }
}

struct Pump<F> {
    /// `None` once the last event is queued: the generations are dropped with it.
    running: Option<Answers>,
    format: F,
    queue: VecDeque<Event>,
    ended: u32,
    usage: Usage,
}

impl<F: ChunkFormat> Pump<F> {
    fn take(&mut self, event: Option<GenerationEvent>) {
        let Some(GenerationEvent { index, kind }) = event else { return self.fail(&broke_off()) };
        match kind {
            GenerationEventKind::Started { .. } => {}
            GenerationEventKind::Delta { text, tokens } => self.queue.extend(self.format.delta(index, text, &tokens)),
            GenerationEventKind::Finished { reason, usage } => self.finish(index, reason, &usage),
            GenerationEventKind::Failed { error } => self.fail(&failed(&error)),
        }
    }

    fn finish(&mut self, index: u32, reason: FinishReason, usage: &sconce_engine::ChoiceUsage) {
        let Some(running) = &self.running else { return };
        self.usage.add(usage, index.is_multiple_of(running.per_prompt));
        self.ended += 1;
        let all_ended = self.ended == running.choices;
        self.queue.extend(self.format.finish(index, finish_reason(reason)));
        if all_ended {
            self.queue.extend(self.format.closing(self.usage));
            self.running = None;
        }
    }

    fn fail(&mut self, error: &ApiError) {
        self.queue.push_back(self.format.failed(error));
        self.running = None;
    }
}

/// The events of one prompt's choices, numbered from `base`.
fn numbered(base: u32, generation: Generation) -> BoxStream<'static, GenerationEvent> {
    let next = move |mut generation: Generation| async move {
        let event = generation.next().await?;
        Some((GenerationEvent { index: base + event.index, ..event }, generation))
    };
    stream::unfold(generation, next).boxed()
}

/// OpenAI's word for why a choice ended.
pub(crate) fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}

/// The engine's refusal as a client sees it.
pub(crate) fn refused(error: &SubmitError, prompt_field: &str) -> ApiError {
    let sentence = format!("{}.", capitalized(&error.to_string()));
    match error {
        SubmitError::Overloaded { .. } => ApiError::overloaded(sentence),
        SubmitError::PromptEmpty => ApiError::invalid(prompt_field, sentence),
        SubmitError::PromptTooLong { .. } | SubmitError::PromptExceedsShare { .. } => {
            ApiError { code: Some("context_length_exceeded"), ..ApiError::invalid(prompt_field, sentence) }
        }
        SubmitError::OutOfRange { field: "prompt", .. } => ApiError::invalid(prompt_field, sentence),
        SubmitError::OutOfRange { field, .. } => ApiError::invalid(*field, sentence),
        SubmitError::ShuttingDown => ApiError::unavailable("shutting_down", sentence),
        _ => ApiError::unavailable("engine_stopped", sentence),
    }
}

/// A failure in the midst of an answer as a client sees it.
pub(crate) fn failed(error: &GenerationError) -> ApiError {
    let sentence = format!("{}.", capitalized(&error.to_string()));
    match error {
        GenerationError::ShuttingDown => ApiError::unavailable("shutting_down", sentence),
        GenerationError::OutOfMemory => ApiError::unavailable("out_of_memory", sentence),
        GenerationError::DeviceLost(_) => ApiError::unavailable("device_lost", sentence),
        _ => ApiError::internal(sentence),
    }
}

/// The engine went away without a word.
pub(crate) fn broke_off() -> ApiError {
    ApiError::internal("The engine stopped in the midst of the answer; the server's log has more.")
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

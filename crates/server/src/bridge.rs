//! The engine as rag's [`Generator`]: a blocking caller waits for the engine's events, and stops when nobody waits for the
//! answer any more. What is asked and whether the text is good is rag's business.

use crate::openai::usage::Usage;
use crate::routes::chat::prompt_tokens;
use crate::validate::generation::ValidGeneration;
use sconce_engine::{Conversation, EngineHandle, GenerationEventKind, SamplingParams};
use sconce_rag::{AnswerPrompt, Generator, GeneratorError};
use serde_json::{Map, json};
use std::sync::{Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Bound of an answer that does not name its own, in tokens: an answer from passages is short.
const MAX_ANSWER_TOKENS: u32 = 256;

/// Generates through the engine from a blocking thread.
pub struct EngineGenerator {
    engine: EngineHandle,
    runtime: Handle,
    generation: ValidGeneration,
    /// The request's own instructions, added to rag's.
    instructions: Option<String>,
    /// Closed when the client has gone.
    wanted: watch::Receiver<()>,
    usage: Mutex<Usage>,
    /// The other end of `wanted`, where nobody else holds it.
    _asker: Option<watch::Sender<()>>,
}

impl EngineGenerator {
    /// A generator for one answer; must be made within the runtime. It gives up when the sender of `wanted` is dropped.
    pub(crate) fn new(
        engine: EngineHandle,
        generation: ValidGeneration,
        instructions: Option<String>,
        wanted: watch::Receiver<()>,
    ) -> Self {
        let max_tokens = generation.max_tokens.unwrap_or(MAX_ANSWER_TOKENS);
        let generation = ValidGeneration { n: 1, max_tokens: Some(max_tokens), ..generation };
        let runtime = Handle::current();
        Self { engine, runtime, generation, instructions, wanted, usage: Mutex::default(), _asker: None }
    }

    /// A greedy generator for a caller on this machine, who does not go away. An answer has `max_tokens` at most, or 256.
    #[must_use]
    pub fn for_questions(engine: EngineHandle, runtime: Handle, max_tokens: Option<u32>) -> Self {
        let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
        let max_tokens = Some(max_tokens.unwrap_or(MAX_ANSWER_TOKENS));
        let generation = ValidGeneration { sampling, n: 1, max_tokens, ..ValidGeneration::default() };
        let (asker, wanted) = watch::channel(());
        Self { engine, runtime, generation, instructions: None, wanted, usage: Mutex::default(), _asker: Some(asker) }
    }

    /// What was spent so far.
    pub(crate) fn usage(&self) -> Usage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tokens(&self, prompt: &AnswerPrompt) -> Result<Vec<u32>, GeneratorError> {
        let system = match &self.instructions {
            Some(own) => format!("{}\n\n{own}", prompt.instructions),
            None => prompt.instructions.clone(),
        };
        let conversation = Conversation {
            messages: vec![
                json!({"role": "system", "content": system}),
                json!({"role": "user", "content": prompt.user_message()}),
            ],
            tools: None,
            add_generation_prompt: true,
            extra: Map::new(),
        };
        prompt_tokens(&self.engine, conversation, "input").map_err(|error| GeneratorError { reason: error.message })
    }

    /// How many leading tokens do not depend on the question: instructions and passages, which the cache keeps longer.
    fn document_tokens(&self, prompt: &AnswerPrompt, tokens: &[u32]) -> Result<u32, GeneratorError> {
        let other = AnswerPrompt { question: "?".to_owned(), ..prompt.clone() };
        let other = self.tokens(&other)?;
        let shared = tokens.iter().zip(&other).take_while(|(a, b)| a == b).count();
        Ok(u32::try_from(shared).unwrap_or(u32::MAX))
    }

    async fn answer(&self, tokens: Vec<u32>, document_tokens: u32) -> Result<String, GeneratorError> {
        let failed = |reason: String| GeneratorError { reason };
        let mut request = self.generation.request(tokens);
        request.document_tokens = document_tokens;
        let mut generation = self.engine.generate(request).map_err(|error| failed(error.to_string()))?;
        let mut wanted = self.wanted.clone();
        let mut text = String::new();
        loop {
            // Nothing is ever sent: `changed` resolves only when the sender is gone.
            let event = tokio::select! {
                event = generation.next() => event,
                _ = wanted.changed() => return Err(failed("the client has gone".into())),
            };
            match event.map(|event| event.kind) {
                Some(GenerationEventKind::Started { .. }) => {}
                Some(GenerationEventKind::Delta { text: more, .. }) => text.push_str(&more),
                Some(GenerationEventKind::Finished { usage, .. }) => {
                    self.usage.lock().unwrap_or_else(PoisonError::into_inner).add(&usage, true);
                    return Ok(text);
                }
                Some(GenerationEventKind::Failed { error }) => return Err(failed(error.to_string())),
                None => return Err(failed("the engine stopped".into())),
            }
        }
    }
}

impl Generator for EngineGenerator {
    fn max_passages(&self) -> Option<usize> {
        self.engine.model().answer_passages
    }

    fn copies(&self) -> bool {
        self.engine.model().answers_verbatim
    }

    fn generate(&self, prompt: &AnswerPrompt) -> Result<String, GeneratorError> {
        let tokens = self.tokens(prompt)?;
        let document_tokens = self.document_tokens(prompt, &tokens)?;
        self.runtime.block_on(self.answer(tokens, document_tokens))
    }
}

//! From a checkpoint to what the engine needs: model, tokenizer, chat template.

use std::path::Path;
use std::sync::Arc;

use sconce_model::{Checkpoint, Devices, Llama};
use sconce_text::{ChatTemplate, Tokenizer};

use crate::config::EngineError;
use crate::vocabulary::TextFiles;

/// A model that is ready to run.
#[derive(Debug)]
pub struct LoadedModel {
    pub(crate) llama: Llama,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) template: Option<ChatTemplate>,
}

impl LoadedModel {
    /// Loads a GGUF file, or a folder of safetensors, onto devices. `chat_template` replaces its own; `max_model_len` is that of
    /// the engine's configuration, since some models rotate differently for long contexts.
    ///
    /// # Errors
    /// [`EngineError`] naming the file's key or tensor that is wrong. One token is computed, so that weights which are NaN or
    /// infinite are found before anybody asks.
    pub fn open(
        path: &Path,
        chat_template: Option<&str>,
        devices: &Devices,
        max_model_len: Option<usize>,
    ) -> Result<Self, EngineError> {
        Self::of(&Checkpoint::open(path)?, chat_template, devices, max_model_len)
    }

    /// Loads an open checkpoint, which may be one whose weights are converted while they are taken.
    ///
    /// # Errors
    /// Like [`Self::open`].
    pub fn of(
        file: &Checkpoint,
        chat_template: Option<&str>,
        devices: &Devices,
        max_model_len: Option<usize>,
    ) -> Result<Self, EngineError> {
        let files = TextFiles::of(file)?;
        let tokenizer = Tokenizer::new(files.vocabulary)?;
        let text_of = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
        let compile = |source| ChatTemplate::new(source, text_of(tokenizer.bos()), text_of(tokenizer.eos()));
        let template = chat_template.or(files.chat_template.as_deref()).map(compile).transpose()?;
        let llama = Llama::load(file, devices, max_model_len)?;
        llama.check_finite(file, tokenizer.bos().unwrap_or(0))?;
        Ok(Self { llama, tokenizer: Arc::new(tokenizer), template })
    }

    /// The tokenizer alone, without weights.
    ///
    /// # Errors
    /// [`EngineError`] naming the key of the vocabulary that is wrong.
    pub fn tokenizer_of(file: &Checkpoint) -> Result<Tokenizer, EngineError> {
        Ok(Tokenizer::new(TextFiles::of(file)?.vocabulary)?)
    }
}

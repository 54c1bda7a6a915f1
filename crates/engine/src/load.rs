//! From a checkpoint to what the engine needs: model, tokenizer, chat template.

use std::path::Path;
use std::sync::Arc;

use sconce_model::{Checkpoint, Devices, GgufError, Llama, ModelError};
use sconce_text::{ChatTemplate, Tokenizer};

use crate::config::EngineError;
use crate::vocabulary::TextFiles;

/// A model that is ready to run.
#[derive(Debug)]
pub struct LoadedModel {
    pub(crate) llama: Llama,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) template: Option<ChatTemplate>,
    pub(crate) answer_passages: Option<usize>,
    pub(crate) answers_verbatim: bool,
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
        // Text first: it is read in an instant, and weights are not.
        let (tokenizer, template) = text_of(file, chat_template)?;
        let llama = Llama::load(file, devices, max_model_len)?;
        llama.check_finite(file, tokenizer.bos().unwrap_or(0))?;
        Self::whole(llama, tokenizer, template, file)
    }

    /// Gives a model that was loaded from `file`, and whose weights were looked at, its tokenizer and template.
    ///
    /// # Errors
    /// [`EngineError`] naming the key of the vocabulary or the line of the template that is wrong.
    pub fn with_model(llama: Llama, file: &Checkpoint, chat_template: Option<&str>) -> Result<Self, EngineError> {
        let (tokenizer, template) = text_of(file, chat_template)?;
        Self::whole(llama, tokenizer, template, file)
    }

    fn whole(
        llama: Llama,
        tokenizer: Tokenizer,
        template: Option<ChatTemplate>,
        file: &Checkpoint,
    ) -> Result<Self, EngineError> {
        let answer_passages = answer_passages(file)?;
        let verbatim = file.metadata().bool_opt("sconce.answer.verbatim").map_err(ModelError::from)?;
        let answers_verbatim = verbatim.unwrap_or(false);
        Ok(Self { llama, tokenizer: Arc::new(tokenizer), template, answer_passages, answers_verbatim })
    }

    /// The tokenizer alone, without weights.
    ///
    /// # Errors
    /// [`EngineError`] naming the key of the vocabulary that is wrong.
    pub fn tokenizer_of(file: &Checkpoint) -> Result<Tokenizer, EngineError> {
        Ok(Tokenizer::new(TextFiles::of(file)?.vocabulary)?)
    }
}

/// From how many passages the model was trained to answer, a key of our own.
fn answer_passages(file: &Checkpoint) -> Result<Option<usize>, EngineError> {
    const KEY: &str = "sconce.answer.passages";
    let Some(count) = file.metadata().u32_opt(KEY).map_err(ModelError::from)? else { return Ok(None) };
    if (1..=20).contains(&count) {
        return Ok(Some(count as usize));
    }
    let (field, value, expected) = (KEY.to_owned(), count.to_string(), "between 1 and 20".to_owned());
    Err(ModelError::from(GgufError::Invalid { field, value, expected }).into())
}

/// The tokenizer, and the chat template: the one that is given, or the checkpoint's own.
fn text_of(file: &Checkpoint, chat_template: Option<&str>) -> Result<(Tokenizer, Option<ChatTemplate>), EngineError> {
    let files = TextFiles::of(file)?;
    let tokenizer = Tokenizer::new(files.vocabulary)?;
    let spelled = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
    let compile = |source| ChatTemplate::new(source, spelled(tokenizer.bos()), spelled(tokenizer.eos()));
    let template = chat_template.or(files.chat_template.as_deref()).map(compile).transpose()?;
    Ok((tokenizer, template))
}

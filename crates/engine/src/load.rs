//! From a checkpoint to what the engine needs: model, tokenizer, chat template.

use std::path::Path;
use std::sync::Arc;

use sconce_model::{Checkpoint, Devices, Llama, Metadata};
use sconce_text::{ChatTemplate, Tokenizer, VocabularyModel, VocabularySpec};

use crate::config::EngineError;

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
        let metadata = file.metadata();
        if metadata.get("tokenizer.ggml.model").is_none() && file.companion("tokenizer.json")?.is_some() {
            let message = "the keys tokenizer.ggml are missing, and a tokenizer.json beside the weights is not read; \
                           serve a GGUF file of the model, which holds its vocabulary";
            return Err(EngineError::NoTokenizer(message.into()));
        }
        let tokenizer = Tokenizer::new(vocabulary(metadata)?)?;
        let own_template = metadata.str_opt("tokenizer.chat_template").map_err(sconce_model::ModelError::from)?;
        let text_of = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
        let compile = |source| ChatTemplate::new(source, text_of(tokenizer.bos()), text_of(tokenizer.eos()));
        let template = chat_template.or(own_template).map(compile).transpose()?;
        let llama = Llama::load(file, devices, max_model_len)?;
        llama.check_finite(file, tokenizer.bos().unwrap_or(0))?;
        Ok(Self { llama, tokenizer: Arc::new(tokenizer), template })
    }

    /// The tokenizer alone, without weights.
    ///
    /// # Errors
    /// [`EngineError`] naming the key of the vocabulary that is wrong.
    pub fn tokenizer_of(file: &Checkpoint) -> Result<Tokenizer, EngineError> {
        Ok(Tokenizer::new(vocabulary(file.metadata())?)?)
    }
}

/// The vocabulary of the keys `tokenizer.ggml.*`.
fn vocabulary(metadata: &Metadata) -> Result<VocabularySpec, EngineError> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let gguf = sconce_model::ModelError::from;
    let model = match metadata.str_opt(&key("model")).map_err(gguf)? {
        Some("llama") => VocabularyModel::SentencePiece,
        Some("gpt2") => VocabularyModel::BytePairEncoding,
        Some(other) => {
            let other = sconce_model::gguf::quoted(other);
            let message = format!("tokenizer.ggml.model is {other}, but only \"llama\" and \"gpt2\" are supported");
            return Err(EngineError::NoTokenizer(message));
        }
        None => return Err(EngineError::NoTokenizer("the key tokenizer.ggml.model is missing".into())),
    };
    let tokens = metadata.str_array_opt(&key("tokens")).map_err(gguf)?;
    let tokens = tokens.ok_or_else(|| EngineError::NoTokenizer("the key tokenizer.ggml.tokens is missing".into()))?;
    let id = |name: &str| metadata.u32_opt(&key(name)).map_err(gguf);
    let flag = |name: &str| metadata.bool_opt(&key(name)).map_err(gguf);
    Ok(VocabularySpec {
        model,
        pre_tokenizer: metadata.str_opt(&key("pre")).map_err(gguf)?.map(str::to_owned),
        tokens: tokens.to_vec(),
        scores: metadata.f32_array_opt(&key("scores")).map_err(gguf)?.unwrap_or_default().to_vec(),
        token_types: metadata.i32_array_opt(&key("token_type")).map_err(gguf)?.unwrap_or_default(),
        merges: metadata.str_array_opt(&key("merges")).map_err(gguf)?.unwrap_or_default().to_vec(),
        bos: id("bos_token_id")?,
        eos: id("eos_token_id")?,
        eot: id("eot_token_id")?,
        unknown: id("unknown_token_id")?,
        add_bos: flag("add_bos_token")?,
        add_eos: flag("add_eos_token")?,
        add_space_prefix: flag("add_space_prefix")?,
    })
}

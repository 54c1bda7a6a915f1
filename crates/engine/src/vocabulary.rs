//! Where a checkpoint's vocabulary and chat template stand: in GGUF's keys `tokenizer.*`, or in the files beside a folder's
//! weights. And the way back, into the keys of a file that is written.

use sconce_model::gguf::write::WriteValue;
use sconce_model::{Checkpoint, Metadata, ModelError};
use sconce_text::{HuggingFaceTokenizer, SpacePrefix, Strip, VocabularyModel, VocabularySpec};

use crate::config::EngineError;

/// A checkpoint's vocabulary and the chat template that it brings along.
pub(crate) struct TextFiles {
    pub(crate) vocabulary: VocabularySpec,
    pub(crate) chat_template: Option<String>,
}

impl TextFiles {
    /// Reads them from wherever they stand.
    pub(crate) fn of(checkpoint: &Checkpoint) -> Result<Self, EngineError> {
        let metadata = checkpoint.metadata();
        if metadata.get("tokenizer.ggml.model").is_none()
            && let Some(tokenizer) = checkpoint.companion("tokenizer.json")?
        {
            return Self::of_folder(checkpoint, &tokenizer);
        }
        let chat_template = metadata.str_opt("tokenizer.chat_template").map_err(ModelError::from)?;
        Ok(Self { vocabulary: of_keys(metadata)?, chat_template: chat_template.map(str::to_owned) })
    }

    fn of_folder(checkpoint: &Checkpoint, tokenizer: &[u8]) -> Result<Self, EngineError> {
        let config = checkpoint.companion("tokenizer_config.json")?;
        let HuggingFaceTokenizer { vocabulary, chat_template } =
            HuggingFaceTokenizer::read(tokenizer, config.as_deref())?;
        // A template in a file of its own is the newer one.
        let own = checkpoint.companion("chat_template.jinja")?;
        let own = own.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Self { vocabulary, chat_template: own.or(chat_template) })
    }
}

/// The keys that a GGUF file made of a folder needs besides those of its checkpoint; none where the checkpoint has them.
///
/// # Errors
/// [`EngineError`] names the file and field that cannot be read, or says that there is no vocabulary.
pub fn vocabulary_keys(checkpoint: &Checkpoint) -> Result<Vec<(String, WriteValue)>, EngineError> {
    if checkpoint.metadata().get("tokenizer.ggml.model").is_some() {
        return Ok(Vec::new());
    }
    let TextFiles { vocabulary, chat_template } = TextFiles::of(checkpoint)?;
    let mut keys = Vec::new();
    let mut put = |name: &str, value: WriteValue| keys.push((format!("tokenizer.{name}"), value));
    let model = match vocabulary.model {
        VocabularyModel::SentencePiece => "llama",
        VocabularyModel::BytePairEncoding => "gpt2",
    };
    put("ggml.model", WriteValue::Text(model.to_owned()));
    put("ggml.pre", WriteValue::Text(vocabulary.pre_tokenizer.unwrap_or_else(|| "default".to_owned())));
    put("ggml.tokens", WriteValue::TextArray(vocabulary.tokens));
    put("ggml.token_type", WriteValue::I32Array(vocabulary.token_types));
    if vocabulary.model == VocabularyModel::SentencePiece {
        put("ggml.scores", WriteValue::F32Array(vocabulary.scores));
    } else {
        put("ggml.merges", WriteValue::TextArray(vocabulary.merges));
    }
    let ids =
        [("bos", vocabulary.bos), ("eos", vocabulary.eos), ("eot", vocabulary.eot), ("unknown", vocabulary.unknown)];
    for (name, id) in ids {
        if let Some(id) = id {
            put(&format!("ggml.{name}_token_id"), WriteValue::U32(id));
        }
    }
    let flags = [
        ("add_bos_token", vocabulary.add_bos),
        ("add_eos_token", vocabulary.add_eos),
        ("add_space_prefix", vocabulary.space_prefix.map(|prefix| prefix != SpacePrefix::Never)),
    ];
    for (name, flag) in flags {
        if let Some(flag) = flag {
            put(&format!("ggml.{name}"), WriteValue::Bool(flag));
        }
    }
    if let Some(template) = chat_template {
        put("chat_template", WriteValue::Text(template));
    }
    Ok(keys)
}

/// The vocabulary of the keys `tokenizer.ggml.*`.
fn of_keys(metadata: &Metadata) -> Result<VocabularySpec, EngineError> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let gguf = ModelError::from;
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
        space_prefix: flag("add_space_prefix")?.map(|add| if add { SpacePrefix::Every } else { SpacePrefix::Never }),
        ignore_merges: None,
        nfc: None,
        strips: strips_of_keys(metadata, model)?,
    })
}

/// Phi 3's special tokens take the white space behind them along, all but three; its files have no key that says so.
fn strips_of_keys(metadata: &Metadata, model: VocabularyModel) -> Result<Vec<Strip>, EngineError> {
    let architecture = metadata.str_opt("general.architecture").map_err(ModelError::from)?;
    if architecture != Some("phi3") || model != VocabularyModel::SentencePiece {
        return Ok(Vec::new());
    }
    let tokens = metadata.str_array_opt("tokenizer.ggml.tokens").map_err(ModelError::from)?;
    let kinds = metadata.i32_array_opt("tokenizer.ggml.token_type").map_err(ModelError::from)?.unwrap_or_default();
    let special = |kind: i32| matches!(kind, 2..=4);
    let named = (0..).zip(tokens.into_iter().flat_map(|tokens| tokens.iter())).zip(kinds);
    let strips = named.filter(|((_, text), kind)| special(*kind) && !["<unk>", "<s>", "<|endoftext|>"].contains(text));
    Ok(strips.map(|((id, _), _)| Strip { id, left: false, right: true }).collect())
}

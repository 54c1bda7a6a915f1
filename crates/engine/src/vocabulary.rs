//! Where a checkpoint's vocabulary and chat template stand: in GGUF's keys `tokenizer.*`, or in the files beside a folder's
//! weights. And the way back, into the keys of a file that is written.

use sconce_model::gguf::write::WriteValue;
use sconce_model::{Checkpoint, Metadata, ModelError};
use sconce_text::{HuggingFaceTokenizer, SpacePrefix, Strip, VocabularyModel, VocabularySpec};

use crate::config::EngineError;

/// What GGUF has no keys for stands behind `tokenizer.` under these names: written by us, read by nobody else.
const SPACE_PREFIX: &str = "sconce.space_prefix";
const STRIPS: &str = "sconce.strips";
const IGNORE_MERGES: &str = "sconce.ignore_merges";
const NFC: &str = "sconce.nfc";
const PREFIXES: [(&str, SpacePrefix); 4] = [
    ("every", SpacePrefix::Every),
    ("first", SpacePrefix::First),
    ("missing", SpacePrefix::Missing),
    ("never", SpacePrefix::Never),
];
/// GGUF's type of a token that nothing means.
const UNUSED: i32 = 5;

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
        let HuggingFaceTokenizer { mut vocabulary, chat_template } =
            HuggingFaceTokenizer::read(tokenizer, config.as_deref())?;
        if let Some(table) = checkpoint.tensor_info("token_embd.weight") {
            fit(&mut vocabulary, table.dimensions.get(1).copied().unwrap_or(1));
        }
        // A template in a file of its own is the newer one; some repositories have it as text, some as JSON.
        let own = checkpoint.companion("chat_template.jinja")?;
        let own = own.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let as_json = checkpoint.companion("chat_template.json")?;
        let as_json = as_json.map(|bytes| HuggingFaceTokenizer::template_of(&bytes)).transpose()?;
        Ok(Self { vocabulary, chat_template: own.or(as_json.flatten()).or(chat_template) })
    }
}

/// Gives the vocabulary as many tokens as the embedding has rows: tables are padded, and some tokenizers have a token more that no
/// model was trained with.
fn fit(vocabulary: &mut VocabularySpec, rows: usize) {
    if vocabulary.tokens.len() > rows {
        tracing::warn!(
            tokens = vocabulary.tokens.len(),
            rows,
            "the embedding has no rows for the last tokens; they are left out"
        );
    }
    vocabulary.tokens.truncate(rows);
    let next = vocabulary.tokens.len();
    vocabulary.tokens.extend((next..rows).map(|id| format!("[PAD{id}]")));
    vocabulary.token_types.resize(rows, UNUSED);
    if vocabulary.model == VocabularyModel::SentencePiece {
        vocabulary.scores.resize(rows, f32::MIN);
    }
    vocabulary.strips.retain(|strip| (strip.id as usize) < rows);
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
    // What GGUF has no keys for, in keys of our own.
    if let Some(prefix) = vocabulary.space_prefix {
        let (name, _) = PREFIXES.into_iter().find(|(_, known)| *known == prefix).unwrap_or(PREFIXES[0]);
        put(SPACE_PREFIX, WriteValue::Text(name.to_owned()));
    }
    if !vocabulary.strips.is_empty() {
        let sides = |strip: &Strip| i32::from(strip.left) + 2 * i32::from(strip.right);
        put(
            STRIPS,
            WriteValue::I32Array(
                vocabulary.strips.iter().flat_map(|strip| [strip.id.cast_signed(), sides(strip)]).collect(),
            ),
        );
    }
    let flags = [
        ("ggml.add_bos_token", vocabulary.add_bos),
        ("ggml.add_eos_token", vocabulary.add_eos),
        ("ggml.add_space_prefix", vocabulary.space_prefix.map(|prefix| prefix != SpacePrefix::Never)),
        (IGNORE_MERGES, vocabulary.ignore_merges),
        (NFC, vocabulary.nfc),
    ];
    for (name, flag) in flags {
        if let Some(flag) = flag {
            put(name, WriteValue::Bool(flag));
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
        None => {
            let missing = "the key tokenizer.ggml.model is missing (of a folder: the file tokenizer.json)";
            return Err(EngineError::NoTokenizer(missing.into()));
        }
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
        space_prefix: match space_prefix_of_keys(metadata)? {
            Some(prefix) => Some(prefix),
            None => flag("add_space_prefix")?.map(|add| if add { SpacePrefix::Every } else { SpacePrefix::Never }),
        },
        ignore_merges: metadata.bool_opt(&own_key(IGNORE_MERGES)).map_err(gguf)?,
        nfc: metadata.bool_opt(&own_key(NFC)).map_err(gguf)?,
        strips: strips_of_keys(metadata, model)?,
    })
}

fn own_key(name: &str) -> String {
    format!("tokenizer.{name}")
}

fn space_prefix_of_keys(metadata: &Metadata) -> Result<Option<SpacePrefix>, EngineError> {
    let key = own_key(SPACE_PREFIX);
    let Some(name) = metadata.str_opt(&key).map_err(ModelError::from)? else { return Ok(None) };
    let found = PREFIXES.into_iter().find(|(known, _)| *known == name);
    let (_, prefix) = found.ok_or_else(|| EngineError::NoTokenizer(format!("{key} is none that is known")))?;
    Ok(Some(prefix))
}

/// Those of our own key. Without it, Phi 3's special tokens take the white space behind them along, all but three: its files have
/// no key that says so.
fn strips_of_keys(metadata: &Metadata, model: VocabularyModel) -> Result<Vec<Strip>, EngineError> {
    let key = own_key(STRIPS);
    if let Some(pairs) = metadata.i32_array_opt(&key).map_err(ModelError::from)? {
        let strip = |pair: &[i32]| match *pair {
            [id, sides @ 0..=3] if id >= 0 => {
                Ok(Strip { id: id.cast_unsigned(), left: sides & 1 != 0, right: sides & 2 != 0 })
            }
            _ => Err(EngineError::NoTokenizer(format!("{key} is no list of ids, each with 0 to 3"))),
        };
        return pairs.chunks(2).map(strip).collect();
    }
    let architecture = metadata.str_opt("general.architecture").map_err(ModelError::from)?;
    if architecture != Some("phi3") || model != VocabularyModel::SentencePiece {
        return Ok(Vec::new());
    }
    let tokens = metadata.str_array_opt("tokenizer.ggml.tokens").map_err(ModelError::from)?;
    let kinds = metadata.i32_array_opt("tokenizer.ggml.token_type").map_err(ModelError::from)?.unwrap_or_default();
    // Unknown, control and user-defined.
    let special = |kind: i32| matches!(kind, 2..=4);
    let named = (0..).zip(tokens.into_iter().flat_map(|tokens| tokens.iter())).zip(kinds);
    let strips = named.filter(|((_, text), kind)| special(*kind) && !["<unk>", "<s>", "<|endoftext|>"].contains(text));
    Ok(strips.map(|((id, _), _)| Strip { id, left: false, right: true }).collect())
}

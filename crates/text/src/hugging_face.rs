//! A vocabulary from `tokenizer.json` and `tokenizer_config.json`, as transformers saves them, in the words of GGUF's keys.
//! Only what the two tokenizers here can do is accepted: a file that asks for more is refused by the field that asks.

use serde_json::Value;

use crate::vocabulary::{SpacePrefix, Strip, TokenizerError, VocabularyModel, VocabularySpec, byte_of};

/// Ids that a vocabulary may have. The largest published ones stay below a third of a million.
const TOKENS_LIMIT: u64 = 1 << 22;

/// The patterns of the families, as their files spell them, with the name of each in GGUF.
const PATTERNS: [(&str, &str); 4] = [
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "llama-bpe",
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "qwen2",
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "tekken",
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "gpt-4o",
    ),
];

/// How a space is written in a token.
const SPACE: &str = "\u{2581}";

/// What a folder's tokenizer files say.
#[derive(Debug, Clone)]
pub struct HuggingFaceTokenizer {
    /// The vocabulary.
    pub vocabulary: VocabularySpec,
    /// The chat template that `tokenizer_config.json` holds; of several, the one named `default`.
    pub chat_template: Option<String>,
}

impl HuggingFaceTokenizer {
    /// Reads the two files; the second may be missing.
    ///
    /// # Errors
    /// [`TokenizerError::File`] names the file and the field that is missing, wrong or not supported.
    pub fn read(tokenizer: &[u8], config: Option<&[u8]>) -> Result<Self, TokenizerError> {
        let tokenizer = Source { file: "tokenizer.json", json: parse("tokenizer.json", tokenizer)? };
        let config = match config {
            Some(bytes) => parse("tokenizer_config.json", bytes)?,
            None => Value::Null,
        };
        let vocabulary = tokenizer.vocabulary(&config)?;
        Ok(Self { vocabulary, chat_template: template_in(&config) })
    }

    /// The template of `chat_template.json`, where some repositories keep it.
    ///
    /// # Errors
    /// [`TokenizerError::File`] when it is no JSON.
    pub fn template_of(chat_template: &[u8]) -> Result<Option<String>, TokenizerError> {
        Ok(template_in(&parse("chat_template.json", chat_template)?))
    }
}

/// The field `chat_template`: a text, or several by name.
fn template_in(json: &Value) -> Option<String> {
    match &json["chat_template"] {
        Value::String(template) => Some(template.clone()),
        Value::Array(named) => {
            let default = named.iter().find(|entry| entry["name"] == "default");
            default.and_then(|entry| entry["template"].as_str()).map(str::to_owned)
        }
        _ => None,
    }
}

fn parse(file: &'static str, bytes: &[u8]) -> Result<Value, TokenizerError> {
    serde_json::from_slice(bytes).map_err(|error| TokenizerError::File {
        file,
        field: "JSON".to_owned(),
        problem: error.to_string(),
    })
}

/// `tokenizer.json`.
struct Source {
    file: &'static str,
    json: Value,
}

/// Tokens by id, while they are gathered.
struct Tokens {
    texts: Vec<Option<String>>,
    types: Vec<i32>,
    strips: Vec<Strip>,
}

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

impl Tokens {
    fn put(&mut self, id: usize, text: &str, kind: i32) {
        if id >= self.texts.len() {
            self.texts.resize(id + 1, None);
            self.types.resize(id + 1, UNUSED);
        }
        self.texts[id] = Some(text.to_owned());
        self.types[id] = kind;
    }

    fn id_of(&self, text: Option<&str>) -> Option<u32> {
        let text = text?;
        self.texts.iter().position(|token| token.as_deref() == Some(text)).map(|id| id as u32)
    }
}

impl Source {
    fn refuse<T>(&self, field: &str, problem: impl Into<String>) -> Result<T, TokenizerError> {
        Err(TokenizerError::File { file: self.file, field: field.to_owned(), problem: problem.into() })
    }

    fn vocabulary(&self, config: &Value) -> Result<VocabularySpec, TokenizerError> {
        let model = &self.json["model"];
        // Files of early versions leave the type out.
        if !matches!(model["type"].as_str(), Some("BPE") | None) {
            return self.refuse("model.type", format!("{} is not supported, only \"BPE\" is", quoted(&model["type"])));
        }
        let sentence_piece = model["byte_fallback"] == true;
        let tokens = self.tokens(sentence_piece)?;
        let merges = self.merges()?;
        let text_of = |name: &str| {
            let value = &config[name];
            value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned)
        };
        let (bos, eos) = (text_of("bos_token"), text_of("eos_token"));
        let unknown = model["unk_token"].as_str();
        let adds_bos = config["add_bos_token"].as_bool().unwrap_or_else(|| self.template_adds(bos.as_deref()));
        let (scores, pre_tokenizer, merges) = if sentence_piece {
            (scores(&tokens, &merges), None, Vec::new())
        } else {
            (Vec::new(), Some(self.pre_tokenizer()?), merges)
        };
        Ok(VocabularySpec {
            model: if sentence_piece { VocabularyModel::SentencePiece } else { VocabularyModel::BytePairEncoding },
            pre_tokenizer,
            scores,
            merges: merges.iter().map(|(left, right)| format!("{left} {right}")).collect(),
            bos: tokens.id_of(bos.as_deref()),
            eos: tokens.id_of(eos.as_deref()),
            eot: None,
            unknown: tokens.id_of(unknown),
            add_bos: Some(adds_bos && tokens.id_of(bos.as_deref()).is_some()),
            add_eos: config["add_eos_token"].as_bool(),
            space_prefix: if sentence_piece { Some(self.space_prefix(&tokens)?) } else { None },
            ignore_merges: model["ignore_merges"].as_bool(),
            nfc: if sentence_piece { None } else { Some(self.composes()?) },
            strips: tokens.strips,
            token_types: tokens.types.clone(),
            // Ids that no token has are filled, so that the others keep theirs.
            tokens: (0..).zip(tokens.texts).map(|(id, text)| text.unwrap_or_else(|| format!("[PAD{id}]"))).collect(),
        })
    }

    /// Every token: the model's, then the added ones, which say what they are for.
    fn tokens(&self, sentence_piece: bool) -> Result<Tokens, TokenizerError> {
        let mut tokens = Tokens { texts: Vec::new(), types: Vec::new(), strips: Vec::new() };
        let Some(vocabulary) = self.json["model"]["vocab"].as_object() else {
            return self.refuse("model.vocab", "must be an object from tokens to ids");
        };
        let unknown = self.json["model"]["unk_token"].as_str();
        for (text, id) in vocabulary {
            let Some(id) = id.as_u64().filter(|id| *id < TOKENS_LIMIT) else {
                return self
                    .refuse("model.vocab", format!("the id of {} is no number below {TOKENS_LIMIT}", quoted(text)));
            };
            let kind = match text.as_str() {
                text if unknown == Some(text) => UNKNOWN,
                text if sentence_piece && byte_of(text).is_some() => BYTE,
                _ => NORMAL,
            };
            tokens.put(id as usize, text, kind);
        }
        for (index, added) in self.json["added_tokens"].as_array().into_iter().flatten().enumerate() {
            let id = added["id"].as_u64().filter(|id| *id < TOKENS_LIMIT);
            let (Some(id), Some(text)) = (id, added["content"].as_str()) else {
                return self.refuse(&format!("added_tokens[{index}]"), "must have an id and a content");
            };
            let kind = match added["special"] == true {
                true if unknown == Some(text) => UNKNOWN,
                true => CONTROL,
                false => USER_DEFINED,
            };
            tokens.put(id as usize, text, kind);
            let (left, right) = (added["lstrip"] == true, added["rstrip"] == true);
            if left || right {
                tokens.strips.push(Strip { id: id as u32, left, right });
            }
        }
        Ok(tokens)
    }

    /// The merges, each a text with a space or a pair.
    fn merges(&self) -> Result<Vec<(String, String)>, TokenizerError> {
        let Some(entries) = self.json["model"]["merges"].as_array() else {
            return self.refuse("model.merges", "must be an array");
        };
        let mut merges = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let pair = match entry {
                Value::String(text) => text.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned())),
                Value::Array(pair) => match pair.as_slice() {
                    [Value::String(left), Value::String(right)] => Some((left.clone(), right.clone())),
                    _ => None,
                },
                _ => None,
            };
            match pair {
                Some(pair) => merges.push(pair),
                None => return self.refuse(&format!("model.merges[{index}]"), "must be two tokens"),
            }
        }
        Ok(merges)
    }

    /// The GGUF name of the family that splits a text so.
    fn pre_tokenizer(&self) -> Result<String, TokenizerError> {
        let steps = sequence(&self.json["pre_tokenizer"], "pretokenizers");
        let (mut name, mut digits, mut levels) = (None, false, 0);
        for step in &steps {
            match step["type"].as_str() {
                Some("ByteLevel") if step["add_prefix_space"] == true => {
                    return self.refuse("pre_tokenizer", "ByteLevel: add_prefix_space is not supported");
                }
                // What is left is one split by a pattern, or by bytes' own; digits go before the latter alone.
                Some("ByteLevel") if step["use_regex"] == false && name.is_some() => levels += 1,
                Some("ByteLevel") if step["use_regex"] != false && name.is_none() => {
                    levels += 1;
                    name = Some(if digits { "smollm" } else { "gpt-2" });
                }
                Some("Digits") if step["individual_digits"] == true && name.is_none() && !digits => digits = true,
                Some("Split")
                    if name.is_none() && !digits && step["behavior"] == "Isolated" && step["invert"] != true =>
                {
                    let pattern = step["pattern"]["Regex"].as_str().unwrap_or_default();
                    match PATTERNS.iter().find(|(known, _)| *known == pattern) {
                        Some((_, known)) => name = Some(known),
                        None => return self.refuse("pre_tokenizer", format!("no family splits by {}", quoted(step))),
                    }
                }
                _ => return self.refuse("pre_tokenizer", format!("{} is not supported", quoted(step))),
            }
        }
        match name.filter(|_| levels == 1) {
            // Where merges come first, the same pattern has another name.
            Some("llama-bpe") if self.json["model"]["ignore_merges"] != true => Ok("dbrx".to_owned()),
            Some(name) => Ok(name.to_owned()),
            None => self.refuse("pre_tokenizer", "byte-level BPE needs one, with one ByteLevel in it"),
        }
    }

    /// Whether byte-level text is composed first: of all normalizers only NFC is known.
    fn composes(&self) -> Result<bool, TokenizerError> {
        let steps = sequence(&self.json["normalizer"], "normalizers");
        match steps.iter().find(|step| step["type"] != "NFC") {
            Some(step) => self.refuse("normalizer", format!("{} is not supported", quoted(step))),
            None => Ok(!steps.is_empty()),
        }
    }

    /// Which stretches of text get a space in front: a normalizer or a pre-tokenizer says it.
    fn space_prefix(&self, tokens: &Tokens) -> Result<SpacePrefix, TokenizerError> {
        let mut prefix = SpacePrefix::Never;
        for step in sequence(&self.json["normalizer"], "normalizers") {
            match step["type"].as_str() {
                Some("Prepend") if step["prepend"] == SPACE => prefix = SpacePrefix::Every,
                Some("Replace") if step["pattern"]["String"] == " " && step["content"] == SPACE => {}
                _ => return self.refuse("normalizer", format!("{} is not supported", quoted(step))),
            }
        }
        for step in sequence(&self.json["pre_tokenizer"], "pretokenizers") {
            let scheme = step["prepend_scheme"].as_str();
            match (step["type"].as_str(), scheme) {
                (Some("Metaspace"), Some("first")) => prefix = SpacePrefix::First,
                (Some("Metaspace"), Some("never")) => {}
                (Some("Metaspace"), None) if step["add_prefix_space"] == false => {}
                (Some("Metaspace"), Some("always") | None) => prefix = SpacePrefix::Missing,
                _ => return self.refuse("pre_tokenizer", format!("{} is not supported", quoted(step))),
            }
            // Split at spaces, words cannot join; that makes no difference where no token goes on behind a space.
            let goes_on = |text: &String| text.char_indices().skip(1).any(|(at, _)| text[at..].starts_with(SPACE));
            if step["split"] != false && tokens.texts.iter().flatten().any(goes_on) {
                return self
                    .refuse("pre_tokenizer", "Metaspace: split is not supported, since tokens hold several words");
            }
        }
        Ok(prefix)
    }

    /// Whether the template of a single text begins with BOS; without a template nothing is added.
    fn template_adds(&self, bos: Option<&str>) -> bool {
        let steps = sequence(&self.json["post_processor"], "processors");
        let template = steps.into_iter().find(|step| step["type"] == "TemplateProcessing");
        let first = template.and_then(|template| template["single"][0]["SpecialToken"]["id"].as_str());
        first.is_some() && first == bos
    }
}

/// The steps of a part that is one step or a sequence of them.
fn sequence<'a>(part: &'a Value, inner: &str) -> Vec<&'a Value> {
    match part {
        Value::Null => Vec::new(),
        part if part["type"] == "Sequence" => part[inner].as_array().into_iter().flatten().collect(),
        part => vec![part],
    }
}

/// Scores that order joins as the merges do: the earlier merge of a token is the better one.
fn scores(tokens: &Tokens, merges: &[(String, String)]) -> Vec<f32> {
    let mut ranks = rustc_hash::FxHashMap::default();
    for (rank, (left, right)) in merges.iter().enumerate() {
        ranks.entry(format!("{left}{right}")).or_insert(rank);
    }
    let score = |text: &Option<String>| {
        let rank = text.as_ref().and_then(|text| ranks.get(text)).copied().unwrap_or(merges.len());
        -(rank as f32)
    };
    tokens.texts.iter().map(score).collect()
}

/// A line's worth of what a file says.
fn quoted(value: impl std::fmt::Display) -> String {
    value.to_string().chars().take(200).collect()
}

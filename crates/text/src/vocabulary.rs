//! The vocabulary as it arrives, its checks, and the bytes that each token stands for. No encoding here.

use crate::byte_alphabet;

/// How a vocabulary's text is cut into tokens; `tokenizer.ggml.model` in a GGUF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VocabularyModel {
    /// Score-ordered merges over characters with a byte fallback (`llama`).
    SentencePiece,
    /// Byte-level BPE with ranked merges (`gpt2`).
    BytePairEncoding,
}

/// A vocabulary as plain data, in the units of the GGUF keys `tokenizer.ggml.*`.
#[derive(Debug, Clone)]
pub struct VocabularySpec {
    /// How text is cut.
    pub model: VocabularyModel,
    /// `tokenizer.ggml.pre`; absent means `default`. Only byte-level BPE reads it.
    pub pre_tokenizer: Option<String>,
    /// Text of each token; the index is the id.
    pub tokens: Vec<String>,
    /// One score per token (SentencePiece: higher merges first). Byte-level BPE does not read it.
    pub scores: Vec<f32>,
    /// One per token, or empty: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub token_types: Vec<i32>,
    /// Byte-level BPE: pairs `left right`, the first merges first.
    pub merges: Vec<String>,
    /// Begins a text.
    pub bos: Option<u32>,
    /// Ends a text.
    pub eos: Option<u32>,
    /// Ends a turn.
    pub eot: Option<u32>,
    /// Stands for what the vocabulary cannot say.
    pub unknown: Option<u32>,
    /// Whether a text begins with `bos`; absent means what the model and pre-tokenizer are known to want.
    pub add_bos: Option<bool>,
    /// Whether a whole text ends with `eos`. Encoding never appends it, since a prompt is continued.
    pub add_eos: Option<bool>,
    /// SentencePiece: which stretches of plain text get a leading space; absent means every one.
    pub space_prefix: Option<SpacePrefix>,
    /// Byte-level BPE: whether a word that is a token is that token, whatever the merges say; absent means what the
    /// pre-tokenizer's family does.
    pub ignore_merges: Option<bool>,
    /// Byte-level BPE: whether text is composed (Unicode's NFC) first; absent means what the pre-tokenizer's family does.
    pub nfc: Option<bool>,
    /// Special tokens that take white space around them along.
    pub strips: Vec<Strip>,
}

/// Where a leading space is put: a stretch of plain text begins the text or follows a special token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpacePrefix {
    /// Nowhere.
    Never,
    /// Before the text, where neither a special token nor a space begins it.
    First,
    /// Before every stretch that no space begins.
    Missing,
    /// Before every stretch of plain text.
    Every,
}

impl SpacePrefix {
    /// Whether a stretch gets a space.
    pub(crate) fn applies(self, stretch: &str, is_first: bool) -> bool {
        match self {
            Self::Never => false,
            Self::First => is_first && !stretch.starts_with(' '),
            Self::Missing => !stretch.starts_with(' '),
            Self::Every => true,
        }
    }
}

/// A special token that, where it is read in a text, is read together with the white space beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strip {
    /// The token.
    pub id: u32,
    /// Whether white space before it belongs to it.
    pub left: bool,
    /// Whether white space behind it belongs to it.
    pub right: bool,
}

/// Why a vocabulary cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TokenizerError {
    /// A field of a tokenizer file that is missing, wrong or not supported.
    #[error("{file}: {field}: {problem}")]
    File {
        /// Name of the file.
        file: &'static str,
        /// Path of the field in it.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No tokens at all.
    #[error("the vocabulary is empty: tokenizer.ggml.tokens has no entries")]
    Empty,
    /// More tokens than ids.
    #[error("the vocabulary has {count} tokens, more than the {limit} that can have an id")]
    TooLarge {
        /// Tokens given.
        count: usize,
        /// Tokens allowed.
        limit: usize,
    },
    /// A list that must have one entry per token has another length.
    #[error("tokenizer.ggml.{field} has {actual} entries, but there are {expected} tokens")]
    Length {
        /// Last part of the GGUF key.
        field: &'static str,
        /// Tokens in the vocabulary.
        expected: usize,
        /// Entries of the list.
        actual: usize,
    },
    /// A special id is not an id of this vocabulary.
    #[error("tokenizer.ggml.{field} is {id}, but the last token has id {last}")]
    IdOutOfRange {
        /// Last part of the GGUF key.
        field: &'static str,
        /// The id given.
        id: u32,
        /// Greatest id of the vocabulary.
        last: u32,
    },
    /// The text should begin with a token that the vocabulary does not name.
    #[error("tokenizer.ggml.add_bos_token is true, but tokenizer.ggml.bos_token_id is missing")]
    BosMissing,
    /// More special tokens, or longer ones, than are searched for in a text.
    #[error(
        "tokenizer.ggml.token_type marks {count} tokens of {bytes} bytes as special; at most {count_limit} of \
         {bytes_limit} bytes together are supported"
    )]
    SpecialTokens {
        /// Special tokens of the vocabulary.
        count: usize,
        /// Bytes of their texts together.
        bytes: usize,
        /// Tokens allowed.
        count_limit: usize,
        /// Bytes allowed.
        bytes_limit: usize,
    },
    /// A token type outside of the GGUF numbering.
    #[error("tokenizer.ggml.token_type of token {id} is {value}; known types are 0 to 6")]
    TokenType {
        /// Token concerned.
        id: u32,
        /// Value found.
        value: i32,
    },
    /// A score by which nothing can be ordered.
    #[error("tokenizer.ggml.scores of token {id} is not a finite number")]
    Score {
        /// Token concerned.
        id: u32,
    },
    /// A byte that no token and no unknown token can say.
    #[error("no token stands for the byte {byte:#04x}, and there is no unknown token to stand in")]
    ByteMissing {
        /// The byte.
        byte: u8,
    },
    /// A token marked as a byte whose text is not of the form `<0x41>`.
    #[error("token {id} is marked as a byte, but its text {text:?} is not of the form <0x41>")]
    ByteToken {
        /// Token concerned.
        id: u32,
        /// Its text.
        text: String,
    },
    /// Byte-level BPE without merges.
    #[error("tokenizer.ggml.merges is missing or empty, and a gpt2 vocabulary needs it")]
    MergesMissing,
    /// A merge that does not name two known tokens whose join is a known token.
    #[error("tokenizer.ggml.merges[{index}] is {merge:?}: {why}")]
    Merge {
        /// Position in the list.
        index: usize,
        /// The entry.
        merge: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A pre-tokenizer that is not implemented.
    #[error("tokenizer.ggml.pre is {name:?}, which is not supported; supported are {supported}")]
    PreTokenizer {
        /// Name found.
        name: String,
        /// Names that would work.
        supported: &'static str,
    },
    /// A pattern or a set of special tokens that the matching library refuses.
    #[error("the {what} cannot be compiled: {message}")]
    Matcher {
        /// What was compiled.
        what: &'static str,
        /// Why it was refused.
        message: String,
    },
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl TokenKind {
    fn from_gguf(value: i32) -> Option<Self> {
        Some(match value {
            0 | 1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }

    /// Whether ordinary text may be spelled with it. Control tokens never come out of ordinary text.
    pub(crate) fn spells_text(self) -> bool {
        matches!(self, Self::Normal | Self::UserDefined | Self::Unused)
    }
}

/// Checked tokens with their kinds and bytes.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    tokens: Vec<String>,
    kinds: Vec<TokenKind>,
    /// The bytes of token `id` are `bytes[offsets[id]..offsets[id + 1]]`.
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl Vocabulary {
    /// Checks what both models share, and works out the bytes of every token.
    pub(crate) fn new(spec: &mut VocabularySpec) -> Result<Self, TokenizerError> {
        const LIMIT: usize = i32::MAX as usize;
        let count = spec.tokens.len();
        if count == 0 {
            return Err(TokenizerError::Empty);
        }
        if count > LIMIT {
            return Err(TokenizerError::TooLarge { count, limit: LIMIT });
        }
        let length = |field, actual, may_be_empty: bool| {
            let fits = actual == count || (may_be_empty && actual == 0);
            if fits { Ok(()) } else { Err(TokenizerError::Length { field, expected: count, actual }) }
        };
        length("scores", spec.scores.len(), spec.model == VocabularyModel::BytePairEncoding)?;
        length("token_type", spec.token_types.len(), true)?;
        let last = (count - 1) as u32;
        for (field, id) in [
            ("bos_token_id", spec.bos),
            ("eos_token_id", spec.eos),
            ("eot_token_id", spec.eot),
            ("unknown_token_id", spec.unknown),
            ("strips", spec.strips.iter().map(|strip| strip.id).max()),
        ] {
            if let Some(id) = id.filter(|&id| id > last) {
                return Err(TokenizerError::IdOutOfRange { field, id, last });
            }
        }
        if spec.add_bos == Some(true) && spec.bos.is_none() {
            return Err(TokenizerError::BosMissing);
        }
        let kinds = kinds(spec)?;
        let tokens = std::mem::take(&mut spec.tokens);
        let (bytes, offsets) = token_bytes(spec.model, &tokens, &kinds)?;
        Ok(Self { tokens, kinds, bytes, offsets })
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn text(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    pub(crate) fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    pub(crate) fn bytes(&self, id: u32) -> Option<&[u8]> {
        let start = *self.offsets.get(id as usize)?;
        let end = *self.offsets.get(id as usize + 1)?;
        self.bytes.get(start..end)
    }

    /// Every token with its id, text and kind.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &str, TokenKind)> {
        self.tokens.iter().zip(&self.kinds).enumerate().map(|(id, (text, &kind))| (id as u32, text.as_str(), kind))
    }
}

fn kinds(spec: &VocabularySpec) -> Result<Vec<TokenKind>, TokenizerError> {
    if spec.token_types.is_empty() {
        // A file without types still marks its bytes by their spelling, and its special tokens by their ids.
        let mut kinds = vec![TokenKind::Normal; spec.tokens.len()];
        if spec.model == VocabularyModel::SentencePiece {
            for (kind, _) in kinds.iter_mut().zip(&spec.tokens).filter(|(_, text)| byte_of(text).is_some()) {
                *kind = TokenKind::Byte;
            }
        }
        for id in [spec.bos, spec.eos, spec.eot].into_iter().flatten() {
            kinds[id as usize] = TokenKind::Control;
        }
        if let Some(id) = spec.unknown {
            kinds[id as usize] = TokenKind::Unknown;
        }
        return Ok(kinds);
    }
    let kind = |(id, &value)| TokenKind::from_gguf(value).ok_or(TokenizerError::TokenType { id: id as u32, value });
    spec.token_types.iter().enumerate().map(kind).collect()
}

/// The byte of a token spelled `<0x41>`.
pub(crate) fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

fn token_bytes(
    model: VocabularyModel,
    tokens: &[String],
    kinds: &[TokenKind],
) -> Result<(Vec<u8>, Vec<usize>), TokenizerError> {
    let mut bytes = Vec::with_capacity(tokens.iter().map(String::len).sum());
    let mut offsets = Vec::with_capacity(tokens.len() + 1);
    offsets.push(0);
    for (id, (text, kind)) in tokens.iter().zip(kinds).enumerate() {
        match (kind, model) {
            (TokenKind::Control | TokenKind::Unknown, _) => {}
            (TokenKind::UserDefined, _) => bytes.extend_from_slice(text.as_bytes()),
            (TokenKind::Byte, _) => {
                let text = || text.chars().take(32).collect();
                let byte =
                    byte_of(&tokens[id]).ok_or_else(|| TokenizerError::ByteToken { id: id as u32, text: text() });
                bytes.push(byte?);
            }
            (_, VocabularyModel::SentencePiece) => bytes.extend_from_slice(text.replace('\u{2581}', " ").as_bytes()),
            (_, VocabularyModel::BytePairEncoding) => byte_alphabet::decode(text, &mut bytes),
        }
        offsets.push(bytes.len());
    }
    Ok((bytes, offsets))
}

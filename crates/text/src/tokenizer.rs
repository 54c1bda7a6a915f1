//! The tokenizer that everyone holds: special tokens cut out, the rest given to the vocabulary's model, ids to bytes.
//! Streaming output lives in `detokenizer`.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use rustc_hash::FxHashMap;

use crate::byte_pair::BytePair;
use crate::merge::Merger;
use crate::pre_tokenizer::PreTokenizer;
use crate::sentencepiece::SentencePiece;
use crate::vocabulary::{SpacePrefix, Strip, TokenKind, TokenizerError, Vocabulary, VocabularyModel, VocabularySpec};

/// Most special tokens of a vocabulary; the largest published ones have some thousands.
const SPECIAL_TOKENS_LIMIT: usize = 65_536;
/// Most bytes of the special tokens' texts together. What searches for them is a multiple of it.
const SPECIAL_BYTES_LIMIT: usize = 1 << 20;

/// Texts of tokens that end a turn in one family or another, besides the ids that the file names.
const END_TEXTS: [&str; 8] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "<|return|>",
];

/// Breaks up a spelling without being seen: zero-width space.
const BREAK: char = '\u{200B}';

/// How special tokens take part in an encoding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Special {
    /// Begin with BOS if the vocabulary wants it. It is never doubled: a text that, parsed, begins with BOS gets none.
    pub add_bos: bool,
    /// Read the text of control tokens as those tokens, wherever in the text it stands: who wrote which part of it is
    /// not known here. Rendered templates need it, so what users wrote goes through [`Tokenizer::disarm`] before it is rendered.
    /// User-defined tokens are part of ordinary text and are always read.
    pub parse_special: bool,
}

/// Text to ids and back, immutable once built: share it in an `Arc`.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    model: Model,
    bos: Option<u32>,
    eos: Option<u32>,
    adds_bos: bool,
    adds_eos: bool,
    end_of_generation: Vec<u32>,
    /// User-defined tokens, read in any text.
    ordinary: SpecialTokens,
    /// Those and the control tokens, read when asked.
    special: SpecialTokens,
}

#[derive(Debug)]
enum Model {
    SentencePiece { model: SentencePiece, space_prefix: SpacePrefix },
    BytePair(BytePair),
}

impl Tokenizer {
    /// Checks the vocabulary and builds its tables.
    ///
    /// # Errors
    /// [`TokenizerError`] names the GGUF key that is wrong.
    pub fn new(mut spec: VocabularySpec) -> Result<Self, TokenizerError> {
        let vocabulary = Vocabulary::new(&mut spec)?;
        let (model, bos_by_default) = match spec.model {
            VocabularyModel::SentencePiece => {
                let model = SentencePiece::new(&vocabulary, &spec.scores, spec.unknown)?;
                let space_prefix = spec.space_prefix.unwrap_or(SpacePrefix::Every);
                (Model::SentencePiece { model, space_prefix }, true)
            }
            VocabularyModel::BytePairEncoding => {
                let mut pre_tokenizer = PreTokenizer::new(spec.pre_tokenizer.as_deref())?;
                pre_tokenizer.whole_words_first = spec.ignore_merges.unwrap_or(pre_tokenizer.whole_words_first);
                pre_tokenizer.composes = spec.nfc.unwrap_or(pre_tokenizer.composes);
                let model = BytePair::new(&vocabulary, pre_tokenizer, &spec)?;
                let adds_bos = model.adds_bos();
                (Model::BytePair(model), adds_bos)
            }
        };
        let strips = &spec.strips;
        let ordinary = SpecialTokens::new(&vocabulary, strips, |kind| kind == TokenKind::UserDefined)?;
        let special = SpecialTokens::new(&vocabulary, strips, |kind| {
            matches!(kind, TokenKind::UserDefined | TokenKind::Control | TokenKind::Unknown)
        })?;
        Ok(Self {
            end_of_generation: end_of_generation(&vocabulary, &spec),
            adds_bos: spec.add_bos.unwrap_or(bos_by_default) && spec.bos.is_some(),
            adds_eos: spec.add_eos.unwrap_or(false),
            bos: spec.bos,
            eos: spec.eos,
            vocabulary,
            model,
            ordinary,
            special,
        })
    }

    /// The text with every control token's spelling broken up by zero-width spaces, so that [`Special::parse_special`]
    /// reads none of it as such. For what users and documents wrote, before a template puts its own marks around it.
    /// User-defined tokens are ordinary text and stay, but for those that end a turn.
    pub fn disarm<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut disarmed = String::new();
        let mut position = 0;
        for Found { start, end, id, .. } in self.special.find(text) {
            let ordinary = self.vocabulary.kind(id) == Some(TokenKind::UserDefined);
            if ordinary && !self.end_of_generation.contains(&id) {
                continue;
            }
            disarmed.push_str(&text[position..start]);
            position = end;
            let spelled = &text[start..end];
            if spelled.contains(BREAK) || spelled.chars().nth(1).is_none() {
                // Such a spelling cannot be broken up.
                disarmed.push(char::REPLACEMENT_CHARACTER);
                continue;
            }
            // Behind every character, so that none that begins in the midst of this one is left either.
            for character in spelled.chars() {
                disarmed.extend([character, BREAK]);
            }
        }
        if position == 0 {
            return Cow::Borrowed(text);
        }
        disarmed.push_str(&text[position..]);
        Cow::Owned(disarmed)
    }

    /// The ids of a text. Time is close to linear in the text.
    pub fn encode(&self, text: &str, special: Special) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 4);
        let begun = self.bos.filter(|_| special.add_bos && self.adds_bos);
        ids.extend(begun);
        let mut merger = Merger::default();
        let tokens = if special.parse_special { &self.special } else { &self.ordinary };
        let mut position = 0;
        for Found { start, end, id, strips } in tokens.find(text) {
            let (start, end) = strips.widen(text, position, start, end);
            if start > position {
                self.encode_plain(&text[position..start], position == 0, &mut merger, &mut ids);
            }
            if !(start == 0 && begun == Some(id)) {
                ids.push(id);
            }
            position = end.max(position);
        }
        if position < text.len() {
            self.encode_plain(&text[position..], position == 0, &mut merger, &mut ids);
        }
        ids
    }

    /// A stretch of plain text, which begins the whole text or follows a special token.
    fn encode_plain(&self, text: &str, is_first: bool, merger: &mut Merger, ids: &mut Vec<u32>) {
        match &self.model {
            Model::SentencePiece { model, space_prefix } => {
                let mut escaped = String::with_capacity(text.len() + text.len() / 4 + 3);
                if space_prefix.applies(text, is_first) {
                    escaped.push('\u{2581}');
                }
                escaped.extend(text.chars().map(|character| if character == ' ' { '\u{2581}' } else { character }));
                model.encode(&escaped, merger, ids);
            }
            Model::BytePair(model) => model.encode(text, merger, ids),
        }
    }

    /// The bytes that a token adds to a text: none for control tokens, `None` for an id that does not exist.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.vocabulary.bytes(id)
    }

    /// The text of a token as the vocabulary spells it.
    pub fn token_text(&self, id: u32) -> Option<&str> {
        self.vocabulary.text(id)
    }

    /// The text of a whole sequence: the leading space that encoding put there is taken off. Bytes that are not UTF-8
    /// become U+FFFD; ids that do not exist add nothing.
    pub fn decode(&self, ids: &[u32]) -> String {
        let text = self.decode_continuation(ids);
        match &self.model {
            Model::SentencePiece { space_prefix, .. } if *space_prefix != SpacePrefix::Never => {
                match text.strip_prefix(' ') {
                    Some(rest) => rest.to_owned(),
                    None => text,
                }
            }
            _ => text,
        }
    }

    /// The text that ids add to a prompt: as [`Self::decode`], but the first token keeps its space. This is what a
    /// [`Detokenizer`](crate::Detokenizer) emits in pieces.
    pub fn decode_continuation(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().filter_map(|&id| self.token_bytes(id)).flatten().copied().collect();
        match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }

    /// Tokens in the vocabulary; ids are below it.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The ids that end an answer, ascending.
    pub fn end_of_generation(&self) -> &[u32] {
        &self.end_of_generation
    }

    /// Begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether the vocabulary wants EOS after a whole text (encoders do). [`Self::encode`] leaves that to the caller.
    pub fn appends_eos(&self) -> bool {
        self.adds_eos
    }
}

fn end_of_generation(vocabulary: &Vocabulary, spec: &VocabularySpec) -> Vec<u32> {
    let named = [spec.eos, spec.eot].into_iter().flatten();
    let known = vocabulary
        .iter()
        .filter(|(_, text, kind)| {
            matches!(kind, TokenKind::Control | TokenKind::UserDefined) && END_TEXTS.contains(text)
        })
        .map(|(id, ..)| id);
    let mut ids: Vec<u32> = named.chain(known).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// A set of tokens that are found by their text; where several begin at one place, the longest.
#[derive(Debug)]
struct SpecialTokens {
    matcher: Option<AhoCorasick>,
    /// Of each pattern.
    tokens: Vec<(u32, Strips)>,
}

/// A special token in a text.
struct Found {
    start: usize,
    end: usize,
    id: u32,
    strips: Strips,
}

/// On which sides a token takes white space along.
#[derive(Debug, Clone, Copy, Default)]
struct Strips {
    left: bool,
    right: bool,
}

impl Strips {
    /// The range of a token with the white space that belongs to it; nothing before `position` does.
    fn widen(self, text: &str, position: usize, start: usize, end: usize) -> (usize, usize) {
        let before = text.get(position..start).unwrap_or_default();
        let start = if self.left { position.max(position + before.trim_end().len()).min(start) } else { start };
        let end = if self.right { text.len() - text[end..].trim_start().len() } else { end };
        (start, end)
    }
}

impl SpecialTokens {
    fn new(
        vocabulary: &Vocabulary,
        strips: &[Strip],
        wanted: impl Fn(TokenKind) -> bool,
    ) -> Result<Self, TokenizerError> {
        let chosen = vocabulary.iter().filter(|(_, text, kind)| wanted(*kind) && !text.is_empty());
        let strips: FxHashMap<u32, Strips> =
            strips.iter().map(|&Strip { id, left, right }| (id, Strips { left, right })).collect();
        let with_strips = |id| (id, strips.get(&id).copied().unwrap_or_default());
        let (tokens, texts): (Vec<_>, Vec<&str>) = chosen.map(|(id, text, _)| (with_strips(id), text)).unzip();
        if texts.is_empty() {
            return Ok(Self { matcher: None, tokens });
        }
        let (count, bytes) = (texts.len(), texts.iter().map(|text| text.len()).sum());
        if count > SPECIAL_TOKENS_LIMIT || bytes > SPECIAL_BYTES_LIMIT {
            let (count_limit, bytes_limit) = (SPECIAL_TOKENS_LIMIT, SPECIAL_BYTES_LIMIT);
            return Err(TokenizerError::SpecialTokens { count, bytes, count_limit, bytes_limit });
        }
        // The dense automaton, the library's choice for few patterns, takes up to a thousand bytes per byte of text.
        let matcher = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .match_kind(MatchKind::LeftmostLongest)
            .build(&texts)
            .map_err(|error| TokenizerError::Matcher { what: "set of special tokens", message: error.to_string() })?;
        Ok(Self { matcher: Some(matcher), tokens })
    }

    /// Each, in order, not overlapping.
    fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Found> + 'a {
        let found = self.matcher.iter().flat_map(move |matcher| matcher.find_iter(text));
        found.map(|found| {
            let (id, strips) = self.tokens[found.pattern().as_usize()];
            Found { start: found.start(), end: found.end(), id, strips }
        })
    }
}

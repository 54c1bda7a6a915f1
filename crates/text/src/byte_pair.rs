//! Byte-level BPE: inside each word of the pre-tokenizer, bytes join in the order of the merges.
//! Special tokens are cut out before the text arrives here.

use std::borrow::Cow;

use rustc_hash::FxHashMap;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::byte_alphabet;
use crate::merge::{Join, Merger};
use crate::pre_tokenizer::PreTokenizer;
use crate::vocabulary::{TokenizerError, Vocabulary, VocabularySpec};

/// The tables of a byte-level BPE vocabulary.
#[derive(Debug)]
pub(crate) struct BytePair {
    pre_tokenizer: PreTokenizer,
    /// What each byte is before any merge.
    byte_ids: [u32; 256],
    /// Which neighbours join, and what they become.
    joins: FxHashMap<(u32, u32), Join>,
    /// Whole words by their bytes, where the family takes them before merging; else empty.
    words: FxHashMap<Box<[u8]>, u32>,
}

impl BytePair {
    pub(crate) fn new(
        vocabulary: &Vocabulary,
        pre_tokenizer: PreTokenizer,
        spec: &VocabularySpec,
    ) -> Result<Self, TokenizerError> {
        let (merges, unknown) = (&spec.merges, spec.unknown);
        if merges.is_empty() {
            return Err(TokenizerError::MergesMissing);
        }
        let spelled = || vocabulary.iter().filter(|(_, _, kind)| kind.spells_text());
        let ids: FxHashMap<&str, u32> = spelled().map(|(id, text, _)| (text, id)).collect();
        let mut byte_ids = [0; 256];
        for byte in 0..=255u8 {
            let text = byte_alphabet::char_of(byte);
            let own = ids.get(text.encode_utf8(&mut [0; 4]) as &str).copied();
            byte_ids[usize::from(byte)] = own.or(unknown).ok_or(TokenizerError::ByteMissing { byte })?;
        }
        let mut joins = FxHashMap::default();
        joins.reserve(merges.len());
        let mut joined = String::new();
        for (index, merge) in merges.iter().enumerate() {
            let error = |why| TokenizerError::Merge { index, merge: merge.chars().take(64).collect(), why };
            let (left, right) = merge.split_once(' ').ok_or_else(|| error("it is not two tokens with a space"))?;
            let left_id = *ids.get(left).ok_or_else(|| error("its left side is not a token"))?;
            let right_id = *ids.get(right).ok_or_else(|| error("its right side is not a token"))?;
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            let id = *ids.get(joined.as_str()).ok_or_else(|| error("what it joins to is not a token"))?;
            // The first of two equal merges counts.
            joins.entry((left_id, right_id)).or_insert(Join { rank: index as u32, id });
        }
        let mut words = FxHashMap::default();
        if pre_tokenizer.whole_words_first {
            for (id, ..) in spelled() {
                let bytes = vocabulary.bytes(id).unwrap_or_default();
                words.insert(bytes.into(), id);
            }
        }
        Ok(Self { pre_tokenizer, byte_ids, joins, words })
    }

    /// Appends the ids of a text.
    pub(crate) fn encode(&self, text: &str, merger: &mut Merger, ids: &mut Vec<u32>) {
        let composed = match self.pre_tokenizer.composes {
            true if !is_nfc(text) => Cow::Owned(text.nfc().collect::<String>()),
            _ => Cow::Borrowed(text),
        };
        let text = composed.as_ref();
        for word in self.pre_tokenizer.split(text) {
            let bytes = &text.as_bytes()[word];
            match (self.words.get(bytes), bytes) {
                (Some(&id), _) => ids.push(id),
                (None, [byte]) => ids.push(self.byte_ids[usize::from(*byte)]),
                (None, _) => self.merge(bytes, merger, ids),
            }
        }
    }

    fn merge(&self, word: &[u8], merger: &mut Merger, ids: &mut Vec<u32>) {
        merger.clear();
        for (start, &byte) in word.iter().enumerate() {
            merger.push(start, 1, self.byte_ids[usize::from(byte)]);
        }
        merger.run(|left, right| self.joins.get(&(left.id, right.id)).copied());
        ids.extend(merger.symbols().map(|symbol| symbol.id));
    }

    /// Whether texts begin with BOS when the file does not say.
    pub(crate) fn adds_bos(&self) -> bool {
        self.pre_tokenizer.adds_bos
    }
}

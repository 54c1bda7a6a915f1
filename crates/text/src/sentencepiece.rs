//! SentencePiece BPE: characters join in the order of their scores, and what has no token is said in bytes.
//! Special tokens and the leading space are decided before the text arrives here.

use rustc_hash::FxHashMap;

use crate::merge::{Join, Merger};
use crate::vocabulary::{TokenizerError, Vocabulary, byte_of};

/// How a space is written in a token.
const SPACE: char = '\u{2581}';
/// Id of a character that has no token of its own.
const NO_TOKEN: u32 = u32::MAX;

/// The tables of a SentencePiece vocabulary.
#[derive(Debug)]
pub(crate) struct SentencePiece {
    ids: FxHashMap<Box<str>, u32>,
    /// Per token: lower joins first. Scores turned into integers with their order reversed.
    ranks: Vec<u32>,
    /// What says each byte: its byte token, or the unknown token.
    byte_ids: [u32; 256],
    /// Without byte tokens, a character that has no token is one unknown token, not one for each of its bytes.
    whole_unknown: Option<u32>,
    /// Bytes of the longest token: longer joins need no lookup.
    longest: usize,
    /// No token has a space after something else, so no join crosses the beginning of a word.
    words_are_apart: bool,
}

impl SentencePiece {
    pub(crate) fn new(vocabulary: &Vocabulary, scores: &[f32], unknown: Option<u32>) -> Result<Self, TokenizerError> {
        let mut ids = FxHashMap::default();
        let mut byte_ids = [NO_TOKEN; 256];
        let mut longest = 0;
        let mut words_are_apart = true;
        for (id, text, kind) in vocabulary.iter() {
            if kind == crate::vocabulary::TokenKind::Byte {
                if let Some(byte) = byte_of(text) {
                    byte_ids[usize::from(byte)] = id;
                }
            } else if kind.spells_text() {
                longest = longest.max(text.len());
                words_are_apart &= next_word(text) == text.len();
                ids.insert(text.into(), id);
            }
        }
        let missing = (0..=255).find(|&byte: &u8| byte_ids[usize::from(byte)] == NO_TOKEN);
        let whole_unknown = match (missing, unknown) {
            (None, _) => None,
            (Some(_), Some(unknown)) => Some(unknown),
            (Some(byte), None) => return Err(TokenizerError::ByteMissing { byte }),
        };
        let rank = |(id, &score): (usize, &f32)| {
            if score.is_finite() { Ok(rank_of(score)) } else { Err(TokenizerError::Score { id: id as u32 }) }
        };
        let ranks = scores.iter().enumerate().map(rank).collect::<Result<_, _>>()?;
        Ok(Self { ids, ranks, byte_ids, whole_unknown, longest, words_are_apart })
    }

    /// Appends the ids of a text whose spaces are written as U+2581.
    pub(crate) fn encode(&self, text: &str, merger: &mut Merger, ids: &mut Vec<u32>) {
        // Word by word gives the same ids as the whole, and the words fit the processor's cache.
        let mut rest = text;
        while !rest.is_empty() {
            let (word, after) = rest.split_at(if self.words_are_apart { next_word(rest) } else { rest.len() });
            self.encode_word(word, merger, ids);
            rest = after;
        }
    }

    fn encode_word(&self, text: &str, merger: &mut Merger, ids: &mut Vec<u32>) {
        merger.clear();
        for (start, character) in text.char_indices() {
            let length = character.len_utf8();
            let id = self.ids.get(&text[start..start + length]).copied().unwrap_or(NO_TOKEN);
            merger.push(start, length, id);
        }
        merger.run(|left, right| {
            let length = left.length + right.length;
            if length > self.longest {
                return None;
            }
            let id = *self.ids.get(&text[left.start..left.start + length])?;
            Some(Join { rank: self.ranks[id as usize], id })
        });
        for symbol in merger.symbols() {
            match (symbol.id, self.whole_unknown) {
                (NO_TOKEN, Some(unknown)) => ids.push(unknown),
                (NO_TOKEN, None) => {
                    let bytes = &text.as_bytes()[symbol.start..symbol.start + symbol.length];
                    ids.extend(bytes.iter().map(|&byte| self.byte_ids[usize::from(byte)]));
                }
                (id, _) => ids.push(id),
            }
        }
    }
}

/// Where the first space is that follows something else; the end if there is none.
fn next_word(text: &str) -> usize {
    let first = text.len() - text.trim_start_matches(SPACE).len();
    text[first..].find(SPACE).map_or(text.len(), |space| first + space)
}

/// Turns a finite score into an integer that is lower when the score is higher.
fn rank_of(score: f32) -> u32 {
    // Adding zero makes -0.0 equal to 0.0, as scores compare.
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 0 { bits | 0x8000_0000 } else { !bits };
    !ascending
}

#[cfg(test)]
mod tests {
    use super::{next_word, rank_of};

    #[test]
    fn a_word_begins_at_a_space_that_follows_something_else() {
        let ends = ["", "▁▁", "ab", "▁▁ab", "▁ab▁▁c", "a▁b"].map(next_word);
        assert_eq!(ends, [0, 6, 2, 8, 5, 1]);
    }

    #[test]
    fn a_higher_score_has_a_lower_rank_and_zeros_are_equal() {
        let scores = [f32::MAX, 3.5, 1.0, 0.0, -0.5, -1.0, -31_000.0, f32::MIN];
        assert!(scores.windows(2).all(|pair| rank_of(pair[0]) < rank_of(pair[1])));
        assert_eq!(rank_of(0.0), rank_of(-0.0));
    }
}

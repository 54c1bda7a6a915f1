//! Cuts a text into the words inside which byte-level BPE merges, by the pattern that the vocabulary names.
//! The patterns are the published ones of each model family; no token ids here.

use std::ops::Range;

use regex::Regex;

use crate::vocabulary::TokenizerError;

/// Names that `tokenizer.ggml.pre` may have, as an error tells them.
const SUPPORTED: &str =
    "default, gpt-2, llama-bpe, llama3, llama-v3, falcon3, dbrx, gpt-4o, tekken, qwen2, deepseek-r1-qwen, smollm";

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
const LLAMA3: &str = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";
const QWEN2: &str = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+";

/// Which runs of white space leave their last character to the word that follows.
///
/// The published patterns say `\s+(?!\S)|\s+`: a run that a word follows stops one character early, unless it is a
/// single character. Without look-ahead the pattern matches the whole run, and the last character is given back here,
/// which keeps the matching linear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GiveBack {
    Never,
    /// Every run.
    Always,
    /// Runs that do not end a line; those that do were matched by `[\r\n]` on purpose.
    UnlessLineEnd,
}

/// One pass over the text: each match is a piece, and so is each gap between matches.
#[derive(Debug)]
struct Pass {
    pattern: Regex,
    give_back: GiveBack,
}

/// The passes of a named pre-tokenizer, each over the pieces of the one before.
#[derive(Debug)]
pub(crate) struct PreTokenizer {
    passes: Vec<Pass>,
    /// A word that is a token is that token, whatever the merges say.
    pub(crate) whole_words_first: bool,
    /// Whether a vocabulary of this family that does not say so begins its texts with BOS.
    pub(crate) adds_bos: bool,
    /// Text is composed (NFC) before it is split.
    pub(crate) composes: bool,
}

impl PreTokenizer {
    /// The pre-tokenizer of a name; none means `default`.
    pub(crate) fn new(name: Option<&str>) -> Result<Self, TokenizerError> {
        let name = name.unwrap_or("default");
        let (patterns, family): (&[(&str, GiveBack)], bool) = match name {
            "default" => (
                &[
                    (r"[\p{P}$+<=>^~|]+", GiveBack::Never),
                    (GPT2, GiveBack::Always),
                    (r"\p{N}+", GiveBack::Never),
                    ("[0-9][0-9][0-9]", GiveBack::Never),
                ],
                false,
            ),
            "gpt-2" => (&[(GPT2, GiveBack::Always)], false),
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" => (&[(LLAMA3, GiveBack::UnlessLineEnd)], true),
            "dbrx" => (&[(LLAMA3, GiveBack::UnlessLineEnd)], false),
            "gpt-4o" => (&[(GPT4O, GiveBack::UnlessLineEnd)], false),
            "tekken" => (&[(TEKKEN, GiveBack::UnlessLineEnd)], true),
            "qwen2" | "deepseek-r1-qwen" => (&[(QWEN2, GiveBack::UnlessLineEnd)], false),
            "smollm" => (&[(r"\p{N}", GiveBack::Never), (GPT2, GiveBack::Always)], false),
            _ => {
                let name = name.chars().take(64).collect();
                return Err(TokenizerError::PreTokenizer { name, supported: SUPPORTED });
            }
        };
        let compile = |&(pattern, give_back): &(&str, GiveBack)| match Regex::new(pattern) {
            Ok(pattern) => Ok(Pass { pattern, give_back }),
            Err(error) => Err(TokenizerError::Matcher { what: "pre-tokenizer's pattern", message: error.to_string() }),
        };
        let passes = patterns.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { passes, whole_words_first: family, adds_bos: family, composes: name == "qwen2" })
    }

    /// The words of a text in order; together they are the text.
    pub(crate) fn split(&self, text: &str) -> Vec<Range<usize>> {
        let mut pieces = Vec::new();
        if !text.is_empty() {
            pieces.push(0..text.len());
        }
        for pass in &self.passes {
            let mut finer = Vec::with_capacity(pieces.len().max(text.len() / 4));
            for piece in &pieces {
                pass.split(text, piece.clone(), &mut finer);
            }
            pieces = finer;
        }
        pieces
    }
}

impl Pass {
    fn split(&self, text: &str, piece: Range<usize>, pieces: &mut Vec<Range<usize>>) {
        let text = &text[..piece.end];
        let mut position = piece.start;
        while let Some(found) = self.pattern.find_at(text, position) {
            if found.start() > position {
                pieces.push(position..found.start());
            }
            let end = self.end_of(text, found.start(), found.end());
            pieces.push(found.start()..end);
            position = end;
        }
        if position < piece.end {
            pieces.push(position..piece.end);
        }
    }

    /// Where a match ends once its last white space is given back.
    fn end_of(&self, text: &str, start: usize, end: usize) -> usize {
        if self.give_back == GiveBack::Never || end == text.len() {
            return end;
        }
        let Some(last) = text[start..end].chars().next_back().filter(|last| last.is_whitespace()) else { return end };
        if self.give_back == GiveBack::UnlessLineEnd && matches!(last, '\r' | '\n') {
            return end;
        }
        let shorter = end - last.len_utf8();
        if shorter > start { shorter } else { end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<'text>(name: &str, text: &'text str) -> Vec<&'text str> {
        let splitter = PreTokenizer::new(Some(name)).unwrap();
        splitter.split(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn a_run_of_spaces_leaves_its_last_to_the_word() {
        for name in ["gpt-2", "llama-bpe", "qwen2", "tekken"] {
            assert_eq!(words(name, "a   b"), ["a", "  ", " b"], "{name}");
            assert_eq!(words(name, "a   "), ["a", "   "], "{name}");
            assert_eq!(words(name, "a b"), ["a", " b"], "{name}");
        }
    }

    #[test]
    fn line_ends_stay_with_their_run_where_the_pattern_says_so() {
        assert_eq!(words("llama-bpe", "a \n\n  b"), ["a", " \n\n", " ", " b"]);
        assert_eq!(words("gpt-2", "a\n\nb"), ["a", "\n", "\n", "b"]);
        assert_eq!(words("llama-bpe", "x.\n\ny"), ["x", ".\n\n", "y"]);
        assert_eq!(words("tekken", "a//\nb"), ["a", "//\n", "b"]);
    }

    #[test]
    fn digits_group_as_each_family_does() {
        assert_eq!(words("llama-bpe", "12345"), ["123", "45"]);
        assert_eq!(words("qwen2", "123"), ["1", "2", "3"]);
        assert_eq!(words("gpt-2", "a 1234"), ["a", " 1234"]);
        assert_eq!(words("smollm", "a  12"), ["a", "  ", "1", "2"]);
        assert_eq!(words("default", "1234"), ["123", "4"]);
    }

    #[test]
    fn tekken_breaks_where_capitals_begin() {
        assert_eq!(words("tekken", "helloWorld ABCdef"), ["hello", "World", " ABCdef"]);
        assert_eq!(words("qwen2", "helloWorld"), ["helloWorld"]);
    }

    #[test]
    fn gpt_4o_keeps_what_is_left_out_with_its_word() {
        assert_eq!(
            words("gpt-4o", "helloWorld isn't 1234 a/\n"),
            ["hello", "World", " isn't", " ", "123", "4", " a", "/\n"]
        );
        assert_eq!(words("dbrx", "isn't"), ["isn", "'t"]);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_it() {
        let error = PreTokenizer::new(Some("nonesuch")).unwrap_err();
        assert!(error.to_string().contains("nonesuch"), "{error}");
    }
}

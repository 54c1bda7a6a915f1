//! A vocabulary that works: SentencePiece-shaped, with all bytes, printable characters and pieces of English spelling, and a
//! chat template. Every piece is the join of two earlier ones, so that merging can reach it.

use crate::gguf::write::WriteValue;

/// Least tokens of a vocabulary: specials, bytes, printable characters, and some pairs.
pub const MIN_TOKENS: u32 = 512;

/// The mark of a space.
const SPACE: char = '\u{2581}';

/// Letters by how often English uses them.
const LETTERS: &str = "etaoinshrdlucmfwygpbvkxqjz";

const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const NORMAL: i32 = 1;
const BYTE: i32 = 6;

/// One turn after another, each between its role and the end-of-sequence token.
const CHAT_TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}\
{{ '<|' + message['role'] + '|>\n' + (message['content'] or '') + eos_token + '\n' }}\
{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}";

/// The keys `tokenizer.*` for a vocabulary of a size.
pub(super) fn metadata(size: usize) -> Vec<(&'static str, WriteValue)> {
    let mut tokens = vec!["<unk>".to_owned(), "<s>".to_owned(), "</s>".to_owned()];
    let mut types = vec![UNKNOWN, CONTROL, CONTROL];
    tokens.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
    types.resize(tokens.len(), BYTE);
    tokens.extend(pieces().take(size.saturating_sub(tokens.len())));
    types.resize(tokens.len(), NORMAL);
    // Earlier pieces are shorter and merge first.
    let scores = (0..tokens.len()).map(|id| if types[id] == NORMAL { -(id as f32) } else { 0.0 }).collect();
    vec![
        ("tokenizer.ggml.model", WriteValue::Text("llama".to_owned())),
        ("tokenizer.ggml.pre", WriteValue::Text("default".to_owned())),
        ("tokenizer.ggml.tokens", WriteValue::TextArray(tokens)),
        ("tokenizer.ggml.scores", WriteValue::F32Array(scores)),
        ("tokenizer.ggml.token_type", WriteValue::I32Array(types)),
        ("tokenizer.ggml.bos_token_id", WriteValue::U32(1)),
        ("tokenizer.ggml.eos_token_id", WriteValue::U32(2)),
        ("tokenizer.ggml.unknown_token_id", WriteValue::U32(0)),
        ("tokenizer.ggml.add_bos_token", WriteValue::Bool(true)),
        ("tokenizer.ggml.add_eos_token", WriteValue::Bool(false)),
        ("tokenizer.ggml.add_space_prefix", WriteValue::Bool(true)),
        ("tokenizer.chat_template", WriteValue::Text(CHAT_TEMPLATE.to_owned())),
    ]
}

/// Pieces without end that matters (half a million): characters, pairs, words' beginnings, then longer ones.
fn pieces() -> impl Iterator<Item = String> {
    let words = |length: usize| (0..26usize.pow(length as u32)).map(move |number| spell(number, length));
    let begun = move |length: usize| words(length).map(|word| format!("{SPACE}{word}"));
    let characters = std::iter::once(SPACE).chain((0x21..=0x7Eu8).map(char::from)).map(String::from);
    let capitals = ('A'..='Z').map(|letter| format!("{SPACE}{letter}"));
    characters
        .chain(words(2))
        .chain(begun(1))
        .chain(capitals)
        .chain(begun(2))
        .chain(words(3))
        .chain(begun(3))
        .chain(words(4))
}

/// The letters of a number in base 26; small numbers are made of frequent letters.
fn spell(mut number: usize, length: usize) -> String {
    let letters = LETTERS.as_bytes();
    let mut word = String::with_capacity(length);
    for _ in 0..length {
        word.push(char::from(letters[number % 26]));
        number /= 26;
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_vocabulary_has_no_token_twice() {
        let mut seen = std::collections::HashSet::new();
        assert!(pieces().take(1 << 18).all(|piece| seen.insert(piece)));
        assert_eq!(seen.len(), 1 << 18);
        assert_eq!(LETTERS.chars().collect::<std::collections::HashSet<_>>().len(), 26);
    }
}

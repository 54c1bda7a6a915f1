//! Whether a generated text copies: for a model that was trained to answer in the passages' own words, whatever else it says is
//! a slip, even where most of its words are in the passage.

use super::check::cited_sentences;
use crate::retrieve::Hit;

/// Whether the pieces of each sentence (items of a list, a row's label and value) stand letter for letter in a passage that it
/// names, but for white space, or the first one that does not. `order[n - 1]` is the hit behind passage `n`.
pub(super) fn copies(text: &str, hits: &[Hit], order: &[usize]) -> Result<(), String> {
    for sentence in cited_sentences(text) {
        let named = sentence.passages.iter().filter_map(|number| order.get(number.checked_sub(1)?));
        let passages: Vec<String> = named.map(|hit| on_one_line(&hits[*hit].text)).collect();
        let whole = on_one_line(sentence.text.trim_end_matches(['.', ' ']));
        for piece in whole.split([';', ':']).map(str::trim) {
            let is_there = piece.contains(char::is_alphanumeric) && passages.iter().any(|text| text.contains(piece));
            if !is_there {
                return Err(format!("not in these words in the passage that is named: {piece}"));
            }
        }
    }
    Ok(())
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

//! Whether a generated text copies: for a model that was trained to answer in the passages' own words, whatever else it says is
//! a slip, even where most of its words are in the passage.

use super::check::cited_sentences;
use crate::analyze::words;
use crate::retrieve::Hit;

/// Whether the pieces of each sentence (items of a list, a row's label and value) stand word for word in a passage that it names,
/// or the first one that does not. `order[n - 1]` is the hit behind passage `n`.
pub(super) fn copies(text: &str, hits: &[Hit], order: &[usize]) -> Result<(), String> {
    for sentence in cited_sentences(text) {
        let named = sentence.passages.iter().filter_map(|number| order.get(number.checked_sub(1)?));
        let passages: Vec<Vec<String>> = named.map(|hit| normal(&hits[*hit].text)).collect();
        for piece in sentence.text.split([';', ':']).map(normal).filter(|piece| !piece.is_empty()) {
            let stands = |passage: &Vec<String>| passage.windows(piece.len()).any(|run| run == piece);
            if !passages.iter().any(stands) {
                return Err(format!("not word for word in the passage named: {}", piece.join(" ")));
            }
        }
    }
    Ok(())
}

fn normal(text: &str) -> Vec<String> {
    words(text).into_iter().map(|word| word.normal).collect()
}

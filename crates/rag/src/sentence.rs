//! Cuts prose into sentences, as byte ranges of the text. Knows no document and no ranking.

use std::ops::Range;

/// Words that end with a full stop without ending a sentence, in lower case.
const ABBREVIATIONS: &[&str] = &[
    "e.g", "i.e", "etc", "mr", "mrs", "ms", "dr", "prof", "st", "no", "vs", "inc", "ltd", "co", "corp", "jr", "sr",
    "approx", "dept", "est", "fig", "u.s", "u.k", "ph.d", "m.d", "b.a", "b.s", "m.a", "m.s", "d.c",
];

/// Byte ranges of the sentences of `text`, trimmed, in order; together they hold every character that is not white space.
pub(crate) fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if !matches!(character, '.' | '!' | '?') {
            continue;
        }
        let mut end = at + character.len_utf8();
        while let Some((next_at, next)) = characters.peek().copied() {
            if !matches!(next, '.' | '!' | '?' | '"' | '\'' | '”' | '’' | ')' | ']' | '*' | '_') {
                break;
            }
            end = next_at + next.len_utf8();
            characters.next();
        }
        if ends_here(text, start, at, end) {
            push_trimmed(text, start..end, &mut ranges);
            start = end;
        }
    }
    push_trimmed(text, start..text.len(), &mut ranges);
    ranges
}

/// Whether the terminator at `at`, with the quotes and brackets up to `end`, closes the sentence that began at `start`.
fn ends_here(text: &str, start: usize, at: usize, end: usize) -> bool {
    let rest = &text[end..];
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return false;
    }
    let follows =
        rest.trim_start().chars().find(|next| !matches!(next, '"' | '\'' | '“' | '‘' | '(' | '[' | '*' | '_'));
    let Some(follows) = follows else { return true };
    if follows.is_lowercase() {
        return false;
    }
    if !text[at..].starts_with('.') {
        return true;
    }
    let word = text[start..at].rsplit(|before: char| before.is_whitespace() || before == '(').next().unwrap_or("");
    let word = word.trim_start_matches(['"', '“', '*', '_']).to_lowercase();
    let initial = word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
    !(initial || ABBREVIATIONS.contains(&word.as_str()))
}

/// Adds `range` without the white space around it, unless nothing is left.
fn push_trimmed(text: &str, range: Range<usize>, ranges: &mut Vec<Range<usize>>) {
    let trimmed = trim(text, range);
    if !trimmed.is_empty() {
        ranges.push(trimmed);
    }
}

/// `range` of `text` without the white space at both ends.
pub(crate) fn trim(text: &str, range: Range<usize>) -> Range<usize> {
    let slice = &text[range.clone()];
    let start = range.start + (slice.len() - slice.trim_start().len());
    start..(start + slice.trim().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn abbreviations_and_decimals_do_not_end_a_sentence() {
        assert_eq!(
            split("The U.S. Bureau counts 3.5 million. Dr. Who, e.g. Smith, agrees! Does it? \"Yes.\" It does"),
            ["The U.S. Bureau counts 3.5 million.", "Dr. Who, e.g. Smith, agrees!", "Does it?", "\"Yes.\"", "It does"]
        );
    }

    #[test]
    fn a_line_break_separates_sentences_like_a_space() {
        assert_eq!(
            split("It was $59,310 in May 2024.\nThe median is half."),
            ["It was $59,310 in May 2024.", "The median is half."]
        );
    }

    #[test]
    fn nothing_gives_no_sentence() {
        assert!(split(" \n ").is_empty());
    }
}

//! The detokenizer: whole characters, stop strings across tokens, and nothing lost or shown twice.

mod common;

use std::sync::Arc;

use common::small_sentencepiece;
use proptest::prelude::*;
use sconce_text::{Detokenizer, Special, Tokenizer};

fn tokenizer() -> Arc<Tokenizer> {
    Arc::new(Tokenizer::new(small_sentencepiece()).unwrap())
}

/// Id of the token for one byte in the small vocabulary.
fn byte(byte: u8) -> u32 {
    3 + u32::from(byte)
}

fn detokenizer(stop: &[&str], include_stop: bool) -> Detokenizer {
    Detokenizer::new(tokenizer(), stop.iter().map(ToString::to_string).collect(), include_stop)
}

#[test]
fn half_a_character_waits_for_its_other_half() {
    let mut output = detokenizer(&[], false);
    let pieces: Vec<String> = "é🜁".bytes().map(|part| output.push(byte(part)).text).collect();
    assert_eq!(pieces, ["", "é", "", "", "", "🜁"]);
    assert_eq!(output.finish(), "");
}

#[test]
fn invalid_bytes_become_replacement_characters_as_soon_as_they_are_certain() {
    let mut output = detokenizer(&[], false);
    assert_eq!(output.push(byte(0xF0)).text, "");
    assert_eq!(output.push(byte(b'a')).text, "\u{FFFD}a");
    assert_eq!(output.push(byte(0xFF)).text, "\u{FFFD}");
    assert_eq!(output.push(byte(0xE2)).text, "");
    assert_eq!(output.finish(), "\u{FFFD}");
    assert_eq!(output.finish(), "");
}

#[test]
fn the_first_generated_token_keeps_its_space() {
    let tokenizer = tokenizer();
    let ids = tokenizer.encode("the", Special::default());
    let mut output = Detokenizer::new(tokenizer.clone(), Vec::new(), false);
    let text: String = ids.iter().map(|&id| output.push(id).text).collect();
    assert_eq!(text, " the");
    assert_eq!(tokenizer.decode(&ids), "the");
}

#[test]
fn a_stop_string_across_tokens_is_cut_and_what_cannot_be_one_is_released() {
    let mut output = detokenizer(&["\n\n", "ab!"], false);
    let mut shown = String::new();
    for part in "xab\nab!y".bytes() {
        let piece = output.push(byte(part));
        shown += &piece.text;
        if let Some(index) = piece.stopped {
            assert_eq!(index, 1);
            break;
        }
    }
    assert_eq!(shown, "xab\n");
    assert_eq!(output.stopped(), Some(1));
    assert_eq!((output.push(byte(b'z')).text.as_str(), output.finish().as_str()), ("", ""));
}

#[test]
fn only_a_possible_stop_is_held_back() {
    let mut output = detokenizer(&["STOP"], false);
    assert_eq!(output.push(byte(b'x')).text, "x");
    assert_eq!(output.push(byte(b'S')).text, "");
    assert_eq!(output.push(byte(b'S')).text, "S");
    assert_eq!(output.push(byte(b'T')).text, "");
    assert_eq!(output.push(byte(b'A')).text, "STA");
    assert_eq!(output.push(byte(b'S')).text, "");
    assert_eq!(output.finish(), "S");
}

#[test]
fn an_included_stop_is_shown_and_nothing_after_it() {
    let mut output = detokenizer(&["b", ""], true);
    assert_eq!(output.push(byte(b'a')).text, "a");
    let piece = output.push(byte(b'b'));
    assert_eq!((piece.text.as_str(), piece.stopped), ("b", Some(0)));
}

/// The text before (or with) the stop that is complete first, looked for character by character.
fn truncated(text: &str, stops: &[String], include_stop: bool) -> String {
    let ends = text.char_indices().map(|(start, character)| start + character.len_utf8());
    for end in ends {
        let complete = stops.iter().filter(|stop| !stop.is_empty() && text[..end].ends_with(stop.as_str()));
        if let Some(longest) = complete.map(String::len).max() {
            return text[..if include_stop { end } else { end - longest }].to_owned();
        }
    }
    text.to_owned()
}

proptest! {
    #[test]
    fn pieces_and_rest_are_the_whole_text_up_to_the_first_stop(
        ids in prop::collection::vec(0u32..302, 0..60),
        stops in prop::collection::vec("[abeht é\u{FFFD}]{0,4}", 0..4),
        include_stop: bool,
    ) {
        let tokenizer = tokenizer();
        let mut output = Detokenizer::new(tokenizer.clone(), stops.clone(), include_stop);
        let mut text: String = ids.iter().map(|&id| output.push(id).text).collect();
        text += &output.finish();
        prop_assert_eq!(text, truncated(&tokenizer.decode_continuation(&ids), &stops, include_stop));
    }

    #[test]
    fn letters_stop_the_same_way_however_they_are_tokenized(
        text in "[ab]{0,40}",
        stops in prop::collection::vec("[ab]{1,4}", 1..4),
    ) {
        let tokenizer = tokenizer();
        let in_tokens = tokenizer.encode(&text, Special::default());
        let in_bytes: Vec<u32> = text.bytes().map(byte).collect();
        for (ids, expected) in [(in_tokens, format!(" {text}")), (in_bytes, text.clone())] {
            let mut output = Detokenizer::new(tokenizer.clone(), stops.clone(), false);
            let mut shown: String = ids.iter().map(|&id| output.push(id).text).collect();
            shown += &output.finish();
            let expected = if ids.is_empty() { String::new() } else { truncated(&expected, &stops, false) };
            prop_assert_eq!(shown, expected);
        }
    }
}

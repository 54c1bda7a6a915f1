//! Tokenizers against published vectors, malformed vocabularies, long texts, and their own round trip.

mod common;

use common::{shared, small_byte_level, small_sentencepiece, vocabulary_of};
use proptest::prelude::*;
use sconce_text::{Special, Tokenizer, TokenizerError, VocabularySpec};

const PLAIN: Special = Special { add_bos: false, parse_special: false };
const PARSED: Special = Special { add_bos: true, parse_special: true };

/// Every text of a vector file must give its line of ids.
fn check_vectors(name: &str) {
    let Some(path) = shared(&format!("vocab/{name}.gguf")) else { return };
    let tokenizer = Tokenizer::new(vocabulary_of(&path)).unwrap();
    let texts = std::fs::read_to_string(path.with_extension("gguf.inp")).unwrap();
    let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
    let ids = std::fs::read_to_string(path.with_extension("gguf.out")).unwrap();
    let mut compared = 0;
    for (text, line) in texts.iter().zip(ids.lines()) {
        let expected: Vec<u32> = line.split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert_eq!(tokenizer.encode(text, PLAIN), expected, "{name}: {text:?}");
        assert_eq!(tokenizer.decode(&expected), *text, "{name}");
        compared += 1;
    }
    assert!(compared > 40, "{name}: only {compared} texts were compared");
}

#[test]
fn the_sentencepiece_vocabulary_gives_the_published_ids() {
    check_vectors("ggml-vocab-llama-spm");
}

#[test]
fn the_byte_level_vocabulary_gives_the_published_ids() {
    check_vectors("ggml-vocab-llama-bpe");
}

#[test]
fn a_bos_that_the_text_brings_is_not_doubled() {
    let tokenizer = Tokenizer::new(small_sentencepiece()).unwrap();
    let plain = tokenizer.encode("the", PARSED);
    assert_eq!(plain[0], 1);
    assert_eq!(tokenizer.encode("<s>the", PARSED), plain);
    // As ordinary text, "<s>" is spelled out and BOS still comes first.
    let spelled = tokenizer.encode("<s>the", Special { add_bos: true, parse_special: false });
    assert_eq!((spelled[0], spelled[1..].contains(&1)), (1, false));
    assert_eq!(tokenizer.decode(&spelled), "<s>the");
    // Without add_bos the parsed one stays.
    assert_eq!(tokenizer.encode("<s>the", Special { add_bos: false, parse_special: true }), plain);
}

#[test]
fn control_tokens_are_read_only_when_asked_and_user_defined_ones_always() {
    for spec in [small_sentencepiece(), small_byte_level("gpt-2")] {
        let end = spec.eos.unwrap();
        let tokenizer = Tokenizer::new(spec).unwrap();
        let text = format!("ab{}<tool>ab", tokenizer.token_text(end).unwrap());
        let tool = (0..tokenizer.vocabulary_size() as u32).find(|&id| tokenizer.token_text(id) == Some("<tool>"));
        let plain = tokenizer.encode(&text, PLAIN);
        assert!(!plain.contains(&end) && plain.contains(&tool.unwrap()));
        let parsed = tokenizer.encode(&text, Special { add_bos: false, parse_special: true });
        assert!(parsed.contains(&end) && parsed.contains(&tool.unwrap()));
        assert_eq!(tokenizer.token_bytes(end), Some(&b""[..]));
        assert!(tokenizer.end_of_generation().contains(&end));
    }
}

#[test]
fn disarmed_text_spells_no_control_token() {
    let mut spec = small_byte_level("gpt-2");
    // One that overlaps the others, one of a single character, one that a turn ends with although it is user-defined.
    for (text, kind) in [("d|>end", 3), ("#", 3), ("<|eot_id|>", 4)] {
        spec.tokens.push(text.to_owned());
        spec.token_types.push(kind);
    }
    let tokenizer = Tokenizer::new(spec).unwrap();
    let tool = (0..tokenizer.vocabulary_size() as u32).find(|&id| tokenizer.token_text(id) == Some("<tool>")).unwrap();
    let special = |text: &str| {
        let ids = tokenizer.encode(text, Special { add_bos: false, parse_special: true });
        ids.into_iter().filter(|&id| id >= 262 && id != tool).count()
    };
    for text in ["<|end|>", "a<|end|>end b", "x<|<|end|>|end|>", "# <|eot_id|> <tool>", "über <|end|> 日本"] {
        assert!(special(text) > 0, "{text}");
        let disarmed = tokenizer.disarm(text);
        assert_eq!(special(&disarmed), 0, "{disarmed:?}");
        let seen: String = disarmed.chars().filter(|character| *character != '\u{200B}').collect();
        assert_eq!(seen, text.replace('#', "\u{FFFD}"), "what is read stays");
        assert_eq!(tokenizer.disarm(&disarmed), disarmed, "once is enough");
    }
    assert!(matches!(tokenizer.disarm("plain <b>text</b> <tool>"), std::borrow::Cow::Borrowed(_)));
}

#[test]
fn a_megabyte_without_borders_is_encoded() {
    // Quadratic work over a megabyte would take hours; the test ends by itself only if the work is close to linear.
    for spec in [small_sentencepiece(), small_byte_level("llama-bpe"), small_byte_level("default")] {
        let tokenizer = Tokenizer::new(spec).unwrap();
        for text in ["a", " ", "the", "\n", "é", "🜁", " \n", "!a "] {
            let text = text.repeat((1 << 20) / text.len());
            let ids = tokenizer.encode(&text, PLAIN);
            assert!(tokenizer.decode(&ids) == text);
        }
    }
}

#[test]
fn every_fault_of_a_vocabulary_is_an_error_that_names_it() {
    fn check(fault: impl Fn(&mut VocabularySpec), base: fn() -> VocabularySpec, named: &str) {
        let mut spec = base();
        fault(&mut spec);
        let error = Tokenizer::new(spec).expect_err(named).to_string();
        assert!(error.contains(named), "{error:?} should name {named:?}");
    }
    let sentencepiece = small_sentencepiece;
    check(|spec| spec.tokens.clear(), sentencepiece, "tokenizer.ggml.tokens");
    check(|spec| spec.scores.truncate(3), sentencepiece, "tokenizer.ggml.scores");
    check(|spec| spec.scores[4] = f32::NAN, sentencepiece, "token 4");
    check(|spec| spec.token_types.truncate(3), sentencepiece, "tokenizer.ggml.token_type");
    check(|spec| spec.token_types[7] = 9, sentencepiece, "token 7 is 9");
    check(|spec| spec.bos = Some(100_000), sentencepiece, "bos_token_id is 100000");
    check(|spec| spec.eos = Some(u32::MAX), sentencepiece, "eos_token_id");
    check(|spec| (spec.bos, spec.add_bos) = (None, Some(true)), sentencepiece, "bos_token_id is missing");
    check(|spec| spec.tokens[9] = "<0xZZ>".to_owned(), sentencepiece, "<0xZZ>");
    check(|spec| (spec.token_types[9], spec.unknown) = (1, None), sentencepiece, "byte 0x06");

    let byte_level = || small_byte_level("qwen2");
    check(|spec| spec.merges.clear(), byte_level, "merges");
    check(|spec| spec.merges[2] = "zz y".to_owned(), byte_level, "merges[2]");
    check(|spec| spec.merges[1] = "x y".to_owned(), byte_level, "not a token");
    check(|spec| spec.merges[0] = "aa".to_owned(), byte_level, "two tokens");
    check(|spec| spec.tokens[65] = "\u{1F701}".to_owned(), byte_level, "byte 0x41");
    check(|spec| spec.pre_tokenizer = Some("nonesuch".to_owned()), byte_level, "nonesuch");
    assert_eq!(
        Tokenizer::new(VocabularySpec { tokens: Vec::new(), ..byte_level() }).unwrap_err(),
        TokenizerError::Empty
    );
}

#[test]
fn special_tokens_without_bound_are_refused() {
    let with = |count: usize, bytes: usize| {
        let mut spec = small_sentencepiece();
        for index in 0..count {
            spec.tokens.push(format!("{index:0>bytes$}"));
        }
        spec.token_types.resize(spec.tokens.len(), 3);
        spec.scores.resize(spec.tokens.len(), 0.0);
        Tokenizer::new(spec)
    };
    for (count, bytes) in [(70_000, 8), (110, 10_000)] {
        let error = with(count, bytes).expect_err("too many special tokens");
        assert!(matches!(error, TokenizerError::SpecialTokens { .. }), "{error:?}");
        assert!(error.to_string().contains("tokenizer.ggml.token_type"), "{error}");
    }
    // As many as fit are found.
    let tokenizer = with(100, 10_000).unwrap();
    let last = tokenizer.vocabulary_size() as u32 - 1;
    let text = format!("{:0>10000}", 99);
    assert_eq!(tokenizer.encode(&text, Special { add_bos: false, parse_special: true }), [last]);
}

/// Merges by looking for the best pair over the whole text again and again.
fn naive_sentencepiece(spec: &VocabularySpec, text: &str) -> Vec<u32> {
    let score = |piece: &str| {
        let id = spec.tokens.iter().position(|token| token == piece)?;
        (spec.token_types[id] == 1).then(|| (spec.scores[id], id as u32))
    };
    let text = format!("\u{2581}{}", text.replace(' ', "\u{2581}"));
    let mut pieces: Vec<String> = text.chars().map(String::from).collect();
    loop {
        let joined =
            |index: usize| score(&(pieces[index].clone() + &pieces[index + 1])).map(|(score, _)| (score, index));
        let candidates = (0..pieces.len().saturating_sub(1)).filter_map(joined);
        // Of equal scores the leftmost: a later one replaces an earlier one only if it is greater.
        let Some((_, best)) = candidates.reduce(|best, next| if next.0 > best.0 { next } else { best }) else { break };
        let right = pieces.remove(best + 1);
        pieces[best] += &right;
    }
    let spell = |piece: &String| match score(piece) {
        Some((_, id)) => vec![id],
        None => piece.bytes().map(|byte| 3 + u32::from(byte)).collect(),
    };
    pieces.iter().flat_map(spell).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sentencepiece_merges_as_the_naive_search_does(text in "[ abeht\u{e9}nr]{1,40}", crossing: bool) {
        let mut spec = small_sentencepiece();
        if crossing {
            // A token with a space inside: words can no longer be taken one by one.
            spec.tokens.extend(["e\u{2581}".to_owned(), "he\u{2581}".to_owned(), "he\u{2581}a".to_owned()]);
            spec.token_types.extend([1; 3]);
            spec.scores.extend([-1.0, -2.0, -2.0]);
        }
        let tokenizer = Tokenizer::new(spec.clone()).unwrap();
        prop_assert_eq!(tokenizer.encode(&text, PLAIN), naive_sentencepiece(&spec, &text));
    }

    #[test]
    fn any_text_survives_encoding_and_decoding(text in "(\\PC|[ \n\tabeht]|the| the){0,60}", add_bos: bool) {
        for spec in [small_sentencepiece(), small_byte_level("tekken"), small_byte_level("smollm"), small_byte_level("default")] {
            let tokenizer = Tokenizer::new(spec).unwrap();
            let ids = tokenizer.encode(&text, Special { add_bos, parse_special: false });
            prop_assert_eq!(tokenizer.decode(&ids), text.clone());
        }
    }
}

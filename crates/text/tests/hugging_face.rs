//! Vocabularies read from `tokenizer.json` against the ids that the `tokenizers` library gives for the same file.
//! `scripts/goldens/vocabularies.py` makes the files and the ids.

use std::path::PathBuf;

use sconce_text::{HuggingFaceTokenizer, Special, Tokenizer};
use serde_json::{Value, json};

const NAMES: [&str; 10] = ["gpt2", "smollm", "llama2", "phi3", "mistral", "llama3", "dbrx", "qwen2", "tekken", "gpt4o"];

fn golden(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tokenizers");
    std::fs::read(folder.join(name)).unwrap()
}

fn read(name: &str) -> HuggingFaceTokenizer {
    let config = golden(&format!("{name}.config.json"));
    HuggingFaceTokenizer::read(&golden(&format!("{name}.json")), Some(&config)).unwrap()
}

#[test]
fn every_text_has_the_ids_that_the_library_gives() {
    let goldens: Value = serde_json::from_slice(&golden("ids.json")).unwrap();
    let mut wrong = String::new();
    for name in NAMES {
        let tokenizer = Tokenizer::new(read(name).vocabulary).unwrap();
        let texts = goldens["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
        for (text, expected) in texts.zip(goldens["ids"][name].as_array().unwrap()) {
            let ids = tokenizer.encode(text, Special { add_bos: true, parse_special: true });
            // A text that spells BOS itself gets no second one here.
            let doubled = text.starts_with("<s>") && json!([&ids[..1], &ids[..]].concat()) == *expected;
            if json!(ids) != *expected && !doubled {
                wrong.push_str(&format!("{name}: {text:?} gives {ids:?}, not {expected}\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_family_the_template_and_the_special_tokens_are_found() {
    let families = [
        ("gpt2", Some("gpt-2")),
        ("smollm", Some("smollm")),
        ("llama2", None),
        ("phi3", None),
        ("mistral", None),
        ("llama3", Some("llama-bpe")),
        ("dbrx", Some("dbrx")),
        ("gpt4o", Some("gpt-4o")),
        ("qwen2", Some("qwen2")),
        ("tekken", Some("tekken")),
    ];
    for (name, family) in families {
        let found = read(name);
        assert_eq!(found.vocabulary.pre_tokenizer.as_deref(), family, "{name}");
        assert_eq!(found.chat_template.as_deref(), Some("{{ messages }}"), "{name}");
        let tokenizer = Tokenizer::new(found.vocabulary).unwrap();
        let text = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id));
        assert_eq!((text(tokenizer.bos()), text(tokenizer.eos())), (Some("<s>"), Some("</s>")), "{name}");
    }
}

#[test]
fn what_is_wrong_or_unknown_is_named_by_file_and_field() {
    let with = |pointer: &str, value: Value| {
        let mut json: Value = serde_json::from_slice(&golden("llama3.json")).unwrap();
        *json.pointer_mut(pointer).unwrap() = value;
        HuggingFaceTokenizer::read(json.to_string().as_bytes(), None).unwrap_err().to_string()
    };
    for (pointer, value, field) in [
        ("/model/type", json!("Unigram"), "model.type"),
        ("/model/vocab", json!([]), "model.vocab"),
        ("/model/vocab/a", json!(-1), "model.vocab"),
        ("/model/vocab/a", json!(1u64 << 40), "model.vocab"),
        ("/model/merges", json!("a b"), "model.merges"),
        ("/model/merges/0", json!("ab"), "model.merges[0]"),
        ("/model/merges/0", json!(["a"]), "model.merges[0]"),
        ("/pre_tokenizer", json!(null), "pre_tokenizer"),
        ("/pre_tokenizer", json!({"type": "Whitespace"}), "pre_tokenizer"),
        ("/pre_tokenizer/pretokenizers/0/pattern", json!({"Regex": "."}), "pre_tokenizer"),
        ("/pre_tokenizer/pretokenizers/1/use_regex", json!(true), "pre_tokenizer"),
        ("/pre_tokenizer/pretokenizers/0/behavior", json!("Removed"), "pre_tokenizer"),
        ("/pre_tokenizer/pretokenizers/1", json!({"type": "Digits", "individual_digits": true}), "pre_tokenizer"),
        ("/pre_tokenizer/pretokenizers/1/add_prefix_space", json!(true), "pre_tokenizer"),
        ("/normalizer", json!({"type": "NFKC"}), "normalizer"),
        (
            "/normalizer",
            json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}),
            "normalizer",
        ),
        ("/added_tokens/0/id", json!("x"), "added_tokens[0]"),
    ] {
        let message = with(pointer, value);
        assert!(message.starts_with(&format!("tokenizer.json: {field}: ")), "{pointer}: {message}");
    }
    let message = HuggingFaceTokenizer::read(b"{", None).unwrap_err().to_string();
    assert!(message.starts_with("tokenizer.json: JSON: "), "{message}");
    let message = HuggingFaceTokenizer::read(&golden("gpt2.json"), Some(b"<html>")).unwrap_err().to_string();
    assert!(message.starts_with("tokenizer_config.json: JSON: "), "{message}");
}

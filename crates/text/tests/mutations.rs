//! Templates, vocabularies and tokenizer files, damaged at random from a fixed seed for a fixed time: each ends in an error or in
//! something that works. `SCONCE_MUTATION_SEED` tries another seed.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Random, shared, small_byte_level, small_sentencepiece};
use sconce_text::{
    ChatTemplate, Conversation, Detokenizer, HuggingFaceTokenizer, Special, Strip, TemplateError, Tokenizer,
    VocabularySpec,
};
use serde_json::{Value, json};

const SEED: u64 = 0x5c0ce;
const BUDGET: Duration = Duration::from_secs(3);
const TEXT: &str = "The carpenter's <tool> e\u{301} 東京 🪚\r\n\t  earns $59,310 <s> </s><|end|>\0\u{feff}1234";

/// Calls the body with fresh randomness until the time is over, at least a hundred times; it says whether what it damaged still
/// worked. Both must happen, or the damage is too small or too great to show anything.
fn while_time_lasts(mut body: impl FnMut(&mut Random) -> bool) {
    let seed = std::env::var("SCONCE_MUTATION_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let (mut random, began, mut counts) = (Random(seed), Instant::now(), [0, 0]);
    while began.elapsed() < BUDGET || counts.iter().sum::<usize>() < 100 {
        counts[usize::from(body(&mut random))] += 1;
    }
    println!("{} ended in an error, {} worked", counts[0], counts[1]);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

/// Replaces, removes or repeats a stretch of characters, or puts one of the pieces in.
fn damage(random: &mut Random, text: &str, pieces: &[&str]) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..1 + random.below(2) {
        let start = random.below(characters.len().max(1));
        let end = (start + random.below(24)).min(characters.len());
        match random.below(4) {
            0 => drop(characters.drain(start..end)),
            1 => {
                let stretch = characters[start..end].to_vec();
                let place = random.below(characters.len() + 1);
                drop(characters.splice(place..place, stretch));
            }
            2 => {
                let piece = pieces[random.below(pieces.len())];
                drop(characters.splice(start..end, piece.chars()));
            }
            _ => {
                let piece = pieces[random.below(pieces.len())];
                drop(characters.splice(start..start, piece.chars().cycle().take(piece.len() * (1 + random.below(40)))));
            }
        }
    }
    characters.into_iter().collect()
}

#[test]
fn damaged_templates_end_in_an_error_or_a_text() {
    let mut sources = vec![
        "{% for message in messages %}{% if message.role == 'user' %}{{ bos_token ~ message['content']|trim }}{% elif loop.last %}\
         {{ raise_exception('no') }}{% else %}{{ message|tojson(indent=2) }}{% endif %}{% endfor %}"
            .to_owned(),
        "{% macro show(x, n=1) %}{{ '%s' % x }}{{ x.split(' ')[:n]|join(',') }}{% endmacro %}{% set ns = namespace(i=0) %}\
         {% for m in messages if m.content is string %}{% set ns.i = ns.i + 1 %}{{ show(m.content, ns.i) }}{% endfor %}\
         {{ strftime_now('%Y-%m-%d') }}"
            .to_owned(),
    ];
    for name in ["meta-llama-Llama-3.1-8B-Instruct", "Mistral-Small-3.2-24B-Instruct-2506"] {
        let path = shared(&format!("templates/{name}.jinja"));
        sources.extend(path.map(|path| std::fs::read_to_string(path).unwrap()));
    }
    let pieces = [
        "{{ ",
        " }}",
        "{% ",
        " %}",
        "{%- set x = ",
        "for i in range(99999) ",
        "endfor",
        "if ",
        "endif",
        "(",
        ")",
        "[",
        "]",
        "- ",
        "not ",
        "|",
        "|list",
        "|tojson",
        "|map('string')",
        "*",
        "99999999999",
        "'",
        "x ~ x",
        " + messages",
        ".a",
        "[::-1]",
        "**9",
        "%d",
        "{",
        "}",
        "{# ",
        " #}",
        "\u{0}",
        "loop(messages)",
        "self.x()",
        "caller()",
        "range(",
        "1e308",
        "namespace(",
        "|format(messages)",
        "|replace('', 'xxxx')",
        "|indent(9999)",
        "|batch(1)",
        "|groupby('role')",
        ".format(1)",
        ".join(",
    ];
    let conversation = Conversation {
        messages: vec![json!({"role": "user", "content": "hi there"}), json!({"role": "tool", "content": ["x", null]})],
        tools: Some(json!([{"type": "function", "function": {"name": "pay", "parameters": {"type": "object"}}}])),
        add_generation_prompt: true,
        extra: serde_json::Map::new(),
    };
    while_time_lasts(|random| {
        let source = &sources[random.below(sources.len())];
        let source = damage(random, source, &pieces);
        let rendered =
            ChatTemplate::new(&source, "<s>", "</s>").and_then(|template| template.render_at(&conversation, 0));
        assert!(!matches!(rendered, Err(TemplateError::Engine | TemplateError::NoThread { .. })), "{source:?}");
        rendered.is_ok()
    });
}

/// Whether the vocabulary makes a tokenizer; if so, every way through it holds what it promises.
fn works(spec: VocabularySpec, text: &str) -> bool {
    let Ok(tokenizer) = Tokenizer::new(spec).map(Arc::new) else { return false };
    for parse_special in [false, true] {
        let ids = tokenizer.encode(text, Special { add_bos: true, parse_special });
        assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocabulary_size()));
        tokenizer.decode(&ids);
        let mut detokenizer = Detokenizer::new(Arc::clone(&tokenizer), vec!["e".to_owned()], false);
        for id in ids {
            detokenizer.push(id);
        }
        detokenizer.finish();
    }
    let disarmed = tokenizer.disarm(text);
    tokenizer.encode(&disarmed, Special { add_bos: false, parse_special: true });
    true
}

#[test]
fn damaged_vocabularies_end_in_an_error_or_a_tokenizer() {
    let seeds = [small_sentencepiece(), small_byte_level("qwen2")];
    let texts = [
        "",
        "a",
        "\u{2581}",
        "<0x41>",
        "<0xZZ>",
        "Ġ",
        "aa",
        "th",
        "\u{0}",
        "<s>",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "🪚",
        "  ",
        "ĠĠ",
    ];
    while_time_lasts(|random| {
        let mut spec = seeds[random.below(seeds.len())].clone();
        for _ in 0..1 + random.below(5) {
            let token = random.below(spec.tokens.len().max(1));
            let id =
                [None, Some(0), Some(token as u32), Some(spec.tokens.len() as u32), Some(u32::MAX)][random.below(5)];
            let text = texts[random.below(texts.len())];
            match random.below(14) {
                0 => spec.tokens[token] = text.to_owned(),
                1 => drop(spec.tokens.pop()),
                2 => spec.tokens.push(text.to_owned()),
                3 if !spec.scores.is_empty() => {
                    spec.scores[token] = [f32::NAN, f32::INFINITY, 0.0, -1e30][random.below(4)];
                }
                4 if !spec.token_types.is_empty() => spec.token_types[token] = random.below(9) as i32 - 1,
                5 => spec.token_types.clear(),
                6 if !spec.merges.is_empty() => {
                    let merge = random.below(spec.merges.len());
                    spec.merges[merge] =
                        [format!("{text} {text}"), text.to_owned(), format!("{text} a b")][random.below(3)].clone();
                }
                7 => spec.bos = id,
                8 => spec.eos = id,
                9 => spec.unknown = id,
                10 => spec.strips.extend(id.map(|id| Strip {
                    id,
                    left: random.below(2) == 0,
                    right: random.below(2) == 0,
                })),
                11 => spec.nfc = Some(random.below(2) == 0),
                12 => spec.ignore_merges = Some(random.below(2) == 0),
                _ => spec.add_bos = Some(random.below(2) == 0),
            }
            if spec.tokens.is_empty() {
                break;
            }
            spec.scores.resize(if spec.scores.is_empty() { 0 } else { spec.tokens.len() }, 0.0);
            spec.token_types.resize(if spec.token_types.is_empty() { 0 } else { spec.tokens.len() }, 1);
        }
        works(spec, &damage(random, TEXT, &texts[1..]))
    });
}

#[test]
fn damaged_tokenizer_files_end_in_an_error_or_a_tokenizer() {
    let folder = format!("{}/tests/goldens/tokenizers", env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read(format!("{folder}/{name}")).unwrap();
    let seeds: Vec<Value> = ["llama2.json", "llama3.json", "phi3.json"]
        .iter()
        .map(|name| serde_json::from_slice(&read(name)).unwrap())
        .collect();
    let config = read("llama3.config.json");
    let values = [
        json!(null),
        json!(true),
        json!(false),
        json!(-1),
        json!(3),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("<s>"),
        json!([]),
        json!({}),
        json!([["a"]]),
        json!({"type": "Sequence", "normalizers": [{"type": "NFC"}]}),
        json!({"type": "ByteLevel"}),
    ];
    while_time_lasts(|random| {
        let mut file = seeds[random.below(seeds.len())].clone();
        for _ in 0..1 + random.below(3) {
            *somewhere(random, &mut file) = values[random.below(values.len())].clone();
        }
        let mut bytes = file.to_string().into_bytes();
        if random.below(4) == 0 {
            let place = random.below(bytes.len());
            bytes[place] ^= 1 << random.below(8);
        }
        HuggingFaceTokenizer::read(&bytes, Some(&config)).is_ok_and(|read| works(read.vocabulary, TEXT))
    });
}

/// A place in a JSON value, found by going down at random.
fn somewhere<'a>(random: &mut Random, value: &'a mut Value) -> &'a mut Value {
    let members = match value {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    };
    if members == 0 || random.below(6) == 0 {
        return value;
    }
    let chosen = random.below(members);
    match value {
        Value::Array(items) => somewhere(random, &mut items[chosen]),
        Value::Object(members) => match members.values_mut().nth(chosen) {
            Some(member) => somewhere(random, member),
            None => unreachable!("the object has so many members"),
        },
        _ => unreachable!("a value without members was returned"),
    }
}

//! Any bytes as a vocabulary and a text: the tables are built, the text is encoded and decoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sconce_text::{SpacePrefix, Special, Strip, Tokenizer, VocabularyModel, VocabularySpec};

/// Takes the bytes apart: one for choices, then entries that end at zero bytes, lists apart by empty entries, the text last.
fn parts(bytes: &[u8]) -> Option<(VocabularySpec, String)> {
    let (&choices, rest) = bytes.split_first()?;
    let text = String::from_utf8_lossy(rest);
    let mut lists = text.split("\0\0").map(|list| list.split('\0').map(str::to_owned).collect::<Vec<_>>());
    let tokens = lists.next()?;
    let merges = lists.next().unwrap_or_default();
    let numbers = lists.next().unwrap_or_default();
    let text = lists.next().unwrap_or_default().concat();
    let number = |index: usize| numbers.get(index).and_then(|number| number.parse::<u32>().ok());
    let bit = |index: u8| choices >> index & 1 == 1;
    let model = if bit(0) { VocabularyModel::SentencePiece } else { VocabularyModel::BytePairEncoding };
    let pre = [None, Some("default"), Some("llama-bpe"), Some("qwen2")][usize::from(choices >> 6)];
    let count = tokens.len();
    let spec = VocabularySpec {
        model,
        pre_tokenizer: pre.map(str::to_owned),
        scores: (0..count).map(|index| -(index as f32)).collect(),
        token_types: (0..count).map(|index| number(4 + index).map_or(1, |kind| kind as i32)).collect(),
        tokens,
        merges,
        bos: number(0),
        eos: number(1),
        eot: number(2),
        unknown: number(3),
        add_bos: bit(1).then_some(bit(2)),
        add_eos: bit(3).then_some(true),
        space_prefix: bit(4).then_some(if bit(5) { SpacePrefix::First } else { SpacePrefix::Never }),
        ignore_merges: None,
        nfc: bit(5).then_some(bit(4)),
        strips: number(0).map(|id| Strip { id, left: bit(4), right: bit(5) }).into_iter().collect(),
    };
    Some((spec, text))
}

fuzz_target!(|bytes: &[u8]| {
    let Some((spec, text)) = parts(bytes) else { return };
    let Ok(tokenizer) = Tokenizer::new(spec) else { return };
    for parse_special in [false, true] {
        let ids = tokenizer.encode(&text, Special { add_bos: true, parse_special });
        assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocabulary_size()), "ids are of the vocabulary");
        let _ = tokenizer.decode(&ids);
    }
});

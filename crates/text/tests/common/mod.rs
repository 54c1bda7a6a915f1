//! What the tests share: where the shared data lies, a reader of GGUF metadata that knows just enough, a small
//! vocabulary. Nothing of this is in the library.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::path::PathBuf;

use sconce_text::{VocabularyModel, VocabularySpec};

/// A file of the shared data, or `None` with a line that says what is missing.
pub fn shared(path: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("SCONCE_DATA") else {
        eprintln!("skipped: SCONCE_DATA is not set, and {path} of the shared data is needed");
        return None;
    };
    let path = PathBuf::from(root).join(path);
    if !path.exists() {
        eprintln!("skipped: {} is missing", path.display());
        return None;
    }
    Some(path)
}

/// Fifty letters and words with made-up scores, all bytes, `<s>`, `</s>`, `<unk>`, and a user-defined `<tool>`.
pub fn small_sentencepiece() -> VocabularySpec {
    let mut tokens = vec!["<unk>".to_owned(), "<s>".to_owned(), "</s>".to_owned()];
    let mut token_types = vec![2, 3, 3];
    for byte in 0..=255u8 {
        tokens.push(format!("<0x{byte:02X}>"));
        token_types.push(6);
    }
    tokens.push("<tool>".to_owned());
    token_types.push(4);
    let pieces = [
        "\u{2581}",
        "\u{2581}\u{2581}",
        "\u{2581}the",
        "he",
        "th",
        "the",
        "in",
        "an",
        "er",
        "é",
        "née",
        "ab",
        "aa",
        "aaaa",
    ];
    tokens.extend(pieces.iter().map(ToString::to_string));
    tokens.extend((b'a'..=b'z').map(|letter| char::from(letter).to_string()));
    token_types.resize(tokens.len(), 1);
    let scores = (0..tokens.len()).map(|id| -(id as f32)).collect();
    VocabularySpec {
        model: VocabularyModel::SentencePiece,
        pre_tokenizer: None,
        tokens,
        scores,
        token_types,
        merges: Vec::new(),
        bos: Some(1),
        eos: Some(2),
        eot: None,
        unknown: Some(0),
        add_bos: None,
        add_eos: None,
        space_prefix: None,
        ignore_merges: None,
        nfc: None,
        strips: Vec::new(),
    }
}

/// A byte-level vocabulary of the 256 bytes and a few joins.
pub fn small_byte_level(pre_tokenizer: &str) -> VocabularySpec {
    let spelled = |byte: u8| match byte {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
        0..=0x20 => char::from_u32(0x100 + u32::from(byte)).unwrap(),
        0x7F..=0xA0 => char::from_u32(0x121 + u32::from(byte) - 0x7F).unwrap(),
        0xAD => '\u{143}',
    };
    let mut tokens: Vec<String> = (0..=255).map(|byte| spelled(byte).to_string()).collect();
    tokens.extend(["aa", "aaaa", "ĠĠ", "th", "the", "Ġthe", "<|end|>", "<tool>"].map(str::to_owned));
    let mut token_types = vec![1; tokens.len()];
    token_types[256 + 6] = 3;
    token_types[256 + 7] = 4;
    VocabularySpec {
        model: VocabularyModel::BytePairEncoding,
        pre_tokenizer: Some(pre_tokenizer.to_owned()),
        tokens,
        scores: Vec::new(),
        token_types,
        merges: ["a a", "aa aa", "Ġ Ġ", "t h", "th e", "Ġ the"].map(str::to_owned).to_vec(),
        bos: Some(262),
        eos: Some(262),
        eot: None,
        unknown: None,
        add_bos: Some(true),
        add_eos: None,
        space_prefix: None,
        ignore_merges: None,
        nfc: None,
        strips: Vec::new(),
    }
}

/// Reads `tokenizer.ggml.*` of a GGUF file that is known to be good.
pub fn vocabulary_of(path: &std::path::Path) -> VocabularySpec {
    let bytes = std::fs::read(path).expect("the shared vocabulary is readable");
    let mut reader = Reader { bytes: &bytes, position: 0 };
    assert_eq!(reader.take(4), b"GGUF");
    let (_version, _tensors, pairs) = (reader.u32(), reader.u64(), reader.u64());
    let mut spec = VocabularySpec { add_bos: None, ..small_sentencepiece() };
    (spec.bos, spec.eos, spec.unknown) = (None, None, None);
    spec.token_types.clear();
    for _ in 0..pairs {
        let key = reader.text();
        let value = reader.value();
        match (key.strip_prefix("tokenizer.ggml.").unwrap_or_default(), value) {
            ("model", Read::Text(model)) if model == "gpt2" => spec.model = VocabularyModel::BytePairEncoding,
            ("pre", Read::Text(name)) => spec.pre_tokenizer = Some(name),
            ("tokens", Read::Texts(tokens)) => spec.tokens = tokens,
            ("merges", Read::Texts(merges)) => spec.merges = merges,
            ("scores", Read::Numbers(scores)) => spec.scores = scores.into_iter().map(|score| score as f32).collect(),
            ("token_type", Read::Numbers(types)) => {
                spec.token_types = types.into_iter().map(|kind| kind as i32).collect();
            }
            ("bos_token_id", Read::Number(id)) => spec.bos = Some(id as u32),
            ("eos_token_id", Read::Number(id)) => spec.eos = Some(id as u32),
            ("unknown_token_id", Read::Number(id)) => spec.unknown = Some(id as u32),
            ("add_bos_token", Read::Number(flag)) => spec.add_bos = Some(flag != 0.0),
            _ => {}
        }
    }
    if spec.model == VocabularyModel::BytePairEncoding {
        spec.scores.clear();
    }
    spec
}

enum Read {
    Text(String),
    Number(f64),
    Texts(Vec<String>),
    Numbers(Vec<f64>),
}

struct Reader<'bytes> {
    bytes: &'bytes [u8],
    position: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> &[u8] {
        self.position += count;
        &self.bytes[self.position - count..self.position]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    fn text(&mut self) -> String {
        let length = self.u64() as usize;
        String::from_utf8_lossy(self.take(length)).into_owned()
    }

    fn number(&mut self, kind: u32) -> f64 {
        match kind {
            0 | 7 => f64::from(self.take(1)[0]),
            1 => f64::from(self.take(1)[0].cast_signed()),
            2 => f64::from(u16::from_le_bytes(self.take(2).try_into().expect("two bytes"))),
            4 => f64::from(self.u32()),
            5 => f64::from(self.u32().cast_signed()),
            6 => f64::from(f32::from_bits(self.u32())),
            10 => self.u64() as f64,
            _ => panic!("the shared vocabularies have no value of type {kind}"),
        }
    }

    fn value(&mut self) -> Read {
        match self.u32() {
            8 => Read::Text(self.text()),
            9 => {
                let kind = self.u32();
                let count = self.u64();
                if kind == 8 {
                    Read::Texts((0..count).map(|_| self.text()).collect())
                } else {
                    Read::Numbers((0..count).map(|_| self.number(kind)).collect())
                }
            }
            kind => Read::Number(self.number(kind)),
        }
    }
}

/// Splitmix64 (Vigna): the same numbers on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

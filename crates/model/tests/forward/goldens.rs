//! The forward of every architecture against logits and tokens that transformers gave for the same weights. `scripts/goldens`
//! makes the files; nothing of this project takes part in them.

use std::path::PathBuf;

use sconce_model::synth::Quantization;
use sconce_model::{Checkpoint, Devices, KvCache, KvCacheDtype, Llama};
use serde_json::Value;

use crate::batches::{Sequence, advance, greedy};

/// What may separate two ways to add up the same F32 numbers, relative to the largest logit.
const TOLERANCE: f64 = 1e-4;

const BLOCK: usize = 16;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/goldens")
}

fn numbers(value: &Value) -> Vec<u32> {
    value.as_array().expect("an array").iter().map(|number| number.as_u64().expect("a number") as u32).collect()
}

/// A model's files, and what transformers said of them.
struct Golden {
    name: String,
    checkpoint: Checkpoint,
    prompt: Vec<u32>,
    lengths: Vec<usize>,
    /// Logits of the last position, for each length.
    logits: Vec<Vec<f32>>,
    /// A prompt's length, and the tokens that continue it.
    continuations: Vec<(usize, Vec<u32>)>,
    /// Where the model has two tables of rope factors: the context up to which the short one counts.
    short_context: Option<usize>,
}

fn goldens() -> Vec<Golden> {
    let text = std::fs::read_to_string(folder().join("index.json")).expect("the index");
    let index: Value = serde_json::from_str(&text).expect("JSON");
    let lengths: Vec<usize> = numbers(&index["lengths"]).into_iter().map(|length| length as usize).collect();
    let read = |(model, of_folder): (&Value, bool)| {
        let name = model["name"].as_str().expect("a name").to_string();
        // The folder is what transformers saved; the file was converted by the `gguf` package.
        let path = folder().join(if of_folder { name.clone() } else { format!("{name}.gguf") });
        let checkpoint = Checkpoint::open(&path).unwrap_or_else(|error| panic!("{error}"));
        let bytes = std::fs::read(folder().join(format!("{name}.logits"))).expect("logits");
        let floats: Vec<f32> =
            bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes"))).collect();
        let continuations = model["greedy"].as_array().expect("an array").iter();
        Golden {
            name: path.file_name().expect("a name").to_string_lossy().into_owned(),
            checkpoint,
            prompt: numbers(&index["prompt"]),
            logits: floats.chunks_exact(floats.len() / lengths.len()).map(<[f32]>::to_vec).collect(),
            lengths: lengths.clone(),
            continuations: continuations
                .map(|entry| (entry["after"].as_u64().expect("a length") as usize, numbers(&entry["tokens"])))
                .collect(),
            short_context: model["short_context"].as_u64().map(|length| length as usize),
        }
    };
    let models = index["models"].as_array().expect("an array").iter();
    let files = models.clone().map(|model| (model, false));
    files.chain(models.map(|model| (model, true))).map(read).collect()
}

impl Golden {
    /// The model, loaded for a sequence of this length.
    fn load(&self, length: usize) -> Llama {
        let served = self.short_context.filter(|most| length <= *most);
        Llama::load(&self.checkpoint, &Devices::cpu(), served).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// The last row's logits of a prompt that is computed in chunks, in blocks that lie in no order.
    fn last_logits(&self, model: &Llama, length: usize, chunk: usize) -> Vec<f32> {
        let (mut cache, mut sequence) = self.sequence(model, &self.prompt[..length]);
        let mut last = Vec::new();
        while sequence.computed < length {
            let rows = chunk.min(length - sequence.computed);
            last = advance(model, &mut cache, &mut sequence, rows).row(rows - 1).to_vec();
        }
        last
    }

    fn sequence(&self, model: &Llama, tokens: &[u32]) -> (KvCache, Sequence) {
        let blocks = self.prompt.len().div_ceil(BLOCK) + 2;
        let cache = KvCache::allocate(model, blocks, BLOCK, KvCacheDtype::F32).expect("a cache");
        let table: Vec<u32> = (0..blocks).map(|block| ((block * 7 + 3) % blocks) as u32).collect();
        (cache, Sequence::new(tokens, &table))
    }

    /// The largest difference from the golden, relative to its largest logit.
    fn difference(&self, index: usize, chunk: usize) -> f64 {
        let length = self.lengths[index];
        let found = self.last_logits(&self.load(length), length, chunk);
        let expected = &self.logits[index];
        let largest = expected.iter().fold(0f32, |most, logit| most.max(logit.abs()));
        assert!(largest > 0.5, "{}: logits of at most {largest} say nothing", self.name);
        assert_eq!(found.len(), expected.len(), "{}", self.name);
        let worst = found.iter().zip(expected).fold(0f32, |most, (found, expected)| most.max((found - expected).abs()));
        f64::from(worst) / f64::from(largest)
    }
}

#[test]
fn every_architecture_gives_the_logits_that_transformers_gives() {
    let goldens = goldens();
    assert!(goldens.len() >= 22, "only {} models", goldens.len());
    let mut report = String::new();
    let mut worst = 0f64;
    for golden in &goldens {
        for (index, length) in golden.lengths.iter().enumerate() {
            // Whole, in chunks that end inside of blocks and windows, and token by token as decoding does.
            for chunk in [*length, 37, 1] {
                let found = golden.difference(index, chunk);
                worst = worst.max(found);
                if found > TOLERANCE {
                    report.push_str(&format!("{}, {length} tokens in chunks of {chunk}: {found:.2e}\n", golden.name));
                }
            }
        }
    }
    println!("largest difference of {} checkpoints: {worst:.2e} of the largest logit", goldens.len());
    assert!(report.is_empty(), "beyond {TOLERANCE:.0e} of the largest logit:\n{report}");
}

#[test]
fn every_architecture_continues_as_transformers_does() {
    for golden in goldens() {
        for (after, expected) in &golden.continuations {
            let model = golden.load(after + expected.len());
            let (mut cache, mut sequence) = golden.sequence(&model, &golden.prompt[..*after]);
            let mut rows = *after;
            let mut found = Vec::new();
            while found.len() < expected.len() {
                let logits = advance(&model, &mut cache, &mut sequence, rows);
                found.push(greedy(logits.row(rows - 1)));
                sequence.tokens.extend(found.last());
                rows = 1;
            }
            assert_eq!(&found, expected, "{} after {after} tokens", golden.name);
        }
    }
}

#[test]
fn what_is_exported_of_a_folder_gives_its_logits() {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut folders = 0;
    for mut golden in goldens().into_iter().filter(|golden| golden.checkpoint.path().is_dir()) {
        folders += 1;
        let whole = |golden: &Golden| -> Vec<Vec<f32>> {
            let lengths = golden.lengths.iter();
            lengths.map(|length| golden.last_logits(&golden.load(*length), *length, *length)).collect()
        };
        let expected = whole(&golden);
        let source = golden.checkpoint.path().to_path_buf();
        for quantization in [Quantization::BF16, Quantization::F32] {
            let file = scratch.path().join(format!("{}-{}.gguf", golden.name, quantization.name()));
            let (converted, fallbacks) = Checkpoint::open(&source).expect("a folder").quantized(quantization);
            assert!(fallbacks.is_empty(), "{}: {fallbacks:?}", golden.name);
            converted.write_gguf(&file, quantization, &[], &mut |_, _| {}).expect("an exported file");
            golden.checkpoint = Checkpoint::open(&file).expect("an exported file");
            // The weights are exact in both types, and both are multiplied as F32.
            assert!(whole(&golden) == expected, "{} exported as {}", golden.name, quantization.name());
        }
    }
    assert!(folders >= 7, "only {folders} folders");
}

//! Encoding over texts of growing length, with a small vocabulary of each model: the rate must not fall with the length.
//! Prose, one letter without end, and letters without a border between words.

use std::hint::black_box;
use std::path::PathBuf;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sconce_text::{HuggingFaceTokenizer, Special, Tokenizer};

const BYTES: [usize; 3] = [1 << 16, 1 << 18, 1 << 20];

/// A page, repeated up to a length.
fn prose(bytes: usize) -> String {
    include_str!("../../../corpus/roles/ai-solutions-architect.md").chars().cycle().take(bytes).collect()
}

fn letters(bytes: usize) -> String {
    (0..bytes).map(|index| char::from(b'a' + (index * index % 26) as u8)).collect()
}

/// One of the goldens.
fn tokenizer(name: &str) -> Tokenizer {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tokenizers");
    let read = |file: String| std::fs::read(folder.join(file)).expect("a golden");
    let (file, config) = (read(format!("{name}.json")), read(format!("{name}.config.json")));
    let found = HuggingFaceTokenizer::read(&file, Some(&config)).expect("a tokenizer");
    Tokenizer::new(found.vocabulary).expect("a tokenizer")
}

fn encode(criterion: &mut Criterion) {
    for name in ["llama2", "llama3", "qwen2"] {
        let tokenizer = tokenizer(name);
        let mut group = criterion.benchmark_group(format!("encode/{name}"));
        group.sample_size(10);
        for bytes in BYTES {
            group.throughput(Throughput::Bytes(bytes as u64));
            let texts = [("prose", prose(bytes)), ("one_letter", "a".repeat(bytes)), ("letters", letters(bytes))];
            for (kind, text) in texts {
                group.bench_with_input(BenchmarkId::new(kind, bytes), &text, |bench, text| {
                    bench.iter(|| tokenizer.encode(black_box(text), Special::default()));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, encode);
criterion_main!(benches);

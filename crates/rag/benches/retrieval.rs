//! Retrieval and ingestion over a generated store: 40,000 chunks whose words follow Zipf's law, so that common words are as
//! common as in prose. Questions name a role and a topic, name words only, or hold nothing but common words.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use sconce_rag::{
    AnswerOptions, Attributes, IngestOptions, Metadata, NewFile, ParseLimits, SearchOptions, Store, answer,
    chunk_document, parse_document,
};

const DOCUMENTS: usize = 1_000;
const SECTIONS: usize = 40;
const WORDS_PER_SECTION: usize = 120;
const VOCABULARY: usize = 30_000;

/// SplitMix64: the same documents in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A rank drawn with probability close to 1/rank.
    fn zipf(&mut self) -> usize {
        ((VOCABULARY as f64).powf(self.unit()) as usize).clamp(1, VOCABULARY) - 1
    }
}

/// A pronounceable word for a rank; the first ones are the words that questions about roles use.
fn word(rank: usize) -> String {
    const COMMON: [&str; 12] = [
        "work",
        "pay",
        "job",
        "wage",
        "employment",
        "median",
        "training",
        "education",
        "annual",
        "experience",
        "growth",
        "skill",
    ];
    if let Some(common) = COMMON.get(rank) {
        return (*common).to_owned();
    }
    let syllables = ["ba", "ke", "ri", "mo", "tu", "sa", "le", "ni", "do", "vu", "ga", "pe", "zi", "co", "fu"];
    let mut rest = rank;
    let mut word = String::new();
    while rest > 0 {
        word.push_str(syllables[rest % syllables.len()]);
        rest /= syllables.len();
    }
    word
}

fn document(index: usize, random: &mut Random) -> String {
    let mut text = format!("# {} {}ers\n\n", word(5_000 + index), word(12_000 + index));
    for section in 0..SECTIONS {
        text.push_str(&format!("## {} {section}\n\n", word(random.zipf())));
        for at in 0..WORDS_PER_SECTION {
            text.push_str(&word(random.zipf()));
            text.push_str(if at % 15 == 14 { ". The " } else { " " });
        }
        text.push_str("end.\n\n");
    }
    text
}

fn retrieval(criterion: &mut Criterion) {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let store = Store::open(&scratch.path().join("bench.db")).expect("a store");
    let vector_store = store.create_vector_store("bench", &Metadata::new()).expect("a vector store").id;
    let mut random = Random(1);
    let mut first = String::new();
    for index in 0..DOCUMENTS {
        let text = document(index, &mut random);
        let file = NewFile { filename: &format!("{index}.md"), bytes: text.as_bytes(), purpose: "assistants" };
        let file = store.create_file(&file).expect("stored");
        store.attach(&vector_store, &file.id, &Attributes::new()).expect("attached");
        if index == 0 {
            first = text;
        }
    }
    let parsed = parse_document("0.md", first.as_bytes(), &ParseLimits::default()).expect("parses");
    assert_eq!(chunk_document("0.md", &parsed).expect("chunks").len() * DOCUMENTS, 40_000);

    let role = format!("How much do {} {}ers earn?", word(5_500), word(12_500));
    let words = format!("{} {} {}", word(900), word(2_500), word(40));
    let questions =
        [("role and topic", role.as_str()), ("words", &words), ("common words", "work pay training experience")];
    let mut group = criterion.benchmark_group("40,000 chunks");
    group.measurement_time(Duration::from_secs(8));
    let options = AnswerOptions { store_ids: vec![vector_store.clone()], ..AnswerOptions::default() };
    for (name, question) in questions {
        group.bench_function(format!("search, {name}"), |bencher| {
            bencher.iter(|| {
                store.search(&[&vector_store], black_box(question), &SearchOptions::default()).expect("a search")
            });
        });
        group.bench_function(format!("quoted answer, {name}"), |bencher| {
            bencher.iter(|| answer(&store, black_box(question), &options, None).expect("an answer"));
        });
    }
    group.finish();
}

fn ingestion(criterion: &mut Criterion) {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let mut random = Random(2);
    for index in 0..100 {
        std::fs::write(scratch.path().join(format!("{index}.md")), document(index, &mut random)).expect("written");
    }
    let mut group = criterion.benchmark_group("ingestion");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    group.bench_function("100 documents of 40 chunks", |bencher| {
        bencher.iter(|| {
            let database = tempfile::tempdir().expect("a scratch folder");
            let store = Store::open(&database.path().join("bench.db")).expect("a store");
            let vector_store = store.create_vector_store("bench", &Metadata::new()).expect("a vector store").id;
            store
                .ingest_folder(&vector_store, scratch.path(), &IngestOptions::default(), &mut |_| ())
                .expect("ingested")
                .added
        });
    });
    group.finish();
}

criterion_group!(benches, retrieval, ingestion);
criterion_main!(benches);

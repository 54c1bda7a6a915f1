//! Ingests the occupational handbook and asks the 60 questions that `scripts/quick_facts.py` made from its tables. An answer
//! is right when its first citation is from the page asked about, its spans are found in the source, and a quote states the
//! fact. Needs the shared data; prints what is missing otherwise.

use std::path::{Path, PathBuf};

use sconce_rag::{AnswerOptions, IngestOptions, Metadata, Route, Store, answer};

#[derive(serde::Deserialize)]
struct Question {
    question: String,
    page: String,
    fact: String,
    expected: Vec<String>,
}

fn handbook() -> Option<PathBuf> {
    let Some(data) = std::env::var_os("SCONCE_DATA") else {
        eprintln!("skipped: SCONCE_DATA is not set");
        return None;
    };
    let folder = Path::new(&data).join("data/roles/ooh");
    if !folder.is_dir() {
        eprintln!("skipped: {} is missing", folder.display());
        return None;
    }
    Some(folder)
}

fn questions() -> Vec<Question> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/quick_facts_questions.jsonl");
    let lines = std::fs::read_to_string(path).expect("the committed questions");
    lines.lines().skip(1).map(|line| serde_json::from_str(line).expect("a question")).collect()
}

/// Whether `quote` holds `figure` as a whole: "4%" does not stand in "24%".
fn states(quote: &str, figure: &str) -> bool {
    quote.match_indices(figure).any(|(at, _)| {
        let before = quote[..at].chars().next_back();
        let after = quote[at + figure.len()..].chars().next();
        let joins = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
        !joins(before) && !joins(after) && !matches!(before, Some('-' | ',' | '.'))
    })
}

#[test]
fn nine_of_ten_questions_about_quick_facts_are_answered_from_the_right_page() {
    let Some(folder) = handbook() else { return };
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let store = Store::open(&scratch.path().join("handbook.db")).expect("a new store");
    let vector_store = store.create_vector_store("handbook", &Metadata::new()).expect("a vector store");
    let report = store
        .ingest_folder(&vector_store.id, &folder, &IngestOptions::default(), &mut |_| ())
        .expect("the folder can be read");
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    assert_eq!(report.added, 292);

    let options = AnswerOptions { store_ids: vec![vector_store.id], ..AnswerOptions::default() };
    let (mut right, mut asked) = (0, 0);
    for question in questions() {
        asked += 1;
        let answer = answer(&store, &question.question, &options, None).expect("an answer");
        for citation in &answer.citations {
            let source = std::fs::read_to_string(folder.join(&citation.filename)).expect("the cited page");
            assert_eq!(
                source.get(citation.source_span.clone()),
                Some(citation.quote.as_str()),
                "{}",
                question.question
            );
            assert_eq!(answer.text.get(citation.answer_span.clone()), Some(citation.quote.as_str()));
        }
        let on_page = answer.citations.first().is_some_and(|first| first.filename == question.page);
        let told = answer
            .citations
            .iter()
            .any(|citation| question.expected.iter().any(|figure| states(&citation.quote, figure)));
        if answer.route == Route::Quoted && on_page && told {
            right += 1;
        } else {
            eprintln!(
                "wrong ({}): {}\n  expected {:?} on {}\n{}",
                question.fact, question.question, question.expected, question.page, answer.text
            );
        }
    }
    eprintln!("{right} of {asked} right");
    assert_eq!(asked, 60);
    assert!(right >= 54, "{right} of {asked} right");
}

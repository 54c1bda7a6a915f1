//! What an answer may rest on when the store changes while it is generated, and how exactly the bounds of a request hold.
//! Needs no data.

use sconce_rag::{
    Answer, AnswerOptions, AnswerPrompt, Attributes, FallbackReason, Generator, GeneratorError, Metadata, NewFile,
    RagError, Route, Store, answer,
};

const BAKERS: &str = "# Bakers\n\n## Pay\n\nThe median annual wage for bakers was $36,650 in May 2024.\n";
const TAILORS: &str = "# Tailors\n\n## Pay\n\nThe median annual wage for tailors was $38,100 in May 2024.\n";

struct Fixture {
    store: Store,
    vector_store: String,
    bakers: String,
    tailors: String,
}

fn fixture() -> Fixture {
    let store = Store::in_memory().expect("a store in memory");
    let vector_store = store.create_vector_store("roles", &Metadata::new()).expect("a vector store").id;
    let attached = |name: &str, text: &str| {
        let new = NewFile { filename: name, bytes: text.as_bytes(), purpose: "assistants" };
        let file = store.create_file(&new).expect("stored").id;
        store.attach(&vector_store, &file, &Attributes::new()).expect("attached");
        file
    };
    let (bakers, tailors) = (attached("bakers.md", BAKERS), attached("tailors.md", TAILORS));
    Fixture { store, vector_store, bakers, tailors }
}

impl Fixture {
    fn options(&self) -> AnswerOptions {
        AnswerOptions { store_ids: vec![self.vector_store.clone()], ..AnswerOptions::default() }
    }

    /// Asks, with a change of the store while the answer is generated.
    fn ask_while(&self, change: &dyn Fn(&Fixture)) -> Answer {
        let generator = Meanwhile { fixture: self, change };
        answer(&self.store, "What is the median annual wage for bakers?", &self.options(), Some(&generator))
            .expect("an answer")
    }
}

/// Copies the sentence about bakers, while something happens.
struct Meanwhile<'a> {
    fixture: &'a Fixture,
    change: &'a dyn Fn(&Fixture),
}

impl Generator for Meanwhile<'_> {
    fn generate(&self, prompt: &AnswerPrompt) -> Result<String, GeneratorError> {
        (self.change)(self.fixture);
        let passage = prompt.passages.iter().find(|passage| passage.text.contains("36,650")).expect("the passage");
        Ok(format!("The median annual wage for bakers was $36,650 [{}].", passage.number))
    }
}

#[test]
fn nothing_changed_leaves_a_generated_answer() {
    let answer = fixture().ask_while(&|_| ());
    assert_eq!(answer.route, Route::Generated, "{:?}", answer.fallback);
    assert_eq!(answer.hits.len(), 2);
}

#[test]
fn what_goes_while_an_answer_is_generated_leaves_in_no_part_of_it() {
    let changes: [&dyn Fn(&Fixture); 3] = [
        &|fixture| fixture.store.delete_file(&fixture.bakers).expect("deleted"),
        &|fixture| {
            // Another store goes on holding the document.
            let other = fixture.store.create_vector_store("other", &Metadata::new()).expect("a vector store").id;
            fixture.store.attach(&other, &fixture.bakers, &Attributes::new()).expect("attached");
            fixture.store.detach(&fixture.vector_store, &fixture.bakers).expect("detached");
        },
        &|fixture| fixture.store.delete_vector_store(&fixture.vector_store).expect("deleted"),
    ];
    for change in changes {
        let answer = fixture().ask_while(change);
        assert_ne!(answer.route, Route::Generated);
        assert!(matches!(answer.fallback, Some(FallbackReason::Unsupported { .. })), "{:?}", answer.fallback);
        assert!(!format!("{answer:?}").contains("36,650"), "{answer:?}");
    }
}

#[test]
fn an_answer_does_not_rest_on_a_prompt_with_a_passage_that_went() {
    let answer = fixture().ask_while(&|fixture| fixture.store.delete_file(&fixture.tailors).expect("deleted"));
    assert_eq!(answer.route, Route::Quoted);
    assert!(answer.text.contains("$36,650"), "{}", answer.text);
    assert!(!format!("{answer:?}").contains("38,100"), "{answer:?}");
}

#[test]
fn the_number_of_results_bounds_what_is_cited_and_returned() {
    let fixture = fixture();
    let ask = |max_num_results| {
        let options = AnswerOptions { max_num_results, max_quotes: 10, ..fixture.options() };
        answer(&fixture.store, "What is the median annual wage?", &options, None).expect("an answer")
    };
    assert_eq!((ask(None).hits.len(), ask(None).citations.len()), (2, 2));
    assert_eq!((ask(Some(1)).hits.len(), ask(Some(1)).citations.len()), (1, 1));
}

#[test]
fn the_score_threshold_is_put_to_every_result() {
    let fixture = fixture();
    let ask = |score_threshold| {
        let options = AnswerOptions { score_threshold, ..fixture.options() };
        answer(&fixture.store, "What is the median annual wage for bakers?", &options, None).expect("an answer")
    };
    let scores: Vec<f64> = ask(Some(0.0)).hits.iter().map(|hit| hit.score).collect();
    assert!(scores.len() == 2 && scores[0] > scores[1], "{scores:?}");
    let between = ask(Some(scores[0]));
    assert_eq!((between.route, between.hits.len()), (Route::Quoted, 1));
    let above = ask(Some(1.0));
    assert_eq!((above.route, above.hits.len()), (Route::NotFound, 0));
}

#[test]
fn bounds_out_of_range_are_named() {
    let fixture = fixture();
    let bad = [
        (AnswerOptions { max_num_results: Some(0), ..fixture.options() }, "max_num_results"),
        (AnswerOptions { max_num_results: Some(51), ..fixture.options() }, "max_num_results"),
        (AnswerOptions { score_threshold: Some(1.5), ..fixture.options() }, "score_threshold"),
    ];
    for (options, name) in bad {
        let error = answer(&fixture.store, "wage", &options, None).expect_err(name);
        assert!(matches!(&error, RagError::Invalid { field, .. } if field == name), "{error}");
    }
}

#[test]
fn how_many_of_something_is_answered_by_the_sentence_that_counts_it() {
    let fixture = fixture();
    let text = "# Lamplighters\n\n## Duties\n\nA lamplighter tends 80 street lamps each night.\n";
    let new = NewFile { filename: "lamplighters.md", bytes: text.as_bytes(), purpose: "assistants" };
    let file = fixture.store.create_file(&new).expect("stored").id;
    fixture.store.attach(&fixture.vector_store, &file, &Attributes::new()).expect("attached");
    let question = "How many street lamps does a lamplighter tend?";
    let answer = answer(&fixture.store, question, &fixture.options(), None).expect("an answer");
    assert_eq!(answer.citations[0].quote, "A lamplighter tends 80 street lamps each night.");
}

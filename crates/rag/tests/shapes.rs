//! Facts in documents of uncommon shapes: none of them is lost on its way from the bytes to an answer. Needs no data.

use sconce_rag::{AnswerOptions, Attributes, Metadata, NewFile, Route, SearchOptions, Store, answer};

/// A store of one document, with the id of its vector store.
fn store_of(filename: &str, text: &str) -> (Store, String) {
    let store = Store::in_memory().expect("a store in memory");
    let vector_store = store.create_vector_store("roles", &Metadata::new()).expect("a vector store").id;
    let file = store.create_file(&NewFile { filename, bytes: text.as_bytes(), purpose: "assistants" }).expect("stored");
    let attached = store.attach(&vector_store, &file.id, &Attributes::new()).expect("attached");
    assert!(attached.last_error.is_none(), "{:?}", attached.last_error);
    (store, vector_store)
}

/// The quotes that answer a question from one document.
fn quotes(filename: &str, text: &str, question: &str) -> Vec<String> {
    let (store, vector_store) = store_of(filename, text);
    let options = AnswerOptions { store_ids: vec![vector_store], ..AnswerOptions::default() };
    let answer = answer(&store, question, &options, None).expect("an answer");
    assert_eq!(answer.route, Route::Quoted, "{question}");
    answer.citations.into_iter().map(|citation| citation.quote).collect()
}

#[test]
fn facts_on_lines_of_their_own_answer() {
    let text = "Baker\n\nWe look for a baker who bakes bread at night.\n\nSalary: $50,000\n\nLocation: Leeds\n\nApply by \
        letter.\n\nFull time position\n\nDuties\n";
    assert_eq!(quotes("baker.txt", text, "What is the salary of a baker?")[0], "Salary: $50,000");
    assert_eq!(quotes("baker.txt", text, "What is the location of the baker?")[0], "Location: Leeds");
    assert_eq!(quotes("baker.txt", text, "Is the baker a full time position?")[0], "Full time position");
}

#[test]
fn definitions_inside_a_definition_are_found() {
    let text = "# Baker\n\nBenefits\n:   Paid leave\n\n    Holiday\n    :   25 days\n\n    Sick pay\n    :   10 days\n";
    let (store, vector_store) = store_of("baker.md", text);
    let hits = store.search(&[&vector_store], "sick pay of a baker", &SearchOptions::default()).expect("a search");
    assert!(hits[0].text.contains("10 days"), "{hits:?}");
}

#[test]
fn a_list_with_carriage_returns_is_quoted_like_one_without() {
    let text = "# Bakers\n\n## Duties\n\nBakers typically do the following:\n\n* Mix dough\n* Watch the ovens\n\nThey also \
        sell.\n";
    for text in [text.to_owned(), text.replace('\n', "\r\n")] {
        let first = &quotes("bakers.md", &text, "What do bakers do?")[0];
        assert!(first.starts_with("Bakers typically") && first.ends_with("* Watch the ovens"), "{first}");
    }
}

#[test]
fn a_label_within_the_line_is_quoted_with_what_it_labels() {
    let text =
        "# Bakers\n\n## Important Qualities\n\n***Patience*.** Bakers wait for dough to rise.\n\nMost bakers sing.\n";
    let quotes = quotes("bakers.md", text, "Which qualities do bakers need?");
    assert_eq!(quotes[0], "***Patience*.** Bakers wait for dough to rise.");
    assert!(!quotes.contains(&"***Patience*.**".to_owned()), "{quotes:?}");
}

#[test]
fn a_sentence_that_only_points_elsewhere_is_left_out() {
    let text =
        "# Bakers\n\nBakers work at night.\n\nFor more information about bakers who work at night, visit the site.\n";
    assert_eq!(quotes("bakers.md", text, "Do bakers work at night?"), ["Bakers work at night."]);
}

#[test]
fn a_question_that_names_many_roles_is_answered() {
    let store = Store::in_memory().expect("a store in memory");
    let vector_store = store.create_vector_store("roles", &Metadata::new()).expect("a vector store").id;
    let roles = ["bakers", "cooks", "tailors", "nurses", "pilots", "judges", "clerks", "actors", "dancers", "miners"];
    for role in roles {
        let text = format!("# {role}\n\nThe wage of {role} is $36,650.\n");
        let new = NewFile { filename: &format!("{role}.md"), bytes: text.as_bytes(), purpose: "assistants" };
        let file = store.create_file(&new).expect("stored").id;
        store.attach(&vector_store, &file, &Attributes::new()).expect("attached");
    }
    let options = SearchOptions { max_num_results: 50, ..SearchOptions::default() };
    let question = format!("What do {} earn?", roles.join(", "));
    let hits = store.search(&[&vector_store], &question, &options).expect("a search");
    // Eight of them are read as roles, the others as words like any other.
    assert_eq!(hits.len(), roles.len());
    assert!(hits[7].score > 1.2 * hits[8].score, "{:?}", hits.iter().map(|hit| hit.score).collect::<Vec<_>>());
}

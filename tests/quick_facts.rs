//! Questions that a script made from the quick-facts tables of 292 occupation pages, asked through the server: the right
//! page's words, with a citation whose span is found in the source.

mod common;

use common::{Server, run, words};
use serde_json::{Value, json};

#[test]
fn four_of_five_questions_are_answered_with_the_right_pages_words() {
    let Some(pages) = common::shared("data/roles/ooh") else { return };
    let data = tempfile::tempdir().expect("a folder");
    let output = run(data.path(), &["ingest", pages.to_str().expect("UTF-8"), "--store", "ooh"]);
    assert!(output.status.success(), "{}", words(&output));
    let server = Server::start(data.path(), &["--no-sample-corpus", "--model", "none"]);
    let (_, stores) = server.get("/v1/vector_stores");
    let stores: Value = serde_json::from_str(&stores).expect("JSON");
    let store =
        stores["data"].as_array().expect("stores").iter().find(|store| store["name"] == "ooh").expect("it is there");
    let questions =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/quick_facts_questions.jsonl"));
    let questions: Vec<Value> = questions
        .expect("the questions")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|line| line.get("question").is_some())
        .collect();
    assert_eq!(questions.len(), 60);
    let mut right = 0;
    for question in &questions {
        let tool = json!({"type": "file_search", "vector_store_ids": [store["id"]]});
        let body = json!({"input": question["question"], "tools": [tool]});
        let (status, answer) = server.post("/v1/responses", &body);
        assert_eq!(status, 200, "{answer}");
        match judge(&answer, question, &pages) {
            Ok(()) => right += 1,
            Err(why) => eprintln!("{}: {why}", question["question"]),
        }
    }
    eprintln!("{right} of {} right through /v1/responses", questions.len());
    assert!(right * 5 >= questions.len() * 4, "{right} of {}", questions.len());
    let asked = words(&run(data.path(), &["ask", "--model", "none", "How much do carpenters earn?"]));
    assert!(asked.contains("$59,310") && asked.contains("Carpenters"), "{asked}");
}

/// The first citation is of the right page, every quote of that page is there at its span, and one holds the fact.
fn judge(answer: &Value, question: &Value, pages: &std::path::Path) -> Result<(), String> {
    let citations = answer["sconce"]["citations"].as_array().ok_or("no citations")?;
    let first = citations.first().ok_or("no citation")?;
    let page = question["page"].as_str().expect("a page");
    let stem = page.trim_end_matches(".md");
    let cited = first["filename"].as_str().unwrap_or_default();
    if cited != format!("{stem}.md") {
        return Err(format!("cites {cited}, not {page}"));
    }
    let source = std::fs::read_to_string(pages.join(format!("{stem}.md"))).expect("the page");
    let mut fact = false;
    for citation in citations {
        let quote = citation["quote"].as_str().unwrap_or_default();
        let (start, end) = span(&citation["source_span"]).ok_or("a citation without a span")?;
        if cited != citation["filename"] {
            continue;
        }
        if source.get(start..end) != Some(quote) {
            return Err(format!("{quote:?} is not at its span"));
        }
        let expected = question["expected"].as_array().expect("expected");
        fact |= expected.iter().any(|text| quote.contains(text.as_str().unwrap_or_default()));
    }
    if fact { Ok(()) } else { Err(format!("none of {} in {}", question["expected"], first["quote"])) }
}

fn span(value: &Value) -> Option<(usize, usize)> {
    let at = |name: &str, index: usize| value.get(name).or_else(|| value.get(index)).and_then(Value::as_u64);
    Some((usize::try_from(at("start", 0)?).ok()?, usize::try_from(at("end", 1)?).ok()?))
}

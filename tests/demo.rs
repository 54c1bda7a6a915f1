//! The demo model that travels inside the binary: on a fresh machine, without a download, it answers from documents, and on
//! questions about occupations that it was not trained on it does about what its card says.

mod common;

use common::{Server, run, sconce, words};
use serde_json::{Value, json};

/// Questions with their passages, made by `scripts/train/tasks.py --held-out --json`.
fn questions() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/demo_questions.jsonl");
    let lines = std::fs::read_to_string(path).expect("the questions");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_fresh_machine_answers_in_the_models_words_with_citations() {
    let data = tempfile::tempdir().expect("a folder");
    let ask = |question: &str| {
        let output = run(data.path(), &["ask", "--json", question]);
        assert!(output.status.success(), "{}", words(&output));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    // Its own words or quotes: either is cited, and of the right document.
    let answer = ask("What does an AI Solutions Architect do?");
    assert_eq!(answer["citations"][0]["filename"], "ai-solutions-architect.md", "{answer}");
    let answer = ask("What are the duties of a product manager?");
    assert_eq!(answer["citations"][0]["filename"], "product-manager.md", "{answer}");
    assert_eq!(answer["route"], "generated", "{answer}");
    let text = answer["answer"].as_str().expect("text");
    assert!(text.contains("Interview customers regularly") && !text.contains("<|"), "{answer}");
    let told = words(&run(data.path(), &["ask", "What are the duties of a product manager?"]));
    assert!(told.contains("Written by the model"), "{told}");
}

#[test]
fn the_server_says_which_model_answers_and_how_to_get_another() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path(), &[]);
    assert!(server.greeting.contains("sconce-demo") && server.greeting.contains("sconce pull"), "{}", server.greeting);
    assert!(!server.greeting.contains("Once upon a time"), "it cannot go on with a story: {}", server.greeting);
    let (_, models) = server.get("/v1/models");
    assert!(models.contains("\"sconce-demo\""), "{models}");
    let output = run(data.path(), &["pull", "sconce-demo"]);
    assert!(!output.status.success() && words(&output).contains("travels inside"), "{}", words(&output));
    let output = run(data.path(), &["verify", "sconce-demo"]);
    assert!(output.status.success() && words(&output).contains("as recorded"), "{}", words(&output));
}

#[test]
fn a_cache_that_cannot_be_written_leaves_search_and_quotes() {
    let data = tempfile::tempdir().expect("a folder");
    let taken = data.path().join("taken");
    std::fs::write(&taken, "a file, not a folder").expect("written");
    let mut command = sconce(data.path());
    command.env("XDG_CACHE_HOME", &taken);
    let server = Server::start_as(command, &[]);
    assert!(server.greeting.contains("none: search and quoted answers only"), "{}", server.greeting);
    let mut named = sconce(data.path());
    let output = named.env("XDG_CACHE_HOME", &taken).args(["ask", "--model", "sconce-demo", "Why?"]).output();
    let told = words(&output.expect("the binary starts"));
    assert!(told.contains("--model none") && told.contains("taken"), "{told}");
}

#[test]
fn what_it_was_not_trained_on_is_answered_about_as_its_card_says() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path(), &["--no-sample-corpus"]);
    let mut counts = std::collections::BTreeMap::new();
    for question in questions() {
        let task = question["task"].as_str().expect("a task").to_owned();
        let messages = json!([{"role": "user", "content": question["user"]}]);
        let (status, answer) = server.post(
            "/v1/chat/completions",
            &json!({"model": "sconce-demo", "messages": messages, "temperature": 0, "max_tokens": 160}),
        );
        assert_eq!(status, 200, "{answer}");
        let text = answer["choices"][0]["message"]["content"].as_str().expect("text");
        assert!(!text.contains("<|"), "what it plans is not shown: {text}");
        let mut gold: Vec<u64> =
            question["gold"].as_array().expect("numbers").iter().filter_map(Value::as_u64).collect();
        gold.sort_unstable();
        let is_good = match task.as_str() {
            "answer" | "compare" => cited(text) == gold,
            _ => text == question["answer"].as_str().expect("an answer"),
        };
        let (good, all) = counts.entry(task).or_insert((0, 0));
        *good += usize::from(is_good);
        *all += 1;
    }
    eprintln!("{counts:?}");
    assert!(counts.contains_key("answer") && counts.contains_key("refuse"), "{counts:?}");
    // What the card says, less what chance may take from so few.
    for (task, least) in [("answer", 0.85), ("refuse", 0.65)] {
        let (good, all) = counts[task];
        assert!(good as f64 >= least * all as f64, "{task}: {good} of {all}");
    }
}

/// The passages that an answer names, each once, in order.
fn cited(text: &str) -> Vec<u64> {
    let numbers = text.split('[').skip(1).filter_map(|rest| rest.split(']').next()?.parse().ok());
    let mut found: Vec<u64> = numbers.collect();
    found.sort_unstable();
    found.dedup();
    found
}

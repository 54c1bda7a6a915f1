//! A fresh machine: no documents, no download, two commands. What the demo model makes of them is in `demo.rs`.

mod common;

use common::{Server, run, words};
use serde_json::{Value, json};

#[test]
fn a_start_without_a_model_answers_from_the_sample_documents_and_says_how_to_get_one() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path(), &["--model", "none"]);
    assert!(server.greeting.contains("sconce serve --model"), "{}", server.greeting);
    assert!(server.greeting.contains("curl http://"), "{}", server.greeting);
    let store = server.greeting.split("\"vs_").nth(1).and_then(|rest| rest.split('"').next()).expect("a store's id");
    let body = json!({
        "input": "What does an AI Solutions Architect do?",
        "tools": [{"type": "file_search", "vector_store_ids": [format!("vs_{store}")]}],
    });
    let (status, answer) = server.post("/v1/responses", &body);
    assert_eq!(status, 200, "{answer}");
    let message =
        answer["output"].as_array().expect("items").iter().find(|item| item["type"] == "message").expect("a message");
    let annotations = message["content"][0]["annotations"].as_array().expect("annotations");
    assert!(annotations.iter().any(|note| note["filename"] == "ai-solutions-architect.md"), "{answer}");
    let (status, error) = server.post("/v1/completions", &json!({"prompt": "Once"}));
    assert_eq!(status, 503);
    assert!(error["error"]["message"].as_str().expect("a message").contains("--model"), "{error}");
    let (status, ready) = server.get("/ready");
    assert_eq!(status, 200, "{ready}");
    assert_eq!(server.get("/health").0, 200);
    assert!(server.stop("-TERM").success(), "SIGTERM drains and exits with 0");
    let again = Server::start(data.path(), &["--model", "none"]);
    let (_, stores) = again.get("/v1/vector_stores");
    assert_eq!(stores.matches("sample roles").count(), 1, "a second start adds nothing: {stores}");
    assert!(again.stop("-INT").success(), "Ctrl-C drains and exits with 0");
    let locked = Server::start(data.path(), &["--model", "none", "--api-key", "sesame"]);
    assert!(locked.greeting.contains("-H \"Authorization: Bearer $SCONCE_API_KEY\""), "{}", locked.greeting);
    assert!(!locked.greeting.contains("sesame"), "{}", locked.greeting);
}

#[test]
fn samples_that_somebody_deleted_do_not_come_back() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path(), &[]);
    let (_, stores) = server.get("/v1/vector_stores");
    let stores: Value = serde_json::from_str(&stores).expect("JSON");
    let id = stores["data"][0]["id"].as_str().expect("an id");
    assert_eq!(server.request("DELETE", &format!("/v1/vector_stores/{id}"), None).0, 200);
    let files = server.get("/v1/files?limit=100").1;
    assert!(server.stop("-TERM").success());
    let again = Server::start(data.path(), &[]);
    assert_eq!(again.get("/v1/files?limit=100").1, files, "no file is added");
    assert!(!again.get("/v1/vector_stores").1.contains("sample roles"));
}

#[test]
fn a_store_that_was_to_stay_empty_stays_empty_when_it_is_asked() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path(), &["--no-sample-corpus"]);
    let output = run(data.path(), &["ask", "What does an AI Solutions Architect do?"]);
    assert!(!output.status.success() && words(&output).contains("sconce ingest"), "{}", words(&output));
    for list in ["/v1/vector_stores", "/v1/files"] {
        let (_, listed) = server.get(list);
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        assert_eq!(listed["data"], json!([]), "{list}");
    }
}

#[test]
fn ask_answers_with_citations_and_says_when_the_documents_do_not_tell() {
    let data = tempfile::tempdir().expect("a folder");
    let output = run(data.path(), &["ask", "--json", "--model", "none", "What does an AI Solutions Architect do?"]);
    assert!(output.status.success(), "{}", words(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["route"], "quoted");
    assert_eq!(answer["citations"][0]["filename"], "ai-solutions-architect.md", "{answer}");
    let text = words(&run(data.path(), &["ask", "--model", "none", "What does an AI Solutions Architect do?"]));
    assert!(text.contains("[1]") && text.contains("Quoted word for word"), "{text}");
    let text = words(&run(data.path(), &["ask", "How deep is the Mariana Trench?"]));
    assert!(text.starts_with("The documents do not tell"), "{text}");
}

#[test]
fn ask_says_when_there_is_nothing_to_ask() {
    let data = tempfile::tempdir().expect("a folder");
    let [none, empty] = ["none", "empty"].map(|name| data.path().join(name));
    let folder = none.to_str().expect("UTF-8");
    let refused = run(data.path(), &["ask", "--data-dir", folder, "What does a falconer do?"]);
    assert!(
        !refused.status.success() && words(&refused).contains("there is no document store in"),
        "{}",
        words(&refused)
    );
    assert!(!none.exists(), "a mistyped folder is not made");
    std::fs::create_dir(&empty).expect("a folder");
    // Nothing is read, but the store is there.
    let folder = empty.to_str().expect("UTF-8");
    assert!(!run(data.path(), &["ingest", folder, "--store", "roles"]).status.success());
    let refused = run(data.path(), &["ask", "--store", "roles", "What does a falconer do?"]);
    assert!(!refused.status.success() && words(&refused).contains("\"roles\" is empty"), "{}", words(&refused));
}

#[test]
fn a_folder_is_ingested_once_and_its_faults_are_named() {
    let data = tempfile::tempdir().expect("a folder");
    let roles = tempfile::tempdir().expect("a folder");
    std::fs::write(roles.path().join("falconer.md"), "# Falconer\n\n## Duties\n\nA falconer flies 3 hawks at dusk.\n")
        .expect("written");
    std::fs::write(roles.path().join("bad.txt"), [b'x', 0x80]).expect("written");
    std::fs::write(roles.path().join("wide.txt"), [0xff, 0xfe, b'x', 0]).expect("written");
    for other in ["a.pdf", "B.PDF", "c.docx", "notes"] {
        std::fs::write(roles.path().join(other), "?").expect("written");
    }
    let folder = roles.path().to_str().expect("UTF-8");
    let first = run(data.path(), &["ingest", folder]);
    assert!(first.status.success(), "{}", words(&first));
    let text = words(&first);
    assert!(text.contains("1 added") && text.contains("bad.txt is not UTF-8"), "{text}");
    assert!(text.contains("wide.txt is UTF-16") && text.contains("2 .pdf, 1 without an ending, 1 .docx"), "{text}");
    assert!(words(&run(data.path(), &["ingest", folder])).contains("1 unchanged"));
    let answer = words(&run(data.path(), &["ask", "--model", "none", "How many hawks does a falconer fly?"]));
    assert!(answer.contains("flies 3 hawks at dusk"), "{answer}");
    let missing = run(data.path(), &["ingest", "/nowhere/at/all"]);
    assert!(!missing.status.success());
    assert!(words(&missing).contains("/nowhere/at/all"), "{}", words(&missing));
}

//! `sconce pull` as a process: a model from a server of the test's own, then served by its name; and what goes wrong.

mod common;
#[path = "../crates/hub/tests/pulls/fake.rs"]
mod fake;

use std::path::Path;
use std::process::{Command, Output};

use common::{Server, sconce, tiny_model, words};
use fake::{Answer, Fake, Files, healthy};

fn with_cache(data: &Path, endpoint: &str) -> Command {
    let mut command = sconce(data);
    for name in ["HF_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE"] {
        command.env_remove(name);
    }
    command.env("HF_HOME", data.join("hf")).env("HF_ENDPOINT", endpoint);
    command
}

fn run(mut command: Command, arguments: &[&str]) -> Output {
    command.args(arguments).output().expect("the binary starts")
}

fn files(data: &Path) -> Files {
    let model = std::fs::read(tiny_model(data)).expect("a model");
    Files::from([("tiny-Q4_K_M.gguf".to_owned(), model.clone()), ("tiny-Q8_0.gguf".to_owned(), model)])
}

#[test]
fn a_pulled_model_is_served_by_its_name_and_checked() {
    let data = tempfile::tempdir().expect("a folder");
    let files = files(data.path());
    let size = files["tiny-Q8_0.gguf"].len();
    let fake = Fake::start(move |request, before| {
        let answer = healthy(&files, request);
        if request.is_content() && before == 0 { answer.cut_after(size / 2) } else { answer }
    });
    let before = run(with_cache(data.path(), &fake.endpoint()), &["serve", "--port", "0", "--model", "org/name:Q8_0"]);
    assert!(!before.status.success() && words(&before).contains("`sconce pull org/name:Q8_0`"), "{}", words(&before));
    let pulled = run(with_cache(data.path(), &fake.endpoint()), &["pull", "org/name:Q8_0"]);
    assert!(pulled.status.success(), "{}", words(&pulled));
    let path = String::from_utf8_lossy(&pulled.stdout).trim().to_owned();
    assert!(path.ends_with("tiny-Q8_0.gguf") && Path::new(&path).is_file(), "{}", words(&pulled));
    assert_eq!(fake.ranges(), [0, size / 2]);
    let arguments = ["--no-sample-corpus", "--model", "org/name:Q8_0"];
    let server = Server::start_as(with_cache(data.path(), "http://127.0.0.1:1"), &arguments);
    assert!(server.greeting.contains("tiny-Q8_0"), "{}", server.greeting);
    drop(server);
    let checked = run(with_cache(data.path(), "http://127.0.0.1:1"), &["pull", "--check", "org/name"]);
    assert!(checked.status.success() && words(&checked).contains("ok"), "{}", words(&checked));
    std::fs::write(std::fs::canonicalize(&path).expect("a blob"), "other").expect("written");
    let changed = run(with_cache(data.path(), "http://127.0.0.1:1"), &["pull", "--check"]);
    assert!(!changed.status.success() && words(&changed).contains("DIFFERENT"), "{}", words(&changed));
}

#[test]
fn what_goes_wrong_is_said_and_leaves_nothing_to_load() {
    let data = tempfile::tempdir().expect("a folder");
    let files = files(data.path());
    let fake = Fake::start(move |request, _| match request.is_content() {
        true => Answer::new(403, ""),
        false => healthy(&files, request),
    });
    let told = |command: Command, arguments: &[&str], expected: &[&str]| {
        let output = run(command, arguments);
        assert!(!output.status.success(), "{arguments:?}");
        for word in expected {
            assert!(words(&output).contains(word), "{word}: {}", words(&output));
        }
        assert!(!data.path().join("hf/hub/models--org--name/snapshots").exists());
    };
    let endpoint = fake.endpoint();
    told(with_cache(data.path(), &endpoint), &["pull", "org/name"], &["accept its licence", "set HF_TOKEN"]);
    told(with_cache(data.path(), &endpoint), &["pull", "org/name:Q5_0"], &["tiny-Q8_0.gguf", "org/name:FILE"]);
    told(with_cache(data.path(), &endpoint), &["pull", "llama-9"], &["llama-9", "llama-3.2-1b-instruct"]);
    told(with_cache(data.path(), &endpoint), &["pull"], &["say what to pull"]);
    told(with_cache(data.path(), &endpoint), &["pull", "--check"], &["nothing was pulled"]);
    let mut offline = with_cache(data.path(), &endpoint);
    offline.env("HF_HUB_OFFLINE", "1");
    told(offline, &["pull", "org/name"], &["HF_HUB_OFFLINE", "copy the folder models--org--name"]);
    let nobody = ["pull", "org/name", "--retries", "0", "--timeout", "1"];
    told(with_cache(data.path(), "http://127.0.0.1:1"), &nobody, &["127.0.0.1:1", "failed 1 times"]);
}

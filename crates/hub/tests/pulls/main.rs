//! Pulls from an endpoint that cuts, lies, redirects and refuses. After each failure nothing lies where a loader would find it.

mod fake;
mod refusals;
mod success;
mod transfers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fake::{COMMIT, Fake, Files};
use sconce_hub::{HubError, Limits, Pulled, Settings, Source, Token, pull};

/// Limits under which a failure takes no time.
fn quick() -> Limits {
    Limits {
        timeout: Duration::from_secs(5),
        retries: 3,
        backoff: Duration::from_millis(1),
        longest_pause: Duration::from_millis(1500),
        lock_wait: Duration::from_secs(10),
    }
}

fn settings(cache: &Path, fake: &Fake) -> Settings {
    Settings {
        cache: cache.to_owned(),
        endpoint: fake.endpoint().parse().expect("an address"),
        token: Some(Token::new("hf_secret").expect("a token")),
        offline: false,
        limits: quick(),
    }
}

fn try_pull(settings: &Settings, name: &str) -> Result<Pulled, HubError> {
    let source = Source::parse(name).expect("a name");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(pull(settings, &source, None, &mut |_| {}))
}

/// A pull that must fail, with what it says. What always holds is checked on the way.
fn refused(settings: &Settings, name: &str) -> String {
    let error = try_pull(settings, name).expect_err("it must fail").to_string();
    assert_eq!(loadable(&settings.cache), Vec::<PathBuf>::new(), "{error}");
    assert!(!error.contains("hf_secret"), "{error}");
    error
}

/// Every file under `snapshots`, and every blob with a final name.
fn loadable(cache: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["snapshots", "blobs"] {
        walk(&cache.join("models--org--name").join(folder), &mut found);
    }
    found.retain(|path| path.extension().is_none_or(|ending| ending != "incomplete"));
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

fn snapshot(cache: &Path, file: &str) -> PathBuf {
    cache.join("models--org--name/snapshots").join(COMMIT).join(file)
}

/// Bytes that differ everywhere, beginning as a GGUF file does.
fn model(length: usize) -> Vec<u8> {
    b"GGUF".iter().copied().chain((4..length).map(|index| (index * 31 % 251) as u8)).collect()
}

fn repository(files: &[(&str, Vec<u8>)]) -> Files {
    files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect()
}

fn one_model() -> Files {
    repository(&[("README.md", b"words".to_vec()), ("m-Q4_K_M.gguf", model(300_000))])
}

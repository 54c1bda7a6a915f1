//! What a pull leaves behind when all goes well, and what later commands make of it.

use super::*;
use crate::fake::sha256;
use sconce_hub::{Finding, check, find, pulled_repositories, recorded_sha256};

#[test]
fn a_gguf_file_lies_where_other_tools_look_for_it() {
    let cache = tempfile::tempdir().expect("a folder");
    let fake = Fake::of(one_model());
    let settings = settings(cache.path(), &fake);
    let pulled = try_pull(&settings, "org/name").expect("pulled");
    assert_eq!(pulled.path, snapshot(cache.path(), "m-Q4_K_M.gguf"));
    assert_eq!((pulled.commit.as_deref(), pulled.received), (Some(COMMIT), 300_000));
    let bytes = model(300_000);
    assert_eq!(std::fs::read(&pulled.path).expect("read"), bytes);
    let hash = sha256(&bytes);
    let link = std::fs::read_link(&pulled.path).expect("a link");
    assert_eq!(link, Path::new("../../blobs").join(&hash));
    let main = cache.path().join("models--org--name/refs/main");
    assert_eq!(std::fs::read_to_string(main).expect("a name"), COMMIT);
    assert_eq!(recorded_sha256(&pulled.path), Some(hash.clone()));
    let record = cache.path().join("models--org--name/blobs").join(format!("{hash}.sha256"));
    assert_eq!(std::fs::read_to_string(record).expect("a record"), format!("{hash}  {hash}\n"));
    assert_eq!(fake.requests().iter().filter(|request| request.path.contains("README")).count(), 0);
    let again = try_pull(&settings, "org/name:Q4_K_M").expect("pulled");
    assert_eq!((again.path, again.received, fake.ranges()), (pulled.path, 0, vec![0]));
}

#[test]
fn a_split_model_and_a_safetensors_model_come_with_all_their_files() {
    let cache = tempfile::tempdir().expect("a folder");
    let fake = Fake::of(repository(&[
        ("config.json", b"{}".to_vec()),
        ("tokenizer.json", b"{\"a\": 1}".to_vec()),
        ("model-00001-of-00002.safetensors", model(5000)),
        ("model-00002-of-00002.safetensors", model(6000)),
        ("model.safetensors.index.json", b"{\"b\": 2}".to_vec()),
        ("q8/m-Q8_0-00001-of-00002.gguf", model(7000)),
        ("q8/m-Q8_0-00002-of-00002.gguf", model(8000)),
    ]));
    let settings = settings(cache.path(), &fake);
    let folder = try_pull(&settings, "org/name:safetensors").expect("pulled");
    assert_eq!((folder.path.clone(), folder.received), (snapshot(cache.path(), ""), 5000 + 6000 + 2 + 8 + 8));
    assert_eq!(sconce_hub::display_name(&folder.path).as_deref(), Some("name"));
    let parts = try_pull(&settings, "org/name:Q8_0").expect("pulled");
    assert_eq!(parts.path, snapshot(cache.path(), "q8/m-Q8_0-00001-of-00002.gguf"));
    let second = std::fs::read(snapshot(cache.path(), "q8/m-Q8_0-00002-of-00002.gguf"));
    assert_eq!(second.expect("read"), model(8000));
    assert_eq!(std::fs::read(folder.path.join("config.json")).expect("read"), b"{}");
}

#[test]
fn what_was_pulled_is_found_without_the_network_and_what_was_not_is_explained() {
    let cache = tempfile::tempdir().expect("a folder");
    let fake = Fake::of(one_model());
    let mut settings = settings(cache.path(), &fake);
    let source = Source::parse("org/name").expect("a name");
    let missing = find(&settings, &source, None).expect_err("nothing is there").to_string();
    assert!(missing.contains("`sconce pull org/name`"), "{missing}");
    settings.offline = true;
    let offline = refused(&settings, "org/name");
    for word in ["HF_HUB_OFFLINE", "nothing is yet", "models--org--name", "rsync -a"] {
        assert!(offline.contains(word), "{word}: {offline}");
    }
    assert!(fake.requests().is_empty());
    settings.offline = false;
    let pulled = try_pull(&settings, "org/name").expect("pulled");
    settings.offline = true;
    assert_eq!(try_pull(&settings, "org/name").expect("there").path, pulled.path);
    assert_eq!(find(&settings, &source, None).expect("there"), pulled.path);
    assert_eq!(pulled_repositories(&settings), [source.repository]);
    let other = Source::parse("org/name:Q8_0").expect("a name");
    let other = find(&settings, &other, None).expect_err("not this one").to_string();
    assert!(other.contains("`sconce pull org/name:Q8_0`") && other.contains("(there: org/name)"), "{other}");
}

#[test]
fn a_check_finds_what_has_changed_and_a_pull_from_another_tool_is_taken_over() {
    let cache = tempfile::tempdir().expect("a folder");
    let fake = Fake::of(one_model());
    let settings = settings(cache.path(), &fake);
    let pulled = try_pull(&settings, "org/name").expect("pulled");
    let findings = || {
        let mut found = Vec::new();
        check(&settings, None, &mut |checked| found.push(checked.finding)).expect("read");
        found
    };
    assert!(matches!(findings().as_slice(), [Finding::Same { .. }]));
    let blob = std::fs::canonicalize(&pulled.path).expect("a blob");
    let mut bytes = model(300_000);
    bytes[200_000] ^= 1;
    std::fs::write(&blob, &bytes).expect("written");
    assert!(matches!(findings().as_slice(), [Finding::Different { .. }]));
    // Another tool leaves no record: the blob is hashed before it is believed.
    std::fs::remove_file(blob.with_extension("sha256")).expect("removed");
    assert_eq!(try_pull(&settings, "org/name").expect("pulled").received, 300_000);
    std::fs::remove_file(blob.with_extension("sha256")).expect("removed");
    assert_eq!(try_pull(&settings, "org/name").expect("there").received, 0);
    assert!(matches!(findings().as_slice(), [Finding::Same { .. }]));
}

#[test]
fn two_pulls_at_once_download_once() {
    let cache = tempfile::tempdir().expect("a folder");
    let files = one_model();
    let fake = Fake::start(move |request, _| {
        let slow = if request.is_content() { Duration::from_millis(300) } else { Duration::ZERO };
        fake::healthy(&files, request).after(slow)
    });
    let settings = settings(cache.path(), &fake);
    let received: u64 = std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..3).map(|_| scope.spawn(|| try_pull(&settings, "org/name").expect("pulled"))).collect();
        pulls.into_iter().map(|pull| pull.join().expect("no panic").received).sum()
    });
    assert_eq!((received, fake.ranges()), (300_000, vec![0]));
}

#[test]
fn a_lock_that_is_held_for_too_long_is_an_error_that_names_it() {
    let cache = tempfile::tempdir().expect("a folder");
    let fake = Fake::of(one_model());
    let mut settings = settings(cache.path(), &fake);
    settings.limits.lock_wait = Duration::from_millis(60);
    let locks = cache.path().join(".locks/models--org--name");
    std::fs::create_dir_all(&locks).expect("made");
    let path = locks.join(format!("{}.lock", sha256(&model(300_000))));
    let held = std::fs::File::create(&path).expect("made");
    held.lock().expect("locked");
    let error = refused(&settings, "org/name");
    assert!(error.contains(path.to_str().expect("UTF-8")), "{error}");
    drop(held);
    try_pull(&settings, "org/name").expect("pulled");
}

//! Connections that end early, servers that count wrongly, contents that are not what was promised.

use super::*;
use crate::fake::{Answer, healthy, sha256};

/// Pulls from a server whose answers to requests for content are changed, told how many came before.
fn with_content(change: impl Fn(Answer, usize) -> Answer + Send + Sync + 'static) -> Fake {
    let files = one_model();
    Fake::start(move |request, before| {
        let answer = healthy(&files, request);
        if request.is_content() { change(answer, before) } else { answer }
    })
}

#[test]
fn a_cut_download_goes_on_where_it_stopped() {
    let cache = tempfile::tempdir().expect("a folder");
    let fake = with_content(|answer, before| if before < 3 { answer.cut_after(80_000) } else { answer });
    let pulled = try_pull(&settings(cache.path(), &fake), "org/name").expect("pulled");
    assert_eq!(std::fs::read(pulled.path).expect("read"), model(300_000));
    assert_eq!(fake.ranges(), [0, 80_000, 160_000, 240_000]);
}

#[test]
fn a_server_that_ignores_the_range_sends_everything_again() {
    let cache = tempfile::tempdir().expect("a folder");
    let files = one_model();
    let fake = Fake::start(move |request, before| {
        let mut whole = request.clone();
        whole.headers.remove("range");
        let answer = healthy(&files, &whole);
        if request.is_content() && before == 0 { answer.cut_after(80_000) } else { answer }
    });
    let pulled = try_pull(&settings(cache.path(), &fake), "org/name").expect("pulled");
    assert_eq!(std::fs::read(pulled.path).expect("read"), model(300_000));
    assert_eq!(fake.ranges(), [0, 80_000]);
}

#[test]
fn a_server_that_always_cuts_is_given_up_and_the_next_pull_goes_on() {
    let cache = tempfile::tempdir().expect("a folder");
    let fake = with_content(|answer, _| answer.cut_after(1000));
    let error = refused(&settings(cache.path(), &fake), "org/name");
    assert!(error.contains("4 times in a row"), "{error}");
    assert_eq!(fake.ranges(), [0, 1000, 2000, 3000]);
    let healthy = Fake::of(one_model());
    let pulled = try_pull(&settings(cache.path(), &healthy), "org/name").expect("pulled");
    assert_eq!((healthy.ranges(), pulled.received), (vec![4000], 296_000));
    assert_eq!(std::fs::read(pulled.path).expect("read"), model(300_000));
}

#[test]
fn what_an_earlier_pull_left_of_other_content_is_forgotten() {
    let cache = tempfile::tempdir().expect("a folder");
    let blobs = cache.path().join("models--org--name/blobs");
    std::fs::create_dir_all(&blobs).expect("made");
    let incomplete = blobs.join(format!("{}.incomplete", sha256(&model(300_000))));
    for (left, ranges) in [(5000, vec![5000, 0]), (300_000, vec![0]), (400_000, vec![0])] {
        let fake = Fake::of(one_model());
        std::fs::write(&incomplete, vec![7; left]).expect("written");
        let pulled = try_pull(&settings(cache.path(), &fake), "org/name").expect("pulled");
        assert_eq!(std::fs::read(&pulled.path).expect("read"), model(300_000), "{left}");
        assert_eq!(fake.ranges(), ranges, "{left}");
        std::fs::remove_file(std::fs::canonicalize(pulled.path).expect("a blob")).expect("removed");
    }
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    for length in [299_999, 300_001] {
        let cache = tempfile::tempdir().expect("a folder");
        let promised = with_content(move |answer, _| answer.with("Content-Length", length.to_string()));
        let error = refused(&settings(cache.path(), &promised), "org/name");
        assert!(error.contains("300000 bytes") && error.contains(&length.to_string()), "{error}");
        let cache = tempfile::tempdir().expect("a folder");
        let files = one_model();
        let linked = Fake::start(move |request, _| healthy(&files, request).with("X-Linked-Size", length.to_string()));
        let error = refused(&settings(cache.path(), &linked), "org/name");
        assert!(error.contains("300000 bytes") && error.contains(&length.to_string()), "{error}");
    }
}

#[test]
fn bodies_without_a_length_are_counted() {
    let unannounced = |mut answer: Answer, length: usize| {
        answer.headers.retain(|(name, _)| name != "Content-Length");
        answer.body.resize(length, 0);
        answer.sent = length;
        answer
    };
    let cache = tempfile::tempdir().expect("a folder");
    let long = with_content(move |answer, _| unannounced(answer, 300_010));
    let error = refused(&settings(cache.path(), &long), "org/name");
    assert!(error.contains("should have 300000 bytes"), "{error}");
    let cache = tempfile::tempdir().expect("a folder");
    let short = with_content(move |answer, before| if before == 0 { unannounced(answer, 299_990) } else { answer });
    let pulled = try_pull(&settings(cache.path(), &short), "org/name").expect("the rest is asked for");
    assert_eq!(std::fs::read(pulled.path).expect("read"), model(300_000));
    assert_eq!(short.ranges(), [0, 299_990]);
}

#[test]
fn other_content_than_was_promised_is_not_kept() {
    let cache = tempfile::tempdir().expect("a folder");
    let fake = with_content(|mut answer, _| {
        answer.body[1000] ^= 1;
        answer
    });
    let error = refused(&settings(cache.path(), &fake), "org/name");
    assert!(error.contains(&sha256(&model(300_000))) && error.contains("SHA-256"), "{error}");
    assert_eq!(fake.ranges(), [0]);
    assert!(std::fs::read_dir(cache.path().join("models--org--name/blobs")).expect("a folder").next().is_none());
}

#[test]
fn the_catalogs_hash_counts_against_the_servers() {
    let cache = tempfile::tempdir().expect("a folder");
    let fake = Fake::of(one_model());
    let mut source = Source::parse("org/name").expect("a name");
    source.sha256.insert("m-Q4_K_M.gguf".to_owned(), "0".repeat(64));
    let settings = settings(cache.path(), &fake);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let error = runtime.block_on(sconce_hub::pull(&settings, &source, None, &mut |_| {})).expect_err("another hash");
    assert!(error.to_string().contains(&"0".repeat(64)), "{error}");
    assert!(loadable(cache.path()).is_empty() && fake.ranges().is_empty());
}

#[test]
fn one_file_that_fails_keeps_the_whole_model_out_of_the_snapshot() {
    let cache = tempfile::tempdir().expect("a folder");
    let files = repository(&[("m-00001-of-00002.gguf", model(5000)), ("m-00002-of-00002.gguf", model(6000))]);
    let fake = Fake::start(move |request, _| {
        let mut answer = healthy(&files, request);
        if request.is_content() && request.path.contains("m-00002") {
            answer.body[77] ^= 1;
        }
        answer
    });
    try_pull(&settings(cache.path(), &fake), "org/name").expect_err("the second part is wrong");
    let snapshots = cache.path().join("models--org--name/snapshots");
    assert!(!snapshots.exists(), "not even the part that is right");
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_long() {
    let cache = tempfile::tempdir().expect("a folder");
    let fake = with_content(|answer, _| answer.after(Duration::from_millis(1500)));
    let mut settings = settings(cache.path(), &fake);
    settings.limits.timeout = Duration::from_millis(100);
    settings.limits.retries = 1;
    let began = std::time::Instant::now();
    let error = refused(&settings, "org/name");
    assert!(error.contains("2 times") && began.elapsed() < Duration::from_millis(1400), "{error}");
}

#[test]
fn tries_that_bring_much_are_no_failures() {
    let cache = tempfile::tempdir().expect("a folder");
    let files = repository(&[("m.gguf", model(6 << 20))]);
    let fake = Fake::start(move |request, _| healthy(&files, request).cut_after(1 << 20));
    let pulled = try_pull(&settings(cache.path(), &fake), "org/name").expect("pulled");
    assert_eq!((pulled.received, fake.ranges().len()), (6 << 20, 6), "more cuts than tries");
}

#[test]
fn another_part_than_was_asked_for_is_refused() {
    let cache = tempfile::tempdir().expect("a folder");
    let fake = with_content(|answer, before| match before {
        0 => answer.cut_after(80_000),
        _ => answer.with("Content-Range", "bytes 0-219999/300000"),
    });
    let error = refused(&settings(cache.path(), &fake), "org/name");
    assert!(error.contains("bytes 80000-299999/300000"), "{error}");
}

#[test]
fn a_disk_without_room_is_said_before_anything_comes() {
    let cache = tempfile::tempdir().expect("a folder");
    let files = one_model();
    let fake = Fake::start(move |request, _| {
        if request.path.starts_with("/api/") {
            let body = format!("{{\"sha\": \"{COMMIT}\", \"siblings\": [{{\"rfilename\": \"m-Q4_K_M.gguf\"}}]}}");
            return Answer::new(200, body);
        }
        healthy(&files, request).with("X-Linked-Size", (1_u64 << 60).to_string())
    });
    let error = refused(&settings(cache.path(), &fake), "org/name");
    assert!(error.contains("HF_HUB_CACHE") && error.contains("1152921504606846976"), "{error}");
    assert!(fake.ranges().is_empty());
}

//! Statuses, pages, redirects and names that a server should not send.

use super::*;
use crate::fake::{Answer, Request, healthy};

/// A server that answers some requests otherwise, told how many of the same came before.
fn with(change: impl Fn(&Request, usize) -> Option<Answer> + Send + Sync + 'static) -> Fake {
    let files = one_model();
    Fake::start(move |request, before| change(request, before).unwrap_or_else(|| healthy(&files, request)))
}

fn is_file(request: &Request) -> bool {
    request.path.contains("/resolve/")
}

#[test]
fn a_page_instead_of_a_file_or_a_list_is_said_to_be_one() {
    let page = || Answer::new(200, "<!DOCTYPE html><title>Sign in</title>");
    let cases: [fn(&Request) -> bool; 3] = [|_| true, is_file, Request::is_content];
    for is_page in cases {
        let cache = tempfile::tempdir().expect("a folder");
        let fake =
            with(move |request, _| is_page(request).then(|| page().with("Content-Type", "text/html; charset=utf-8")));
        let error = refused(&settings(cache.path(), &fake), "org/name");
        assert!(error.contains("web page"), "{error}");
    }
    // A page that claims to be a file, of the right length even.
    let cache = tempfile::tempdir().expect("a folder");
    let fake = with(|request, _| {
        let page = format!("\n<HTML>{}", " ".repeat(300_000 - 7));
        request.is_content().then(|| Answer::new(200, page).with("Content-Type", "binary/octet-stream"))
    });
    let error = refused(&settings(cache.path(), &fake), "org/name");
    assert!(error.contains("web page"), "{error}");
}

#[test]
fn a_gated_repository_is_explained() {
    for status in [401, 403] {
        let cache = tempfile::tempdir().expect("a folder");
        let fake = with(move |request, _| is_file(request).then(|| Answer::new(status, "")));
        let mut settings = settings(cache.path(), &fake);
        let error = refused(&settings, "org/name");
        let page = format!("{}/org/name", fake.endpoint());
        for word in [page.as_str(), "accept its licence", "was sent and refused", &status.to_string()] {
            assert!(error.contains(word), "{word}: {error}");
        }
        settings.token = None;
        let error = refused(&settings, "org/name");
        assert!(error.contains("set HF_TOKEN"), "{error}");
    }
}

#[test]
fn what_does_not_exist_is_said_beside_what_does() {
    let cache = tempfile::tempdir().expect("a folder");
    let fake = with(|request, _| request.is_content().then(|| Answer::new(404, "")));
    let settings = settings(cache.path(), &fake);
    let gone = refused(&settings, "org/name");
    assert!(gone.contains("404") && gone.contains("m-Q4_K_M.gguf"), "{gone}");
    let wrong = refused(&settings, "org/name:Q8_0");
    assert!(wrong.contains("Q8_0") && wrong.contains("m-Q4_K_M.gguf"), "{wrong}");
    let nobody = refused(&settings, "org/nobody");
    assert!(nobody.contains("/api/models/org/nobody/revision/main") && nobody.contains("404"), "{nobody}");
}

#[test]
fn a_busy_server_is_waited_for_as_it_asks_and_within_bounds() {
    let busy = |wait: &'static str| Answer::new(429, "").with("Retry-After", wait);
    let cache = tempfile::tempdir().expect("a folder");
    let fake = with(move |_, before| (before == 0).then(|| busy("1")));
    let mut settings = settings(cache.path(), &fake);
    let began = std::time::Instant::now();
    try_pull(&settings, "org/name").expect("pulled");
    assert!(began.elapsed() >= Duration::from_secs(3), "the list, the question and the content each waited");
    settings.cache = cache.path().join("other");
    settings.limits.longest_pause = Duration::from_millis(500);
    let fake = with(move |_, _| Some(busy("1")));
    settings.endpoint = fake.endpoint().parse().expect("an address");
    let error = refused(&settings, "org/name");
    assert!(error.contains("asks to wait 1 s"), "{error}");
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn a_server_that_is_busy_for_ever_is_given_up() {
    for status in [429, 500, 503] {
        let cache = tempfile::tempdir().expect("a folder");
        let fake = with(move |request, _| is_file(request).then(|| Answer::new(status, "").with("Retry-After", "0")));
        let error = refused(&settings(cache.path(), &fake), "org/name");
        assert!(error.contains("4 times in a row") && error.contains(&status.to_string()), "{error}");
        assert_eq!(fake.requests().len(), 1 + 4);
    }
}

#[test]
fn a_redirect_to_another_host_is_followed_without_the_token() {
    let cache = tempfile::tempdir().expect("a folder");
    let other = Fake::start(|request, _| {
        let bytes = model(300_000);
        let from = request.from();
        let range = format!("bytes {from}-299999/300000");
        match from {
            0 => Answer::new(200, bytes).cut_after(100_000),
            from => Answer::new(206, &bytes[from..]).with("Content-Range", range),
        }
    });
    let (files, elsewhere) = (one_model(), other.endpoint());
    let fake = Fake::start(move |request, _| {
        let mut answer = healthy(&files, request);
        if !is_file(request) {
            return answer;
        }
        (answer.status, answer.body, answer.sent) = (302, Vec::new(), 0);
        if request.path.ends_with("?here") {
            return answer.with("Content-Length", "0").with("Location", format!("{elsewhere}/signed"));
        }
        answer.with("Content-Length", "0").with("Location", format!("{}?here", request.path))
    });
    // The second hop stays on the endpoint, under a query that the fake does not know as a file.
    let pulled = try_pull(&settings(cache.path(), &fake), "org/name").expect("pulled");
    assert_eq!(std::fs::read(pulled.path).expect("read"), model(300_000));
    let with_token = |request: &Request| request.headers.contains_key("authorization");
    assert!(fake.requests().iter().all(with_token), "{:?}", fake.requests());
    assert_eq!(other.requests().len(), 2, "the content alone is asked for elsewhere");
    assert!(!other.requests().iter().any(with_token), "{:?}", other.requests());
    assert_eq!(other.requests()[1].from(), 100_000);
}

#[test]
fn redirects_without_an_end_are_not_followed_for_ever() {
    let cache = tempfile::tempdir().expect("a folder");
    let fake = with(|request, _| is_file(request).then(|| Answer::new(302, "").with("Location", &request.path)));
    let error = refused(&settings(cache.path(), &fake), "org/name");
    assert!(error.contains("redirects more than"), "{error}");
}

#[test]
fn names_that_lead_out_of_the_cache_are_refused_before_anything_comes() {
    for name in ["../../../evil.gguf", "/etc/evil.gguf", "a/../../evil.gguf", "a\\\\..\\\\evil.gguf", "x\\u0000.gguf"] {
        let cache = tempfile::tempdir().expect("a folder");
        let body = format!("{{\"sha\": \"{COMMIT}\", \"siblings\": [{{\"rfilename\": \"{name}\", \"size\": 4}}]}}");
        let fake = with(move |request, _| (!is_file(request)).then(|| Answer::new(200, body.clone())));
        let error = refused(&settings(cache.path(), &fake), "org/name");
        assert!(error.contains("not safe"), "{name}: {error}");
        assert_eq!(fake.requests().len(), 1);
        assert!(std::fs::read_dir(cache.path()).expect("a folder").next().is_none());
    }
    for commit in ["../../..", "", "main/../x"] {
        let cache = tempfile::tempdir().expect("a folder");
        let body = format!("{{\"sha\": \"{commit}\", \"siblings\": []}}");
        let fake = with(move |_, _| Some(Answer::new(200, body.clone())));
        assert!(refused(&settings(cache.path(), &fake), "org/name").contains("not safe"));
    }
    let cache = tempfile::tempdir().expect("a folder");
    let fake = with(|request, _| {
        let etag = Answer::new(200, model(300_000)).with("X-Linked-ETag", "\"../../../evil\"");
        is_file(request).then_some(etag)
    });
    assert!(refused(&settings(cache.path(), &fake), "org/name").contains("ETag"));
}

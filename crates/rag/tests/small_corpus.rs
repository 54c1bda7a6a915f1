//! The whole way from bytes to answers over a few documents written here: deletion, filters, versions, generators, lists,
//! and everything that can be wrong with a file. Needs no data.

mod common;

use common::{BAKERS, fixture, upload};
use sconce_rag::{
    AnswerOptions, AnswerPrompt, AttributeValue, Attributes, FallbackReason, FileStatus, Filter, Generator,
    GeneratorError, ListOptions, Metadata, NOT_TOLD, NewFile, Order, ParseLimits, RagError, Route, SearchOptions,
    Store, VectorStoreUpdate, answer,
};

/// Says what it was told to, whatever it is asked.
struct Says(&'static str);

impl Generator for Says {
    fn generate(&self, _: &AnswerPrompt) -> Result<String, GeneratorError> {
        Ok(self.0.to_owned())
    }
}

#[test]
fn a_question_is_answered_verbatim_with_checked_spans() {
    let fixture = fixture();
    let answer = fixture.ask("How much does a baker earn?");
    assert_eq!(answer.route, Route::Quoted);
    assert_eq!(answer.fallback, Some(FallbackReason::NoGenerator));
    let first = answer.citations.first().expect("a citation");
    assert_eq!(first.title, "Bakers");
    assert_eq!(first.date.as_deref(), Some("2025-08-28"));
    assert!(answer.text.contains("$36,650"), "{}", answer.text);
    for citation in &answer.citations {
        assert_eq!(BAKERS.get(citation.source_span.clone()), Some(citation.quote.as_str()));
        assert_eq!(answer.text.get(citation.answer_span.clone()), Some(citation.quote.as_str()));
    }
}

#[test]
fn a_list_is_quoted_with_the_sentence_that_introduces_it() {
    let answer = fixture().ask("What do bakers do?");
    assert!(answer.citations[0].quote.ends_with("* Mix dough\n* Watch the ovens"), "{}", answer.text);
}

#[test]
fn what_the_documents_do_not_tell_gets_no_citation() {
    let fixture = fixture();
    for question in ["How much do astronauts earn?", "What is the capital of France?", "Where?", "", "?!"] {
        let answer = fixture.ask(question);
        assert_eq!((answer.route, answer.text.as_str()), (Route::NotFound, NOT_TOLD), "{question}");
        assert!(answer.citations.is_empty());
    }
}

#[test]
fn a_deleted_file_answers_nothing_and_leaves_nothing() {
    let fixture = fixture();
    fixture.store.delete_file(&fixture.files["bakers.md"]).expect("deleted");
    assert_eq!(fixture.ask("How much does a baker earn?").route, Route::NotFound);
    assert!(fixture.titles("dough ovens", None).is_empty());
    assert!(matches!(fixture.store.get_file(&fixture.files["bakers.md"]), Err(RagError::NotFound { .. })));
    assert!(matches!(fixture.store.source_document(&fixture.files["bakers.md"]), Err(RagError::NotFound { .. })));
    assert_eq!(fixture.store.get_vector_store(&fixture.vector_store).expect("the store").file_counts.total, 1);
    assert_eq!(fixture.ask("How much does a tailor earn?").route, Route::Quoted);
}

#[test]
fn what_is_deleted_stands_in_no_file_of_the_store() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let store = Store::open(&scratch.path().join("roles.db")).expect("a new store");
    let vector_store = store.create_vector_store("roles", &Metadata::new()).expect("a vector store").id;
    let file = upload(&store, "bakers.md", BAKERS.as_bytes());
    store.attach(&vector_store, &file, &Attributes::new()).expect("attached");
    let holds_it = || {
        std::fs::read_dir(scratch.path()).expect("the folder").any(|entry| {
            let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
            bytes.windows(12).any(|window| window == b"Watch the ov")
        })
    };
    assert!(holds_it());
    store.delete_file(&file).expect("deleted");
    assert!(!holds_it());
}

#[test]
fn a_detached_file_answers_again_once_it_is_attached() {
    let fixture = fixture();
    let file = &fixture.files["bakers.md"];
    fixture.store.detach(&fixture.vector_store, file).expect("detached");
    assert_eq!(fixture.ask("How much does a baker earn?").route, Route::NotFound);
    assert_eq!(fixture.store.file_content(file).expect("the file stays"), BAKERS.as_bytes());
    fixture.store.attach(&fixture.vector_store, file, &Attributes::new()).expect("attached");
    assert_eq!(fixture.ask("How much does a baker earn?").route, Route::Quoted);
}

#[test]
fn another_vector_store_sees_nothing_of_this_one() {
    let fixture = fixture();
    let other = fixture.store.create_vector_store("other", &Metadata::new()).expect("a vector store").id;
    let hits = fixture.store.search(&[&other], "bakers pay", &SearchOptions::default()).expect("a search");
    assert!(hits.is_empty());
    fixture.store.delete_vector_store(&fixture.vector_store).expect("deleted");
    let gone = fixture.store.search(&[&fixture.vector_store], "bakers pay", &SearchOptions::default());
    assert!(matches!(gone, Err(RagError::NotFound { kind: "vector store", .. })));
}

#[test]
fn roles_of_another_vector_store_change_nothing() {
    let store = Store::in_memory().expect("a store in memory");
    let put = |vector_store: &str, name: &str, text: &str| {
        let file = upload(&store, name, text.as_bytes());
        store.attach(vector_store, &file, &Attributes::new()).expect("attached");
    };
    let other = store.create_vector_store("other", &Metadata::new()).expect("a vector store").id;
    let mine = store.create_vector_store("mine", &Metadata::new()).expect("a vector store").id;
    // A whole title in another store, and more of them than are looked at by a fixed number.
    for index in 0..70 {
        put(&other, &format!("auditors-{index}.md"), "# Auditors\n\nThe weather was fine.\n");
    }
    put(&mine, "accountants.md", "# Accountants and Auditors\n\n## Pay\n\nThey earn a wage of $81,680 a year.\n");
    put(&mine, "misc.md", "# Miscellany\n\n## Pay\n\nAuditors earn a wage, and auditors know what auditors earn.\n");
    let hits = store.search(&[&mine], "What wage do auditors earn?", &SearchOptions::default()).expect("a search");
    let scores: Vec<(&str, f64)> = hits.iter().map(|hit| (hit.title.as_str(), hit.score)).collect();
    // The others lose much of their score, because a role is named.
    assert!(scores[0].0 == "Accountants and Auditors" && scores[1].1 < 0.8 * scores[0].1, "{scores:?}");
}

#[test]
fn filters_decide_before_ranking() {
    let fixture = fixture();
    let year = |value: f64| Filter::Lt { key: "year".into(), value: AttributeValue::Number(value) };
    assert_eq!(fixture.titles("median annual wage", None).len(), 2);
    assert_eq!(fixture.titles("median annual wage", Some(year(2024.0))), ["Tailors"]);
    assert!(fixture.titles("median annual wage", Some(year(2000.0))).is_empty());
    let options = AnswerOptions { filters: Some(year(2024.0)), ..fixture.options() };
    let filtered = answer(&fixture.store, "How much does a baker earn?", &options, None).expect("an answer");
    assert!(filtered.citations.iter().all(|citation| citation.title == "Tailors"), "{}", filtered.text);
}

/// One document that matches poorly among three hundred that match well: only a filter that comes first finds it.
#[test]
fn a_filter_finds_what_ranking_would_have_cut_off() {
    let store = Store::in_memory().expect("a store in memory");
    let vector_store = store.create_vector_store("many", &Metadata::new()).expect("a vector store").id;
    for index in 0..300 {
        let file = upload(&store, &format!("{index}.md"), b"# Lathe\n\nThe lathe, a lathe, lathes.");
        store.attach(&vector_store, &file, &Attributes::new()).expect("attached");
    }
    let file =
        upload(&store, "shop.md", b"# Shop\n\nSomewhere in this long text about many machines stands a lathe too.");
    store
        .attach(&vector_store, &file, &Attributes::from([("mine".into(), AttributeValue::Bool(true))]))
        .expect("attached");
    let filters = Some(Filter::Eq { key: "mine".into(), value: AttributeValue::Bool(true) });
    let hits = store.search(&[&vector_store], "lathe", &SearchOptions { filters, ..SearchOptions::default() });
    let hits = hits.expect("a search");
    assert_eq!(hits.iter().map(|hit| hit.title.as_str()).collect::<Vec<_>>(), ["Shop"]);
}

#[test]
fn scores_lie_between_zero_and_one_and_descend() {
    let fixture = fixture();
    let hits = fixture.store.search(&[&fixture.vector_store], "bakers wage ovens", &SearchOptions::default());
    let scores: Vec<f64> = hits.expect("a search").iter().map(|hit| hit.score).collect();
    assert!(!scores.is_empty() && scores.iter().all(|score| (0.0..=1.0).contains(score)), "{scores:?}");
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{scores:?}");
}

/// Answers with the sentence of the passage that holds a word, and the passage's number.
struct CopiesSentenceWith(&'static str);

impl Generator for CopiesSentenceWith {
    fn generate(&self, prompt: &AnswerPrompt) -> Result<String, GeneratorError> {
        let passage = prompt.passages.iter().find(|passage| passage.text.contains(self.0));
        let passage = passage.ok_or_else(|| GeneratorError { reason: "no such passage".into() })?;
        let line = passage.text.lines().find(|line| line.contains(self.0)).unwrap_or_default();
        Ok(format!("{} [{}].", line.trim_end_matches('.'), passage.number))
    }
}

#[test]
fn a_copied_sentence_passes_and_its_citation_is_its_source() {
    let answer = fixture().ask_with("How much do bakers earn?", &CopiesSentenceWith("annual wage for bakers"));
    assert_eq!(answer.route, Route::Generated, "{:?}", answer.fallback);
    assert_eq!(answer.citations[0].quote, "The median annual wage for bakers was $36,650 in May 2024.");
}

#[test]
fn an_answer_that_fails_its_check_is_replaced_by_quotes() {
    let fixture = fixture();
    for text in ["Bakers earn $99,999 [1].", "Bakers earn $36,650.", "Bakers earn $36,650 [77].", ""] {
        let answer = fixture.ask_with("How much do bakers earn?", &Says(text));
        assert_eq!(answer.route, Route::Quoted, "{text}");
        assert!(matches!(answer.fallback, Some(FallbackReason::Unsupported { .. })), "{:?}", answer.fallback);
    }
    let refused = fixture.ask_with("How much do bakers earn?", &Says("The documents do not tell."));
    assert_eq!((refused.route, refused.fallback), (Route::Quoted, Some(FallbackReason::Refused)));
    let failed = fixture.ask_with("How much do bakers earn?", &CopiesSentenceWith("nowhere to be found"));
    assert!(matches!(failed.fallback, Some(FallbackReason::GeneratorFailed { .. })));
}

#[test]
fn the_order_of_passages_does_not_depend_on_the_question() {
    struct Records(std::sync::Mutex<Vec<Vec<String>>>);
    impl Generator for Records {
        fn generate(&self, prompt: &AnswerPrompt) -> Result<String, GeneratorError> {
            assert!(prompt.user_message().ends_with(&prompt.question));
            let seen = prompt.passages.iter().map(|passage| passage.text.clone()).collect();
            self.0.lock().expect("not poisoned").push(seen);
            Err(GeneratorError { reason: "only records".into() })
        }
    }
    let (fixture, records) = (fixture(), Records(std::sync::Mutex::default()));
    for question in ["bakers wage ovens dough number", "dough ovens bakers number wage"] {
        fixture.ask_with(question, &records);
    }
    let seen = records.0.into_inner().expect("not poisoned");
    assert_eq!(seen[0], seen[1]);
}

/// A generator that was trained to copy, and copies the first sentence that holds these words, changed by `change`.
struct Copies<F: Fn(String) -> String>(&'static str, F);

impl<F: Fn(String) -> String> Generator for Copies<F> {
    fn generate(&self, prompt: &AnswerPrompt) -> Result<String, GeneratorError> {
        CopiesSentenceWith(self.0).generate(prompt).map(&self.1)
    }

    fn copies(&self) -> bool {
        true
    }
}

#[test]
fn of_a_generator_that_copies_other_words_are_no_answer() {
    let fixture = fixture();
    let route = |beginning: &'static str| {
        let copies =
            Copies("annual wage for bakers", |copied: String| copied.replace("The median annual wage", beginning));
        fixture.ask_with("How much do bakers earn?", &copies).route
    };
    assert_eq!(route("The median annual wage"), Route::Generated);
    assert_eq!(route("The annual median wage"), Route::Quoted, "the same words in another order");
    assert_eq!(route("The median yearly wage"), Route::Quoted);
    assert_eq!(route("**:**: The median annual wage"), Route::Quoted, "marks that the passage does not have there");
}

#[test]
fn of_a_generator_that_copies_a_sentence_far_from_the_question_is_no_answer() {
    let fixture = fixture();
    let ask = |question| fixture.ask_with(question, &Copies("annual wage for bakers", |copied: String| copied));
    assert_eq!(ask("How much do bakers earn?").route, Route::Generated);
    let other = ask("When do bakers begin their work?");
    assert_ne!(other.route, Route::Generated, "{}", other.text);
    assert!(!other.text.contains("annual wage"), "{}", other.text);
    let sentence = |question| fixture.ask_with(question, &CopiesSentenceWith("annual wage for bakers")).route;
    assert_eq!(
        sentence("When do bakers begin their work?"),
        Route::Generated,
        "others may know better than words tell"
    );
}

#[test]
fn a_generator_gets_no_more_passages_than_it_reads() {
    struct Counts(std::sync::atomic::AtomicUsize, Option<usize>);
    impl Generator for Counts {
        fn generate(&self, prompt: &AnswerPrompt) -> Result<String, GeneratorError> {
            self.0.store(prompt.passages.len(), std::sync::atomic::Ordering::Relaxed);
            Err(GeneratorError { reason: "only counts".into() })
        }

        fn max_passages(&self) -> Option<usize> {
            self.1
        }
    }
    let fixture = fixture();
    let given = |most| {
        let counts = Counts(std::sync::atomic::AtomicUsize::new(0), most);
        fixture.ask_with("bakers wage ovens dough number", &counts);
        counts.0.into_inner()
    };
    let all = given(None);
    assert!(all > 2, "{all}");
    assert_eq!((given(Some(2)), given(Some(100))), (2, all));
}

#[test]
fn documents_at_fault_are_attached_as_failed_with_the_reason() {
    let fixture = fixture();
    let store =
        Store::in_memory().expect("a store").with_limits(ParseLimits { max_bytes: 1_000, ..ParseLimits::default() });
    let vector_store = store.create_vector_store("bad", &Metadata::new()).expect("a vector store").id;
    let cases: [(&str, &[u8], &str, &str); 7] = [
        ("latin.md", b"caf\xe9", "invalid_file", "latin.md is not UTF-8: byte 3"),
        ("empty.txt", b"", "invalid_file", "empty.txt has no text"),
        ("blank.md", b" \n\t", "invalid_file", "blank.md has no text"),
        ("menu.html", b"<nav>only a menu</nav>", "invalid_file", "menu.html has no text"),
        ("image.txt", b"\x89PNG\0\0", "invalid_file", "image.txt is a binary file: byte 4"),
        ("huge.md", &[b'a'; 1_001], "invalid_file", "huge.md has 1001 bytes; the limit is 1000"),
        ("sheet.xlsx", b"text", "unsupported_file", "sheet.xlsx: unsupported"),
    ];
    for (name, bytes, code, message) in cases {
        let file = upload(&store, name, bytes);
        let attached = store.attach(&vector_store, &file, &Attributes::new()).expect("attached");
        assert_eq!(attached.status, FileStatus::Failed, "{name}");
        let error = attached.last_error.expect("a reason");
        assert!(error.code == code && error.message.contains(message), "{name}: {error:?}");
    }
    let counts = store.get_vector_store(&vector_store).expect("the store").file_counts;
    assert_eq!((counts.failed, counts.completed), (7, 0));
    assert_eq!(fixture.ask("How much does a baker earn?").route, Route::Quoted);
}

#[test]
fn requests_out_of_range_name_their_field() {
    let fixture = fixture();
    let search = |options: SearchOptions, query: &str| fixture.store.search(&[&fixture.vector_store], query, &options);
    let field = |result: Result<_, RagError>| match result {
        Err(RagError::Invalid { field, .. }) => field,
        other => panic!("expected a field, got {:?}", other.map(|_: Vec<sconce_rag::Hit>| ())),
    };
    assert_eq!(field(search(SearchOptions { max_num_results: 0, ..SearchOptions::default() }, "a")), "max_num_results");
    assert_eq!(
        field(search(SearchOptions { max_num_results: 51, ..SearchOptions::default() }, "a")),
        "max_num_results"
    );
    assert_eq!(
        field(search(SearchOptions { score_threshold: f64::NAN, ..SearchOptions::default() }, "a")),
        "score_threshold"
    );
    assert_eq!(field(search(SearchOptions::default(), &"long ".repeat(10_000))), "query");
    assert_eq!(field(fixture.store.search(&[], "a", &SearchOptions::default())), "vector_store_ids");
    let options = AnswerOptions { max_passages: 0, ..fixture.options() };
    assert!(
        matches!(answer(&fixture.store, "a", &options, None), Err(RagError::Invalid { field, .. }) if field == "max_passages")
    );
    assert!(fixture.store.create_vector_store(&"n".repeat(257), &Metadata::new()).is_err());
    let file = NewFile { filename: "", bytes: b"", purpose: "assistants" };
    assert!(matches!(fixture.store.create_file(&file), Err(RagError::Invalid { field, .. }) if field == "filename"));
}

#[test]
fn queries_are_words_and_never_operators() {
    let fixture = fixture();
    for query in ["\"", "wage AND", "NEAR(wage, 2)", "title:wage", "wage*", "'; DROP TABLE chunks; --", "💰", "-wage ^"]
    {
        fixture.store.search(&[&fixture.vector_store], query, &SearchOptions::default()).expect(query);
    }
}

#[test]
fn lists_page_by_cursor_in_both_directions() {
    let store = Store::in_memory().expect("a store");
    let ids: Vec<String> = (0..5).map(|index| upload(&store, &format!("{index}.md"), b"text")).collect();
    let page = |order, after: Option<&str>, before: Option<&str>| {
        let options = ListOptions { limit: 2, order, after: after.map(Into::into), before: before.map(Into::into) };
        let page = store.list_files(None, &options).expect("a page");
        let found: Vec<usize> =
            page.data.iter().map(|file| ids.iter().position(|id| *id == file.id).expect("known")).collect();
        (found, page.has_more)
    };
    assert_eq!(page(Order::Asc, None, None), (vec![0, 1], true));
    assert_eq!(page(Order::Asc, Some(&ids[1]), None), (vec![2, 3], true));
    assert_eq!(page(Order::Asc, Some(&ids[3]), None), (vec![4], false));
    assert_eq!(page(Order::Desc, None, None), (vec![4, 3], true));
    assert_eq!(page(Order::Desc, Some(&ids[1]), None), (vec![0], false));
    assert_eq!(page(Order::Asc, None, Some(&ids[3])), (vec![1, 2], true));
    assert_eq!(page(Order::Asc, None, Some(&ids[1])), (vec![0], false));
    let unknown = ListOptions { after: Some("file-unknown".into()), ..ListOptions::default() };
    assert!(matches!(store.list_files(None, &unknown), Err(RagError::NotFound { kind: "file", .. })));
    assert!(store.list_files(None, &ListOptions { limit: 0, ..ListOptions::default() }).is_err());
}

#[test]
fn a_vector_store_is_renamed_and_its_files_are_listed_by_status() {
    let fixture = fixture();
    let metadata = Metadata::from([("team".to_owned(), "advice".to_owned())]);
    let update = VectorStoreUpdate { name: Some("renamed".into()), metadata: Some(metadata.clone()) };
    let updated = fixture.store.update_vector_store(&fixture.vector_store, &update).expect("updated");
    assert_eq!((updated.name.as_str(), &updated.metadata), ("renamed", &metadata));
    assert!(updated.usage_bytes as usize >= BAKERS.len());
    let completed =
        fixture.store.list_attached(&fixture.vector_store, Some(FileStatus::Completed), &ListOptions::default());
    assert_eq!(completed.expect("a list").data.len(), 2);
    let failed = fixture.store.list_attached(&fixture.vector_store, Some(FileStatus::Failed), &ListOptions::default());
    assert!(failed.expect("a list").data.is_empty());
    assert_eq!(fixture.store.list_vector_stores(&ListOptions::default()).expect("a list").data.len(), 1);
}

#[test]
fn a_store_opens_again_and_other_files_are_refused() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let path = scratch.path().join("store.db");
    let store = Store::open(&path).expect("a new store");
    let vector_store = store.create_vector_store("kept", &Metadata::new()).expect("a vector store");
    drop(store);
    let store = Store::open(&path).expect("the same store");
    assert_eq!(store.get_vector_store(&vector_store.id).expect("kept").name, "kept");
    drop(store);
    // A file from before there were notes gets room for them.
    rusqlite::Connection::open(&path).expect("SQLite").execute_batch("DROP TABLE notes").expect("dropped");
    assert_eq!(Store::open(&path).expect("the same store").note("key").expect("read"), None);
    let text = scratch.path().join("text.db");
    std::fs::write(&text, "this is no database, and long enough to be read as one would be".repeat(20))
        .expect("written");
    assert!(matches!(Store::open(&text), Err(RagError::NotAStore { .. })));
    assert!(matches!(Store::open(&scratch.path().join("no/such/folder.db")), Err(RagError::Missing { .. })));
}

#[test]
fn the_first_vector_store_is_made_once_and_only_in_an_empty_store() {
    let first = |store: &Store| store.create_first_vector_store("samples", "roles").expect("no error");
    let fresh = Store::in_memory().expect("a store");
    let made = first(&fresh).expect("made");
    assert_eq!(fresh.note("samples").expect("read"), Some(made.id.clone()));
    fresh.delete_vector_store(&made.id).expect("deleted");
    assert_eq!(first(&fresh), None);
    let used = Store::in_memory().expect("a store");
    upload(&used, "bakers.md", BAKERS.as_bytes());
    assert_eq!((first(&used), used.note("samples").expect("read")), (None, None));
    let declined = Store::in_memory().expect("a store");
    declined.set_note("samples", "no").expect("noted");
    assert_eq!(first(&declined), None);
}

#[test]
fn readers_and_a_writer_work_beside_each_other() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let store = Store::open(&scratch.path().join("store.db")).expect("a store");
    let vector_store = store.create_vector_store("busy", &Metadata::new()).expect("a vector store").id;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for index in 0..30 {
                let file = upload(&store, &format!("{index}.md"), BAKERS.as_bytes());
                store.attach(&vector_store, &file, &Attributes::new()).expect("attached");
                if index % 2 == 0 {
                    store.delete_file(&file).expect("deleted");
                }
            }
        });
        // More threads than there are readers: some wait.
        for _ in 0..12 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let hits =
                        store.search(&[&vector_store], "bakers wage", &SearchOptions::default()).expect("a search");
                    assert!(hits.iter().all(|hit| hit.title == "Bakers"));
                }
            });
        }
    });
    assert_eq!(store.get_vector_store(&vector_store).expect("the store").file_counts.completed, 15);
}

//! Folders of documents: what is ingested, what is left alone, versions, and folders that cannot be walked.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{BAKERS, TAILORS, fixture};
use sconce_rag::{
    AnswerOptions, AttributeValue, FileOutcome, IngestOptions, ListOptions, Metadata, RagError, SearchOptions, Store,
    answer,
};

fn ingest(store: &Store, vector_store: &str, folder: &Path) -> (sconce_rag::IngestReport, Vec<FileOutcome>) {
    let mut outcomes = Vec::new();
    let report = store
        .ingest_folder(vector_store, folder, &IngestOptions::default(), &mut |progress| outcomes.push(progress.outcome))
        .expect("the folder can be read");
    (report, outcomes)
}

#[test]
fn a_folder_is_ingested_once_and_changes_make_versions() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let folder = scratch.path().join("roles");
    std::fs::create_dir_all(folder.join("deeper")).expect("a folder");
    for (name, bytes) in [
        ("bakers.md", BAKERS.as_bytes()),
        ("deeper/tailors.md", TAILORS.as_bytes()),
        (".hidden.md", b"# Hidden"),
        ("latin.txt", b"caf\xe9"),
        ("empty.md", b""),
        ("wide.txt", b"\xff\xfec\0a\0f\0e\0"),
        ("photo.png", b"\x89PNG"),
        ("PHOTO.PNG", b"\x89PNG"),
    ] {
        std::fs::write(folder.join(name), bytes).expect("written");
    }
    let store = Store::open(&scratch.path().join("roles.db")).expect("a store");
    let vector_store = store.create_vector_store("roles", &Metadata::new()).expect("a vector store").id;

    let (report, outcomes) = ingest(&store, &vector_store, &folder);
    let skipped: Vec<_> =
        report.skipped.iter().map(|skipped| (skipped.file.as_str(), skipped.error.to_string())).collect();
    assert_eq!((report.added, outcomes.len()), (2, 5));
    assert_eq!(skipped.iter().map(|(file, _)| *file).collect::<Vec<_>>(), ["empty.md", "latin.txt", "wide.txt"]);
    assert!(skipped[1].1.contains("latin.txt is not UTF-8"), "{}", skipped[1].1);
    assert!(skipped[2].1.contains("wide.txt is UTF-16"), "{}", skipped[2].1);
    assert_eq!(report.passed_over, BTreeMap::from([(".png".to_owned(), 2)]));

    let (report, _) = ingest(&store, &vector_store, &folder);
    assert_eq!((report.added, report.changed, report.unchanged), (0, 0, 2));

    let options = AnswerOptions { store_ids: vec![vector_store.clone()], ..AnswerOptions::default() };
    let before = answer(&store, "How much do bakers earn?", &options, None).expect("an answer").citations[0].clone();
    std::fs::write(folder.join("bakers.md"), BAKERS.replace("36,650", "40,000")).expect("written");
    let (report, _) = ingest(&store, &vector_store, &folder);
    assert_eq!((report.added, report.changed, report.unchanged), (0, 1, 1));
    let after = answer(&store, "How much do bakers earn?", &options, None).expect("an answer");
    assert!(after.text.contains("$40,000") && !after.text.contains("36,650"), "{}", after.text);
    assert_eq!(after.citations[0].file_id, before.file_id);
    assert_eq!((before.version, after.citations[0].version), (1, 2));
    assert!(store.search(&[&vector_store], "36,650", &SearchOptions::default()).expect("a search").is_empty());

    // A change that cannot be read leaves the last good version in place.
    std::fs::write(folder.join("bakers.md"), b"\xff\xfe").expect("written");
    let (report, _) = ingest(&store, &vector_store, &folder);
    assert_eq!((report.changed, report.skipped.len()), (0, 4));
    assert!(answer(&store, "How much do bakers earn?", &options, None).expect("an answer").text.contains("$40,000"));

    let attributes = store.get_attached(&vector_store, &before.file_id).expect("attached").attributes;
    assert_eq!(attributes.get("role"), Some(&AttributeValue::Text("Bakers".into())));
}

#[test]
fn a_version_stands_for_one_content_also_after_the_document_was_forgotten() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let path = scratch.path().join("bakers.md");
    let store = Store::in_memory().expect("a store in memory");
    let version_of = |pay: &str| {
        std::fs::write(&path, BAKERS.replace("36,650", pay)).expect("written");
        let vector_store = store.create_vector_store("roles", &Metadata::new()).expect("a vector store").id;
        assert_eq!(ingest(&store, &vector_store, scratch.path()).0.skipped.len(), 0);
        let file = store.list_files(None, &ListOptions::default()).expect("a list").data[0].id.clone();
        (store.source_document(&file).expect("the document").version, vector_store, file)
    };
    let (first, vector_store, file) = version_of("36,650");
    store.detach(&vector_store, &file).expect("detached");
    let (second, vector_store, _) = version_of("40,000");
    store.delete_vector_store(&vector_store).expect("deleted");
    let (third, vector_store, file) = version_of("50,000");
    store.detach(&vector_store, &file).expect("detached");
    let (again, ..) = version_of("50,000");
    assert_eq!((first, second, third, again), (1, 2, 3, 3));
}

#[test]
fn folders_that_cannot_be_walked_are_errors() {
    let fixture = fixture();
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let file = scratch.path().join("file.md");
    std::fs::write(&file, BAKERS).expect("written");
    let ingest = |path: &Path, options: &IngestOptions| {
        fixture.store.ingest_folder(&fixture.vector_store, path, options, &mut |_| ())
    };
    assert!(matches!(
        ingest(&scratch.path().join("nowhere"), &IngestOptions::default()),
        Err(RagError::Missing { .. })
    ));
    assert!(matches!(ingest(&file, &IngestOptions::default()), Err(RagError::NotAFolder { .. })));
    let few = IngestOptions { max_files: 0, ..IngestOptions::default() };
    assert!(matches!(ingest(scratch.path(), &few), Err(RagError::Invalid { field, .. }) if field == "folder"));
    let gone = fixture.store.ingest_folder("vs_gone", scratch.path(), &IngestOptions::default(), &mut |_| ());
    assert!(matches!(gone, Err(RagError::NotFound { kind: "vector store", .. })));
}

//! Two small documents in a store, shared by the tests of whole answers and of ingestion.

#![allow(dead_code)] // Each test file uses a part of it.

use std::collections::BTreeMap;

use sconce_rag::{
    Answer, AnswerOptions, AttributeValue, Attributes, FileStatus, Filter, Generator, Metadata, NewFile, SearchOptions,
    Store, answer,
};

pub(crate) const BAKERS: &str = "# Bakers\n\nDate: 2025-08-28\n\n## Summary\n\n| Quick Facts: Bakers | |\n| --- | --- |\n\
    | Median Pay | $36,650 per year |\n| Number of Jobs | 243,400 |\n\n## Duties\n\nBakers typically do the following:\n\n\
    * Mix dough\n* Watch the ovens\n\n## Pay\n\nThe median annual wage for bakers was $36,650 in May 2024.\n";
pub(crate) const TAILORS: &str = "# Tailors\n\n## Pay\n\nThe median annual wage for tailors was $38,100 in May 2024.\n\n## Tools\n\nTailors \
    use shears, thimbles and sewing machines.\n";

pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) vector_store: String,
    pub(crate) files: BTreeMap<&'static str, String>,
}

pub(crate) fn fixture() -> Fixture {
    let store = Store::in_memory().expect("a store in memory");
    let vector_store = store.create_vector_store("roles", &Metadata::new()).expect("a vector store").id;
    let mut files = BTreeMap::new();
    for (name, text, year) in [("bakers.md", BAKERS, 2025.0), ("tailors.md", TAILORS, 2023.0)] {
        let file = upload(&store, name, text.as_bytes());
        let attributes = Attributes::from([("year".to_owned(), AttributeValue::Number(year))]);
        let attached = store.attach(&vector_store, &file, &attributes).expect("attached");
        assert_eq!(attached.status, FileStatus::Completed, "{:?}", attached.last_error);
        files.insert(name, file);
    }
    Fixture { store, vector_store, files }
}

pub(crate) fn upload(store: &Store, filename: &str, bytes: &[u8]) -> String {
    store.create_file(&NewFile { filename, bytes, purpose: "assistants" }).expect("stored").id
}

impl Fixture {
    pub(crate) fn options(&self) -> AnswerOptions {
        AnswerOptions { store_ids: vec![self.vector_store.clone()], ..AnswerOptions::default() }
    }

    pub(crate) fn ask(&self, question: &str) -> Answer {
        answer(&self.store, question, &self.options(), None).expect("an answer")
    }

    pub(crate) fn ask_with(&self, question: &str, generator: &dyn Generator) -> Answer {
        answer(&self.store, question, &self.options(), Some(generator)).expect("an answer")
    }

    pub(crate) fn titles(&self, query: &str, filters: Option<Filter>) -> Vec<String> {
        let options = SearchOptions { filters, ..SearchOptions::default() };
        let hits = self.store.search(&[&self.vector_store], query, &options).expect("a search");
        let mut titles: Vec<String> = hits.into_iter().map(|hit| hit.title).collect();
        titles.sort_unstable();
        titles.dedup();
        titles
    }
}

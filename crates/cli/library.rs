//! The document store of this user, and the sample documents that a fresh one begins with.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use etcetera::BaseStrategy;
use include_dir::{Dir, include_dir};
use sconce_rag::{Attributes, FileStatus, ListOptions, NewFile, RagError, Store, VectorStore};

use crate::args::LibraryArguments;
use crate::progress;

static SAMPLE_ROLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/corpus/roles");

/// Name of the vector store that the sample documents go into.
pub(crate) const SAMPLE_STORE: &str = "sample roles";

/// The store's file in its folder.
pub(crate) const FILE: &str = "documents.db";

/// Where the store remembers what became of the sample documents: the id of the vector store that they go into, and
/// [`SETTLED`] once they are all there or not wanted.
const SAMPLES_NOTE: &str = "samples";
const SETTLED: &str = "settled";

/// An opened store.
pub(crate) struct Library {
    pub(crate) store: Store,
    pub(crate) path: PathBuf,
}

/// Opens the store, making its folder if needed.
pub(crate) fn open(arguments: &LibraryArguments) -> Result<Library> {
    let folder = match &arguments.data_dir {
        Some(folder) => folder.clone(),
        None => {
            let strategy = etcetera::choose_base_strategy().context("no home folder; name one with --data-dir")?;
            strategy.data_dir().join("sconce")
        }
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("the data folder {} cannot be made", folder.display()))?;
    let path = folder.join(FILE);
    let store =
        Store::open(&path).with_context(|| format!("the document store {} cannot be opened", path.display()))?;
    Ok(Library { store, path })
}

/// Opens the store. The first time, when it holds nothing, it gets the sample documents; what somebody then deletes stays
/// deleted, and an interrupted beginning is completed.
pub(crate) fn open_with_samples(arguments: &LibraryArguments) -> Result<Library> {
    let library = open(arguments)?;
    let store = &library.store;
    let target = match store.note(SAMPLES_NOTE)? {
        None => store.create_first_vector_store(SAMPLES_NOTE, SAMPLE_STORE)?.map(|made| made.id),
        noted => noted.filter(|value| value != SETTLED),
    };
    if let Some(target) = target {
        add_samples(store, &target)?;
    }
    Ok(library)
}

/// Opens the store, which gets no sample documents from now on.
pub(crate) fn open_without_samples(arguments: &LibraryArguments) -> Result<Library> {
    let library = open(arguments)?;
    library.store.set_note(SAMPLES_NOTE, SETTLED)?;
    Ok(library)
}

/// Adds the sample documents that are missing. Each has a name of its own in the store, so that two processes that do this
/// at once add it once.
fn add_samples(store: &Store, target: &str) -> Result<()> {
    let bar = progress::items(SAMPLE_ROLES.files().count() as u64, "sample documents");
    for file in SAMPLE_ROLES.files() {
        let name = file.path().file_name().unwrap_or_default().to_string_lossy();
        let new = NewFile { filename: &name, bytes: file.contents(), purpose: "assistants" };
        match store.ingest_file(target, &format!("sconce:samples/{name}"), &new, &Attributes::new()) {
            Ok(_) => bar.inc(1),
            // Somebody has deleted the vector store meanwhile: they are not wanted.
            Err(RagError::NotFound { .. }) => break,
            Err(error) => return Err(error.into()),
        }
    }
    store.set_note(SAMPLES_NOTE, SETTLED)?;
    bar.finish_and_clear();
    Ok(())
}

/// Every vector store.
pub(crate) fn vector_stores(store: &Store) -> Result<Vec<VectorStore>> {
    let mut all = Vec::new();
    let mut options = ListOptions { limit: 100, ..ListOptions::default() };
    loop {
        let page = store.list_vector_stores(&options)?;
        options.after = page.data.last().map(|last| last.id.clone());
        all.extend(page.data);
        if !page.has_more {
            return Ok(all);
        }
    }
}

/// The vector store of that name or id.
pub(crate) fn find(store: &Store, name: &str) -> Result<Option<VectorStore>> {
    let mut matching =
        vector_stores(store)?.into_iter().filter(|candidate| candidate.name == name || candidate.id == name);
    let first = matching.next();
    if matching.next().is_some() {
        bail!("several vector stores are named {name:?}; name one by its id");
    }
    Ok(first)
}

/// The title of one document of a vector store, without the quotation marks that would end a shell's string.
pub(crate) fn a_title(store: &Store, id: &str) -> Result<Option<String>> {
    let options = ListOptions { limit: 1, ..ListOptions::default() };
    let Some(first) = store.list_attached(id, Some(FileStatus::Completed), &options)?.data.into_iter().next() else {
        return Ok(None);
    };
    let title = store.source_document(&first.id)?.title;
    Ok(Some(title.replace(['"', '\'', '\\'], " ")))
}

#[cfg(test)]
mod tests {
    use sconce_rag::Metadata;

    use super::*;

    fn names(library: &Library) -> Vec<(String, u64)> {
        let stores = vector_stores(&library.store).expect("a list");
        stores.into_iter().map(|store| (store.name, store.file_counts.completed)).collect()
    }

    fn files(library: &Library) -> usize {
        library
            .store
            .list_files(None, &ListOptions { limit: 100, ..ListOptions::default() })
            .expect("a list")
            .data
            .len()
    }

    #[test]
    fn samples_that_were_interrupted_are_completed_and_none_comes_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let arguments = LibraryArguments { data_dir: Some(folder.path().to_owned()) };
        let all = SAMPLE_ROLES.files().count();
        let library = open_with_samples(&arguments).expect("samples");
        let store = vector_stores(&library.store).expect("a list").remove(0);
        // As if the first start had ended before its last document.
        let last = library.store.list_files(None, &ListOptions::default()).expect("a list").data.remove(0);
        library.store.delete_file(&last.id).expect("deleted");
        library.store.set_note(SAMPLES_NOTE, &store.id).expect("noted");
        for _ in 0..2 {
            let again = open_with_samples(&arguments).expect("samples");
            assert_eq!((names(&again), files(&again)), (vec![(SAMPLE_STORE.to_owned(), all as u64)], all));
        }
    }

    #[test]
    fn a_vector_store_of_the_users_own_gets_no_samples_whatever_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let arguments = LibraryArguments { data_dir: Some(folder.path().to_owned()) };
        let library = open(&arguments).expect("a store");
        library.store.create_vector_store(SAMPLE_STORE, &Metadata::new()).expect("made");
        let again = open_with_samples(&arguments).expect("opened");
        assert_eq!((names(&again), files(&again)), (vec![(SAMPLE_STORE.to_owned(), 0)], 0));
    }
}

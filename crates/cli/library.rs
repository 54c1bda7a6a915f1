//! The document store of this user, and the sample documents that a fresh one begins with.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use etcetera::BaseStrategy;
use include_dir::{Dir, include_dir};
use sconce_rag::{Attributes, FileStatus, ListOptions, Metadata, NewFile, Store, VectorStore, VectorStoreUpdate};

use crate::args::LibraryArguments;
use crate::progress;

static SAMPLE_ROLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/corpus/roles");

/// Name of the vector store that the sample documents go into.
pub(crate) const SAMPLE_STORE: &str = "sample roles";

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
    let path = folder.join("documents.db");
    let store =
        Store::open(&path).with_context(|| format!("the document store {} cannot be opened", path.display()))?;
    Ok(Library { store, path })
}

/// Opens the store and fills one without documents with the sample documents.
pub(crate) fn open_with_samples(arguments: &LibraryArguments) -> Result<Library> {
    let library = open(arguments)?;
    let stores = vector_stores(&library.store)?;
    // Interrupted half-way, the samples are completed; a user's own documents are left alone.
    let samples = stores.iter().find(|store| store.name == SAMPLE_STORE);
    let held = stores.iter().map(|store| store.file_counts.total).sum::<u64>();
    let complete = SAMPLE_ROLES.files().count() as u64;
    match samples {
        None if held == 0 => add_samples(&library.store, None)?,
        Some(store) if store.file_counts.total < complete && store.metadata.is_empty() => {
            add_samples(&library.store, Some(store.id.clone()))?;
        }
        _ => {}
    }
    Ok(library)
}

/// Adds the sample documents that are missing, and marks the vector store when all are there.
fn add_samples(store: &Store, target: Option<String>) -> Result<()> {
    let target = match target {
        Some(id) => id,
        None => store.create_vector_store(SAMPLE_STORE, &Metadata::new())?.id,
    };
    let options = ListOptions { limit: 100, ..ListOptions::default() };
    let mut present = Vec::new();
    for attached in store.list_attached(&target, None, &options)?.data {
        present.push(store.get_file(&attached.id)?.filename);
    }
    let bar = progress::items(SAMPLE_ROLES.files().count() as u64, "sample documents");
    for file in SAMPLE_ROLES.files() {
        bar.inc(1);
        let name = file.path().file_name().unwrap_or_default().to_string_lossy();
        if present.iter().any(|known| *known == name) {
            continue;
        }
        let new = NewFile { filename: &name, bytes: file.contents(), purpose: "assistants" };
        let stored = store.create_file(&new)?;
        store.attach(&target, &stored.id, &Attributes::new())?;
    }
    let done = Metadata::from([("samples".to_owned(), "complete".to_owned())]);
    store.update_vector_store(&target, &VectorStoreUpdate { metadata: Some(done), ..VectorStoreUpdate::default() })?;
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

//! The document store of this user, and the sample documents that a fresh one begins with.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use etcetera::BaseStrategy;
use include_dir::{Dir, include_dir};
use sconce_rag::{Attributes, ListOptions, Metadata, NewFile, Store, VectorStore};

use crate::args::LibraryArguments;
use crate::progress;

static SAMPLE_ROLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/corpus/roles");

/// Name of the vector store that the sample documents go into.
pub(crate) const SAMPLE_STORE: &str = "sample roles";

/// An opened store.
pub(crate) struct Library {
    pub(crate) store: Store,
    pub(crate) path: PathBuf,
    /// Whether it was made just now.
    pub(crate) is_new: bool,
}

/// Opens the store, making its folder if needed.
pub(crate) fn open(arguments: &LibraryArguments) -> Result<Library> {
    let folder = match &arguments.data_dir {
        Some(folder) => folder.clone(),
        None => etcetera::choose_base_strategy()
            .context("no home folder; name one with --data-dir")?
            .data_dir()
            .join("sconce"),
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("the data folder {} cannot be made", folder.display()))?;
    let path = folder.join("documents.db");
    let is_new = !path.exists();
    let store =
        Store::open(&path).with_context(|| format!("the document store {} cannot be opened", path.display()))?;
    Ok(Library { store, path, is_new })
}

/// Opens the store and fills a fresh one with the sample documents.
pub(crate) fn open_with_samples(arguments: &LibraryArguments) -> Result<Library> {
    let library = open(arguments)?;
    if library.is_new {
        add_samples(&library.store)?;
    }
    Ok(library)
}

fn add_samples(store: &Store) -> Result<()> {
    let target = store.create_vector_store(SAMPLE_STORE, &Metadata::new())?;
    let files: Vec<_> = SAMPLE_ROLES.files().collect();
    let bar = progress::items(files.len() as u64, "sample documents");
    for file in files {
        let name = file.path().file_name().unwrap_or_default().to_string_lossy();
        let new = NewFile { filename: &name, bytes: file.contents(), purpose: "assistants" };
        let stored = store.create_file(&new)?;
        store.attach(&target.id, &stored.id, &Attributes::new())?;
        bar.inc(1);
    }
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

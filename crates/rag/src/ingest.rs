//! Walks a folder of role documents into a vector store: sorted, bounded, one transaction per document. A file at fault is
//! reported and the rest goes on. Parsing and SQL are elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::store::{Ingested, NewFile, Store};
use crate::{Attributes, RagError, Result, attributes, parse};

/// How a folder is walked.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// Files at most; more are an error before anything is read.
    pub max_files: usize,
    /// Folders inside each other at most; deeper ones are reported as skipped.
    pub max_depth: usize,
    /// Attributes of every file. `role`, `source` and `date` are added from the document where they are not given.
    pub attributes: Attributes,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self { max_files: 100_000, max_depth: 16, attributes: Attributes::new() }
    }
}

/// Told after each file.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Files done, this one included.
    pub done: usize,
    /// Files found.
    pub total: usize,
    /// The file, relative to the folder.
    pub file: &'a str,
    /// What happened to it.
    pub outcome: FileOutcome,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileOutcome {
    /// It is new in the vector store.
    Added,
    /// Its content had changed: a new version replaced the old one.
    Changed,
    /// Its content was there already.
    Unchanged,
    /// It could not be read; an older version of it goes on answering.
    Skipped,
}

/// A file or folder that was not read, and why.
#[derive(Debug)]
pub struct SkippedFile {
    /// Relative to the folder.
    pub file: String,
    /// The reason.
    pub error: RagError,
}

/// What an ingestion did.
#[derive(Debug, Default)]
pub struct IngestReport {
    /// New files.
    pub added: usize,
    /// Files with a new version.
    pub changed: usize,
    /// Files that were there already.
    pub unchanged: usize,
    /// Files at fault.
    pub skipped: Vec<SkippedFile>,
    /// Files of other kinds, which were not opened: how many, by the ending of their name in lower case with its dot, or ""
    /// for none.
    pub passed_over: BTreeMap<String, usize>,
}

impl Store {
    /// Ingests the Markdown, text and HTML files below `folder`, sorted by path; hidden ones and links are
    /// passed over, other kinds of file counted. A file is known again by its absolute path: unchanged it costs a hash, changed it makes a new
    /// version of its document. Files that are gone from the folder stay in the store.
    ///
    /// # Errors
    /// [`RagError::Missing`], [`RagError::NotAFolder`] and [`RagError::Io`] for the folder itself, [`RagError::NotFound`]
    /// for the vector store, [`RagError::Invalid`] for too many files or bad attributes, [`RagError::Database`]. What was
    /// ingested before the error stays.
    pub fn ingest_folder(
        &self,
        store_id: &str,
        folder: &Path,
        options: &IngestOptions,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<IngestReport> {
        attributes::check_attributes("attributes", &options.attributes)?;
        self.get_vector_store(store_id)?;
        let root = fs::canonicalize(folder).map_err(|source| RagError::io(folder, source))?;
        if !root.is_dir() {
            return Err(RagError::NotAFolder { path: folder.to_owned() });
        }
        let mut report = IngestReport::default();
        let files = walk(&root, options, &mut report)?;
        let total = files.len();
        for (index, path) in files.iter().enumerate() {
            let name = relative(&root, path);
            let outcome = match self.ingest_path(store_id, path, &name, options) {
                Ok(Ingested::Added) => FileOutcome::Added,
                Ok(Ingested::Changed) => FileOutcome::Changed,
                Ok(Ingested::Unchanged) => FileOutcome::Unchanged,
                Err(error) if is_files_fault(&error) => {
                    tracing::debug!(file = name, %error, "skipped a document");
                    report.skipped.push(SkippedFile { file: name.clone(), error });
                    FileOutcome::Skipped
                }
                Err(error) => return Err(error),
            };
            match outcome {
                FileOutcome::Added => report.added += 1,
                FileOutcome::Changed => report.changed += 1,
                FileOutcome::Unchanged => report.unchanged += 1,
                FileOutcome::Skipped => {}
            }
            progress(Progress { done: index + 1, total, file: &name, outcome });
        }
        Ok(report)
    }

    fn ingest_path(&self, store_id: &str, path: &Path, name: &str, options: &IngestOptions) -> Result<Ingested> {
        let size = fs::metadata(path).map_err(|source| RagError::io(path, source))?.len();
        let limit = self.limits().max_bytes as u64;
        if size > limit {
            return Err(RagError::TooLarge { file: name.to_owned(), bytes: size, limit });
        }
        let bytes = fs::read(path).map_err(|source| RagError::io(path, source))?;
        let origin = path.to_string_lossy();
        let file = NewFile { filename: name, bytes: &bytes, purpose: "assistants" };
        self.ingest_file(store_id, &origin, &file, &options.attributes)
    }
}

/// Whether an error concerns one file, so that the rest can go on.
fn is_files_fault(error: &RagError) -> bool {
    error.is_document_fault()
        || matches!(error, RagError::Io { .. } | RagError::Missing { .. })
        || matches!(error, RagError::Invalid { field, .. } if field == "filename")
}

/// Supported files below `root`, sorted. Links are not followed, so the walk ends.
fn walk(root: &Path, options: &IngestOptions, report: &mut IngestReport) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(source) if folder == root => return Err(RagError::io(folder, source)),
            Err(source) => {
                let file = relative(root, &folder);
                report.skipped.push(SkippedFile { file, error: RagError::io(folder, source) });
                continue;
            }
        };
        for entry in entries {
            let entry = entry.map_err(|source| RagError::io(&folder, source))?;
            let path = entry.path();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            let kind = entry.file_type().map_err(|source| RagError::io(&path, source))?;
            if hidden {
                continue;
            }
            if kind.is_dir() && depth >= options.max_depth {
                let file = relative(root, &path);
                report.skipped.push(SkippedFile {
                    file: file.clone(),
                    error: RagError::TooDeep { file, limit: options.max_depth },
                });
            } else if kind.is_dir() {
                folders.push((path, depth + 1));
            } else if kind.is_file() && parse::is_supported(&path.to_string_lossy()) {
                files.push(path);
            } else if kind.is_file() {
                *report.passed_over.entry(ending(&path)).or_insert(0) += 1;
            }
            if files.len() > options.max_files {
                let reason = format!("{} holds more than {} files", root.display(), options.max_files);
                return Err(RagError::invalid("folder", reason));
            }
        }
    }
    files.sort();
    Ok(files)
}

fn ending(path: &Path) -> String {
    path.extension().map_or_else(String::new, |ending| format!(".{}", ending.to_string_lossy().to_lowercase()))
}

/// `path` below `root` with forward slashes.
fn relative(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = below.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

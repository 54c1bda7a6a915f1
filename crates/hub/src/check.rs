//! The hashes that a pull recorded beside its blobs, compared with what lies there now.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::RepositoryCache;
use crate::error::HubError;
use crate::names::{Source, is_sha256};
use crate::partial::sha256_of;
use crate::resolve::pulled_repositories;
use crate::settings::Settings;
use crate::whole::appear;

/// What a check of a file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Its SHA-256 is the one that is known for it.
    Same {
        /// The hash.
        sha256: String,
    },
    /// It has changed since, or was never right.
    Different {
        /// What is known for it.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Nothing is known that it could be compared with.
    Unknown,
}

/// A checked file.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its path in a snapshot.
    pub path: PathBuf,
    /// What was found.
    pub finding: Finding,
}

/// The SHA-256 that is known for a file of a cache, through its link: the one recorded when it was pulled, or its blob's name.
pub fn recorded_sha256(path: &Path) -> Option<String> {
    let blob = fs::canonicalize(path).ok()?;
    let name = || {
        let in_blobs = blob.parent()?.file_name()? == "blobs";
        blob.file_name()?.to_str().filter(|name| in_blobs && is_sha256(name)).map(str::to_owned)
    };
    recorded(&blob).or_else(name)
}

/// The SHA-256 that a blob had when it was whole, if it was hashed then.
pub(crate) fn recorded(blob: &Path) -> Option<String> {
    let text = fs::read_to_string(record_path(blob)).ok()?;
    text.split_whitespace().next().filter(|hash| is_sha256(hash)).map(str::to_owned)
}

/// Hashes a file of a cache and compares it with what is known for it.
///
/// # Errors
///
/// When the file cannot be read.
pub fn check_file(path: &Path) -> Result<Finding, HubError> {
    let Some(expected) = recorded_sha256(path) else { return Ok(Finding::Unknown) };
    let found = sha256_of(path)?;
    Ok(if found == expected { Finding::Same { sha256: found } } else { Finding::Different { expected, found } })
}

/// Checks every pulled file of a model's repository, or of all repositories, and gives each finding as it is known.
///
/// # Errors
///
/// When a file cannot be read.
pub fn check(settings: &Settings, source: Option<&Source>, found: &mut dyn FnMut(Checked)) -> Result<(), HubError> {
    let repositories = match source {
        Some(source) => vec![source.repository.clone()],
        None => pulled_repositories(settings),
    };
    for repository in repositories {
        let cache = RepositoryCache::new(&settings.cache, &repository);
        for commit in cache.commits() {
            for file in cache.files(&commit) {
                let path = cache.snapshot(&commit).join(file);
                found(Checked { finding: check_file(&path)?, path });
            }
        }
    }
    Ok(())
}

/// Writes a blob's hash beside it, as `sha256sum` would.
pub(crate) fn record(blob: &Path, sha256: &str) -> Result<(), HubError> {
    let name = blob.file_name().unwrap_or_default().to_string_lossy();
    let path = record_path(blob);
    appear(&path, |fresh| fs::write(fresh, format!("{sha256}  {name}\n")))
        .map_err(HubError::disk(&path, "cannot be written"))
}

/// Takes back what [`record`] wrote, if it did.
pub(crate) fn forget(blob: &Path) -> Result<(), HubError> {
    crate::cache::remove(&record_path(blob))
}

fn record_path(blob: &Path) -> PathBuf {
    let mut name = blob.as_os_str().to_owned();
    name.push(".sha256");
    PathBuf::from(name)
}

//! A pull from beginning to end: list, pick, promise, room, files, and only then links.

use std::path::PathBuf;
use std::time::Duration;

use crate::cache::RepositoryCache;
use crate::client::Client;
use crate::error::HubError;
use crate::listing::Listed;
use crate::names::{Repository, Source, is_safe_hash, is_safe_path, is_sha256};
use crate::pick::pick;
use crate::resolve::find;
use crate::settings::Settings;
use crate::transfer::{Wanted, fetch, is_present};

/// What happens, for whoever shows it.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// What was picked.
    Picked {
        /// Number of files.
        files: usize,
        /// Bytes of all of them.
        bytes: u64,
    },
    /// A file is whole already.
    Present {
        /// Which.
        file: &'a str,
        /// Its bytes.
        size: u64,
    },
    /// A file is coming; also when it comes from its beginning once more.
    Begun {
        /// Which.
        file: &'a str,
        /// Its bytes.
        size: u64,
        /// Bytes that are there already.
        from: u64,
    },
    /// Some of it came.
    Advanced {
        /// How much.
        bytes: u64,
    },
    /// Something failed and is tried again.
    Retrying {
        /// Which file.
        file: &'a str,
        /// What failed.
        reason: &'a str,
        /// Pause before the next try.
        pause: Duration,
    },
    /// Another process is downloading the file.
    Waiting {
        /// Which.
        file: &'a str,
    },
    /// A file is whole, and its hash is right.
    Finished {
        /// Which.
        file: &'a str,
    },
}

pub(crate) type Tell<'a> = &'a mut dyn FnMut(Event<'_>);

/// A model that is there.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Its GGUF file, the first part of a split one, or the folder of its safetensors.
    pub path: PathBuf,
    /// The commit, unless nothing was asked over the network.
    pub commit: Option<String>,
    /// Bytes that came over the network.
    pub received: u64,
}

/// Files of a model at most; the largest published ones have some hundred.
const MAX_FILES: usize = 1 << 10;

/// Brings a model into the cache, whole or not at all. Without a network it says whether the model is there.
///
/// # Errors
///
/// Every [`HubError`] but `Name`. What came of a file is kept for the next pull unless it was wrong, under a name that nothing
/// loads.
pub async fn pull(
    settings: &Settings,
    source: &Source,
    revision: Option<&str>,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Pulled, HubError> {
    if settings.offline {
        return offline(settings, source, revision);
    }
    let repository = &source.repository;
    let revision = revision.unwrap_or("main");
    if !is_safe_path(revision) {
        return Err(refuse(repository, "revision", revision));
    }
    let client = Client::new(settings)?;
    let listing = client.listing(repository, revision, tell).await?;
    let picked = pick(&repository.to_string(), &listing.names(), source.target.as_deref())?;
    if picked.files().len() > MAX_FILES {
        let reason = format!("a model of {} files, more than the {MAX_FILES} that are fetched", picked.files().len());
        return Err(HubError::Choice { repository: repository.to_string(), reason, files: listing.names() });
    }
    let mut wanted = Vec::new();
    for file in picked.files() {
        let listed = listing.files.get(file).cloned().unwrap_or_default();
        let promised = promise(&client, source, &listing.commit, file, &listed, tell).await;
        wanted.push(promised.map_err(|error| with_files(error, listing.names()))?);
    }
    tell(Event::Picked {
        files: wanted.len(),
        bytes: wanted.iter().map(|file| file.size).fold(0, u64::saturating_add),
    });
    let cache = RepositoryCache::new(&settings.cache, repository);
    cache.prepare()?;
    make_sure_of_room(&cache, &wanted)?;
    let mut received = 0;
    for file in &wanted {
        let came = fetch(&client, &cache, file, &settings.limits, tell).await;
        received += came.map_err(|error| with_files(error, listing.names()))?;
    }
    for file in &wanted {
        cache.link(&listing.commit, &file.target.file, &file.etag)?;
    }
    cache.name_commit(revision, &listing.commit)?;
    let path = find(settings, source, Some(revision))?;
    Ok(Pulled { path, commit: Some(listing.commit), received })
}

/// What a file must be: what the server, the listing and the catalog say, who must not contradict each other.
async fn promise(
    client: &Client<'_>,
    source: &Source,
    commit: &str,
    file: &str,
    listed: &Listed,
    tell: Tell<'_>,
) -> Result<Wanted, HubError> {
    let target = client.file(&source.repository, commit, file)?;
    let promise = client.promise(&target, tell).await?;
    if !is_safe_hash(&promise.etag) {
        return Err(refuse(&source.repository, "ETag", &promise.etag));
    }
    let answer = |reason: &str| HubError::Answer { url: target.url.to_string(), reason: reason.to_owned() };
    let size = match (promise.size, listed.size) {
        (Some(found), Some(expected)) if found != expected => {
            return Err(HubError::Length { file: file.to_owned(), expected, found });
        }
        (found, listed) => found.or(listed).ok_or_else(|| answer("the server does not say how long the file is"))?,
    };
    let etag = promise.etag.to_lowercase();
    let mut sha256 = is_sha256(&etag).then(|| etag.clone());
    for expected in [listed.sha256.as_ref(), source.sha256.get(file)].into_iter().flatten() {
        match &sha256 {
            Some(found) if found != expected => {
                return Err(HubError::Hash { file: file.to_owned(), expected: expected.clone(), found: found.clone() });
            }
            _ => sha256 = Some(expected.clone()),
        }
    }
    Ok(Wanted { target, etag, size, sha256 })
}

fn refuse(repository: &Repository, what: &'static str, name: &str) -> HubError {
    HubError::Unsafe { repository: repository.to_string(), what, name: name.chars().take(200).collect() }
}

/// A file that is missing is best said beside those that are there.
fn with_files(error: HubError, names: Vec<String>) -> HubError {
    match error {
        HubError::Missing { url, .. } => HubError::Missing { url, files: names },
        other => other,
    }
}

fn make_sure_of_room(cache: &RepositoryCache, wanted: &[Wanted]) -> Result<(), HubError> {
    let mut needed = 0_u64;
    for file in wanted {
        if !is_present(cache, file)? {
            needed = needed.saturating_add(file.size.saturating_sub(partial_length(cache, file)));
        }
    }
    // A file system that does not tell must not stop a pull.
    let Ok(disk) = rustix::fs::statvfs(&cache.folder) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if needed <= free {
        return Ok(());
    }
    Err(HubError::Space { needed, free, folder: cache.folder.clone() })
}

fn partial_length(cache: &RepositoryCache, wanted: &Wanted) -> u64 {
    std::fs::metadata(cache.blob(&format!("{}.incomplete", wanted.etag))).map_or(0, |metadata| metadata.len())
}

fn offline(settings: &Settings, source: &Source, revision: Option<&str>) -> Result<Pulled, HubError> {
    match find(settings, source, revision) {
        Err(HubError::NotPulled { name, cache, cached }) => {
            let folder = source.repository.folder();
            Err(HubError::Offline { name, folder, cache, cached })
        }
        found => Ok(Pulled { path: found?, commit: None, received: 0 }),
    }
}

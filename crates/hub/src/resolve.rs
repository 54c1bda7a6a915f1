//! From a name to a path, without the network: what was pulled before.

use std::path::PathBuf;

use crate::cache::{RepositoryCache, names};
use crate::error::HubError;
use crate::names::{Repository, Source};
use crate::pick::{Pick, pick};
use crate::settings::Settings;

/// Where a pulled model is: its GGUF file, the first part of a split one, or the folder of its safetensors.
///
/// # Errors
///
/// [`HubError::NotPulled`] when it is not there; [`HubError::Choice`] when several pulled files could be meant.
pub fn find(settings: &Settings, source: &Source, revision: Option<&str>) -> Result<PathBuf, HubError> {
    let missing = || HubError::NotPulled {
        name: source.name.clone(),
        cache: settings.cache.clone(),
        cached: pulled_repositories(settings).iter().map(Repository::to_string).collect(),
    };
    let cache = RepositoryCache::new(&settings.cache, &source.repository);
    let commit = cache.commit(revision).ok_or_else(missing)?;
    let files = cache.files(&commit);
    let several = files.iter().filter(|file| file.ends_with(".gguf")).count() > 1;
    let picked = pick(&source.repository.to_string(), &files, source.target.as_deref());
    let picked = picked.map_err(|error| if source.target.is_none() && several { error } else { missing() })?;
    let snapshot = cache.snapshot(&commit);
    Ok(match picked {
        Pick::Gguf(files) => files.first().map_or(snapshot.clone(), |first| snapshot.join(first)),
        Pick::Safetensors(_) => snapshot,
    })
}

/// The repositories that have files in the cache, in order.
pub fn pulled_repositories(settings: &Settings) -> Vec<Repository> {
    let repositories = names(&settings.cache).into_iter().filter_map(|folder| Repository::of_folder(&folder));
    let has_files = |repository: &Repository| {
        let cache = RepositoryCache::new(&settings.cache, repository);
        cache.commits().iter().any(|commit| !cache.files(commit).is_empty())
    };
    repositories.filter(has_files).collect()
}

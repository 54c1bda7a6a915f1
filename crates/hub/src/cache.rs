//! The layout of the cache: `blobs` by ETag, `snapshots/<commit>/<file>` linking to them, `refs/<revision>` naming commits, and
//! locks beside them, as the endpoint's other tools keep them.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::HubError;
use crate::limits::Limits;
use crate::names::{Repository, is_commit, is_safe_hash, is_safe_path};
use crate::whole::appear;

/// How often a lock that another process holds is tried.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// The deepest folder of a repository that is looked into.
const MAX_DEPTH: usize = 16;

/// One repository's folder.
pub(crate) struct RepositoryCache {
    /// `models--org--name`.
    pub(crate) folder: PathBuf,
    locks: PathBuf,
}

/// A file that is being downloaded belongs to this process until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl RepositoryCache {
    pub(crate) fn new(cache: &Path, repository: &Repository) -> Self {
        let name = repository.folder();
        Self { folder: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    /// Where the content with this ETag lies.
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Makes the folder of the blobs.
    pub(crate) fn prepare(&self) -> Result<(), HubError> {
        let blobs = self.folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(HubError::disk(&blobs, "cannot be made"))
    }

    /// The lock of an ETag, waited for within the limit.
    pub(crate) async fn lock(&self, etag: &str, limits: &Limits, waiting: impl FnOnce()) -> Result<Lock, HubError> {
        fs::create_dir_all(&self.locks).map_err(HubError::disk(&self.locks, "cannot be made"))?;
        let path = self.locks.join(format!("{etag}.lock"));
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(HubError::disk(&path, "cannot be opened"))?;
        let began = Instant::now();
        let mut waiting = Some(waiting);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::Error(error)) => return Err(HubError::disk(&path, "cannot be locked")(error)),
                Err(TryLockError::WouldBlock) if began.elapsed() >= limits.lock_wait => {
                    return Err(HubError::Locked { lock: path, seconds: began.elapsed().as_secs() });
                }
                Err(TryLockError::WouldBlock) => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    tokio::time::sleep(LOCK_POLL).await;
                }
            }
        }
    }

    /// Makes `snapshots/<commit>/<file>` a link to a blob. The link appears at once or not at all.
    pub(crate) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), HubError> {
        let path = self.snapshot(commit).join(file);
        let folder = path.parent().unwrap_or(&path).to_owned();
        fs::create_dir_all(&folder).map_err(HubError::disk(&folder, "cannot be made"))?;
        let target: PathBuf = std::iter::repeat_n("..", 2 + file.split('/').count() - 1).collect();
        let target = target.join("blobs").join(etag);
        if fs::read_link(&path).is_ok_and(|found| found == target) {
            return Ok(());
        }
        appear(&path, |fresh| std::os::unix::fs::symlink(&target, fresh))
            .map_err(HubError::disk(&path, "cannot be linked"))
    }

    /// Writes which commit a revision is. A commit needs no such name.
    pub(crate) fn name_commit(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if is_commit(revision) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).map_err(HubError::disk(folder, "cannot be made"))?;
        appear(&path, |fresh| fs::write(fresh, commit)).map_err(HubError::disk(&path, "cannot be written"))
    }

    /// The commit of a revision, or of the only snapshot when none is asked for.
    pub(crate) fn commit(&self, revision: Option<&str>) -> Option<String> {
        let name = revision.unwrap_or("main");
        if is_commit(name) {
            return self.snapshot(name).is_dir().then(|| name.to_owned());
        }
        if !is_safe_path(name) {
            return None;
        }
        let named = fs::read_to_string(self.folder.join("refs").join(name)).ok().map(|text| text.trim().to_owned());
        let only = || match self.commits().as_slice() {
            [one] if revision.is_none() => Some(one.clone()),
            _ => None,
        };
        named.filter(|commit| is_safe_hash(commit)).or_else(only)
    }

    /// Every snapshot's commit.
    pub(crate) fn commits(&self) -> Vec<String> {
        names(&self.folder.join("snapshots")).into_iter().filter(|name| is_safe_hash(name)).collect()
    }

    /// The files of a snapshot whose content is there, in order.
    pub(crate) fn files(&self, commit: &str) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.snapshot(commit), "", MAX_DEPTH, &mut found);
        found.sort();
        found
    }
}

/// The names in a folder, in order; none if it cannot be read.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn walk(folder: &Path, before: &str, depth: usize, found: &mut Vec<String>) {
    for name in names(folder) {
        let path = folder.join(&name);
        // Follows the link: one whose blob is gone counts for nothing.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_file() && !name.starts_with('.') {
            found.push(format!("{before}{name}"));
        } else if metadata.is_dir() && depth > 0 {
            walk(&path, &format!("{before}{name}/"), depth - 1, found);
        }
    }
}

/// Removes a file that may not be there.
pub(crate) fn remove(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(HubError::disk(path, "cannot be removed")(error)),
        _ => Ok(()),
    }
}

/// The name of the repository that a path of a cache belongs to, for models that are folders: `name` of
/// `models--org--name/snapshots/<commit>`.
pub fn display_name(path: &Path) -> Option<String> {
    let parts: Vec<&str> = path.components().filter_map(normal).collect();
    let [.., repository, "snapshots", _commit] = parts.as_slice() else { return None };
    Repository::of_folder(repository)?.parts().last().map(str::to_owned)
}

fn normal(component: Component<'_>) -> Option<&str> {
    match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_the_name_of_its_repository() {
        let named = |path: &str| display_name(Path::new(path));
        assert_eq!(named("/c/hub/models--org--Some-1B/snapshots/abcdef1"), Some("Some-1B".to_owned()));
        assert_eq!(named("/c/hub/models--org--Some-1B/snapshots/abcdef1/model.gguf"), None);
        assert_eq!(named("/models/Some-1B"), None);
    }

    #[test]
    fn links_lead_to_the_blob_from_any_depth() {
        let root = tempfile::tempdir().expect("a folder");
        let repository = Repository::parse("org/name").expect("a name");
        let cache = RepositoryCache::new(root.path(), &repository);
        cache.prepare().expect("made");
        fs::write(cache.blob("abcdefg"), "content").expect("written");
        for file in ["a.txt", "deep/er/a.txt"] {
            cache.link("1234567", file, "abcdefg").expect("linked");
            cache.link("1234567", file, "abcdefg").expect("linked again");
            assert_eq!(fs::read_to_string(cache.snapshot("1234567").join(file)).expect("read"), "content");
        }
        assert_eq!(cache.files("1234567"), ["a.txt", "deep/er/a.txt"]);
        assert_eq!(cache.commit(None).as_deref(), Some("1234567"), "the only one");
        cache.name_commit("main", "7654321").expect("named");
        assert_eq!(cache.commit(None).as_deref(), Some("7654321"));
        fs::remove_file(cache.blob("abcdefg")).expect("removed");
        assert!(cache.files("1234567").is_empty(), "a link into nothing is no file");
    }
}

//! Everything that can go wrong between a name and a file, each with what to do about it.

use std::path::{Path, PathBuf};

/// Why a model was not pulled, found or checked.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// What was typed is neither a name of the catalog nor a repository.
    #[error(
        "{text:?} names no model: {reason}; give a repository such as org/name or org/name:Q4_K_M, or one of {}",
        .known.join(", ")
    )]
    Name {
        /// What was typed.
        text: String,
        /// What is wrong with it.
        reason: String,
        /// The names of the catalog.
        known: Vec<String>,
    },
    /// A variable of the environment cannot be used.
    #[error("the environment variable {variable} {reason}")]
    Environment {
        /// Which.
        variable: &'static str,
        /// What is wrong with it, and what would do.
        reason: String,
    },
    /// A file name that would lead out of the cache, or a hash or commit that cannot name a file.
    #[error("{repository} offers {name:?} as a {what}, which is not safe as a file's name: nothing was downloaded")]
    Unsafe {
        /// Of which repository.
        repository: String,
        /// What it was to be.
        what: &'static str,
        /// What it said.
        name: String,
    },
    /// The repository has no file, several files, or only some parts of what was asked for.
    #[error("{repository}: {reason}{}", offered(.files, "the repository has", .repository))]
    Choice {
        /// Of which repository.
        repository: String,
        /// Why nothing was chosen.
        reason: String,
        /// What could be asked for instead.
        files: Vec<String>,
    },
    /// 401 or 403.
    #[error(
        "{endpoint} does not let {file} of {repository} be read (HTTP {status}): the repository is private or gated, or there \
         is none of that name. If it is gated, open {endpoint}/{repository}, sign in and accept its licence; then {}",
        token_hint(*.with_token)
    )]
    Gated {
        /// Where it was asked for.
        endpoint: String,
        /// Of which repository.
        repository: String,
        /// Which file, or the listing.
        file: String,
        /// 401 or 403.
        status: u16,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// 404.
    #[error("{url} does not exist (HTTP 404): check the names and the revision{}", offered(.files, "the repository has", ""))]
    Missing {
        /// What was asked for.
        url: String,
        /// The repository's files, where they are known.
        files: Vec<String>,
    },
    /// A page came instead of a file.
    #[error(
        "{url} answered with a web page instead of a file: a proxy, a login page or a wrong HF_ENDPOINT stands in between; \
         nothing was kept"
    )]
    WebPage {
        /// What was asked for.
        url: String,
    },
    /// An answer that no rule of the protocol explains.
    #[error("{url} cannot be used: {reason}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What was wrong with the answer.
        reason: String,
    },
    /// Tried as often as was allowed.
    #[error(
        "{url} failed {attempts} times in a row, the last time because {reason}; what has come is kept: pull again to go on. HF_ENDPOINT names another hub"
    )]
    GivenUp {
        /// What was asked for.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// The last reason.
        reason: String,
    },
    /// The server asks for a longer pause than is allowed.
    #[error(
        "{url} asks to wait {seconds} s before the next try, longer than the {most} s that are waited: pull again later"
    )]
    Busy {
        /// What was asked for.
        url: String,
        /// What it asks for.
        seconds: u64,
        /// What would have been waited.
        most: u64,
    },
    /// More or fewer bytes than were promised.
    #[error(
        "{file} should have {expected} bytes, and the server sends {found}: nothing was kept; pull again, and tell the repository's owner if it stays so"
    )]
    Length {
        /// Which file.
        file: String,
        /// Bytes that were promised.
        expected: u64,
        /// Bytes that came or were announced.
        found: u64,
    },
    /// Other bytes than were promised.
    #[error(
        "{file} has the SHA-256 {found}, and {expected} was promised: nothing was kept; pull again, and do not use the file from elsewhere if it stays so"
    )]
    Hash {
        /// Which file.
        file: String,
        /// What was promised.
        expected: String,
        /// What came.
        found: String,
    },
    /// Another process holds a file of the cache for too long.
    #[error("another process has been downloading the same file for {seconds} s and holds {}: wait for it, or end it", .lock.display())]
    Locked {
        /// The lock's file.
        lock: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// The disk is too full.
    #[error("{needed} bytes are still to come, and the disk of {} has {free} free: make room, or set HF_HUB_CACHE to another disk", .folder.display())]
    Space {
        /// Bytes to come.
        needed: u64,
        /// Bytes free.
        free: u64,
        /// Where they would go.
        folder: PathBuf,
    },
    /// No network is to be used, and the model is not there.
    #[error(
        "HF_HUB_OFFLINE is set, and {name} is not complete in {}{}. Pull it on a machine with a network and copy the folder \
         {folder} there into {} here, links and all (cp -a or rsync -a)",
        .cache.display(), already(.cached), .cache.display()
    )]
    Offline {
        /// What was asked for.
        name: String,
        /// The folder's name in a cache.
        folder: String,
        /// The cache.
        cache: PathBuf,
        /// Repositories that are there.
        cached: Vec<String>,
    },
    /// Asked for by name, and not there.
    #[error("{name} is neither a file nor a model that was pulled into {}{}; fetch it with `sconce pull {name}`", .cache.display(), already(.cached))]
    NotPulled {
        /// What was asked for.
        name: String,
        /// The cache.
        cache: PathBuf,
        /// Repositories that are there.
        cached: Vec<String>,
    },
    /// The client could not be made.
    #[error("no HTTPS client can be made; it reads the system's certificates (ca-certificates, or SSL_CERT_FILE): {0}")]
    Client(String),
    /// The file system refused.
    #[error("{} {action}: {source}", .path.display())]
    Disk {
        /// Which file or folder.
        path: PathBuf,
        /// What could not be done, such as "cannot be written".
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl HubError {
    pub(crate) fn disk(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Disk { path: path.to_owned(), action, source }
    }
}

fn token_hint(with_token: bool) -> &'static str {
    if with_token {
        "use a token of that account: the one in HF_TOKEN or the token file was sent and refused"
    } else {
        "set HF_TOKEN to a read token of that account (none was sent)"
    }
}

/// A repository may have thousands of files.
const LISTED: usize = 40;

fn offered(files: &[String], before: &str, repository: &str) -> String {
    if files.is_empty() {
        return String::new();
    }
    let more = files.len().saturating_sub(LISTED);
    let hint = if repository.is_empty() { String::new() } else { format!(" (choose with {repository}:FILE)") };
    let tail = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    let lines: String = files.iter().take(LISTED).map(|file| format!("\n  {}", file.escape_debug())).collect();
    format!("; {before}{hint}:{lines}{tail}")
}

fn already(repositories: &[String]) -> String {
    match repositories {
        [] => ", where nothing is yet".to_owned(),
        some => format!(" (there: {})", some.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ")),
    }
}

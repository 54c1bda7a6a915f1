//! One file from the endpoint to a blob: resumed, retried, and given its name only when its length and hash are right.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};

use crate::cache::{self, RepositoryCache};
use crate::check::{forget, record, recorded};
use crate::client::{Client, Patience, Target, Trouble};
use crate::error::HubError;
use crate::limits::Limits;
use crate::partial::{Partial, sha256_of};
use crate::pull::{Event, Tell};

/// A try that brought so much was no failure, however it ended.
const PROGRESS_BYTES: u64 = 1 << 20;

/// A connection that brings less in so long a time is cut and made anew.
const CRAWL: (u64, Duration) = (256 << 10, Duration::from_secs(60));

/// A file as it must be when it is whole.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) target: Target,
    pub(crate) etag: String,
    pub(crate) size: u64,
    /// Where somebody says it.
    pub(crate) sha256: Option<String>,
}

/// Whether a blob is whole. One that another tool left without a record is hashed now; one that is wrong is removed.
pub(crate) fn is_present(cache: &RepositoryCache, wanted: &Wanted) -> Result<bool, HubError> {
    let blob = cache.blob(&wanted.etag);
    let Ok(metadata) = fs::metadata(&blob) else {
        // A record without its blob says nothing of the one that will come.
        forget(&blob)?;
        return Ok(false);
    };
    let right = metadata.is_file() && metadata.len() == wanted.size && {
        let found = match recorded(&blob) {
            Some(sha256) => sha256,
            None => {
                let found = sha256_of(&blob)?;
                if wanted.sha256.as_ref().is_none_or(|wanted| *wanted == found) {
                    record(&blob, &found)?;
                }
                found
            }
        };
        wanted.sha256.as_ref().is_none_or(|wanted| *wanted == found)
    };
    if !right {
        forget(&blob)?;
        cache::remove(&blob)?;
    }
    Ok(right)
}

/// Brings a file, if it is not there. Returns the bytes that came.
pub(crate) async fn fetch(
    client: &Client<'_>,
    cache: &RepositoryCache,
    wanted: &Wanted,
    limits: &Limits,
    tell: Tell<'_>,
) -> Result<u64, HubError> {
    let file = wanted.target.file.as_str();
    let _lock = cache.lock(&wanted.etag, limits, || tell(Event::Waiting { file })).await?;
    if is_present(cache, wanted)? {
        tell(Event::Present { file, size: wanted.size });
        return Ok(0);
    }
    let blob = cache.blob(&wanted.etag);
    let mut partial = Partial::open(incomplete(&blob), wanted.sha256.is_some(), wanted.size)?;
    let resumed = partial.length;
    tell(Event::Begun { file, size: wanted.size, from: resumed });
    fill(client, wanted, limits, &mut partial, tell).await?;
    let stale = |partial: &Partial| wanted.sha256.as_ref().is_some_and(|wanted| *wanted != partial.sha256());
    let mut came = wanted.size - resumed;
    if resumed > 0 && stale(&partial) {
        // What was left may be of other content, so that the whole is not yet the server's fault.
        partial.restart()?;
        tell(Event::Begun { file, size: wanted.size, from: 0 });
        fill(client, wanted, limits, &mut partial, tell).await?;
        came += wanted.size;
    }
    let found = partial.sha256();
    if let Some(expected) = wanted.sha256.clone().filter(|expected| *expected != found) {
        partial.discard()?;
        return Err(HubError::Hash { file: file.to_owned(), expected, found });
    }
    partial.finish(&blob)?;
    record(&blob, &found)?;
    tell(Event::Finished { file });
    Ok(came)
}

fn incomplete(blob: &Path) -> PathBuf {
    let mut name = blob.as_os_str().to_owned();
    name.push(".incomplete");
    PathBuf::from(name)
}

/// Brings the rest of a file, over as many connections as it takes.
async fn fill(
    client: &Client<'_>,
    wanted: &Wanted,
    limits: &Limits,
    partial: &mut Partial,
    tell: Tell<'_>,
) -> Result<(), HubError> {
    let mut patience = Patience::new(limits);
    while partial.length < wanted.size {
        let before = partial.length;
        match once(client, wanted, partial, tell).await {
            Ok(()) => {}
            Err(Trouble::Final(error)) => {
                // A page or a wrong length says that what came is not to be trusted.
                if matches!(error, HubError::Length { .. } | HubError::WebPage { .. }) {
                    partial.restart()?;
                }
                return Err(error);
            }
            Err(passing) => {
                if partial.length >= before.saturating_add(PROGRESS_BYTES) {
                    patience.progressed();
                }
                patience.endure(&wanted.target, passing, tell).await?;
            }
        }
    }
    Ok(())
}

/// One connection's worth. `Ok` when the file has its length.
async fn once(client: &Client<'_>, wanted: &Wanted, partial: &mut Partial, tell: Tell<'_>) -> Result<(), Trouble> {
    let mut response = client.content(&wanted.target, partial.length).await?;
    begin(wanted, partial, &response, tell)?;
    let mut pace = (Instant::now(), 0);
    while let Some(bytes) = response.chunk().await.map_err(|error| Trouble::network(&error))? {
        let length = partial.length + bytes.len() as u64;
        if length > wanted.size {
            return Err(wrong_length(wanted, length).into());
        }
        if partial.length == 0 && looks_like_a_page(&bytes) && !wanted.target.file.ends_with(".html") {
            return Err(HubError::WebPage { url: wanted.target.url.to_string() }.into());
        }
        partial.append(&bytes)?;
        tell(Event::Advanced { bytes: bytes.len() as u64 });
        pace.1 += bytes.len() as u64;
        if pace.0.elapsed() >= CRAWL.1 {
            if pace.1 < CRAWL.0 {
                return Err(Trouble::Passing { reason: "the connection crawls".to_owned(), wait: None });
            }
            pace = (Instant::now(), 0);
        }
    }
    if partial.length < wanted.size {
        let reason = format!("the connection ended after {} of {} bytes", partial.length, wanted.size);
        return Err(Trouble::Passing { reason, wait: None });
    }
    Ok(())
}

/// Checks that what comes is what is missing. A server that ignores the range sends everything again.
fn begin(wanted: &Wanted, partial: &mut Partial, response: &Response, tell: Tell<'_>) -> Result<(), HubError> {
    if response.status() == StatusCode::PARTIAL_CONTENT {
        let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
        let expected = format!("bytes {}-{}/{}", partial.length, wanted.size - 1, wanted.size);
        if range != expected {
            let reason = format!("it sends {range:?} where {expected:?} was asked for");
            partial.restart()?;
            return Err(HubError::Answer { url: wanted.target.url.to_string(), reason });
        }
        return Ok(());
    }
    if let Some(length) = response.content_length().filter(|length| *length != wanted.size) {
        return Err(wrong_length(wanted, length));
    }
    if partial.length > 0 {
        partial.restart()?;
        tell(Event::Begun { file: &wanted.target.file, size: wanted.size, from: 0 });
    }
    Ok(())
}

fn wrong_length(wanted: &Wanted, found: u64) -> HubError {
    HubError::Length { file: wanted.target.file.clone(), expected: wanted.size, found }
}

fn looks_like_a_page(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    ["<!doctype html", "<html"]
        .iter()
        .any(|word| start.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes())))
}

//! Requests to the endpoint: redirects followed by hand, so that the token stays with it; passing trouble told from final.

use std::time::{Duration, Instant};

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, LOCATION, RANGE,
    RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode, Url};

use crate::error::HubError;
use crate::limits::Limits;
use crate::listing::Listing;
use crate::names::Repository;
use crate::pull::{Event, Tell};
use crate::settings::Settings;

/// The most redirects of one request.
const MAX_REDIRECTS: usize = 8;

/// The longest description of a repository.
const MAX_LISTING_BYTES: usize = 64 << 20;
/// How long a description may take to come.
const LISTING_TIME: Duration = Duration::from_secs(120);

/// Why a request did not succeed: for good, or worth another try.
pub(crate) enum Trouble {
    Final(HubError),
    Passing { reason: String, wait: Option<Duration> },
}

impl From<HubError> for Trouble {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

impl Trouble {
    pub(crate) fn network(error: &reqwest::Error) -> Self {
        Self::Passing { reason: chain(error), wait: None }
    }
}

/// A request's place in the world, for its errors.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) url: Url,
    pub(crate) repository: String,
    pub(crate) file: String,
}

/// What the endpoint says about a file before it sends it.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    pub(crate) etag: String,
    pub(crate) size: Option<u64>,
}

pub(crate) struct Client<'settings> {
    http: reqwest::Client,
    settings: &'settings Settings,
}

impl<'settings> Client<'settings> {
    pub(crate) fn new(settings: &'settings Settings) -> Result<Self, HubError> {
        let mut builder = reqwest::Client::builder();
        if matches!(settings.endpoint.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            // A proxy of the environment does not know this machine.
            builder = builder.no_proxy();
        }
        let http = builder
            .user_agent(concat!("sconce/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.limits.timeout)
            .read_timeout(settings.limits.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .build()
            .map_err(|error| HubError::Client(chain(&error)))?;
        Ok(Self { http, settings })
    }

    fn target(&self, repository: &Repository, file: &str, segments: &[&str]) -> Result<Target, HubError> {
        let mut url = self.settings.endpoint.clone();
        match url.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().extend(segments),
            Err(()) => {
                let reason = "has no path".to_owned();
                return Err(HubError::Environment { variable: "HF_ENDPOINT", reason });
            }
        };
        Ok(Target { url, repository: repository.to_string(), file: file.to_owned() })
    }

    /// Where a file of a commit is downloaded.
    pub(crate) fn file(&self, repository: &Repository, commit: &str, file: &str) -> Result<Target, HubError> {
        let segments: Vec<&str> = repository.parts().chain(["resolve", commit]).chain(file.split('/')).collect();
        self.target(repository, file, &segments)
    }

    /// The commit and the files of a revision.
    pub(crate) async fn listing(
        &self,
        repository: &Repository,
        revision: &str,
        tell: Tell<'_>,
    ) -> Result<Listing, HubError> {
        let mut segments = vec!["api", "models"];
        segments.extend(repository.parts());
        segments.extend(["revision", revision]);
        let mut target = self.target(repository, "the list of files", &segments)?;
        target.url.set_query(Some("blobs=true"));
        let mut patience = Patience::new(&self.settings.limits);
        loop {
            match self.read_all(&target).await {
                Ok(body) => return Listing::parse(repository, target.url.as_str(), &body),
                Err(trouble) => patience.endure(&target, trouble, tell).await?,
            }
        }
    }

    async fn read_all(&self, target: &Target) -> Result<Vec<u8>, Trouble> {
        let (mut response, _) = self.send(Method::GET, target, None).await?;
        let began = Instant::now();
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(|error| Trouble::network(&error))? {
            if body.len() + bytes.len() > MAX_LISTING_BYTES {
                let reason = format!("the description has more than {MAX_LISTING_BYTES} bytes");
                return Err(HubError::Answer { url: target.url.to_string(), reason }.into());
            }
            body.extend_from_slice(&bytes);
            if began.elapsed() > LISTING_TIME {
                return Err(Trouble::Passing { reason: "the connection crawls".to_owned(), wait: None });
            }
        }
        Ok(body)
    }

    /// Asks for a file's ETag and size without its content.
    pub(crate) async fn promise(&self, target: &Target, tell: Tell<'_>) -> Result<Promise, HubError> {
        let mut patience = Patience::new(&self.settings.limits);
        loop {
            match self.send(Method::HEAD, target, None).await {
                Ok((_, Promised { etag: Some(etag), size })) => return Ok(Promise { etag, size }),
                Ok(_) => {
                    let reason = "the answer has no ETag, so that the file cannot be told from another".to_owned();
                    return Err(HubError::Answer { url: target.url.to_string(), reason });
                }
                Err(trouble) => patience.endure(target, trouble, tell).await?,
            }
        }
    }

    /// Asks for a file's content from a byte on. The answer is 200 or 206.
    pub(crate) async fn content(&self, target: &Target, from: u64) -> Result<Response, Trouble> {
        self.send(Method::GET, target, (from > 0).then_some(from)).await.map(|(response, _)| response)
    }

    /// Sends a request and follows its redirects. What a HEAD asks is known once it leads to another host.
    async fn send(&self, method: Method, target: &Target, from: Option<u64>) -> Result<(Response, Promised), Trouble> {
        let mut url = target.url.clone();
        let mut promised = Promised::default();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.http.request(method.clone(), url.clone()).header(ACCEPT_ENCODING, "identity");
            if let Some(token) =
                self.settings.token.as_ref().filter(|_| url.origin() == self.settings.endpoint.origin())
            {
                request = request.header(AUTHORIZATION, token.0.clone());
            }
            if let Some(from) = from {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            let response = request.send().await.map_err(|error| Trouble::network(&error))?;
            let status = response.status();
            promised.read(response.headers(), status.is_success() && method == Method::HEAD);
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                self.judge(target, &response)?;
                return Ok((response, promised));
            }
            let next = redirected(target, &url, response.headers())?;
            if method == Method::HEAD && next.origin() != url.origin() && promised.linked() {
                return Ok((response, promised));
            }
            url = next;
        }
        let reason = format!("it redirects more than {MAX_REDIRECTS} times");
        Err(HubError::Answer { url: target.url.to_string(), reason }.into())
    }

    /// What a status means.
    fn judge(&self, target: &Target, response: &Response) -> Result<(), Trouble> {
        let status = response.status();
        let url = target.url.to_string();
        match status.as_u16() {
            200 | 206 if is_web_page(response.headers(), &target.file) => Err(HubError::WebPage { url }.into()),
            200 | 206 => Ok(()),
            401 | 403 => Err(HubError::Gated {
                endpoint: self.settings.endpoint.as_str().trim_end_matches('/').to_owned(),
                repository: target.repository.clone(),
                file: target.file.clone(),
                status: status.as_u16(),
                with_token: self.settings.token.is_some(),
            }
            .into()),
            404 => Err(HubError::Missing { url, files: Vec::new() }.into()),
            408 | 429 | 500..=599 => {
                let reason = format!("the server answers {status}");
                Err(Trouble::Passing { reason, wait: retry_after(response.headers()) })
            }
            _ => Err(HubError::Answer { url, reason: format!("the server answers {status}") }.into()),
        }
    }
}

/// What the answers on the way to a file say about it. The endpoint's own words count before those of where it leads.
#[derive(Default)]
struct Promised {
    etag: Option<String>,
    size: Option<u64>,
}

impl Promised {
    fn read(&mut self, headers: &HeaderMap, last: bool) {
        let get = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let linked = |name: &'static str| get(&HeaderName::from_static(name));
        let etag = linked("x-linked-etag").or_else(|| get(&ETAG).filter(|_| last));
        let size = linked("x-linked-size").or_else(|| get(&CONTENT_LENGTH).filter(|_| last));
        let plain = |etag: &str| etag.trim_start_matches("W/").trim_matches('"').to_owned();
        self.etag = self.etag.take().or_else(|| etag.map(plain));
        self.size = self.size.or_else(|| size.and_then(|size| size.parse().ok()));
    }

    fn linked(&self) -> bool {
        self.etag.is_some()
    }
}

fn redirected(target: &Target, from: &Url, headers: &HeaderMap) -> Result<Url, HubError> {
    let wrong = |reason: &str| HubError::Answer { url: target.url.to_string(), reason: reason.to_owned() };
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let next =
        location.and_then(|location| from.join(location).ok()).ok_or_else(|| wrong("it redirects to no address"))?;
    match (from.scheme(), next.scheme()) {
        ("https", "https") | ("http", "http" | "https") => Ok(next),
        _ => Err(wrong("it redirects away from HTTPS")),
    }
}

/// Whether a page came where none was asked for.
fn is_web_page(headers: &HeaderMap, file: &str) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_lowercase().starts_with("text/html") && !file.ends_with(".html")
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Counts failures without progress between them, and waits longer after each.
pub(crate) struct Patience<'limits> {
    limits: &'limits Limits,
    failures: u32,
}

impl<'limits> Patience<'limits> {
    pub(crate) fn new(limits: &'limits Limits) -> Self {
        Self { limits, failures: 0 }
    }

    /// Something came: the next failure is a first one again.
    pub(crate) fn progressed(&mut self) {
        self.failures = 0;
    }

    /// Waits before another try, or says why there is none.
    pub(crate) async fn endure(&mut self, target: &Target, trouble: Trouble, tell: Tell<'_>) -> Result<(), HubError> {
        let (reason, asked) = match trouble {
            Trouble::Final(error) => return Err(error),
            Trouble::Passing { reason, wait } => (reason, wait),
        };
        let url = target.url.to_string();
        self.failures += 1;
        if self.failures > self.limits.retries {
            return Err(HubError::GivenUp { url, attempts: self.failures, reason });
        }
        let most = self.limits.longest_pause;
        if let Some(asked) = asked.filter(|asked| *asked > most) {
            return Err(HubError::Busy { url, seconds: asked.as_secs(), most: most.as_secs() });
        }
        let pause = asked.unwrap_or_default().max(self.limits.pause(self.failures));
        tell(Event::Retrying { file: &target.file, reason: &reason, pause });
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// An error with its causes: the outermost alone says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        cause = error.source();
    }
    told
}

//! The HTTP side: where the server is, who it says it is, how a request is built. What a stream means is not known here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, SERVER};
use reqwest::{RequestBuilder, Response, Url};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use crate::report::ServerInfo;
use crate::wire::{error_text, printable, request_body};
use crate::workload::Timeouts;
use crate::{Endpoint, LoadgenError, Target};

const MODELS_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ERROR_BODY_BYTES: usize = 64 << 10;
const MAX_MODELS_BODY_BYTES: usize = 4 << 20;
const MAX_MODELS_LISTED: usize = 20;

/// Sends requests to one server. Every request has a connection of its own, so that its time to the first token always
/// includes connecting and never a stale connection's retry.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    root: Url,
    model: String,
    endpoint: Endpoint,
    extra: Map<String, Value>,
    pub(crate) timeouts: Timeouts,
    chunks_seen: Arc<AtomicU64>,
}

impl Client {
    pub(crate) fn new(
        target: &Target,
        endpoint: Endpoint,
        timeouts: Timeouts,
        extra: Map<String, Value>,
    ) -> Result<Self, LoadgenError> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &target.api_key {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_invalid| LoadgenError::ApiKey)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_millis(timeouts.connect_ms))
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy() // a proxy of the environment must not come between the clock and the server
            .http1_only()
            .tls_certs_only([]) // only http is spoken, so that a machine without certificates must do
            .build()
            .map_err(LoadgenError::Client)?;
        Ok(Self {
            http,
            root: root_of(&target.base_url)?,
            model: target.model.clone().unwrap_or_default(),
            endpoint,
            extra,
            timeouts,
            chunks_seen: Arc::default(),
        })
    }

    /// The address that routes are appended to.
    pub(crate) fn root(&self) -> &str {
        self.root.as_str().trim_end_matches('/')
    }

    /// Chunks of output that have arrived so far, in all requests: for progress.
    pub(crate) fn chunks_seen(&self) -> u64 {
        self.chunks_seen.load(Ordering::Relaxed)
    }

    pub(crate) fn count_chunk(&self) {
        self.chunks_seen.fetch_add(1, Ordering::Relaxed);
    }

    /// A streamed request that has not been sent.
    pub(crate) fn request(&self, prompt: &str, max_tokens: u32) -> RequestBuilder {
        let route = match self.endpoint {
            Endpoint::Completions => "v1/completions",
            Endpoint::Chat => "v1/chat/completions",
        };
        let body = request_body(self.endpoint, &self.model, prompt, max_tokens, &self.extra);
        self.http.post(format!("{}/{route}", self.root())).json(&body)
    }

    /// Asks who the server is, and settles the model: the target's, else the first that is listed.
    ///
    /// # Errors
    /// Nothing answers, or no model is known.
    pub(crate) async fn identify(&mut self) -> Result<ServerInfo, LoadgenError> {
        let url = format!("{}/v1/models", self.root());
        let deadline = Instant::now() + MODELS_TIMEOUT;
        let unreachable = |reason: String| LoadgenError::Unreachable { url: url.clone(), reason };
        let response = match timeout_at(deadline, self.http.get(&url).send()).await {
            Err(_elapsed) => return Err(unreachable(format!("silent for {} s", MODELS_TIMEOUT.as_secs()))),
            Ok(Err(error)) => return Err(unreachable(chain(&error))),
            Ok(Ok(response)) => response,
        };
        let software = response.headers().get(SERVER).and_then(|value| value.to_str().ok()).map(printable);
        let status = response.status();
        let body = body_text(response, deadline, MAX_MODELS_BODY_BYTES).await;
        let models = if status.is_success() { model_ids(&body) } else { Vec::new() };
        if self.model.is_empty() {
            let Some(first) = models.first() else {
                let reason = if status.is_success() {
                    "its list is empty".to_owned()
                } else {
                    format!("HTTP {status}: {}", error_text(&body))
                };
                return Err(LoadgenError::NoModel { url, reason });
            };
            self.model.clone_from(first);
        }
        Ok(ServerInfo { base_url: self.root().to_owned(), model: self.model.clone(), models, software })
    }
}

/// The text of an error body, bounded in length and time.
pub(crate) async fn error_body(response: Response, deadline: Instant) -> String {
    error_text(&body_text(response, deadline, MAX_ERROR_BODY_BYTES).await)
}

async fn body_text(mut response: Response, deadline: Instant, limit: usize) -> String {
    let mut body = Vec::new();
    while let Ok(Ok(Some(bytes))) = timeout_at(deadline, response.chunk()).await {
        let room = limit - body.len();
        body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if body.len() == limit {
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

fn model_ids(body: &str) -> Vec<String> {
    let list: Value = serde_json::from_str(body).unwrap_or_default();
    let entries = list.get("data").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("id").and_then(Value::as_str).map(str::to_owned))
        .take(MAX_MODELS_LISTED)
        .collect()
}

/// An error with its causes in one line; the outer one alone says only that sending failed.
pub(crate) fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    for _ in 0..8 {
        let Some(inner) = cause else { break };
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    printable(&text)
}

/// Checks an address and cuts a trailing `/v1`, which OpenAI clients want and which is appended here.
fn root_of(base_url: &str) -> Result<Url, LoadgenError> {
    let refuse = |reason: &str| {
        let shown = base_url.rsplit_once('@').map_or(base_url, |(_password, host)| host);
        LoadgenError::BaseUrl { url: shown.to_owned(), reason: reason.to_owned() }
    };
    let mut url = Url::parse(base_url.trim()).map_err(|error| refuse(&error.to_string()))?;
    if url.scheme() == "https" {
        return Err(refuse("TLS is not supported, since its cost is not the server's"));
    }
    if url.scheme() != "http" {
        return Err(refuse("the scheme is not http"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("a name or password in the address is not sent; give an API key"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it has a query or a fragment"));
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/v1").unwrap_or(path).to_owned();
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_end_in_v1_and_in_slashes() {
        for (given, root) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://localhost:8080/v1", "http://localhost:8080"),
            ("http://localhost:8080/v1/", "http://localhost:8080"),
            ("http://host/proxy/v1", "http://host/proxy"),
        ] {
            let root_url = root_of(given).expect(given);
            assert_eq!(root_url.as_str().trim_end_matches('/'), root);
        }
    }

    #[test]
    fn an_address_that_cannot_be_measured_is_refused_and_no_password_is_shown() {
        for given in ["", "localhost:8080", "https://host", "ftp://host", "http://host/?a=b", "http://"] {
            assert!(root_of(given).is_err(), "{given}");
        }
        let message = root_of("http://me:secret@host").expect_err("a password").to_string();
        assert!(!message.contains("secret"), "{message}");
    }

    #[test]
    fn model_ids_are_read_from_a_list_and_anything_else_gives_none() {
        assert_eq!(model_ids(r#"{"data":[{"id":"a"},{"id":7},{"id":"b"}]}"#), ["a", "b"]);
        for body in ["", "[]", "{}", r#"{"data":7}"#, "<html>"] {
            assert!(model_ids(body).is_empty(), "{body}");
        }
    }
}

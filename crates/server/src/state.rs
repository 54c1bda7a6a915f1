//! What every handler shares: engine, store, options, permits, metrics. Cloning is cheap.

use crate::error::ApiError;
use crate::lanes::Lane;
use crate::metrics::ServerMetrics;
use crate::recent::RecentBatches;
use crate::shares::{Share, Shares};
use prometheus_client::registry::Registry;
use sconce_engine::{EngineConfig, EngineHandle, ModelInfo};
use sconce_rag::Store;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long a sign of life from the engine is good for. Everyone may ask, and each would cost a decoded token.
const CANARY_LASTS: Duration = Duration::from_secs(1);

/// Requests in progress beside those in the engine: about documents, and those whose answer is still being sent.
const OTHER_REQUESTS: usize = 128;
/// Open connections for which there is always room.
const CONNECTIONS: usize = 1024;

/// What an operator may set. Every bound has a default that suits a machine of one's own.
#[derive(Clone)]
pub struct ServerOptions {
    /// Further names that requests may use for the model.
    pub aliases: Vec<String>,
    /// When set, `/v1` asks for `Authorization: Bearer <key>`.
    pub api_key: Option<String>,
    /// Whether browsers on other origins may call (CORS, any origin).
    pub cors: bool,
    /// Names that a request's `Host` may have beside IP addresses and `localhost`. Without a key and without CORS every
    /// other name is refused, and so is another `Origin`: a web page could make its visitor's browser ask.
    pub hosts: Vec<String>,
    /// The largest JSON body, in bytes.
    pub max_json_bytes: usize,
    /// JSON bodies that are held at once, in bytes as sent; more wait, and get a 429 in the end. At least one body of the
    /// largest size fits.
    pub max_json_bytes_held: usize,
    /// The largest uploaded file, in bytes.
    pub max_file_bytes: usize,
    /// Files that are held while they are uploaded or sent, in bytes; more get a 429. At least one file of the largest size
    /// fits.
    pub max_file_bytes_held: usize,
    /// Requests to `/v1` in progress at once; more get a 429.
    pub max_concurrent_requests: usize,
    /// Open connections; more wait to be accepted.
    pub max_connections: usize,
    /// Prompts that are rendered and tokenized at once, each on a thread of its own; more wait.
    pub max_prompts: usize,
    /// Store and retrieval calls that run at once, each on a thread of its own.
    pub max_store_calls: usize,
    /// Store and retrieval calls that may wait for one of those threads; more get a 429.
    pub max_waiting_store_calls: usize,
    /// Documents that are parsed and indexed at once, so that they leave threads to searches; as many may wait as there
    /// may be waiting store calls.
    pub max_ingestions: usize,
    /// Answers about documents that a model writes at once; more get a 429. Each has a thread that waits for the engine.
    pub max_answers: usize,
    /// Time a client has to send its headers.
    pub header_timeout: Duration,
    /// Time in which a client may send nothing of its body, or be behind 16 KiB a second, before it gets a 408.
    pub body_timeout: Duration,
    /// Time in which a client may take nothing of what is sent before its connection is cut, and its place freed.
    pub write_timeout: Duration,
    /// Time within which `/ready` wants a sign of life from the engine.
    pub canary_timeout: Duration,
    /// Time that running answers get after a shutdown begins.
    pub drain_timeout: Duration,
    /// Time without an event after which a stream sends a comment, so that proxies keep it open.
    pub keep_alive: Duration,
}

impl Default for ServerOptions {
    /// The bounds that suit an engine with its own defaults.
    fn default() -> Self {
        Self::for_requests(EngineConfig::default().max_requests)
    }
}

impl ServerOptions {
    /// Bounds that let an engine of `max_requests` fill up, with room for requests about documents beside.
    pub fn for_requests(max_requests: usize) -> Self {
        let max_concurrent_requests = max_requests.saturating_add(OTHER_REQUESTS);
        Self {
            aliases: Vec::new(),
            api_key: None,
            cors: false,
            hosts: Vec::new(),
            max_json_bytes: 8 << 20,
            max_json_bytes_held: 64 << 20,
            max_file_bytes: 64 << 20,
            max_file_bytes_held: 256 << 20,
            max_concurrent_requests,
            max_connections: max_concurrent_requests.saturating_mul(2).max(CONNECTIONS),
            max_prompts: 4,
            max_store_calls: 4,
            max_waiting_store_calls: 64,
            max_ingestions: 2,
            max_answers: 64,
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            canary_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key must not reach a log.
        f.debug_struct("ServerOptions")
            .field("aliases", &self.aliases)
            .field("api_key", &self.api_key.as_ref().map(|_| "set"))
            .field("hosts", &self.hosts)
            .field("max_json_bytes", &self.max_json_bytes)
            .field("max_file_bytes", &self.max_file_bytes)
            .field("max_concurrent_requests", &self.max_concurrent_requests)
            .finish_non_exhaustive()
    }
}

/// The state of a server.
#[derive(Clone)]
pub struct AppState {
    /// The engine, when a model is loaded.
    pub engine: Option<EngineHandle>,
    /// Documents.
    pub store: Arc<Store>,
    /// Bounds and switches.
    pub options: Arc<ServerOptions>,
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    metrics: ServerMetrics,
    requests: Arc<Semaphore>,
    json_shares: Shares,
    file_shares: Shares,
    recent_batches: RecentBatches,
    prompt_lane: Lane,
    store_lane: Lane,
    ingest_lane: Lane,
    answer_lane: Lane,
    draining: AtomicBool,
    canary: Mutex<Option<(Instant, Result<(), ApiError>)>>,
}

impl AppState {
    /// A state that is ready to serve.
    pub fn new(engine: Option<EngineHandle>, store: Arc<Store>, options: ServerOptions) -> Self {
        let mut registry = Registry::with_prefix("sconce");
        let metrics = ServerMetrics::default();
        metrics.register(&mut registry);
        if let Some(engine) = &engine {
            engine.register_metrics(&mut registry);
        }
        let shared = Shared {
            registry,
            metrics,
            requests: Arc::new(Semaphore::new(options.max_concurrent_requests)),
            json_shares: Shares::new(options.max_json_bytes_held.max(options.max_json_bytes)),
            file_shares: Shares::new(options.max_file_bytes_held.max(options.max_file_bytes)),
            recent_batches: RecentBatches::default(),
            prompt_lane: Lane::new(options.max_prompts.max(1), options.max_concurrent_requests),
            store_lane: Lane::new(options.max_store_calls, options.max_waiting_store_calls),
            ingest_lane: Lane::new(options.max_ingestions, options.max_waiting_store_calls),
            answer_lane: Lane::new(options.max_answers, 0),
            draining: AtomicBool::new(false),
            canary: Mutex::const_new(None),
        };
        Self { engine, store, options: Arc::new(options), shared: Arc::new(shared) }
    }

    /// The engine, or the 503 that says how to load a model.
    pub fn engine(&self) -> Result<&EngineHandle, ApiError> {
        self.engine.as_ref().ok_or_else(ApiError::no_model)
    }

    /// Accepts the served id, an alias, or no name at all.
    pub fn check_model(&self, served: &ModelInfo, asked: Option<&str>) -> Result<(), ApiError> {
        match asked {
            None | Some("") => Ok(()),
            Some(name) if name == served.id || self.options.aliases.iter().any(|alias| alias == name) => Ok(()),
            Some(name) => Err(ApiError::model_not_found(name, &served.id)),
        }
    }

    /// A sign of life from the engine, at most a second old. Those who ask while one is awaited share it.
    pub(crate) async fn canary(&self, engine: &EngineHandle) -> Result<(), ApiError> {
        let mut last = self.shared.canary.lock().await;
        if let Some((at, result)) = &*last
            && at.elapsed() < CANARY_LASTS
        {
            return result.clone();
        }
        let result = engine
            .canary(self.options.canary_timeout)
            .await
            .map_err(|error| ApiError::unavailable("not_ready", format!("The engine does not decode: {error}.")));
        *last = Some((Instant::now(), result.clone()));
        result
    }

    /// True once a shutdown has begun.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// Begins the shutdown: `/ready` fails and the engine admits nothing new.
    pub fn begin_drain(&self) {
        self.shared.draining.store(true, Ordering::Release);
        if let Some(engine) = &self.engine {
            engine.shutdown();
        }
    }

    /// The server's own metrics.
    pub(crate) fn metrics(&self) -> &ServerMetrics {
        &self.shared.metrics
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    pub(crate) fn requests(&self) -> &Arc<Semaphore> {
        &self.shared.requests
    }

    /// Bounds the bodies that are held as JSON.
    pub(crate) fn json_shares(&self) -> &Shares {
        &self.shared.json_shares
    }

    /// Room for `bytes` of a file that is uploaded or sent, or the 429 that says that there is none.
    pub(crate) fn file_share(&self, bytes: usize) -> Result<Share, ApiError> {
        let full = || ApiError::overloaded("Too many files are uploaded or sent; try again later.");
        self.shared.file_shares.take(bytes).ok_or_else(full)
    }

    /// The batches that were attached lately.
    pub(crate) fn recent_batches(&self) -> &RecentBatches {
        &self.shared.recent_batches
    }

    /// Bounds the preparation of prompts.
    pub(crate) fn prompt_lane(&self) -> &Lane {
        &self.shared.prompt_lane
    }

    /// Bounds short calls of the store.
    pub(crate) fn store_lane(&self) -> &Lane {
        &self.shared.store_lane
    }

    /// Bounds the indexing of documents, which takes longer than other calls of the store.
    pub(crate) fn ingest_lane(&self) -> &Lane {
        &self.shared.ingest_lane
    }

    /// Bounds answers that wait for the engine, so that they cannot keep searches from the store.
    pub(crate) fn answer_lane(&self) -> &Lane {
        &self.shared.answer_lane
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState").field("engine", &self.engine).field("options", &self.options).finish_non_exhaustive()
    }
}

//! What the server counts beside the engine: requests by route and status, retrieval calls and their time.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// Labels of `sconce_http_requests_total`. The route is the pattern, so that ids do not multiply the series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) method: String,
    pub(crate) route: String,
    pub(crate) status: u16,
}

/// Labels of `sconce_retrieval_requests_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RetrievalLabels {
    /// `search`, `answer` or `ingest`.
    pub(crate) operation: &'static str,
    /// `ok` or `error`.
    pub(crate) outcome: &'static str,
}

/// Upper bounds in seconds: a query takes milliseconds, an answer by a model on a CPU minutes.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 60.0, 180.0];

/// The server's metrics. Clones share their values.
#[derive(Debug, Clone)]
pub(crate) struct ServerMetrics {
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) in_progress: Gauge,
    pub(crate) retrieval: Family<RetrievalLabels, Counter>,
    pub(crate) retrieval_seconds: Family<RetrievalLabels, Histogram>,
}

impl Default for ServerMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            in_progress: Gauge::default(),
            retrieval: Family::default(),
            retrieval_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
        }
    }
}

impl ServerMetrics {
    /// Registers every metric; the registry carries the prefix.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("http_requests", "Requests answered, by route and status", self.requests.clone());
        registry.register(
            "http_requests_in_progress",
            "Requests whose answer is not complete",
            self.in_progress.clone(),
        );
        registry.register("retrieval_requests", "Searches, answers and ingestions", self.retrieval.clone());
        registry.register_with_unit(
            "retrieval_duration",
            "Time of searches, answers and ingestions",
            Unit::Seconds,
            self.retrieval_seconds.clone(),
        );
    }

    /// Counts one retrieval call.
    pub(crate) fn observe_retrieval(&self, operation: &'static str, ok: bool, elapsed: Duration) {
        let labels = RetrievalLabels { operation, outcome: if ok { "ok" } else { "error" } };
        self.retrieval.get_or_create(&labels).inc();
        self.retrieval_seconds.get_or_create(&labels).observe(elapsed.as_secs_f64());
    }
}

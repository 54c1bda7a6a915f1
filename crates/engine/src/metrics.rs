//! What the engine counts, under Prometheus names. Written by the engine thread, read by anyone.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;

/// Label of `sconce_requests_finished_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FinishLabel {
    /// `stop`, `length`, `abort` or `error`.
    pub reason: &'static str,
}

/// The engine's metrics. Clones share the same values.
#[derive(Debug, Clone)]
pub struct EngineMetrics {
    /// Seconds from submission to a choice's first token.
    pub time_to_first_token: Histogram,
    /// Seconds between two tokens of a choice.
    pub inter_token_latency: Histogram,
    /// Seconds from submission to a choice's end.
    pub request_latency: Histogram,
    /// Seconds a step took.
    pub step_duration: Histogram,
    /// Sequences running.
    pub running: Gauge,
    /// Sequences waiting.
    pub waiting: Gauge,
    /// Share of the KV blocks that running sequences hold, 0 to 1.
    pub kv_usage: Gauge<f64, AtomicU64>,
    /// Prompt tokens of started sequences.
    pub prompt_tokens: Counter,
    /// Prompt tokens found in the KV cache instead of computed.
    pub cached_tokens: Counter,
    /// Tokens put through the model, recomputation included.
    pub computed_tokens: Counter,
    /// Tokens generated.
    pub generation_tokens: Counter,
    /// Sequences that lost their blocks to another and will be recomputed.
    pub preemptions: Counter,
    /// Choices ended, by reason.
    pub finished: Family<FinishLabel, Counter>,
}

/// Upper bounds in seconds, fine enough for 10 ms interactive targets and wide enough for long prompts on a CPU.
const LATENCY_SECONDS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

impl Default for EngineMetrics {
    fn default() -> Self {
        let latency = || Histogram::new(LATENCY_SECONDS);
        Self {
            time_to_first_token: latency(),
            inter_token_latency: latency(),
            request_latency: latency(),
            step_duration: latency(),
            running: Gauge::default(),
            waiting: Gauge::default(),
            kv_usage: Gauge::default(),
            prompt_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            computed_tokens: Counter::default(),
            generation_tokens: Counter::default(),
            preemptions: Counter::default(),
            finished: Family::default(),
        }
    }
}

impl EngineMetrics {
    /// Registers every metric; the caller's registry carries the `sconce` prefix.
    pub fn register(&self, registry: &mut Registry) {
        let seconds = || Unit::Seconds;
        registry.register_with_unit(
            "time_to_first_token",
            "From submission to the first token",
            seconds(),
            self.time_to_first_token.clone(),
        );
        registry.register_with_unit(
            "inter_token_latency",
            "Between two tokens of a choice",
            seconds(),
            self.inter_token_latency.clone(),
        );
        registry.register_with_unit(
            "e2e_request_latency",
            "From submission to the end of a choice",
            seconds(),
            self.request_latency.clone(),
        );
        registry.register_with_unit("step_duration", "One engine step", seconds(), self.step_duration.clone());
        registry.register("num_requests_running", "Sequences running", self.running.clone());
        registry.register("num_requests_waiting", "Sequences waiting", self.waiting.clone());
        registry.register("kv_cache_usage_ratio", "Share of KV blocks in use, 0 to 1", self.kv_usage.clone());
        registry.register("prompt_tokens", "Prompt tokens of started sequences", self.prompt_tokens.clone());
        registry.register("prefix_cache_hit_tokens", "Prompt tokens found in the KV cache", self.cached_tokens.clone());
        registry.register("computed_tokens", "Tokens put through the model", self.computed_tokens.clone());
        registry.register("generation_tokens", "Tokens generated", self.generation_tokens.clone());
        registry.register("preemptions", "Sequences preempted", self.preemptions.clone());
        registry.register("requests_finished", "Choices ended, by reason", self.finished.clone());
    }
}

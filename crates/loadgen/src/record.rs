//! What is known of one request after it has ended. All times are in milliseconds of the wall clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One request, measured. A chunk is one event of the stream that carries text; servers send one token in each, or a few.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Which part of the workload it belongs to, such as `client`, `cold`, `warm` or `long`.
    pub group: String,
    /// Its number within the group.
    pub index: u32,
    /// When an open loop meant to send it, from the start of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_ms: Option<f64>,
    /// When it was sent, from the start of the run.
    pub started_ms: f64,
    /// When it ended, from the start of the run.
    pub ended_ms: f64,
    /// Tokens of the prompt as the server counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u32>,
    /// Tokens of the prompt that the server took from its cache, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u32>,
    /// Tokens that were asked for.
    pub max_tokens: u32,
    /// Tokens that came: the server's count, else the number of chunks.
    pub output_tokens: u32,
    /// Whether `output_tokens` is the server's count.
    pub output_from_usage: bool,
    /// From sending to the first chunk, connecting included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<f64>,
    /// Between one chunk and the next: one less than there were chunks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps_ms: Vec<f64>,
    /// Why the server ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The server ended it, with output.
    Completed,
    /// This client ended it, as the workload says.
    Cut,
    /// It went wrong; its latencies count nowhere.
    Failed(Failure),
}

/// A failed request's reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What failures are counted by.
    pub kind: FailureKind,
    /// What the server or the transport said.
    pub message: String,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No connection, or none in time.
    Connect,
    /// No first token in time.
    FirstTokenTimeout,
    /// No byte for too long after the first token.
    IdleTimeout,
    /// The whole request took too long.
    TotalTimeout,
    /// A status other than success.
    Http(u16),
    /// An error event inside the stream.
    ServerError,
    /// Something that is not a stream of JSON chunks.
    Malformed,
    /// The stream broke off.
    Disconnected,
    /// The stream ended well and had no text.
    NoText,
    /// More chunks than any reading of `max_tokens` allows.
    TooMuchOutput,
    /// Not sent: as many requests as the workload allows were in flight.
    InFlightLimit,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => formatter.write_str("connect"),
            Self::FirstTokenTimeout => formatter.write_str("first_token_timeout"),
            Self::IdleTimeout => formatter.write_str("idle_timeout"),
            Self::TotalTimeout => formatter.write_str("total_timeout"),
            Self::Http(status) => write!(formatter, "http_{status}"),
            Self::ServerError => formatter.write_str("server_error"),
            Self::Malformed => formatter.write_str("malformed"),
            Self::Disconnected => formatter.write_str("disconnected"),
            Self::NoText => formatter.write_str("no_text"),
            Self::TooMuchOutput => formatter.write_str("too_much_output"),
            Self::InFlightLimit => formatter.write_str("in_flight_limit"),
        }
    }
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.kind, self.message)
    }
}

impl RequestRecord {
    /// Whether its latencies count: completed, or cut after its first token.
    #[must_use]
    pub fn counts(&self) -> bool {
        !matches!(self.outcome, Outcome::Failed(_)) && self.ttft_ms.is_some()
    }

    /// The failure, if it is one.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Failed(failure) => Some(failure),
            Outcome::Completed | Outcome::Cut => None,
        }
    }

    /// When its latencies begin, from the start of the run: the time that an open loop had set for it, else its sending. A
    /// client that stalls, perhaps because of the server, would hide from its figures the time that the request waited within
    /// it (Gil Tene's "coordinated omission").
    fn due_ms(&self) -> f64 {
        self.scheduled_ms.map_or(self.started_ms, |scheduled| scheduled.min(self.started_ms))
    }

    /// Time to first token, from when it was due.
    #[must_use]
    pub fn ttft_from_due_ms(&self) -> Option<f64> {
        self.ttft_ms.map(|ttft| self.started_ms - self.due_ms() + ttft)
    }

    /// From when it was due to the end of the stream, for a completed request.
    #[must_use]
    pub fn e2e_ms(&self) -> Option<f64> {
        (self.outcome == Outcome::Completed).then_some(self.ended_ms - self.due_ms())
    }

    /// Time per output token after the first: from the first chunk to the last, over one token less than came.
    /// None for fewer than two tokens.
    #[must_use]
    pub fn tpot_ms(&self) -> Option<f64> {
        (self.output_tokens >= 2).then(|| self.gaps_ms.iter().sum::<f64>() / f64::from(self.output_tokens - 1))
    }

    /// When each chunk arrived, from the start of the run.
    #[must_use]
    pub fn chunk_times_ms(&self) -> Vec<f64> {
        let Some(ttft) = self.ttft_ms else { return Vec::new() };
        let mut at = self.started_ms + ttft;
        let mut times = vec![at];
        for gap in &self.gaps_ms {
            at += gap;
            times.push(at);
        }
        times
    }
}

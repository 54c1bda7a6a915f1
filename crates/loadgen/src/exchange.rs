//! One request from sending to its end: what arrived when, and how it ended. Every wait in here has a deadline.

use std::time::Duration;

use reqwest::Response;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::client::{Client, chain, error_body};
use crate::record::{Failure, FailureKind, Outcome, RequestRecord};
use crate::sse::{MAX_LINE_BYTES, SseEvent, SseParser};
use crate::wire::{Chunk, Usage, printable};
use crate::workload::Timeouts;

/// One request to make.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) group: &'static str,
    pub(crate) index: u32,
    pub(crate) prompt: String,
    pub(crate) max_tokens: u32,
    pub(crate) scheduled_ms: Option<f64>,
}

/// Lets others follow a request and end it.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    /// Told the number of chunks so far. Dropped when the request has ended.
    pub(crate) chunks: Option<watch::Sender<u32>>,
    /// The request ends when this becomes true.
    pub(crate) cut: Option<watch::Receiver<bool>>,
}

/// How a request ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Completed,
    Cut,
}

/// What arrived.
#[derive(Debug)]
pub(crate) struct Trace {
    started: Instant,
    ended: Instant,
    arrivals: Vec<Instant>,
    usage: Option<Usage>,
    finish_reason: Option<String>,
}

/// Makes one request. The trace holds what arrived, also where the end is a failure.
pub(crate) async fn exchange(client: &Client, call: &Call, observer: &mut Observer) -> (Trace, Result<End, Failure>) {
    let started = Instant::now();
    let mut trace = Trace { started, ended: started, arrivals: Vec::new(), usage: None, finish_reason: None };
    let Observer { chunks, cut } = observer;
    let end = tokio::select! {
        biased;
        () = cut_of(cut.as_mut()) => Ok(End::Cut),
        end = receive(client, call, &mut trace, chunks.as_ref()) => end.map(|()| End::Completed),
    };
    trace.ended = Instant::now();
    let end = match end {
        Ok(End::Completed) if trace.arrivals.is_empty() => {
            Err(Failure::new(FailureKind::NoText, "the stream ended without any text"))
        }
        end => end,
    };
    (trace, end)
}

async fn cut_of(cut: Option<&mut watch::Receiver<bool>>) {
    if let Some(cut) = cut
        && cut.wait_for(|cut| *cut).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await; // nobody can cut it (any more)
}

async fn receive(
    client: &Client,
    call: &Call,
    trace: &mut Trace,
    watcher: Option<&watch::Sender<u32>>,
) -> Result<(), Failure> {
    let mut waits = Waits::new(&client.timeouts, trace.started);
    let mut response = open(client, call, &waits).await?;
    let mut parser = SseParser::new(MAX_LINE_BYTES);
    let mut events = Vec::new();
    let most_chunks = call.max_tokens as usize * 4 + 1_024;
    loop {
        let read = waits.within(response.chunk()).await?;
        let now = Instant::now();
        let read = read.map_err(|error| transport_failure(&error))?;
        let parsed = match &read {
            Some(bytes) => parser.push(bytes, &mut events),
            None => std::mem::replace(&mut parser, SseParser::new(MAX_LINE_BYTES)).finish(&mut events),
        };
        for event in events.drain(..) {
            let before = trace.arrivals.len();
            let done = trace.accept(&event, now)?;
            if trace.arrivals.len() > before {
                client.count_chunk();
                if let Some(watcher) = watcher {
                    watcher.send_replace(u32::try_from(trace.arrivals.len()).unwrap_or(u32::MAX));
                }
            }
            if done {
                return Ok(());
            }
        }
        parsed.map_err(|error| Failure::new(FailureKind::Malformed, error.to_string()))?;
        if trace.arrivals.len() > most_chunks {
            let message = format!("{} chunks for max_tokens {}", trace.arrivals.len(), call.max_tokens);
            return Err(Failure::new(FailureKind::TooMuchOutput, message));
        }
        if read.is_none() {
            return trace.end_of_stream();
        }
        waits.heard(now, !trace.arrivals.is_empty());
    }
}

/// Sends the request and waits for a good status.
async fn open(client: &Client, call: &Call, waits: &Waits) -> Result<Response, Failure> {
    let sent = waits.within(client.request(&call.prompt, call.max_tokens).send()).await?;
    let response = sent.map_err(|error| transport_failure(&error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let message = error_body(response, waits.total.min(Instant::now() + waits.idle_limit)).await;
    Err(Failure::new(FailureKind::Http(status.as_u16()), message))
}

fn transport_failure(error: &reqwest::Error) -> Failure {
    let kind = if error.is_connect() { FailureKind::Connect } else { FailureKind::Disconnected };
    Failure::new(kind, chain(error))
}

/// The deadlines of one request: first token, then silence, and the whole at any time.
struct Waits {
    total: Instant,
    first_token: Option<Instant>,
    idle: Instant,
    idle_limit: Duration,
}

impl Waits {
    fn new(timeouts: &Timeouts, started: Instant) -> Self {
        let after = |ms| started + Duration::from_millis(ms);
        Self {
            total: after(timeouts.total_ms),
            first_token: Some(after(timeouts.first_token_ms)),
            idle: after(timeouts.idle_ms),
            idle_limit: Duration::from_millis(timeouts.idle_ms),
        }
    }

    fn heard(&mut self, now: Instant, has_output: bool) {
        self.idle = now + self.idle_limit;
        if has_output {
            self.first_token = None;
        }
    }

    fn next_deadline(&self) -> (Instant, FailureKind) {
        let next = match self.first_token {
            Some(first_token) => (first_token, FailureKind::FirstTokenTimeout),
            None => (self.idle, FailureKind::IdleTimeout),
        };
        if self.total < next.0 { (self.total, FailureKind::TotalTimeout) } else { next }
    }

    async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let (deadline, kind) = self.next_deadline();
        timeout_at(deadline, work).await.map_err(|_elapsed| Failure::new(kind, "the time for it is over"))
    }
}

impl Trace {
    /// Takes one event; true when the stream says that it is done.
    fn accept(&mut self, event: &SseEvent, now: Instant) -> Result<bool, Failure> {
        if event.data.trim() == "[DONE]" {
            return Ok(true);
        }
        let is_error = event.name == "error";
        let chunk: Chunk = match serde_json::from_str(&event.data) {
            Ok(chunk) => chunk,
            Err(_) if is_error => return Err(Failure::new(FailureKind::ServerError, printable(&event.data))),
            Err(error) => {
                let message = format!("a chunk is not the JSON expected ({error}): {}", printable(&event.data));
                return Err(Failure::new(FailureKind::Malformed, message));
            }
        };
        if let Some(message) = chunk.error_message() {
            return Err(Failure::new(FailureKind::ServerError, message));
        }
        if is_error {
            return Err(Failure::new(FailureKind::ServerError, crate::wire::error_text(&event.data)));
        }
        if chunk.has_output() {
            self.arrivals.push(now);
        }
        if let Some(reason) = chunk.finish_reason() {
            self.finish_reason = Some(printable(reason));
        }
        self.usage = chunk.usage.or(self.usage);
        Ok(false)
    }

    /// The connection closed without `[DONE]`: well if a choice had finished.
    fn end_of_stream(&self) -> Result<(), Failure> {
        if self.finish_reason.is_some() {
            return Ok(());
        }
        let message = match self.arrivals.len() {
            0 => "the answer ended without an event of a stream".to_owned(),
            chunks => format!("the stream broke off after {chunks} chunks, without finish_reason or [DONE]"),
        };
        Err(Failure::new(FailureKind::Disconnected, message))
    }

    pub(crate) fn prompt_tokens(&self) -> Option<u32> {
        self.usage.and_then(|usage| usage.prompt_tokens)
    }

    /// The record of it; times count from `origin`, the start of the run.
    pub(crate) fn into_record(self, call: &Call, end: Result<End, Failure>, origin: Instant) -> RequestRecord {
        let chunks = u32::try_from(self.arrivals.len()).unwrap_or(u32::MAX);
        // A request that was cut has no last word, so what it counted by the way is not the whole.
        let counted = self.usage.and_then(|usage| usage.completion_tokens).filter(|_| end == Ok(End::Completed));
        RequestRecord {
            group: call.group.to_owned(),
            index: call.index,
            scheduled_ms: call.scheduled_ms,
            started_ms: milliseconds(self.started.saturating_duration_since(origin)),
            ended_ms: milliseconds(self.ended.saturating_duration_since(origin)),
            prompt_tokens: self.prompt_tokens(),
            cached_tokens: self.usage.and_then(|usage| usage.cached_tokens()),
            max_tokens: call.max_tokens,
            output_tokens: counted.unwrap_or(chunks),
            output_from_usage: counted.is_some(),
            ttft_ms: self.arrivals.first().map(|first| milliseconds(first.duration_since(self.started))),
            gaps_ms: self.arrivals.windows(2).map(|pair| milliseconds(pair[1].duration_since(pair[0]))).collect(),
            finish_reason: self.finish_reason,
            outcome: match end {
                Ok(End::Completed) => Outcome::Completed,
                Ok(End::Cut) => Outcome::Cut,
                Err(failure) => Outcome::Failed(failure),
            },
        }
    }
}

/// A duration in milliseconds to the microsecond: finer is noise, and longer in a result file.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

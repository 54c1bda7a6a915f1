//! One choice on its way out: text, timing, and a reader that may not keep up.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sconce_model::sampling::Sampled;
use sconce_text::Detokenizer;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::event::{ChoiceUsage, FinishReason, GenerationError, GenerationEvent, GenerationEventKind, TokenLogprob};

/// The outgoing side of a choice.
pub(crate) struct Stream {
    index: u32,
    sender: mpsc::Sender<GenerationEvent>,
    /// A place kept for the end, so that it is delivered however full the channel is.
    end: Option<mpsc::OwnedPermit<GenerationEvent>>,
    detokenizer: Detokenizer,
    /// Events that did not fit; at most a few, since a stalled choice is paused.
    backlog: VecDeque<GenerationEventKind>,
    stalled_since: Option<Instant>,
    /// When the request's reader last made room, whichever choice used it.
    heard: Rc<Cell<Instant>>,
    usage: ChoiceUsage,
    pub(crate) arrived: Instant,
    /// Proves that the loop decodes, and is no traffic.
    pub(crate) is_canary: bool,
    /// When the latest token came, unless the reader has stalled since: its slowness is not the engine's.
    latest_token: Option<Instant>,
}

/// What a token did to its choice.
pub(crate) struct Progress {
    /// A stop string was found.
    pub(crate) stopped: bool,
    /// Since the previous token, or since arrival for the first; `None` when the reader stalled in between.
    pub(crate) waited: Option<Duration>,
    /// Whether it was the first.
    pub(crate) first: bool,
}

impl Stream {
    /// `None` when the reader is gone already.
    pub(crate) fn new(
        index: u32,
        sender: mpsc::Sender<GenerationEvent>,
        detokenizer: Detokenizer,
        prompt_tokens: u32,
        heard: Rc<Cell<Instant>>,
    ) -> Option<Self> {
        let end = sender.clone().try_reserve_owned().ok()?;
        let usage = ChoiceUsage { prompt_tokens, ..ChoiceUsage::default() };
        Some(Self {
            index,
            sender,
            end: Some(end),
            detokenizer,
            backlog: VecDeque::new(),
            stalled_since: None,
            arrived: heard.get(),
            heard,
            usage,
            is_canary: false,
            latest_token: None,
        })
    }

    /// The choice runs for the first time.
    pub(crate) fn start(&mut self, cached_tokens: u32) {
        self.usage.cached_tokens = cached_tokens;
        self.send(GenerationEventKind::Started { cached_tokens });
    }

    /// The next token; `ends` when it is a stop token, which has no text.
    pub(crate) fn push(&mut self, sampled: Sampled, ends: bool) -> Progress {
        let now = Instant::now();
        let first = self.usage.completion_tokens == 0;
        let waited = self.latest_token.or(first.then_some(self.arrived)).map(|since| now - since);
        self.latest_token = Some(now);
        self.usage.completion_tokens += 1;
        if ends {
            return Progress { stopped: false, waited, first };
        }
        let piece = self.detokenizer.push(sampled.token);
        let token = TokenLogprob { id: sampled.token, logprob: sampled.logprob, top: sampled.top };
        self.send(GenerationEventKind::Delta { text: piece.text, tokens: vec![token] });
        Progress { stopped: piece.stopped.is_some(), waited, first }
    }

    /// The choice ended as asked.
    pub(crate) fn finish(&mut self, reason: FinishReason) {
        let rest = self.detokenizer.finish();
        if !rest.is_empty() {
            self.send(GenerationEventKind::Delta { text: rest, tokens: Vec::new() });
        }
        let usage = self.usage;
        self.send(GenerationEventKind::Finished { reason, usage });
    }

    /// The choice ends with an error, past whatever could not be delivered.
    pub(crate) fn fail(&mut self, error: GenerationError) {
        self.backlog.clear();
        self.stalled_since = None;
        self.send_end(GenerationEventKind::Failed { error });
    }

    fn send_end(&mut self, kind: GenerationEventKind) {
        if let Some(permit) = self.end.take() {
            permit.send(GenerationEvent { index: self.index, kind });
        }
    }

    fn send(&mut self, kind: GenerationEventKind) {
        self.backlog.push_back(kind);
        self.flush();
    }

    /// Sends what fits now. Returns whether nothing is left.
    pub(crate) fn flush(&mut self) -> bool {
        while let Some(kind) = self.backlog.pop_front() {
            if matches!(kind, GenerationEventKind::Finished { .. }) {
                self.send_end(kind);
                continue;
            }
            match self.sender.try_send(GenerationEvent { index: self.index, kind }) {
                Ok(()) => self.heard.set(Instant::now()),
                // Found by `is_abandoned`.
                Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(event)) => {
                    self.backlog.push_front(event.kind);
                    self.stalled_since.get_or_insert_with(Instant::now);
                    self.latest_token = None;
                    return false;
                }
            }
        }
        self.stalled_since = None;
        true
    }

    /// Whether events wait for the reader.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled_since.is_some()
    }

    /// Since when events wait for the reader.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Whether the reader has left the channel full for longer than `bound`.
    pub(crate) fn is_overdue(&self, bound: Duration) -> bool {
        self.stalled_since.is_some_and(|since| since.max(self.heard.get()).elapsed() > bound)
    }

    /// Whether the reader is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }
}

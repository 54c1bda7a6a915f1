//! The engine's requests: how one becomes sequences, how sequences' tokens become events, who is paused, cut or gone.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sconce_kv::{RetentionPlan, TokenId};
use sconce_model::StepOutcome;
use sconce_model::sampling::{Sampled, Sampler};
use sconce_sched::{NewSequence, SequenceId, StepPlan, StopRules};
use sconce_text::Detokenizer;

use crate::engine::{Engine, salt_of};
use crate::event::{FinishReason, GenerationError};
use crate::handle::Submission;
use crate::metrics::FinishLabel;
use crate::request::GenerateRequest;
use crate::runner::Drawing;
use crate::stream::Stream;

impl Engine {
    /// Turns a request into one sequence per choice; the later ones fork the first.
    pub(crate) fn admit(&mut self, submission: Submission) {
        let Submission { request, events, arrived, is_canary } = submission;
        let now = arrived.duration_since(self.shared.started);
        let stop_tokens = self.stop_tokens(&request);
        let fallback_seed = arrived.elapsed().as_nanos() as u64 ^ now.as_nanos() as u64;
        let prompt_tokens = u32::try_from(request.prompt.len()).unwrap_or(u32::MAX);
        let heard = Rc::new(Cell::new(arrived));
        let mut first = None;
        for index in 0..request.n {
            let tokenizer = Arc::clone(&self.shared.tokenizer);
            let detokenizer = Detokenizer::new(tokenizer, request.stop.clone(), request.include_stop);
            let stream = Stream::new(index, events.clone(), detokenizer, prompt_tokens, Rc::clone(&heard));
            let Some(mut stream) = stream else { return };
            (stream.arrived, stream.is_canary) = (arrived, is_canary);
            match self.scheduler.add(self.sequence(&request, &stop_tokens, first), now) {
                Ok(id) => {
                    let sampler = Sampler::new(request.sampling.clone(), &request.prompt, fallback_seed);
                    let drawing = Drawing {
                        sampler: sampler.with_choice(index),
                        prompt_len: request.prompt.len(),
                        min_tokens: request.min_tokens as usize,
                        banned: stop_tokens.iter().map(|token| token.0).collect(),
                    };
                    self.runner.add(id, drawing);
                    self.streams.insert(id, stream);
                    first = first.or(Some(id));
                }
                Err(error) => {
                    self.count_end("error", &stream);
                    stream.fail(GenerationError::Step(error.to_string()));
                }
            }
        }
    }

    fn sequence(&self, request: &GenerateRequest, stop: &[TokenId], fork_of: Option<SequenceId>) -> NewSequence {
        NewSequence {
            prompt: request.prompt.iter().map(|&id| TokenId(id)).collect(),
            stop: StopRules {
                max_tokens: request.max_tokens.map_or(usize::MAX, |max| max as usize),
                min_tokens: request.min_tokens as usize,
                stop_tokens: stop.to_vec(),
            },
            priority: request.priority,
            salt: salt_of(request.cache_salt.as_deref(), &self.salt_key),
            retention: RetentionPlan { document_tokens: request.document_tokens as usize, pinned: self.pin_documents },
            fork_of,
        }
    }

    fn stop_tokens(&self, request: &GenerateRequest) -> Vec<TokenId> {
        let own = self.shared.tokenizer.end_of_generation();
        let own = if request.ignore_eos { &[] } else { own };
        own.iter().chain(&request.stop_token_ids).map(|&id| TokenId(id)).collect()
    }

    /// Tells those who run for the first time.
    pub(crate) fn announce(&mut self, plan: &StepPlan) {
        for started in &plan.started {
            if let Some(stream) = self.streams.get_mut(&started.sequence) {
                stream.start(u32::try_from(started.cached_tokens).unwrap_or(u32::MAX));
                if stream.is_stalled() {
                    self.scheduler.pause(started.sequence);
                }
            }
        }
    }

    /// A step's outcome: tokens to their readers, ends to their requests.
    pub(crate) fn learn(&mut self, plan: &StepPlan, mut outcome: StepOutcome, elapsed: Duration) {
        let for_scheduler: Vec<sconce_sched::Sampled> = outcome
            .iter()
            .map(|row| match row {
                Ok(sampled) => sconce_sched::Sampled::Token(TokenId(sampled.token)),
                Err(_) => sconce_sched::Sampled::Failed,
            })
            .collect();
        let events = self.scheduler.update(plan, &for_scheduler, elapsed);
        let mut rows = plan.sampling_rows().zip(outcome.drain(..));
        for event in events {
            // Events come in the order of the rows; rows of sequences that ended meanwhile have none.
            let Some((_, result)) = rows.find(|(row, _)| row.sequence == event.sequence) else { continue };
            match result {
                Ok(sampled) => self.emit(event.sequence, sampled, event.finished),
                Err(error) => self.leave(event.sequence, "error", |stream| {
                    stream.fail(GenerationError::Numeric(error.to_string()));
                }),
            }
        }
    }

    fn emit(&mut self, id: SequenceId, sampled: Sampled, finished: Option<sconce_sched::FinishReason>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let ends_by_token = finished == Some(sconce_sched::FinishReason::Stop);
        let progress = stream.push(sampled, ends_by_token);
        let metrics = &self.shared.metrics;
        if !stream.is_canary {
            metrics.generation_tokens.inc();
            let latency = if progress.first { &metrics.time_to_first_token } else { &metrics.inter_token_latency };
            progress.waited.iter().for_each(|waited| latency.observe(waited.as_secs_f64()));
        }
        // A reader may have made room while this step was in flight, so both ways are said.
        if stream.is_stalled() {
            self.scheduler.pause(id);
        } else {
            self.scheduler.resume(id);
        }
        let reason = match finished {
            _ if progress.stopped => Some((FinishReason::Stop, "stop")),
            Some(sconce_sched::FinishReason::Stop) => Some((FinishReason::Stop, "stop")),
            Some(_) => Some((FinishReason::Length, "length")),
            None => None,
        };
        if let Some((reason, label)) = reason {
            self.leave(id, label, |stream| stream.finish(reason));
        }
    }

    /// Ends a choice; what its reader has not taken yet is still delivered.
    pub(crate) fn leave(&mut self, id: SequenceId, label: &'static str, say: impl FnOnce(&mut Stream)) {
        self.scheduler.end(id);
        self.runner.remove(id);
        let Some(mut stream) = self.streams.remove(&id) else { return };
        say(&mut stream);
        self.count_end(label, &stream);
        if stream.is_stalled() {
            self.leaving.push(stream);
        }
    }

    /// Counts a choice's end, with its latency.
    pub(crate) fn count_end(&self, reason: &'static str, stream: &Stream) {
        if stream.is_canary {
            return;
        }
        let metrics = &self.shared.metrics;
        metrics.finished.get_or_create(&FinishLabel { reason }).inc();
        metrics.request_latency.observe(stream.arrived.elapsed().as_secs_f64());
    }

    /// Delivers what readers have made room for; ends the choices of readers who are gone, and of those who do not read.
    /// Whoever has waited longest goes first, so that the choices of one channel take turns.
    pub(crate) fn look_after_readers(&mut self) {
        let bound = self.slow_reader_timeout;
        let seconds = bound.as_secs();
        let mut leaving = std::mem::take(&mut self.leaving);
        leaving.retain_mut(|stream| {
            if !stream.flush() && stream.is_overdue(bound) {
                stream.fail(GenerationError::SlowReader { seconds });
            }
            !stream.is_abandoned() && stream.is_stalled()
        });
        self.leaving = leaving;
        let gone: Vec<SequenceId> =
            self.streams.iter().filter(|(_, stream)| stream.is_abandoned()).map(|(&id, _)| id).collect();
        for id in gone {
            self.leave(id, "abort", |_| {});
        }
        let stalled = self.streams.iter().filter_map(|(&id, stream)| Some((stream.stalled_since()?, id)));
        let mut stalled: Vec<_> = stalled.collect();
        stalled.sort();
        for (_, id) in stalled {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            if stream.flush() {
                self.scheduler.resume(id);
            } else if stream.is_overdue(bound) {
                self.leave(id, "error", |stream| stream.fail(GenerationError::SlowReader { seconds }));
            }
        }
    }
}

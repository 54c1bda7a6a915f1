//! Requests that measurements send to an engine in this process, and the times at which their tokens came.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sconce_engine::{EngineHandle, GenerateRequest, GenerationEventKind, SamplingParams};

/// Prompts of which none is a prefix of another, so that the cache never helps.
pub(crate) struct PromptSource {
    next: u64,
    vocabulary: u64,
}

impl PromptSource {
    pub(crate) fn new(seed: u64, vocabulary: usize) -> Self {
        Self { next: seed, vocabulary: vocabulary as u64 }
    }

    pub(crate) fn prompt(&mut self, length: u32) -> Vec<u32> {
        (0..length)
            .map(|_| {
                self.next = self.next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((self.next >> 33) % self.vocabulary) as u32
            })
            .collect()
    }
}

/// A greedy request of exactly so many tokens.
pub(crate) fn request(prompt: Vec<u32>, max_tokens: u32) -> GenerateRequest {
    let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
    GenerateRequest {
        prompt,
        n: 1,
        sampling,
        max_tokens: Some(max_tokens),
        ignore_eos: true,
        ..GenerateRequest::default()
    }
}

/// Follows a request to its end; `see` is given each token with its choice.
fn follow(engine: &EngineHandle, request: GenerateRequest, mut see: impl FnMut(u32, u32)) -> Result<()> {
    let choices = request.n;
    let mut generation = engine.generate(request)?;
    let mut ended = 0;
    while let Some(event) = generation.blocking_next() {
        match event.kind {
            GenerationEventKind::Delta { tokens, .. } => tokens.iter().for_each(|token| see(event.index, token.id)),
            GenerationEventKind::Failed { error } => bail!("a stream failed: {error}"),
            GenerationEventKind::Finished { .. } => {
                ended += 1;
                if ended == choices {
                    return Ok(());
                }
            }
            GenerationEventKind::Started { .. } => {}
        }
    }
    bail!("the engine stopped")
}

/// The tokens of each choice.
pub(crate) fn tokens(engine: &EngineHandle, request: GenerateRequest) -> Result<Vec<Vec<u32>>> {
    let mut tokens = vec![Vec::new(); request.n as usize];
    follow(engine, request, |choice, token| tokens[choice as usize].push(token))?;
    Ok(tokens)
}

/// When a stream was asked for, and when its tokens came.
pub(crate) struct StreamTimes {
    pub(crate) asked: Instant,
    pub(crate) came: Vec<Instant>,
}

impl StreamTimes {
    /// Seconds to the first token.
    pub(crate) fn first_seconds(&self) -> Option<f64> {
        self.came.first().map(|first| (*first - self.asked).as_secs_f64())
    }

    /// Mean seconds from one token to the next.
    pub(crate) fn token_seconds(&self) -> Option<f64> {
        let (first, last) = (self.came.first()?, self.came.last()?);
        (self.came.len() > 1).then(|| (*last - *first).as_secs_f64() / (self.came.len() - 1) as f64)
    }
}

/// Drives one request.
pub(crate) fn drive(engine: &EngineHandle, request: GenerateRequest) -> Result<StreamTimes> {
    let (asked, mut came) = (Instant::now(), Vec::new());
    follow(engine, request, |_, _| came.push(Instant::now()))?;
    Ok(StreamTimes { asked, came })
}

/// Drives requests at the same time, each from a thread of its own.
pub(crate) fn burst(engine: &EngineHandle, requests: Vec<GenerateRequest>) -> Result<Vec<StreamTimes>> {
    std::thread::scope(|scope| {
        let drive = |request| scope.spawn(move || drive(engine, request));
        let threads: Vec<_> = requests.into_iter().map(drive).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| bail!("a client thread panicked"))
        };
        threads.into_iter().map(join).collect()
    })
}

/// Tokens per second of a prompt, to its first token.
pub(crate) fn prompt_rate(engine: &EngineHandle, prompt: Vec<u32>) -> Result<f64> {
    let tokens = prompt.len();
    let times = drive(engine, request(prompt, 1))?;
    Ok(tokens as f64 / times.first_seconds().context("no token came")?)
}

/// [`window_rate`] of streams that decode so many tokens behind these prompts.
pub(crate) fn decode_rate(engine: &EngineHandle, prompts: Vec<Vec<u32>>, tokens: u32) -> Result<Option<f64>> {
    // With their prompts in the cache all streams begin in the same few steps: computed only now, the last prompts would
    // wait beside those that decode already, and the window would be what is left.
    for prompt in &prompts {
        drive(engine, request(prompt.clone(), 1))?;
    }
    Ok(window_rate(&burst(engine, prompts.into_iter().map(|prompt| request(prompt, tokens)).collect())?))
}

/// Tokens per second of all streams of a burst from when the last has its first token to when the first has its last; none
/// when there is no such time.
pub(crate) fn window_rate(streams: &[StreamTimes]) -> Option<f64> {
    let begin = streams.iter().filter_map(|stream| stream.came.first()).max()?;
    let end = streams.iter().filter_map(|stream| stream.came.last()).min()?;
    let window = end.saturating_duration_since(*begin);
    let times = streams.iter().flat_map(|stream| &stream.came);
    let inside = times.filter(|time| *time > begin && *time <= end).count();
    (window >= Duration::from_millis(1)).then(|| inside as f64 / window.as_secs_f64())
}

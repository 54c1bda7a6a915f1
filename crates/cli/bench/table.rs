//! `sconce bench table`: the figures of a model through the engine, beside what its sizes make the device do at least and what
//! the device does at best.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sconce_engine::{EngineConfig, EngineEnd, EngineHandle};
use sconce_model::{ModelSizes, Work};
use serde_json::{Value, json};

use super::args::BenchTableArguments;
use super::card::{Ceilings, device_facts};
use super::measure::{PromptSource, burst, decode_rate, prompt_rate, request, window_rate};
use super::rows::{Row, Rows, median, percentile};
use crate::model;
use crate::out::say;

/// What is measured.
struct Plan {
    streams: &'static [u32],
    input: u32,
    output: u32,
    prompts: &'static [u32],
    /// Streams that decode over a long context, and its length.
    long: [u32; 2],
    /// Clients with one context in common, and its length.
    shared: [u32; 2],
}

const FULL: Plan = Plan {
    streams: &[1, 8, 32, 64, 128],
    input: 512,
    output: 128,
    prompts: &[512, 4096, 16_384],
    long: [64, 4096],
    shared: [8, 4096],
};

const QUICK: Plan =
    Plan { streams: &[1, 4], input: 32, output: 160, prompts: &[64, 200], long: [4, 128], shared: [4, 128] };

/// Tokens that each client of a shared context adds to it, and tokens of its answer.
const QUESTION: u32 = 16;
const SHORT_ANSWER: u32 = 32;

/// Why streams that were too short have no rate.
const NO_OVERLAP: &str = "there was no millisecond in which all of them decoded";

/// Prompts up to this length are timed several times.
const REPEATED: u32 = 4096;

impl Plan {
    /// The longest sequence, in tokens.
    fn longest(&self) -> u32 {
        let prompts = self.prompts.iter().max().map_or(1, |longest| longest + 1);
        let [long, shared] = [self.long[1] + SHORT_ANSWER, self.shared[1] + QUESTION + SHORT_ANSWER];
        prompts.max(self.input + self.output).max(long).max(shared)
    }

    fn most_streams(&self) -> u32 {
        self.streams.iter().copied().max().unwrap_or(1).max(self.long[0]).max(self.shared[0])
    }
}

/// Measures and prints a table, row by row.
pub(crate) fn run(arguments: &BenchTableArguments) -> Result<()> {
    let began = Instant::now();
    arguments.out.as_deref().map(super::check_out).transpose()?;
    let plan = if arguments.quick { &QUICK } else { &FULL };
    let path = arguments.model.path();
    let path = path.context("name a GGUF file with --model; `sconce synth` writes one")?;
    let sizes = ModelSizes::of(&crate::model::checkpoint(&arguments.model, path)?)?;
    let devices = arguments.model.device.devices.open()?;
    let ceilings = Ceilings::measure(devices.first(), arguments.quick)?;
    let facts = device_facts(devices.first())?;
    let context = sizes.config().context_length;
    let config = model::table_config(arguments, plan.most_streams() as usize, context.min(plan.longest() as usize));
    let (engine, thread) = model::start(&arguments.model, None, &config)?.context("a model is named")?;
    let about = about(&engine, &sizes, &config, &facts, ceilings);
    let mut table = Table {
        source: PromptSource::new(1, engine.model().vocabulary_size),
        rows: Rows::new(about, ceilings, arguments.out.clone()),
        deadline: began + Duration::from_secs(u64::from(arguments.time_limit)),
        prompt_seconds_per_token: None,
        engine,
        sizes,
        config,
    };
    table.fill(plan)?;
    table.engine.shutdown();
    let end = thread.join();
    ensure!(end == EngineEnd::Finished, "{end}");
    ensure!(table.rows.failed == 0, "{} rows failed", table.rows.failed);
    Ok(())
}

/// What the figures belong to; said before the first of them.
fn about(engine: &EngineHandle, sizes: &ModelSizes, config: &EngineConfig, facts: &Value, ceilings: Ceilings) -> Value {
    let info = engine.model();
    let token_bytes = sizes.token_kv_bytes(config.kv_cache_dtype);
    let tokens = info.num_blocks * info.block_size;
    let kv_bytes = tokens as u64 * token_bytes;
    say!(
        "{}: {:.2} GB of weights in a step, KV cache of {tokens} tokens ({:.2} GB, {token_bytes} bytes each), activations {:?}, \
         steps of up to {} tokens",
        info.id,
        sizes.step_weight_bytes as f64 / 1e9,
        kv_bytes as f64 / 1e9,
        config.activation,
        config.max_num_batched_tokens,
    );
    say!("Device: {facts}\nCeilings: {}\n", ceilings.to_json());
    json!({
        "sconce": env!("CARGO_PKG_VERSION"),
        "command": "table",
        "model": info.id,
        "device": facts,
        "ceilings": ceilings.to_json(),
        "step_weight_bytes": sizes.step_weight_bytes,
        "weights": sizes.layer_weights + sizes.output_weights,
        "token_kv_bytes": token_bytes,
        "kv_tokens": tokens,
        "kv_bytes": kv_bytes,
        "activation": format!("{:?}", config.activation),
        "kv_cache_dtype": format!("{:?}", config.kv_cache_dtype),
        "max_num_batched_tokens": config.max_num_batched_tokens,
        "max_num_seqs": config.max_num_seqs,
        "enforce_eager": config.enforce_eager,
    })
}

struct Table {
    engine: EngineHandle,
    sizes: ModelSizes,
    config: EngineConfig,
    source: PromptSource,
    rows: Rows,
    deadline: Instant,
    /// Of the longest prompt so far, to know what a long context will take.
    prompt_seconds_per_token: Option<f64>,
}

impl Table {
    fn fill(&mut self, plan: &Plan) -> Result<()> {
        // The first steps of a process pay for page faults and for learning what a step costs.
        prompt_rate(&self.engine, self.source.prompt(plan.input))?;
        for &streams in plan.streams {
            let work = format!("{streams} streams, {} in, {} out", plan.input, plan.output);
            self.row(work, streams, plan.input + plan.output, |table| table.streams(streams, plan.input, plan.output))?;
        }
        for &length in plan.prompts {
            self.row(format!("prompt of {length}"), 1, length + 1, |table| table.prompt(length))?;
        }
        let [clients, context] = plan.shared;
        let work = format!("{clients} clients, {context} tokens in common, {SHORT_ANSWER} out");
        let length = context + QUESTION + SHORT_ANSWER;
        self.row(work, clients, length, |table| table.shared(clients, context))?;
        let [streams, context] = plan.long;
        let work = format!("{streams} streams decoding over {context}");
        self.row(work, streams, context + SHORT_ANSWER, |table| table.long(streams, context))
    }

    /// Measures a row, or says why not.
    fn row(
        &mut self,
        work: String,
        streams: u32,
        length: u32,
        measure: impl FnOnce(&mut Self) -> Result<Row>,
    ) -> Result<()> {
        let row = match self.why_not(streams, length) {
            Some(why) => Row::skipped(why),
            None => measure(self).unwrap_or_else(|error| Row::failed(&error)),
        };
        self.rows.add(Row { work, ..row })
    }

    /// What does not fit.
    fn why_not(&self, streams: u32, length: u32) -> Option<String> {
        let info = self.engine.model();
        // The last token of a stream is never written to the cache.
        let blocks = ((length - 1) as usize).div_ceil(info.block_size) * streams as usize;
        if length as usize > info.context_length {
            return Some(format!("{length} tokens, but the context holds {}", info.context_length));
        }
        if streams as usize > info.max_num_seqs {
            return Some(format!("{} streams run at once", info.max_num_seqs));
        }
        if blocks > info.num_blocks {
            return Some(format!("{blocks} KV blocks, but the cache has {}", info.num_blocks));
        }
        (Instant::now() >= self.deadline).then(|| "the time is over".to_string())
    }

    /// A burst of distinct prompts for the times to first tokens, and again with the prompts in the cache for the decoding.
    fn streams(&mut self, streams: u32, input: u32, output: u32) -> Result<Row> {
        let prompts: Vec<_> = (0..streams).map(|_| self.source.prompt(input)).collect();
        let requests = || prompts.iter().map(|prompt| request(prompt.clone(), output)).collect();
        let began = Instant::now();
        let cold = burst(&self.engine, requests())?;
        let wall = began.elapsed().as_secs_f64();
        let warm = burst(&self.engine, requests())?;
        let Some(rate) = window_rate(&warm) else { return Ok(Row::skipped(NO_OVERLAP.to_string())) };
        let first: Vec<f64> = cold.iter().filter_map(|stream| stream.first_seconds()).collect();
        let next: Vec<f64> = warm.iter().filter_map(|stream| stream.token_seconds()).collect();
        let done = self.decoding(rate, streams, f64::from(input) + f64::from(output) / 2.0);
        Ok(Row {
            tokens_per_second: Some(rate),
            wall_seconds: Some(wall),
            first_token_seconds: Some([median(&first), percentile(&first, 0.99)]),
            token_seconds: Some([median(&next), percentile(&next, 0.99)]),
            work_per_second: Some(done),
            ..Row::default()
        })
    }

    fn prompt(&mut self, length: u32) -> Result<Row> {
        let times = if length <= REPEATED { 3 } else { 1 };
        let rates: Vec<f64> =
            (0..times).map(|_| prompt_rate(&self.engine, self.source.prompt(length))).collect::<Result<_>>()?;
        let rate = median(&rates);
        self.prompt_seconds_per_token = Some(1.0 / rate);
        let seconds = f64::from(length) / rate;
        let needed = self.sizes.prompt(length as usize, self.config.max_num_batched_tokens, self.config.kv_cache_dtype);
        Ok(Row {
            tokens_per_second: Some(rate),
            first_token_seconds: Some([seconds; 2]),
            work_per_second: Some(Work { bytes: needed.bytes / seconds, operations: needed.operations / seconds }),
            ..Row::default()
        })
    }

    /// Clients that arrive together with one context, each with a question of its own.
    fn shared(&mut self, clients: u32, context: u32) -> Result<Row> {
        let common = self.source.prompt(context);
        let ask = |source: &mut PromptSource| [common.clone(), source.prompt(QUESTION)].concat();
        let requests = (0..clients).map(|_| request(ask(&mut self.source), SHORT_ANSWER)).collect();
        let computed_before = self.engine.metrics().computed_tokens.get();
        let began = Instant::now();
        let streams = burst(&self.engine, requests)?;
        let wall = began.elapsed().as_secs_f64();
        let first: Vec<f64> = streams.iter().filter_map(|stream| stream.first_seconds()).collect();
        Ok(Row {
            wall_seconds: Some(wall),
            first_token_seconds: Some([median(&first), percentile(&first, 0.99)]),
            computed_tokens: Some(self.engine.metrics().computed_tokens.get() - computed_before),
            ..Row::default()
        })
    }

    /// Streams with a long context of their own each. It is computed before, in the time that is left.
    fn long(&mut self, streams: u32, context: u32) -> Result<Row> {
        let seconds = self.prompt_seconds_per_token.unwrap_or(0.0) * f64::from(streams) * f64::from(context);
        let left = self.deadline.saturating_duration_since(Instant::now()).as_secs_f64();
        if seconds > left {
            return Ok(Row::skipped(format!("its contexts take {seconds:.0} s to compute, {left:.0} s are left")));
        }
        let prompts = (0..streams).map(|_| self.source.prompt(context)).collect();
        let Some(rate) = decode_rate(&self.engine, prompts, SHORT_ANSWER)? else {
            return Ok(Row::skipped(NO_OVERLAP.to_string()));
        };
        let done = self.decoding(rate, streams, f64::from(context) + f64::from(SHORT_ANSWER) / 2.0);
        Ok(Row { tokens_per_second: Some(rate), work_per_second: Some(done), ..Row::default() })
    }

    /// What decoding at a rate moves and computes per second at least.
    fn decoding(&self, rate: f64, streams: u32, context: f64) -> Work {
        let step = self.sizes.decode_step(f64::from(streams), context, self.config.kv_cache_dtype);
        let steps = rate / f64::from(streams);
        Work { bytes: step.bytes * steps, operations: step.operations * steps }
    }
}

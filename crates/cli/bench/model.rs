//! `sconce bench model`: prompt and decode rates through the engine, without HTTP.

use anyhow::{Context, Result, bail};
use sconce_engine::{EngineEnd, ModelInfo};
use serde::Serialize;

use super::measure::{PromptSource, decode_rate, prompt_rate};
use crate::args::BenchModelArguments;
use crate::out::say;
use crate::{model, progress};

/// A measured rate.
#[derive(Debug, Serialize)]
struct Rate {
    /// `prompt` or `decode`.
    what: &'static str,
    /// Tokens of a prompt, or streams at once.
    size: u32,
    /// Median tokens per second, all streams together.
    tokens_per_second: f64,
    /// Slowest and fastest run.
    range: [f64; 2],
}

#[derive(Debug, Serialize)]
struct Results<'a> {
    sconce: &'static str,
    model: &'a str,
    cores: usize,
    tokens_per_stream: u32,
    repeat: u32,
    rates: Vec<Rate>,
}

/// Measures and prints a table.
pub(crate) fn run(arguments: &BenchModelArguments) -> Result<()> {
    let most = arguments.streams.iter().copied().max().unwrap_or(1);
    let at_once = model::bench_config(arguments).max_num_seqs;
    if most as usize > at_once {
        bail!("{most} streams are asked for, but {at_once} run at once; raise --max-num-seqs to {most}");
    }
    arguments.out.as_deref().map(super::check_out).transpose()?;
    let started = model::for_bench(arguments)?;
    let (engine, thread) = started.context("name a GGUF file with --model; `sconce synth` writes one")?;
    let longest = longest(arguments);
    check_room(arguments, engine.model(), longest, most)?;
    let runs = (arguments.prompts.len() + arguments.streams.len()) as u64 * u64::from(arguments.repeat);
    let bar = progress::items(runs, "runs");
    let mut rates = Vec::new();
    let mut source = PromptSource::new(0, engine.model().vocabulary_size);
    // The first step of a process pays for page faults and for learning what a step costs.
    prompt_rate(&engine, source.prompt(longest.min(64)))?;
    for &length in &arguments.prompts {
        let measured = repeat(arguments.repeat, &bar, || prompt_rate(&engine, source.prompt(length)))?;
        rates.push(summarize("prompt", length, measured));
    }
    for &streams in &arguments.streams {
        let measured = repeat(arguments.repeat, &bar, || {
            let prompts = (0..streams).map(|_| source.prompt(arguments.stream_prompt)).collect();
            let rate = decode_rate(&engine, prompts, arguments.tokens)?;
            rate.context("the streams decoded too little together to tell a rate; ask for more --tokens")
        })?;
        rates.push(summarize("decode", streams, measured));
    }
    bar.finish_and_clear();
    print_table(&rates);
    if let Some(out) = &arguments.out {
        let results = Results {
            sconce: env!("CARGO_PKG_VERSION"),
            model: &engine.model().id,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            tokens_per_stream: arguments.tokens,
            repeat: arguments.repeat,
            rates,
        };
        let json = serde_json::to_string_pretty(&results)?;
        std::fs::write(out, json).with_context(|| format!("{} cannot be written", out.display()))?;
    }
    engine.shutdown();
    let end = thread.join();
    anyhow::ensure!(end == EngineEnd::Finished, "{end}");
    Ok(())
}

/// The longest sequence that is measured, in tokens.
fn longest(arguments: &BenchModelArguments) -> u32 {
    arguments.prompts.iter().copied().max().unwrap_or(1).max(arguments.stream_prompt + arguments.tokens)
}

/// Everything that is asked for fits, so that no measurement fails after others were made, or counts recomputation.
fn check_room(arguments: &BenchModelArguments, info: &ModelInfo, longest: u32, most: u32) -> Result<()> {
    let ModelInfo { context_length, num_blocks, block_size, .. } = *info;
    if longest as usize >= context_length {
        bail!("{longest} tokens are asked for, but the context holds {context_length}");
    }
    // The last token of a stream is never written to the cache.
    let stream_blocks = ((arguments.stream_prompt + arguments.tokens - 1) as usize).div_ceil(block_size);
    let blocks = stream_blocks * most as usize;
    if blocks > num_blocks {
        bail!("{most} streams take {blocks} KV blocks, but the cache has {num_blocks}; raise --kv-memory");
    }
    Ok(())
}

fn repeat(times: u32, bar: &indicatif::ProgressBar, mut measure: impl FnMut() -> Result<f64>) -> Result<Vec<f64>> {
    (0..times)
        .map(|_| {
            let rate = measure()?;
            bar.inc(1);
            Ok(rate)
        })
        .collect()
}

fn summarize(what: &'static str, size: u32, mut measured: Vec<f64>) -> Rate {
    measured.sort_by(f64::total_cmp);
    let median = measured[measured.len() / 2];
    Rate { what, size, tokens_per_second: median, range: [measured[0], measured[measured.len() - 1]] }
}

fn print_table(rates: &[Rate]) {
    say!("| work | tokens/s (median) | range |\n| --- | ---: | ---: |");
    for rate in rates {
        let name = match (rate.what, rate.size) {
            ("prompt", size) => format!("prompt of {size}"),
            (_, 1) => "1 stream".to_owned(),
            (_, size) => format!("{size} streams"),
        };
        say!("| {name} | {:.1} | {:.1}–{:.1} |", rate.tokens_per_second, rate.range[0], rate.range[1]);
    }
}

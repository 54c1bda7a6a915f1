//! The same requests through engines that must not differ in their tokens: with graphs and without, pipelined and not.
//!
//! Requests come one after another, and each has a prefix cache of its own, so that the steps of both engines have the same
//! rows: on a card the bits of a row depend on how many there are.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use sconce_engine::{
    Devices, EngineConfig, EngineEnd, EngineHandle, EngineThread, GenerateRequest, LoadedModel, SamplingParams,
};
use sconce_model::{KvCache, ModelSizes};
use serde_json::json;

use super::args::AgreeCheck;
use super::findings::{Finding, Outcome};
use super::measure::{self, PromptSource};

/// Tokens of a prompt and of an answer.
const PROMPT: u32 = 24;
const ANSWER: u32 = 24;
/// Answers to a prompt that are drawn side by side, and their tokens: in all fewer than a stream holds, so that no reader is so
/// slow that a choice pauses and leaves the others' steps with other rows.
const CHOICES: u32 = 4;
const CHOICE: u32 = 12;
/// The first requests are alone.
const LONE: usize = 2;

/// Tokens of each choice of each request.
type Answers = Vec<Vec<Vec<u32>>>;

/// Compares what is asked for.
pub(super) fn compare(
    model: &Path,
    devices: &Devices,
    sizes: &ModelSizes,
    config: &EngineConfig,
    checks: &[AgreeCheck],
    part: &str,
    add: &mut dyn FnMut(Finding),
) -> Result<()> {
    let block_bytes = KvCache::block_bytes(sizes.config(), config.block_size, config.kv_cache_dtype);
    let plain = EngineConfig {
        max_num_seqs: 8,
        max_model_len: Some(sizes.config().context_length.min(256)),
        // Room for each run's prefix cache, and little else.
        kv_memory_bytes: Some(64 * block_bytes),
        pipeline_depth: 0,
        ..config.clone()
    };
    let with = |config: &EngineConfig, work: &dyn Fn(&EngineHandle) -> Result<Answers>| {
        let (engine, thread) = start(model, devices, config)?;
        let answers = work(&engine);
        end(&engine, thread)?;
        answers
    };
    let once = |engine: &EngineHandle| answers(engine, 0, 7);
    let first = with(&plain, &once)?;
    if checks.contains(&AgreeCheck::Graphs) {
        let eager = with(&EngineConfig { enforce_eager: true, ..plain.clone() }, &once)?;
        let same = equal(part, "tokens with graphs and without", &first, &eager);
        let note = if devices.are_cuda() { "" } else { "; the CPU has no graphs: both engines are the same" };
        add(Finding { note: same.note.clone() + note, ..same });
    }
    if checks.contains(&AgreeCheck::Seeds) {
        let pipelined = with(&EngineConfig { pipeline_depth: 1, ..plain.clone() }, &|engine| {
            let all = [answers(engine, 0, 7)?, answers(engine, 1, 7)?, answers(engine, 2, 8)?];
            Ok(all.into_iter().flatten().collect())
        })?;
        let (again, rest) = pipelined.split_at(first.len());
        let (third, other) = rest.split_at(first.len());
        // Choices join in another step of a pipeline, so only lone streams have the same rows.
        add(equal(part, "tokens at pipeline depth 0 and 1", &first[..LONE], &again[..LONE]));
        add(equal(part, "tokens of the same seed twice", again, third));
        add(differ(part, &again[1..], &other[1..]));
    }
    Ok(())
}

fn start(model: &Path, devices: &Devices, config: &EngineConfig) -> Result<(EngineHandle, EngineThread)> {
    let loaded = LoadedModel::open(model, None, devices, config.max_model_len)?;
    sconce_engine::start(loaded, config).with_context(|| format!("the model {} cannot be served", model.display()))
}

fn end(engine: &EngineHandle, thread: EngineThread) -> Result<()> {
    engine.shutdown();
    let end = thread.join();
    ensure!(end == EngineEnd::Finished, "{end}");
    Ok(())
}

/// A greedy answer, a drawn one, and several drawn side by side. Each run is cold: a warm prompt computes other rows.
fn answers(engine: &EngineHandle, run: u32, seed: u64) -> Result<Answers> {
    let vocabulary = engine.model().vocabulary_size;
    let mut source = PromptSource::new(11, vocabulary);
    let mut ask = |name: &str, temperature, n, tokens| {
        let sampling = SamplingParams { temperature, seed: Some(seed), ..SamplingParams::default() };
        let cache_salt = Some(format!("{name} {run}"));
        let request = measure::request(source.prompt(PROMPT), tokens);
        measure::tokens(engine, GenerateRequest { sampling, n, cache_salt, ..request })
    };
    Ok(vec![ask("greedy", 0.0, 1, ANSWER)?, ask("drawn", 1.0, 1, ANSWER)?, ask("choices", 1.0, CHOICES, CHOICE)?])
}

fn equal(part: &str, case: &str, left: &[Vec<Vec<u32>>], right: &[Vec<Vec<u32>>]) -> Finding {
    let streams = || left.iter().flatten().zip(right.iter().flatten());
    let total = streams().count();
    let same = streams().filter(|(left, right)| left == right).count();
    let apart = streams().filter_map(|(left, right)| left.iter().zip(right).position(|(left, right)| left != right));
    let first = apart.min();
    let note = match first {
        None => format!("{same} of {total} streams are the same"),
        Some(token) => format!("{same} of {total} streams are the same; the first differs at token {token}"),
    };
    Finding {
        part: part.to_string(),
        case: case.to_string(),
        outcome: if same == total && total > 0 { Outcome::Agrees } else { Outcome::Fails },
        note,
        figures: json!({ "streams": total, "same": same, "first_difference": first }),
    }
}

/// Drawn answers of another seed are others.
fn differ(part: &str, left: &[Vec<Vec<u32>>], right: &[Vec<Vec<u32>>]) -> Finding {
    let streams = || left.iter().flatten().zip(right.iter().flatten());
    let (total, same) = (streams().count(), streams().filter(|(left, right)| left == right).count());
    Finding {
        part: part.to_string(),
        case: "tokens of another seed are others".to_string(),
        outcome: if same < total { Outcome::Agrees } else { Outcome::Fails },
        note: format!("{} of {total} streams differ", total - same),
        figures: json!({ "streams": total, "same": same }),
    }
}

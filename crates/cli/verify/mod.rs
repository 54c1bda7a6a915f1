//! `sconce verify`: loads a model and checks it part by part, and goes on after a failure.

mod file;
mod logits;
mod report;
mod text;

use std::process::ExitCode;

use anyhow::Result;
use sconce_engine::{Devices, EngineConfig, EngineHandle, KvCacheDtype, LoadedModel, MemoryPlan};
use sconce_model::{Checkpoint, Llama, ModelSizes};

use crate::args::VerifyArguments;
use crate::bench::findings::{Finding, Outcome};
use crate::bench::measure;
use crate::quantize;
use report::{About, Report};

/// A check that ended well, with its number in words and as JSON.
fn passed(case: &str, note: String, figures: serde_json::Value) -> Finding {
    Finding { part: "model".into(), case: case.into(), outcome: Outcome::Agrees, note, figures }
}

fn skipped(case: &str, why: &str) -> Finding {
    Finding::skipped("model", case, why)
}

fn failed(case: &str, why: impl Into<String>) -> Finding {
    Finding::failed("model", case, why.into())
}

/// Checks everything that can be checked here; success only when nothing failed.
pub(crate) fn run(arguments: &VerifyArguments) -> Result<ExitCode> {
    let text = arguments.text.as_deref().map(file::text).transpose()?;
    let digest = file::digest(&arguments.model)?;
    let mut report = Report::new(About::of(arguments, digest.as_deref()), arguments.json);
    report.add(file::record(&arguments.model, digest.as_deref()));
    let opened = Checkpoint::open(&arguments.model).and_then(|file| {
        let (file, fallbacks) = match arguments.quantize {
            Some(quantization) => file.quantized(quantization),
            None => (file, Vec::new()),
        };
        quantize::tell(&fallbacks);
        ModelSizes::of(&file).map(|sizes| (file, sizes))
    });
    let (file, sizes) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            report.add(failed("header", error.to_string()));
            return report.conclude();
        }
    };
    report.describe(&file);
    report.add(passed("header", format!("{} tensors", file.tensors().len()), file.tensors().len().into()));
    report.add(file::finite_weights(&file));
    let devices = arguments.devices.open()?;
    let config = config(arguments, &sizes, &devices);
    if let Err(error) = MemoryPlan::of(&file, &devices, &config, None) {
        // To load it all the same would end the process, not the report.
        report.add(failed("memory", error.to_string()));
        return report.conclude();
    }
    let template = arguments.template.chat_template.as_deref().map(std::fs::read_to_string).transpose()?;
    let model = match Llama::load(&file, &devices, config.max_model_len) {
        Ok(model) => model,
        Err(error) => {
            report.add(failed("load", error.to_string()));
            return report.conclude();
        }
    };
    logits::check(&file, &model, &sizes, &config, text.as_deref(), &mut report);
    match LoadedModel::with_model(model, &file, template.as_deref()) {
        Ok(loaded) => {
            // Of a converted model no answers are known.
            let digest = digest.as_deref().filter(|_| arguments.quantize.is_none());
            engine(loaded, &config, digest, &mut report);
        }
        Err(error) => report.add(failed("tokenizer and template", error.to_string())),
    }
    report.conclude()
}

/// An engine for one at a time.
fn config(arguments: &VerifyArguments, sizes: &ModelSizes, devices: &Devices) -> EngineConfig {
    EngineConfig {
        kv_cache_dtype: arguments.kv_cache_dtype.or(KvCacheDtype::with_range(devices)),
        max_model_len: Some(sizes.config().context_length.min(512)),
        max_num_seqs: 1,
        ..EngineConfig::for_kind(arguments.devices.kind())
    }
}

/// What needs the engine: texts, and answers that are known.
fn engine(loaded: LoadedModel, config: &EngineConfig, digest: Option<&str>, report: &mut Report) {
    let (engine, thread) = match sconce_engine::start(loaded, config) {
        Ok(started) => started,
        Err(error) => return report.add(failed("engine", error.to_string())),
    };
    report.add(text::round_trips(engine.tokenizer()));
    text::template(&engine, report);
    known_answers(&engine, digest, report);
    engine.shutdown();
    thread.join();
}

/// Greedy continuations of prompts that are known for this very file.
fn known_answers(engine: &EngineHandle, digest: Option<&str>, report: &mut Report) {
    const CASE: &str = "known answer";
    let answers = match file::known_answers(digest) {
        Ok(answers) => answers,
        Err(error) => return report.add(failed(CASE, error.to_string())),
    };
    if answers.is_empty() {
        return report.add(skipped(CASE, "none is known for this file"));
    }
    for answer in answers {
        let special = sconce_engine::Special { add_bos: true, parse_special: false };
        let prompt = engine.tokenizer().encode(&answer.prompt, special);
        let wanted = answer.continuation.len().min(256) as u32;
        let finding = match measure::tokens(engine, measure::request(prompt, wanted)) {
            Ok(tokens) => {
                let text = engine.tokenizer().decode_continuation(&tokens.concat());
                if text.starts_with(&answer.continuation) {
                    passed(
                        CASE,
                        format!("{}: {} bytes are the same", answer.name, answer.continuation.len()),
                        true.into(),
                    )
                } else {
                    failed(CASE, format!("{}: expected {:?}, found {text:?}", answer.name, answer.continuation))
                }
            }
            Err(error) => failed(CASE, format!("{error:#}")),
        };
        report.add(finding);
    }
}

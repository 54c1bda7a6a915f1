//! `sconce bench serve`: a workload on any OpenAI-compatible server, and the comparison of two results.

use anyhow::{Context, Result};
use sconce_loadgen::{Progress, Report, RunOptions, Target, Workload};

use crate::args::{BenchServeArguments, CompareArguments};
use crate::out::say;
use crate::progress;

/// Runs the workload and prints its table.
pub(crate) fn run(arguments: &BenchServeArguments) -> Result<()> {
    let workload = Workload::load(&arguments.workload)?;
    arguments.out.as_deref().map(super::check_out).transpose()?;
    let target =
        Target { base_url: arguments.url.clone(), model: arguments.model.clone(), api_key: arguments.api_key.clone() };
    let options = RunOptions { nonce: arguments.nonce, drop_gaps: true, ..RunOptions::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no async runtime")?;
    let bar = progress::items(u64::from(workload.request_count()), "requests");
    let report = runtime.block_on(sconce_loadgen::run(&target, &workload, &options, |step| match step {
        Progress::Calibrating => bar.set_message("counting the tokenizer's words"),
        Progress::Calibrated(_) => bar.set_message(""),
        Progress::Running { ended, failed, total, chunks } => {
            bar.set_length(u64::from(total));
            bar.set_position(u64::from(ended));
            bar.set_message(format!("{chunks} chunks, {failed} failed"));
        }
    }))?;
    bar.finish_and_clear();
    say!("{}", report.table());
    if let Some(path) = &arguments.out {
        report.save(path)?;
    }
    Ok(())
}

/// Prints the ratios of two results.
pub(crate) fn compare(arguments: &CompareArguments) -> Result<()> {
    let comparison = sconce_loadgen::compare(&Report::load(&arguments.report)?, &Report::load(&arguments.peer)?)?;
    say!("{comparison}");
    Ok(())
}

//! `sconce bench`: a device, a model in this process, or any server over HTTP.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::args::BenchCommand;

pub(crate) mod agree;
pub(crate) mod args;
mod card;
mod engines;
pub(crate) mod findings;
mod kernels;
pub(crate) mod measure;
mod model;
mod rows;
mod serve;
mod table;

/// Runs a measurement.
pub(crate) fn run(command: &BenchCommand) -> Result<ExitCode> {
    match command {
        BenchCommand::Card(arguments) => card::run(arguments)?,
        BenchCommand::Kernels(arguments) => return kernels::run(arguments),
        BenchCommand::Agree(arguments) => return agree::run(arguments),
        BenchCommand::Table(arguments) => table::run(arguments)?,
        BenchCommand::Model(arguments) => model::run(arguments)?,
        BenchCommand::Serve(arguments) => serve::run(arguments)?,
        BenchCommand::Compare(arguments) => serve::compare(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Finds out whether results can be written, before minutes are spent on them. Leaves an existing file as it is, and no
/// empty one behind.
fn check_out(path: &Path) -> Result<()> {
    let existed = path.exists();
    let cannot = || format!("{} cannot be written", path.display());
    OpenOptions::new().append(true).create(true).open(path).with_context(cannot)?;
    if existed { Ok(()) } else { std::fs::remove_file(path).with_context(cannot) }
}

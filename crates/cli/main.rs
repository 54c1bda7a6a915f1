//! The `sconce` binary: arguments in, one room per command. Everything it does, a crate below does.

mod args;
mod ask;
mod bench;
mod ingest;
mod library;
mod model;
mod progress;
mod serve;
mod size;
mod synth;

use std::process::ExitCode;

use args::{Arguments, BenchCommand, Command};
use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,sconce=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    let outcome = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Ask(arguments) => ask::run(&arguments),
        Command::Ingest(arguments) => ingest::run(&arguments),
        Command::Synth(arguments) => synth::run(&arguments),
        Command::Bench(arguments) => match arguments.command {
            BenchCommand::Model(arguments) => bench::model::run(&arguments),
            BenchCommand::Serve(arguments) => bench::serve::run(&arguments),
            BenchCommand::Compare(arguments) => bench::serve::compare(&arguments),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

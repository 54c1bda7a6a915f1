//! The `sconce` binary: arguments in, one room per command. Everything it does, a crate below does.

mod args;
mod ask;
mod bench;
mod demo;
mod devices;
mod ingest;
mod library;
mod model;
mod out;
mod plan;
mod profile;
mod progress;
mod pull;
mod quantize;
mod serve;
mod size;
mod synth;
mod verify;

use std::io::IsTerminal;
use std::process::ExitCode;

use args::{Arguments, Command};
use clap::Parser;
use profile::Profile;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let profile = arguments.profile.then(Profile::default);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,sconce=info"));
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(false);
    let parts = filter_fn(|metadata| metadata.target() == sconce_model::PARTS);
    let listening = profile.clone().map(|profile| profile.with_filter(parts));
    tracing_subscriber::registry().with(log.with_filter(filter)).with(listening).init();
    if let Some(threads) = arguments.threads {
        sconce_kernels::set_threads(threads.into());
    }
    let outcome = match arguments.command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Ask(arguments) => succeed(ask::run(arguments)),
        Command::Ingest(arguments) => succeed(ingest::run(&arguments)),
        Command::Plan(arguments) => succeed(plan::run(&arguments)),
        Command::Pull(arguments) => pull::run(&arguments),
        Command::Synth(arguments) => succeed(synth::run(&arguments)),
        Command::Quantize(arguments) => succeed(quantize::run(&arguments)),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments.command),
    };
    if let Some(profile) = profile {
        eprintln!("{}", profile.table().as_deref().unwrap_or("--profile: no engine made a step"));
    }
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", whole_story(&error));
            ExitCode::FAILURE
        }
    }
}

/// A command that has nothing more to say when it went well.
fn succeed(outcome: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    outcome.map(|()| ExitCode::SUCCESS)
}

/// An error with its causes, each said once: some name their cause themselves.
fn whole_story(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| {
        let cause = cause.to_string();
        match told.as_str() {
            "" => cause,
            before if before.contains(&cause) => told,
            before => format!("{before}: {cause}"),
        }
    })
}

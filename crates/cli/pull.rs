//! `sconce pull`: a model from its repository into the cache; and names of pulled models as paths for every other command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{HumanBytes, ProgressBar};
use sconce_hub::{DEMO_MODEL, Event, Finding, Settings, Source};

use crate::args::PullArguments;
use crate::demo::{self, ModelChoice};
use crate::out::say;
use crate::progress;

/// Pulls a model, or checks those that are there.
pub(crate) fn run(arguments: &PullArguments) -> Result<ExitCode> {
    let mut settings = Settings::from_environment()?;
    settings.limits.timeout = Duration::from_secs(arguments.timeout);
    settings.limits.retries = arguments.retries;
    if arguments.model.as_deref() == Some(DEMO_MODEL) {
        bail!("{DEMO_MODEL} travels inside this program, nothing is to be pulled: sconce serve --model {DEMO_MODEL}");
    }
    let source = arguments.model.as_deref().map(Source::parse).transpose()?;
    match source {
        source if arguments.check => check(&settings, source.as_ref()),
        Some(source) => pull(&settings, &source, arguments.revision.as_deref()),
        None => {
            bail!("say what to pull, such as llama-3.2-1b-instruct or org/name:Q4_K_M; `sconce pull --help` says more")
        }
    }
}

fn pull(settings: &Settings, source: &Source, revision: Option<&str>) -> Result<ExitCode> {
    if let Some(licence) = &source.licence {
        eprintln!("{} from {}, under the {licence}", source.name, source.repository);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    let mut bar = ProgressBar::hidden();
    let mut show = |event: Event<'_>| show(&mut bar, &event);
    let pulled = runtime.block_on(sconce_hub::pull(settings, source, revision, &mut show));
    bar.abandon();
    let pulled = pulled?;
    match pulled.commit {
        Some(commit) => eprintln!("{} came; commit {commit}", HumanBytes(pulled.received)),
        None => eprintln!("HF_HUB_OFFLINE is set: nothing was asked for, and the model is there"),
    }
    say!("{}", pulled.path.display());
    eprintln!(
        "Try: sconce serve --model {}",
        if revision.is_some() { pulled.path.to_string_lossy() } else { source.name.as_str().into() }
    );
    Ok(ExitCode::SUCCESS)
}

fn show(bar: &mut ProgressBar, event: &Event<'_>) {
    match event {
        Event::Picked { files, bytes } => eprintln!("{} in {}", HumanBytes(*bytes), counted(*files)),
        Event::Present { file, .. } => eprintln!("{file} is there"),
        Event::Begun { file, size, from } => {
            bar.finish_and_clear();
            eprintln!("{file}, {}{}", HumanBytes(*size), resumed(*from));
            *bar = progress::bytes(*size, "pulling");
            bar.set_position(*from);
            bar.reset_eta();
        }
        Event::Advanced { bytes } => bar.inc(*bytes),
        Event::Retrying { file, reason, pause } => {
            bar.suspend(|| eprintln!("{file}: {reason}; again in {:.1} s", pause.as_secs_f64()));
        }
        Event::Waiting { file } => eprintln!("{file}: another process is downloading it; waiting"),
        Event::Finished { .. } => bar.finish_and_clear(),
    }
}

fn counted(files: usize) -> String {
    if files == 1 { "one file".to_owned() } else { format!("{files} files") }
}

fn resumed(from: u64) -> String {
    if from == 0 { String::new() } else { format!(", from {} on", HumanBytes(from)) }
}

/// Hashes what was pulled. Exits with 1 when something has changed, or when there is nothing to check.
fn check(settings: &Settings, source: Option<&Source>) -> Result<ExitCode> {
    let (mut files, mut wrong) = (0, 0);
    sconce_hub::check(settings, source, &mut |checked| {
        files += 1;
        let path = checked.path.display();
        match checked.finding {
            Finding::Same { sha256 } => say!("ok         {path}  {sha256}"),
            Finding::Unknown => say!("no record  {path}"),
            Finding::Different { expected, found } => {
                wrong += 1;
                say!("DIFFERENT  {path}  {found}, should be {expected}");
            }
        }
    })?;
    if files == 0 {
        bail!("nothing was pulled into {} yet", settings.cache.display());
    }
    if wrong > 0 {
        bail!("{wrong} of {files} files are not what was pulled: remove the blobs that they link to, and pull again");
    }
    Ok(ExitCode::SUCCESS)
}

/// What a model's name means: a path if it is there or can be nothing else, otherwise the demo model or a pulled one.
pub(crate) fn model_path(text: &str) -> Result<PathBuf> {
    let path = Path::new(text);
    let is_path = path.exists() || path.is_absolute() || text.starts_with('.') || text.ends_with(".gguf");
    // A name with a file's ending may be org/name:file.gguf as well.
    if path.exists() || (is_path && !text.contains(':')) {
        return Ok(path.to_owned());
    }
    if text == DEMO_MODEL {
        return demo::path();
    }
    match Source::parse(text) {
        Ok(source) => Ok(sconce_hub::find(&Settings::from_environment()?, &source, None)?),
        Err(_) if is_path => Ok(path.to_owned()),
        Err(error) => Err(error.into()),
    }
}

/// What `--model` means: a model, or none.
pub(crate) fn model_choice(text: &str) -> Result<ModelChoice> {
    match text {
        demo::NONE => Ok(ModelChoice::Nothing),
        DEMO_MODEL if !Path::new(text).exists() => demo::path().map(ModelChoice::Demo),
        other => model_path(other).map(ModelChoice::At),
    }
}

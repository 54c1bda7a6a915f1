//! `sconce ask`: one question, one cited answer.

use std::path::Path;

use anyhow::{Context, Result, bail};
use sconce_rag::{Answer, AnswerOptions, FallbackReason, Generator, Route, VectorStore};
use sconce_server::EngineGenerator;
use serde_json::json;

use crate::args::AskArguments;
use crate::out::say;
use crate::{library, model};

/// Vector stores that one question may ask.
const MAX_STORES: usize = 16;

/// Answers from the store; with a model, in its words where they pass the check.
pub(crate) fn run(mut arguments: AskArguments) -> Result<()> {
    if arguments.question.trim().is_empty() {
        bail!("the question is empty");
    }
    let data_dir = arguments.library.data_dir.as_deref();
    let option = data_dir.map_or(String::new(), |folder| format!(" --data-dir {}", folder.display()));
    // A mistyped folder is not filled with samples, which would be taken for one's own documents.
    if let Some(folder) = data_dir.filter(|folder| is_mistyped(folder)) {
        bail!("there is no document store in {}; `sconce ingest FOLDER{option}` makes one", folder.display());
    }
    let library = library::open_with_samples(&arguments.library)?;
    let stores = match &arguments.store {
        Some(name) => match library::find(&library.store, name)? {
            Some(found) => vec![found],
            None => bail!("there is no vector store {name:?}; `sconce ingest FOLDER --store {name}{option}` makes one"),
        },
        None => library::vector_stores(&library.store)?,
    };
    let store_ids = filled(stores);
    match &arguments.store {
        _ if !store_ids.is_empty() => {}
        Some(name) => bail!(
            "the vector store {name:?} is empty; `sconce ingest FOLDER --store {name}{option}` reads documents into it"
        ),
        None => bail!("there are no documents yet; `sconce ingest FOLDER{option}` reads some"),
    }
    arguments.model.or_demo();
    let engine = model::for_question(&arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no async runtime")?;
    let generator = engine.as_ref().map(|(engine, _)| {
        EngineGenerator::for_questions(engine.clone(), runtime.handle().clone(), arguments.max_tokens)
    });
    let options = AnswerOptions { store_ids, ..AnswerOptions::default() };
    let generator = generator.as_ref().map(|generator| generator as &dyn Generator);
    let answer = sconce_rag::answer(&library.store, &arguments.question, &options, generator)?;
    if arguments.json {
        print_json(&answer)?;
    } else {
        print_text(&answer);
    }
    Ok(())
}

/// Whether a folder that was named for this command has no store. What the environment names is filled, as `serve` fills it.
fn is_mistyped(folder: &Path) -> bool {
    !folder.join(library::FILE).is_file()
        && std::env::var_os("SCONCE_HOME").is_none_or(|home| Path::new(&home) != folder)
}

/// The ids of the stores that have documents, as far as one question may ask.
fn filled(stores: Vec<VectorStore>) -> Vec<String> {
    let filled = stores.into_iter().filter(|store| store.file_counts.completed > 0);
    let mut ids: Vec<String> = filled.map(|store| store.id).collect();
    if ids.len() > MAX_STORES {
        eprintln!("asking the newest {MAX_STORES} of {} vector stores; name another with --store", ids.len());
        ids.truncate(MAX_STORES);
    }
    ids
}

fn print_json(answer: &Answer) -> Result<()> {
    let value = json!({
        "answer": answer.text,
        "route": answer.route,
        "fallback": answer.fallback,
        "citations": answer.citations,
    });
    say!("{}", serde_json::to_string_pretty(&value)?);
    Ok(())
}

fn print_text(answer: &Answer) {
    say!("{}", answer.text);
    let mut numbers: Vec<usize> = Vec::new();
    if !answer.citations.is_empty() {
        say!("");
    }
    for citation in &answer.citations {
        if !numbers.contains(&citation.number) {
            numbers.push(citation.number);
            say!("[{}] {} › {} ({})", citation.number, citation.title, citation.section, citation.filename);
        }
    }
    match (answer.route, &answer.fallback) {
        (Route::Generated, _) => {
            say!("\nWritten by the model; each sentence was found in the passage that it cites.");
        }
        (Route::Quoted, Some(FallbackReason::NoGenerator)) => {
            say!("\nQuoted word for word; no model was asked.");
        }
        (Route::Quoted, reason) => {
            let why = match reason {
                Some(FallbackReason::GeneratorFailed { reason }) => format!("the model gave no answer: {reason}"),
                Some(FallbackReason::Refused) => "the model found no answer in the passages".to_owned(),
                // The words that failed are in `--json`: shown here, they would be taken for an answer.
                Some(FallbackReason::Unsupported { .. }) => "the model's answer failed its check".to_owned(),
                Some(FallbackReason::NoGenerator) | None => "no model was asked".to_owned(),
            };
            say!("\nQuoted word for word; {why}.");
        }
        (Route::NotFound, _) => {}
    }
}

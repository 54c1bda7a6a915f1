//! `sconce ingest`: a folder into the document store.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use sconce_rag::{IngestOptions, Metadata};

use crate::args::IngestArguments;
use crate::out::say;
use crate::{library, progress};

/// Endings of passed-over files that are named; the rest are counted together.
const MAX_KINDS: usize = 8;

/// Reads the folder; files at fault are named and passed over, and make the command fail only when nothing was read.
pub(crate) fn run(arguments: &IngestArguments) -> Result<()> {
    // Before anything is made: a mistyped folder leaves nothing behind.
    if !arguments.folder.is_dir() {
        bail!("{} is not a folder", arguments.folder.display());
    }
    let library = library::open(&arguments.library)?;
    let store = &library.store;
    let target = match library::find(store, &arguments.store)? {
        Some(target) => target,
        None => store.create_vector_store(&arguments.store, &Metadata::new())?,
    };
    let began = Instant::now();
    let bar = progress::items(0, "documents");
    let report = store
        .ingest_folder(&target.id, &arguments.folder, &IngestOptions::default(), &mut |step| {
            bar.set_length(step.total as u64);
            bar.set_position(step.done as u64);
            bar.set_message(step.file.to_owned());
        })
        .with_context(|| format!("{} cannot be ingested", arguments.folder.display()))?;
    bar.finish_and_clear();
    for skipped in &report.skipped {
        eprintln!("skipped {}: {}", skipped.file, skipped.error);
    }
    let read = report.added + report.changed + report.unchanged;
    say!(
        "{} added, {} changed, {} unchanged, {} skipped in {:.1} s → vector store {:?} ({})",
        report.added,
        report.changed,
        report.unchanged,
        report.skipped.len(),
        began.elapsed().as_secs_f64(),
        target.name,
        target.id
    );
    if !report.passed_over.is_empty() {
        say!("passed over, being of other kinds: {}", kinds(&report.passed_over));
    }
    if read == 0 {
        bail!("no document was read from {}; .md, .txt, .html and .htm files are", arguments.folder.display());
    }
    Ok(())
}

/// Numbers of files by their endings, the most frequent first, such as `12 .pdf, 2 .docx, 1 without an ending`.
fn kinds(passed_over: &BTreeMap<String, usize>) -> String {
    let mut kinds: Vec<(&String, &usize)> = passed_over.iter().collect();
    kinds.sort_by_key(|(_, count)| Reverse(**count));
    let name = |ending: &str| if ending.is_empty() { "without an ending".to_owned() } else { ending.to_owned() };
    let mut named: Vec<String> =
        kinds.iter().take(MAX_KINDS).map(|(ending, count)| format!("{count} {}", name(ending))).collect();
    let rest: usize = kinds.iter().skip(MAX_KINDS).map(|(_, count)| **count).sum();
    if rest > 0 {
        named.push(format!("{rest} others"));
    }
    named.join(", ")
}

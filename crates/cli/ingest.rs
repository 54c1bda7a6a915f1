//! `sconce ingest`: a folder into the document store.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use sconce_rag::{IngestOptions, Metadata};

use crate::args::IngestArguments;
use crate::{library, progress};

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
    println!(
        "{} added, {} changed, {} unchanged, {} skipped in {:.1} s → vector store {:?} ({})",
        report.added,
        report.changed,
        report.unchanged,
        report.skipped.len(),
        began.elapsed().as_secs_f64(),
        target.name,
        target.id
    );
    if read == 0 {
        bail!("no document was read from {}; .md, .txt, .html and .htm files are", arguments.folder.display());
    }
    Ok(())
}

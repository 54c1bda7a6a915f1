//! `sconce synth`: a GGUF file with random weights.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use sconce_model::synth::{SynthOptions, is_synthetic, write};

use crate::args::SynthArguments;
use crate::out::say;
use crate::progress;

/// Writes the file, but not over a model of other origin unless told to.
pub(crate) fn run(arguments: &SynthArguments) -> Result<()> {
    let file = &arguments.file;
    if !arguments.force && file.exists() && !is_synthetic(file) {
        bail!(
            "{} exists, and `sconce synth` did not write it; name another, or replace it with --force",
            file.display()
        );
    }
    let options = SynthOptions {
        shape: arguments.shape,
        quantization: arguments.quantization,
        context_length: arguments.context,
        seed: arguments.seed,
        vocabulary: None,
    };
    let began = Instant::now();
    let bar = progress::bytes(0, "weights");
    write(file, &options, &mut |step| {
        bar.set_length(step.total_bytes);
        bar.set_position(step.written_bytes);
    })
    .with_context(|| format!("{} cannot be written", file.display()))?;
    bar.finish_and_clear();
    let bytes = std::fs::metadata(file).map_or(0, |file| file.len());
    say!("{} ({}) in {:.1} s", file.display(), indicatif::DecimalBytes(bytes), began.elapsed().as_secs_f64());
    Ok(())
}

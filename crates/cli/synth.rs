//! `sconce synth`: a GGUF file with random weights.

use std::time::Instant;

use anyhow::{Context, Result};
use sconce_model::synth::{SynthOptions, write};

use crate::args::SynthArguments;
use crate::progress;

/// Writes the file.
pub(crate) fn run(arguments: &SynthArguments) -> Result<()> {
    let options = SynthOptions {
        shape: arguments.shape,
        quantization: arguments.quantization,
        context_length: arguments.context,
        seed: arguments.seed,
        vocabulary: None,
    };
    let began = Instant::now();
    let bar = progress::bytes(0, "weights");
    write(&arguments.file, &options, &mut |step| {
        bar.set_length(step.total_bytes);
        bar.set_position(step.written_bytes);
    })
    .with_context(|| format!("{} cannot be written", arguments.file.display()))?;
    bar.finish_and_clear();
    let bytes = std::fs::metadata(&arguments.file).map_or(0, |file| file.len());
    println!("{} ({:.2} GB) in {:.1} s", arguments.file.display(), bytes as f64 / 1e9, began.elapsed().as_secs_f64());
    Ok(())
}

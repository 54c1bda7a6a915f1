//! `sconce quantize`: a safetensors folder or a GGUF file as a GGUF file with weights of another type.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use sconce_model::{Checkpoint, Fallback};

use crate::args::QuantizeArguments;
use crate::out::say;
use crate::progress;

/// Converts, but not over an existing file unless told to.
pub(crate) fn run(arguments: &QuantizeArguments) -> Result<()> {
    let (input, output) = (&arguments.input, &arguments.output);
    if !arguments.force && output.exists() {
        bail!("{} exists; name another file, or replace it with --force", output.display());
    }
    let checkpoint = Checkpoint::open(input).with_context(|| format!("{} cannot be read", input.display()))?;
    if is_of_the_input(&checkpoint, output) {
        bail!("{} is part of the input, which would be lost; name another file", output.display());
    }
    let (checkpoint, fallbacks) = checkpoint.quantized(arguments.quantization);
    tell(&fallbacks);
    // A model without a vocabulary may still be converted, for who adds one later.
    let keys = sconce_engine::vocabulary_keys(&checkpoint).unwrap_or_else(|error| {
        eprintln!("warning: the new file has no vocabulary and cannot be served by itself: {error}");
        Vec::new()
    });
    let began = Instant::now();
    let bar = progress::bytes(0, "weights");
    let written = checkpoint.write_gguf(output, arguments.quantization, &keys, &mut |written, total| {
        bar.set_length(total);
        bar.set_position(written);
    });
    bar.finish_and_clear();
    written.with_context(|| format!("{} cannot be written", output.display()))?;
    let bytes = std::fs::metadata(output).map_or(0, |file| file.len());
    say!("{} ({:.1} MB) in {:.1} s", output.display(), bytes as f64 / 1e6, began.elapsed().as_secs_f64());
    Ok(())
}

/// Whether a file is one that the model is read from, by whatever name, or lies in its folder already.
fn is_of_the_input(checkpoint: &Checkpoint, output: &Path) -> bool {
    // What is not there yet has no such path.
    let Ok(output) = output.canonicalize() else { return false };
    let folder = checkpoint.path().canonicalize().is_ok_and(|input| output.parent() == Some(&input));
    folder || checkpoint.files().any(|file| file.canonicalize().is_ok_and(|file| file == output))
}

/// Says which matrices have another type than was asked for, a line for those of a kind.
pub(crate) fn tell(fallbacks: &[Fallback]) {
    let mut told = BTreeMap::<String, Vec<&str>>::new();
    for Fallback { tensor, wanted, used, inputs } in fallbacks {
        let why = format!("rows of {inputs} are no whole blocks of {wanted:?}; {used:?} is used");
        told.entry(why).or_default().push(tensor);
    }
    for (why, tensors) in told {
        match tensors.as_slice() {
            [one] => eprintln!("{one}: {why}"),
            several => eprintln!("{} and {} more: {why}", several[0], several.len() - 1),
        }
    }
}

//! Models with random weights: a complete GGUF file of a named shape, written block by block, so that everything around a
//! model can be driven and measured without one. No weight is ever held as a float unless the file holds floats.
//!
//! Scale: matrices have variance 1 / inputs, so that a normed activation stays near variance one through each of them; the two
//! that write into the residual stream are smaller (see `shape`), so that the stream grows from one to about two.

mod blocks;
mod quantization;
mod shape;
mod vocabulary;

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

pub use quantization::Quantization;
pub use shape::NamedShape;
pub use vocabulary::MIN_TOKENS;

use crate::checkpoint::Checkpoint;
use crate::gguf::write::{GgufWriteError, GgufWriter, WriteTensor, WriteValue};
use crate::gguf::write_whole;
use blocks::BlockMaker;
use shape::SynthTensor;

/// Bytes that are made at a time, by all threads together.
const STRIPE_BYTES: usize = 16 << 20;
/// Bytes that one thread makes from one random stream. Part of the file's identity: another value gives another file.
const CHUNK_BYTES: usize = 64 << 10;

/// How the name of every model begins that is written here.
const NAME_PREFIX: &str = "synthetic ";

/// What to write.
#[derive(Debug, Clone)]
pub struct SynthOptions {
    /// Layers and lengths.
    pub shape: NamedShape,
    /// How weights are stored.
    pub quantization: Quantization,
    /// Positions; the shape's own if absent; 16 to 2^20.
    pub context_length: Option<u32>,
    /// Equal seeds give equal files.
    pub seed: u64,
    /// Tokens; the shape's own if absent; 512 to 262,144.
    pub vocabulary: Option<u32>,
}

/// How far the writing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SynthProgress {
    /// Bytes of tensor data written.
    pub written_bytes: u64,
    /// Bytes of tensor data in all.
    pub total_bytes: u64,
}

/// Why a model cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// An option outside of its range.
    #[error("{field} is {value}, but it must be from {least} to {most}")]
    OutOfRange {
        /// The option.
        field: &'static str,
        /// What it was.
        value: u32,
        /// Least allowed.
        least: u32,
        /// Most allowed.
        most: u32,
    },
    /// A name that no shape or quantization has.
    #[error("{name:?} is no {kind}; there are {known}")]
    UnknownName {
        /// "shape" or "quantization".
        kind: &'static str,
        /// The name.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The file cannot be created or moved to its place.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: GgufWriteError,
    },
}

/// Writes a model. It appears under its name only when it is complete; an existing file is replaced.
///
/// # Errors
/// An option out of range, or the file that cannot be written.
pub fn write(path: &Path, options: &SynthOptions, progress: &mut dyn FnMut(SynthProgress)) -> Result<(), SynthError> {
    let shape = options.shape.resolve(options)?;
    let io = |path, source| SynthError::Io { path, source };
    write_whole(path, io, |file, partial| {
        write_into(file, options, &shape, progress)
            .map_err(|source| SynthError::Write { path: partial.to_path_buf(), source })
    })
}

/// Whether `path` is a model that [`write`] wrote, by its name; false also for what cannot be read.
#[must_use]
pub fn is_synthetic(path: &Path) -> bool {
    let Ok(file) = Checkpoint::open(path) else { return false };
    matches!(file.metadata().str_opt("general.name"), Ok(Some(name)) if name.starts_with(NAME_PREFIX))
}

fn write_into(
    file: File,
    options: &SynthOptions,
    shape: &shape::Shape,
    progress: &mut dyn FnMut(SynthProgress),
) -> Result<(), GgufWriteError> {
    let tensors = shape.tensors(options.quantization);
    let metadata = metadata(options, shape);
    let headers: Vec<WriteTensor> = tensors.iter().map(|tensor| tensor.header.clone()).collect();
    let total_bytes = headers.iter().filter_map(WriteTensor::bytes).sum();
    let mut writer = GgufWriter::new(BufWriter::new(file), &metadata, &headers)?;
    let mut written_bytes = 0;
    let mut stripe = Vec::new();
    for (index, tensor) in tensors.iter().enumerate() {
        let maker = tensor.block_maker();
        let mut left = tensor.header.bytes().unwrap_or(0) as usize;
        // Chunks and stripes are whole blocks.
        let chunk_bytes = CHUNK_BYTES / maker.block_bytes() * maker.block_bytes();
        let chunks_of_stripe = STRIPE_BYTES / chunk_bytes;
        let mut first_chunk = 0;
        while left > 0 {
            stripe.resize(left.min(chunks_of_stripe * chunk_bytes), 0);
            stripe.par_chunks_mut(chunk_bytes).enumerate().for_each(|(chunk, bytes)| {
                maker.fill(bytes, options.seed, [index as u64, (first_chunk + chunk) as u64]);
            });
            writer.write(&stripe)?;
            left -= stripe.len();
            first_chunk += chunks_of_stripe;
            written_bytes += stripe.len() as u64;
            progress(SynthProgress { written_bytes, total_bytes });
        }
    }
    writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(())
}

impl SynthTensor {
    fn block_maker(&self) -> BlockMaker {
        BlockMaker::new(self.header.weight_type, self.mean, self.deviation)
    }
}

fn metadata(options: &SynthOptions, shape: &shape::Shape) -> Vec<(String, WriteValue)> {
    let head_dim = shape.embedding_length / shape.head_count;
    let name = format!("{NAME_PREFIX}{} {}", options.shape.name(), options.quantization.name());
    let mut metadata = vec![
        ("general.architecture", WriteValue::Text("llama".to_owned())),
        ("general.name", WriteValue::Text(name)),
        ("general.alignment", WriteValue::U32(32)),
        ("general.file_type", WriteValue::U32(options.quantization.file_type())),
        ("general.quantization_version", WriteValue::U32(2)),
        ("llama.vocab_size", WriteValue::U32(shape.vocabulary)),
        ("llama.context_length", WriteValue::U32(shape.context_length)),
        ("llama.embedding_length", WriteValue::U32(shape.embedding_length)),
        ("llama.block_count", WriteValue::U32(shape.block_count)),
        ("llama.feed_forward_length", WriteValue::U32(shape.feed_forward_length)),
        ("llama.attention.head_count", WriteValue::U32(shape.head_count)),
        ("llama.attention.head_count_kv", WriteValue::U32(shape.head_count_kv)),
        ("llama.attention.layer_norm_rms_epsilon", WriteValue::F32(1e-5)),
        ("llama.rope.dimension_count", WriteValue::U32(head_dim)),
        ("llama.rope.freq_base", WriteValue::F32(shape.rope_base)),
    ];
    metadata.extend(vocabulary::metadata(shape.vocabulary as usize));
    metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Every name of a list, for a message.
fn list_of(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

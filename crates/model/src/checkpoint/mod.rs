//! Where weights come from: a GGUF file, the parts of a split one, or a folder of safetensors, all in GGUF's words.
//! Everything is checked before it is believed; weights are taken straight from memory maps, one tensor at a time.

mod architecture;
mod convert;
mod folder;
mod map;
mod names;
mod rope;
mod safetensors;
mod settings;
mod single;
mod split;
mod write;

pub use convert::Fallback;

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::Device;
use sconce_kernels::{Weight, WeightType};

use crate::error::ModelError;
use crate::gguf::{GgufError, Metadata, TensorInfo};
use map::MappedFile;

/// Where a tensor's bytes lie, and in which order its rows are wanted.
#[derive(Debug, Clone)]
struct Place {
    /// The type that the bytes have.
    stored: WeightType,
    bytes: Bytes,
    /// Heads whose halves are interleaved when rows are taken: row `2i + j` of a head is the stored row `j * half + i`.
    interleaved_heads: Option<usize>,
}

/// A tensor's bytes.
#[derive(Debug, Clone)]
enum Bytes {
    /// A range of a mapped file, found to lie inside of it.
    Mapped { file: usize, range: Range<usize> },
    /// A tensor that no file holds.
    Made(Vec<u8>),
}

/// An open, validated checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    files: Vec<MappedFile>,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    places: Vec<Place>,
    /// Indices of the tensors in the order of their names.
    by_name: Vec<u32>,
}

impl Checkpoint {
    /// Maps and validates a GGUF file, with the other parts beside it where it is one of several; or a folder with
    /// `config.json` and safetensors, whose keys and tensors get GGUF's names.
    ///
    /// # Errors
    /// When it cannot be opened, or the first field that is wrong, by name; in well under a second for any file.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        if path.is_dir() { folder::open(path) } else { split::open(path) }
    }

    /// The bytes of a file that lies in a folder beside the weights, such as `tokenizer.json`; `None` where there is none, and
    /// for GGUF files, which hold everything themselves.
    ///
    /// # Errors
    /// When the file cannot be read or is larger than 64 MiB.
    pub fn companion(&self, name: &str) -> Result<Option<Vec<u8>>, ModelError> {
        if self.path.is_dir() { folder::companion(&self.path, name) } else { Ok(None) }
    }

    /// Puts a checkpoint together from tensors with their places.
    fn assemble(
        path: &Path,
        files: Vec<MappedFile>,
        metadata: Metadata,
        tensors: Vec<(TensorInfo, Place)>,
    ) -> Result<Self, ModelError> {
        // An order instead of a map: a header of very many tensors holds each name once.
        let mut by_name: Vec<u32> = (0..tensors.len() as u32).collect();
        let name = |index: u32| tensors[index as usize].0.name.as_str();
        by_name.sort_by(|a, b| name(*a).cmp(name(*b)).then(a.cmp(b)));
        if let Some(pair) = by_name.windows(2).find(|pair| name(pair[0]) == name(pair[1])) {
            let (info, place) = &tensors[pair[1] as usize];
            let source = GgufError::Duplicate { kind: "tensor", name: info.name.clone() };
            let path = match &place.bytes {
                Bytes::Mapped { file, .. } => files[*file].path.clone(),
                Bytes::Made(_) => path.to_path_buf(),
            };
            return Err(ModelError::File { path, source });
        }
        let (tensors, places) = tensors.into_iter().unzip();
        Ok(Self { path: path.to_path_buf(), files, metadata, tensors, places, by_name })
    }

    /// The path that the checkpoint was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All key-value pairs: the tokenizer's arrays and the chat template are among them, where the file has them.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The files that hold its tensors.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// All tensors, in the files' order.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// A tensor's shape and type.
    #[must_use]
    pub fn tensor_info(&self, name: &str) -> Option<&TensorInfo> {
        self.index(name).map(|index| &self.tensors[index])
    }

    fn index(&self, name: &str) -> Option<usize> {
        let place =
            self.by_name.binary_search_by(|index| self.tensors[*index as usize].name.as_str().cmp(name)).ok()?;
        Some(self.by_name[place] as usize)
    }

    /// Loads a tensor of at most two dimensions as a matrix; a vector becomes one row.
    ///
    /// # Errors
    /// When it is missing, has more dimensions, or the device refuses it.
    pub fn weight(&self, name: &str, device: &Device) -> Result<Weight, ModelError> {
        let (_, outputs, _) = self.matrix(name)?;
        self.weight_rows(name, 0..outputs, device)
    }

    /// Loads some of the output rows of a matrix, as [`Self::weight`] would load them: one of several projections that a file
    /// keeps in one tensor.
    ///
    /// # Errors
    /// Like [`Self::weight`], and when the matrix has no such rows.
    pub fn weight_rows(&self, name: &str, rows: Range<usize>, device: &Device) -> Result<Weight, ModelError> {
        let (index, outputs, inputs) = self.matrix(name)?;
        if rows.is_empty() || rows.end > outputs {
            let value = format!("rows {} to {}", rows.start, rows.end);
            let expected = format!("a range within its {outputs} rows");
            return Err(GgufError::Invalid { field: format!("tensor {name:?}"), value, expected }.into());
        }
        let bytes = self.row_data(index, rows.clone(), inputs)?;
        Weight::from_bytes(&bytes, self.tensors[index].weight_type, rows.len(), inputs, device)
            .map_err(|source| ModelError::Load { tensor: name.to_string(), source })
    }

    /// A tensor's index, and its outputs and inputs as a matrix.
    fn matrix(&self, name: &str) -> Result<(usize, usize, usize), ModelError> {
        let Some(index) = self.index(name) else {
            let source = GgufError::MissingTensor { name: name.to_string() };
            return Err(ModelError::File { path: self.path.clone(), source });
        };
        let dimensions = &self.tensors[index].dimensions;
        match *dimensions.as_slice() {
            [inputs] => Ok((index, 1, inputs)),
            [inputs, outputs] => Ok((index, outputs, inputs)),
            _ => Err(ModelError::TensorShape {
                tensor: name.to_string(),
                expected: vec![dimensions[0], dimensions[1]],
                actual: dimensions.clone(),
            }),
        }
    }

    /// A tensor's bytes as they are stored, and their type.
    pub(crate) fn stored(&self, index: usize) -> (WeightType, &[u8]) {
        let place = &self.places[index];
        let bytes = match &place.bytes {
            Bytes::Mapped { file, range } => &self.files[*file].bytes()[range.clone()],
            Bytes::Made(bytes) => bytes.as_slice(),
        };
        (place.stored, bytes)
    }

    /// The stored bytes of some rows of a matrix, in the order in which the model wants them.
    fn row_bytes(&self, index: usize, rows: Range<usize>) -> Cow<'_, [u8]> {
        let (info, place) = (&self.tensors[index], &self.places[index]);
        let (_, all) = self.stored(index);
        let outputs = info.dimensions.get(1).copied().unwrap_or(1);
        // Every tensor is a whole number of rows of equal length.
        let row = all.len() / outputs;
        let Some(heads) = place.interleaved_heads else {
            return Cow::Borrowed(&all[rows.start * row..rows.end * row]);
        };
        if info.dimensions.len() == 1 {
            // A bias has one number for each row of its matrix.
            let length = info.dimensions[0];
            return Cow::Owned(interleave(all, all.len() / length, length / heads, 0..length));
        }
        Cow::Owned(interleave(all, row, outputs / heads, rows))
    }
}

/// Takes `rows`, counted in the order of neighbouring pairs, from rows that are stored by halves of a head.
fn interleave(bytes: &[u8], row: usize, head: usize, rows: Range<usize>) -> Vec<u8> {
    let mut taken = Vec::with_capacity(rows.len() * row);
    for wanted in rows {
        let (first, inside) = (wanted / head * head, wanted % head);
        let stored = first + inside % 2 * (head / 2) + inside / 2;
        taken.extend_from_slice(&bytes[stored * row..(stored + 1) * row]);
    }
    taken
}

fn problem(path: &Path, problem: String) -> ModelError {
    ModelError::Checkpoint { path: path.to_path_buf(), problem }
}

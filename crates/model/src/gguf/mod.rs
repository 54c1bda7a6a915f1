//! GGUF files: an own validator before anything else sees the bytes, and weights straight from the memory map.
//! A file is hostile until it has passed; no count is believed before it was compared with the bytes that are there.

mod arrays;
mod cursor;
mod error;
mod metadata;
mod tensors;
mod types;
pub mod write;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::Device;
use sconce_kernels::Weight;

pub use arrays::{Integers, Texts};
pub use error::GgufError;
pub use metadata::{Metadata, Value, quoted};
pub use tensors::TensorInfo;
pub use types::{type_id, type_name, weight_type_of};

use crate::error::ModelError;
use cursor::Cursor;

/// Where tensor data begins and how tensors are placed, unless the file says otherwise (the format's default).
const DEFAULT_ALIGNMENT: u64 = 32;

/// The largest alignment that is accepted: a huge page.
const MAX_ALIGNMENT: u64 = 2 << 20;

/// The validated front of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufHeader {
    /// 2 or 3.
    pub version: u32,
    /// All key-value pairs.
    pub metadata: Metadata,
    /// All tensors, in the file's order.
    pub tensors: Vec<TensorInfo>,
    /// First byte of tensor data in the file.
    pub data_offset: u64,
}

impl GgufHeader {
    /// Validates a whole file: the header, and that every tensor's bytes are there.
    ///
    /// Work and memory are bounded by the header's size, which is bounded by 64 MiB, whatever the counts in it say.
    ///
    /// # Errors
    /// The first field that is wrong, by name.
    pub fn parse(file: &[u8]) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(file);
        let magic = cursor.take(4.min(file.len()), &|| "magic".to_string())?;
        if magic != b"GGUF" {
            return Err(GgufError::Magic { found: String::from_utf8_lossy(magic).into_owned() });
        }
        let version = cursor.u32(&|| "version".to_string())?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version { version });
        }
        let tensor_count = tensors::read_count(&mut cursor)?;
        let key_count = Metadata::read_count(&mut cursor)?;
        let metadata = Metadata::read(&mut cursor, key_count)?;
        let alignment = alignment(&metadata)?;
        let mut infos = Vec::new();
        for index in 0..tensor_count {
            infos.push(tensors::read_info(&mut cursor, index, alignment)?);
        }
        let data_offset = (cursor.position() as u64).next_multiple_of(alignment);
        tensors::check_layout(&infos, (file.len() as u64).saturating_sub(data_offset))?;
        Ok(Self { version, metadata, tensors: infos, data_offset })
    }
}

fn alignment(metadata: &Metadata) -> Result<u64, GgufError> {
    let alignment = metadata.u32_opt("general.alignment")?.map_or(DEFAULT_ALIGNMENT, u64::from);
    if alignment.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(&alignment) {
        return Ok(alignment);
    }
    Err(GgufError::Invalid {
        field: "metadata key \"general.alignment\"".to_string(),
        value: alignment.to_string(),
        expected: format!("a power of two from 8 to {MAX_ALIGNMENT}"),
    })
}

/// An open, validated GGUF file.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    map: memmap2::Mmap,
    header: GgufHeader,
    by_name: HashMap<String, usize>,
}

impl GgufFile {
    /// Maps and validates a file.
    ///
    /// # Errors
    /// When it cannot be opened, or the first field that is wrong, by name; in well under a second for any file.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let io = |source| ModelError::Io { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(io)?;
        let kind = file.metadata().map_err(io)?;
        if !kind.is_file() {
            return Err(ModelError::NotAFile { path: path.to_path_buf() });
        }
        // SAFETY: the map is only read, as bytes. Another process that shortens the file while it is mapped could still stop
        // this one (SIGBUS), which no check can prevent; weights are copied out while loading and the map is dropped then.
        #[allow(unsafe_code)]
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        let header = GgufHeader::parse(&map).map_err(|source| ModelError::File { path: path.to_path_buf(), source })?;
        let by_name = header.tensors.iter().enumerate().map(|(index, info)| (info.name.clone(), index)).collect();
        Ok(Self { path: path.to_path_buf(), map, header, by_name })
    }

    /// The path that the file was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All key-value pairs: the tokenizer's arrays and the chat template are among them.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.header.metadata
    }

    /// All tensors, in the file's order.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.header.tensors
    }

    /// A tensor's place.
    #[must_use]
    pub fn tensor_info(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|index| &self.header.tensors[*index])
    }

    /// Loads a tensor of at most two dimensions as a matrix; a vector becomes one row.
    ///
    /// # Errors
    /// When it is missing, has more dimensions, or the device refuses it.
    pub fn weight(&self, name: &str, device: &Device) -> Result<Weight, ModelError> {
        let info = self.tensor_info(name).ok_or_else(|| GgufError::MissingTensor { name: name.to_string() });
        let info = info.map_err(|source| ModelError::File { path: self.path.clone(), source })?;
        let (inputs, outputs) = match *info.dimensions.as_slice() {
            [inputs] => (inputs, 1),
            [inputs, outputs] => (inputs, outputs),
            _ => {
                return Err(ModelError::TensorShape {
                    tensor: name.to_string(),
                    expected: vec![info.dimensions[0], info.dimensions[1]],
                    actual: info.dimensions.clone(),
                });
            }
        };
        Weight::from_bytes(self.bytes(info), info.weight_type, outputs, inputs, device)
            .map_err(|source| ModelError::Load { tensor: name.to_string(), source })
    }
    /// The bytes of one of this file's tensors.
    pub(crate) fn bytes(&self, info: &TensorInfo) -> &[u8] {
        // The header's check has found these bytes inside the file, so both fit the address space.
        let start = (self.header.data_offset + info.offset) as usize;
        &self.map[start..start + info.bytes as usize]
    }
}

//! GGUF files: an own validator before anything else sees the bytes.
//! A file is hostile until it has passed; no count is believed before it was compared with the bytes that are there.

mod arrays;
mod cursor;
mod error;
mod metadata;
mod tensors;
mod types;
mod whole_file;
pub mod write;

pub use arrays::{Integers, Texts};
pub use error::GgufError;
pub use metadata::{Metadata, Value, quoted};
pub use tensors::TensorInfo;
pub use types::{type_id, type_name, weight_type_of};
pub(crate) use whole_file::write_whole;

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
        tensors::check_layout(&infos, data_offset, file.len() as u64)?;
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

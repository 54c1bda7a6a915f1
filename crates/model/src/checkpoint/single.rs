//! One GGUF file: its header, and where its tensors lie in the map.

use std::path::Path;

use super::map::MappedFile;
use super::{Bytes, Place};
use crate::error::ModelError;
use crate::gguf::{GgufHeader, TensorInfo};

/// Maps and validates one file.
///
/// # Errors
/// When it cannot be opened, or the first field that is wrong, by name.
pub(super) fn open(path: &Path) -> Result<(MappedFile, GgufHeader), ModelError> {
    let file = MappedFile::open(path)?;
    let header =
        GgufHeader::parse(file.bytes()).map_err(|source| ModelError::File { path: path.to_path_buf(), source })?;
    Ok((file, header))
}

/// The header's tensors with their places in the file of this index.
pub(super) fn places(header: &GgufHeader, file: usize) -> impl Iterator<Item = (TensorInfo, Place)> {
    header.tensors.iter().map(move |info| {
        // The header's check has found these bytes inside the file, so both fit the address space.
        let start = (header.data_offset + info.offset) as usize;
        let bytes = Bytes::Mapped { file, range: start..start + info.bytes as usize };
        (info.clone(), Place { stored: info.weight_type, bytes, interleaved_heads: None })
    })
}

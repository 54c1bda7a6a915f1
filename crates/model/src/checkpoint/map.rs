//! A file's bytes, mapped into memory and only read.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::ModelError;

/// A mapped file.
#[derive(Debug)]
pub(super) struct MappedFile {
    pub(super) path: PathBuf,
    map: memmap2::Mmap,
}

impl MappedFile {
    /// Maps a regular file.
    ///
    /// # Errors
    /// When it cannot be opened, or is a folder or a device.
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
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
        Ok(Self { path: path.to_path_buf(), map })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }
}

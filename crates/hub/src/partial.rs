//! A file that is still coming, under a temporary name, hashed as it grows.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::HubError;

/// `<blob>.incomplete`.
pub(crate) struct Partial {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    /// Bytes that are there.
    pub(crate) length: u64,
}

impl Partial {
    /// Opens what an earlier pull left, or begins anew. What is left is used only where a hash will tell whether it is right.
    pub(crate) fn open(path: PathBuf, keep: bool, size: u64) -> Result<Self, HubError> {
        let open = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = open.map_err(HubError::disk(&path, "cannot be written"))?;
        let found = file.metadata().map_err(HubError::disk(&path, "cannot be read"))?.len();
        let mut hasher = Sha256::new();
        let mut length = 0;
        if keep && found <= size {
            length = hash_into(&mut file, &mut hasher).map_err(HubError::disk(&path, "cannot be read"))?;
        }
        let mut partial = Self { path, file, hasher, length };
        if length == 0 {
            partial.restart()?;
        }
        Ok(partial)
    }

    /// Forgets everything.
    pub(crate) fn restart(&mut self) -> Result<(), HubError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(HubError::disk(&self.path, "cannot be written"))?;
        self.hasher = Sha256::new();
        self.length = 0;
        Ok(())
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(HubError::disk(&self.path, "cannot be written"))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// The SHA-256 of what is there.
    pub(crate) fn sha256(&self) -> String {
        hexadecimal(&self.hasher.clone().finalize())
    }

    /// Gives the file its final name, once it is on the disk.
    pub(crate) fn finish(self, name: &Path) -> Result<(), HubError> {
        let synced = self.file.sync_all().and_then(|()| fs::rename(&self.path, name));
        synced.map_err(HubError::disk(name, "cannot be written"))
    }

    /// Removes the file, whose content is wrong.
    pub(crate) fn discard(self) -> Result<(), HubError> {
        crate::cache::remove(&self.path)
    }
}

/// The SHA-256 of a file, in hexadecimal digits.
///
/// # Errors
///
/// When the file cannot be read.
pub fn sha256_of(path: &Path) -> Result<String, HubError> {
    let mut file = File::open(path).map_err(HubError::disk(path, "cannot be read"))?;
    let mut hasher = Sha256::new();
    hash_into(&mut file, &mut hasher).map_err(HubError::disk(path, "cannot be read"))?;
    Ok(hexadecimal(&hasher.finalize()))
}

fn hash_into(file: &mut File, hasher: &mut Sha256) -> std::io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(length),
            read => {
                hasher.update(&buffer[..read]);
                length += read as u64;
            }
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

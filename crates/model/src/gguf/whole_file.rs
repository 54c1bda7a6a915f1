//! A file that appears under its name only when it is complete.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Lets `write` fill a file beside `path`, and gives it its name when it is complete, in place of an existing file. Nothing is left
/// behind when it fails. `write` gets the file and its path; `failed` makes the error of a path.
///
/// # Errors
/// What `write` or the system reported.
pub(crate) fn write_whole<E>(
    path: &Path,
    failed: impl Fn(PathBuf, io::Error) -> E,
    write: impl FnOnce(File, &Path) -> Result<(), E>,
) -> Result<(), E> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    // Two processes that write the same file do not write into each other's.
    name.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(name);
    let io = |source| failed(partial.clone(), source);
    // The folder is to blame, not the name that nobody has heard of.
    let file = File::create(&partial).map_err(|source| failed(path.to_path_buf(), source))?;
    let result = write(file, &partial).and_then(|()| std::fs::rename(&partial, path).map_err(io));
    if result.is_err() {
        // The error that matters is the first one; a partial file that cannot be removed changes nothing about it.
        let _ = std::fs::remove_file(&partial);
    }
    result
}

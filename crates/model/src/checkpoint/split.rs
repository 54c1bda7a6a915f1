//! GGUF files that were split into parts: `NAME-00001-of-0000N.gguf`, with `split.no`, `split.count` and `split.tensors.count`
//! in each. Any part leads to all; the metadata is the first part's.

use std::path::{Path, PathBuf};

use super::map::MappedFile;
use super::{Checkpoint, problem, single};
use crate::error::ModelError;
use crate::gguf::{GgufHeader, Metadata};

/// Most parts of one checkpoint: the file names have five digits, but no one splits so finely.
const MAX_PARTS: u32 = 1 << 10;

/// Opens a GGUF file, and the other parts where it is one of several.
///
/// # Errors
/// The file that is missing, invalid, or says something else of the whole than the others.
pub(super) fn open(path: &Path) -> Result<Checkpoint, ModelError> {
    let (file, header) = single::open(path)?;
    let file_error = |source| ModelError::File { path: path.to_path_buf(), source };
    let count = header.metadata.u32_opt("split.count").map_err(file_error)?.unwrap_or(0);
    if count <= 1 {
        let tensors = single::places(&header, 0).collect();
        return Checkpoint::assemble(path, vec![file], header.metadata, tensors);
    }
    if count > MAX_PARTS {
        return Err(problem(path, format!("split.count is {count}, but at most {MAX_PARTS} parts are read")));
    }
    let number = part_number(path, &header.metadata, count)?;
    let names = part_names(path, number, count)?;
    let mut opened = Some((file, header));
    let mut parts = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let part = match opened.take_if(|_| index as u32 == number) {
            Some(part) => part,
            None => open_part(name, index as u32, count)?,
        };
        parts.push(part);
    }
    join(path, parts)
}

/// Puts the parts together, in their order.
fn join(path: &Path, parts: Vec<(MappedFile, GgufHeader)>) -> Result<Checkpoint, ModelError> {
    let mut tensors = Vec::new();
    let mut files = Vec::new();
    let mut metadata = None;
    for (index, (file, header)) in parts.into_iter().enumerate() {
        tensors.extend(single::places(&header, index));
        files.push(file);
        metadata.get_or_insert(header.metadata);
    }
    let metadata = metadata.unwrap_or_default();
    let key = "split.tensors.count";
    if let Some(promised) = integer(&metadata, key, &files[0].path)?
        && promised as usize != tensors.len()
    {
        let found = tensors.len();
        let told = format!("{key} is {promised}, but the parts hold {found} tensors; download all parts again");
        return Err(problem(&files[0].path, told));
    }
    Checkpoint::assemble(path, files, metadata, tensors)
}

/// Opens another part and checks that it belongs to the same whole.
fn open_part(path: &Path, number: u32, count: u32) -> Result<(MappedFile, GgufHeader), ModelError> {
    if !path.exists() {
        let told = format!("part {} of {count} is missing; put all parts into one folder", number + 1);
        return Err(problem(path, told));
    }
    let (file, header) = single::open(path)?;
    let own_count = integer(&header.metadata, "split.count", path)?;
    if own_count != Some(count) {
        let own = own_count.map_or("missing".to_string(), |own| own.to_string());
        return Err(problem(path, format!("split.count is {own}, but {count} in the part that was opened")));
    }
    let own_number = integer(&header.metadata, "split.no", path)?;
    if own_number != Some(number) {
        let own = own_number.map_or("missing".to_string(), |own| own.to_string());
        return Err(problem(path, format!("split.no is {own}, but by its name the file is number {number}")));
    }
    Ok((file, header))
}

fn part_number(path: &Path, metadata: &Metadata, count: u32) -> Result<u32, ModelError> {
    match integer(metadata, "split.no", path)? {
        Some(number) if number < count => Ok(number),
        Some(number) => Err(problem(path, format!("split.no is {number}, must be below split.count {count}"))),
        None => Err(problem(path, "split.count says that the file is a part, but split.no is missing".to_string())),
    }
}

/// The paths of all parts, from the path of one.
fn part_names(path: &Path, number: u32, count: u32) -> Result<Vec<PathBuf>, ModelError> {
    let end = |number: u32| format!("-{:05}-of-{count:05}.gguf", number + 1);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(stem) = name.strip_suffix(&end(number)) else {
        let told = format!(
            "the file is part {} of {count}, so its name must end in {:?} for the others to be found",
            number + 1,
            end(number)
        );
        return Err(problem(path, told));
    };
    Ok((0..count).map(|number| path.with_file_name(format!("{stem}{}", end(number)))).collect())
}

fn integer(metadata: &Metadata, key: &str, path: &Path) -> Result<Option<u32>, ModelError> {
    metadata.u32_opt(key).map_err(|source| ModelError::File { path: path.to_path_buf(), source })
}

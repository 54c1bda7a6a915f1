//! The demo model, which travels inside the binary, so that a machine that reaches no hub has one as well.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::catalog::demo_entry;
use crate::error::HubError;
use crate::whole::appear;

/// What is typed to name the demo model.
pub const DEMO_MODEL: &str = "sconce-demo";

static FILE: &[u8] = include_bytes!("../../../models/demo/sconce-demo-q8_0.gguf");

/// The catalog's entry of the demo model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DemoEntry {
    /// SHA-256 of its file.
    pub(crate) sha256: String,
}

/// Puts the demo model's file below `cache`, unless the same one is there already, with its hash beside it as `sha256sum` writes
/// it. Another version lies in another folder.
///
/// # Errors
///
/// When the folder cannot be made or the file cannot be written.
pub fn demo_model(cache: &Path) -> Result<PathBuf, HubError> {
    let sha256 = demo_entry().map(|entry| entry.sha256.as_str()).unwrap_or_default();
    let folder = cache.join(format!("{DEMO_MODEL}-{}", &sha256[..sha256.len().min(12)]));
    let path = folder.join(format!("{DEMO_MODEL}.gguf"));
    if fs::read(&path).is_ok_and(|there| there == FILE) {
        return Ok(path);
    }
    fs::create_dir_all(&folder).map_err(HubError::disk(&folder, "cannot be made"))?;
    write(&path.with_added_extension("sha256"), format!("{sha256}  {DEMO_MODEL}.gguf\n").as_bytes())?;
    write(&path, FILE)?;
    Ok(path)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), HubError> {
    appear(path, |fresh| fs::write(fresh, bytes)).map_err(HubError::disk(path, "cannot be written"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partial::sha256_of;

    #[test]
    fn the_demo_model_is_what_the_catalog_says_and_is_mended_when_it_was_cut() {
        let cache = tempfile::tempdir().expect("a folder");
        let path = demo_model(cache.path()).expect("written");
        let wanted = &demo_entry().expect("an entry").sha256;
        assert_eq!(&sha256_of(&path).expect("a hash"), wanted);
        let record = fs::read_to_string(path.with_added_extension("sha256")).expect("a record");
        assert_eq!(record.split_whitespace().next(), Some(wanted.as_str()));
        fs::write(&path, &FILE[..1000]).expect("cut");
        assert_eq!(demo_model(cache.path()).expect("written again"), path);
        assert_eq!(&sha256_of(&path).expect("a hash"), wanted);
        let left = fs::read_dir(path.parent().expect("a folder")).expect("a listing").count();
        assert_eq!(left, 2, "nothing but the file and its record");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let cache = tempfile::tempdir().expect("a folder");
        let taken = cache.path().join("taken");
        fs::write(&taken, "a file").expect("written");
        let error = demo_model(&taken).expect_err("no folder").to_string();
        assert!(error.contains("taken"), "{error}");
    }
}

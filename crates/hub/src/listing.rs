//! What a repository says about itself: its commit and its files.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::HubError;
use crate::names::{Repository, is_safe_hash, is_safe_path, is_sha256};

/// A revision's commit and files, every name of which is safe.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) commit: String,
    pub(crate) files: BTreeMap<String, Listed>,
}

/// What the listing says about one file, as far as it does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed {
    pub(crate) size: Option<u64>,
    pub(crate) sha256: Option<String>,
}

#[derive(Deserialize)]
struct Wire {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    sha256: Option<String>,
}

impl Listing {
    /// Reads and checks an answer.
    pub(crate) fn parse(repository: &Repository, url: &str, body: &[u8]) -> Result<Self, HubError> {
        let wire: Wire = serde_json::from_slice(body).map_err(|error| HubError::Answer {
            url: url.to_owned(),
            reason: format!("it is not the description of a repository ({error})"),
        })?;
        let refuse = |what, name: &str| HubError::Unsafe {
            repository: repository.to_string(),
            what,
            name: name.chars().take(200).collect(),
        };
        if !is_safe_hash(&wire.sha) {
            return Err(refuse("commit", &wire.sha));
        }
        let mut files = BTreeMap::new();
        for sibling in wire.siblings {
            if !is_safe_path(&sibling.rfilename) {
                return Err(refuse("file", &sibling.rfilename));
            }
            let sha256 = sibling.lfs.and_then(|large| large.sha256).map(|hash| hash.to_lowercase());
            if let Some(hash) = sha256.as_deref().filter(|hash| !is_sha256(hash)) {
                return Err(refuse("SHA-256", hash));
            }
            files.insert(sibling.rfilename, Listed { size: sibling.size, sha256 });
        }
        Ok(Self { commit: wire.sha, files })
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }
}

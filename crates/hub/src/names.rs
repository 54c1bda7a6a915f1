//! What a user types, and what a server may call a file.

use std::collections::BTreeMap;
use std::fmt;

use crate::catalog::catalog;
use crate::error::HubError;

/// `org/name`, both of letters, digits, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository(String);

impl Repository {
    /// Reads `org/name`.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (organization, name) = text.split_once('/').ok_or("it has no '/' and is not in the catalog")?;
        let fits = |part: &str| {
            let ends = part.starts_with(['.', '-']) || part.ends_with(['.', '-']);
            let letters = part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            !part.is_empty() && part.len() <= 96 && letters && !ends && !part.contains("--") && !part.contains("..")
        };
        if fits(organization) && fits(name) { Ok(Self(text.to_owned())) } else { Err("a repository is org/name") }
    }

    /// The folder's name in a cache.
    pub(crate) fn folder(&self) -> String {
        format!("models--{}", self.0.replace('/', "--"))
    }

    /// The repository whose folder this is.
    pub(crate) fn of_folder(folder: &str) -> Option<Self> {
        let (organization, name) = folder.strip_prefix("models--")?.split_once("--")?;
        Self::parse(&format!("{organization}/{name}")).ok()
    }

    /// `org` and `name`.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A model by name: which repository, and what of it.
#[derive(Clone, Debug)]
pub struct Source {
    /// As it was typed.
    pub name: String,
    /// Where it is.
    pub repository: Repository,
    /// A file's name, or a word of it such as `Q4_K_M`, or `safetensors`.
    pub target: Option<String>,
    /// Of files of the catalog: their SHA-256, where it was recorded.
    pub sha256: BTreeMap<String, String>,
    /// Of models of the catalog.
    pub licence: Option<String>,
}

impl Source {
    /// Reads `REPO`, `REPO:FILE-or-quant`, or a name of the catalog.
    ///
    /// # Errors
    ///
    /// When it is none of them; the error lists the catalog.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        if let Some(model) = catalog().iter().find(|model| model.name.eq_ignore_ascii_case(text)) {
            return Ok(Self {
                name: model.name.clone(),
                repository: model.repository.clone(),
                target: model.target.clone(),
                sha256: model.sha256.clone(),
                licence: Some(model.licence.clone()),
            });
        }
        let (repository, target) = match text.split_once(':') {
            Some((repository, target)) => (repository, Some(target)),
            None => (text, None),
        };
        let wrong = |reason: &str| HubError::Name {
            text: text.to_owned(),
            reason: reason.to_owned(),
            known: catalog().iter().map(|model| model.name.clone()).collect(),
        };
        let repository = Repository::parse(repository).map_err(wrong)?;
        if target.is_some_and(|target| !is_safe_path(target)) {
            return Err(wrong("after ':' comes a file's name or a word of it"));
        }
        Ok(Self {
            name: text.to_owned(),
            repository,
            target: target.map(str::to_owned),
            sha256: BTreeMap::new(),
            licence: None,
        })
    }
}

/// Whether a server's name of a file stays below the folder that it is put into.
pub(crate) fn is_safe_path(name: &str) -> bool {
    let fits = |part: &str| !part.is_empty() && part != "." && part != ".." && part.len() <= 255;
    let letters = name.chars().all(|c| !c.is_control() && c != '\\');
    name.len() <= 1024 && letters && name.split('/').all(fits)
}

/// Whether it can be the name of one file: a commit, or an ETag without its quotes.
pub(crate) fn is_safe_hash(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    (7..=128).contains(&text.len()) && letters
}

/// Whether it is a SHA-256 in lower-case hexadecimal.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Whether a revision is a commit already, which needs no name in `refs`.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_a_repository_or_in_the_catalog() {
        let source = Source::parse("org/name.x:Q4_K_M").expect("a source");
        assert_eq!((source.repository.to_string().as_str(), source.target.as_deref()), ("org/name.x", Some("Q4_K_M")));
        assert_eq!(source.repository.folder(), "models--org--name.x");
        assert_eq!(Repository::of_folder("models--org--name.x"), Some(source.repository));
        for wrong in
            ["", "name", "/name", "org/", "a/b/c", "../b", "a/..", "org/na me", "o--g/n", "org/n:", "org/n:../x"]
        {
            let error = Source::parse(wrong).expect_err(wrong).to_string();
            assert!(error.contains("llama-3.2-1b-instruct"), "{error}");
        }
    }

    #[test]
    fn names_that_lead_out_of_a_folder_are_not_safe() {
        for safe in ["config.json", "Q4/model-00001-of-00002.gguf", "..x", "a b.gguf"] {
            assert!(is_safe_path(safe), "{safe}");
        }
        for wrong in ["", "/etc/passwd", "../x", "a/../b", "a//b", ".", "a/.", "a\\..\\b", "a\0b", "a\nb"] {
            assert!(!is_safe_path(wrong), "{wrong:?}");
        }
        for wrong in ["", "abc", "../../etc/passwd", "a/bcdefgh", "abcdefg.lock", &"a".repeat(129)] {
            assert!(!is_safe_hash(wrong), "{wrong:?}");
        }
    }
}

//! `models/catalog.toml`, which travels inside the binary: models by short names, and the hashes of their files once known.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer};

use crate::demo::DemoEntry;
use crate::names::Repository;

/// A model with a short name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogModel {
    /// What is typed.
    pub name: String,
    /// Where it is.
    #[serde(deserialize_with = "repository")]
    pub repository: Repository,
    /// A file's name or a word of it; without it the default pick.
    #[serde(default)]
    pub target: Option<String>,
    /// Under which licence its owner gives it.
    pub licence: String,
    /// SHA-256 of files by name, for those that were pulled and checked.
    #[serde(default)]
    pub sha256: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalog {
    demo: DemoEntry,
    model: Vec<CatalogModel>,
}

fn repository<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Repository, D::Error> {
    Repository::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

static CATALOG: LazyLock<Option<Catalog>> = LazyLock::new(|| read().ok());

fn read() -> Result<Catalog, toml::de::Error> {
    toml::from_str(include_str!("../../../models/catalog.toml"))
}

/// Every model of the catalog, in its order.
pub fn catalog() -> &'static [CatalogModel] {
    CATALOG.as_ref().map_or(&[], |catalog| &catalog.model)
}

/// The entry of the demo model.
pub(crate) fn demo_entry() -> Option<&'static DemoEntry> {
    CATALOG.as_ref().map(|catalog| &catalog.demo)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::names::{is_safe_path, is_sha256};

    #[test]
    fn the_catalog_is_well_formed() {
        let Catalog { demo, model: models } = read().expect("the file that travels in the binary");
        assert!(is_sha256(&demo.sha256), "{}", demo.sha256);
        let names: BTreeSet<&str> = models.iter().map(|model| model.name.as_str()).collect();
        assert_eq!(names.len(), models.len(), "each name once");
        for model in &models {
            assert!(!model.name.contains(['/', ':']) && model.name == model.name.to_lowercase(), "{}", model.name);
            assert!(model.target.as_deref().is_none_or(is_safe_path), "{}", model.name);
            for (file, sha256) in &model.sha256 {
                assert!(is_safe_path(file) && is_sha256(sha256), "{}: {file} = {sha256}", model.name);
            }
        }
    }
}

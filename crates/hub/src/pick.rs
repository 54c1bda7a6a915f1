//! Which files of a repository make a model. Pure: names in, names out.

use std::collections::BTreeMap;

use crate::error::HubError;

/// What is taken from a GGUF repository when nothing else is said.
const DEFAULT_QUANTIZATION: &str = "Q4_K_M";

/// Beside the weights, what a safetensors model needs or may use.
const COMPANIONS: &[&str] = &["config.json", "chat_template.json", "chat_template.jinja"];

/// The files of one model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// Every part of one GGUF model, in order.
    Gguf(Vec<String>),
    /// Configuration, tokenizer and weights, which lie in the repository's root.
    Safetensors(Vec<String>),
}

impl Pick {
    pub(crate) fn files(&self) -> &[String] {
        match self {
            Self::Gguf(files) | Self::Safetensors(files) => files,
        }
    }
}

/// Chooses: a file by its name, a GGUF model by a word of its name, `safetensors`, or by default `Q4_K_M`.
pub(crate) fn pick(repository: &str, files: &[String], target: Option<&str>) -> Result<Pick, HubError> {
    let models = gguf_models(files);
    match target {
        Some(word) if word.eq_ignore_ascii_case("safetensors") => safetensors(repository, files),
        Some(word) => gguf(repository, files, &models, word),
        None if models.is_empty() => safetensors(repository, files),
        None if models.len() == 1 => whole(repository, models.into_values().next().unwrap_or_default()),
        None => gguf(repository, files, &models, DEFAULT_QUANTIZATION),
    }
}

/// One part of a model, of how many; 1 of 1 when it is not split.
#[derive(Clone, Debug, Default)]
struct Part {
    number: u32,
    of: u32,
    file: String,
}

/// GGUF models by their names without the part. Projectors of images and importance matrices are none.
fn gguf_models(files: &[String]) -> BTreeMap<String, Vec<Part>> {
    let mut models: BTreeMap<String, Vec<Part>> = BTreeMap::new();
    for file in files {
        let Some(stem) = file.strip_suffix(".gguf") else { continue };
        let last = stem.rsplit('/').next().unwrap_or(stem).to_lowercase();
        if last.contains("mmproj") || last.contains("imatrix") {
            continue;
        }
        let (name, number, of) = split(stem).unwrap_or((stem, 1, 1));
        models.entry(format!("{name}.gguf")).or_default().push(Part { number, of, file: file.clone() });
    }
    models
}

/// `name-00001-of-00002` as (`name`, 1, 2).
fn split(stem: &str) -> Option<(&str, u32, u32)> {
    let (rest, of) = stem.rsplit_once("-of-")?;
    let (name, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| (text.len() == 5).then(|| text.parse().ok())?;
    Some((name, digits(number)?, digits(of)?))
}

fn gguf(
    repository: &str,
    files: &[String],
    models: &BTreeMap<String, Vec<Part>>,
    word: &str,
) -> Result<Pick, HubError> {
    let named = models.iter().find(|(name, parts)| *name == word || parts.iter().any(|part| part.file == word));
    if let Some((_, parts)) = named {
        return whole(repository, parts.clone());
    }
    let found: Vec<&String> = models.keys().filter(|name| has_word(name, word)).collect();
    let choice = |reason: String, files: Vec<String>| HubError::Choice { repository: repository.into(), reason, files };
    match found.as_slice() {
        [one] => whole(repository, models[*one].clone()),
        [] if models.is_empty() => Err(choice(format!("there is no GGUF file to be {word:?}"), files.to_vec())),
        [] => Err(choice(format!("no GGUF model is {word:?}"), models.keys().cloned().collect())),
        several => {
            let names = several.iter().map(|name| (*name).clone()).collect();
            Err(choice(format!("{} GGUF models are {word:?}", several.len()), names))
        }
    }
}

/// Whether a word such as `Q4_K` is in a name, and not only the beginning of `Q4_K_M` or the end of `IQ4_K`.
fn has_word(name: &str, word: &str) -> bool {
    let (name, word) = (name.to_lowercase(), word.to_lowercase());
    name.match_indices(&word).any(|(start, found)| {
        let before = name[..start].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        let after = name[start + found.len()..].chars().next().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        before && after
    })
}

/// The parts in order, if they are all there.
fn whole(repository: &str, mut parts: Vec<Part>) -> Result<Pick, HubError> {
    parts.sort_by_key(|part| part.number);
    let of = parts.first().map_or(0, |part| part.of) as usize;
    let complete = parts.len() == of && parts.iter().zip(1..).all(|(part, number)| part.number == number);
    let files: Vec<String> = parts.into_iter().map(|part| part.file).collect();
    if complete {
        return Ok(Pick::Gguf(files));
    }
    let reason = format!("a split model should have {of} parts, and not all of them are there");
    Err(HubError::Choice { repository: repository.to_owned(), reason, files })
}

fn safetensors(repository: &str, files: &[String]) -> Result<Pick, HubError> {
    let in_root: Vec<&String> = files.iter().filter(|file| !file.contains('/')).collect();
    let weights = |file: &&&String| file.ends_with(".safetensors");
    // Some repositories hold the same weights twice, the second time in their owner's own layout.
    let standard = |file: &&&String| file.starts_with("model") && weights(file);
    let has_standard = in_root.iter().any(|file| standard(&file));
    let taken = |file: &&&String| {
        let tokenizer = file.starts_with("tokenizer") && file.ends_with(".json");
        let index = file.ends_with(".safetensors.index.json");
        let companion = COMPANIONS.contains(&file.as_str());
        let weight = if has_standard { standard(file) } else { weights(file) };
        tokenizer || index || companion || weight
    };
    let picked: Vec<String> = in_root.iter().filter(taken).map(|file| (*file).clone()).collect();
    let complete = picked.iter().any(|file| file == "config.json") && in_root.iter().any(|file| weights(&file));
    if complete {
        return Ok(Pick::Safetensors(picked));
    }
    let reason = "there is no model in it, neither GGUF files nor config.json with safetensors".to_owned();
    Err(HubError::Choice { repository: repository.to_owned(), reason, files: files.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str]) -> Vec<String> {
        files.iter().map(|file| (*file).to_owned()).collect()
    }

    fn picked(files: &[&str], target: Option<&str>) -> Result<Vec<String>, String> {
        pick("o/n", &names(files), target).map(|pick| pick.files().to_vec()).map_err(|error| error.to_string())
    }

    const QUANTS: &[&str] =
        &["README.md", "m-IQ4_K.gguf", "m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "m-f16.gguf", "mmproj-m-Q4_K_M.gguf"];

    #[test]
    fn one_gguf_file_is_taken_and_of_several_the_usual_one_or_the_one_that_is_named() {
        assert_eq!(picked(&["a.gguf"], None), Ok(names(&["a.gguf"])));
        assert_eq!(picked(QUANTS, None), Ok(names(&["m-Q4_K_M.gguf"])));
        assert_eq!(picked(QUANTS, Some("q4_k_s")), Ok(names(&["m-Q4_K_S.gguf"])));
        assert_eq!(picked(QUANTS, Some("m-f16.gguf")), Ok(names(&["m-f16.gguf"])));
        let none = picked(QUANTS, Some("Q4_K")).expect_err("a beginning is no word");
        assert!(none.contains("m-Q4_K_S.gguf") && none.contains("o/n:FILE"), "{none}");
        let several = picked(&["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"], None).expect_err("ambiguous");
        assert!(several.contains("2 GGUF models") && several.contains("b-Q4_K_M.gguf"), "{several}");
    }

    #[test]
    fn a_split_model_is_all_its_parts() {
        let parts = ["q/m-Q8_0-00002-of-00002.gguf", "q/m-Q8_0-00001-of-00002.gguf", "m-Q4_K_M.gguf"];
        let both = names(&["q/m-Q8_0-00001-of-00002.gguf", "q/m-Q8_0-00002-of-00002.gguf"]);
        for target in ["Q8_0", parts[0], "q/m-Q8_0.gguf"] {
            assert_eq!(picked(&parts, Some(target)), Ok(both.clone()), "{target}");
        }
        let missing = picked(&parts[..1], None).expect_err("a part is missing");
        assert!(missing.contains("2 parts"), "{missing}");
        assert!(picked(&["m-00000-of-00001.gguf"], None).is_err());
    }

    #[test]
    fn a_safetensors_model_is_configuration_tokenizer_and_weights_once() {
        let files = [
            "README.md",
            "config.json",
            "consolidated.safetensors",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "original/params.json",
            "tokenizer.json",
            "tokenizer.model",
            "tokenizer_config.json",
            "chat_template.jinja",
            "run.py",
        ];
        let picked = picked(&files, None).expect("a model");
        let wanted = [files[1], files[3], files[4], files[5], files[7], files[9], files[10]];
        assert_eq!(picked, names(&wanted));
        let other = super::pick("o/n", &names(&["config.json", "weights.safetensors"]), Some("safetensors"));
        assert_eq!(other.expect("a model").files().len(), 2);
        assert!(super::pick("o/n", &names(&["config.json"]), None).is_err());
    }
}

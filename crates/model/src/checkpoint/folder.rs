//! A folder as models are published: `config.json`, safetensors files, and the tokenizer's files beside them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sconce_kernels::WeightType;

use super::names::{Named, gguf_name};
use super::safetensors::StoredTensor;
use super::settings::Settings;
use super::{Bytes, Checkpoint, Place, architecture, problem, safetensors};
use crate::error::ModelError;
use crate::gguf::TensorInfo;

/// The largest file of JSON that is read.
const MAX_COMPANION_BYTES: u64 = 64 << 20;

/// Most files of weights.
const MAX_FILES: usize = 1 << 10;

/// The list of a checkpoint's files.
const INDEX: &str = "model.safetensors.index.json";

/// Opens a folder.
///
/// # Errors
/// The file that is missing or wrong, with the key or tensor.
pub(super) fn open(path: &Path) -> Result<Checkpoint, ModelError> {
    let config_path = path.join("config.json");
    let Some(config) = companion(path, "config.json")? else {
        let told =
            "the folder has no config.json: a model is a GGUF file, or a folder with config.json and safetensors";
        return Err(problem(path, told.to_string()));
    };
    let described = architecture::describe(&Settings::parse(&config_path, &config)?)?;
    let mut files = Vec::new();
    let mut tensors = Vec::new();
    for weights in weight_files(path)? {
        let (file, stored) = safetensors::open(&weights.path)?;
        let names: BTreeSet<&str> = stored.iter().map(|tensor| tensor.name.as_str()).collect();
        if let Some(missing) = weights.promised.iter().find(|name| !names.contains(name.as_str())) {
            return Err(problem(&weights.path, format!("tensor {missing:?} is missing, but {INDEX} says it is here")));
        }
        for tensor in stored {
            if let Some(named) = place(tensor, files.len(), &described).map_err(|told| problem(&weights.path, told))? {
                tensors.push(named);
            }
        }
        files.push(file);
    }
    for (name, factors) in &described.factors {
        let bytes: Vec<u8> = factors.iter().flat_map(|factor| factor.to_le_bytes()).collect();
        let info = info(name.to_string(), vec![factors.len()], WeightType::F32, bytes.len());
        let place = Place { stored: WeightType::F32, bytes: Bytes::Made(bytes), interleaved_heads: None };
        tensors.push((info, place));
    }
    let has_output = tensors.iter().any(|(info, _)| info.name == "output.weight");
    match described.tied {
        // A tied output is the embedding, whatever else a file holds.
        Some(true) => tensors.retain(|(info, _)| info.name != "output.weight"),
        Some(false) if !has_output => {
            let told = "tie_word_embeddings is false, but no file holds lm_head.weight".to_string();
            return Err(problem(&config_path, told));
        }
        _ => {}
    }
    Checkpoint::assemble(path, files, described.metadata, tensors)
}

/// The bytes of a file of the folder, or `None` when there is none.
///
/// # Errors
/// When it cannot be read, or is larger than any that is meant.
pub(super) fn companion(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, ModelError> {
    let path = folder.join(name);
    let io = |source| ModelError::Io { path: path.clone(), source };
    let kind = match std::fs::metadata(&path) {
        Ok(kind) => kind,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    if !kind.is_file() {
        return Err(ModelError::NotAFile { path });
    }
    let mut bytes = Vec::new();
    File::open(&path).and_then(|file| file.take(MAX_COMPANION_BYTES + 1).read_to_end(&mut bytes)).map_err(io)?;
    if bytes.len() as u64 > MAX_COMPANION_BYTES {
        return Err(problem(&path, format!("larger than {} MiB, the most that is read", MAX_COMPANION_BYTES >> 20)));
    }
    Ok(Some(bytes))
}

/// A file of weights, and the tensors that the index promises in it.
struct WeightFile {
    path: PathBuf,
    promised: BTreeSet<String>,
}

fn weight_files(folder: &Path) -> Result<Vec<WeightFile>, ModelError> {
    let index_path = folder.join(INDEX);
    let Some(index) = companion(folder, INDEX)? else {
        let path = folder.join("model.safetensors");
        if !path.exists() {
            let told = format!("the folder has neither model.safetensors nor {INDEX}");
            return Err(problem(folder, told));
        }
        return Ok(vec![WeightFile { path, promised: BTreeSet::new() }]);
    };
    let index = Settings::parse(&index_path, &index)?;
    let map = index.object("weight_map")?.ok_or_else(|| index.wrong("weight_map is missing".to_string()))?;
    let mut files = std::collections::BTreeMap::<&str, BTreeSet<String>>::new();
    let pairs = map.text_pairs()?;
    for (tensor, file) in &pairs {
        // A name with a folder in it would lead out of this one.
        if Path::new(file).file_name().and_then(|name| name.to_str()) != Some(*file) || !file.ends_with(".safetensors")
        {
            return Err(index.wrong(format!("weight_map: {file:?} is no name of a safetensors file beside it")));
        }
        files.entry(file).or_default().insert((*tensor).to_string());
    }
    if files.is_empty() || files.len() > MAX_FILES {
        return Err(index.wrong(format!("weight_map names {} files, must be 1 to {MAX_FILES}", files.len())));
    }
    let file = |(name, promised)| WeightFile { path: folder.join(name), promised };
    Ok(files.into_iter().map(file).collect())
}

/// A stored tensor under GGUF's name; `None` when it is left out.
fn place(
    tensor: StoredTensor,
    file: usize,
    described: &architecture::Described,
) -> Result<Option<(TensorInfo, Place)>, String> {
    let name = match gguf_name(&tensor.name) {
        Named::As(name) => name,
        Named::LeftOut => return Ok(None),
        Named::Unknown => {
            let short: String = tensor.name.chars().take(80).collect();
            return Err(format!("tensor {short:?} has no place in a model of the supported architectures"));
        }
    };
    if tensor.shape.len() > 2 {
        return Err(format!("tensor {name:?} has {} dimensions, must have 1 or 2", tensor.shape.len()));
    }
    let part = name.strip_prefix("blk.").and_then(|rest| rest.split('.').nth(1)).unwrap_or_default();
    let heads = match (described.interleaved, part) {
        (Some((queries, _)), "attn_q") => Some(queries),
        (Some((_, keys)), "attn_k") => Some(keys),
        _ => None,
    };
    if let Some(heads) = heads
        && !tensor.shape[0].is_multiple_of(2 * heads)
    {
        return Err(format!("tensor {name:?} has {} rows, must be {heads} heads of even length", tensor.shape[0]));
    }
    let mut dimensions: Vec<usize> = tensor.shape.into_iter().rev().collect();
    if dimensions.len() == 2 && dimensions[1] == 1 {
        dimensions.pop();
    }
    let bytes = tensor.range.len();
    let place = Place {
        stored: tensor.weight_type,
        bytes: Bytes::Mapped { file, range: tensor.range },
        interleaved_heads: heads.filter(|_| name.ends_with(".bias") || dimensions.len() == 2),
    };
    Ok(Some((info(name, dimensions, tensor.weight_type, bytes), place)))
}

fn info(name: String, dimensions: Vec<usize>, weight_type: WeightType, bytes: usize) -> TensorInfo {
    TensorInfo { name, dimensions, weight_type, offset: 0, bytes: bytes as u64 }
}

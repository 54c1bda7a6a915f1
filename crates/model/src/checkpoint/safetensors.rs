//! The header of a safetensors file, checked: a JSON object of types, shapes and byte ranges that tile the data exactly.

use std::ops::Range;
use std::path::Path;

use sconce_kernels::WeightType;
use serde_json::Value;

use super::map::MappedFile;
use super::problem;
use crate::error::ModelError;

/// The longest header that is read; that of a model of 100,000 tensors takes 20 MiB.
const MAX_HEADER_BYTES: u64 = 64 << 20;

/// A tensor of a file.
#[derive(Debug)]
pub(super) struct StoredTensor {
    /// The name in the file.
    pub(super) name: String,
    /// Lengths, the slowest-moving first, as in the file.
    pub(super) shape: Vec<usize>,
    pub(super) weight_type: WeightType,
    /// Bytes of the file.
    pub(super) range: Range<usize>,
}

/// Maps a file and checks its header.
///
/// # Errors
/// The file, with the tensor that is wrong.
pub(super) fn open(path: &Path) -> Result<(MappedFile, Vec<StoredTensor>), ModelError> {
    let file = MappedFile::open(path)?;
    let tensors = parse(file.bytes()).map_err(|told| problem(path, told))?;
    Ok((file, tensors))
}

fn parse(file: &[u8]) -> Result<Vec<StoredTensor>, String> {
    let Some((length, rest)) = file.split_first_chunk::<8>() else {
        return Err("not a safetensors file: it is shorter than 8 bytes".to_string());
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES || length > rest.len() as u64 {
        let most = MAX_HEADER_BYTES.min(rest.len() as u64);
        return Err(format!(
            "the header's length is {length}, at most {most} is possible; truncated, or no safetensors"
        ));
    }
    let (header, data) = rest.split_at(length as usize);
    let header: Value = serde_json::from_slice(header).map_err(|error| format!("the header is not JSON: {error}"))?;
    let Value::Object(entries) = header else { return Err("the header is not a JSON object".to_string()) };
    let mut tensors = Vec::new();
    for (name, entry) in entries {
        if name != "__metadata__" {
            let start = 8 + length as usize;
            tensors.push(read(name, &entry, start, data.len())?);
        }
    }
    tensors.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
    check_tiling(&tensors, 8 + length as usize, file.len())?;
    Ok(tensors)
}

/// Reads an entry; `start` is the first byte of tensor data in the file, which has `data` bytes of it.
fn read(name: String, entry: &Value, start: usize, data: usize) -> Result<StoredTensor, String> {
    let wrong = |what: &str| format!("tensor {:?}: {what}", shortened(&name));
    let dtype = entry["dtype"].as_str().ok_or_else(|| wrong("dtype is missing"))?;
    let weight_type = match dtype {
        "F32" => WeightType::F32,
        "F16" => WeightType::F16,
        "BF16" => WeightType::BF16,
        other => {
            let told = format!("dtype {:?} is not supported; F32, F16 and BF16 are", shortened(other));
            return Err(wrong(&told));
        }
    };
    let numbers = |field: &str| -> Result<Vec<usize>, String> {
        let list = entry[field].as_array().ok_or_else(|| wrong(&format!("{field} is missing")))?;
        let number = |value: &Value| value.as_u64().and_then(|value| usize::try_from(value).ok());
        list.iter().map(|value| number(value).ok_or_else(|| wrong(&format!("{field} is no list of lengths")))).collect()
    };
    let shape = numbers("shape")?;
    if shape.is_empty() || shape.len() > 8 || shape.contains(&0) {
        return Err(wrong("its shape must have 1 to 8 lengths, each at least 1"));
    }
    let &[begin, end] = numbers("data_offsets")?.as_slice() else {
        return Err(wrong("data_offsets must be two numbers"));
    };
    if begin > end || end > data {
        return Err(wrong(&format!(
            "data_offsets {begin} to {end} do not lie in the {data} bytes of data; truncated?"
        )));
    }
    let bytes = shape.iter().try_fold(weight_type.block_bytes(), |bytes, length| bytes.checked_mul(*length));
    if bytes != Some(end - begin) {
        return Err(wrong(&format!(
            "its shape {shape:?} of {dtype} does not take the {} bytes that it has",
            end - begin
        )));
    }
    Ok(StoredTensor { name, shape, weight_type, range: start + begin..start + end })
}

/// The format wants data without holes: a hole or an overlap would hide something.
fn check_tiling(tensors: &[StoredTensor], start: usize, end: usize) -> Result<(), String> {
    let mut position = start;
    for tensor in tensors {
        if tensor.range.start != position {
            let name = shortened(&tensor.name);
            return Err(format!("tensor {name:?} overlaps another or leaves a hole before it; the file is damaged"));
        }
        position = tensor.range.end;
    }
    if position != end {
        return Err(format!("{} bytes behind the last tensor belong to none; the file is damaged", end - position));
    }
    Ok(())
}

/// As much of a name as a message needs.
fn shortened(name: &str) -> String {
    name.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    #[test]
    fn a_valid_header_gives_its_tensors_in_the_order_of_their_bytes() {
        let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2],"data_offsets":[24,28]},
            "a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
        let tensors = parse(&file(header, 28)).unwrap();
        let names: Vec<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(tensors[0].shape, [2, 3]);
        assert_eq!(tensors[1].range, 8 + header.len() + 24..8 + header.len() + 28);
    }

    #[test]
    fn every_wrong_header_is_refused_with_a_reason() {
        let one = |entry: &str, data| file(&format!("{{\"a\":{entry}}}"), data);
        let cases = [
            (vec![1, 2, 3], "shorter than 8"),
            (u64::MAX.to_le_bytes().to_vec(), "header's length"),
            (file("[]", 0), "not a JSON object"),
            (file("{", 0), "not JSON"),
            (one("7", 0), "dtype is missing"),
            (one(r#"{"dtype":"I64","shape":[1],"data_offsets":[0,8]}"#, 8), "not supported"),
            (one(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,8]}"#, 8), "does not take"),
            (one(r#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#, 0), "at least 1"),
            (one(r#"{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#, 4), "no list of lengths"),
            (one(r#"{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}"#, 4), "does not take"),
            (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#, 4), "do not lie"),
            (one(r#"{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#, 8), "hole"),
            (one(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#, 8), "belong to none"),
            (one(r#"{"dtype":"F32","shape":[1],"data_offsets":[0]}"#, 8), "two numbers"),
        ];
        for (bytes, expected) in cases {
            let told = parse(&bytes).unwrap_err();
            assert!(told.contains(expected), "{told} lacks {expected}");
        }
    }
}

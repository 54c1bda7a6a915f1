//! The tensor infos of a GGUF file, validated so that every tensor's bytes lie inside the file, aligned and apart.

use std::collections::HashSet;

use sconce_kernels::WeightType;

use super::cursor::Cursor;
use super::error::GgufError;
use super::types::{type_name, weight_type_of};

/// Most tensors of one file.
const MAX_TENSORS: usize = 1 << 17;

/// The longest name of a tensor: four times what ggml allows.
const MAX_NAME_BYTES: usize = 256;

/// Most dimensions of a tensor, as in ggml.
const MAX_DIMENSIONS: usize = 4;

/// A tensor's place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Unique in the file.
    pub name: String,
    /// Lengths, the fastest-moving first as in the file: a weight is `[inputs, outputs]`. At least one, and without the
    /// ones at the end that some writers add: they change nothing, so a weight with one output is `[inputs]`.
    pub dimensions: Vec<usize>,
    /// The element type.
    pub weight_type: WeightType,
    /// First byte, counted from the beginning of the tensor data.
    pub offset: u64,
    /// Bytes that the tensor takes.
    pub bytes: u64,
}

impl TensorInfo {
    /// The layer that the tensor belongs to, by its name `blk.LAYER.…`.
    pub(crate) fn layer(&self) -> Option<usize> {
        self.name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
    }

    /// Whether the tensor has this shape, whatever ones stand at its end.
    pub(crate) fn has_shape(&self, expected: &[usize]) -> bool {
        self.dimensions == significant(expected)
    }
}

/// The lengths without the ones at the end; the first always stays.
fn significant(dimensions: &[usize]) -> &[usize] {
    let count = dimensions.iter().rposition(|length| *length != 1).map_or(1, |last| last + 1);
    &dimensions[..count.min(dimensions.len())]
}

/// Reads the number of tensors that the header promises.
pub(super) fn read_count(cursor: &mut Cursor<'_>) -> Result<usize, GgufError> {
    // An info is at least a name length, a dimension count, one dimension, a type and an offset.
    cursor.count(32, MAX_TENSORS, &|| "number of tensors".to_string())
}

/// Reads one info and checks what can be checked without the others.
pub(super) fn read_info(cursor: &mut Cursor<'_>, index: usize, alignment: u64) -> Result<TensorInfo, GgufError> {
    let name = cursor.text(MAX_NAME_BYTES, &|| format!("name of tensor {index}"))?;
    let invalid = |what: &str, value: String, expected: String| GgufError::Invalid {
        field: format!("tensor {name:?}: {what}"),
        value,
        expected,
    };
    let count = cursor.u32(&|| format!("tensor {name:?}: number of dimensions"))? as usize;
    if !(1..=MAX_DIMENSIONS).contains(&count) {
        return Err(invalid("number of dimensions", count.to_string(), "from 1 to 4".to_string()));
    }
    let mut dimensions = Vec::with_capacity(count);
    for dimension in 0..count {
        let length = cursor.u64(&|| format!("tensor {name:?}: dimension {dimension}"))?;
        match usize::try_from(length) {
            Ok(length) if length > 0 => dimensions.push(length),
            _ => return Err(invalid("a dimension", length.to_string(), "at least 1".to_string())),
        }
    }
    dimensions.truncate(significant(&dimensions).len());
    let type_id = cursor.u32(&|| format!("tensor {name:?}: element type"))?;
    let Some(weight_type) = weight_type_of(type_id) else {
        return Err(GgufError::TensorType { tensor: name, type_id, type_name: type_name(type_id) });
    };
    let offset = cursor.u64(&|| format!("tensor {name:?}: offset"))?;
    if !offset.is_multiple_of(alignment) {
        return Err(invalid("offset", offset.to_string(), format!("a multiple of the alignment {alignment}")));
    }
    let block = weight_type.block_elements();
    if !dimensions[0].is_multiple_of(block) {
        let expected = format!("a multiple of {block}, the block of {}", type_name(type_id));
        return Err(invalid("first dimension", dimensions[0].to_string(), expected));
    }
    let bytes = dimensions[1..]
        .iter()
        .try_fold(dimensions[0] / block, |blocks, length| blocks.checked_mul(*length))
        .and_then(|blocks| blocks.checked_mul(weight_type.block_bytes()))
        .and_then(|bytes| u64::try_from(bytes).ok());
    match bytes {
        Some(bytes) => Ok(TensorInfo { name, dimensions, weight_type, offset, bytes }),
        None => Err(invalid("size", format!("the product of {dimensions:?}"), "a number of 64 bits".to_string())),
    }
}

/// Checks the infos against each other and against the file, whose data begin behind the header at `data_offset`.
pub(super) fn check_layout(infos: &[TensorInfo], data_offset: u64, file_bytes: u64) -> Result<(), GgufError> {
    let data_bytes = file_bytes.saturating_sub(data_offset);
    let mut names = HashSet::new();
    for info in infos {
        if !names.insert(info.name.as_str()) {
            return Err(GgufError::Duplicate { kind: "tensor", name: info.name.clone() });
        }
        let end = info.offset.checked_add(info.bytes);
        if end.is_none_or(|end| end > data_bytes) {
            return Err(GgufError::Truncated {
                field: format!("data of tensor {:?}", info.name),
                at: file_bytes,
                needed: end.unwrap_or(u64::MAX) - data_bytes,
            });
        }
    }
    let mut ordered: Vec<&TensorInfo> = infos.iter().collect();
    ordered.sort_by_key(|info| info.offset);
    for pair in ordered.windows(2) {
        // Neither sum can overflow: each end was found to lie inside the file.
        if pair[0].offset + pair[0].bytes > pair[1].offset {
            return Err(GgufError::Overlap { first: pair[0].name.clone(), second: pair[1].name.clone() });
        }
    }
    Ok(())
}

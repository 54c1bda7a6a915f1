//! What can be wrong with a GGUF file. Every message names the field and says what stands there.

use thiserror::Error;

/// Why a file is refused.
#[derive(Debug, Error)]
pub enum GgufError {
    /// The file does not begin with "GGUF".
    #[error("not a GGUF file: it begins with {found:?} instead of \"GGUF\"")]
    Magic {
        /// The first bytes, as text.
        found: String,
    },
    /// A version that is not read.
    #[error("GGUF version {version} is not supported; versions 2 and 3 are (a big-endian file shows a huge version)")]
    Version {
        /// The number in the file.
        version: u32,
    },
    /// The file ends inside a field.
    #[error(
        "{field}: the file ends at byte {at}, {needed} more bytes are needed; it was cut or damaged, so fetch it again"
    )]
    Truncated {
        /// The field that was being read.
        field: String,
        /// Where the field begins.
        at: u64,
        /// Bytes that the field needs.
        needed: u64,
    },
    /// A count or length that is larger than the file or our limit allows.
    #[error(
        "{field}: {value} is more than {limit}, the most that is possible here; if the file was cut or damaged, fetch it again"
    )]
    TooLarge {
        /// The field.
        field: String,
        /// The number in the file.
        value: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// Text that is not UTF-8.
    #[error("{field}: not UTF-8 text")]
    NotText {
        /// The field.
        field: String,
    },
    /// A metadata value type that does not exist.
    #[error("metadata key {key:?}: unknown value type {value_type}")]
    ValueType {
        /// The key.
        key: String,
        /// The number in the file.
        value_type: u32,
    },
    /// An array of arrays.
    #[error("metadata key {key:?}: nested arrays are not supported")]
    NestedArray {
        /// The key.
        key: String,
    },
    /// A number that its field cannot have.
    #[error("{field}: {value} is invalid, it must be {expected}")]
    Invalid {
        /// The field.
        field: String,
        /// What stands there.
        value: String,
        /// What may stand there.
        expected: String,
    },
    /// A key or tensor that stands in the file twice.
    #[error("{kind} {name:?} stands in the file twice")]
    Duplicate {
        /// "metadata key" or "tensor".
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A tensor type that the kernels do not compute with.
    #[error("tensor {tensor:?}: element type {type_id} ({type_name}) is not supported")]
    TensorType {
        /// The tensor.
        tensor: String,
        /// The number in the file.
        type_id: u32,
        /// Its name.
        type_name: &'static str,
    },
    /// Two tensors share bytes.
    #[error("tensors {first:?} and {second:?} overlap in the file")]
    Overlap {
        /// The tensor that begins first.
        first: String,
        /// The tensor that begins inside of it.
        second: String,
    },
    /// A metadata key that is needed.
    #[error("metadata key {key:?} is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata key of another type.
    #[error("metadata key {key:?} is {actual}, expected {expected}")]
    KeyType {
        /// The key.
        key: String,
        /// The type that is needed.
        expected: &'static str,
        /// The type, or the value, in the file.
        actual: String,
    },
    /// A tensor that is needed.
    #[error("tensor {name:?} is missing")]
    MissingTensor {
        /// The name.
        name: String,
    },
}

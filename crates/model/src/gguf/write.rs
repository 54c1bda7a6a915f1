//! A writer of GGUF version 3: header at once, tensor data streamed in order, aligned. Never holds a tensor.
//! What the keys and tensors mean is not known here.

use std::collections::HashSet;
use std::io::{self, Write};

use sconce_kernels::WeightType;

use super::types::type_id;

/// Bytes on which tensor data is aligned.
const ALIGNMENT: u64 = 32;

/// A metadata value with the exact type that goes into the file.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteValue {
    /// Unsigned, 32 bits.
    U32(u32),
    /// Signed, 32 bits.
    I32(i32),
    /// Unsigned, 64 bits.
    U64(u64),
    /// Signed, 64 bits.
    I64(i64),
    /// Float, 32 bits.
    F32(f32),
    /// Float, 64 bits.
    F64(f64),
    /// Truth value.
    Bool(bool),
    /// UTF-8 text.
    Text(String),
    /// Array of signed, 32 bits.
    I32Array(Vec<i32>),
    /// Array of floats, 32 bits.
    F32Array(Vec<f32>),
    /// Array of texts.
    TextArray(Vec<String>),
}

/// A tensor that is going to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteTensor {
    /// Unique in the file.
    pub name: String,
    /// Lengths, the fastest-moving first: a weight is `[inputs, outputs]`.
    pub dimensions: Vec<usize>,
    /// The element type.
    pub weight_type: WeightType,
}

impl WriteTensor {
    /// Bytes of data; `None` when a row is not a whole number of blocks or the product does not fit.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let (first, rest) = self.dimensions.split_first()?;
        let block = self.weight_type.block_elements();
        let row = first.is_multiple_of(block).then_some(first / block)?.checked_mul(self.weight_type.block_bytes())?;
        let bytes = rest.iter().try_fold(row, |bytes, length| bytes.checked_mul(*length))?;
        u64::try_from(bytes).ok()
    }
}

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum GgufWriteError {
    /// The destination refuses bytes.
    #[error("writing failed: {0}")]
    Io(#[from] io::Error),
    /// Two tensors or keys of one name.
    #[error("{name:?} would be written twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A shape that its element type cannot have.
    #[error("tensor {name:?} of shape {dimensions:?} cannot be cut into blocks of {block} elements")]
    Shape {
        /// The tensor.
        name: String,
        /// Its lengths.
        dimensions: Vec<usize>,
        /// Elements of a block of its type.
        block: usize,
    },
    /// More data than the tensors have.
    #[error("more tensor data was given than the tensors hold")]
    TooMuchData,
    /// Less data than the tensors have.
    #[error("tensor {name:?} lacks {missing} bytes")]
    Unfinished {
        /// The first tensor that is not complete.
        name: String,
        /// Bytes that it lacks.
        missing: u64,
    },
}

/// A GGUF file in the making: the header is written, tensor data is expected in the order of the tensors.
#[derive(Debug)]
pub struct GgufWriter<Output> {
    output: Output,
    /// Names and bytes, the next one first.
    tensors: std::vec::IntoIter<(String, u64)>,
    /// The tensor that is being written, and what it lacks.
    current: Option<(String, u64)>,
    /// What was written of it.
    written: u64,
}

impl<Output: Write> GgufWriter<Output> {
    /// Writes the header.
    ///
    /// # Errors
    /// A name that occurs twice, a shape that is not whole blocks, or the destination's own error.
    pub fn new(
        mut output: Output,
        metadata: &[(String, WriteValue)],
        tensors: &[WriteTensor],
    ) -> Result<Self, GgufWriteError> {
        check_unique(metadata.iter().map(|(key, _)| key))?;
        check_unique(tensors.iter().map(|tensor| &tensor.name))?;
        let mut header = Vec::new();
        header.extend_from_slice(b"GGUF");
        header.extend_from_slice(&3u32.to_le_bytes());
        header.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
        header.extend_from_slice(&(metadata.len() as u64).to_le_bytes());
        for (key, value) in metadata {
            put_text(&mut header, key);
            put_value(&mut header, value);
        }
        let mut offset = 0u64;
        let mut expected = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let bytes = tensor.bytes().ok_or_else(|| GgufWriteError::Shape {
                name: tensor.name.clone(),
                dimensions: tensor.dimensions.clone(),
                block: tensor.weight_type.block_elements(),
            })?;
            put_text(&mut header, &tensor.name);
            header.extend_from_slice(&(tensor.dimensions.len() as u32).to_le_bytes());
            for &length in &tensor.dimensions {
                header.extend_from_slice(&(length as u64).to_le_bytes());
            }
            header.extend_from_slice(&type_id(tensor.weight_type).to_le_bytes());
            header.extend_from_slice(&offset.to_le_bytes());
            offset += bytes.next_multiple_of(ALIGNMENT);
            expected.push((tensor.name.clone(), bytes));
        }
        header.resize(header.len().next_multiple_of(ALIGNMENT as usize), 0);
        output.write_all(&header)?;
        let mut tensors = expected.into_iter();
        Ok(Self { output, current: tensors.next(), tensors, written: 0 })
    }

    /// Writes the next bytes of tensor data; they may end or begin anywhere, also across tensors. Padding is added here.
    ///
    /// # Errors
    /// [`GgufWriteError::TooMuchData`] after the last tensor, or the destination's own error.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), GgufWriteError> {
        while !bytes.is_empty() {
            let Some((_, missing)) = &mut self.current else { return Err(GgufWriteError::TooMuchData) };
            let count = bytes.len().min(usize::try_from(*missing).unwrap_or(usize::MAX));
            let (part, rest) = bytes.split_at(count);
            self.output.write_all(part)?;
            *missing -= count as u64;
            self.written += count as u64;
            if *missing == 0 {
                let padding = self.written.next_multiple_of(ALIGNMENT) - self.written;
                self.output.write_all(&[0; ALIGNMENT as usize][..padding as usize])?;
                self.written = 0;
                self.current = self.tensors.next();
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Checks that every tensor is complete, flushes, and gives the destination back.
    ///
    /// # Errors
    /// [`GgufWriteError::Unfinished`] names the tensor that is not, or the destination's own error.
    pub fn finish(mut self) -> Result<Output, GgufWriteError> {
        if let Some((name, missing)) = self.current {
            return Err(GgufWriteError::Unfinished { name, missing });
        }
        self.output.flush()?;
        Ok(self.output)
    }
}

fn check_unique<'name>(names: impl Iterator<Item = &'name String>) -> Result<(), GgufWriteError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(GgufWriteError::Duplicate { name: name.clone() });
        }
    }
    Ok(())
}

fn put_text(output: &mut Vec<u8>, text: &str) {
    output.extend_from_slice(&(text.len() as u64).to_le_bytes());
    output.extend_from_slice(text.as_bytes());
}

/// Writes the type's id (GGUF specification, `gguf_metadata_value_type`) and the value.
fn put_value(output: &mut Vec<u8>, value: &WriteValue) {
    const UINT32: u32 = 4;
    const INT32: u32 = 5;
    const FLOAT32: u32 = 6;
    const BOOL: u32 = 7;
    const STRING: u32 = 8;
    const ARRAY: u32 = 9;
    const UINT64: u32 = 10;
    const INT64: u32 = 11;
    const FLOAT64: u32 = 12;
    let scalar = |output: &mut Vec<u8>, kind: u32, bytes: &[u8]| {
        output.extend_from_slice(&kind.to_le_bytes());
        output.extend_from_slice(bytes);
    };
    let array = |output: &mut Vec<u8>, kind: u32, count: usize| {
        output.extend_from_slice(&ARRAY.to_le_bytes());
        output.extend_from_slice(&kind.to_le_bytes());
        output.extend_from_slice(&(count as u64).to_le_bytes());
    };
    match value {
        WriteValue::U32(value) => scalar(output, UINT32, &value.to_le_bytes()),
        WriteValue::I32(value) => scalar(output, INT32, &value.to_le_bytes()),
        WriteValue::U64(value) => scalar(output, UINT64, &value.to_le_bytes()),
        WriteValue::I64(value) => scalar(output, INT64, &value.to_le_bytes()),
        WriteValue::F32(value) => scalar(output, FLOAT32, &value.to_le_bytes()),
        WriteValue::F64(value) => scalar(output, FLOAT64, &value.to_le_bytes()),
        WriteValue::Bool(value) => scalar(output, BOOL, &[u8::from(*value)]),
        WriteValue::Text(text) => {
            output.extend_from_slice(&STRING.to_le_bytes());
            put_text(output, text);
        }
        WriteValue::I32Array(values) => {
            array(output, INT32, values.len());
            output.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        WriteValue::F32Array(values) => {
            array(output, FLOAT32, values.len());
            output.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        WriteValue::TextArray(texts) => {
            array(output, STRING, texts.len());
            for text in texts {
                put_text(output, text);
            }
        }
    }
}

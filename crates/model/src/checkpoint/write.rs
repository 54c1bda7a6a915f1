//! A checkpoint as one GGUF file: all keys are carried over, tensors are streamed in the types that the checkpoint gives them.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use super::Checkpoint;
use crate::error::ModelError;
use crate::gguf::write::{GgufWriteError, GgufWriter, WriteTensor, WriteValue};
use crate::gguf::{Metadata, Value, write_whole};
use crate::synth::Quantization;

/// Elements that are converted and written at a time.
const STRIPE_ELEMENTS: usize = 1 << 23;

/// Keys that say how a file is laid out, not what the model is.
const LAYOUT_KEYS: [&str; 3] = ["general.alignment", "general.file_type", "general.quantization_version"];

impl Checkpoint {
    /// Writes the checkpoint. The file appears under its name only when it is complete; an existing one is replaced.
    /// `extra` keys replace those of the checkpoint, such as a vocabulary that lies beside the weights; `named` is what
    /// `general.file_type` says. `progress` gets the bytes of tensor data that are written, and those in all.
    ///
    /// # Errors
    /// The tensor that cannot be converted, or the file that cannot be written; nothing is left behind then.
    pub fn write_gguf(
        &self,
        path: &Path,
        named: Quantization,
        extra: &[(String, WriteValue)],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), ModelError> {
        let io = |path, source| ModelError::Io { path, source };
        write_whole(path, io, |file, partial| {
            let write = |source| ModelError::Write { path: partial.to_path_buf(), source };
            self.write_into(file, named, extra, progress, &write)
        })
    }

    fn write_into(
        &self,
        file: File,
        named: Quantization,
        extra: &[(String, WriteValue)],
        progress: &mut dyn FnMut(u64, u64),
        wrong: &dyn Fn(GgufWriteError) -> ModelError,
    ) -> Result<(), ModelError> {
        let mut metadata = carried(&self.metadata, extra)?;
        metadata.push(("general.file_type".to_string(), WriteValue::U32(named.file_type())));
        metadata.push(("general.quantization_version".to_string(), WriteValue::U32(2)));
        metadata.extend_from_slice(extra);
        let header = |info: &crate::gguf::TensorInfo| WriteTensor {
            name: info.name.clone(),
            dimensions: info.dimensions.clone(),
            weight_type: info.weight_type,
        };
        let headers: Vec<WriteTensor> = self.tensors.iter().map(header).collect();
        let total = self.tensors.iter().map(|info| info.bytes).sum();
        let mut writer = GgufWriter::new(BufWriter::new(file), &metadata, &headers).map_err(wrong)?;
        let mut written = 0;
        for info in &self.tensors {
            let (index, outputs, inputs) = self.matrix(&info.name)?;
            let step = (STRIPE_ELEMENTS / inputs).max(1);
            for start in (0..outputs).step_by(step) {
                let bytes = self.row_data(index, start..(start + step).min(outputs), inputs)?;
                writer.write(&bytes).map_err(wrong)?;
                written += bytes.len() as u64;
                progress(written, total);
            }
        }
        let output = writer.finish().map_err(wrong)?;
        let file = output.into_inner().map_err(|error| wrong(GgufWriteError::Io(error.into_error())))?;
        file.sync_all().map_err(|error| wrong(GgufWriteError::Io(error)))
    }
}

/// The keys that go into the new file, without those that `extra` sets.
fn carried(metadata: &Metadata, extra: &[(String, WriteValue)]) -> Result<Vec<(String, WriteValue)>, ModelError> {
    let mut carried = Vec::new();
    for key in metadata.keys() {
        let layout = LAYOUT_KEYS.contains(&key) || key.starts_with("split.");
        if layout || extra.iter().any(|(name, _)| name == key) {
            continue;
        }
        let Some(value) = metadata.get(key) else { continue };
        let value = match value {
            Value::Unsigned(value) => u32::try_from(*value).map_or(WriteValue::U64(*value), WriteValue::U32),
            Value::Signed(value) => i32::try_from(*value).map_or(WriteValue::I64(*value), WriteValue::I32),
            // What came from 32 bits goes back into 32.
            Value::Float(value) if f64::from(*value as f32) == *value || value.is_nan() => {
                WriteValue::F32(*value as f32)
            }
            Value::Float(value) => WriteValue::F64(*value),
            Value::Bool(value) => WriteValue::Bool(*value),
            Value::Text(text) => WriteValue::Text(text.clone()),
            Value::Integers(_) => WriteValue::I32Array(metadata.i32_array(key)?),
            Value::Floats(values) => WriteValue::F32Array(values.clone()),
            Value::Texts(texts) => WriteValue::TextArray(texts.iter().map(|text| text.to_string()).collect()),
        };
        carried.push((key.to_string(), value));
    }
    Ok(carried)
}

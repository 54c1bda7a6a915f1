//! A weight matrix as the kernels want it: quantized blocks as they stand in the file, or floats in their own precision.
//! No file format here: bytes, a type and a shape come in.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};

use crate::error::{KernelError, Result};
#[cfg(feature = "cuda")]
use crate::launch::DevicePointer;
use crate::packed::Packed;

const OPERATION: &str = "weight";

/// The element types of weights that the kernels compute with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names are those of the formats themselves.
pub enum WeightType {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

impl WeightType {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// The same type in candle's words.
    pub(crate) fn ggml(self) -> GgmlDType {
        match self {
            Self::F32 => GgmlDType::F32,
            Self::F16 => GgmlDType::F16,
            Self::BF16 => GgmlDType::BF16,
            Self::Q4_0 => GgmlDType::Q4_0,
            Self::Q4_1 => GgmlDType::Q4_1,
            Self::Q5_0 => GgmlDType::Q5_0,
            Self::Q5_1 => GgmlDType::Q5_1,
            Self::Q8_0 => GgmlDType::Q8_0,
            Self::Q2K => GgmlDType::Q2K,
            Self::Q3K => GgmlDType::Q3K,
            Self::Q4K => GgmlDType::Q4K,
            Self::Q5K => GgmlDType::Q5K,
            Self::Q6K => GgmlDType::Q6K,
        }
    }

    /// Elements in one block: 1 for the float types.
    #[must_use]
    pub fn block_elements(self) -> usize {
        self.ggml().block_size()
    }

    /// What the length of a row must be a multiple of. candle multiplies Q4_1, Q5_0 and Q5_1 two blocks at a time and asserts so;
    /// our products on the CPU would not need it, but a file should load on every device or on none.
    #[must_use]
    pub fn row_multiple(self) -> usize {
        match self {
            Self::Q4_1 | Self::Q5_0 | Self::Q5_1 => 2 * self.block_elements(),
            other => other.block_elements(),
        }
    }

    /// Bytes of one block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        self.ggml().type_size()
    }
}

/// How the numbers are held.
#[derive(Debug, Clone)]
pub(crate) enum WeightData {
    /// On the CPU, in the order of the products there.
    Packed(Arc<Packed>),
    /// Blocks, as in the file: on a card, and of types that are not packed.
    Quantized(Blocks),
    /// F32, F16 or BF16, `[outputs, inputs]`.
    Float(Tensor),
}

/// Quantized blocks, and where they lie if that is on a card.
#[derive(Debug, Clone)]
pub(crate) struct Blocks {
    pub(crate) tensor: Arc<QTensor>,
    /// Null on the CPU.
    #[cfg(feature = "cuda")]
    pub(crate) address: DevicePointer,
}

impl Blocks {
    fn new(storage: QStorage, shape: (usize, usize)) -> Result<Self> {
        #[cfg(feature = "cuda")]
        let address = match &storage {
            QStorage::Cuda(_) => DevicePointer(storage.device_ptr()?.addr() as u64),
            _ => DevicePointer::default(),
        };
        Ok(Self {
            tensor: Arc::new(QTensor::new(storage, shape)?),
            #[cfg(feature = "cuda")]
            address,
        })
    }
}

/// A matrix `[outputs, inputs]`, row after row; cloning shares the numbers.
#[derive(Debug, Clone)]
pub struct Weight {
    pub(crate) data: WeightData,
    weight_type: WeightType,
    outputs: usize,
    inputs: usize,
}

impl Weight {
    /// Takes a matrix from little-endian bytes; they are copied once, to memory that the device owns.
    ///
    /// # Errors
    /// When the length of `bytes` is not what type and shape say, or a row is not a whole number of blocks.
    pub fn from_bytes(
        bytes: &[u8],
        weight_type: WeightType,
        outputs: usize,
        inputs: usize,
        device: &Device,
    ) -> std::result::Result<Self, KernelError> {
        check_row(weight_type, inputs)?;
        let expected = outputs
            .checked_mul(inputs / weight_type.block_elements())
            .and_then(|blocks| blocks.checked_mul(weight_type.block_bytes()));
        if expected != Some(bytes.len()) {
            return Err(KernelError::Length {
                operation: OPERATION,
                argument: "bytes",
                expected: expected.unwrap_or(usize::MAX),
                actual: bytes.len(),
            });
        }
        let shape = (outputs, inputs);
        let data = match weight_type {
            WeightType::F32 => {
                let values: Vec<f32> =
                    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
                WeightData::Float(Tensor::from_vec(values, shape, device)?)
            }
            WeightType::F16 => {
                let values: Vec<f16> = bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
                WeightData::Float(Tensor::from_vec(values, shape, device)?)
            }
            WeightType::BF16 => {
                let values: Vec<bf16> = bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]])).collect();
                WeightData::Float(Tensor::from_vec(values, shape, device)?)
            }
            quantized => {
                let packed = device.is_cpu().then(|| Packed::new(bytes, quantized, outputs, inputs)).flatten();
                match packed {
                    Some(packed) => WeightData::Packed(Arc::new(packed)),
                    None => {
                        WeightData::Quantized(Blocks::new(quantized_storage(bytes, quantized.ggml(), device)?, shape)?)
                    }
                }
            }
        };
        Ok(Self { data, weight_type, outputs, inputs })
    }

    /// Rounds an F32 matrix `[outputs, inputs]` to a weight type, as a test or a converter needs.
    ///
    /// # Errors
    /// When the row is not a whole number of blocks or the tensor is no matrix.
    pub fn quantize(matrix: &Tensor, weight_type: WeightType) -> std::result::Result<Self, KernelError> {
        let (outputs, inputs) = crate::storage::matrix_shape(matrix, OPERATION, "matrix")?;
        Self::from_bytes(&quantize_to_bytes(matrix, weight_type)?, weight_type, outputs, inputs, matrix.device())
    }

    /// The matrix as F32 `[outputs, inputs]`, for references and for vectors that are used as floats.
    ///
    /// # Errors
    /// Only what the tensor library reports.
    pub fn dequantize(&self) -> std::result::Result<Tensor, KernelError> {
        Ok(match &self.data {
            WeightData::Packed(packed) => {
                let mut floats = vec![0f32; self.outputs * self.inputs];
                for (index, row) in floats.chunks_exact_mut(self.inputs.max(1)).enumerate() {
                    packed.row(index, row);
                }
                Tensor::from_vec(floats, (self.outputs, self.inputs), &Device::Cpu)?
            }
            WeightData::Quantized(blocks) => blocks.tensor.dequantize(&blocks.tensor.device())?,
            WeightData::Float(tensor) => tensor.to_dtype(DType::F32)?,
        })
    }

    /// Rows of the matrix: the length of a result.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix: the length of an activation.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The element type, as in the file.
    #[must_use]
    pub fn weight_type(&self) -> WeightType {
        self.weight_type
    }
}

/// Rounds an F32 matrix `[outputs, inputs]` to a weight type: its little-endian bytes, as [`Weight::from_bytes`] takes them.
///
/// # Errors
/// When the row is not a whole number of blocks or the tensor is no matrix.
pub fn quantize_to_bytes(matrix: &Tensor, weight_type: WeightType) -> std::result::Result<Vec<u8>, KernelError> {
    let (_, inputs) = crate::storage::matrix_shape(matrix, OPERATION, "matrix")?;
    check_row(weight_type, inputs)?;
    let matrix = matrix.to_device(&Device::Cpu)?;
    let floats = |dtype: DType| -> Result<Tensor> { Ok(matrix.to_dtype(dtype)?.flatten_all()?) };
    Ok(match weight_type {
        WeightType::F32 => floats(DType::F32)?.to_vec1::<f32>()?.iter().flat_map(|value| value.to_le_bytes()).collect(),
        WeightType::F16 => floats(DType::F16)?.to_vec1::<f16>()?.iter().flat_map(|value| value.to_le_bytes()).collect(),
        WeightType::BF16 => {
            floats(DType::BF16)?.to_vec1::<bf16>()?.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        quantized => QTensor::quantize(&matrix, quantized.ggml())?.data()?.into_owned(),
    })
}

/// Bytes by which a matrix is larger in the memory of the CPU than in its file.
#[must_use]
pub fn packed_extra_bytes(weight_type: WeightType, outputs: usize, inputs: usize) -> u64 {
    let file = outputs * (inputs / weight_type.block_elements()) * weight_type.block_bytes();
    Packed::bytes_of(weight_type, outputs, inputs).map_or(0, |packed| packed.saturating_sub(file) as u64)
}

fn check_row(weight_type: WeightType, inputs: usize) -> Result<()> {
    if inputs.is_multiple_of(weight_type.row_multiple()) {
        return Ok(());
    }
    Err(KernelError::OutOfRange {
        operation: OPERATION,
        argument: "inputs",
        index: 0,
        value: inputs as u64,
        expected: format!("a multiple of {}, for rows of {weight_type:?}", weight_type.row_multiple()),
    })
}

/// Hands blocks to candle, whose cast of the bytes needs them aligned to 4.
fn quantized_storage(bytes: &[u8], ggml: GgmlDType, device: &Device) -> Result<QStorage> {
    if bytes.as_ptr().addr().is_multiple_of(4) {
        return Ok(QStorage::from_data(Cow::Borrowed(bytes), device, ggml)?);
    }
    // A vector of words is aligned; the bytes behind the end of a last partial word are cut off again.
    let mut words = vec![0u32; bytes.len().div_ceil(4)];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(4)) {
        let mut four = [0u8; 4];
        four[..chunk.len()].copy_from_slice(chunk);
        *word = u32::from_ne_bytes(four);
    }
    // SAFETY: every bit pattern is a valid u8, the length is that of the words in bytes, and the borrow ends before `words`.
    #[allow(unsafe_code)]
    let aligned = unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), words.len() * 4) };
    Ok(QStorage::from_data(Cow::Borrowed(&aligned[..bytes.len()]), device, ggml)?)
}

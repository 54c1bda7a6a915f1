//! Host memory in the place of a card's: buffers of a type, poisoned where a kernel is to write, with canaries behind them.

use half::{bf16, f16};
use sconce_kernels::launch::{DevicePointer, ElementType};

/// Numbers behind a buffer's end that nobody may touch.
const CANARIES: usize = 16;
const CANARY: u8 = 0xC3;
/// Every type reads this byte repeated as a NaN or an enormous number.
const POISON: u8 = 0xFF;

/// A buffer that a kernel reads or writes.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {
    /// Words of eight bytes, so that every type is aligned.
    words: Vec<u64>,
    bytes: usize,
}

impl Buffer {
    fn from_bytes(bytes: &[u8]) -> Self {
        let mut all = bytes.to_vec();
        all.resize(all.len().next_multiple_of(8), CANARY);
        all.extend([CANARY; CANARIES]);
        let words = all.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes"))).collect();
        Self { words, bytes: bytes.len() }
    }

    /// Numbers, rounded to a type.
    pub(crate) fn floats(values: &[f32], element: ElementType) -> Self {
        let bytes: Vec<u8> = match element {
            ElementType::F32 => values.iter().flat_map(|value| value.to_ne_bytes()).collect(),
            ElementType::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_ne_bytes()).collect(),
            ElementType::Bf16 => values.iter().flat_map(|value| bf16::from_f32(*value).to_ne_bytes()).collect(),
        };
        Self::from_bytes(&bytes)
    }

    /// Room for so many numbers of a type, poisoned.
    pub(crate) fn poisoned(count: usize, element: ElementType) -> Self {
        Self::from_bytes(&vec![POISON; count * element.bytes()])
    }

    pub(crate) fn pointer(&self) -> DevicePointer {
        DevicePointer(self.words.as_ptr().addr() as u64)
    }

    fn contents(&self) -> Vec<u8> {
        let bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert!(bytes[self.bytes..].iter().all(|byte| *byte == CANARY), "something was written behind a buffer");
        bytes[..self.bytes].to_vec()
    }

    /// The numbers as floats.
    pub(crate) fn read(&self, element: ElementType) -> Vec<f32> {
        let bytes = self.contents();
        match element {
            ElementType::F32 => bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect(),
            ElementType::F16 => bytes.chunks_exact(2).map(|b| f16::from_ne_bytes([b[0], b[1]]).to_f32()).collect(),
            ElementType::Bf16 => bytes.chunks_exact(2).map(|b| bf16::from_ne_bytes([b[0], b[1]]).to_f32()).collect(),
        }
    }
}

//! Host memory in the place of a card's: buffers of a type, poisoned where a kernel is to write, with canaries around them.

use half::{bf16, f16};
use sconce_kernels::launch::{DevicePointer, ElementType};

/// Bytes behind a buffer's end that nobody may touch.
const CANARIES: usize = 16;
const CANARY: u8 = 0xC3;
/// Every type reads this byte repeated as a NaN or an enormous number.
const POISON: u8 = 0xFF;

/// Bytes of a word: what the widest load of a kernel is aligned to.
const WORD: usize = 16;

/// A buffer that a kernel reads or writes.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {
    words: Vec<u128>,
    /// Bytes between the beginning of the words and the buffer's: canaries too.
    start: usize,
    bytes: usize,
}

impl Buffer {
    /// A buffer that begins so many bytes behind an aligned address.
    pub(crate) fn bytes(bytes: &[u8], start: usize) -> Self {
        let mut all = vec![CANARY; start];
        all.extend_from_slice(bytes);
        all.extend([CANARY; CANARIES]);
        all.resize(all.len().next_multiple_of(WORD), CANARY);
        let word = |word: &[u8]| u128::from_ne_bytes(word.try_into().expect("whole words"));
        Self { words: all.chunks_exact(WORD).map(word).collect(), start, bytes: bytes.len() }
    }

    /// Numbers, rounded to a type.
    pub(crate) fn floats(values: &[f32], element: ElementType, start: usize) -> Self {
        let bytes: Vec<u8> = match element {
            ElementType::F32 => values.iter().flat_map(|value| value.to_ne_bytes()).collect(),
            ElementType::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_ne_bytes()).collect(),
            ElementType::Bf16 => values.iter().flat_map(|value| bf16::from_f32(*value).to_ne_bytes()).collect(),
        };
        Self::bytes(&bytes, start)
    }

    /// Room for so many bytes, poisoned.
    pub(crate) fn poisoned(bytes: usize, start: usize) -> Self {
        Self::bytes(&vec![POISON; bytes], start)
    }

    /// Indices.
    pub(crate) fn indices(values: &[u32]) -> Self {
        Self::bytes(&values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<_>>(), 0)
    }

    /// Numbers in double precision.
    pub(crate) fn doubles(values: &[f64]) -> Self {
        Self::bytes(&values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<_>>(), 0)
    }

    pub(crate) fn pointer(&self) -> DevicePointer {
        DevicePointer((self.words.as_ptr().addr() + self.start) as u64)
    }

    fn contents(&self) -> Vec<u8> {
        let bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let (before, rest) = bytes.split_at(self.start);
        let (contents, behind) = rest.split_at(self.bytes);
        let untouched = before.iter().chain(behind).all(|byte| *byte == CANARY);
        assert!(untouched, "something was written beside a buffer");
        contents.to_vec()
    }

    /// The numbers as floats.
    pub(crate) fn read(&self, element: ElementType) -> Vec<f32> {
        let bytes = self.contents();
        match element {
            ElementType::F32 => bytes.as_chunks().0.iter().map(|four| f32::from_ne_bytes(*four)).collect(),
            ElementType::F16 => bytes.as_chunks().0.iter().map(|two| f16::from_ne_bytes(*two).to_f32()).collect(),
            ElementType::Bf16 => bytes.as_chunks().0.iter().map(|two| bf16::from_ne_bytes(*two).to_f32()).collect(),
        }
    }

    /// The numbers as indices.
    pub(crate) fn read_indices(&self) -> Vec<u32> {
        self.contents().as_chunks().0.iter().map(|four| u32::from_ne_bytes(*four)).collect()
    }
}

//! Random blocks in every format: quants and scales are drawn as integers, so that no weight is ever a float.
//! The layouts are ggml's (ggml-common.h); which tensor gets which scale is decided elsewhere.
//!
//! A scale is chosen from the mean square of the integer part, so that the weights have the deviation wanted. Where the range
//! of the quants is not centred (-8..=7), the scale's sign is random, so that no matrix has a mean.

use half::{bf16, f16};
use sconce_kernels::WeightType;

use crate::sampling::random::philox;

/// Scales vary by a quarter around their mean: mean square of a uniform factor from 0.75 to 1.25.
const JITTER_MEAN_SQUARE: f64 = 1.0 + 0.5 * 0.5 / 12.0;

/// Makes blocks of one tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockMaker {
    weight_type: WeightType,
    mean: f32,
    deviation: f32,
    /// The mean scale of a block.
    scale: f32,
}

/// A stream of random words: fast, and started from a counter-based generator, so that chunks are independent.
struct Words {
    state: u64,
}

impl Words {
    /// Splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
    #[inline]
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        let mut words = bytes.chunks_exact_mut(8);
        for word in &mut words {
            word.copy_from_slice(&self.next().to_le_bytes());
        }
        let rest = words.into_remainder();
        let last = self.next().to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }

    /// Close to a standard normal number: the sum of four uniform ones.
    #[inline]
    fn normal(&mut self) -> f32 {
        let word = self.next();
        let sum = (word & 0xFFFF) + (word >> 16 & 0xFFFF) + (word >> 32 & 0xFFFF) + (word >> 48);
        // Four times a variance of 2^32 / 12.
        (sum as f32 - 131_070.0) * (3.0f32.sqrt() / 65_536.0)
    }
}

/// Mean of the squares of integers.
fn mean_square(values: impl Iterator<Item = i32>) -> f64 {
    let (sum, count) =
        values.fold((0.0, 0.0), |(sum, count), value| (sum + f64::from(value) * f64::from(value), count + 1.0));
    sum / count
}

impl BlockMaker {
    /// For weights of a mean (floats only) and a deviation.
    pub(super) fn new(weight_type: WeightType, mean: f32, deviation: f32) -> Self {
        // Variance of equally likely quants around their centre: (n^2 - 1) / 12 for n of them.
        let centred = |count: f64| (count * count - 1.0) / 12.0;
        let integer_mean_square = match weight_type {
            WeightType::F32 | WeightType::F16 | WeightType::BF16 => 1.0,
            WeightType::Q4_0 => mean_square(-8..=7),
            WeightType::Q4_1 => centred(16.0),
            WeightType::Q5_0 => mean_square(-16..=15),
            WeightType::Q5_1 => centred(32.0),
            WeightType::Q8_0 => mean_square((-128..=127).map(|quant| quant.max(-127))),
            WeightType::Q2K => centred(4.0) * mean_square(8..=15),
            WeightType::Q3K => mean_square(-4..=3) * mean_square(-32..=31),
            WeightType::Q4K => centred(16.0) * mean_square(32..=63),
            WeightType::Q5K => centred(32.0) * mean_square(32..=63),
            WeightType::Q6K => mean_square(-32..=31) * mean_square(64..=127),
        };
        let scale = f64::from(deviation) / (integer_mean_square * JITTER_MEAN_SQUARE).sqrt();
        Self { weight_type, mean, deviation, scale: scale as f32 }
    }

    pub(super) fn block_bytes(self) -> usize {
        self.weight_type.block_bytes()
    }

    /// Fills whole blocks. The bytes depend on seed and counter alone.
    pub(super) fn fill(self, bytes: &mut [u8], seed: u64, counter: [u64; 2]) {
        let mut words = Words { state: philox(seed, counter)[0] };
        let blocks = bytes.chunks_exact_mut(self.block_bytes());
        match self.weight_type {
            WeightType::F32 => blocks.for_each(|block| block.copy_from_slice(&self.float(&mut words).to_le_bytes())),
            WeightType::F16 => {
                blocks.for_each(|block| block.copy_from_slice(&f16::from_f32(self.float(&mut words)).to_le_bytes()));
            }
            WeightType::BF16 => {
                blocks.for_each(|block| block.copy_from_slice(&bf16::from_f32(self.float(&mut words)).to_le_bytes()));
            }
            _ => blocks.for_each(|block| self.quantized(block, &mut words)),
        }
    }

    fn float(self, words: &mut Words) -> f32 {
        self.mean + self.deviation * words.normal()
    }

    /// A block is all random at first; then come the fields that are not.
    fn quantized(self, block: &mut [u8], words: &mut Words) {
        words.fill(block);
        let choice = words.next();
        // The upper half drives the jitter, the lowest bit the sign.
        let jitter = 0.75 + 0.5 * (choice >> 40) as f32 / (1u32 << 24) as f32;
        let magnitude = self.scale * jitter;
        let signed = if choice & 1 == 0 { magnitude } else { -magnitude };
        match self.weight_type {
            WeightType::Q4_0 | WeightType::Q5_0 => put_f16(block, 0, signed),
            WeightType::Q8_0 => {
                put_f16(block, 0, signed);
                // -128 has no opposite, and a quantizer never writes it.
                for quant in block[2..].iter_mut().filter(|quant| **quant == 0x80) {
                    *quant = 0x81;
                }
            }
            WeightType::Q4_1 => put_scale_and_least(block, 0, magnitude, -7.5),
            WeightType::Q5_1 => put_scale_and_least(block, 0, magnitude, -15.5),
            // scales[16], qs[64], d, dmin: weight = d * scale * quant - dmin * least, with least = scale.
            WeightType::Q2K => {
                for scales in &mut block[..16] {
                    let scale = 8 | (*scales & 7);
                    *scales = scale | scale << 4;
                }
                put_scale_and_least(block, 80, magnitude, 1.5);
            }
            // hmask[32], qs[64], scales[12], d: any scale from -32 to 31, any quant from -4 to 3.
            WeightType::Q3K => put_f16(block, 108, magnitude),
            // d, dmin, scales[12], (qh[32],) qs[128].
            WeightType::Q4K => self.put_k_scales(block, magnitude, 7.5),
            WeightType::Q5K => self.put_k_scales(block, magnitude, 15.5),
            // ql[128], qh[64], scales[16], d: scales from 64 to 127 with either sign.
            WeightType::Q6K => {
                for scale in &mut block[192..208] {
                    let size = 64 | (*scale & 63);
                    *scale = if *scale & 64 == 0 { size } else { size.wrapping_neg() };
                }
                put_f16(block, 208, magnitude);
            }
            WeightType::F32 | WeightType::F16 | WeightType::BF16 => {}
        }
    }

    /// Scales from 32 to 63 and leasts equal to them, packed in six bits: the lower four of the last four and the upper two
    /// of each pair share bytes (ggml, `get_scale_min_k4`).
    fn put_k_scales(self, block: &mut [u8], scale: f32, centre: f32) {
        put_scale_and_least(block, 0, scale, centre);
        let packed = &mut block[4..16];
        for index in 0..4 {
            let early = 32 | (packed[index] & 31);
            let late = 32 | (packed[index + 8] & 31);
            let upper = (late >> 4) << 6;
            packed[index] = early | upper;
            packed[index + 4] = early | upper;
            packed[index + 8] = (late & 15) | (late & 15) << 4;
        }
    }
}

fn put_f16(block: &mut [u8], at: usize, value: f32) {
    block[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

/// Writes the scale, and behind it the multiple of it that centres the quants.
fn put_scale_and_least(block: &mut [u8], at: usize, scale: f32, centre: f32) {
    let scale = f16::from_f32(scale);
    put_f16(block, at, scale.to_f32());
    put_f16(block, at + 2, scale.to_f32() * centre);
}

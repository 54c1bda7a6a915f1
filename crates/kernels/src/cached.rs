//! How the numbers of a head lie in the cache on the CPU.

use half::{bf16, f16};

use crate::math::{largest_magnitude, widened};
use crate::simd::{COLUMN, Element, F32x8, WIDE, WIDTH, columns};

/// Numbers that share a scale in a cache of bytes, and the bytes that they take: GGML's Q8_0, an f16 and then a signed byte for each.
const BLOCK: usize = 32;
const BLOCK_BYTES: usize = 2 + BLOCK;

/// An element type of the cache.
pub(crate) trait CacheElement: Copy + Sync {
    /// Elements that a head of so many numbers takes, which are whole blocks.
    fn elements(head_dim: usize) -> usize;

    /// Eight numbers of each of [`COLUMN`] heads from `first` on, a multiple of eight, as columns.
    fn columns<'a>(head: impl Fn(usize) -> &'a [Self], first: usize, places: &mut [[f32; COLUMN]; WIDTH])
    where
        Self: 'a;

    /// All numbers of a head.
    fn widen_all(head: &[Self], places: &mut [f32]);

    /// One number of a head.
    fn number(head: &[Self], index: usize) -> f32;

    /// Writes a head, each number as near as can be.
    fn write(numbers: &[f32], head: &mut [Self]);
}

/// Numbers that lie one after the other, each by itself.
macro_rules! plain {
    ($type:ty, $write:expr) => {
        impl CacheElement for $type {
            fn elements(head_dim: usize) -> usize {
                head_dim
            }

            #[inline(always)]
            fn columns<'a>(head: impl Fn(usize) -> &'a [Self], first: usize, places: &mut [[f32; COLUMN]; WIDTH]) {
                let row = |index| head(index)[first..].first_chunk().expect("whole vectors are counted");
                <Self as Element>::columns(row, places);
            }

            #[inline(always)]
            fn widen_all(head: &[Self], places: &mut [f32]) {
                let (wide, rest) = places.as_chunks_mut::<WIDE>();
                let (elements, other_elements) = head.as_chunks::<WIDE>();
                for (element, place) in elements.iter().zip(wide) {
                    <Self as Element>::load_wide(element).store(place);
                }
                for (element, place) in other_elements.iter().zip(rest) {
                    *place = element.widen();
                }
            }

            #[inline(always)]
            fn number(head: &[Self], index: usize) -> f32 {
                head[index].widen()
            }

            fn write(numbers: &[f32], head: &mut [Self]) {
                let write: fn(&mut [Self], &[f32]) = $write;
                write(head, numbers);
            }
        }
    };
}

plain!(f32, |head, numbers| head.copy_from_slice(numbers));
plain!(f16, half::slice::HalfFloatSliceExt::convert_from_f32_slice);
plain!(bf16, half::slice::HalfFloatSliceExt::convert_from_f32_slice);

/// Blocks of [`BLOCK_BYTES`].
impl CacheElement for u8 {
    fn elements(head_dim: usize) -> usize {
        head_dim / BLOCK * BLOCK_BYTES
    }

    #[inline(always)]
    fn columns<'a>(head: impl Fn(usize) -> &'a [Self], first: usize, places: &mut [[f32; COLUMN]; WIDTH]) {
        columns(|index| eight_of_block(head(index), first), places);
    }

    #[inline(always)]
    fn widen_all(head: &[Self], places: &mut [f32]) {
        // Blocks have whole vectors.
        for (index, place) in places.as_chunks_mut().0.iter_mut().enumerate() {
            eight_of_block(head, index * WIDTH).store(place);
        }
    }

    #[inline(always)]
    fn number(head: &[Self], index: usize) -> f32 {
        let block = &head[index / BLOCK * BLOCK_BYTES..][..BLOCK_BYTES];
        f32::from(block[2 + index % BLOCK] as i8) * scale(block)
    }

    fn write(numbers: &[f32], head: &mut [Self]) {
        for (numbers, block) in numbers.chunks_exact(BLOCK).zip(head.chunks_exact_mut(BLOCK_BYTES)) {
            // What is infinite or no number must show. So does what the scale cannot reach, beyond 65,504 * 127.
            let largest = largest_magnitude(numbers);
            let scale = if largest.is_finite() { f16::from_f32(largest / 127.0) } else { f16::NAN };
            let (first, codes) = block.split_at_mut(2);
            first.copy_from_slice(&scale.to_bits().to_le_bytes());
            // By the scale as it is stored, which may be 0.
            let inverse = if scale > f16::ZERO { 1.0 / scale.to_f32() } else { 0.0 };
            for (code, number) in codes.iter_mut().zip(numbers) {
                *code = (number * inverse).round_ties_even().clamp(-127.0, 127.0) as i8 as u8;
            }
        }
    }
}

/// Eight numbers of a head of blocks from `first` on, a multiple of eight.
#[inline(always)]
fn eight_of_block(head: &[u8], first: usize) -> F32x8 {
    let (block, at) = (&head[first / BLOCK * BLOCK_BYTES..][..BLOCK_BYTES], 2 + first % BLOCK);
    let codes: &[u8; WIDTH] = block[at..].first_chunk().expect("a block has whole vectors");
    F32x8::load(&codes.map(|code| f32::from(code as i8))).mul(F32x8::splat(scale(block)))
}

/// The scale of a block.
#[inline(always)]
fn scale(block: &[u8]) -> f32 {
    widened(u16::from_le_bytes([block[0], block[1]]))
}

/// Numbers of a head that takes so many bytes in a cache of bytes.
pub(crate) fn numbers_of_bytes(bytes: usize) -> Option<usize> {
    bytes.is_multiple_of(BLOCK_BYTES).then_some(bytes / BLOCK_BYTES * BLOCK)
}

/// Bytes that a head of so many numbers takes in a cache of blocks of bytes, which is GGML's Q8_0; `None` where its length is no
/// multiple of 32.
#[must_use]
pub fn q8_head_bytes(head_dim: usize) -> Option<usize> {
    head_dim.is_multiple_of(BLOCK).then(|| <u8 as CacheElement>::elements(head_dim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Random;

    #[test]
    fn bytes_hold_each_number_within_half_a_step_of_its_block() {
        let mut numbers = Random(5).vector(96);
        numbers[32..64].iter_mut().for_each(|number| *number *= 1e-3);
        numbers[64..].fill(0.0);
        let mut head = vec![0u8; q8_head_bytes(96).expect("whole blocks")];
        u8::write(&numbers, &mut head);
        assert_eq!((head.len(), numbers_of_bytes(head.len())), (102, Some(96)));
        for (index, number) in numbers.iter().enumerate() {
            let largest =
                numbers[index / 32 * 32..][..32].iter().fold(0f32, |largest, number| largest.max(number.abs()));
            let found = u8::number(&head, index);
            assert!((found - number).abs() <= largest / 127.0 * 0.51, "{index}: {found} instead of {number}");
            let mut eight = [0f32; WIDTH];
            eight_of_block(&head, index / WIDTH * WIDTH).store(&mut eight);
            assert_eq!(eight[index % WIDTH].to_bits(), found.to_bits());
        }
        assert_eq!((q8_head_bytes(80), numbers_of_bytes(64)), (None, None));
    }

    #[test]
    fn what_is_no_number_shows() {
        for bad in [f32::NAN, f32::INFINITY, 1e7] {
            let mut numbers = [1.0; 32];
            numbers[3] = bad;
            let mut head = [0u8; BLOCK_BYTES];
            u8::write(&numbers, &mut head);
            assert!((0..32).all(|index| u8::number(&head, index).is_nan()));
        }
    }
}

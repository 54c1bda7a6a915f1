//! Codes times their group's scale, as the tile unit multiplies them: bytes. A product is too wide for one, so it is cut in two:
//! `low + (high << SHIFT)`. Each lies in a plane of its own, in the order of unpacked codes.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _mm512_and_si512, _mm512_loadu_si512, _mm512_mullo_epi16, _mm512_or_si512, _mm512_set1_epi8,
    _mm512_set1_epi16, _mm512_slli_epi16, _mm512_slli_epi32, _mm512_srai_epi16, _mm512_srli_epi16, _mm512_store_si512,
    _mm512_sub_epi16, _mm512_ternarylogic_epi32,
};

use crate::packed::format::Format;
use crate::packed::lanes::codes::code;
use crate::packed::{BLOCK, STRIP, STRIPS, TILE};

/// The planes of a block.
#[repr(C, align(64))]
pub(super) struct Planes {
    pub(super) low: [u8; BLOCK * TILE],
    pub(super) high: [u8; BLOCK * TILE],
}

/// Whether a type's products are signed, and by how many bits the high plane counts more. Scales without a sign are cut, three bits
/// and three: a code times each is a byte. With a sign the product is cut, so that its low seven bits are a byte of either kind.
pub(super) const fn cut<F: Format>() -> (bool, u32) {
    if F::LAYOUT.has_minimums { (false, 3) } else { (true, 7) }
}

impl Planes {
    pub(super) const fn new() -> Self {
        Self { low: [0; BLOCK * TILE], high: [0; BLOCK * TILE] }
    }

    /// Fills a half of the planes (0 or 1) from the codes of a block and the scales of its groups.
    ///
    /// # Safety
    /// The processor has AVX-512 with bytes and words.
    #[inline(always)]
    pub(super) unsafe fn fill<F: Format>(&mut self, codes: &[u8], scales: &[[i32; TILE]; BLOCK / 16], half: usize) {
        let layout = F::LAYOUT;
        let (strips, planes) = (STRIPS / 2, half * BLOCK / 2 * TILE..(half + 1) * BLOCK / 2 * TILE);
        let scales = &scales[half * strips * layout.strip_groups()..];
        let strips = codes[half * strips * layout.strip_bytes()..].chunks_exact(layout.strip_bytes()).take(strips);
        let (low, high) = (&mut self.low[planes.clone()], &mut self.high[planes]);
        let places = low.chunks_exact_mut(STRIP * TILE).zip(high.chunks_exact_mut(STRIP * TILE));
        for ((strip, (low, high)), scales) in strips.zip(places).zip(scales.chunks_exact(layout.strip_groups())) {
            // SAFETY: the strip is as long as its layout says, its planes are eight vectors of 64 bytes each, and begin where one
            // may be stored; the caller promises the instructions.
            unsafe {
                for quad in 0..8 {
                    let code = code::<F>(strip, quad);
                    let scale = _mm512_loadu_si512(scales[quad * layout.strip_groups() / 8].as_ptr().cast());
                    let (lower, higher) =
                        if cut::<F>().0 { signed(code, scale, layout.zero) } else { unsigned(code, scale) };
                    _mm512_store_si512(low[64 * quad..].as_mut_ptr().cast(), lower);
                    _mm512_store_si512(high[64 * quad..].as_mut_ptr().cast(), higher);
                }
            }
        }
    }
}

/// Codes times scales of six bits: the low three of them, the high three. Two bytes are multiplied in one word, without a carry.
///
/// # Safety
/// Codes have at most five bits; the processor has the instructions.
#[inline(always)]
unsafe fn unsigned(codes: __m512i, scales: __m512i) -> (__m512i, __m512i) {
    // SAFETY: the caller promises the instructions.
    unsafe {
        let both = _mm512_or_si512(scales, _mm512_slli_epi32::<16>(scales));
        let low = _mm512_and_si512(both, _mm512_set1_epi16(7));
        let high = _mm512_srli_epi16::<3>(both);
        (_mm512_mullo_epi16(codes, low), _mm512_mullo_epi16(codes, high))
    }
}

/// Codes less their zero, times scales of eight bits with their sign, which have zeros above their 16 bits: the product's low seven bits, and those above.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
unsafe fn signed(codes: __m512i, scales: __m512i, zero: i32) -> (__m512i, __m512i) {
    /// The second where the first has ones, the third elsewhere.
    const CHOOSE: i32 = 0xca;
    // SAFETY: the caller promises the instructions.
    unsafe {
        let (zero, even_bytes) = (_mm512_set1_epi16(zero as i16), _mm512_set1_epi16(0xff));
        let words = _mm512_or_si512(_mm512_slli_epi32::<16>(scales), scales);
        let even = _mm512_mullo_epi16(_mm512_sub_epi16(_mm512_and_si512(codes, even_bytes), zero), words);
        let odd = _mm512_mullo_epi16(_mm512_sub_epi16(_mm512_srli_epi16::<8>(codes), zero), words);
        let low = _mm512_ternarylogic_epi32::<CHOOSE>(even_bytes, even, _mm512_slli_epi16::<8>(odd));
        let high =
            _mm512_ternarylogic_epi32::<CHOOSE>(even_bytes, _mm512_srai_epi16::<7>(even), _mm512_slli_epi16::<1>(odd));
        (_mm512_and_si512(low, _mm512_set1_epi8(0x7f)), high)
    }
}

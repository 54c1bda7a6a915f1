//! Codes as bytes, a vector of AVX-512 at a time.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _mm_cvtsi32_si128, _mm512_and_si512, _mm512_loadu_si512, _mm512_or_si512, _mm512_set1_epi8,
    _mm512_sll_epi16, _mm512_srl_epi16, _mm512_srli_epi16,
};

use crate::packed::format::Format;

/// One quad of a strip: 64 codes, as `unpack.rs` tells.
///
/// # Safety
/// Codes have fewer than eight bits; the strip is as long as the layout says; the processor has the instructions.
#[inline(always)]
pub(in crate::packed) unsafe fn code<F: Format>(strip: &[u8], quad: usize) -> __m512i {
    let vector = |at: usize| strip[64 * at..].as_ptr().cast();
    // SAFETY: nibbles are four vectors, planes of further bits one or two behind them; the caller promises the instructions.
    unsafe {
        let nibbles = _mm512_loadu_si512(vector(quad % 4));
        let nibbles = if quad < 4 { nibbles } else { _mm512_srli_epi16::<4>(nibbles) };
        let nibbles = _mm512_and_si512(nibbles, _mm512_set1_epi8(0xf));
        // Further bits are moved to where they belong, above the nibble.
        let (plane, at, width) = match F::LAYOUT.bits {
            4 => return nibbles,
            5 => (4, quad, 1),
            _ => (4 + quad / 4, quad % 4 * 2, 3),
        };
        let plane = _mm512_loadu_si512(vector(plane));
        let moved = if at <= 4 {
            _mm512_sll_epi16(plane, _mm_cvtsi32_si128(4 - at as i32))
        } else {
            _mm512_srl_epi16(plane, _mm_cvtsi32_si128(at as i32 - 4))
        };
        _mm512_or_si512(nibbles, _mm512_and_si512(moved, _mm512_set1_epi8(width << 4)))
    }
}

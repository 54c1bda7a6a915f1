//! Rows of elements become columns of floats, many rows at a time.

#![allow(unsafe_code)]

use super::{F32x8, WIDTH};

/// Rows that are turned at a time.
pub(crate) const COLUMN: usize = 32;

/// Turns eight numbers of each row to columns; `load` gives a row's.
#[inline(always)]
pub(crate) fn columns(load: impl Fn(usize) -> F32x8, places: &mut [[f32; COLUMN]; WIDTH]) {
    for octet in 0..COLUMN / WIDTH {
        let rows = std::array::from_fn(|row| load(octet * WIDTH + row));
        for (column, place) in F32x8::transpose(rows).into_iter().zip(places.iter_mut()) {
            column.store(&mut place.as_chunks_mut().0[octet]);
        }
    }
}

/// As [`columns`], of elements of 16 bits, which are turned before they are widened: half as many bytes, and all rows at once.
#[cfg(all(target_arch = "x86_64", target_feature = "avx512f", target_feature = "avx512bw"))]
pub(crate) mod halves {
    use std::arch::x86_64::{
        __m256i, __m512, __m512i, _mm_loadu_si128, _mm512_castsi128_si512, _mm512_castsi512_ps, _mm512_castsi512_si256,
        _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_extracti64x4_epi64, _mm512_inserti32x4, _mm512_slli_epi32,
        _mm512_storeu_ps, _mm512_unpackhi_epi16, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi16,
        _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    };

    use half::{bf16, f16};

    use super::{COLUMN, WIDTH};

    /// Calls an intrinsic.
    macro_rules! avx512 {
        ($call:expr) => {
            // SAFETY: the module is compiled only for targets that have these instructions, and every pointer comes from a
            // reference to an array of the length that is read or written.
            unsafe { $call }
        };
    }

    /// An element of 16 bits.
    pub(crate) trait Half: Copy {
        /// Sixteen of them as floats.
        fn widen(halves: __m256i) -> __m512;
    }

    impl Half for f16 {
        #[inline(always)]
        fn widen(halves: __m256i) -> __m512 {
            avx512!(_mm512_cvtph_ps(halves))
        }
    }

    impl Half for bf16 {
        #[inline(always)]
        fn widen(halves: __m256i) -> __m512 {
            avx512!(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves))))
        }
    }

    /// Turns eight elements of each row.
    #[inline(always)]
    pub(crate) fn columns<'a, T: Half + 'a>(
        row: impl Fn(usize) -> &'a [T; WIDTH],
        places: &mut [[f32; COLUMN]; WIDTH],
    ) {
        const { assert!(size_of::<T>() == 2) };
        let load = |index: usize| avx512!(_mm_loadu_si128(row(index).as_ptr().cast()));
        // A quarter of each register is a row: in the first one the rows 0, 8, 16, 24, in the next those behind them.
        let rows: [__m512i; WIDTH] = std::array::from_fn(|at| {
            let first = avx512!(_mm512_castsi128_si512(load(at)));
            let second = avx512!(_mm512_inserti32x4::<1>(first, load(at + WIDTH)));
            let third = avx512!(_mm512_inserti32x4::<2>(second, load(at + 2 * WIDTH)));
            avx512!(_mm512_inserti32x4::<3>(third, load(at + 3 * WIDTH)))
        });
        // Each quarter is turned by itself: pairs of rows, fours, eights.
        let pairs = |at: usize| {
            let (even, odd) = (rows[2 * at], rows[2 * at + 1]);
            avx512!([_mm512_unpacklo_epi16(even, odd), _mm512_unpackhi_epi16(even, odd)])
        };
        let fours = |at: usize| {
            let ([a, b], [c, d]) = (pairs(2 * at), pairs(2 * at + 1));
            avx512!([
                _mm512_unpacklo_epi32(a, c),
                _mm512_unpackhi_epi32(a, c),
                _mm512_unpacklo_epi32(b, d),
                _mm512_unpackhi_epi32(b, d),
            ])
        };
        let (first, second) = (fours(0), fours(1));
        for (places, (low, high)) in places.as_chunks_mut::<2>().0.iter_mut().zip(first.into_iter().zip(second)) {
            let columns = avx512!([_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high)]);
            for (column, place) in columns.into_iter().zip(places) {
                let halves = avx512!([_mm512_castsi512_si256(column), _mm512_extracti64x4_epi64::<1>(column)]);
                for (halves, place) in halves.into_iter().zip(place.as_chunks_mut::<16>().0) {
                    avx512!(_mm512_storeu_ps(place.as_mut_ptr(), T::widen(halves)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::simd::Element;

    #[test]
    fn rows_become_columns() {
        fn check<T: Element>(convert: impl Fn(f32) -> T) {
            let mut rows: [[T; WIDTH]; COLUMN] =
                std::array::from_fn(|row| std::array::from_fn(|at| convert((row * WIDTH + at) as f32 / 4.0 - 30.0)));
            // The smallest and the largest, and what is no number of any size.
            for (row, number) in [1e-7, -1e-40, 65504.0, f32::INFINITY, f32::NEG_INFINITY, -0.0].into_iter().enumerate()
            {
                rows[5 * row][row] = convert(number);
            }
            let mut places = [[0f32; COLUMN]; WIDTH];
            T::columns(|row| &rows[row], &mut places);
            for (at, column) in places.iter().enumerate() {
                let wanted = rows.map(|row| row[at].widen().to_bits());
                assert_eq!(column.map(f32::to_bits), wanted, "column {at}");
            }
        }
        check(|number| number);
        check(f16::from_f32);
        check(bf16::from_f32);
    }
}

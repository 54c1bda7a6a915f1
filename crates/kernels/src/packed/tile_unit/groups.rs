//! Types whose groups have scales of f16: the unit gives the dot products of each group, and vectors weigh them, as they do those
//! that they made themselves.

#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{__m512i, _mm512_add_epi32, _mm512_load_si512};

use super::{ROWS, Shapes};
use crate::packed::activations::BlockRows;
use crate::packed::format::Format;
use crate::packed::lanes::Lanes;
use crate::packed::lanes::avx512::Avx512;
use crate::packed::product::Part;
use crate::packed::share::{self, Dots};
use crate::packed::unpack::Factors;
use crate::packed::{BLOCK, STRIP, STRIPS, TILE};

/// Rows from which the unit is faster than products of vectors: storing its sums costs as much for few.
pub(super) const LEAST_ROWS: usize = 1000;
/// Rows that are weighed together.
const QUAD: usize = 4;
/// Groups that are multiplied together.
const GROUPS: usize = 4;

static SHAPES: Shapes = Shapes::of_inputs(STRIP as u16);

// What the instructions below have as plain numbers.
const _: () = assert!(STRIP == 32 && STRIP * TILE == 512 && size_of::<Sums>() == 1024 * STRIPS && GROUPS == 4);

/// What a thread works on. While the unit multiplies a register of rows with a block, the next block's codes are unpacked, and the
/// dot products of the register before are weighed.
#[repr(C, align(64))]
pub(super) struct Room {
    codes: [[u8; BLOCK * TILE]; 2],
    factors: [Factors; 2],
    dots: [Sums; 2],
}

/// Dot products of each group, row and output.
#[repr(C, align(64))]
struct Sums([[[i32; TILE]; ROWS]; STRIPS]);

impl Room {
    pub(super) const fn new() -> Self {
        Self {
            codes: [[0; BLOCK * TILE]; 2],
            factors: [const { Factors::new() }; 2],
            dots: [const { Sums([[[0; TILE]; ROWS]; STRIPS]) }; 2],
        }
    }
}

impl Dots<Avx512> for Sums {
    // What it asks of its caller stands at `Dots`, under # Safety.
    #[inline(always)]
    unsafe fn add<const COUNT: usize>(
        &self,
        first: usize,
        chain: usize,
        mut starts: [__m512i; COUNT],
    ) -> [__m512i; COUNT] {
        for (start, dots) in starts.iter_mut().zip(&self.0[chain][first..]) {
            // SAFETY: sixteen integers, at a line of their own; the caller promises the instructions.
            *start = unsafe { _mm512_add_epi32(_mm512_load_si512(dots.as_ptr().cast()), *start) };
        }
        starts
    }
}

/// Dot products that wait to be weighed.
struct Pending<'a> {
    /// Which of those in the room.
    dots: usize,
    factors: usize,
    /// From the first row of the register on.
    rows: BlockRows<'a>,
    /// The first row of the register, the next one to be weighed, and the one behind its last.
    first: usize,
    next: usize,
    end: usize,
}

impl Pending<'_> {
    /// Weighs the next few rows, if any are left.
    ///
    /// # Safety
    /// The processor has the instructions; the rows are there.
    #[inline(always)]
    unsafe fn weigh<F: Format>(&mut self, room: &Room, sums: &mut [[f32; TILE]]) {
        let (dots, factors) = (&room.dots[self.dots], &room.factors[self.factors]);
        let (row, rest) = (self.next - self.first, &mut sums[self.next..self.end]);
        self.next += rest.len().min(QUAD);
        // SAFETY: the caller promises the rows and the instructions.
        unsafe {
            if let Some(sums) = rest.first_chunk_mut::<QUAD>() {
                share::add::<Avx512, F, QUAD>(dots, factors, &self.rows, row, sums);
            } else {
                for (at, sums) in rest.as_chunks_mut::<1>().0.iter_mut().enumerate() {
                    share::add::<Avx512, F, 1>(dots, factors, &self.rows, row + at, sums);
                }
            }
        }
    }

    /// Weighs what is left.
    ///
    /// # Safety
    /// As [`Self::weigh`].
    #[inline(always)]
    unsafe fn finish<F: Format>(mut self, room: &Room, sums: &mut [[f32; TILE]]) {
        while self.next < self.end {
            // SAFETY: the caller promises the rows and the instructions.
            unsafe { self.weigh::<F>(room, sums) };
        }
    }
}

/// The sums of one tile of a plain type.
///
/// # Safety
/// The processor has AVX-512 with VNNI and the unit.
#[inline(always)]
pub(super) unsafe fn sum_tile<F: Format>(part: &Part<'_>, room: &mut Room, sums: &mut [[f32; TILE]], tile: usize) {
    let layout = F::LAYOUT;
    let mut blocks = part.blocks::<F>(tile).zip(part.rows()).peekable();
    let mut pending: Option<Pending<'_>> = None;
    let mut turn = 0;
    sums.fill([0.0; TILE]);
    // SAFETY: the shapes are valid for the unit, and nothing stays in its registers from one block of instructions to the next;
    // rows behind the last one are there to be read, and what comes of them is not; the caller promises the instructions.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, preserves_flags, readonly));
        if let Some(((bytes, _), rows)) = blocks.peek() {
            (0..rows.strips).for_each(|strip| unpack::<F>(bytes, rows.strips, strip, &mut room.codes[0]));
        }
        let mut block = 0;
        while let Some(((bytes, ahead), rows)) = blocks.next() {
            let next = blocks.peek().copied();
            let (head, codes) = bytes.split_at(layout.head_bytes(rows.strips));
            room.factors[block % 2].fill::<Avx512, F>(head, rows.strips);
            for first in (0..part.count).step_by(ROWS) {
                for strip in 0..rows.strips {
                    let codes = if layout.bits == 8 { codes } else { &room.codes[block % 2] };
                    if strip % GROUPS == 0 {
                        multiply(&rows.from::<F>(first), codes, strip, &mut room.dots[turn % 2]);
                    }
                    if first == 0 {
                        ahead.ask::<F>(strip);
                    }
                    if let Some(((bytes, _), rows)) = next.filter(|_| first == 0) {
                        unpack::<F>(bytes, rows.strips, strip, &mut room.codes[(block + 1) % 2]);
                    }
                    if let Some(pending) = pending.as_mut().filter(|_| strip % 2 == 1) {
                        pending.weigh::<F>(room, sums);
                    }
                }
                if let Some(pending) = pending.take() {
                    pending.finish::<F>(room, sums);
                }
                let end = part.count.min(first + ROWS);
                let rows = rows.from::<F>(first);
                pending = Some(Pending { dots: turn % 2, factors: block % 2, rows, first, next: first, end });
                turn += 1;
            }
            block += 1;
        }
        if let Some(pending) = pending {
            pending.finish::<F>(room, sums);
        }
        asm!("tilerelease", options(nostack, nomem, preserves_flags));
    }
}

/// Unpacks one strip of a block of so many. Codes of eight bits stay where they are.
///
/// # Safety
/// `place` begins at a line; the processor has the instructions.
#[inline(always)]
unsafe fn unpack<F: Format>(bytes: &[u8], strips: usize, strip: usize, place: &mut [u8; BLOCK * TILE]) {
    let layout = F::LAYOUT;
    if layout.bits == 8 || strip >= strips {
        return;
    }
    let codes = &bytes[layout.head_bytes(strips) + strip * layout.strip_bytes()..][..layout.strip_bytes()];
    let place = &mut place.as_chunks_mut().0[strip];
    // SAFETY: the strip is as long as its layout says, and places are whole lines; the caller promises the rest.
    unsafe { Avx512::unpack::<F>(codes, place) };
}

/// Dot products of a register of rows with the next four groups, or as many as the block still has.
///
/// # Safety
/// There are sixteen rows to be read, and the codes of all groups of the block; the shapes are loaded.
#[inline(always)]
unsafe fn multiply(rows: &BlockRows<'_>, codes: &[u8], group: usize, dots: &mut Sums) {
    let (stride, count) = (BLOCK, GROUPS.min(rows.strips - group));
    let (values, codes) = (rows.values[group * STRIP..].as_ptr(), codes[group * STRIP * TILE..].as_ptr());
    let dots = dots.0[group..].as_mut_ptr();
    macro_rules! multiply {
        ($($group:literal, $sums:literal, $rows:literal, $codes:literal);+) => {
            asm!(
                $(
                    concat!("tileloadd ", $rows, ", [{values} + {stride} + 32 * ", $group, "]"),
                    concat!("tileloadd ", $codes, ", [{codes} + {line} + 512 * ", $group, "]"),
                    concat!("tilezero ", $sums),
                    concat!("tdpbsud ", $sums, ", ", $rows, ", ", $codes),
                )+
                $(concat!("tilestored [{dots} + {line} + 1024 * ", $group, "], ", $sums),)+
                values = in(reg) values, stride = in(reg) stride, codes = in(reg) codes, dots = in(reg) dots,
                line = in(reg) 64usize, options(nostack, preserves_flags),
            )
        };
    }
    // SAFETY: the caller promises rows and codes; sums of the groups from the first on lie one behind the other, a kibibyte each.
    unsafe {
        match count {
            1 => multiply!(0, "tmm0", "tmm4", "tmm6"),
            2 => multiply!(0, "tmm0", "tmm4", "tmm6"; 1, "tmm1", "tmm5", "tmm7"),
            3 => multiply!(0, "tmm0", "tmm4", "tmm6"; 1, "tmm1", "tmm5", "tmm7"; 2, "tmm2", "tmm4", "tmm6"),
            _ => multiply!(
                0, "tmm0", "tmm4", "tmm6"; 1, "tmm1", "tmm5", "tmm7";
                2, "tmm2", "tmm4", "tmm6"; 3, "tmm3", "tmm5", "tmm7"
            ),
        }
    }
}

//! K types, whose groups have whole numbers as scales: codes are multiplied by them beforehand (`planes.rs`), so that a whole block
//! is summed within the unit, as the exact integer that it is.

#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{_mm_cvtsi32_si128, _mm512_add_epi32, _mm512_load_si512, _mm512_sll_epi32};

use super::planes::{Planes, cut};
use super::{ROWS, Shapes};
use crate::packed::activations::BlockRows;
use crate::packed::format::Format;
use crate::packed::lanes::avx512::Avx512;
use crate::packed::product::{Part, ROW_BLOCK, TILES};
use crate::packed::share::{add_row, minimums, weigh};
use crate::packed::unpack::Factors;
use crate::packed::{BLOCK, STRIPS, TILE};

/// Inputs of a register of rows, and how many of those a block has.
const STEP: usize = 64;
const STEPS: usize = BLOCK / STEP;

// What the instructions below have as plain numbers.
const _: () =
    assert!(TILES == 2 && STEPS == 2 * TILES && size_of::<Planes>() == 8192 && size_of::<[Dots; TILES]>() == 4096);

static SHAPES: Shapes = Shapes::WHOLE;

/// What a thread works on beside what the other products need. Three things go on at a time: the unit multiplies a register of
/// rows with one block, the planes of the next block are filled, and the dot products of the register before, which may have been
/// another block's, are weighed.
#[repr(C, align(64))]
pub(in crate::packed) struct Room {
    planes: [[Planes; TILES]; 2],
    factors: [[Factors; TILES]; 3],
    dots: Lines<[[Dots; TILES]; 2]>,
}

/// Begins at a cache line.
#[repr(C, align(64))]
struct Lines<T>(T);

/// Dot products with the low and the high plane, of each row.
type Dots = [[[i32; TILE]; ROWS]; 2];

impl Room {
    pub(super) const fn new() -> Self {
        Self {
            planes: [const { [const { Planes::new() }; TILES] }; 2],
            factors: [const { [const { Factors::new() }; TILES] }; 3],
            dots: Lines([[[[[0; TILE]; ROWS]; 2]; TILES]; 2]),
        }
    }

    /// Fills half of the planes of a tile's block, and with the first half its factors.
    ///
    /// # Safety
    /// The processor has the instructions.
    #[inline(always)]
    unsafe fn fill<F: Format>(&mut self, block: usize, tile: usize, half: usize, bytes: &[u8]) {
        let (head, codes) = bytes.split_at(F::LAYOUT.head_bytes(STRIPS));
        let factors = &mut self.factors[block % 3][tile];
        // SAFETY: the caller promises the instructions.
        unsafe {
            if half == 0 {
                factors.fill::<Avx512, F>(head, BLOCK / F::LAYOUT.group);
            }
            self.planes[block % 2][tile].fill::<F>(codes, &factors.group_scales, half);
        }
    }
}

/// Dot products that wait to be weighed.
struct Pending<'a> {
    /// Which of those in the room.
    dots: usize,
    factors: usize,
    /// From the first row of the register on.
    rows: BlockRows<'a>,
    /// The first row.
    first: usize,
}

/// The sums of both tiles of a K type.
///
/// # Safety
/// The processor has AVX-512 with VNNI and the unit.
#[inline(always)]
pub(super) unsafe fn sum_tiles<F: Format>(
    part: &Part<'_>,
    room: &mut Room,
    sums: &mut [[[f32; TILE]; ROW_BLOCK]; TILES],
) {
    sums.iter_mut().for_each(|sums| sums[..part.count].fill([0.0; TILE]));
    let tiles = |block: usize| (block < part.blocks()).then(|| [part.block::<F>(0, block), part.block::<F>(1, block)]);
    let mut pending: Option<Pending<'_>> = None;
    let mut turn = 0;
    // SAFETY: the shapes are valid for the unit; sums stay in its registers from one block of instructions to the next, which the
    // compiler never uses for itself; rows behind the last one are there to be read, and what comes of them is not; the
    // caller promises the instructions.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, preserves_flags, readonly));
        if let Some(bytes) = tiles(0) {
            (0..2 * TILES).for_each(|quarter| room.fill::<F>(0, quarter / 2, quarter % 2, bytes[quarter / 2].0));
        }
        for block in 0..part.blocks() {
            let (rows, next) = (part.rows(block), tiles(block + 1));
            // At once: by the step was measured, and slower.
            next.iter().flatten().for_each(|(_, ahead)| (0..STRIPS).for_each(|strip| ahead.ask::<F>(strip)));
            for first in (0..part.count).step_by(ROWS) {
                for step in 0..STEPS {
                    let planes = room.planes[block % 2].as_ptr().cast::<u8>();
                    multiply::<F>(
                        step,
                        rows.values[first * BLOCK + step * STEP..].as_ptr(),
                        planes.add(step * STEP * TILE),
                    );
                    if let Some(bytes) = next.filter(|_| first == 0) {
                        let (bytes, _) = bytes[step / 2];
                        room.fill::<F>(block + 1, step / 2, step % 2, bytes);
                    }
                    if let Some(pending) = &pending {
                        weigh_quarter::<F>(room, pending, step, &mut sums[step / 2][..part.count]);
                    }
                }
                store(&mut room.dots.0[turn % 2]);
                pending = Some(Pending { dots: turn % 2, factors: block % 3, rows: rows.from::<F>(first), first });
                turn += 1;
            }
        }
        if let Some(pending) = &pending {
            (0..STEPS).for_each(|step| weigh_quarter::<F>(room, pending, step, &mut sums[step / 2][..part.count]));
        }
        asm!("tilerelease", options(nostack, nomem, preserves_flags));
    }
}

/// Weighs half of the rows of one tile, and adds them to its sums.
///
/// # Safety
/// The processor has the instructions; the rows of `pending` are there.
#[inline(always)]
unsafe fn weigh_quarter<F: Format>(room: &Room, pending: &Pending<'_>, step: usize, sums: &mut [[f32; TILE]]) {
    let (tile, half) = (step / 2, step % 2 * (ROWS / 2));
    let end = sums.len().min(pending.first + half + ROWS / 2);
    let Some(sums) = sums.get_mut(pending.first + half..end) else { return };
    let (dots, factors) = (&room.dots.0[pending.dots][tile], &room.factors[pending.factors][tile]);
    // SAFETY: as the caller promises.
    unsafe { add::<F>(dots, half, factors, &pending.rows.from::<F>(half), sums) };
}

/// Multiplies 64 inputs of sixteen rows with both planes of both tiles. Register 4 holds rows, 5 and 6 codes, 0 to 3 sums, which the
/// first step begins.
///
/// # Safety
/// `values` points to the inputs in sixteen rows of a block, `planes` to those in the first plane; the shapes are loaded.
#[inline(always)]
unsafe fn multiply<F: Format>(step: usize, values: *const i8, planes: *const u8) {
    macro_rules! multiply {
        ($product:literal) => {
            asm!(
                "tileloadd tmm4, [{values} + {block}]",
                "tileloadd tmm5, [{planes} + {line}]",
                concat!($product, " tmm0, tmm4, tmm5"),
                "tileloadd tmm6, [{planes} + {line} + 4096]",
                concat!($product, " tmm1, tmm4, tmm6"),
                "tileloadd tmm5, [{planes} + {line} + 8192]",
                concat!($product, " tmm2, tmm4, tmm5"),
                "tileloadd tmm6, [{planes} + {line} + 12288]",
                concat!($product, " tmm3, tmm4, tmm6"),
                values = in(reg) values, planes = in(reg) planes, line = in(reg) 64usize, block = in(reg) BLOCK,
                options(nostack, preserves_flags, readonly),
            )
        };
    }
    // SAFETY: the caller promises the rows; planes stand one behind the other, and of each the step has sixteen lines.
    unsafe {
        if step == 0 {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, nomem, preserves_flags)
            );
        }
        if cut::<F>().0 { multiply!("tdpbssd") } else { multiply!("tdpbsud") }
    }
}

/// Stores the sums.
///
/// # Safety
/// The shapes are loaded.
#[inline(always)]
unsafe fn store(dots: &mut [Dots; TILES]) {
    // SAFETY: four registers of sixteen lines are as much as the dot products of two tiles with two planes.
    unsafe {
        asm!(
            "tilestored [{dots} + {line}], tmm0", "tilestored [{dots} + {line} + 1024], tmm1",
            "tilestored [{dots} + {line} + 2048], tmm2", "tilestored [{dots} + {line} + 3072], tmm3",
            dots = in(reg) dots.as_mut_ptr(), line = in(reg) 64usize, options(nostack, preserves_flags),
        );
    }
}

/// Weighs dot products from row `first` of the register on, as many as there are sums, and adds them; `rows` begins with the same.
///
/// # Safety
/// There are these rows; `dots` begin at a line; the processor has the instructions.
#[inline(always)]
unsafe fn add<F: Format>(dots: &Dots, first: usize, factors: &Factors, rows: &BlockRows<'_>, sums: &mut [[f32; TILE]]) {
    let dots = dots[0][first..].iter().zip(&dots[1][first..]);
    // SAFETY: the caller promises that dot products begin at a line, and each row of them is one; and the rows and instructions.
    unsafe {
        let shift = _mm_cvtsi32_si128(cut::<F>().1 as i32);
        for (row, ((sum, (low, high)), scale)) in sums.iter_mut().zip(dots).zip(rows.scales).enumerate() {
            let high = _mm512_sll_epi32(_mm512_load_si512(high.as_ptr().cast()), shift);
            let total = _mm512_add_epi32(_mm512_load_si512(low.as_ptr().cast()), high);
            let [minimums] = minimums::<Avx512, F, 1>(factors, rows, row);
            add_row::<Avx512>(weigh::<Avx512, F>(total, minimums, factors), *scale, sum);
        }
    }
}

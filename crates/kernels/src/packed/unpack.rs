//! From a packed block to bytes and floats: what the products read from the first-level cache, and single rows as floats.
//!
//! Codes are unpacked by plain loops, which the compiler turns into vectors of whatever width the caller is compiled for.

#![allow(unsafe_code)]

use super::format::{Format, Layout, Scales};
use super::lanes::Lanes;
use super::{BLOCK, Packed, STRIP, STRIPS, TILE};
use crate::math::widened;

/// A block of a tile, ready to be multiplied.
#[repr(C, align(64))]
pub(super) struct Unpacked {
    /// Per strip eight quads of 64 bytes: four inputs of each output.
    codes: [u8; BLOCK * TILE],
    factors: Factors,
}

/// What the dot products of a block are multiplied by, of each output. Of plain types `scales` and `minimums`, of K types the
/// others are filled.
#[repr(C, align(64))]
pub(super) struct Factors {
    /// Per group.
    pub(super) scales: [[f32; TILE]; STRIPS],
    /// Per group.
    pub(super) minimums: [[f32; TILE]; STRIPS],
    pub(super) super_scale: [f32; TILE],
    pub(super) super_minimum: [f32; TILE],
    /// Per group, in the low 16 bits; those above are 0.
    pub(super) group_scales: [[i32; TILE]; BLOCK / 16],
    /// Of two groups, 16 bits each: their minimums.
    pub(super) minimum_pairs: [[i32; TILE]; BLOCK / 64],
}

impl Unpacked {
    pub(super) fn new() -> Self {
        Self { codes: [0; BLOCK * TILE], factors: Factors::new() }
    }

    /// Unpacks a block of so many strips, and gives its codes; codes of eight bits stay where they are.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    pub(super) unsafe fn fill<'a, L: Lanes, F: Format>(
        &'a mut self,
        block: &'a [u8],
        strips: usize,
    ) -> (&'a [u8], &'a Factors) {
        let layout = F::LAYOUT;
        let (head, codes) = block.split_at(layout.head_bytes(strips));
        // SAFETY: the caller promises the instructions.
        unsafe { self.factors.fill::<L, F>(head, strips * layout.strip_groups()) };
        if layout.bits == 8 {
            return (codes, &self.factors);
        }
        let strip_bytes = layout.strip_bytes();
        for (strip, place) in codes.chunks_exact(strip_bytes).zip(self.codes.as_chunks_mut().0) {
            // SAFETY: a strip of this type, and codes begin at a line, as all strips do then; the caller promises the rest.
            unsafe { L::unpack::<F>(strip, place) };
        }
        (&self.codes, &self.factors)
    }
}

impl Factors {
    pub(super) const fn new() -> Self {
        Self {
            scales: [[0.0; TILE]; STRIPS],
            minimums: [[0.0; TILE]; STRIPS],
            super_scale: [0.0; TILE],
            super_minimum: [0.0; TILE],
            group_scales: [[0; TILE]; BLOCK / 16],
            minimum_pairs: [[0; TILE]; BLOCK / 64],
        }
    }

    /// Reads the head of a block of so many groups.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    pub(super) unsafe fn fill<L: Lanes, F: Format>(&mut self, head: &[u8], groups: usize) {
        let layout = F::LAYOUT;
        // SAFETY: the caller promises the instructions; so below.
        unsafe {
            match layout.scales {
                Scales::Plain => {
                    let (scales, minimums) = head.split_at(groups * 2 * TILE);
                    load_halves::<L>(scales, &mut self.scales);
                    load_halves::<L>(minimums, &mut self.minimums);
                }
                Scales::Super => {
                    let (supers, rest) = head.split_at(layout.scale_kinds() * 2 * TILE);
                    let (scales, minimums) = rest.split_at(groups * TILE);
                    L::store(L::load_halves(supers.as_ptr()), self.super_scale.as_mut_ptr());
                    let load = |bytes: &[u8]| L::load_bytes(bytes.as_ptr(), !layout.has_minimums);
                    for (bytes, place) in scales.as_chunks::<TILE>().0.iter().zip(&mut self.group_scales) {
                        L::store_ints(L::pair(load(bytes), L::splat_ints(0)), place.as_mut_ptr());
                    }
                    if layout.has_minimums {
                        L::store(L::load_halves(supers[2 * TILE..].as_ptr()), self.super_minimum.as_mut_ptr());
                        for (bytes, place) in minimums.as_chunks::<{ 2 * TILE }>().0.iter().zip(&mut self.minimum_pairs)
                        {
                            L::store_ints(L::pair(load(bytes), load(&bytes[TILE..])), place.as_mut_ptr());
                        }
                    }
                }
            }
        }
    }
}

/// Reads sixteen f16 for each group.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn load_halves<L: Lanes>(halves: &[u8], places: &mut [[f32; TILE]]) {
    for (halves, place) in halves.chunks_exact(2 * TILE).zip(places) {
        // SAFETY: 32 bytes and sixteen floats; the caller promises the instructions.
        unsafe { L::store(L::load_halves(halves.as_ptr()), place.as_mut_ptr()) };
    }
}

/// Unpacks a strip by plain loops.
#[inline(always)]
pub(super) fn fill_strip(strip: &[u8], bits: usize, place: &mut [u8]) {
    let (nibbles, above) = strip.split_at(256);
    let (first, second) = place.split_at_mut(256);
    for ((byte, low), high) in nibbles.iter().zip(first.iter_mut()).zip(second.iter_mut()) {
        *low = byte & 0xf;
        *high = byte >> 4;
    }
    match bits {
        5 => {
            for (quad, place) in place.chunks_exact_mut(64).enumerate() {
                for (code, plane) in place.iter_mut().zip(above) {
                    *code |= (plane >> quad & 1) << 4;
                }
            }
        }
        6 => {
            for (quad, place) in place.chunks_exact_mut(64).enumerate() {
                let planes = &above[quad / 4 * 64..quad / 4 * 64 + 64];
                for (code, plane) in place.iter_mut().zip(planes) {
                    *code |= (plane >> (quad % 4 * 2) & 3) << 4;
                }
            }
        }
        _ => {}
    }
}

impl Packed {
    /// One row of the matrix as floats, the very numbers that the file's blocks stand for.
    pub(crate) fn row(&self, index: usize, place: &mut [f32]) {
        let (layout, lane) = (self.layout, index % TILE);
        let mut rest = self.tile(index / TILE);
        for place in place[..self.inputs].chunks_mut(BLOCK) {
            let strips = place.len() / STRIP;
            let (block, behind) = rest.split_at(layout.block_bytes(strips));
            rest = behind;
            row_of_block(block, layout, strips, lane, place);
        }
    }
}

fn row_of_block(block: &[u8], layout: Layout, strips: usize, lane: usize, place: &mut [f32]) {
    let (head, codes) = block.split_at(layout.head_bytes(strips));
    let groups = strips * layout.strip_groups();
    let half = |at: usize| widened(u16::from_le_bytes([head[at], head[at + 1]]));
    // Of the scales (0) or minimums (1) of a group.
    let factor = |kind: usize, group: usize| match layout.scales {
        Scales::Plain => half((kind * groups + group) * 2 * TILE + 2 * lane),
        Scales::Super => {
            let byte = head[layout.scale_kinds() * 2 * TILE + (kind * groups + group) * TILE + lane];
            let byte = if layout.has_minimums { f32::from(byte) } else { f32::from(byte as i8) };
            half(kind * 2 * TILE + 2 * lane) * byte
        }
    };
    for (group, place) in place.chunks_exact_mut(layout.group).enumerate() {
        let scale = factor(0, group);
        let minimum = if layout.has_minimums { factor(1, group) } else { 0.0 };
        for (within, value) in place.iter_mut().enumerate() {
            let input = group * layout.group + within;
            let strip = &codes[input / STRIP * layout.strip_bytes()..][..layout.strip_bytes()];
            let code = i32::from(code(strip, layout.bits, lane, input % STRIP)) - layout.zero;
            *value = scale * code as f32 - minimum;
        }
    }
}

/// One code of a strip.
fn code(strip: &[u8], bits: usize, lane: usize, input: usize) -> u8 {
    let (quad, byte) = (input / 4, lane * 4 + input % 4);
    if bits == 8 {
        return strip[quad * 64 + byte];
    }
    let nibble = strip[quad % 4 * 64 + byte] >> (quad / 4 * 4) & 0xf;
    let above = match bits {
        5 => strip[256 + byte] >> quad & 1,
        6 => strip[256 + quad / 4 * 64 + byte] >> (quad % 4 * 2) & 3,
        _ => 0,
    };
    nibble | above << 4
}

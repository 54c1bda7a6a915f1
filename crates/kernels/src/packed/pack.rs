//! From the blocks of a file to tiles.

use super::format::{Layout, Scales, layout_of};
use super::{BLOCK, Packed, STRIP, TILE};
use crate::aligned::AlignedBytes;
use crate::parallel::{DisjointSlice, for_ranges};
use crate::weight::WeightType;

/// The numbers of one row's block, whatever its type.
struct RowBlock {
    codes: [u8; BLOCK],
    /// Super-scale and super-minimum, as f16 bits.
    supers: [u16; 2],
    /// Per group: f16 bits, or a byte.
    scales: [u16; BLOCK / 16],
    minimums: [u16; BLOCK / 16],
}

impl Packed {
    /// Packs whole rows of blocks, as [`crate::Weight::from_bytes`] has checked them; `None` for a type that is not packed.
    pub(crate) fn new(bytes: &[u8], weight_type: WeightType, outputs: usize, inputs: usize) -> Option<Self> {
        let layout = layout_of(weight_type)?;
        let (tile_bytes, tiles) = (layout.tile_bytes(inputs), outputs.div_ceil(TILE));
        let row_bytes = inputs / weight_type.block_elements() * weight_type.block_bytes();
        let mut packed = AlignedBytes::long_lived(tiles * tile_bytes);
        let shared = DisjointSlice::new(packed.as_mut_slice());
        for_ranges(tiles, outputs * inputs, |range| {
            for tile in range {
                // SAFETY: each tile belongs to one item, and an item to one thread.
                #[allow(unsafe_code)]
                let place = unsafe { shared.range_mut(tile * tile_bytes, tile_bytes) };
                for lane in 0..TILE.min(outputs - tile * TILE) {
                    let row = &bytes[(tile * TILE + lane) * row_bytes..][..row_bytes];
                    pack_row(row, weight_type, layout, inputs, lane, place);
                }
            }
        });
        Some(Self { weight_type, layout, outputs, inputs, bytes: packed })
    }
}

/// Writes one row into its lane of a tile.
fn pack_row(row: &[u8], weight_type: WeightType, layout: Layout, inputs: usize, lane: usize, tile: &mut [u8]) {
    let (elements, bytes) = (weight_type.block_elements(), weight_type.block_bytes());
    let mut at = 0;
    for start in (0..inputs).step_by(BLOCK) {
        let length = BLOCK.min(inputs - start);
        let blocks = &row[start / elements * bytes..(start + length) / elements * bytes];
        let place = &mut tile[at..at + layout.block_bytes(length / STRIP)];
        at += place.len();
        write_block(&read_block(blocks, weight_type), layout, length / STRIP, lane, place);
    }
}

fn write_block(block: &RowBlock, layout: Layout, strips: usize, lane: usize, place: &mut [u8]) {
    let (head, codes) = place.split_at_mut(layout.head_bytes(strips));
    let mut at = 0;
    let mut put = |value: u16, size: usize| {
        let slot = &mut head[at + lane * size..at + (lane + 1) * size];
        slot.copy_from_slice(&value.to_le_bytes()[..size]);
        at += TILE * size;
    };
    let groups = strips * layout.strip_groups();
    let size = layout.scale_bytes() / TILE;
    if layout.scales == Scales::Super {
        block.supers[..layout.scale_kinds()].iter().for_each(|value| put(*value, 2));
    }
    block.scales[..groups].iter().for_each(|value| put(*value, size));
    if layout.has_minimums {
        block.minimums[..groups].iter().for_each(|value| put(*value, size));
    }
    for (strip, place) in codes.chunks_exact_mut(layout.strip_bytes()).enumerate() {
        for input in 0..STRIP {
            write_code(block.codes[strip * STRIP + input], layout.bits, lane, input, place);
        }
    }
}

/// Puts a code where `unpack.rs` looks for it.
fn write_code(code: u8, bits: usize, lane: usize, input: usize, strip: &mut [u8]) {
    let (quad, byte) = (input / 4, lane * 4 + input % 4);
    if bits == 8 {
        strip[quad * 64 + byte] = code;
        return;
    }
    strip[quad % 4 * 64 + byte] |= (code & 0xf) << (quad / 4 * 4);
    match bits {
        5 => strip[256 + byte] |= (code >> 4) << quad,
        6 => strip[256 + quad / 4 * 64 + byte] |= (code >> 4) << (quad % 4 * 2),
        _ => {}
    }
}

/// Reads the blocks of one row that make up a block of ours; what is not there is 0.
fn read_block(bytes: &[u8], weight_type: WeightType) -> RowBlock {
    let mut block = RowBlock { codes: [0; BLOCK], supers: [0; 2], scales: [0; BLOCK / 16], minimums: [0; BLOCK / 16] };
    match weight_type {
        WeightType::Q4K => read_q4k(bytes, &mut block),
        WeightType::Q5K => read_q5k(bytes, &mut block),
        WeightType::Q6K => read_q6k(bytes, &mut block),
        plain => {
            for (group, bytes) in bytes.chunks_exact(plain.block_bytes()).enumerate() {
                read_plain(bytes, plain, group, &mut block);
            }
        }
    }
    block
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// A block of 32: an f16, a second one where there are minimums, four bytes of fifth bits where there are any, codes.
fn read_plain(bytes: &[u8], weight_type: WeightType, group: usize, block: &mut RowBlock) {
    block.scales[group] = half(bytes, 0);
    let codes = &mut block.codes[group * STRIP..(group + 1) * STRIP];
    if weight_type == WeightType::Q8_0 {
        codes.iter_mut().zip(&bytes[2..]).for_each(|(code, byte)| *code = byte ^ 0x80);
        return;
    }
    let mut rest = &bytes[2..];
    if matches!(weight_type, WeightType::Q4_1 | WeightType::Q5_1) {
        // The file adds it, we take it away: the sign is the highest bit.
        block.minimums[group] = half(rest, 0) ^ 0x8000;
        rest = &rest[2..];
    }
    let mut fifth = 0;
    if matches!(weight_type, WeightType::Q5_0 | WeightType::Q5_1) {
        fifth = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]);
        rest = &rest[4..];
    }
    for (input, code) in codes.iter_mut().enumerate() {
        let nibble = rest[input % 16] >> (input / 16 * 4) & 0xf;
        *code = nibble | ((fifth >> input & 1) as u8) << 4;
    }
}

/// Scales and minimums of eight groups, six bits each, in twelve bytes.
fn six_bits(packed: &[u8], block: &mut RowBlock) {
    for group in 0..8 {
        let (scale, minimum) = if group < 4 {
            (packed[group] & 63, packed[group + 4] & 63)
        } else {
            let low = packed[group + 4];
            (low & 0xf | packed[group - 4] >> 6 << 4, low >> 4 | packed[group] >> 6 << 4)
        };
        block.scales[group] = scale.into();
        block.minimums[group] = minimum.into();
    }
}

fn read_q4k(bytes: &[u8], block: &mut RowBlock) {
    block.supers = [half(bytes, 0), half(bytes, 2)];
    six_bits(&bytes[4..16], block);
    for (input, code) in block.codes.iter_mut().enumerate() {
        let (chunk, within) = (input / 64, input % 64);
        *code = bytes[16 + chunk * 32 + within % 32] >> (within / 32 * 4) & 0xf;
    }
}

fn read_q5k(bytes: &[u8], block: &mut RowBlock) {
    block.supers = [half(bytes, 0), half(bytes, 2)];
    six_bits(&bytes[4..16], block);
    let (fifth, nibbles) = (&bytes[16..48], &bytes[48..]);
    for (input, code) in block.codes.iter_mut().enumerate() {
        let (chunk, within) = (input / 64, input % 64);
        let nibble = nibbles[chunk * 32 + within % 32] >> (within / 32 * 4) & 0xf;
        *code = nibble | (fifth[input % 32] >> (input / 32) & 1) << 4;
    }
}

fn read_q6k(bytes: &[u8], block: &mut RowBlock) {
    let (low, high, scales) = (&bytes[..128], &bytes[128..192], &bytes[192..208]);
    block.supers = [half(bytes, 208), 0];
    for (place, scale) in block.scales.iter_mut().zip(scales) {
        *place = (*scale).into();
    }
    for (input, code) in block.codes.iter_mut().enumerate() {
        let (part, within) = (input / 128, input % 128);
        let (quarter, at) = (within / 32, within % 32);
        let nibble = low[part * 64 + quarter % 2 * 32 + at] >> (quarter / 2 * 4) & 0xf;
        *code = nibble | (high[part * 32 + at] >> (quarter * 2) & 3) << 4;
    }
}
